"""Where files live and where they come from: the Drive, this machine, the repository, the web."""

import hashlib
import pathlib
import sys
import types
import zipfile

import pytest
from helpers import encoded, picture
from notebook import settings
from server import serve


def standin_drive(monkeypatch, mount):
    package, drive = types.ModuleType("google.colab"), types.ModuleType("google.colab.drive")
    drive.mount, package.drive = mount, drive
    for name, module in (("google", types.ModuleType("google")), ("google.colab", package)):
        monkeypatch.setitem(sys.modules, name, module)


def refused(place, **more):
    raise ValueError("mount failed: credential propagation was unsuccessful")


@pytest.fixture
def content(nb, tmp_path, monkeypatch):
    """Colab's /content, in a temporary folder."""
    folder, plain = tmp_path / "content", nb.Path

    def path(*parts):
        made = plain(*parts)
        return folder / made.relative_to("/content") if str(made).startswith("/content") else made

    path.cwd = plain.cwd
    monkeypatch.setattr(nb, "Path", path)
    return folder


@pytest.mark.parametrize("trouble", ["refused", "read-only", "full"])
def test_a_drive_that_cannot_be_used_is_one_sentence_and_work_goes_on(
    nb, tmp_path, monkeypatch, capsys, content, trouble
):
    monkeypatch.chdir(tmp_path)
    standin_drive(monkeypatch, refused if trouble == "refused" else lambda place, **more: None)
    mkdir, write = pathlib.Path.mkdir, pathlib.Path.write_text
    message = (30, "Read-only file system") if trouble == "read-only" else (28, "No space left")

    def guarded(plain):
        def call(path, *given, **more):
            if str(path).startswith(str(content / "gdrive")):
                if plain is mkdir and trouble == "full":
                    return None
                raise OSError(*message)
            return plain(path, *given, **more)

        return call

    monkeypatch.setattr(pathlib.Path, "mkdir", guarded(mkdir))
    monkeypatch.setattr(pathlib.Path, "write_text", guarded(write))
    places = nb.connect_drive(True, "")
    said = capsys.readouterr().out
    assert places.home == tmp_path and places.checkpoints.is_dir()
    assert "Google Drive cannot be used" in said and "not be kept" in said
    assert {"refused": "credential", "read-only": "Read-only", "full": "No space"}[trouble] in said


@pytest.mark.parametrize("mounted", [True, False])
def test_the_drive_is_mounted_and_worked_in(nb, tmp_path, monkeypatch, content, mounted):
    """Anew where it is not mounted: Colab would take a folder that an unmounted Drive left for it,
    and all that is written there would end with the runtime."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(nb.os.path, "ismount", lambda place: mounted and place == "/content/gdrive")
    calls = []
    standin_drive(monkeypatch, lambda place, **more: calls.append((place, more)))
    places = nb.connect_drive(True, "https://example.org/raw/")
    assert calls == [("/content/gdrive", dict(force_remount=not mounted))]
    assert places.home == content / "gdrive" / "My Drive" / "Colab_Notebooks"
    assert places.repository == "https://example.org/raw"
    for name in ("data", "checkpoints", "outputs"):
        assert getattr(places, name) == places.home / name and getattr(places, name).is_dir()
    assert places.local == content / "data" and places.local.is_dir()  # not on the Drive


def test_use_drive_false_never_touches_it(nb, tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    calls = []
    standin_drive(monkeypatch, calls.append)
    assert nb.connect_drive(False, "").home == tmp_path and not calls
    assert not (content / "gdrive").exists()


def test_outside_colab_it_is_this_folder(nb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "google.colab", None)
    places = nb.connect_drive(True, None)
    assert places.home == tmp_path and places.repository == ""
    assert places.local == tmp_path / "data" / "COCO"
    assert all(p.is_dir() for p in (places.data, places.checkpoints, places.outputs, places.local))


def coco_zip(path, count=3) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for n in range(count):
            archive.writestr(f"val2017/{n:012d}.jpg", encoded(picture(60, 50, n), "JPEG"))
    return path.read_bytes()


def test_a_path_is_looked_up_as_it_is_written_then_in_the_work_folders(nb, places, monkeypatch):
    monkeypatch.chdir(places.home.parent)
    (places.local / "a.jpg").write_bytes(b"3")
    assert nb.find(places, "a.jpg") == places.local / "a.jpg"
    (places.home / "a.jpg").write_bytes(b"2")
    assert nb.find(places, "a.jpg") == places.home / "a.jpg"
    pathlib.Path("a.jpg").write_bytes(b"1")
    assert nb.find(places, "a.jpg").read_bytes() == b"1"
    whole = (places.data / "b.jpg").absolute()
    whole.write_bytes(b"4")
    assert nb.find(places, whole) == whole
    assert nb.find(places, "missing.jpg", "data/b.jpg", "a.jpg") == whole  # the first that is there
    assert nb.find(places, "missing.jpg", needed=False) is None
    with pytest.raises(nb.Problem, match="missing.jpg is not there .*check the path"):
        nb.find(places, "missing.jpg", "other.jpg")


def test_a_zip_cut_short_is_named_and_left_alone(nb, places, monkeypatch, capsys):
    mine = places.data / "val2017.zip"
    data, fetched = coco_zip(mine), []

    def fetch(url, path, md5=None):
        fetched.append((url, path, md5))
        return path

    monkeypatch.setattr(nb, "download", fetch)
    for name in ("val2017", " val2017\n", "'val2017'"):
        assert nb.find_photos(name, places) == mine and not fetched
    for bad in (data[:-1], data[: len(data) // 2], b""):
        mine.write_bytes(bad)
        assert nb.find_photos("val2017", places) == places.local / "val2017.zip"
        said = capsys.readouterr().out
        assert said.count(f"{mine} is damaged") == 1 and mine.read_bytes() == bad
    url, md5 = "http://images.cocodataset.org/zips/val2017.zip", "442b8da7639aecaf257c1dceb8ba8c80"
    assert set(fetched) == {(url, places.local / "val2017.zip", md5)}
    mine.unlink()
    (places.data / "COCO" / "val2017").mkdir(parents=True)  # the blog's folder
    assert nb.find_photos("val2017", places) == places.data / "COCO" / "val2017"


def test_a_damaged_zip_that_was_fetched_is_fetched_again(nb, places, monkeypatch):
    data, kept = coco_zip(places.home / "made.zip"), places.local / "val2017.zip"
    kept.write_bytes(data[:-100])
    with serve({"/val2017.zip": data}) as server:
        entry = (f"{server.url}/val2017.zip", hashlib.md5(data).hexdigest())
        monkeypatch.setitem(nb.FETCHED, "val2017.zip", entry)
        assert nb.find_photos("val2017", places) == kept and kept.read_bytes() == data
        assert nb.find_photos("val2017", places) == kept and len(server.asked) == 1


def test_the_demos_photos(nb, places, monkeypatch, capsys):
    """COCO if it is there, else the bundled frames, else the stand-ins, never without a word."""
    monkeypatch.chdir(places.home)
    monkeypatch.setitem(nb.FETCHED, "val2017.zip", ("http://127.0.0.1:9/val2017.zip", None))
    monkeypatch.setattr(nb.time, "sleep", lambda seconds: None)
    assert nb.find_photos("bundled", places) == nb.STANDINS
    assert "Cannot download http://127.0.0.1:9/val2017.zip" in capsys.readouterr().out
    assert len(nb.load_photos(nb.STANDINS, 64)) >= 1
    (places.data / "frames").mkdir()
    assert nb.find_photos("bundled", places).resolve() == places.data / "frames"
    coco_zip(places.data / "val2017.zip")
    assert nb.find_photos("bundled", places).resolve() == places.data / "val2017.zip"
    with pytest.raises(nb.Problem, match="train2014"):  # in no other preset is it replaced
        monkeypatch.setitem(nb.FETCHED, "train2014.zip", ("http://127.0.0.1:9/t.zip", None))
        nb.find_photos("train2014", places)
    with pytest.raises(nb.Problem, match="my photos is not there"):
        nb.find_photos("my photos", places)


def test_the_style(nb, places, monkeypatch, capsys):
    monkeypatch.chdir(places.home)
    kandinsky = "data/styles/kandinsky.jpg"
    monkeypatch.setitem(nb.FETCHED, kandinsky, ("http://127.0.0.1:9/k.jpg", None))
    monkeypatch.setattr(nb.time, "sleep", lambda seconds: None)
    given = settings()
    demo, quick = (nb.resolve_settings(given | dict(preset=p), False) for p in ("demo", "quick"))
    assert nb.load_image(nb.find_style(demo, places)).size > (100, 100)
    with pytest.raises(nb.Problem, match="is not there"):
        nb.find_style(quick, places)
    with serve({"/k.jpg": encoded(picture(20, 20), "JPEG")}) as server:
        monkeypatch.setitem(nb.FETCHED, kandinsky, (f"{server.url}/k.jpg", None))
        for chosen in (demo, quick):
            assert nb.find_style(chosen, places).resolve() == places.home / kandinsky
    for better in ("data/styles/snow.jpg", "data/vikendi.jpg"):
        (places.home / better).write_bytes(b"better")
        assert nb.find_style(quick, places).resolve() == places.home / better
    (places.home / "mine.png").write_bytes(b"mine")
    mine = nb.resolve_settings(given | dict(style_image="mine.png"), False)
    assert nb.find_style(mine, places).resolve() == places.home / "mine.png"
    (places.home / "data/styles/city.jpg").write_bytes(b"city")
    final = "checkpoints/city-0123ab/final.pth"
    for painter in ("city", "checkpoints/city.pth", final):  # it paints in this style
        chosen = nb.resolve_settings(given | dict(paint_with=painter), False)
        assert nb.find_style(chosen, places).resolve() == places.home / "data/styles/city.jpg"
    (places.home / "data/styles/city.jpg").unlink()
    assert nb.find_style(chosen, places).resolve() == places.home / "data/vikendi.jpg"
    own = nb.resolve_settings(given | dict(paint_with="checkpoints/city-my_own/final.pth"), False)
    (places.home / "data/styles/city.jpg").write_bytes(b"city")  # the letters are no training's
    assert nb.find_style(own, places).resolve() == places.home / "data/vikendi.jpg"
    other = nb.resolve_settings(given | dict(style_image="other.png"), False)
    with pytest.raises(nb.Problem, match="other.png"):  # a wrong path is never replaced
        nb.find_style(other, places)


def test_addresses_that_end_alike_are_two_files(nb, places):
    files = {"/a/style.jpg": b"one", "/b/style.jpg": b"two", "/photos%20a.zip?x=1": b"three"}
    with serve(files) as server:
        urls = [f"{server.url}/a/style.jpg", f"{server.url}/b/style.jpg"]
        one, two = (nb.find(places, url) for url in urls)
        assert one.read_bytes() == b"one" and two.read_bytes() == b"two"
        for path, url in zip((one, two), urls):
            folder = places.data / "fetched" / hashlib.sha256(url.encode()).hexdigest()[:6]
            assert path == folder / "style.jpg"
        packed = f"{server.url}/photos%20a.zip?x=1"
        assert nb.find(places, packed).name == "photos a.zip"
        count = len(server.asked)
        assert nb.find(places, urls[0]) == one and len(server.asked) == count  # kept
        with pytest.raises(nb.Problem, match="404"):
            nb.find(places, f"{server.url}/c/style.jpg")
    with serve({"/big.zip": b"zip"}) as server:  # large ones go to this machine's disk
        assert places.local in nb.find(places, f"{server.url}/big.zip").parents


NETWORK = bytes(range(256)) * 1000


@pytest.fixture
def published(nb, places, monkeypatch):
    """A published repository, and work folders that know its address."""
    monkeypatch.chdir(places.home)
    monkeypatch.setattr(nb.time, "sleep", lambda seconds: None)
    files = {"/raw/checkpoints/start.pth": NETWORK, "/raw/data/styles/snow.jpg": NETWORK[:9999]}
    with serve(files) as server:
        places.repository = f"{server.url}/raw"
        yield server


def left(places) -> set:
    return {p.relative_to(places.home).as_posix() for p in places.home.rglob("*") if p.is_file()}


def test_what_is_missing_comes_from_the_repository(nb, places, published):
    path = nb.find(places, "checkpoints/start.pth", needed=False)
    assert path == places.checkpoints / "start.pth" and path.read_bytes() == NETWORK
    snow = nb.find(places, "data/vikendi.jpg", "data/styles/snow.jpg")
    assert snow == places.data / "styles" / "snow.jpg" and snow.read_bytes() == NETWORK[:9999]
    assert [p for p, _ in published.asked] == [
        "/raw/checkpoints/start.pth",
        "/raw/data/vikendi.jpg",  # not there: on to the next
        "/raw/data/styles/snow.jpg",
    ]
    nb.find(places, "checkpoints/start.pth")
    assert len(published.asked) == 3  # what is here is not asked for
    assert left(places) == {"checkpoints/start.pth", "data/styles/snow.jpg"}


def test_what_the_repository_does_not_have_is_none_or_one_sentence(nb, places, published, capsys):
    assert nb.find(places, "checkpoints/ready.pth", needed=False) is None
    assert capsys.readouterr().out == ""  # a guess that fails is no news
    with pytest.raises(nb.Problem, match="checkpoints/ready.pth is not there") as problem:
        nb.find(places, "checkpoints/ready.pth")
    assert "\n" not in str(problem.value)
    published.asked.clear()
    for private in ("mine.jpg", "../data/a.jpg", "/etc/none.jpg", "outputs/a.jpg", "data/frames"):
        assert nb.find(places, private, needed=False) is None
    assert published.asked == [] and left(places) == set()  # only data/… and checkpoints/… files


def test_a_repository_that_is_no_address_is_one_sentence(nb, places, capsys):
    places.repository = "owner/name"
    assert nb.find(places, "checkpoints/none.pth", needed=False) is None
    said = capsys.readouterr().out
    assert said == "owner/name/checkpoints/none.pth is no address: begin it with https://\n"


def test_the_repository_comes_before_the_web(nb, places, published, monkeypatch):
    name = "data/cockatoo.mp4"
    published.files["/web/cockatoo.mp4"] = b"from the web"
    entry = (published.url + "/web/cockatoo.mp4", None)
    monkeypatch.setitem(nb.FETCHED, name, entry)
    assert nb.find(places, name).read_bytes() == b"from the web"  # 404 in the repository
    (places.home / name).unlink()
    published.files["/raw/data/cockatoo.mp4"] = b"from the repository"
    assert nb.find(places, name).read_bytes() == b"from the repository"


def test_a_broken_transfer_from_the_repository_is_resumed(nb, places, published):
    published.plan["/raw/checkpoints/start.pth"] = ["drop", "503"]
    assert nb.find(places, "checkpoints/start.pth").read_bytes() == NETWORK
    half = f"bytes={len(NETWORK) // 2}-"
    assert [asked for _, asked in published.asked] == ["bytes=0-", half, half]
    assert left(places) == {"checkpoints/start.pth"}


def test_a_transfer_that_fails_for_good_leaves_nothing_half(nb, places, published, capsys):
    name, start = "checkpoints/start.pth", places.checkpoints / "start.pth"
    published.plan["/raw/" + name] = ["drop"] + ["503"] * 20
    assert nb.find(places, name, needed=False) is None  # and a training begins with its warm start
    said = capsys.readouterr().out
    assert "Cannot download" in said and name in said and not start.exists()
    snow = nb.find(places, name, "data/styles/snow.jpg")  # on to the next candidate
    assert snow.read_bytes() == NETWORK[:9999] and not start.exists()
    with pytest.raises(nb.Problem, match="start.pth is not there"):
        nb.find(places, name)
    assert not start.exists()
    published.plan.clear()
    published.asked.clear()
    assert nb.find(places, name).read_bytes() == NETWORK  # a later run goes on where it broke off
    assert published.asked == [("/raw/" + name, f"bytes={len(NETWORK) // 2}-")]


def test_without_a_repository_nothing_is_asked(nb, places, monkeypatch):
    monkeypatch.chdir(places.home)
    monkeypatch.setattr(nb, "open_url", lambda *given: 1 / 0)
    assert nb.find(places, "checkpoints/start.pth", needed=False) is None
    assert left(places) == set()


def test_a_zip_without_a_checksum_that_came_damaged_is_fetched_again(nb, places, monkeypatch):
    """An address's, or the repository's frames: once the server is right, so is the file."""
    monkeypatch.chdir(places.home)
    data = coco_zip(places.home / "made.zip")
    for bad in (data[:-100], b"no such file, but with status 200"):
        pages = {"/a.zip": bad, "/raw/data/frames.zip": bad}
        with serve(pages) as server:
            pages |= {"/a.zip": data, "/raw/data/frames.zip": data}
            own = places.local / "fetched" / "1" / "a.zip"
            own.parent.mkdir(parents=True, exist_ok=True)
            own.write_bytes(bad)
            assert nb.download(f"{server.url}/a.zip", own).read_bytes() == data
            (places.data / "frames.zip").write_bytes(bad)
            monkeypatch.setattr(places, "repository", f"{server.url}/raw")
            found = nb.find(places, "data/frames.zip")
            assert found.resolve() == places.data / "frames.zip" and found.read_bytes() == data


def test_a_trainings_folder_is_its_network(nb, places):
    """Its name, its path, with quotes around it, or with a slash at its end."""
    final = places.checkpoints / "snow-123456" / "final.pth"
    final.parent.mkdir()
    final.write_bytes(b"weights")
    paths = "snow-123456", f"{final.parent}", f"{final.parent}/", f'"{final.parent}"', f"{final}"
    for given in paths:
        assert nb.find_network(given, places) == final

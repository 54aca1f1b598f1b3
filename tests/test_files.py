"""Downloads, pictures and photo sets: the right result or one sentence, and nothing lost."""

import hashlib
import io
import os
import pathlib
import subprocess
import sys
import time
import types
import zipfile

import numpy as np
import PIL.Image
import pytest
import torch
from conftest import picture
from server import serve

DATA = os.urandom(700_001)
MD5 = hashlib.md5(DATA).hexdigest()


@pytest.mark.parametrize(
    "plan",
    [
        [],
        ["drop"],
        ["drop", "drop", "503"],
        ["503", "503"],
        ["drop", "no ranges"],
        ["no length"],
        ["other"],
        ["slow"],
        ["says more"],
        ["says less"],
        ["drop", "says less", "other", "503"],
    ],
)
def test_download_ends_in_the_right_bytes(nb, tmp_path, plan):
    with serve({"/f.zip": DATA}, {"/f.zip": list(plan)}) as server:
        path = nb.download(f"{server.url}/f.zip", tmp_path / "new" / "f.zip", MD5, pause=0.01)
        assert path.read_bytes() == DATA
        assert [p.name for p in path.parent.iterdir()] == ["f.zip"]
        if plan == ["drop"]:
            assert server.asked[1][1] == f"bytes={len(DATA) // 2}-"  # resumed, not begun again


def test_download_goes_on_where_an_earlier_run_was_killed(nb, tmp_path):
    (tmp_path / "f.zip.part").write_bytes(DATA[:600_000])
    with serve({"/f.zip": DATA}) as server:
        assert nb.download(f"{server.url}/f.zip", tmp_path / "f.zip", MD5).read_bytes() == DATA
        assert server.asked == [("/f.zip", "bytes=600000-")]


KILLS = """
import os, pathlib, random, signal, sys, time
sys.path.insert(0, {tests!r})
from notebook import load_definitions
nb = load_definitions()
part, dice = pathlib.Path({path!r} + ".part"), random.Random(0)
for _ in range(10):
    begin, child = part.stat().st_size if part.exists() else 0, os.fork()
    if not child:
        nb.download({url!r}, {path!r}, {md5!r})
        os._exit(0)
    end = time.monotonic() + 20
    while time.monotonic() < end and (not part.exists() or part.stat().st_size <= begin):  # until it has got something
        time.sleep(0.001)
    time.sleep(dice.uniform(0, 0.01))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print(part.stat().st_size)
"""


def test_download_survives_ten_kills_without_starting_over(nb, tmp_path):
    """SIGKILL at random moments of a slow transfer: every run goes on from the bytes of the one before."""
    path, data = tmp_path / "f.zip", DATA * 8
    md5 = hashlib.md5(data).hexdigest()
    with serve({"/f.zip": data}, {"/f.zip": ["slow"] * 10}) as server:
        url = f"{server.url}/f.zip"
        program = KILLS.format(tests=str(pathlib.Path(__file__).parent), path=str(path), url=url, md5=md5)
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
        sizes = [0, *map(int, done.stdout.split())]
        assert len(sizes) == 11 and sizes == sorted(set(sizes)) and sizes[-1] < len(data), done.stdout + done.stderr
        assert not path.exists()
        server.asked.clear()
        assert nb.download(url, path, md5).read_bytes() == data
        assert server.asked == [("/f.zip", f"bytes={sizes[-1]}-")]


@pytest.mark.parametrize("left", [DATA, DATA[:-1] + b"!", DATA + b"more"])
def test_download_checks_a_part_that_is_already_whole(nb, tmp_path, left):
    (tmp_path / "f.zip.part").write_bytes(left)
    with serve({"/f.zip": DATA}) as server:
        assert nb.download(f"{server.url}/f.zip", tmp_path / "f.zip", MD5, pause=0.01).read_bytes() == DATA


def test_download_reuses_a_good_file_and_replaces_a_bad_one(nb, tmp_path):
    path = tmp_path / "f.zip"
    path.write_bytes(DATA)
    with serve({"/f.zip": DATA}) as server:
        nb.download(f"{server.url}/f.zip", path, MD5)
        assert server.asked == []
        path.write_bytes(b"damaged")
        assert nb.download(f"{server.url}/f.zip", path, MD5).read_bytes() == DATA


@pytest.mark.parametrize("plan, part", [(["404"], "404"), (["503"] * 9, "503"), (["other"] * 9, "checksum")])
def test_download_that_fails_is_one_sentence_and_leaves_no_bad_file(nb, tmp_path, plan, part):
    path = tmp_path / "f.zip"
    path.write_bytes(b"an older file")
    with serve({"/f.zip": DATA}, {"/f.zip": plan}) as server, pytest.raises(nb.Problem) as problem:
        nb.download(f"{server.url}/f.zip", path, MD5, retries=2, pause=0.01)
    assert part in str(problem.value) and "/f.zip" in str(problem.value) and "\n" not in str(problem.value)
    assert path.read_bytes() == b"an older file"


def test_no_network_is_one_sentence(nb, tmp_path):
    with pytest.raises(nb.Problem, match="Cannot download"):
        nb.download("http://127.0.0.1:9/f.zip", tmp_path / "f.zip", retries=1, pause=0.01)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_said_before_anything_is_fetched(nb, tmp_path, monkeypatch):
    monkeypatch.setattr(nb.shutil, "disk_usage", lambda path: os.statvfs_result and type("U", (), {"free": 1000})())
    with serve({"/f.zip": DATA}) as server, pytest.raises(nb.Problem, match="only 0 MB are free"):
        nb.download(f"{server.url}/f.zip", tmp_path / "f.zip")
    assert not (tmp_path / "f.zip").exists()


def encoded(image, kind="PNG", **options) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_load_image_reads_every_mode(nb, mode):
    source = picture(20, 12)
    if mode == "I;16":
        image = PIL.Image.fromarray(np.asarray(source.convert("L")).astype(np.uint16) * 257)
        wanted = np.asarray(source.convert("L").convert("RGB"))
    else:
        image = source.convert(mode)
        wanted = np.asarray(image.convert("RGB"))
    loaded = nb.load_image(encoded(image))
    assert loaded.mode == "RGB" and loaded.size == (20, 12)
    assert np.abs(np.asarray(loaded).astype(int) - wanted).max() <= 1


def test_load_image_cmyk_and_orientation(nb, tmp_path):
    assert nb.load_image(encoded(picture(20, 12).convert("CMYK"), "JPEG")).mode == "RGB"
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    turned = nb.load_image(encoded(picture(20, 12), "PNG", exif=exif))
    assert turned.size == (12, 20)
    assert np.array_equal(np.asarray(turned), np.rot90(np.asarray(picture(20, 12)), -1))


def test_load_image_takes_path_url_bytes_and_pil(nb, tmp_path):
    image = picture(20, 12)
    data = encoded(image)
    (tmp_path / "a.png").write_bytes(data)
    with serve({"/a.png": data}) as server:
        for source in (tmp_path / "a.png", str(tmp_path / "a.png"), f"{server.url}/a.png", data, image):
            assert np.array_equal(np.asarray(nb.load_image(source)), np.asarray(image))


@pytest.mark.parametrize("content", [b"", b"text", encoded(picture(64, 64))[:300]])
def test_load_image_names_what_cannot_be_read(nb, tmp_path, content):
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(nb.Problem, match="broken.png"):
        nb.load_image(tmp_path / "broken.png")
    for missing in (tmp_path / "missing.png", "http://127.0.0.1:9/missing.png"):
        with pytest.raises(nb.Problem, match="missing.png"):
            nb.load_image(missing)


def test_load_photos_from_folder_and_zip_are_the_same(nb, photo_folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in sorted(photo_folder.rglob("*.jpg")):
            archive.write(path, f"val/{path.name}")
    photos = nb.load_photos(photo_folder, 64)
    assert photos.shape == (6, 3, 64, 64) and photos.dtype == torch.uint8
    assert torch.equal(photos, nb.load_photos(tmp_path / "photos.zip", 64))
    some = nb.load_photos(photo_folder, 64, limit=3, seed=1)
    assert len(some) == 3 and torch.equal(some, nb.load_photos(photo_folder, 64, limit=3, seed=1))


def test_load_photos_shrinks_as_a_plain_resize_does(nb, tmp_path):
    (tmp_path / "p").mkdir()
    image = picture(640, 480, 3)
    image.save(tmp_path / "p" / "a.jpg", quality=98)
    plain = image.crop((80, 0, 560, 480)).resize((64, 64), PIL.Image.Resampling.BICUBIC)
    mine = nb.load_photos(tmp_path / "p", 64)[0].permute(1, 2, 0).numpy()
    assert np.abs(mine.astype(int) - np.asarray(plain)).mean() < 3


def test_load_photos_skips_and_names_bad_files(nb, photo_folder, capsys):
    (photo_folder / "bad.jpg").write_bytes(b"no picture")
    picture(8, 8).save(photo_folder / "tiny.png")
    picture(40, 40).convert("L").save(photo_folder / "grey.png")
    photos = nb.load_photos(photo_folder, 32)
    assert len(photos) == 7
    said = capsys.readouterr().out
    assert "Skipped 2 of 9" in said and "bad.jpg" in said and "tiny.png" in said


def test_load_photos_without_photos_is_one_sentence(nb, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut.zip").write_bytes(b"PK\3\4 cut short")
    for source in (tmp_path / "empty", tmp_path / "nothing"):
        with pytest.raises(nb.Problem, match="No photos found"):
            nb.load_photos(source)
    with pytest.raises(nb.Problem, match="not a zip file"):
        nb.load_photos(tmp_path / "cut.zip")


def test_zip_entries_that_point_outside_touch_nothing(nb, tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../../escaped.png", encoded(picture(40, 40)))
    assert len(nb.load_photos(tmp_path / "evil.zip", 32)) == 1
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["evil.zip"]


GIVEN = dict(
    preset="demo",
    use_drive=True,
    dataset="",
    style_image="",
    content_image="",
    video="",
    vgg_weights="",
    steps=None,
    warmup_steps=None,
    batch_size=None,
    image_size=None,
    style_size=None,
    learning_rate=None,
    content_weight=None,
    style_weight=None,
    tv_weight=None,
    temporal_weight=None,
    checkpoint_every=None,
    resume=True,
    start_from="",
    seed=0,
    paint_with="",
    strength=1.0,
    stroke_size=1.0,
    keep_colors=False,
    clip_start=0.0,
    clip_duration=None,
    max_frames=None,
    steady=0.5,
    side_by_side=False,
    compare_iterations=None,
)


def test_settings_empty_means_what_the_preset_says(nb):
    demo, quick = nb.resolve_settings(GIVEN, False), nb.resolve_settings(GIVEN | dict(preset="auto"), True)
    assert demo.image_size == 128 and nb.resolve_settings(GIVEN | dict(preset="auto"), False).preset == "demo"
    assert (quick.preset, quick.batch_size, quick.image_size, quick.learning_rate) == ("quick", 8, 256, 1e-3)
    assert quick.steps * quick.batch_size == 32_000 and nb.PRESETS["full"]["steps"] * 8 == 320_000
    own = nb.resolve_settings(GIVEN | dict(steps=7, temporal_weight=0, max_frames=3), False)
    assert (own.steps, own.temporal_weight, own.max_frames, own.batch_size) == (7, 0, 3, demo.batch_size)


@pytest.mark.parametrize(
    "bad",
    [
        dict(preset="fast"),
        dict(steps=-1),
        dict(batch_size=2.5),
        dict(image_size="big"),
        dict(strength=1.5),
        dict(learning_rate=0),
        dict(seed=-1),
        dict(vgg_weights="vgg19"),
        dict(max_frames=0),
        dict(resume="yes"),
        dict(style_image=3),
        dict(content_weight=float("nan")),
        dict(steady=2),
        dict(clip_duration=0),
    ],
)
def test_settings_that_cannot_work_are_one_sentence(nb, bad):
    with pytest.raises(nb.Problem, match=next(iter(bad))) as problem:
        nb.resolve_settings(GIVEN | bad, False)
    assert "\n" not in str(problem.value)


def test_a_set_too_large_for_memory_is_mapped_from_disk_and_built_once(nb, photo_folder, tmp_path, monkeypatch):
    (photo_folder / "000.jpg").write_bytes(b"no picture")
    whole = nb.load_photos(photo_folder, 64)
    monkeypatch.setattr(nb.os, "sysconf", lambda name: 100)
    mapped = nb.load_photos(photo_folder, 64, cache=tmp_path / "cache")
    assert torch.equal(mapped, whole)
    (file,) = (tmp_path / "cache").iterdir()
    assert file.suffix == ".photos" and file.stat().st_size == whole.numel()
    monkeypatch.setattr(nb, "decode_photo", lambda *_: 1 / 0)  # it is not decoded again
    again = nb.load_photos(photo_folder, 64, cache=tmp_path / "cache")
    again[0] = 0  # and nobody can spoil it
    assert torch.equal(nb.load_photos(photo_folder, 64, cache=tmp_path / "cache"), whole)
    monkeypatch.setattr(nb.shutil, "disk_usage", lambda path: type("U", (), {"free": 10})())
    with pytest.raises(nb.Problem, match="free space"):
        nb.load_photos(photo_folder, 48, cache=tmp_path / "cache")


@pytest.fixture
def places(tmp_path):
    """The work folders, and COCO's local disk."""
    return types.SimpleNamespace(home=tmp_path, data=tmp_path / "data", local=tmp_path / "local")


def coco_zip(path, count=3) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for n in range(count):
            archive.writestr(f"val2017/{n:012d}.jpg", encoded(picture(60, 50, n), "JPEG"))
    return path.read_bytes()


def test_a_good_zip_on_the_drive_is_used_and_a_bad_one_is_not(nb, places, monkeypatch, capsys):
    mine = places.data / "val2017.zip"
    data = coco_zip(mine)
    monkeypatch.setitem(nb.COCO, "val2017", (hashlib.md5(data).hexdigest(), len(data)))
    fetched = []
    monkeypatch.setattr(nb, "download", lambda url, path, md5=None: fetched.append((url, path, md5)) or path)
    assert nb.find_photos("val2017", places) == mine and not fetched
    for bad in (data[:-1], data[:-1] + b"!"):
        mine.write_bytes(bad)
        assert nb.find_photos("val2017", places) == places.local / "val2017.zip"
        assert f"{mine} is damaged" in capsys.readouterr().out and mine.read_bytes() == bad
    url, path, md5 = fetched[-1]
    assert url == "http://images.cocodataset.org/zips/val2017.zip" and md5 == hashlib.md5(data).hexdigest()
    mine.unlink()
    (places.data / "COCO" / "val2017").mkdir(parents=True)  # the blog's folder
    assert nb.find_photos("val2017", places) == places.data / "COCO" / "val2017"


def standin_drive(monkeypatch, mount):
    package, drive = types.ModuleType("google.colab"), types.ModuleType("google.colab.drive")
    drive.mount, package.drive = mount, drive
    for name, module in (("google", types.ModuleType("google")), ("google.colab", package)):
        monkeypatch.setitem(sys.modules, name, module)


def refused(place):
    raise ValueError("mount failed: credential propagation was unsuccessful")


@pytest.mark.parametrize("trouble", ["refused", "read-only", "full"])
def test_a_drive_that_cannot_be_used_is_one_sentence_and_work_goes_on(nb, tmp_path, monkeypatch, capsys, trouble):
    monkeypatch.chdir(tmp_path)
    standin_drive(monkeypatch, refused if trouble == "refused" else lambda place: None)
    mkdir, write = nb.pathlib.Path.mkdir, nb.pathlib.Path.write_text

    def guarded(plain, number, message):
        def call(path, *given, **more):
            if str(path).startswith("/content/gdrive"):
                if plain is mkdir and trouble == "full":
                    return None
                raise OSError(number, message)
            return plain(path, *given, **more)

        return call

    message = (30, "Read-only file system") if trouble == "read-only" else (28, "No space left on device")
    monkeypatch.setattr(nb.pathlib.Path, "mkdir", guarded(mkdir, *message))
    monkeypatch.setattr(nb.pathlib.Path, "write_text", guarded(write, *message))
    places = nb.connect_drive(True)
    said = capsys.readouterr().out
    assert places.home == tmp_path and places.checkpoints.is_dir()
    assert "Google Drive cannot be used" in said and "not be kept" in said
    assert {"refused": "credential", "read-only": "Read-only", "full": "No space"}[trouble] in said


def test_use_drive_false_never_touches_it(nb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    calls = []
    standin_drive(monkeypatch, calls.append)
    assert nb.connect_drive(False).home == tmp_path and not calls


def test_a_slow_folder_is_read_by_several_threads(nb, photo_folder, monkeypatch):
    """20 ms a file, as Drive: the waits overlap."""
    read, waiting, most = nb.pathlib.Path.read_bytes, [], []

    def slow(path):
        waiting.append(1)
        most.append(len(waiting))
        time.sleep(0.02)
        waiting.pop()
        return read(path)

    monkeypatch.setattr(nb.pathlib.Path, "read_bytes", slow)
    assert len(nb.load_photos(photo_folder, 32)) == 6 and max(most) > 1

"""Downloads: the right bytes or one sentence, and nothing lost."""

import email.message
import hashlib
import io
import os
import pathlib
import subprocess
import sys
import types

import pytest
from server import serve

DATA = os.urandom(700_001)
MD5 = hashlib.md5(DATA).hexdigest()
PLANS = [
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
]


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_ends_in_the_right_bytes(nb, tmp_path, plan):
    with serve({"/f.zip": DATA}, {"/f.zip": list(plan)}) as server:
        target = tmp_path / "new" / "f.zip"
        path = nb.download(f"{server.url}/f.zip", target, MD5, pause=0.01)
        assert path == target and path.read_bytes() == DATA
        assert [p.name for p in path.parent.iterdir()] == ["f.zip"]
        if plan == ["drop"]:
            assert server.asked[1][1] == f"bytes={len(DATA) // 2}-"  # resumed, not begun again


@pytest.mark.parametrize("plan", [[], ["drop", "503"], ["says more"], ["drop", "no ranges"]])
def test_ends_in_the_right_bytes_without_a_checksum(nb, tmp_path, plan):
    with serve({"/f": DATA}, {"/f": list(plan)}) as server:
        assert nb.download(f"{server.url}/f", tmp_path / "f", pause=0.01).read_bytes() == DATA
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_letters_of_any_language_in_an_address(nb, tmp_path):
    with serve({"/%EC%82%AC%EC%A7%84%20a%2Cb.bin?x=1": DATA}) as server:
        path = nb.download(f"{server.url}/사진 a%2Cb.bin?x=1", tmp_path / "f")
    assert path.read_bytes() == DATA


def test_letters_of_any_language_in_a_hosts_name(nb, monkeypatch):
    asked = []
    monkeypatch.setattr(nb, "urlopen", lambda request, timeout: asked.append(request.full_url))
    nb.open_url("http://그림.example:81/눈.png?a=1")
    nb.open_url("https://example.com/a%20b.png")
    snow = "%EB%88%88.png"
    assert asked == [f"http://xn--2i0b46t.example:81/{snow}?a=1", "https://example.com/a%20b.png"]


@pytest.mark.parametrize(
    "kind, body",
    [("application/json", b'{"error": "sign in"}'), ("application/xhtml+xml", b"<html/>"),
     ("text/html; charset=utf-8", b"<html/>"), ("video/mp4", b"")],
)  # fmt: skip
def test_an_answer_that_is_no_file_is_not_kept(nb, tmp_path, monkeypatch, kind, body):
    """A page, a service's complaint, nothing at all."""

    def urlopen(request, timeout):
        answer = io.BytesIO(body)
        answer.headers = email.message.Message()
        answer.headers["Content-Type"] = kind
        return answer

    monkeypatch.setattr(nb, "urlopen", urlopen)
    with pytest.raises(nb.Problem, match="is a web page" if body else "ended early"):
        nb.download("http://example.com/a.mp4", tmp_path / "a.mp4", retries=1, pause=0)
    assert not (tmp_path / "a.mp4").exists()


def test_goes_on_where_an_earlier_run_was_killed(nb, tmp_path):
    (tmp_path / "f.zip.part").write_bytes(DATA[:600_000])
    with serve({"/f.zip": DATA}) as server:
        path = nb.download(f"{server.url}/f.zip", tmp_path / "f.zip", MD5)
        assert path.read_bytes() == DATA
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
    end = time.monotonic() + 20  # until it has got something
    while time.monotonic() < end and (not part.exists() or part.stat().st_size <= begin):
        time.sleep(0.001)
    time.sleep(dice.uniform(0, 0.01))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print(part.stat().st_size)
"""


def test_survives_ten_kills_without_starting_over(nb, tmp_path):
    """SIGKILL at random moments of a slow transfer: every run goes on from the bytes before."""
    path, data = tmp_path / "f.zip", DATA * 8
    md5 = hashlib.md5(data).hexdigest()
    with serve({"/f.zip": data}, {"/f.zip": ["slow"] * 10}) as server:
        url, tests = f"{server.url}/f.zip", str(pathlib.Path(__file__).parent)
        program = KILLS.format(tests=tests, path=str(path), url=url, md5=md5)
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        sizes, said = [0, *map(int, done.stdout.split())], done.stdout + done.stderr
        assert len(sizes) == 11 and sizes == sorted(set(sizes)) and sizes[-1] < len(data), said
        assert not path.exists()
        server.asked.clear()
        assert nb.download(url, path, md5).read_bytes() == data
        assert server.asked == [("/f.zip", f"bytes={sizes[-1]}-")]


@pytest.mark.parametrize("left", [DATA, DATA[:-1] + b"!", DATA + b"more"])
def test_checks_a_part_that_is_already_whole(nb, tmp_path, left):
    (tmp_path / "f.zip.part").write_bytes(left)
    with serve({"/f.zip": DATA}) as server:
        path = nb.download(f"{server.url}/f.zip", tmp_path / "f.zip", MD5, pause=0.01)
    assert path.read_bytes() == DATA and [p.name for p in tmp_path.iterdir()] == ["f.zip"]


def test_reuses_a_good_file_and_replaces_a_bad_one(nb, tmp_path):
    path = tmp_path / "f.zip"
    path.write_bytes(DATA)
    with serve({"/f.zip": DATA}) as server:
        nb.download(f"{server.url}/f.zip", path, MD5)
        assert server.asked == []
        for bad in (b"damaged", b""):
            path.write_bytes(bad)
            assert nb.download(f"{server.url}/f.zip", path, MD5).read_bytes() == DATA


@pytest.mark.parametrize(
    "plan, part", [(["404"], "404"), (["503"] * 9, "503"), (["other"] * 9, "checksum")]
)
def test_one_that_fails_is_one_sentence_and_leaves_no_bad_file(nb, tmp_path, plan, part):
    path = tmp_path / "f.zip"
    path.write_bytes(b"an older file")
    with serve({"/f.zip": DATA}, {"/f.zip": plan}) as server:
        with pytest.raises(nb.Problem) as problem:
            nb.download(f"{server.url}/f.zip", path, MD5, retries=2, pause=0.01)
        assert len(server.asked) == (1 if part == "404" else 3)  # what is not there, is not there
    said = str(problem.value)
    assert part in said and "/f.zip" in said and str(path) in said and "\n" not in said
    assert path.read_bytes() == b"an older file"


def test_no_network_is_one_sentence(nb, tmp_path):
    with pytest.raises(nb.Problem, match="Cannot download"):
        nb.download("http://127.0.0.1:9/f.zip", tmp_path / "f.zip", retries=1, pause=0.01)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_said_before_anything_is_fetched(nb, tmp_path, monkeypatch):
    full = types.SimpleNamespace(free=1000)
    monkeypatch.setattr(nb.shutil, "disk_usage", lambda path: full)
    with serve({"/f.zip": DATA}) as server:
        with pytest.raises(nb.Problem, match="needs 1 MB: make room in"):
            nb.download(f"{server.url}/f.zip", tmp_path / "f.zip")
        assert len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_two_processes_do_not_write_into_each_others_part(nb, tmp_path, monkeypatch):
    """Under torchrun, each has a part of its own; what one fetched, the other finds whole."""
    with serve({"/f.zip": DATA}) as server:
        monkeypatch.setenv("RANK", "1")
        (tmp_path / "f.zip.part").write_bytes(b"another process is at work here")
        (tmp_path / "f.zip.part0").write_bytes(b"and here")
        path = nb.download(f"{server.url}/f.zip", tmp_path / "f.zip", MD5)
    assert path.read_bytes() == DATA
    assert (tmp_path / "f.zip.part").read_bytes() == b"another process is at work here"
    assert (tmp_path / "f.zip.part0").read_bytes() == b"and here"

"""Clips through the network: size, rate, sound and colours kept; every source; every failure."""

import contextlib
import gc
import hashlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction

import imageio_ffmpeg
import numpy as np
import PIL.Image
import pytest
import torch
from helpers import (
    FFMPEG,
    Tinted,
    color_clip,
    duration,
    make_clip,
    picture,
    probe,
    read,
    write_clip,
)
from notebook import ROOT
from server import serve

pytestmark = pytest.mark.colab  # Colab's ffmpeg is another one


def names(folder) -> list[str]:
    """The folder's files."""
    return sorted(path.name for path in folder.iterdir())


def test_sample_clip_keeps_size_rate_frames_and_sound(nb, tmp_path):
    path = nb.stylize_video(Tinted(), ROOT / "data" / "gameplay.mp4", tmp_path / "out.mp4")
    frames = read(path)
    assert frames.shape == (239, 360, 640, 3)
    said = probe(path)
    assert "30 fps" in said and "640x360" in said and "Audio: aac" in said and "yuv420p" in said
    stream = [FFMPEG, "-v", "error", "-i", "{}", "-map", "0:a", "-c", "copy", "-f", "md5", "-"]
    sounds = {
        subprocess.run(
            [part.format(p) for part in stream], capture_output=True, text=True, check=True
        ).stdout
        for p in (path, ROOT / "data" / "gameplay.mp4")
    }
    assert len(sounds) == 1  # the sound is the original's, bit for bit
    original = read(ROOT / "data" / "gameplay.mp4")
    assert np.abs(frames[:, :, :, 0].astype(int) - original[:, :, :, 0]).mean() < 6  # red stays red
    tinted = original[::40].mean((1, 2)) * [1, 1, 0.5]
    assert np.abs(frames[::40].mean((1, 2)) - tinted).max() < 4


@pytest.mark.parametrize(
    "rate, shown", [("30000/1001", "29.97 fps"), ("25", "25 fps"), ("60", "60 fps")]
)
def test_rate_is_kept(nb, tmp_path, rate, shown):
    clip = make_clip(tmp_path / "in.mp4", rate=rate, sound=False)
    path = nb.stylize_video(Tinted(), clip, tmp_path / "out.mp4")
    assert shown in probe(path) and "Audio" not in probe(path)
    assert len(read(path)) == len(read(clip))


def test_what_is_known_of_a_clip(nb, tmp_path):
    """Counted, not read from the header's text: the rate is exact."""
    clip = make_clip(tmp_path / "in.mp4", rate="30000/1001", seconds=2)
    about, frames = nb.open_video(clip)
    assert about.size == (64, 48) and about.rate == Fraction(30000, 1001)
    assert about.frames == len(read(clip)) == len(list(frames)) and about.sound == ["aac"]
    about, frames = nb.open_video(clip, start=1.0, seconds=0.5)
    assert about.frames == 15 == len(list(frames))
    with pytest.raises(nb.Problem, match="in.mp4 ends before its second 2.5"):
        nb.open_video(clip, start=2.5)


def test_frames_for_the_sheet(nb, tmp_path):
    clip = make_clip(tmp_path / "in.mp4", rate="10", seconds=9, sound=False)
    frames = read(clip)
    for start, titles in ((0.0, ["0 s", "2 s", "4 s", "6 s"]), (1.0, ["1 s", "3 s", "5 s", "7 s"])):
        shown = nb.first_frames(clip, start)
        assert list(shown) == titles
        for title, image in shown.items():
            moment = round(10 * float(title.split()[0]))
            assert np.abs(np.asarray(image).astype(int) - frames[moment]).max() <= 2
    short = nb.first_frames(make_clip(tmp_path / "short.mp4", rate="10", seconds=0.8, sound=False))
    assert list(short) == ["0 s", "0.2 s", "0.4 s", "0.6 s"]


def test_odd_sizes_grow_by_one_pixel_at_most(nb, tmp_path):
    clip = make_clip(tmp_path / "in.mkv", size="63x47", sound=False, extra=["-c:v", "ffv1"])
    painted = read(nb.stylize_video(Tinted(), clip, tmp_path / "out.mp4"))
    assert painted.shape[1:3] == (48, 64)


def test_wide_pixels_become_square(nb, tmp_path):
    """A DVD's or a camcorder's clip is shown wider than it is stored."""
    clip = make_clip(tmp_path / "in.mkv", size="32x48", sound=False, extra=["-aspect", "4:3"])
    assert nb.open_video(clip)[0].size == (64, 48)
    painted = nb.stylize_video(Tinted(), clip, tmp_path / "out.mp4")
    assert read(painted).shape[1:3] == (48, 64)


def test_side_by_side_and_max_frames(nb, tmp_path):
    clip = make_clip(tmp_path / "in.mp4", seconds=2)
    path = nb.stylize_video(Tinted(), clip, tmp_path / "out.mp4", side_by_side=True, max_frames=20)
    frames = read(path)
    assert frames.shape == (20, 48, 128, 3)
    left, right = frames[..., :64, 2].astype(int), frames[..., 64:, 2]
    assert np.abs(left.mean() * 0.5 - right.mean()) < 6
    about, _ = nb.open_video(path)
    assert about.sound == ["aac"] and about.frames == 20
    assert abs(duration(path) - 20 / 30) < 0.1  # the sound ends with the picture


def test_a_real_network_paints_a_small_clip(nb, tmp_path):
    clip = make_clip(tmp_path / "in.mp4", size="32x20", rate="5", sound=False)
    network = nb.TransformerNet().eval()
    frames = read(nb.stylize_video(network, clip, tmp_path / "out.mp4"))
    assert frames.shape == (5, 20, 32, 3)


@pytest.mark.parametrize("content", [b"", b"this is a text file\n" * 50])
def test_not_a_video_is_one_sentence_and_keeps_the_old_result(nb, tmp_path, content):
    (tmp_path / "bad.mp4").write_bytes(content)
    (tmp_path / "out.mp4").write_bytes(b"an earlier result")
    for name in ("bad.mp4", "missing.mp4"):
        with pytest.raises(nb.Problem, match=name) as problem:
            nb.stylize_video(Tinted(), tmp_path / name, tmp_path / "out.mp4")
        assert "\n" not in str(problem.value)
    assert names(tmp_path) == ["bad.mp4", "out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"an earlier result"


def test_sound_without_picture_is_one_sentence(nb, tmp_path):
    tone = [FFMPEG, "-v", "error", "-f", "lavfi", "-i", "sine=duration=1", tmp_path / "tone.mp4"]
    subprocess.run(tone, check=True)
    with pytest.raises(nb.Problem, match="tone.mp4"):
        nb.stylize_video(Tinted(), tmp_path / "tone.mp4", tmp_path / "out.mp4")


@pytest.mark.parametrize("ending", [".mkv", ".mp4"])
def test_a_clip_cut_short_gives_the_frames_before_the_cut(nb, tmp_path, ending):
    """And the sound ends with the picture."""
    extra = ["-g", "10", "-movflags", "+faststart"] if ending == ".mp4" else ["-g", "10"]
    clip = make_clip(tmp_path / f"in{ending}", seconds=4, extra=extra)
    clip.write_bytes(clip.read_bytes()[: int(clip.stat().st_size * 0.6)])
    path = nb.stylize_video(Tinted(), clip, tmp_path / "out.mp4")
    frames = read(path)
    assert 40 <= len(frames) < 120
    assert "Audio: aac" in probe(path)
    assert abs(duration(path) - len(frames) / 30) < 0.3


@pytest.mark.parametrize("painted", [0, 10])
def test_a_failure_while_painting_keeps_the_old_result(nb, tmp_path, painted):
    """What was painted until then is in the part; where nothing was, there is none."""
    clip = make_clip(tmp_path / "in.mp4")
    (tmp_path / "out.mp4").write_bytes(b"an earlier result")

    class Broken(Tinted):
        left = painted

        def forward(self, x):
            if not self.left:
                raise RuntimeError("out of order")
            self.left -= 1
            return super().forward(x)

    with pytest.raises(RuntimeError, match="out of order"):
        nb.stylize_video(Broken(), clip, tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4").read_bytes() == b"an earlier result"
    if painted:
        assert len(read(tmp_path / "out.part.mp4")) == painted
        (tmp_path / "out.part.mp4").unlink()
    assert names(tmp_path) == ["in.mp4", "out.mp4"]


@pytest.mark.parametrize("color", ["red", "#20C040", "#4060F0"])
def test_colours_are_kept(nb, tmp_path, color):
    clip = color_clip(tmp_path / "in.mp4", color)
    before = next(nb.open_video(clip)[1]).astype(float)
    wanted = PIL.Image.new("RGB", (1, 1), color).getpixel((0, 0))
    assert np.abs(before - wanted).max() <= 4
    path = nb.stylize_video(Tinted(), clip, tmp_path / "out.mp4", strength=0)
    after = read(path).astype(float).mean((0, 1, 2))
    assert np.abs(after - before.mean((0, 1))).max() <= 4  # what the encoder rounds


@pytest.mark.parametrize(
    "how", [{}, dict(scale=2.0), dict(strength=0.5, keep_colors=True, scale=0.5)], ids=str
)
def test_frames_are_painted_as_pictures_are(nb, tmp_path, monkeypatch, how):
    """What goes to the encoder is what stylize_image paints of the same frame, stroke size too."""
    network, sent = nb.fresh_network(0).eval(), []
    clip = make_clip(tmp_path / "in.mp4", rate="5", sound=False)
    writer = nb.video_writer

    @contextlib.contextmanager
    def spy(*given):
        with writer(*given) as write:
            yield lambda frame: sent.append(frame) or write(frame)

    monkeypatch.setattr(nb, "video_writer", spy)
    nb.stylize_video(network, clip, tmp_path / "out.mp4", steady=0, **how)
    monkeypatch.undo()
    frames = list(nb.open_video(clip)[1])
    assert len(sent) == len(frames) == 5
    for frame, painted in zip(frames, sent):
        wanted = np.asarray(nb.stylize_image(network, PIL.Image.fromarray(frame), **how))
        np.testing.assert_array_equal(painted, wanted)
    plain = nb.stylize_image(network, PIL.Image.fromarray(frames[0]))
    assert (not how) == np.array_equal(sent[0], np.asarray(plain))


def test_an_upright_phone_clip_stays_upright(nb, tmp_path):
    make_clip(tmp_path / "flat.mp4", size="64x48")
    turned = tmp_path / "in.mp4"
    turn = ["-display_rotation", "90", "-i", str(tmp_path / "flat.mp4"), "-c", "copy"]
    subprocess.run([FFMPEG, "-v", "error", *turn, str(turned)], check=True)
    painted = nb.stylize_video(Tinted(), turned, tmp_path / "out.mp4", strength=0)
    assert read(painted).shape[1:3] == (64, 48)
    upright = np.rot90(read(tmp_path / "flat.mp4")[0])  # and the same way up
    assert np.abs(read(painted)[0].astype(int) - upright).mean() < 6


def test_uneven_timing_keeps_its_length_and_sound(nb, tmp_path):
    """Frames at 0, 1, 2, ... then every fourth: as a phone or a screen recorder writes them."""
    make_clip(tmp_path / "even.mp4", seconds=2)
    uneven = tmp_path / "in.mkv"
    choose = ["-vf", "select='lt(n,20)+not(mod(n,4))'", "-fps_mode", "vfr"]
    command = [FFMPEG, "-v", "error", "-i", str(tmp_path / "even.mp4"), *choose, str(uneven)]
    subprocess.run(command, check=True)
    path = nb.stylize_video(Tinted(), uneven, tmp_path / "out.mp4", strength=0)
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert abs(seconds - 2) < 0.15 and "Audio: aac" in probe(path)
    original = read(tmp_path / "even.mp4")
    rate = frames / seconds
    for moment in (0.5, 1.5):  # the same thing is seen at the same time (within the longest gap)
        shown, first = read(path)[int(moment * rate)].astype(int), int(moment * 30)
        assert min(np.abs(shown - original[first + n]).mean() for n in range(-5, 5)) < 6


@pytest.mark.parametrize("colours", ["yuv444p", "yuv420p"])
def test_a_clip_is_entered_without_losing_its_first_frame(nb, tmp_path, monkeypatch, colours):
    """Old x264 wrote 4:4:4 in its own way and said so in the first frame alone (as in imageio's
    cockatoo clip): a decoder that jumps over it makes green squares of the rest. No x264 at hand
    writes so any more, so the arguments are looked at: the cut is the output's, not the input's."""
    extra = ("-pix_fmt", colours, "-g", "30")
    clip = make_clip(tmp_path / "clip.mp4", size="160x120", seconds=3, extra=extra)
    frames, asked, real = [*nb.open_video(clip)[1]], [], subprocess.Popen
    assert len(frames) == 90

    def spy(command, *rest, **more):
        asked.append(list(map(str, command)))
        return real(command, *rest, **more)

    monkeypatch.setattr(nb.subprocess, "Popen", spy)
    for start, number in ((1.5, 45), (0.1, 3), (2.0, 60)):  # between, before and on key frames
        np.testing.assert_array_equal(next(nb.open_video(clip, start=start)[1]), frames[number])
    cuts = [command for command in asked if "-ss" in command]
    assert len(cuts) == 3 and all(c.index("-ss") > c.index("-i") for c in cuts)


def test_part_of_a_clip_with_its_sound(nb, tmp_path):
    clip = make_clip(tmp_path / "in.mp4", seconds=4)
    path = nb.stylize_video(
        Tinted(), clip, tmp_path / "out.mp4", strength=0, start=1.0, duration=2.0
    )
    frames = read(path)
    assert len(frames) == 60 and "Audio: aac" in probe(path) and abs(duration(path) - 2) < 0.1
    original = read(clip).astype(int)
    for shown, number in ((frames[0], 30), (frames[30], 60), (frames[-1], 89)):
        far = np.abs(original - shown).mean((1, 2, 3))  # exactly this one, and what encoding leaves
        assert far.argmin() == number and far.min() < 6


def sound_of(path) -> np.ndarray:
    """The samples, mono, 8,000 a second."""
    command = [FFMPEG, "-v", "error", "-i", path, *"-map 0:a -ac 1 -ar 8000 -f s16le -".split()]
    return np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.int16)


@pytest.mark.parametrize("how", [dict(start=1.0), dict(start=1.0, duration=1.0)], ids=str)
def test_the_sound_of_a_part_begins_with_the_picture(nb, tmp_path, how):
    """A tone that begins at 1.5 s of the clip begins at 0.5 s of its part from 1 s on."""
    clip = make_clip(tmp_path / "silent.mp4", seconds=3, sound=False)
    tone = ["-f", "lavfi", "-i", "aevalsrc='gt(t,1.5)*sin(2764*t)*0.5:d=3'", "-c:a", "aac"]
    with_tone = [FFMPEG, "-v", "error", "-i", clip, *tone, "-c:v", "copy", tmp_path / "in.mp4"]
    subprocess.run(with_tone, check=True)
    loud = np.abs(sound_of(tmp_path / "in.mp4")) > 3000
    assert abs(np.argmax(loud) / 8000 - 1.5) < 0.06
    path = nb.stylize_video(Tinted(), tmp_path / "in.mp4", tmp_path / "out.mp4", **how)
    loud = np.abs(sound_of(path)) > 3000
    assert loud.any() and abs(np.argmax(loud) / 8000 - 0.5) < 0.06


def test_sound_that_mp4_cannot_hold_becomes_aac(nb, tmp_path):
    make_clip(tmp_path / "in.mp4")
    clip = tmp_path / "in.mkv"
    pcm = ["-c:v", "copy", "-c:a", "pcm_s16le", str(clip)]
    subprocess.run([FFMPEG, "-v", "error", "-i", str(tmp_path / "in.mp4"), *pcm], check=True)
    assert "Audio: aac" in probe(nb.stylize_video(Tinted(), clip, tmp_path / "out.mp4"))


def test_gif_in_and_gif_out(nb, tmp_path):
    clip = make_clip(tmp_path / "in.gif", rate="10", sound=False, extra=["-pix_fmt", "rgb8"])
    path = nb.stylize_video(Tinted(), clip, tmp_path / "out.gif", strength=0)
    with PIL.Image.open(path) as gif:
        assert gif.format == "GIF" and gif.size == (64, 48)
        assert gif.n_frames == 10 and gif.info["duration"] == 100
    assert names(tmp_path) == ["in.gif", "out.gif"]


def test_a_folder_of_pictures(nb, tmp_path):
    (tmp_path / "in").mkdir()
    for n in (1, 2, 10):  # 10 comes after 2
        frame = PIL.Image.new("RGB", (32, 24), (20 * n, 0, 0))
        frame.save(tmp_path / "in" / f"frame{n}.png")
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    frames = read(nb.stylize_video(Tinted(), tmp_path / "in", tmp_path / "out.mp4"))
    assert frames.shape == (3, 24, 32, 3)
    assert np.abs(frames[:, :, :, 0].mean((1, 2)) - [20, 40, 200]).max() < 5
    part = nb.stylize_video(Tinted(), tmp_path / "in", tmp_path / "part.mp4", start=0.04)
    assert np.abs(read(part)[:, :, :, 0].mean((1, 2)) - [40, 200]).max() < 5
    (tmp_path / "none").mkdir()
    with pytest.raises(nb.Problem, match="none holds no pictures"):
        nb.stylize_video(Tinted(), tmp_path / "none", tmp_path / "out.mp4")


def test_an_address(nb, tmp_path):
    """The clip is kept, by its address: two of the same name are two."""
    data = [make_clip(tmp_path / "in.mp4", seconds=s).read_bytes() for s in (1, 2)]
    files = {"/a/my%20clip.mp4": data[0], "/b/my%20clip.mp4": data[1]}
    with serve(files) as server:
        for folder, count in (("a", 30), ("b", 60), ("a", 30)):
            url = f"{server.url}/{folder}/my clip.mp4"
            path = nb.stylize_video(Tinted(), url, tmp_path / "out" / "out.mp4")
            assert len(read(path)) == count
            key = hashlib.sha256(url.encode()).hexdigest()[:6]
            assert (path.parent / "fetched" / key / "my clip.mp4").stat().st_size
        assert len(server.asked) == 2  # the third time it was at hand
    assert names(path.parent) == ["fetched", "out.mp4"]


def test_a_camera(nb, tmp_path, monkeypatch):
    """A stand-in for imageio's camera: this machine has none."""
    asked = []

    class Camera:
        def get_meta_data(self):
            return {"size": (32, 24), "fps": 15.0}

        def __iter__(self):
            while True:
                yield np.full((24, 32, 3), 200, np.uint8)

    monkeypatch.setattr(nb.imageio, "get_reader", lambda *given: asked.append(given) or Camera())
    path = nb.stylize_video(Tinted(), "<video0>", tmp_path / "out.mp4", max_frames=5)
    assert read(path).shape == (5, 24, 32, 3) and "15 fps" in probe(path)
    assert asked == [("<video0>", "ffmpeg")]
    path = nb.stylize_video(Tinted(), "<video0>", tmp_path / "out.mp4", duration=0.4)
    assert read(path).shape == (6, 24, 32, 3)
    with pytest.raises(nb.Problem, match="max_frames"):
        nb.stylize_video(Tinted(), "<video0>", tmp_path / "out.mp4")


def test_no_camera_is_one_sentence(nb, tmp_path):
    with pytest.raises(nb.Problem, match="video9"):
        nb.stylize_video(Tinted(), "<video9>", tmp_path / "out.mp4", max_frames=5)


@pytest.mark.parametrize("size, seconds", [("2x2", 1), ("64x48", 0.04)])
def test_the_smallest_clips(nb, tmp_path, size, seconds):
    clip = make_clip(tmp_path / "in.mp4", size=size, rate="25", seconds=seconds, sound=False)
    network = nb.fresh_network(0).eval()
    frames = read(nb.stylize_video(network, clip, tmp_path / "out.mp4", max_frames=2))
    assert 1 <= len(frames) <= 2 and f"{frames.shape[2]}x{frames.shape[1]}" == size


def test_a_target_that_cannot_be_written_is_one_sentence(nb, tmp_path):
    clip = make_clip(tmp_path / "in.mp4")
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(nb.Problem, match="Cannot write") as problem:
        nb.stylize_video(Tinted(), clip, tmp_path / "file" / "out.mp4")
    assert "\n" not in str(problem.value)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
def test_a_disk_that_fills_up_is_one_sentence_and_keeps_the_old_result(nb, tmp_path):
    """ffmpeg may write 20 kB and no more, as on a full disk."""
    clip = make_clip(tmp_path / "in.mp4", size="320x240", seconds=6, sound=False)
    (tmp_path / "out.mp4").write_bytes(b"an earlier result")
    program = f"""
import resource, signal, sys
sys.path.insert(0, {str(ROOT / "tests")!r})
from notebook import load_definitions
from helpers import Tinted
nb = load_definitions()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    nb.stylize_video(Tinted(), {str(clip)!r}, {str(tmp_path / "out.mp4")!r})
except nb.Problem as problem:
    print("PROBLEM", problem)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert "PROBLEM Cannot write" in done.stdout, done.stdout + done.stderr
    assert (tmp_path / "out.mp4").read_bytes() == b"an earlier result"


SLOW = """
import sys, time
sys.path.insert(0, {tests!r})
from notebook import load_definitions
from helpers import Tinted
class Slow(Tinted):
    def forward(self, x):
        time.sleep(0.1)
        return super().forward(x)
nb = load_definitions()
print("ready", flush=True)
nb.stylize_video(Slow(), {clip!r}, {target!r})
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_or_killed_while_painting(nb, tmp_path, how):
    """The stop button leaves a whole clip with its sound; a kill leaves the old result and a part
    that plays."""
    clip = make_clip(tmp_path / "in.mp4", seconds=20)
    target = tmp_path / "out.mp4"
    target.write_bytes(b"an earlier result")
    program = SLOW.format(tests=str(ROOT / "tests"), clip=str(clip), target=str(target))
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(8)
    process.send_signal(how)
    said = process.communicate(timeout=60)[0]
    if how == signal.SIGINT:
        assert process.returncode == 0
        assert target.read_bytes() == b"an earlier result"
        target = tmp_path / "out.stopped.mp4"
        frames = read(target)
        assert 5 < len(frames) < 590 and "Audio: aac" in probe(target)
        assert f"holds the first {len(frames)} frames" in said
        assert abs(duration(target) - len(frames) / 30) < 0.3
        assert names(tmp_path) == ["in.mp4", "out.mp4", "out.stopped.mp4"]
    else:
        assert target.read_bytes() == b"an earlier result"
        time.sleep(1)  # ffmpeg notices that its parent is gone
        assert len(read(tmp_path / "out.part.mp4")) > 5


def test_a_clip_is_not_painted_onto_itself(nb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clip = make_clip(tmp_path / "mine.mp4", rate="5")
    before = clip.read_bytes()
    (tmp_path / "link.mp4").symlink_to(clip)
    for target in (clip, "mine.mp4", "mine", "link.mp4"):
        with pytest.raises(nb.Problem, match="would be overwritten"):
            nb.stylize_video(Tinted(), clip, target)
    assert clip.read_bytes() == before and names(tmp_path) == ["link.mp4", "mine.mp4"]


def test_a_folder_of_clips(nb, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "b.mkv", "c.mp4"):
        make_clip(tmp_path / "in" / name, rate="5")
    make_clip(tmp_path / "in" / "a.mkv", rate="5", size="32x32")
    (tmp_path / "in" / "broken.mp4").write_text("no clip")
    (tmp_path / "in" / "notes.txt").write_text("no clip")
    done = nb.stylize_folder(Tinted(), tmp_path / "in", tmp_path / "out", max_frames=2)
    assert [p.name for p in done] == ["a.mp4", "a_mp4.mp4", "b.mp4", "c.mp4"]
    assert read(done[0]).shape[1:3] == (32, 32) and read(done[1]).shape[1:3] == (48, 64)
    assert "broken.mp4" in capsys.readouterr().out
    stamps = [p.stat().st_mtime_ns for p in done]
    assert nb.stylize_folder(Tinted(), tmp_path / "in", tmp_path / "out") == done
    assert stamps == [p.stat().st_mtime_ns for p in done]


def test_stopping_a_folder_of_clips_stops_them_all(nb, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "b.mp4"):
        make_clip(tmp_path / "in" / name)

    class Pressed(Tinted):
        presses = 0

        def forward(self, x):
            if not self.presses:  # once: painting runs ahead, a second press would stop at once
                self.presses += 1
                signal.raise_signal(signal.SIGINT)
            return super().forward(x)

    done = nb.stylize_folder(Pressed(), tmp_path / "in", tmp_path / "out")
    assert [p.name for p in done] == ["a.stopped.mp4"] and len(read(done[0])) < 30
    assert names(tmp_path / "out") == ["a.stopped.mp4"]


def test_a_frame_of_8k(nb, tmp_path):
    fast = ["-preset", "ultrafast"]
    clip = make_clip(tmp_path / "in.mp4", size="7680x4320", rate="2", sound=False, extra=fast)
    painted = nb.stylize_video(Tinted(), clip, tmp_path / "out.mp4", max_frames=1)
    assert read(painted).shape == (1, 4320, 7680, 3)


def still_with_a_flash(count=40):
    """A quiet picture in whose corner a bright square appears half-way."""
    frames = [np.asarray(picture(160, 96)).copy() for _ in range(count)]
    for frame in frames[count // 2 :]:
        frame[:40, :60] = 250
    return frames


def painted_background(nb, network, frames, steady, scale):
    painted = []
    for frame, statistics in nb.steady_frames(network, iter(frames), 20, steady, scale):
        assert frame.dtype == torch.uint8 and frame.shape == (3, 96, 160)
        whole = nb.paint(network, frame, scale=scale, statistics=statistics)
        painted.append(whole[:, 50:, 80:].float())
    return torch.stack(painted)


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_steady_spreads_a_sudden_change_of_colours(nb, scale):
    network = nb.fresh_network(0).eval()
    plain, calm = (
        painted_background(nb, network, still_with_a_flash(), steady, scale) for steady in (0, 0.5)
    )
    jump = [clip.diff(dim=0).abs().mean((1, 2, 3)).max() for clip in (plain, calm)]
    assert jump[0] > 2 and jump[1] < 0.3 * jump[0]
    # and it begins and ends the same
    assert (calm[-1] - plain[-1]).abs().max() <= 1 and (calm[0] - plain[0]).abs().max() == 0


def test_a_still_picture_is_painted_by_its_own_once_the_slide_is_over(nb, tmp_path, monkeypatch):
    """A flash that stays: what remains of the statistics before it does not stay for ever."""
    frames, seen = np.full((14, 48, 64, 3), 90, np.uint8), []
    frames[2:, :16, :16] = 255
    write_clip(tmp_path / "in.avi", frames, "10", extra=["-c:v", "ffv1", "-pix_fmt", "gbrp"])
    real = nb.paint

    def paint(*given, statistics=None, **more):
        seen.append(statistics is not None)
        return real(*given, statistics=statistics, **more)

    monkeypatch.setattr(nb, "paint", paint)
    network = nb.fresh_network(0).eval()
    nb.stylize_video(network, tmp_path / "in.avi", tmp_path / "out.mp4")
    # the first; the slide's, half a second long (and one of a rounding); once for all that follow
    assert seen in ([False] + [True] * n + [False] for n in (5, 6))


def test_steady_leaves_a_moving_camera_alone(nb):
    wide = np.asarray(picture(400, 96))
    frames = [wide[:, 6 * n : 6 * n + 160] for n in range(40)]
    steadied = list(nb.steady_frames(nb.fresh_network(0), iter(frames), 20, 0.5))
    assert len(steadied) == 40 and all(used is None for _, used in steadied)


def test_a_large_frame_is_painted_in_tiles(nb, monkeypatch):
    """On a CPU in squares of 1,024 pixels, from 2.2 megapixels on."""
    network, sizes = nb.fresh_network(0).eval(), []
    monkeypatch.setattr(
        nb, "paint_tiles", lambda network, frame, tile, *_, **__: sizes.append(tile)
    )
    monkeypatch.setattr(nb, "paint_whole", lambda network, frame, *_: sizes.append("whole"))
    for width, height in ((1920, 1080), (2048, 1152), (8000, 200)):
        nb.paint(network, torch.zeros(3, height, width, dtype=torch.uint8))
    assert sizes == ["whole", 1024, "whole"]


def test_a_frame_in_tiles_is_the_whole_frames_painting(nb):
    network, frame = nb.fresh_network(0).eval(), nb.pil_to_tensor(picture(500, 400))
    whole, painted = nb.paint(network, frame), nb.paint(network, frame, tile=223)
    assert painted.shape == frame.shape
    assert (painted.float() - whole.float()).abs().mean() < 8


def test_frames_read_ahead_come_in_order_with_their_errors_and_are_closed(nb):
    """One frame is read while the one before is used; no more, and no reader is left behind."""
    made, closed = [], []

    def frames(count):
        try:
            for n in range(count):
                made.append(n)
                yield n
            raise nb.Problem("the film is torn")
        finally:
            closed.append(True)

    found = []
    with pytest.raises(nb.Problem, match="torn"):
        for frame in nb.ahead(frames(5)):
            found.append(frame)
            assert len(made) <= frame + 2
    assert found == [0, 1, 2, 3, 4] and closed == [True]
    read = nb.ahead(frames(100))
    assert [next(read), next(read)] == [0, 1]
    read.close()
    gc.collect()
    assert closed == [True, True] and len(made) <= 5 + 3


def test_a_clip_that_lies_where_the_painting_is_kept_on_the_way(nb, tmp_path):
    part = make_clip(tmp_path / "out.part.mp4", seconds=0.2)
    before = part.read_bytes()
    with pytest.raises(nb.Problem, match="rename it"):
        nb.stylize_video(Tinted(), part, tmp_path / "out.mp4")
    other = make_clip(tmp_path / "on.new.mp4", seconds=0.2)  # looks like a file on the way
    nb.stylize_video(Tinted(), other, tmp_path / "on.mp4")
    assert part.read_bytes() == before and probe(other)


def test_the_preview_touches_nothing_beside_the_clip(nb, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", seconds=0.2)
    (tmp_path / "preview.mp4").write_text("mine")
    nb.show_video(clip, clip)
    assert (tmp_path / "preview.mp4").read_text() == "mine"


@pytest.mark.parametrize("name", ["start", "duration", "max_frames", "steady"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_numbers_that_cannot_be_are_one_sentence(nb, tmp_path, name, value):
    clip = make_clip(tmp_path / "clip.mp4", seconds=0.2)
    with pytest.raises(nb.Problem, match="0 or more"):
        nb.stylize_video(Tinted(), clip, tmp_path / "out.mp4", **{name: value})


@pytest.mark.parametrize("count", [0, 2.5])
def test_a_part_of_so_many_frames_that_cannot_be(nb, tmp_path, count):
    clip = make_clip(tmp_path / "clip.mp4", seconds=0.2)
    with pytest.raises(nb.Problem, match="max_frames a whole number from 1"):
        nb.stylize_video(Tinted(), clip, tmp_path / "out.mp4", max_frames=count)


@pytest.mark.parametrize("rate", ["10", "30000/1001"])
@pytest.mark.parametrize("place, first", [(1e-4, 0), (1, 1), (2, 2), (2.4, 2), (2.6, 3), (8.99, 9)])
def test_a_start_between_frames_is_at_the_nearest(nb, tmp_path, rate, place, first):
    """What is said of the part is what comes."""
    clip = make_clip(tmp_path / "clip.mp4", seconds=1, rate=rate)
    _, whole = nb.open_video(clip)
    about, frames = nb.open_video(clip, place / float(Fraction(rate)))
    frames, whole = list(frames), list(whole)
    assert about.frames == len(frames) == len(whole) - first
    assert all(np.array_equal(*pair) for pair in zip(frames, whole[first:]))


def test_a_start_behind_the_last_frame_says_so(nb, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", seconds=1, rate="10")
    with pytest.raises(nb.Problem, match="ends before"):
        nb.open_video(clip, 0.96)


@pytest.mark.parametrize("start, seconds", [(-1, None), (float("nan"), None), (float("inf"), None),
                                            (0, -1), (0, float("nan"))])  # fmt: skip
@pytest.mark.parametrize("kind", ["clip", "folder"])
def test_a_part_that_cannot_be_is_one_sentence(nb, tmp_path, kind, start, seconds):
    if kind == "clip":
        source = make_clip(tmp_path / "clip.mp4", seconds=0.2)
    else:
        source = tmp_path
        PIL.Image.new("RGB", (20, 20)).save(tmp_path / "1.png")
    with pytest.raises(nb.Problem, match="0 or more"):
        nb.open_video(source, start, seconds)


def test_tiles_for_a_folder_of_pictures_and_clips(nb, tmp_path):
    (tmp_path / "in").mkdir()
    make_clip(tmp_path / "in" / "a.mp4", seconds=0.2, size="160x120", rate="10")
    PIL.Image.new("RGB", (160, 120), "red").save(tmp_path / "in" / "b.png")
    sizes = []

    class Seen(Tinted):
        def forward(self, x):
            sizes.append(max(x.shape))
            return super().forward(x)

    done = nb.stylize_folder(Seen(), tmp_path / "in", tmp_path / "out", tile=64)
    assert sorted(path.name for path in done) == ["a.mp4", "b.png"]
    assert len(sizes) == 3 * (1 + 6)  # two frames and a picture: measured, then 3 x 2 tiles


@pytest.mark.parametrize("said", ["24", "25"])
def test_frames_that_come_faster_than_the_stream_says_are_all_shown(nb, tmp_path, said):
    """A camera in the network: its stream names a rate, its clock tells 30, and trembles."""
    plain, clip = tmp_path / "plain.mp4", tmp_path / "clip.mp4"
    ticks = ["-video_track_timescale", "90000"]
    make_clip(plain, rate=said, seconds=8, sound=False, extra=["-bf", "0", *ticks])
    tremble = r"if(N\,PREV_OUT{}+2460+mod(N*N*37\,1081)\,0)"  # 3,000 in the mean
    timed = f"setts=pts={tremble.format('PTS')}:dts={tremble.format('DTS')}"
    command = [FFMPEG, "-v", "error", "-i", plain, "-c", "copy", "-bsf:v", timed, *ticks, clip]
    subprocess.run(command, check=True)
    about, frames = nb.open_video(clip)
    count = len(read(plain))
    assert len({frame.tobytes() for frame in frames}) == count
    assert float(about.frames / about.rate) == pytest.approx(count / 30, abs=0.1)


def test_a_second_press_while_the_clip_is_closed_loses_no_frame(nb, tmp_path, monkeypatch):
    """It ends the cell, not ffmpeg, which still writes what was painted."""
    closed = []

    def slow(*_, **__):
        try:
            while True:
                yield
        finally:
            time.sleep(1)
            closed.append(True)

    monkeypatch.setattr(nb.imageio_ffmpeg, "write_frames", slow)
    press = threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        with nb.video_writer(tmp_path / "out.mp4", 4, 4, Fraction(5)) as write:
            write(np.zeros((4, 4, 3), np.uint8))
            press.start()
    assert closed == [True]


def test_a_failure_in_mid_clip_leaves_no_ffmpeg_behind(nb, tmp_path, monkeypatch):
    """IPython keeps the last error, and with it all that its traceback names."""
    begun, usual = [], subprocess.Popen

    class Spy(usual):
        def __init__(self, *given, **how):
            super().__init__(*given, **how)
            begun.append(self)

    class Failing(Tinted):
        def forward(self, x):
            if next(frames) == 5:
                raise RuntimeError("a failing network")
            return super().forward(x)

    frames, clip = itertools.count(), make_clip(tmp_path / "in.mp4", size="320x240", seconds=4)
    monkeypatch.setattr(nb.subprocess, "Popen", Spy)
    with pytest.raises(RuntimeError, match="a failing network") as kept:
        nb.stylize_video(Failing(), clip, tmp_path / "out.mp4")
    assert kept.tb and begun and all(process.poll() is not None for process in begun)


@pytest.mark.parametrize("size", [(20, 1), (1, 20)])
def test_a_clip_one_pixel_high_or_wide_is_painted(nb, tmp_path, size):
    for n in range(3):
        PIL.Image.new("RGB", size, (200, 90, 60 * n)).save(tmp_path / f"{n}.png")
    painted = read(nb.stylize_video(Tinted(), tmp_path, tmp_path / "out.mp4", strength=0))
    assert painted.shape == (3, max(2, size[1]), max(2, size[0]), 3)
    assert abs(painted[0, 0, 0].astype(int) - (200, 90, 0)).max() < 8


def test_clips_of_odd_sizes_are_written_whole(nb, tmp_path):
    """H.264 wants even sizes: the last row and column are repeated."""
    frames = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3), dtype=np.uint8)
    sent, part = [], tmp_path / "out.mp4"
    for width in (7, 6):
        with nb.video_writer(part, width, 5, Fraction(5)) as write:
            for frame in frames:
                write(frame[:, :width][:, ::-1])
        sent.append(read(part).shape)
    assert sent == [(3, 6, 8, 3), (3, 6, 6, 3)]

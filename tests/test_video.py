"""Clips through the network: size, rate, frames, sound and colours kept; every source; every failure."""

import signal
import subprocess
import sys
import time

import imageio_ffmpeg
import numpy as np
import PIL.Image
import pytest
import torch
from conftest import picture
from notebook import ROOT
from server import serve

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


class Tinted(torch.nn.Module):
    """A stand-in network that is quick and easy to predict: it swaps nothing and halves the blue."""

    def __init__(self):
        super().__init__()
        self.register_parameter("scale", torch.nn.Parameter(torch.tensor([1.0, 1.0, 0.5]).view(1, 3, 1, 1)))

    def forward(self, x):
        return x * self.scale


def make_clip(path, size="64x48", rate="30", seconds=1, sound=True, extra=()):
    """A test pattern, with a tone."""
    tone = ["-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}", "-c:a", "aac"] if sound else []
    subprocess.run(
        [
            FFMPEG,
            "-y",
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            f"testsrc=size={size}:rate={rate}:duration={seconds}",
            *tone,
            "-pix_fmt",
            "yuv420p" if not any(int(n) % 2 for n in size.split("x")) else "yuv444p",
            *extra,
            str(path),
        ],
        check=True,
    )
    return path


def probe(path) -> str:
    return subprocess.run([FFMPEG, "-hide_banner", "-i", str(path)], capture_output=True, text=True).stderr


def read(path) -> np.ndarray:
    frames = imageio_ffmpeg.read_frames(str(path))
    width, height = next(frames)["size"]
    return np.stack([np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in frames])


def test_sample_clip_keeps_size_rate_frames_and_sound(nb, tmp_path):
    path = nb.stylize_video(Tinted(), ROOT / "data" / "gameplay.mp4", tmp_path / "out.mp4")
    frames = read(path)
    assert frames.shape == (240, 360, 640, 3)
    said = probe(path)
    assert "30 fps" in said and "640x360" in said and "Audio: aac" in said and "yuv420p" in said
    stream = [FFMPEG, "-v", "error", "-i", "{}", "-map", "0:a", "-c", "copy", "-f", "md5", "-"]
    sounds = {
        subprocess.run([part.format(p) for part in stream], capture_output=True, text=True, check=True).stdout
        for p in (path, ROOT / "data" / "gameplay.mp4")
    }
    assert len(sounds) == 1  # the sound is the original's, bit for bit
    original = read(ROOT / "data" / "gameplay.mp4")
    assert np.abs(frames[:, :, :, 0].astype(int) - original[:, :, :, 0]).mean() < 6  # red stays red
    assert np.abs(frames[::40].mean((1, 2)) - original[::40].mean((1, 2)) * [1, 1, 0.5]).max() < 4


@pytest.mark.parametrize("rate, shown", [("30000/1001", "29.97 fps"), ("25", "25 fps"), ("60", "60 fps")])
def test_rate_is_kept(nb, tmp_path, rate, shown):
    clip = make_clip(tmp_path / "in.mp4", rate=rate, sound=False)
    path = nb.stylize_video(Tinted(), clip, tmp_path / "out.mp4")
    assert shown in probe(path) and "Audio" not in probe(path)
    assert len(read(path)) == len(read(clip))


def test_odd_sizes_grow_by_one_pixel_at_most(nb, tmp_path):
    clip = make_clip(tmp_path / "in.mkv", size="63x47", sound=False, extra=["-c:v", "ffv1"])
    assert read(nb.stylize_video(Tinted(), clip, tmp_path / "out.mp4")).shape[1:3] == (48, 64)


def test_side_by_side_and_max_frames(nb, tmp_path):
    clip = make_clip(tmp_path / "in.mp4", seconds=2)
    path = nb.stylize_video(Tinted(), clip, tmp_path / "out.mp4", side_by_side=True, max_frames=20)
    frames = read(path)
    assert frames.shape == (20, 48, 128, 3)
    assert np.abs(frames[..., :64, 2].astype(int).mean() * 0.5 - frames[..., 64:, 2].mean()) < 6
    about, _ = nb.open_video(path)
    assert about["sound"] == "aac" and about["frames"] == 20


def test_a_real_network_paints_a_small_clip(nb, tmp_path):
    clip = make_clip(tmp_path / "in.mp4", size="32x20", rate="5", sound=False)
    network = nb.TransformerNet().eval()
    frames = read(nb.stylize_video(network, clip, tmp_path / "out.mp4", batch_size=2))
    assert frames.shape == (5, 20, 32, 3)


@pytest.mark.parametrize("content", [b"", b"this is a text file\n" * 50])
def test_not_a_video_is_one_sentence_and_keeps_the_old_result(nb, tmp_path, content):
    (tmp_path / "bad.mp4").write_bytes(content)
    (tmp_path / "out.mp4").write_bytes(b"an earlier result")
    for name in ("bad.mp4", "missing.mp4"):
        with pytest.raises(nb.Problem, match=name):
            nb.stylize_video(Tinted(), tmp_path / name, tmp_path / "out.mp4")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.mp4", "out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"an earlier result"


def test_sound_without_picture_is_one_sentence(nb, tmp_path):
    subprocess.run(
        [FFMPEG, "-v", "error", "-f", "lavfi", "-i", "sine=duration=1", str(tmp_path / "tone.mp4")], check=True
    )
    with pytest.raises(nb.Problem, match="tone.mp4"):
        nb.stylize_video(Tinted(), tmp_path / "tone.mp4", tmp_path / "out.mp4")


def test_a_clip_cut_short_gives_the_frames_before_the_cut(nb, tmp_path):
    clip = make_clip(tmp_path / "in.mkv", seconds=4, extra=["-g", "10"])
    clip.write_bytes(clip.read_bytes()[: int(clip.stat().st_size * 0.6)])
    frames = read(nb.stylize_video(Tinted(), clip, tmp_path / "out.mp4"))
    assert 40 <= len(frames) < 120


def test_a_failure_while_painting_keeps_the_old_result(nb, tmp_path):
    clip = make_clip(tmp_path / "in.mp4")
    (tmp_path / "out.mp4").write_bytes(b"an earlier result")

    class Broken(Tinted):
        def forward(self, x):
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        nb.stylize_video(Broken(), clip, tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4").read_bytes() == b"an earlier result"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def color_clip(path, color, seconds=1, size="64x48", extra=()):
    """One colour, tagged as HD video is."""
    source = f"color={color}:size={size}:rate=10:duration={seconds},format=rgb24,scale=out_color_matrix=bt709"
    tags = "-colorspace bt709 -color_primaries bt709 -color_trc bt709 -pix_fmt yuv420p -crf 1".split()
    subprocess.run([FFMPEG, "-y", "-v", "error", "-f", "lavfi", "-i", source, *tags, *extra, str(path)], check=True)
    return path


@pytest.mark.parametrize("color", ["red", "0x20C040", "0x4060F0"])
def test_colours_are_kept(nb, tmp_path, color):
    clip = color_clip(tmp_path / "in.mp4", color)
    before = next(nb.open_video(clip)[1]).astype(float)
    wanted = PIL.Image.new("RGB", (1, 1), color.replace("0x", "#")).getpixel((0, 0))
    assert np.abs(before - wanted).max() <= 4
    path = nb.stylize_video(Tinted(), clip, tmp_path / "out.mp4", strength=0)
    assert np.abs(read(path).astype(float).mean((0, 1, 2)) - before.mean((0, 1))).max() <= 4  # what the encoder rounds


def test_frames_are_painted_as_pictures_are(nb, tmp_path, monkeypatch):
    """What goes to the encoder is what stylize_image paints of the same frame."""
    network, sent = nb.fresh_network(0).eval(), []
    clip = make_clip(tmp_path / "in.mp4", rate="5", sound=False)
    pad = np.pad
    monkeypatch.setattr(nb.np, "pad", lambda frame, *rest, **more: sent.append(frame) or pad(frame, *rest, **more))
    nb.stylize_video(network, clip, tmp_path / "out.mp4", batch_size=2, steady=0)
    for frame, painted in zip(nb.open_video(clip)[1], sent):
        wanted = np.asarray(nb.stylize_image(network, PIL.Image.fromarray(frame)))
        assert np.abs(painted.astype(int) - wanted).max() <= 1


def test_an_upright_phone_clip_stays_upright(nb, tmp_path):
    make_clip(tmp_path / "flat.mp4", size="64x48")
    turned = tmp_path / "in.mp4"
    command = [FFMPEG, "-v", "error", "-display_rotation", "90", "-i", str(tmp_path / "flat.mp4"), "-c", "copy"]
    subprocess.run([*command, str(turned)], check=True)
    assert read(nb.stylize_video(Tinted(), turned, tmp_path / "out.mp4")).shape[1:3] == (64, 48)


def test_uneven_timing_keeps_its_length_and_sound(nb, tmp_path):
    """Frames at 0, 1, 2, ... then every fourth: as a phone or a screen recorder writes them."""
    make_clip(tmp_path / "even.mp4", seconds=2)
    uneven = tmp_path / "in.mkv"
    choose = "select='lt(n,20)+not(mod(n,4))'"
    command = [FFMPEG, "-v", "error", "-i", str(tmp_path / "even.mp4"), "-vf", choose, "-fps_mode", "vfr", str(uneven)]
    subprocess.run(command, check=True)
    path = nb.stylize_video(Tinted(), uneven, tmp_path / "out.mp4", strength=0)
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert abs(seconds - 2) < 0.15
    original = read(tmp_path / "even.mp4")
    rate = frames / seconds
    for moment in (0.5, 1.5):  # the same thing is seen at the same time (within the longest gap)
        shown = read(path)[int(moment * rate)].astype(int)
        assert min(np.abs(shown - original[int(moment * 30) + n]).mean() for n in range(-5, 5)) < 6


@pytest.mark.parametrize("colours, jumps", [("yuv444p", False), ("yuv420p", True)])
def test_a_clip_is_entered_without_losing_its_first_frame(nb, tmp_path, monkeypatch, colours, jumps):
    """Old x264 wrote 4:4:4 in its own way and said so in the first frame alone (as in imageio's cockatoo clip): a
    decoder that jumps over it makes green squares of the rest. No x264 at hand writes so any more, so the arguments
    are looked at."""
    clip = make_clip(tmp_path / "clip.mp4", size="160x120", seconds=3, extra=("-pix_fmt", colours, "-g", "30"))
    frames, real, jumped = [frame.copy() for frame in nb.open_video(clip)[1]], imageio_ffmpeg.read_frames, []

    def spy(path, input_params=(), **others):
        jumped.append("-ss" in input_params)
        return real(path, input_params=list(input_params), **others)

    monkeypatch.setattr(imageio_ffmpeg, "read_frames", spy)
    np.testing.assert_array_equal(next(nb.open_video(clip, start=1.5)[1]), frames[45])
    assert any(jumped) == jumps


def test_part_of_a_clip_with_its_sound(nb, tmp_path):
    clip = make_clip(tmp_path / "in.mp4", seconds=4)
    path = nb.stylize_video(Tinted(), clip, tmp_path / "out.mp4", strength=0, start=1.0, duration=2.0)
    frames = read(path)
    assert abs(len(frames) - 60) <= 1 and "Audio: aac" in probe(path) and "00:00:02.0" in probe(path)
    assert np.abs(frames[0].astype(int) - read(clip)[30]).mean() < 3


def test_sound_that_mp4_cannot_hold_becomes_aac(nb, tmp_path):
    make_clip(tmp_path / "in.mp4")
    clip = tmp_path / "in.mkv"
    command = [FFMPEG, "-v", "error", "-i", str(tmp_path / "in.mp4"), "-c:v", "copy", "-c:a", "pcm_s16le", str(clip)]
    subprocess.run(command, check=True)
    assert "Audio: aac" in probe(nb.stylize_video(Tinted(), clip, tmp_path / "out.mp4"))


def test_gif_in_and_gif_out(nb, tmp_path):
    clip = make_clip(tmp_path / "in.gif", rate="10", sound=False, extra=["-pix_fmt", "rgb8"])
    path = nb.stylize_video(Tinted(), clip, tmp_path / "out.gif", strength=0)
    with PIL.Image.open(path) as gif:
        assert gif.format == "GIF" and gif.size == (64, 48) and gif.n_frames == 10 and gif.info["duration"] == 100
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.gif", "out.gif"]


def test_a_folder_of_pictures(nb, tmp_path):
    (tmp_path / "in").mkdir()
    for n in (1, 2, 10):  # 10 comes after 2
        PIL.Image.new("RGB", (32, 24), (20 * n, 0, 0)).save(tmp_path / "in" / f"frame{n}.png")
    frames = read(nb.stylize_video(Tinted(), tmp_path / "in", tmp_path / "out.mp4"))
    assert frames.shape == (3, 24, 32, 3)
    assert np.abs(frames[:, :, :, 0].mean((1, 2)) - [20, 40, 200]).max() < 5


def test_an_address(nb, tmp_path):
    data = make_clip(tmp_path / "in.mp4").read_bytes()
    with serve({"/my%20clip.mp4": data}) as server:
        path = nb.stylize_video(Tinted(), f"{server.url}/my clip.mp4", tmp_path / "out" / "out.mp4")
    assert len(read(path)) == 30 and [p.name for p in path.parent.iterdir()] == ["out.mp4"]


def test_a_camera(nb, tmp_path, monkeypatch):
    """A stand-in for imageio's camera: this machine has none."""
    import imageio

    class Camera:
        def get_meta_data(self):
            return {"size": (32, 24), "fps": 15.0}

        def __iter__(self):
            while True:
                yield np.full((24, 32, 3), 200, np.uint8)

    monkeypatch.setattr(imageio, "get_reader", lambda *_: Camera())
    assert read(nb.stylize_video(Tinted(), "<video0>", tmp_path / "out.mp4", max_frames=5)).shape == (5, 24, 32, 3)
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


def test_a_cut_short_clip_says_where_it_broke_off(nb, tmp_path, capsys):
    clip = make_clip(tmp_path / "in.mkv", seconds=4, extra=["-g", "10"])
    clip.write_bytes(clip.read_bytes()[: int(clip.stat().st_size * 0.6)])
    frames = read(nb.stylize_video(Tinted(), clip, tmp_path / "out.mp4"))
    assert f"breaks off at frame {len(frames)} ({len(frames) / 30:.1f} s) of the 12" in capsys.readouterr().out
    said = probe(tmp_path / "out.mp4")
    seconds = float(said.split("Duration: 00:00:")[1].split(",")[0])
    assert abs(seconds - len(frames) / 30) < 0.3  # the sound ends with the picture


def test_a_target_that_cannot_be_written_is_one_sentence(nb, tmp_path):
    clip = make_clip(tmp_path / "in.mp4")
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(nb.Problem, match="Cannot write"):
        nb.stylize_video(Tinted(), clip, tmp_path / "file" / "out.mp4")


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
def test_a_disk_that_fills_up_is_one_sentence_and_keeps_the_old_result(nb, tmp_path):
    """ffmpeg may write 20 kB and no more, as on a full disk."""
    clip = make_clip(tmp_path / "in.mp4", size="320x240", seconds=6, sound=False)
    (tmp_path / "out.mp4").write_bytes(b"an earlier result")
    program = f"""
import resource, signal, sys
sys.path.insert(0, {str(ROOT / "tests")!r})
from notebook import load_definitions
from test_video import Tinted
nb = load_definitions()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    nb.stylize_video(Tinted(), {str(clip)!r}, {str(tmp_path / "out.mp4")!r})
except nb.Problem as problem:
    print("PROBLEM", problem)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert "PROBLEM Cannot write" in done.stdout, done.stdout + done.stderr
    assert (tmp_path / "out.mp4").read_bytes() == b"an earlier result"


SLOW = """
import sys, time
sys.path.insert(0, {tests!r})
from notebook import load_definitions
from test_video import Tinted
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
    """The stop button leaves a whole clip with its sound; a kill leaves the old result and a part that plays."""
    clip = make_clip(tmp_path / "in.mp4", seconds=20)
    target = tmp_path / "out.mp4"
    target.write_bytes(b"an earlier result")
    program = SLOW.format(tests=str(ROOT / "tests"), clip=str(clip), target=str(target))
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(8)
    process.send_signal(how)
    process.communicate(timeout=60)
    if how == signal.SIGINT:
        frames = read(target)
        assert 5 < len(frames) < 590 and "Audio: aac" in probe(target)
        seconds = float(probe(target).split("Duration: 00:00:")[1].split(",")[0])
        assert abs(seconds - len(frames) / 30) < 0.3
        assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]
    else:
        assert target.read_bytes() == b"an earlier result"
        time.sleep(1)  # ffmpeg notices that its parent is gone
        assert len(read(tmp_path / "out.part.mp4")) > 5


def test_a_folder_of_clips(nb, tmp_path, monkeypatch, capsys):
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "b.mkv", "c.mp4"):
        make_clip(tmp_path / "in" / name, rate="5")
    make_clip(tmp_path / "in" / "a.mkv", rate="5", size="32x32")
    (tmp_path / "in" / "broken.mp4").write_text("no clip")
    (tmp_path / "in" / "notes.txt").write_text("no clip")
    done = nb.stylize_clips(Tinted(), tmp_path / "in", tmp_path / "out", max_frames=2)
    assert [p.name for p in done] == ["a.mp4", "a_mp4.mp4", "b.mp4", "c.mp4"]
    assert read(done[0]).shape[1:3] == (32, 32) and read(done[1]).shape[1:3] == (48, 64)
    assert "broken.mp4" in capsys.readouterr().out
    stamps = [p.stat().st_mtime_ns for p in done]
    assert nb.stylize_clips(Tinted(), tmp_path / "in", tmp_path / "out") == done
    assert stamps == [p.stat().st_mtime_ns for p in done]
    shares = []
    for rank in (0, 1):  # as under torchrun
        monkeypatch.setattr(nb, "join_processes", lambda device, rank=rank: (rank, 2))
        shares.append(nb.stylize_clips(Tinted(), tmp_path / "in", tmp_path / "out"))
    assert sorted(shares[0] + shares[1]) == sorted(done) and all(shares)


def test_stopping_a_folder_of_clips_stops_them_all(nb, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "b.mp4"):
        make_clip(tmp_path / "in" / name)

    class Pressed(Tinted):
        def forward(self, x):
            signal.raise_signal(signal.SIGINT)
            return super().forward(x)

    done = nb.stylize_clips(Pressed(), tmp_path / "in", tmp_path / "out")
    assert [p.name for p in done] == ["a.stopped.mp4"] and len(read(done[0])) < 30
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.stopped.mp4"]


def test_a_frame_of_8k(nb, tmp_path):
    clip = make_clip(tmp_path / "in.mp4", size="7680x4320", rate="2", sound=False, extra=["-preset", "ultrafast"])
    assert read(nb.stylize_video(Tinted(), clip, tmp_path / "out.mp4", max_frames=1)).shape == (1, 4320, 7680, 3)


def still_with_a_flash(count=40):
    """A quiet picture in whose corner a bright square appears half-way."""
    frames = [np.asarray(picture(160, 96)).copy() for _ in range(count)]
    for frame in frames[count // 2 :]:
        frame[:40, :60] = 250
    return frames


def painted_background(nb, network, frames, steady):
    painted = []
    for frame, statistics in nb.steady_frames(network, iter(frames), 20, steady):
        with nb.fixed_statistics(network, statistics):
            painted.append(nb.paint(network, nb.to_planes(frame)[None])[0, :, 50:, 80:].float())
    return torch.stack(painted)


def test_steady_spreads_a_sudden_change_of_colours(nb):
    network = nb.fresh_network(0).eval()
    plain, calm = (painted_background(nb, network, still_with_a_flash(), steady) for steady in (0, 0.5))
    jump = [clip.diff(dim=0).abs().mean((1, 2, 3)).max() for clip in (plain, calm)]
    assert jump[0] > 2 and jump[1] < 0.3 * jump[0]
    assert (calm[-1] - plain[-1]).abs().max() <= 1 and (calm[0] - plain[0]).abs().max() == 0  # and it ends the same


def test_steady_leaves_a_moving_camera_alone(nb):
    wide = np.asarray(picture(400, 96))
    frames = [wide[:, 6 * n : 6 * n + 160] for n in range(40)]
    assert all(used is None for _, used in nb.steady_frames(nb.fresh_network(0), iter(frames), 20, 0.5))


def test_a_large_frame_is_painted_in_tiles(nb, monkeypatch):
    network, frame = nb.fresh_network(0).eval(), nb.to_tensor(picture(500, 400))[None]
    whole = nb.paint(network, frame)
    monkeypatch.setattr(nb, "PIXEL_BYTES", 1.2e9 / 100_000)  # memory for half the frame
    tiles, sizes = nb.paint_tiles, []
    monkeypatch.setattr(nb, "paint_tiles", lambda *given, **more: sizes.append(given[2]) or tiles(*given, **more))
    painted = nb.paint(network, frame)
    assert sizes == [223] and painted.shape == frame.shape and (painted.float() - whole).abs().mean() < 8

"""Pictures and clips through the network: size, rate, frames, sound and colours kept."""

import subprocess

import imageio_ffmpeg
import numpy as np
import PIL.Image
import pytest
import torch
from conftest import picture
from notebook import ROOT

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


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (15, 40), (33, 21), (100, 80)])
def test_stylize_image_keeps_every_size(nb, size):
    assert nb.stylize_image(nb.TransformerNet().eval(), picture(*size)).size == size


def test_stylize_image_controls(nb):
    network, photo = Tinted(), picture(40, 30)
    pixels = np.asarray(photo).astype(float)
    assert np.array_equal(np.asarray(nb.stylize_image(network, photo, strength=0)), pixels)
    assert np.abs(np.asarray(nb.stylize_image(network, photo)) - pixels * [1, 1, 0.5]).max() <= 0.51
    assert np.abs(np.asarray(nb.stylize_image(network, photo, strength=0.5)) - pixels * [1, 1, 0.75]).max() <= 0.51
    kept = np.asarray(nb.stylize_image(network, photo, keep_colors=True)).astype(float)
    luma = [0.299, 0.587, 0.114]
    unclipped = ((kept > 0) & (kept < 255)).all(-1)
    assert np.abs(kept @ luma - (pixels * [1, 1, 0.5]) @ luma)[unclipped].max() <= 1.01  # brightness of the painting
    difference = (kept - pixels)[unclipped]
    assert np.abs(difference - difference.mean(-1, keepdims=True)).max() <= 1.01  # colours of the photo
    for strength in (-0.1, 1.1):
        with pytest.raises(nb.Problem, match="strength"):
            nb.stylize_image(network, photo, strength=strength)


def test_stylize_image_keeps_transparency(nb):
    photo = picture(40, 30).convert("RGBA")
    alpha = PIL.Image.linear_gradient("L").resize((40, 30))
    photo.putalpha(alpha)
    result = nb.stylize_image(Tinted(), photo)
    assert result.mode == "RGBA" and np.array_equal(np.asarray(result.getchannel("A")), np.asarray(alpha))


def test_stylize_folder_skips_what_is_done(nb, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for n in range(3):
        picture(20, 20, n).save(tmp_path / "in" / f"{n}.png")
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    done = nb.stylize_folder(Tinted(), tmp_path / "in", tmp_path / "out")
    assert [p.name for p in done] == ["0.jpg", "1.jpg", "2.jpg"] and "notes.txt" in capsys.readouterr().out
    stamp = done[0].stat().st_mtime_ns
    nb.stylize_folder(Tinted(), tmp_path / "in", tmp_path / "out")
    assert done[0].stat().st_mtime_ns == stamp
    with pytest.raises(nb.Problem, match="no folder"):
        nb.stylize_folder(Tinted(), tmp_path / "missing", tmp_path / "out")

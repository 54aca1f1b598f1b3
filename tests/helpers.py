"""What several test files share: made-up pictures, clips, a stand-in network, comparisons."""

import io
import re
import signal
import subprocess
from fractions import Fraction

import imageio_ffmpeg
import numpy as np
import PIL.Image
import torch

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
BT709 = (
    "-vf scale=out_color_matrix=bt709 -colorspace bt709 -color_primaries bt709 -color_trc bt709"
).split()


class OnGpu(torch.Tensor):
    """A tensor that says it is a GPU's."""

    is_cuda = property(lambda self: True)


def picture(width: int, height: int, seed: int = 0) -> PIL.Image.Image:
    """A colourful picture with edges, gradients and some grain."""
    dice = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    waves = [
        np.sin(x * dice.uniform(5, 25) + y * dice.uniform(5, 25) + dice.uniform(0, 6))
        for _ in range(3)
    ]
    pixels = np.stack(waves, 2) * 90 + 128 + dice.normal(0, 8, (height, width, 3))
    pixels[height // 3 : height // 2, width // 4 : width // 2] = dice.uniform(0, 255, 3)
    return PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def encoded(image: PIL.Image.Image, kind: str = "PNG", **options) -> bytes:
    """The picture as a file's bytes."""
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


class Tinted(torch.nn.Module):
    """A stand-in network that is quick and easy to predict: it halves the blue."""

    def __init__(self):
        super().__init__()
        scale = torch.tensor([1.0, 1.0, 0.5]).view(1, 3, 1, 1)
        self.register_parameter("scale", torch.nn.Parameter(scale))

    def forward(self, x):
        return x * self.scale


def write_clip(path, frames, rate="30", sound=0, extra=()):
    """Encode RGB frames, uint8 (H, W, 3), with a tone of `sound` seconds. They are piped raw, so
    that ffmpeg converts them once, to the colours (BT.709) that the file says it has."""
    frames = iter(frames)
    first = next(frames)
    height, width = first.shape[:2]
    raw = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {rate} -i -".split()
    tone = f"-f lavfi -i sine=frequency=440:duration={sound} -c:a aac".split() if sound else []
    colours = ["-pix_fmt", "yuv444p" if width % 2 or height % 2 else "yuv420p"]
    command = [FFMPEG, "-y", "-v", "error", *raw, *tone, *BT709, *colours, *extra, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    for frame in (first, *frames):
        process.stdin.write(np.ascontiguousarray(frame).tobytes())
    process.stdin.close()
    assert process.wait() == 0, command
    return path


def make_clip(path, size="64x48", rate="30", seconds=1, sound=True, extra=()):
    """Waves of colour, of which no two frames are alike, with a tone."""
    width, height = map(int, size.split("x"))
    count = max(1, round(seconds * Fraction(rate)))
    across = np.linspace(0, 6, width, dtype=np.float32)[None, :]
    down = np.linspace(0, 5, height, dtype=np.float32)[:, None]

    def frame(n):
        turn = 2 * np.pi * n
        waves = (across + turn / 37, down - turn / 23, across + 2 * down + turn / 51)
        picture = np.empty((height, width, 3), np.uint8)
        for channel, wave in enumerate(waves):
            picture[..., channel] = 128 + 80 * np.sin(wave)
        return picture

    return write_clip(path, map(frame, range(count)), rate, seconds if sound else 0, extra)


def color_clip(path, color, seconds=1, size="64x48", rate="10", extra=("-crf", "1")):
    """One colour, by its name or "#20C040"."""
    still = np.asarray(PIL.Image.new("RGB", tuple(map(int, size.split("x"))), color))
    return write_clip(path, [still] * round(seconds * int(rate)), rate, extra=extra)


def probe(path) -> str:
    """What ffmpeg says about a file."""
    command = [FFMPEG, "-hide_banner", "-i", str(path)]
    return subprocess.run(command, capture_output=True, text=True).stderr


def duration(path) -> float:
    """A clip's length in seconds, as its header says."""
    hours, minutes, seconds = re.search(r"Duration: (\d+):(\d+):([\d.]+)", probe(path)).groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def read(path) -> np.ndarray:
    """A clip's frames, uint8 (N, H, W, 3)."""
    exact = ["-sws_flags", "bicubic+accurate_rnd+full_chroma_int"]
    frames = imageio_ffmpeg.read_frames(str(path), output_params=exact)
    width, height = next(frames)["size"]
    return np.stack([np.frombuffer(f, np.uint8).reshape(height, width, 3) for f in frames])


def edges(pictures: torch.Tensor) -> torch.Tensor:
    """Where pictures (N, 3, H, W) have outlines, whatever their colours: coarse maps of the steps
    in brightness, mean 0."""
    grey = pictures.mean(1, keepdim=True)
    corner = grey[..., 1:, 1:]
    steps = (corner - grey[..., :-1, 1:]).abs() + (corner - grey[..., 1:, :-1]).abs()
    maps = torch.nn.functional.avg_pool2d(steps, 4).log1p().flatten(1)
    return maps - maps.mean(1, keepdim=True)


def press_at(number):
    """An on_step that presses the stop button after step `number`."""

    def on_step(step, losses):
        if step == number:
            signal.raise_signal(signal.SIGINT)

    return on_step


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    """Whether two networks are equal to the bit."""
    mine, other = a.state_dict(), b.state_dict()
    return mine.keys() == other.keys() and all(torch.equal(mine[n], other[n]) for n in mine)


def far(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    return ((a - b).abs().max() / b.abs().max()).item()


def stopped(*_, **__):
    """Does what a second press of the stop button does to the work in its place."""
    raise KeyboardInterrupt

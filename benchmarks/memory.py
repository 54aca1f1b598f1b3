"""Memory above the idle notebook: of a long clip, and of large pictures. Linux only.

    python benchmarks/memory.py clip [--minutes 10] [--rate 5] [--frames 12]
    python benchmarks/memory.py picture [--megapixels 24 100]

clip: a 1080p clip so long is made, and painted whole by a network that does nothing (memory of decoding, queues and
encoding over time), then its first --frames by checkpoints/snow.pth. picture: generated JPEGs, painted by snow.pth.
Resident memory of this process and its ffmpegs, sampled ten times a second; "idle" is the loaded definitions.
"""

import argparse
import os
import pathlib
import sys
import tempfile
import threading
import time

import imageio.v2
import numpy as np
import PIL.Image

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))
from notebook import ROOT, load_definitions  # noqa: E402
from video import Nothing  # noqa: E402


def resident() -> float:
    """Gigabytes that this process and its children hold."""
    total = 0
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if os.getpid() in (parent, int(folder.name)):
                total += int((folder / "statm").read_text().split()[1])
        except (OSError, ValueError, IndexError):  # it has just ended
            continue
    return total * os.sysconf("SC_PAGE_SIZE") / 1e9


class Watch:
    """Samples resident() in a thread, above what it was at first."""

    def __enter__(self):
        self.idle, self.begin, self.samples, self.over = resident(), time.monotonic(), [], threading.Event()
        self.thread = threading.Thread(target=self.sample)
        self.thread.start()
        return self

    def sample(self) -> None:
        while not self.over.wait(0.1):
            self.samples.append((time.monotonic() - self.begin, resident() - self.idle))

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def report(self, name: str) -> None:
        """Print the peak, and the highest of each fifth of the time."""
        fifths = np.array_split([gigabytes for _, gigabytes in self.samples], 5)
        parts = " ".join(f"{part.max():.2f}" for part in fifths if len(part))
        print(f"{name}: {self.samples[-1][0]:.0f} s, at most {max(g for _, g in self.samples):.2f} GB above idle")
        print(f"    highest in each fifth of that time: {parts}", flush=True)


def write_clip(path: pathlib.Path, minutes: float, rate: float) -> None:
    """A window gliding over a large picture of noise and shapes, 1920 x 1080."""
    dice = np.random.default_rng(0)
    coarse = PIL.Image.fromarray(dice.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    scene = np.asarray(coarse.resize((2560, 1440), PIL.Image.Resampling.BICUBIC))
    scene = np.clip(scene + dice.normal(0, 8, scene.shape), 0, 255).astype(np.uint8)
    with imageio.v2.get_writer(path, fps=rate, macro_block_size=1, ffmpeg_params=["-preset", "ultrafast"]) as writer:
        for n in range(round(minutes * 60 * rate)):
            x, y = (round(span / 2 * (1 + np.sin(n / slow))) for span, slow in ((640, 37), (360, 53)))
            writer.append_data(scene[y : y + 1080, x : x + 1920])


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", choices=("clip", "picture"))
    options.add_argument("--minutes", type=float, default=10)
    options.add_argument("--rate", type=float, default=5)
    options.add_argument("--frames", type=int, default=12)
    options.add_argument("--megapixels", type=float, nargs="+", default=[24, 100])
    given = options.parse_args()
    nb = load_definitions()
    network = nb.load_network(ROOT / "checkpoints" / "snow.pth")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if given.what == "clip":
            write_clip(folder / "long.mp4", given.minutes, given.rate)
            about = nb.open_video(folder / "long.mp4")[0]
            minutes = float(about["frames"] / about["rate"] / 60)
            print(f"{about['frames']} frames of {about['size']}, {minutes:g} minutes")
            painters = {"a network that does nothing": (Nothing(), None), "snow": (network, given.frames)}
            for name, (painter, frames) in painters.items():
                with Watch() as watch:
                    result = nb.stylize_video(painter, folder / "long.mp4", folder / "out.mp4", max_frames=frames)
                watch.report(f"{name}, {nb.open_video(result)[0]['frames']} frames")
        else:
            for megapixels in given.megapixels:
                height = round((megapixels * 1e6 / 1.5) ** 0.5)
                coarse = PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
                coarse.resize((height * 3 // 2, height), PIL.Image.Resampling.BICUBIC).save(folder / "large.jpg")
                del coarse
                with Watch() as watch:
                    result = nb.stylize_image(network, folder / "large.jpg")
                    nb.save_image(result, folder / "painted.jpg")
                watch.report(f"{result.width} x {result.height}, {result.width * result.height / 1e6:.0f} megapixels")
                del result


if __name__ == "__main__":
    main()

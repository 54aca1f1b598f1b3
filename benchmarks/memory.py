"""Memory above the idle notebook: of a long clip, and of large pictures. Linux only.

    python benchmarks/memory.py clip [--minutes 10] [--rate 5] [--frames 12]
    python benchmarks/memory.py picture [--megapixels 24 100]

clip: a 1080p clip so long is made, and painted whole by a network that does nothing (memory of
decoding, queues and encoding over time), then its first --frames by checkpoints/snow.pth. picture:
generated JPEGs, painted by snow.pth. Resident memory of this process and its ffmpegs, sampled ten
times a second; "idle" is the loaded definitions.
"""

import os
import pathlib
import tempfile
import threading
import time

import imageio.v2
import numpy as np
from common import SNOW, Nothing, nb, options, scene


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
        self.idle, self.begin, self.samples = resident(), time.monotonic(), []
        self.over, self.thread = threading.Event(), threading.Thread(target=self.sample)
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
        used = [gigabytes for _, gigabytes in self.samples]
        parts = " ".join(f"{part.max():.2f}" for part in np.array_split(used, 5) if len(part))
        print(f"{name}: {self.samples[-1][0]:.0f} s, at most {max(used):.2f} GB above idle")
        print(f"    highest in each fifth of that time: {parts}", flush=True)


def write_clip(path: pathlib.Path, minutes: float, rate: float) -> None:
    """A window gliding over a large picture of noise and shapes, 1920 x 1080."""
    large = np.asarray(scene(np.random.default_rng(0), (2560, 1440), (48, 64), grain=8))
    how = dict(fps=rate, macro_block_size=1, ffmpeg_params=["-preset", "ultrafast"])
    with imageio.v2.get_writer(path, **how) as writer:
        for n in range(round(minutes * 60 * rate)):
            ways = ((640, 37), (360, 53))
            x, y = (round(span / 2 * (1 + np.sin(n / slow))) for span, slow in ways)
            writer.append_data(large[y : y + 1080, x : x + 1920])


def clip(network, folder: pathlib.Path, given) -> None:
    """Measure both painters on a long clip."""
    source = folder / "long.mp4"
    write_clip(source, given.minutes, given.rate)
    about = nb.open_video(source)[0]
    minutes = float(about.frames / about.rate / 60)
    print(f"{about.frames} frames of {about.size}, {minutes:g} minutes")
    painters = {"a network that does nothing": (Nothing(), None), "snow": (network, given.frames)}
    for name, (painter, frames) in painters.items():
        with Watch() as watch:
            result = nb.stylize_video(painter, source, folder / "out.mp4", max_frames=frames)
        watch.report(f"{name}, {nb.open_video(result)[0].frames} frames")


def picture(network, folder: pathlib.Path, given) -> None:
    """Measure each size of picture."""
    for megapixels in given.megapixels:
        height = round((megapixels * 1e6 / 1.5) ** 0.5)
        size = (height * 3 // 2, height)
        scene(np.random.default_rng(0), size, (40, 60), grain=0).save(folder / "large.jpg")
        with Watch() as watch:
            result = nb.stylize_image(network, folder / "large.jpg")
            nb.save_image(result, folder / "painted.jpg")
        pixels = result.width * result.height / 1e6
        watch.report(f"{result.width} x {result.height}, {pixels:.0f} megapixels")
        del result


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, minutes=10.0, rate=5.0, frames=12, megapixels=[24.0, 100.0])
    parser.add_argument("what", choices=("clip", "picture"))
    given = parser.parse_args()
    network = nb.load_network(SNOW)
    with tempfile.TemporaryDirectory() as folder:
        (clip if given.what == "clip" else picture)(network, pathlib.Path(folder), given)


if __name__ == "__main__":
    main()

"""Photos: how fast a COCO-sized set is ready, and how much memory it and a very large set need.

    python benchmarks/data.py [--photos 5000] [--mapped 100000] [--steps 30]

First a zip of JPEGs of COCO's usual size is written and load_photos reads it, at the size for
256-pixel crops. Then a memory-mapped set of random bytes is trained on, at 64 pixels. Each part
runs in a process of its own; "memory" is the peak of its resident memory above that of the idle
definitions; of the mapped set's, the part that is no mapped file. Linux only.
"""

import io
import multiprocessing
import pathlib
import tempfile
import zipfile

import numpy as np
from common import nb, options, scene, timed


def memory(*kinds: str) -> float:
    """Gigabytes of these kinds (VmHWM: the peak so far; RssAnon, RssShmem: no files) now."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(kinds)) / 1e6


def load(path: pathlib.Path) -> None:
    """Read the zip, and print seconds and memory."""
    idle, photos = memory("VmHWM"), []
    seconds = timed(lambda: photos.append(nb.load_photos(path, 288)))
    peak = memory("VmHWM") - idle
    print(f"{len(photos[0]):,} photos from a zip: {seconds:.1f} s, {peak:.2f} GB of memory")


def train(path: pathlib.Path, steps: int) -> None:
    """Train on the mapped set, and print the memory."""
    photos = nb.torch.from_numpy(np.memmap(path, np.uint8, "c").reshape(-1, 3, 72, 72))
    style = nb.torch.randint(0, 256, (3, 96, 96), dtype=nb.torch.uint8)
    idle, peak = memory("RssAnon", "RssShmem"), []
    nb.train(
        photos, style, path.parent / "training", steps=steps, batch_size=4, image_size=64,
        vgg_weights="random", warmup_steps=steps,
        on_step=lambda *_: peak.append(memory("RssAnon", "RssShmem")),
    )
    print(
        f"training on {len(photos):,} mapped photos: {max(peak) - idle:.2f} GB of memory, "
        "network and VGG16 included"
    )


def write_zip(path: pathlib.Path, count: int) -> None:
    """JPEGs of 640 x 480 and 480 x 640, 100 to 200 kB each, as COCO's; sixteen different ones."""
    dice, files = np.random.default_rng(0), []
    for n in range(16):
        data = io.BytesIO()
        picture = scene(dice, (640, 480) if n % 4 else (480, 640), (12, 16), grain=12)
        picture.save(data, "JPEG", quality=90)
        files.append(data.getvalue())
    with zipfile.ZipFile(path, "w") as archive:
        for n in range(count):
            archive.writestr(f"val2017/{n:012d}.jpg", files[n % 16])
    print(f"{count:,} JPEGs of {np.mean([len(f) for f in files]) / 1e3:.0f} kB on average")


def main() -> None:
    """Run both parts."""
    given = options(__doc__, photos=5000, mapped=100_000, steps=30).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        packed, mapped = (pathlib.Path(folder, name) for name in ("val2017.zip", "mapped.photos"))
        write_zip(packed, given.photos)
        dice = np.random.default_rng(0)
        block = dice.integers(0, 256, (1000, 3, 72, 72), dtype=np.uint8).tobytes()
        with open(mapped, "wb") as file:
            for _ in range(given.mapped // 1000):
                file.write(block)
        for part, arguments in ((load, (packed,)), (train, (mapped, given.steps))):
            process = multiprocessing.get_context("spawn").Process(target=part, args=arguments)
            process.start()
            process.join()


if __name__ == "__main__":
    main()

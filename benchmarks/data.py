"""Photos: how fast a COCO-sized set is ready, and how much memory it and a very large set need.

    python benchmarks/data.py [--photos 5000] [--mapped 100000] [--steps 30]

First a zip of JPEGs of COCO's usual size is written and load_photos reads it, at the size for 256-pixel crops. Then a
memory-mapped set of random bytes is trained on, at 64 pixels. Each part runs in a process of its own; "memory" is
the peak of its resident memory above that of the idle definitions; of the mapped set's, the part that is no mapped file.
"""

import argparse
import io
import pathlib
import subprocess
import sys
import tempfile
import time
import zipfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

LOAD = """
import resource, sys, time
sys.path.insert(0, {tests!r})
from notebook import load_definitions
nb = load_definitions()
idle, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
photos = nb.load_photos({path!r}, 288)
seconds, peak = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle
print(f"{{len(photos):,}} photos from a zip: {{seconds:.1f}} s, {{peak / 1e6:.2f}} GB of memory")
"""

TRAIN = """
import pathlib, sys, tempfile
import numpy as np
sys.path.insert(0, {tests!r})
from notebook import load_definitions
nb = load_definitions()

def anonymous():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssShmem"))) / 1e6

photos = nb.torch.from_numpy(np.memmap({path!r}, np.uint8, "c").reshape(-1, 3, 72, 72))
idle, peak, style = anonymous(), [], nb.torch.randint(0, 256, (3, 96, 96), dtype=nb.torch.uint8)
nb.train(photos, style, tempfile.mkdtemp(), steps={steps}, batch_size=4, image_size=64, vgg_weights="random",
         warmup_steps={steps}, on_step=lambda *_: peak.append(anonymous()))
print(f"training on {{len(photos):,}} mapped photos: {{max(peak) - idle:.2f}} GB of memory, network and VGG16 included")
"""


def write_zip(path: pathlib.Path, count: int) -> None:
    """JPEGs of 640 x 480 and 480 x 640, 100 to 200 kB each, as COCO's are; sixteen different ones, over and over."""
    import PIL.Image

    dice, files = np.random.default_rng(0), []
    for n in range(16):
        coarse = PIL.Image.fromarray(dice.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        size = (640, 480) if n % 4 else (480, 640)
        noisy = np.asarray(coarse.resize(size, PIL.Image.Resampling.BICUBIC)) + dice.normal(0, 12, (*size[::-1], 3))
        data = io.BytesIO()
        PIL.Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(data, "JPEG", quality=90)
        files.append(data.getvalue())
    with zipfile.ZipFile(path, "w") as archive:
        for n in range(count):
            archive.writestr(f"val2017/{n:012d}.jpg", files[n % 16])
    print(f"{count:,} JPEGs of {np.mean([len(f) for f in files]) / 1e3:.0f} kB on average")


def main() -> None:
    """Run both parts."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("photos", 5000), ("mapped", 100_000), ("steps", 30)):
        options.add_argument(f"--{name}", type=int, default=default)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "val2017.zip"
        write_zip(path, given.photos)
        programs = [LOAD.format(tests=str(ROOT / "tests"), path=str(path))]
        mapped = pathlib.Path(folder) / "mapped.photos"
        block = np.random.default_rng(0).integers(0, 256, (1000, 3, 72, 72), dtype=np.uint8).tobytes()
        with open(mapped, "wb") as file:
            for _ in range(given.mapped // 1000):
                file.write(block)
        programs.append(TRAIN.format(tests=str(ROOT / "tests"), path=str(mapped), steps=given.steps))
        for program in programs:
            time.sleep(1)
            subprocess.run([sys.executable, "-c", program], check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()

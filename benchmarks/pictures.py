"""The README's pictures, painted by checkpoints/snow.pth: data/hero.jpg and benchmarks/before_after.gif.

python benchmarks/pictures.py [--network checkpoints/snow.pth]
"""

import argparse
import itertools
import pathlib
import sys

import numpy as np
import PIL.Image
import PIL.ImageOps

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))
from notebook import ROOT, load_definitions  # noqa: E402

EVERY = 6  # one frame in six of the clip itself is dark: this stride misses them


def paste(width: int, height: int, *places: tuple) -> PIL.Image.Image:
    """A white sheet with (picture, x, y, width, height) on it, each cut to its place."""
    sheet = PIL.Image.new("RGB", (width, height), "white")
    for picture, x, y, *size in places:
        sheet.paste(PIL.ImageOps.fit(picture, size, PIL.Image.Resampling.LANCZOS), (x, y))
    return sheet


def main() -> None:
    """Paint and write."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--network", type=pathlib.Path, default=ROOT / "checkpoints" / "snow.pth")
    given = options.parse_args()
    nb = load_definitions()
    network = nb.load_network(given.network).to(nb.pick_device())
    style = nb.load_image(ROOT / "data" / "styles" / "snow.jpg")
    frames = [PIL.Image.fromarray(f) for f in itertools.islice(nb.open_video(ROOT / "data" / "gameplay.mp4")[1], 240)]

    shown = [frames[16 * EVERY], frames[36 * EVERY]]
    paintings = [nb.stylize_image(network, frame) for frame in shown]
    places = [(style, 408, 0, 400, 458)]
    for row, (frame, painting) in enumerate(zip(shown, paintings, strict=True)):
        places += [(frame, 0, 233 * row, 400, 225), (painting, 816, 233 * row, 400, 225)]
    paste(1216, 458, *places).save(ROOT / "data" / "hero.jpg", quality=88)

    pairs = []
    for frame in frames[6 * EVERY : 22 * EVERY : EVERY]:
        pairs.append(paste(516, 144, (frame, 0, 0, 256, 144), (nb.stylize_image(network, frame), 260, 0, 256, 144)))
    palette = PIL.Image.fromarray(np.concatenate([np.asarray(p) for p in pairs[::5]])).quantize(128)
    pairs = [pair.quantize(palette=palette, dither=PIL.Image.Dither.FLOYDSTEINBERG) for pair in pairs]
    target = ROOT / "benchmarks" / "before_after.gif"
    pairs[0].save(target, save_all=True, append_images=pairs[1:], duration=200, loop=0, optimize=True)
    print(f"data/hero.jpg, and {target.relative_to(ROOT)}: {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()

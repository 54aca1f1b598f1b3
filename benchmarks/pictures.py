"""The READMEs' pictures: data/hero.jpg and benchmarks/before_after.gif, by checkpoints/snow.pth;
data/maps.jpg, the island in the styles of four maps; benchmarks/album.jpg, all ready-made styles;
and the small picture at the notebook's beginning.

    python benchmarks/pictures.py [--network checkpoints/snow.pth]
    python benchmarks/pictures.py --frames

--frames writes data/frames.zip instead: data/frames in one file, which the notebook fetches from
`repository` when it has no folder beside it. The same frames give the same bytes.
"""

import base64
import io
import itertools
import re
import zipfile

import numpy as np
import PIL.Image
import PIL.ImageOps
from common import CLIP, FRAMES, ROOT, SNOW, STYLE, nb, options


def paste(width: int, height: int, *places: tuple) -> PIL.Image.Image:
    """A white sheet with (picture, x, y, width, height) on it, each cut to its place."""
    sheet = PIL.Image.new("RGB", (width, height), "white")
    for picture, x, y, *size in places:
        sheet.paste(PIL.ImageOps.fit(picture, size, PIL.Image.Resampling.LANCZOS), (x, y))
    return sheet


def write_frames() -> None:
    """Pack data/frames, without compression (they are JPEGs) and without today's date."""
    with zipfile.ZipFile(ROOT / "data" / "frames.zip", "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(FRAMES.glob("*.jpg")):
            entry = zipfile.ZipInfo(f"frames/{path.name}", (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes())


def put_first(picture: PIL.Image.Image) -> None:
    """Into the notebook's first section, as data: who uploads the notebook alone has no files."""
    data, notebook = io.BytesIO(), ROOT / "fast_style_transfer.ipynb"
    picture.save(data, "JPEG", quality=75, optimize=True)
    address = "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()
    page = re.sub(r"data:image/jpeg;base64,[\w+/=]+", address, notebook.read_text(), count=1)
    notebook.write_text(page)


def main() -> None:
    """Paint and write."""
    given = options(__doc__, network=SNOW, frames=False).parse_args()
    if given.frames:
        return write_frames()
    network = nb.load_network(given.network).to(nb.DEVICE)
    frames = [PIL.Image.fromarray(f) for f in itertools.islice(nb.open_video(CLIP)[1], 240)]

    shown = [frames[96], frames[216]]
    places = [(nb.load_image(STYLE), 408, 0, 400, 458)]
    for y, frame in zip((0, 233), shown):
        painting = nb.stylize_image(network, frame)
        places += [(frame, 0, y, 400, 225), (painting, 816, y, 400, 225)]
    paste(1216, 458, *places).save(ROOT / "data" / "hero.jpg", quality=88)
    three = frames[216], nb.load_image(STYLE), painting
    put_first(paste(776, 144, *((one, 260 * n, 0, 256, 144) for n, one in enumerate(three))))

    places, sheet = [(frames[216], 0, 0, 640, 360)], []
    for n, name in enumerate(nb.ALBUM):
        painter = nb.load_network(ROOT / "checkpoints" / f"{name}.pth").to(nb.DEVICE)
        style = nb.load_image(STYLE.with_stem(name))
        painting = nb.stylize_image(painter, frames[216])
        x, y = n % 4 * 308, n // 4 * 350
        sheet += [(style, x, y, 300, 169), (painting, x, y + 173, 300, 169)]
        if name in nb.MAPS:
            x, y = ((0, 364), (644, 364), (0, 728), (644, 728))[n]
            places.append((painting, x, y, 640, 360))
            places.append((style, 644 + n % 2 * 322, n // 2 * 182, 318, 178))
    paste(1284, 1088, *places).save(ROOT / "data" / "maps.jpg", quality=85)
    paste(1224, 692, *sheet).save(ROOT / "benchmarks" / "album.jpg", quality=85)

    pairs = []
    for frame in frames[36:132:6]:
        painting = nb.stylize_image(network, frame)
        pairs.append(paste(516, 144, (frame, 0, 0, 256, 144), (painting, 260, 0, 256, 144)))
    palette = PIL.Image.fromarray(np.concatenate([np.asarray(p) for p in pairs[::5]])).quantize(128)
    dither = PIL.Image.Dither.FLOYDSTEINBERG
    first, *rest = [pair.quantize(palette=palette, dither=dither) for pair in pairs]
    target = ROOT / "benchmarks" / "before_after.gif"
    first.save(target, save_all=True, append_images=rest, duration=200, loop=0, optimize=True)
    size = target.stat().st_size / 1e6
    print(f"data/hero.jpg, the notebook's, and benchmarks/{target.name}: {size:.2f} MB")


if __name__ == "__main__":
    main()

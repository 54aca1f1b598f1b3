"""The ready-made styles, measured and shown.

    python benchmarks/album.py [NAME ...] [--photos FOLDER ...] [--size 256] [--sheet FOLDER]

For each network of checkpoints/ that has a picture in data/styles: the style loss of its paintings
of photos that no training saw (every 11th of data/frames and of the folders), over that of the
photos themselves; to which of all the styles its paintings are nearest (the mean over four layers
of |G1 - G2| / (|G1| + |G2|)), and the runner-up; the warping error (mean, of 255) under a window
that glides over the held-out frames. --sheet: FOLDER/NAME.jpg, the style and the paintings.
"""

import pathlib

import numpy as np
import PIL.ImageOps
import torch
from common import ROOT, held_out, load_style, nb, options, warping_error


def main() -> None:
    """Print the table, and write the sheets."""
    parser = options(__doc__, size=256, style_size=256, sheet=None)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--photos", type=pathlib.Path, nargs="*", default=[])
    given = parser.parse_args()
    vgg = nb.VGG16Features("imagenet").to(nb.DEVICE)
    folder = ROOT / "data" / "styles"
    styles = {name: load_style(given.style_size, folder / f"{name}.jpg") for name in nb.ALBUM}
    losses = {name: nb.PerceptualLoss(vgg, style.to(nb.DEVICE)) for name, style in styles.items()}
    paths = held_out(16)
    for place in given.photos:
        paths += sorted(path for path in place.iterdir())[::11][:16]
    fitted = [PIL.ImageOps.fit(nb.load_image(path), (given.size,) * 2) for path in paths]
    photos = [nb.pil_to_tensor(photo) for photo in fitted]
    windows = [nb.pil_to_tensor(nb.resize(nb.load_image(path), [272])) for path in held_out()]
    print(f"{'':<18}{'style loss left':>16}{'nearest':>18}{'runner-up':>18}{'warping':>9}")
    for name in given.names or nb.ALBUM:
        network = nb.load_network(ROOT / "checkpoints" / f"{name}.pth").to(nb.DEVICE)
        left, near, paintings = [], {other: [] for other in styles}, {}
        for path, photo in zip(paths, photos):
            painted = nb.paint_whole(network, photo)
            paintings[path.stem] = painted
            with torch.no_grad():
                x, y = (p[None].to(nb.DEVICE).float() for p in (photo, painted))
                left.append(float(losses[name](y, x).style / losses[name](x, x).style))
                grams = [nb.gram_matrix(maps)[0] for maps in vgg(y)]
            for other, loss in losses.items():
                pairs = zip(grams, loss.grams)
                far = [float((a - b[0]).norm() / (a.norm() + b.norm())) for a, b in pairs]
                near[other].append(np.mean(far))
        first, second = sorted(near, key=lambda other: np.mean(near[other]))[:2]
        error = np.mean([warping_error(network, window) for window in windows])
        distances = [f"{other} {np.mean(near[other]):.2f}" for other in (first, second)]
        print(f"{name:<18}{np.mean(left):>16.3f}{distances[0]:>18}{distances[1]:>18}{error:>9.2f}")
        if given.sheet:
            given.sheet.mkdir(parents=True, exist_ok=True)
            shown = [*paintings.values()][:: max(1, len(paintings) // 7)][:7]
            rows = [nb.pil_to_tensor(PIL.ImageOps.fit(nb.to_image(styles[name]), (256, 256)))]
            tiles = torch.stack([nb.resize(tile, [256, 256]) for tile in [*rows, *shown]])
            grid = tiles.unflatten(0, (2, 4)).permute(2, 0, 3, 1, 4).reshape(3, 512, 1024)
            nb.save_image(nb.to_image(grid), given.sheet / f"{name}.jpg")


if __name__ == "__main__":
    main()

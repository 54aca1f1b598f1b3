"""How many iterations of optimization one pass of a trained network is worth, on unseen pictures.

    python benchmarks/worth.py [--network FILE] [--pictures 10] [--size 256] [--iterations 200]
        [--starts noise photo] [PICTURE ...]

The pictures are the bundled game frames that benchmarks/ready_made.py holds out (every 11th), or
the given files. For each: the loss that the network was trained on (its VGG16, style and weights),
of its painting and along L-BFGS from white noise, as in the paper (section 4.1), and from the photo
itself (--starts chooses). A table and the medians are printed.
"""

import pathlib
import statistics

import PIL.ImageOps
import torch
from common import SNOW, STYLE, held_out, load_style, nb, options


def main() -> None:
    """Print the table."""
    parser = options(
        __doc__, network=SNOW, style=STYLE, style_size=256, pictures=10, size=256, iterations=200,
        starts=["noise", "photo"],
    )
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    given = parser.parse_args()
    settings = nb.load_checkpoint(given.network)["settings"]
    weights = {name: settings[name] for name in ("content_weight", "style_weight")}
    network = nb.load_network(given.network).to(nb.DEVICE)
    vgg = nb.VGG16Features(settings["vgg_weights"]).to(nb.DEVICE)
    style, size = load_style(given.style_size, given.style), (given.size, given.size)
    loss_of = nb.PerceptualLoss(vgg, style.to(nb.DEVICE), **weights)
    columns = [f"from {name}" for name in given.starts]
    print(f"{'picture':<24}" + "".join(f"{name:>12}" for name in ("photo", "one pass", *columns)))
    found = {name: [] for name in given.starts}
    for path in given.files or held_out(given.pictures):
        photo = nb.pil_to_tensor(PIL.ImageOps.fit(nb.load_image(path), size))
        x = photo[None].to(nb.DEVICE).float()
        with torch.no_grad():
            painted = network(x).clamp(0, 255)
            network_loss, photo_loss = (float(loss_of(y, x).total) for y in (painted, x))
        for name in given.starts:
            losses = nb.optimize_image(
                photo, style, vgg, iterations=given.iterations,
                start=photo if name == "photo" else None, **weights,
            )[1]
            found[name].append(nb.worth(network_loss, losses))
        counts = "".join(f"{values[-1]:>12}" for values in found.values())
        print(f"{path.name[:23]:<24}{photo_loss:>12,.0f}{network_loss:>12,.0f}{counts}", flush=True)
    for name, values in found.items():
        print(
            f"One pass is worth {statistics.median(values):g} iterations (median) from {name}, "
            f"range {min(values)} to {max(values)}; {given.iterations} means: that many or more."
        )


if __name__ == "__main__":
    main()

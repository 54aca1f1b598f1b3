"""How many iterations of optimization one pass of a trained network is worth, on pictures it has not been trained on.

    python benchmarks/worth.py [--network FILE] [--pictures 10] [--size 256] [--iterations 200]
        [--starts noise photo] [PICTURE ...]

The pictures are the bundled game frames that benchmarks/ready_made.py holds out (every 11th), or the given files. For
each: the loss that the network was trained on (its VGG16, style and weights), of its painting and along L-BFGS from
white noise, as in the paper (section 4.1), and from the photo itself (--starts chooses). A table and the medians are
printed.
"""

import argparse
import pathlib
import statistics
import sys

import PIL.ImageOps
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))
from notebook import ROOT, load_definitions  # noqa: E402
from steady import held_out  # noqa: E402


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("files", nargs="*", type=pathlib.Path)
    options.add_argument("--network", type=pathlib.Path, default=ROOT / "checkpoints" / "snow.pth")
    options.add_argument("--style", type=pathlib.Path, default=ROOT / "data" / "styles" / "snow.jpg")
    options.add_argument("--style-size", type=int, default=256)
    for name, default in (("pictures", 10), ("size", 256), ("iterations", 200)):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--starts", nargs="+", choices=["noise", "photo"], default=["noise", "photo"])
    given = options.parse_args()
    nb = load_definitions()
    device = nb.pick_device()
    settings = nb.load_checkpoint(given.network)["settings"]
    weights = {name: settings[name] for name in ("content_weight", "style_weight")}
    network = nb.load_network(given.network).to(device)
    vgg = nb.VGG16Features(settings["vgg_weights"]).to(device)
    style = nb.to_tensor(nb.resize_short_side(nb.load_image(given.style), given.style_size))
    loss_of = nb.PerceptualLoss(vgg, style.to(device), **weights)
    files = given.files or held_out(given.pictures)
    print(f"{'picture':<24}{'photo':>12}{'one pass':>12}" + "".join(f"{'from ' + name:>12}" for name in given.starts))
    found = {name: [] for name in given.starts}
    for path in files[: given.pictures]:
        photo = nb.to_tensor(PIL.ImageOps.fit(nb.load_image(path), (given.size, given.size)))
        x = photo[None].to(device).float()
        with torch.no_grad():
            painted = network(x).clamp(0, 255)
            network_loss, photo_loss = (float(loss_of(picture, x).total) for picture in (painted, x))
        for name in given.starts:
            start = photo if name == "photo" else None
            losses = nb.optimize_image(photo, style, vgg, iterations=given.iterations, start=start, **weights)[1]
            reached = nb.worth(network_loss, losses)
            found[name].append(given.iterations if reached is None else reached)
        print(
            f"{path.name[:23]:<24}{photo_loss:>12,.0f}{network_loss:>12,.0f}"
            + "".join(f"{found[name][-1]:>12}" for name in given.starts),
            flush=True,
        )
    for name, values in found.items():
        print(
            f"One pass is worth {statistics.median(values):g} iterations (median) from {name}, range "
            f"{min(values)} to {max(values)}; {given.iterations} means: that many or more."
        )


if __name__ == "__main__":
    main()

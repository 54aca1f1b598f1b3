"""How checkpoints/snow.pth was made: the notebook's own train(), on the bundled game frames.

    python benchmarks/ready_made.py FOLDER [--steps 1700] [--vgg-weights imagenet]

FOLDER gets the checkpoints, and can be given again to go on; snow.pth (16-bit weights) is written there at the end.
Every 11th frame is held out, for benchmarks/worth.py.
"""

import argparse
import pathlib
import sys

import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))
from notebook import ROOT, load_definitions  # noqa: E402


def training_photos(nb, size: int) -> torch.Tensor:
    """Each frame but every 11th as a whole, and its four quarters at twice the scale: uint8 (N, 3, size, size)."""
    whole, large = (nb.load_photos(ROOT / "data" / "frames", scale * size) for scale in (1, 2))
    kept = torch.arange(len(whole)) % 11 != 0
    quarters = [large[kept][..., y : y + size, x : x + size] for y in (0, size) for x in (0, size)]
    return torch.cat([whole[kept], *quarters])


def main() -> None:
    """Train, and write snow.pth."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=pathlib.Path)
    options.add_argument("--steps", type=int, default=1700)
    options.add_argument("--vgg-weights", default="imagenet")
    given = options.parse_args()
    nb = load_definitions()
    demo = nb.PRESETS["demo"]
    style = nb.load_image(ROOT / "data" / "styles" / "snow.jpg")
    style = nb.to_tensor(nb.resize_short_side(style, demo["style_size"]))
    size = demo["image_size"]
    nb.train(
        training_photos(nb, size * 9 // 8),
        style,
        given.folder,
        steps=given.steps,
        batch_size=demo["batch_size"],
        image_size=size,
        vgg_weights=given.vgg_weights,
        start_from=ROOT / "checkpoints" / "start.pth",
    )
    final = nb.load_checkpoint(given.folder / "final.pth")
    final["network"] = {name: value.half() for name, value in final["network"].items()}
    final["made_by"] = (
        f"benchmarks/ready_made.py: {given.steps} steps of {demo['batch_size']} photos at {size} pixels, "
        f"{given.vgg_weights} VGG16 weights, data/frames without every 11th, from checkpoints/start.pth"
    )
    final.pop("format")
    nb.save_checkpoint(given.folder / "snow.pth", **final)


if __name__ == "__main__":
    main()

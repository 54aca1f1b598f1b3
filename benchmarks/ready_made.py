"""How checkpoints/snow.pth was made: the notebook's own train(), on the bundled game frames.

    python benchmarks/ready_made.py FOLDER [--steps 5200] [--style-weight 4e10]
        [--temporal-weight 2000] [--learning-rate 1e-3] [--vgg-weights imagenet]
        [--start-from checkpoints/start.pth] [--bfloat16]

FOLDER gets the checkpoints, and can be given again to go on; snow.pth (16-bit weights) is written
there at the end. Every 11th frame is held out, for benchmarks/worth.py. --bfloat16: mixed precision
on the CPU, where the notebook would compute in float32 (1.7 times as fast on processors that have
avx512_bf16, slower on others).
"""

import pathlib

import torch
from common import FRAMES, START, load_style, nb, options


def training_photos(size: int) -> torch.Tensor:
    """Each frame but every 11th whole, and its quarters at twice the scale: (N, 3, size, size)."""
    whole, large = (nb.load_photos(FRAMES, scale * size) for scale in (1, 2))
    kept = torch.arange(len(whole)) % 11 != 0
    corners = [(y, x) for y in (0, size) for x in (0, size)]
    quarters = [large[kept][..., y : y + size, x : x + size] for y, x in corners]
    return torch.cat([whole[kept], *quarters])


def main() -> None:
    """Train, and write snow.pth."""
    parser = options(
        __doc__, steps=5200, style_weight=4e10, temporal_weight=2000.0, learning_rate=1e-3,
        vgg_weights="imagenet", start_from=START, bfloat16=False,
    )
    parser.add_argument("folder", type=pathlib.Path)
    given = parser.parse_args()
    if given.bfloat16:
        nb.half_precision = lambda device, vgg_weights: torch.bfloat16
    demo = nb.PRESETS["demo"]
    size, batch = demo["image_size"], demo["batch_size"]
    own = {name: value for name, value in vars(given).items() if name not in ("folder", "bfloat16")}
    nb.train(
        training_photos(size * 9 // 8), load_style(demo["style_size"]), given.folder,
        batch_size=batch, image_size=size, **own,
    )
    final = nb.load_checkpoint(given.folder / "final.pth")
    before = nb.load_checkpoint(given.start_from)
    final["network"] = {name: value.half() for name, value in final["network"].items()}
    final["seconds"] += before.get("seconds", 0.0)  # the earlier runs belong to what it has cost
    origin = f"{given.start_from.name} ({before.get('made_by', 'redraws photos')})"
    final["made_by"] = (
        f"benchmarks/ready_made.py: {given.steps} steps of {batch} photos at {size} pixels, "
        f"{given.vgg_weights} VGG16 weights, style_weight {given.style_weight:g}, temporal_weight "
        f"{given.temporal_weight:g}{', bfloat16' * given.bfloat16}, learning rate "
        f"{given.learning_rate:g}, data/frames without every 11th, from {origin}"
    )
    final["settings"]["start_from"] = given.start_from.name
    nb.save_checkpoint(given.folder / "snow.pth", **final)


if __name__ == "__main__":
    main()

"""Does 16-bit learn and paint as float32 does, and how fast is a large picture painted?

    python benchmarks/precision.py [--steps 150] [--style STYLE.jpg] [--start-from FILE] [--float16]
        [--width 1920] [--height 1080]

The same training (batch 4 at 128 pixels, the bundled frames, ImageNet's VGG16) in the precision
that the notebook takes here, with --float16 in a T4's as well, and in float32: the mean loss of
the last third. Then a frame of the island clip, painted in both; and the time of one pass, upload
and download included.
"""

import statistics
import tempfile

import torch
from common import CLIP, SNOW, START, STYLE, bundled_photos, load_style, nb, options, timed, where


def main() -> None:
    """Train, paint, print."""
    given = options(
        __doc__, steps=150, style=STYLE, start_from=START, float16=False, width=1920, height=1080
    ).parse_args()
    print(where())
    usual = nb.half_precision
    kinds = {"as usual": usual, "float32": lambda *_: None}
    if given.float16:
        kinds["float16"] = lambda *_: torch.float16
    photos, style, found = bundled_photos(144)[0], load_style(256, given.style), {}
    for name, choose in kinds.items():
        nb.half_precision, losses = choose, []
        with tempfile.TemporaryDirectory() as folder:
            nb.train(
                photos, style, folder, steps=given.steps, batch_size=4, image_size=128,
                start_from=given.start_from, checkpoint_every=10**6,
                on_step=lambda _, now, to=losses: to.append(now.total.item()),
            )
        found[name] = statistics.mean(losses[-len(losses) // 3 :])
    for name, loss in found.items():
        print(f"{name}: loss {loss:,.0f}, {loss / found['float32']:.4f} of float32's")

    nb.half_precision = usual
    network = nb.load_network(SNOW).to(nb.DEVICE)
    frame = nb.pil_to_tensor(next(iter(nb.first_frames(CLIP).values())))
    painted = nb.paint_whole(network, frame).float()
    with torch.no_grad():
        exact = nb.to_uint8(network(frame[None].to(nb.DEVICE).float())[0]).float()
    change = (painted - exact).abs()
    print(f"painting: {change.mean():.3f} of 255 from float32's, {change.max():.0f} at most")
    large = torch.randint(0, 256, (given.height, given.width, 3), dtype=torch.uint8)
    large = large.permute(2, 0, 1)  # as a clip's frames lie in memory
    seconds = [timed(lambda: nb.paint(network, large)) for _ in range(32)][4:]
    print(f"{given.width}x{given.height}: {1 / statistics.median(seconds):.1f} pictures/s")


if __name__ == "__main__":
    main()

"""Frames a second of stylize_video, beside a plain loop with the same network, and beside decoding and encoding alone.

    python benchmarks/video.py [--clip data/gameplay.mp4] [--network checkpoints/snow.pth] [--frames 60] [--rounds 2]

The plain loop reads a frame, paints it in float32 and writes it, one after the other, as the peers' scripts do. "Codec
alone" is stylize_video with a network that does nothing. All run in turn in one process; the best round of each counts.
"""

import argparse
import itertools
import pathlib
import sys
import tempfile
import time

import imageio.v2
import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))
from notebook import ROOT, load_definitions  # noqa: E402


class Nothing(torch.nn.Module):
    """A network that paints the photo itself."""

    def __init__(self):
        super().__init__()
        self.register_parameter("one", torch.nn.Parameter(torch.ones(1)))

    def forward(self, x):
        return x


def plain_loop(network, clip: pathlib.Path, target: pathlib.Path, frames: int) -> None:
    """Read, paint, write, one frame after the other."""
    device = next(network.parameters()).device
    reader = imageio.v2.get_reader(clip)
    with imageio.v2.get_writer(target, fps=reader.get_meta_data()["fps"], macro_block_size=1) as writer:
        for frame in itertools.islice(reader, frames):
            x = torch.from_numpy(np.asarray(frame)).permute(2, 0, 1)[None].float().to(device)
            with torch.no_grad():
                painted = network(x)[0].clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
            writer.append_data(painted)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--clip", type=pathlib.Path, default=ROOT / "data" / "gameplay.mp4")
    options.add_argument("--network", type=pathlib.Path, default=ROOT / "checkpoints" / "start.pth")
    options.add_argument("--frames", type=int, default=60)
    options.add_argument("--rounds", type=int, default=2)
    given = options.parse_args()
    nb = load_definitions()
    network = nb.load_network(given.network).to(nb.pick_device())
    nothing = Nothing().to(nb.pick_device())
    frames = min(given.frames, nb.open_video(given.clip)[0]["frames"])
    best = {}
    with tempfile.TemporaryDirectory() as folder:
        target = pathlib.Path(folder) / "out.mp4"
        kinds = {
            "plain loop": lambda: plain_loop(network, given.clip, target, frames),
            "stylize_video": lambda: nb.stylize_video(network, given.clip, target, max_frames=frames),
            "codec alone": lambda: nb.stylize_video(nothing, given.clip, target, max_frames=frames),
        }
        for _ in range(given.rounds):
            for name, work in kinds.items():
                begin = time.perf_counter()
                work()
                best[name] = min(best.get(name, 1e9), time.perf_counter() - begin)
    size = "x".join(map(str, nb.open_video(given.clip)[0]["size"]))
    for name, seconds in best.items():
        print(
            f"{name:<16}{frames / seconds:8.2f} frames/s at {size}, {best['plain loop'] / seconds:.2f} of the plain loop"
        )


if __name__ == "__main__":
    main()

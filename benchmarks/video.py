"""Frames a second of stylize_video, beside a plain loop, and beside decoding and encoding alone.

    python benchmarks/video.py [--clip FILE] [--network FILE] [--frames 60] [--rounds 2]
        [--float32]

The plain loop reads a frame, paints it in float32 by the plain layers and writes it, one after the
other, as the peers' scripts do. "Codec alone" is stylize_video with a network that does nothing.
All run in turn in one process; the best round of each counts. --float32: as on a processor that
does not compute in bfloat16.
"""

import itertools
import pathlib
import tempfile

import imageio.v2
import numpy as np
import torch
from common import CLIP, START, Nothing, nb, options, timed, where


def plain_loop(network, clip: pathlib.Path, target: pathlib.Path, frames: int) -> None:
    """Read, paint, write, one frame after the other."""
    device = next(network.parameters()).device
    reader = imageio.v2.get_reader(clip)
    rate = reader.get_meta_data()["fps"]
    with imageio.v2.get_writer(target, fps=rate, macro_block_size=1) as writer:
        for frame in itertools.islice(reader, frames):
            x = torch.from_numpy(np.asarray(frame)).permute(2, 0, 1)[None].float().to(device)
            with torch.no_grad():
                painted = network(x)[0].clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
            writer.append_data(painted)


def main() -> None:
    """Measure and print."""
    given = options(__doc__, clip=CLIP, network=START, frames=60, rounds=2, float32=False)
    given = given.parse_args()
    if given.float32:
        nb.half_precision = lambda *_: None
    network, plain = nb.load_network(given.network).to(nb.DEVICE), nb.TransformerNet()
    plain.load_state_dict(network.state_dict())
    plain.eval().to(nb.DEVICE)
    nothing, about = Nothing().to(nb.DEVICE), nb.open_video(given.clip)[0]
    frames, best = min(given.frames, about.frames), {}
    print(where())
    with tempfile.TemporaryDirectory() as folder:
        paths = given.clip, pathlib.Path(folder) / "out.mp4"
        kinds = {
            "plain loop": lambda: plain_loop(plain, *paths, frames),
            "stylize_video": lambda: nb.stylize_video(network, *paths, max_frames=frames),
            "codec alone": lambda: nb.stylize_video(nothing, *paths, max_frames=frames),
        }
        for _ in range(given.rounds):
            for name, work in kinds.items():
                best[name] = min(best.get(name, 1e9), timed(work))
    for name, seconds in best.items():
        rate, share = frames / seconds, best["plain loop"] / seconds
        size = "x".join(map(str, about.size))
        print(f"{name:<16}{rate:8.2f} frames/s at {size}, {share:.2f} of the plain loop")


if __name__ == "__main__":
    main()

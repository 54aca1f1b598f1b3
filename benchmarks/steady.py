"""Steadiness in video, measured where the motion is known.

    python benchmarks/steady.py training [--weights 0 100] [--steps 200] [--vgg-weights imagenet]
        [--start-from FILE] [--plot FILE.jpg] [--keep FOLDER]
    python benchmarks/steady.py painting [--network checkpoints/snow.pth] [--plot FILE.jpg]

training: for each temporal_weight, the demo preset's training (bundled frames but every 11th, snow map, random VGG16
unless told otherwise) from checkpoints/start.pth (or --start-from); then a window glides over the frames held out, by
(2, 1) pixels a frame. Warping error: the mean |painting - painting before, moved by the same pixels|, 0-255, 16 pixels
from the border. Style loss: on the same held-out frames.

painting: for each way of carrying the normalization's statistics from frame to frame, (1) the largest jump of the
background's painting when a bright square enters a still picture, and (2) the wander of the painting's mean colour on
the game clip that the source's own mean colour does not explain (residual of a linear fit), both 0-255. "average 0.05"
is the plain moving average of the statistics, for comparison.
"""

import argparse
import itertools
import pathlib
import sys
import tempfile
import time

import numpy as np
import torch
from matplotlib.figure import Figure

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))
from notebook import ROOT, load_definitions  # noqa: E402


def held_out(count: int = 10) -> list[pathlib.Path]:
    """The bundled frames that no training here has seen."""
    return sorted((ROOT / "data" / "frames").iterdir())[::11][:count]


@torch.no_grad()
def warping_error(nb, network: torch.nn.Module, photo: torch.Tensor, frames: int = 6) -> float:
    """A 256 x 256 window glides over the photo, uint8 (3, H, W)."""
    right, down, margin, side = 2, 1, 16, 256
    windows = [photo[:, n * down : n * down + side, n * right : n * right + side] for n in range(frames)]
    painted = [nb.paint_whole(network, window[None])[0].float() for window in windows]
    inside = slice(margin, side - margin)
    moved = (slice(margin + down, side - margin + down), slice(margin + right, side - margin + right))
    pairs = itertools.pairwise(painted)
    return float(np.mean([(b[:, inside, inside] - a[:, moved[0], moved[1]]).abs().mean() for a, b in pairs]))


def training(nb, given) -> None:
    """Train once for each weight, and print and plot the trade."""
    demo, device = nb.PRESETS["demo"], nb.pick_device()
    size = demo["image_size"]
    every = nb.load_photos(ROOT / "data" / "frames", size * 9 // 8)
    photos = every[torch.arange(len(every)) % 11 != 0]
    unseen = [nb.to_tensor(nb.resize_short_side(nb.load_image(path), 272)) for path in held_out()]
    x = torch.stack([photo[:, :256, :256] for photo in unseen]).float().to(device)
    style = nb.load_image(ROOT / "data" / "styles" / "snow.jpg")
    style = nb.to_tensor(nb.resize_short_side(style, demo["style_size"]))
    loss_of = nb.PerceptualLoss(nb.VGG16Features(given.vgg_weights).to(device), style.to(device))
    print(f"{'temporal_weight':>16}{'warping error':>16}{'style loss':>14}{'total':>12}{'photos/s':>10}")
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        for weight in given.weights:
            folder, begin = (given.keep or pathlib.Path(temporary)) / f"weight-{weight:g}", time.perf_counter()
            network = nb.train(
                photos,
                style,
                folder,
                steps=given.steps,
                batch_size=demo["batch_size"],
                image_size=size,
                vgg_weights=given.vgg_weights,
                temporal_weight=weight,
                start_from=given.start_from,
            )
            speed = given.steps * demo["batch_size"] / (time.perf_counter() - begin)
            error = np.mean([warping_error(nb, network, photo) for photo in unseen])
            with torch.no_grad():
                losses = [loss_of(network(part), part) for part in x.split(2)]
            style_loss, total = (np.mean([float(getattr(part, kind)) for part in losses]) for kind in ("style", "total"))
            found.append((weight, error, style_loss))
            print(f"{weight:>16g}{error:>16.3f}{style_loss:>14,.0f}{total:>12,.0f}{speed:>10.2f}", flush=True)
    if given.plot:
        figure = Figure(figsize=(5, 3), layout="constrained")
        axes = figure.add_subplot()
        found.sort()
        weights, errors, styles = zip(*found, strict=True)
        axes.plot(styles, errors, marker="o")
        for weight, error, style_loss in found:
            axes.annotate(f" {weight:g}", (style_loss, error))
        axes.set(xlabel="held-out style loss", ylabel="warping error (of 255)", title="temporal_weight")
        figure.savefig(given.plot, dpi=110)


def average(nb, network: torch.nn.Module, frames, share: float):
    """The plain moving average of each frame's statistics: pairs (frame, statistics)."""
    kept = None
    for frame in frames:
        own = nb.measure_statistics(network, nb.to_planes(frame)[None])
        pairs = zip(kept or own, own, strict=True)
        kept = [tuple(torch.lerp(a, b, share) for a, b in zip(*pair, strict=True)) for pair in pairs]
        yield frame, kept


def painting(nb, given) -> None:
    """Print and plot both measures for every way."""
    network = nb.load_network(given.network).to(nb.pick_device())
    clip = ROOT / "data" / "gameplay.mp4"
    about, frames = nb.open_video(clip)
    rate = float(about["rate"])
    small = [np.asarray(nb.PIL.Image.fromarray(frame).resize((320, 180))) for frame in itertools.islice(frames, 120)]
    still = [small[0].copy() for _ in range(45)]
    for frame in still[15:]:
        frame[10:60, 20:90] = 250
    ways = {f"steady {s:g}": lambda f, s=s: nb.steady_frames(network, iter(f), rate, s) for s in (0, 0.25, 0.5, 1)}
    ways["average 0.05"] = lambda f: average(nb, network, f, 0.05)
    source = np.stack([frame.mean((0, 1)) for frame in small])
    known, found = np.c_[source, np.ones(len(source))], {}
    print(f"{'way':<16}{'largest jump of a still background':>36}{'wander of the mean colour':>28}")
    for name, way in ways.items():
        painted = []
        for clip_frames in (still, small):
            results = []
            for frame, statistics in way(clip_frames):
                with nb.fixed_statistics(network, statistics):
                    results.append(nb.paint(network, nb.to_planes(frame)[None])[0].float())
            painted.append(results)
        background = torch.stack([result[:, 80:, 120:] for result in painted[0]])
        jump = float(background.diff(dim=0).abs().mean((1, 2, 3)).max())
        means = np.stack([result.mean((1, 2)).numpy() for result in painted[1]])
        explained = known @ np.linalg.lstsq(known, means, rcond=None)[0]
        found[name] = (jump, float((means - explained).std(0).mean()))
        print(f"{name:<16}{found[name][0]:>36.2f}{found[name][1]:>28.2f}", flush=True)
    if given.plot:
        figure = Figure(figsize=(7, 2.6), layout="constrained")
        titles = ("jump of a still background", "wander of the mean colour")
        for number, (axes, title) in enumerate(zip(figure.subplots(1, 2), titles, strict=True)):
            axes.barh(list(found), [values[number] for values in found.values()])
            axes.set_title(title, fontsize=9)
            axes.invert_yaxis()
        figure.savefig(given.plot, dpi=110)


def main() -> None:
    """Run one part."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("part", choices=["training", "painting"])
    options.add_argument("--weights", type=float, nargs="+", default=[0, 100])
    options.add_argument("--steps", type=int, default=200)
    options.add_argument("--vgg-weights", default="random")
    options.add_argument("--start-from", type=pathlib.Path, default=ROOT / "checkpoints" / "start.pth")
    options.add_argument("--network", type=pathlib.Path, default=ROOT / "checkpoints" / "snow.pth")
    options.add_argument("--plot", type=pathlib.Path)
    options.add_argument("--keep", type=pathlib.Path)
    given = options.parse_args()
    (training if given.part == "training" else painting)(load_definitions(), given)


if __name__ == "__main__":
    main()

"""Steadiness in video, measured where the motion is known.

    python benchmarks/steady.py training [--weights 0 100] [--steps 200] [--vgg-weights imagenet]
        [--start-from FILE] [--plot FILE.jpg] [--keep FOLDER]
    python benchmarks/steady.py painting [--network checkpoints/snow.pth] [--plot FILE.jpg]

training: for each temporal_weight, a training with the demo's sizes (bundled frames but every 11th,
snow map, random VGG16 unless told otherwise) from checkpoints/start.pth (or --start-from); then
a window glides over the frames held out, by (2, 1) pixels a frame. Warping error: the mean
|painting - painting before, moved by the same pixels|, 0-255, 16 pixels from the border. Style
loss: on the same held-out frames.

painting: for each way of carrying the normalization's statistics from frame to frame, (1) the
largest jump of the background's painting when a bright square enters a still picture, and (2) the
wander of the painting's mean colour on the game clip that the source's own mean colour does not
explain (residual of a linear fit), both 0-255. "average 0.05" is the plain moving average of the
statistics, for comparison.
"""

import itertools
import pathlib
import tempfile
import time

import numpy as np
import PIL.Image
import torch
from common import (
    CLIP,
    SNOW,
    START,
    bundled_photos,
    held_out,
    load_style,
    nb,
    options,
    warping_error,
)
from matplotlib.figure import Figure


def training(given) -> None:
    """Train once for each weight, and print and plot the trade."""
    demo = nb.PRESETS["demo"]
    size, batch = demo["image_size"], demo["batch_size"]
    photos, style = bundled_photos(size * 9 // 8)[0], load_style(demo["style_size"])
    unseen = [nb.pil_to_tensor(nb.resize(nb.load_image(path), [272])) for path in held_out()]
    x = torch.stack([photo[:, :256, :256] for photo in unseen]).float().to(nb.DEVICE)
    vgg = nb.VGG16Features(given.vgg_weights).to(nb.DEVICE)
    loss_of = nb.PerceptualLoss(vgg, style.to(nb.DEVICE))
    titles = ("temporal_weight", "warping error", "style loss", "total", "photos/s")
    print("".join(f"{title:>16}" for title in titles))
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        for weight in given.weights:
            folder = (given.keep or pathlib.Path(temporary)) / f"weight-{weight:g}"
            begin = time.perf_counter()
            network = nb.train(
                photos, style, folder, steps=given.steps, batch_size=batch, image_size=size,
                vgg_weights=given.vgg_weights, temporal_weight=weight, start_from=given.start_from,
            )
            speed = given.steps * batch / (time.perf_counter() - begin)
            error = np.mean([warping_error(network, photo) for photo in unseen])
            with torch.no_grad():
                losses = [loss_of(network(part), part) for part in x.split(2)]
            style_loss = np.mean([float(part.style) for part in losses])
            total = np.mean([float(part.total) for part in losses])
            found.append((weight, error, style_loss))
            print(
                f"{weight:>16g}{error:>16.3f}{style_loss:>16,.0f}{total:>16,.0f}{speed:>16.2f}",
                flush=True,
            )
    if given.plot:
        figure = Figure(figsize=(5, 3), layout="constrained")
        axes = figure.add_subplot()
        found.sort()
        _, errors, styles = zip(*found)
        axes.plot(styles, errors, marker="o")
        for weight, error, style_loss in found:
            axes.annotate(f" {weight:g}", (style_loss, error))
        axes.set(xlabel="held-out style loss", ylabel="warping error (of 255)")
        axes.set_title("temporal_weight")
        figure.savefig(given.plot, dpi=110)


def average(network: torch.nn.Module, frames, share: float):
    """The plain moving average of each frame's statistics: pairs (picture, statistics)."""
    kept = None
    for frame in frames:
        picture = nb.pil_to_tensor(PIL.Image.fromarray(frame))
        own = nb.measure_statistics(network, picture)
        kept = {layer: [torch.lerp(a, b, share) for a, b in zip((kept or own)[layer], own[layer])]
                for layer in own}
        yield picture, kept


def painting(given) -> None:
    """Print and plot both measures for every way."""
    network = nb.load_network(given.network).to(nb.DEVICE)
    about, frames = nb.open_video(CLIP)
    rate, few = float(about.rate), itertools.islice(frames, given.frames)
    small = [np.asarray(PIL.Image.fromarray(frame).resize((320, 180))) for frame in few]
    still = [small[0].copy() for _ in range(45)]
    for frame in still[15:]:
        frame[10:60, 20:90] = 250
    ways = {
        f"steady {s:g}": lambda f, s=s: nb.steady_frames(network, iter(f), rate, s)
        for s in (0, 0.25, 0.5, 1)
    }
    ways["average 0.05"] = lambda f: average(network, f, 0.05)
    source = np.stack([frame.mean((0, 1)) for frame in small])
    known, found = np.c_[source, np.ones(len(source))], {}
    print(f"{'way':<16}{'largest jump of a still background':>36}{'wander of the mean colour':>28}")
    for name, way in ways.items():
        on_still, on_clip = (
            [nb.paint(network, picture, statistics=s).float() for picture, s in way(clip)]
            for clip in (still, small)
        )
        background = torch.stack([result[:, 80:, 120:] for result in on_still])
        jump = float(background.diff(dim=0).abs().mean((1, 2, 3)).max())
        means = np.stack([result.mean((1, 2)).numpy() for result in on_clip])
        explained = known @ np.linalg.lstsq(known, means, rcond=None)[0]
        found[name] = (jump, float((means - explained).std(0).mean()))
        print(f"{name:<16}{found[name][0]:>36.2f}{found[name][1]:>28.2f}", flush=True)
    if given.plot:
        figure = Figure(figsize=(7, 2.6), layout="constrained")
        titles = ("jump of a still background", "wander of the mean colour")
        for number, (axes, title) in enumerate(zip(figure.subplots(1, 2), titles)):
            axes.barh(list(found), [values[number] for values in found.values()])
            axes.set_title(title, fontsize=9)
            axes.invert_yaxis()
        figure.savefig(given.plot, dpi=110)


def main() -> None:
    """Run one part."""
    parser = options(
        __doc__, weights=[0.0, 100.0], steps=200, vgg_weights="random", start_from=START,
        network=SNOW, frames=120, plot=None, keep=None,
    )
    parser.add_argument("part", choices=["training", "painting"])
    given = parser.parse_args()
    (training if given.part == "training" else painting)(given)


if __name__ == "__main__":
    main()

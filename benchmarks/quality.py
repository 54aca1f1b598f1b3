"""How many photos a training needs, beside pytorch/examples' recipe: held-out loss against photos seen.

    python benchmarks/quality.py --peer PATH/fast_neural_style [--photos 4000] [--size 128] [--batch 4] [--share 0.25]
        [--plot FILE.jpg]

Both see the bundled game frames but every 11th, which are held out, in the style of the snow map, with the
same random VGG16 and the same weights (1e5, 1e10). Theirs: its network and initialization, Adam at a constant 1e-3,
middle crops, for `photos` photos. Ours: the notebook's train() from nothing (no start.pth), given `share` of that, its
warm start counted at its share of the cost of a style step, measured first. Prints both curves, and how many photos ours
needed; --plot draws them.
"""

import argparse
import pathlib
import sys
import tempfile
import time

import torch
from matplotlib.figure import Figure

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from train import ROOT, load_definitions, peer_modules  # noqa: E402


def main() -> None:
    """Train both and print the held-out loss on the way."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--peer", type=pathlib.Path, required=True, help="pytorch/examples' fast_neural_style folder")
    for name, default in (("photos", 4000), ("size", 128), ("batch", 4), ("warmup", 100)):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--share", type=float, default=0.25)
    options.add_argument("--plot", type=pathlib.Path)
    given = options.parse_args()
    nb = load_definitions()
    device = nb.pick_device()
    every = nb.load_photos(ROOT / "data" / "frames", given.size * 9 // 8)
    chosen = torch.arange(len(every)) % 11 == 0
    photos, margin = every[~chosen], given.size // 16
    middle = slice(margin, margin + given.size)
    held_out = every[chosen][:16, :, middle, middle].float().to(device)
    style = nb.to_tensor(nb.resize_short_side(nb.load_image(ROOT / "data" / "styles" / "snow.jpg"), 2 * given.size))
    loss_of = nb.PerceptualLoss(nb.VGG16Features("random").to(device), style.to(device))

    def held_out_loss(network: torch.nn.Module) -> float:
        with torch.no_grad():
            return sum(loss_of(network(x), x).total.item() for x in held_out.split(4)) / len(held_out.split(4))

    def cost(losses_of) -> float:
        times = []
        for _ in range(4):
            start = time.perf_counter()
            losses_of().total.backward()
            times.append(time.perf_counter() - start)
        return min(times)

    network = nb.fresh_network(0).to(device)
    x = nb.draw_batch(photos, 0, given.batch, given.size, 0).to(device)
    places = range(given.batch)
    redraw = cost(lambda: nb.redraw_losses(network, x))
    share = redraw / cost(lambda: nb.style_losses(network, loss_of, x, 0.0, 0, 0, places, given.batch))
    steps = round(given.photos * given.share / given.batch - given.warmup * share)
    print(f"A warm-up step costs {share:.2f} of a style step: ours gets {given.warmup} of these and {steps} steps.")

    curves = {"ours": [], "pytorch/examples' recipe": []}

    def note(name: str, seen: float, network: torch.nn.Module) -> None:
        curves[name].append((seen, held_out_loss(network)))
        print(f"{name}, {seen:.0f} photos: {curves[name][-1][1]:,.0f}", flush=True)

    def watch(step: int, losses, network: torch.nn.Module) -> None:
        if step % 25 == 0 or step == steps:
            note("ours", (step + given.warmup * share) * given.batch, network)

    with tempfile.TemporaryDirectory() as folder:
        nb.train(
            photos,
            style,
            folder,
            steps=steps,
            batch_size=given.batch,
            image_size=given.size,
            vgg_weights="random",
            temporal_weight=0.0,
            warmup_steps=given.warmup,
            watch=watch,
        )

    torch.manual_seed(0)
    network = peer_modules(given.peer)[0].TransformerNet().to(device)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for step in range(1, given.photos // given.batch + 1):
        rows = [n % len(photos) for n in range((step - 1) * given.batch, step * given.batch)]
        x = photos[rows][:, :, middle, middle].float().to(device)
        optimizer.zero_grad()
        loss_of(network(x), x).total.backward()
        optimizer.step()
        if step % 50 == 0:
            note("pytorch/examples' recipe", step * given.batch, network)
    mine, (wanted_at, wanted) = curves["ours"], curves["pytorch/examples' recipe"][-1]
    reached = next((seen for seen, loss in mine if loss <= wanted), None)
    if reached:
        print(f"Ours reached their loss after {reached:.0f} photos: {reached / wanted_at:.2f} of their {wanted_at:.0f}.")
    else:
        print(f"Ours did not reach {wanted:,.0f} with {mine[-1][0]:.0f} photos.")
    if given.plot:
        plot(curves, given.plot)


def plot(curves: dict, path: pathlib.Path) -> None:
    """Draw held-out loss against photos seen."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.add_subplot()
    for name, points in curves.items():
        axes.plot(*zip(*points, strict=True), marker=".", label=name)
    axes.set(yscale="log", xlabel="photos seen (warm start counted at its cost)", ylabel="held-out loss, weighted")
    axes.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()

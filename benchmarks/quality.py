"""How many photos a training needs, beside pytorch/examples' recipe: held-out loss by photos seen.

    python benchmarks/quality.py --peer PATH/fast_neural_style [--photos 4000] [--size 128]
        [--batch 4] [--warmup 100] [--share 0.25] [--plot FILE.jpg]

Both see the bundled game frames but every 11th, which are held out, in the style of the snow map,
with the same random VGG16 and the same weights (1e5, 1e10). Theirs: its network and initialization,
Adam at a constant 1e-3, middle crops, for `photos` photos. Ours: the notebook's train() from
nothing (no start.pth), given `share` of that, its warm start counted at its share of the cost of a
style step, measured first. Prints both curves, and how many photos ours needed; --plot draws them.
"""

import pathlib
import tempfile

import torch
from common import bundled_photos, load_style, nb, options, peer_modules, timed
from matplotlib.figure import Figure


def main() -> None:
    """Train both and print the held-out loss on the way."""
    given = options(
        __doc__, peer=None, photos=4000, size=128, batch=4, warmup=100, share=0.25, plot=None
    ).parse_args()
    if not given.peer:
        raise SystemExit("Give pytorch/examples' folder fast_neural_style as --peer.")
    photos, held_out = bundled_photos(given.size * 9 // 8)
    margin = given.size // 16
    middle = slice(margin, margin + given.size)
    held_out = held_out[:16, :, middle, middle].float().to(nb.DEVICE).split(4)
    style, vgg = load_style(2 * given.size), nb.VGG16Features("random").to(nb.DEVICE)
    loss_of = nb.PerceptualLoss(vgg, style.to(nb.DEVICE))

    network = nb.fold_upsampling(nb.fresh_network(0)).to(nb.DEVICE)
    x = nb.draw_batch(photos, 0, given.batch, given.size, 0).to(nb.DEVICE)
    redraw, paint = (
        min(timed(lambda loss=loss: loss().backward()) for _ in range(4))
        for loss in (
            lambda: nb.redraw_loss(network(x), x).total,
            lambda: loss_of(network(x), x).total,
        )
    )
    share = redraw / paint
    steps = round(given.photos * given.share / given.batch - given.warmup * share)
    print(
        f"A warm-up step costs {share:.2f} of a style step: ours gets {given.warmup} of these and "
        f"{steps} steps."
    )
    curves = {"ours": [], "pytorch/examples' recipe": []}

    @torch.no_grad()
    def note(name: str, seen: float, network: torch.nn.Module) -> None:
        loss = sum(loss_of(network(x), x).total.item() for x in held_out) / len(held_out)
        curves[name].append((seen, loss))
        print(f"{name}, {seen:.0f} photos: {loss:,.0f}", flush=True)

    def watch(step: int, losses, network: torch.nn.Module) -> None:
        if step % 25 == 0 or step == steps:
            note("ours", (step + given.warmup * share) * given.batch, network)

    with tempfile.TemporaryDirectory() as folder:
        nb.train(
            photos, style, folder, steps=steps, batch_size=given.batch, image_size=given.size,
            vgg_weights="random", temporal_weight=0.0, warmup_steps=given.warmup, watch=watch,
        )

    torch.manual_seed(0)
    network = peer_modules(given.peer)[0].TransformerNet().to(nb.DEVICE)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for step in range(1, given.photos // given.batch + 1):
        rows = [n % len(photos) for n in range((step - 1) * given.batch, step * given.batch)]
        x = photos[rows][:, :, middle, middle].float().to(nb.DEVICE)
        optimizer.zero_grad()
        loss_of(network(x), x).total.backward()
        optimizer.step()
        if step % 50 == 0:
            note("pytorch/examples' recipe", step * given.batch, network)
    mine, (theirs, wanted) = curves["ours"], curves["pytorch/examples' recipe"][-1]
    reached = next((seen for seen, loss in mine if loss <= wanted), None)
    if reached:
        ratio = reached / theirs
        print(f"Ours reached their loss after {reached:.0f} photos, {ratio:.2f} of theirs.")
    else:
        print(f"Ours did not reach {wanted:,.0f} with {mine[-1][0]:.0f} photos.")
    if given.plot:
        plot(curves, given.plot)


def plot(curves: dict, path: pathlib.Path) -> None:
    """Draw held-out loss against photos seen."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.add_subplot()
    for name, points in curves.items():
        axes.plot(*zip(*points), marker=".", label=name)
    axes.set_xlabel("photos seen (warm start counted at its cost)")
    axes.set(yscale="log", ylabel="held-out loss, weighted")
    axes.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()

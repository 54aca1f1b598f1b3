"""How checkpoints/start.pth was made: a network from which every style is near.

    python benchmarks/start.py FILE [--styles FOLDER ...] [--photos FOLDER ...]
        [--without great_wave forest] [--start-from FILE] [--joint 1500] [--rounds 200] [--inner 8]
        [--learning-rate 1.5e-3] [--share 0.5] [--shrink 6] [--fresh]

First it learns all styles at once, another one in each step (`--joint` steps). Then come `--rounds`
of Reptile (Nichol et al. 2018): learn one style for `--inner` steps, and move the start a `--share`
of the way there; the share falls to a fifth over the last third. `--fresh`: each round begins with
an Adam that knows nothing, as a reader's training does. Each style's loss is divided by
what it was lately, so that no loud style drowns the others. At the end the kernels that instance
normalization follows are divided by `--shrink`. The network paints as before, since the
normalization takes their scale out again; but Adam's steps, whose size does not hang on it, turn
them that much further: they had grown to three times their first size, and learned slowly.

Each picture of the folders gives ten styles (five scales, whole and a part, some with colours
exchanged or inverted), and sixteen are synthetic textures; those with eight times the usual Gram
matrix are left out. Photos: half of each batch from data/frames without every 11th, half from the
other folders, less every 11th.
`--without`: styles held out, for benchmarks/near.py, which measures how near they are.
"""

import copy
import math
import pathlib
import time

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from common import ROOT, SNOW, bundled_photos, nb, options, others_photos

SIZE, EACH = 128, 2  # pixels; photos of each of the two kinds in a batch


def textures(dice: np.random.Generator, count: int = 16):
    """Blobs and stripes of a few flat colours."""
    for n in range(count):
        colors = dice.integers(0, 256, (dice.integers(3, 7), 3))
        cell = int(dice.choice([8, 16, 32, 64]))
        noise = dice.standard_normal((256 // cell + 2,) * 2).astype(np.float32)
        field = np.asarray(PIL.Image.fromarray(noise).resize((256, 256), PIL.Image.BICUBIC))
        if n % 2:
            down, across = np.mgrid[:256, :256]
            turn = dice.uniform(0, math.pi)
            wave = (across * math.cos(turn) + down * math.sin(turn)) / dice.uniform(2, 9)
            field = field + np.sin(wave)
        levels = np.quantile(field, np.linspace(0, 1, len(colors) + 1)[1:-1])
        grain = dice.normal(0, dice.choice([0, 8, 20]), (256, 256, 1))
        picture = colors[np.digitize(field, levels)] + grain
        yield PIL.Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def variants(path: pathlib.Path, dice: np.random.Generator):
    """The picture in five scales, whole and a part of it, some with other colours."""
    picture = nb.load_image(path)
    for size in (256, 256, 256, 160, 400):
        for part in (False, True):
            shown = nb.resize(picture, [int(size * (1.6 if part else 1))])
            if part:
                side = min(*shown.size, size)
                left, top = (dice.integers(0, length - side + 1) for length in shown.size)
                shown = shown.crop((left, top, left + side, top + side))
            if dice.random() < 0.6:
                bands = shown.split()
                shown = PIL.Image.merge("RGB", [bands[n] for n in dice.permutation(3)])
            yield PIL.ImageOps.invert(shown) if dice.random() < 0.15 else shown


@torch.no_grad()
def shrink(network: torch.nn.Module, times: float) -> None:
    """Divide the convolutions whose scale instance normalization takes out: all but the last."""
    for name, weight in network.named_parameters():
        if ".conv2d." in name and not name.startswith("deconv3"):
            weight /= times


def main() -> None:
    """Train, and write FILE."""
    parser = options(
        __doc__, joint=1500, rounds=200, inner=8, learning_rate=1.5e-3, share=0.5, shrink=6.0,
        fresh=False, start_from=SNOW, without=["great_wave", "forest"],
    )
    parser.add_argument("--styles", type=pathlib.Path, nargs="+", default=[ROOT / "data/styles"])
    parser.add_argument("--photos", type=pathlib.Path, nargs="*", default=[])
    parser.add_argument("file", type=pathlib.Path)
    given, begin = parser.parse_args(), time.perf_counter()
    dice, half = np.random.default_rng(0), nb.half_precision(nb.DEVICE)
    vgg = nb.VGG16Features("imagenet").to(nb.DEVICE, memory_format=torch.channels_last)
    paths = sorted(path for folder in given.styles for path in folder.glob("*.jpg"))
    pictures = [*textures(dice)]
    for path in paths:
        if path.stem not in given.without:
            pictures += variants(path, dice)
    judges = [nb.PerceptualLoss(vgg, nb.pil_to_tensor(p).to(nb.DEVICE)) for p in pictures]
    loudness = [sum(float(gram.square().mean()) for gram in judge.grams) for judge in judges]
    loud = 8 * np.median(loudness)
    styles = [judge.grams for judge, own in zip(judges, loudness) if own < loud]
    loss_of = judges[0]  # its Gram matrices are exchanged, so that one recorded graph does for all
    loss_of.grams = copy.deepcopy(loss_of.grams)
    frames, size = bundled_photos(SIZE * 9 // 8)[0], SIZE * 9 // 8
    others = others_photos(given.photos, size)
    both = frames, torch.cat(others) if others else frames
    sources = [photos.to(nb.DEVICE) for photos in both]
    network = nb.load_network(given.start_from).train().to(nb.DEVICE)
    weights = list(network.parameters())
    fused = nb.DEVICE.type == "cuda"
    optimizer, lately, order, done = torch.optim.Adam(weights, fused=fused), {}, [], 0

    @nb.Recorded
    def step(content, scale, moved, grid):
        optimizer.zero_grad()
        with torch.autocast(nb.DEVICE.type, half, enabled=half is not None):
            painted = network(content)
            total = loss_of(painted, content).total
            value = total.detach()
            total = total + 350 * nb.temporal_loss(painted[::4], network(moved), grid)
        (total * scale).backward()
        return value

    def learn(number: int, steps: int) -> None:
        nonlocal done
        for place, gram in zip(loss_of.grams, styles[number]):
            place.copy_(gram)
        fresh = given.fresh and steps > 1  # a round of Reptile, not a joint step
        if fresh:
            optimizer.state.clear()
        for turn in range(steps):
            begun = turn if fresh else done
            optimizer.param_groups[0]["lr"] = given.learning_rate * min(1, (begun + 1) / 20)
            batches = [nb.draw_batch(s, done, EACH, SIZE, n) for n, s in enumerate(sources, 1)]
            content = torch.cat(batches)
            if number not in lately:
                with torch.no_grad():
                    lately[number] = loss_of(network(content), content).total.item()
            scale = torch.tensor(1e6 / lately[number], device=nb.DEVICE)
            value = step(content, scale, *nb.move_camera(content[::4], 0, done))
            optimizer.step()
            done += 1
        lately[number] = (lately[number] + value.item()) / 2

    for turn in range(given.joint + given.rounds):
        order = order or dice.permutation(len(styles)).tolist()
        number, before = order.pop(), [w.detach().clone() for w in weights]
        learn(number, 1 if turn < given.joint else given.inner)
        if turn >= given.joint:
            left = (given.joint + given.rounds - turn) / given.rounds
            share = given.share * min(1, max(0.2, 3 * left))
            with torch.no_grad():
                for weight, old in zip(weights, before):
                    weight.copy_(old.lerp(weight, share))
        if turn % 50 == 49:
            ratio = np.mean([math.log(value) for value in lately.values()])
            print(f"{turn + 1} turns, {done} steps: mean log loss {ratio:.3f}", flush=True)
    names = ", ".join(path.stem for path in paths if path.stem not in given.without)
    made_by = (
        f"benchmarks/start.py: {given.joint} joint steps and {given.rounds} rounds of "
        f"{given.inner} on {len(styles)} styles ({names}, textures), batch 4 at {SIZE} pixels, "
        f"ImageNet's VGG16, from {given.start_from.name}; kernels divided by {given.shrink:g}"
    )
    shrink(network, given.shrink)
    state = {name: value.half() for name, value in network.state_dict().items()}
    before = nb.load_checkpoint(given.start_from).get("seconds", 0.0)
    seconds = before + time.perf_counter() - begin
    nb.save_checkpoint(
        given.file, network=state, decoder_relu=True, made_by=made_by, seconds=seconds
    )


if __name__ == "__main__":
    main()

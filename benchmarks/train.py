"""Training speed, beside pytorch/examples' fast_neural_style in one process.

    python benchmarks/train.py --peer PATH/fast_neural_style [--size 256] [--batch 8] [--rounds 5]
        [--epochs 3] [--photos 64] [--float32] [--compiled] [--profile]

Step: content, style and backward pass for batches of the same photos, ours (the notebook's own
loop, its drawing of crops included) and theirs in turn, with the same VGG16 weights (random numbers
in both: the speed does not depend on them) and our steadiness term off, so that both compute the
same loss. On a GPU ten steps are timed together, since it computes while the next is prepared. End
to end: `epochs` passes over a folder of 640 x 480 JPEGs made here, from the files on disk. Medians,
warm-up apart. --float32: ours too. --compiled (CUDA): the step alone as it is from its 5,000th on,
once torch.compile has worked. --profile: after that, where the milliseconds of our step go, by
torch.profiler.
"""

import functools
import pathlib
import statistics
import tempfile

import numpy as np
import torch
import torchvision
from common import nb, new_training, options, peer_modules, scene, timed, where


def make_photos(folder: pathlib.Path, count: int) -> None:
    """JPEGs of COCO's usual size, with smooth shapes and grain as photos have."""
    dice = np.random.default_rng(0)
    (folder / "all").mkdir(parents=True)
    for n in range(count):
        path = folder / "all" / f"{n:06d}.jpg"
        scene(dice, (640, 480), (12, 16), grain=10).save(path, quality=90)


class Peer:
    """pytorch/examples' training step, as its neural_style.py does it."""

    def __init__(self, modules: list, style: torch.Tensor, batch: int):
        transformer_net, vgg, self.utils = modules
        self.network = transformer_net.TransformerNet().to(nb.DEVICE)
        self.vgg, self.mse = vgg.Vgg16(requires_grad=False).to(nb.DEVICE), torch.nn.MSELoss()
        self.optimizer = torch.optim.Adam(self.network.parameters(), 1e-3)
        style = self.utils.normalize_batch(style.float().repeat(batch, 1, 1, 1).to(nb.DEVICE))
        self.grams = [self.utils.gram_matrix(y) for y in self.vgg(style)]

    def step(self, x: torch.Tensor) -> None:
        """One update."""
        torch.set_float32_matmul_precision("highest")  # PyTorch's usual; ours asks for "high"
        self.optimizer.zero_grad()
        y = self.utils.normalize_batch(self.network(x))
        x = self.utils.normalize_batch(x)
        features_y, features_x = self.vgg(y), self.vgg(x)
        loss = 1e5 * self.mse(features_y.relu2_2, features_x.relu2_2)
        for feature, gram in zip(features_y, self.grams):
            loss = loss + 1e10 * self.mse(self.utils.gram_matrix(feature), gram[: len(x)])
        loss.backward()
        self.optimizer.step()
        loss.item()  # its loop adds the losses up as numbers, every step

    def end_to_end(self, folder: str, given) -> None:
        """Its DataLoader, as in its neural_style.py."""
        to = torchvision.transforms
        steps = [to.Resize(given.size), to.CenterCrop(given.size), to.ToTensor()]
        transform = to.Compose([*steps, to.Lambda(lambda image: image.mul(255))])
        photos = torchvision.datasets.ImageFolder(folder, transform)
        for _ in range(given.epochs):
            for x, _ in torch.utils.data.DataLoader(photos, batch_size=given.batch):
                self.step(x.to(nb.DEVICE))


class Ours:
    """The notebook's training loop."""

    def __init__(self, style: torch.Tensor, batch: int, size: int):
        self.half = nb.half_precision(nb.DEVICE, "random")
        self.training = new_training(self.half)
        vgg = nb.VGG16Features("random").to(nb.DEVICE, memory_format=torch.channels_last)
        self.loss = nb.PerceptualLoss(vgg, style.to(nb.DEVICE))
        self.settings = dict(
            steps=10**9, batch_size=batch, image_size=size, seed=0, learning_rate=1e-3,
            temporal_weight=0.0,
        )

    def steps(self, photos: torch.Tensor):
        """The loop over these photos: next() is one update."""
        loop = nb.training_steps(photos, self.training, self.loss, self.settings, self.half)
        while True:
            if nb.DEVICE.type == "cuda":
                torch.set_float32_matmul_precision("high")  # as train() does
            yield next(loop)

    def end_to_end(self, folder: str, given) -> None:
        """Decode once, then train on crops."""
        photos = nb.load_photos(folder, given.size * 9 // 8)
        loop = self.steps(photos.to(nb.DEVICE) if nb.DEVICE.type == "cuda" else photos)
        for _ in range(given.epochs * given.photos // given.batch):
            next(loop)


def report(what: str, rates: dict) -> None:
    """Print photos a second, and the ratio."""
    line = f"{what}: " + ", ".join(f"{name} {rate:.2f} photos/s" for name, rate in rates.items())
    if len(rates) > 1:
        line += f", ratio {rates['ours'] / rates['pytorch/examples']:.2f}"
    print(line, flush=True)


PARTS = {  # what torch's operators belong to, by a part of their names
    "convolutions": ("conv", "mkldnn_reorder"), "instance normalization": ("norm",),
    "padding": ("pad",), "Gram products": ("bmm", "::mm"), "ReLU": ("relu", "threshold"),
    "pooling": ("pool",), "Adam": ("adam", "addc", "lerp", "sqrt", "_foreach"),
    "copies, changes of type": ("copy", "clone", "contiguous", "fill", "zero"),
}  # fmt: skip


def profile(step, count: int = 5) -> None:
    """Print how much of our step each kind of operator takes."""
    clock = f"self_{'cpu' if nb.DEVICE.type == 'cpu' else 'device'}_time_total"
    with torch.profiler.profile() as found:
        for _ in range(count):
            step()
    spent = dict.fromkeys([*PARTS, "everything else"], 0.0)
    for event in found.key_averages():
        kinds = [kind for kind, marks in PARTS.items() if any(m in event.key for m in marks)]
        spent[kinds[0] if kinds else "everything else"] += getattr(event, clock) / 1000 / count
    total = sum(spent.values())
    for kind, milliseconds in sorted(spent.items(), key=lambda pair: -pair[1]):
        print(f"{kind:<26}{milliseconds:8.1f} ms {milliseconds / total:6.1%}")


def main() -> None:
    """Measure, and print photos a second and the ratios."""
    given = options(
        __doc__, peer=None, size=256, batch=8, rounds=5, epochs=3, photos=64, float32=False,
        compiled=False, profile=False,
    ).parse_args()
    if given.float32:
        nb.half_precision = lambda *_: None
    dice = np.random.default_rng(0)
    style = torch.from_numpy(dice.integers(0, 256, (3, 256, 256), dtype=np.uint8))
    shape = (given.batch, 3, given.size, given.size)
    x = torch.from_numpy(dice.integers(0, 256, shape, dtype=np.uint8)).to(nb.DEVICE)
    ours = Ours(style, given.batch, given.size)
    print(f"{where()}; ours in {ours.half or torch.float32}, theirs in float32")
    runners, loop = {"ours": ours}, ours.steps(x)
    steps = {"ours": lambda: next(loop)}
    if given.peer:
        peer = Peer(peer_modules(given.peer), style, given.batch)
        runners["pytorch/examples"] = peer
        steps["pytorch/examples"] = lambda: peer.step(x.float())
    seconds, usual = {name: [] for name in steps}, nb.Recorded
    if given.compiled:
        nb.Recorded = functools.partial(usual, pays=3)
    together = 10 if nb.HAS_GPU else 1
    for number in range(given.rounds + 6):  # six rounds of warm-up
        for name, step in steps.items():
            took = timed(lambda step=step: [step() for _ in range(together)]) / together
            if number >= 6:
                seconds[name].append(took)
    nb.Recorded = usual
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    report("step alone", {name: given.batch / median for name, median in medians.items()})

    with tempfile.TemporaryDirectory() as folder:
        make_photos(pathlib.Path(folder), given.photos)
        took = {
            name: timed(lambda runner=runner: runner.end_to_end(folder, given))
            for name, runner in runners.items()
        }
    report("end to end", {name: given.epochs * given.photos / t for name, t in took.items()})
    if given.profile:
        profile(steps["ours"])


if __name__ == "__main__":
    main()

"""Training speed, beside pytorch/examples' fast_neural_style in one process.

    python benchmarks/train.py --peer PATH/fast_neural_style [--size 256] [--batch 8] [--rounds 5] [--epochs 3]

Step: content, style and backward pass for the same batch, ours and theirs in turn, with the same VGG16 weights (random
numbers in both: the speed does not depend on them) and our steadiness term off, so that both compute the same loss.
End to end: `epochs` passes over a folder of 640 x 480 JPEGs made here, from the files on disk. Medians, warm-up apart.
"""

import argparse
import importlib
import pathlib
import platform
import statistics
import sys
import tempfile
import time

import numpy as np
import PIL.Image
import torch
import torchvision

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))
from notebook import ROOT, load_definitions  # noqa: E402, F401


def timed(run, device: torch.device) -> float:
    """Seconds that run() takes, the device's work included."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def make_photos(folder: pathlib.Path, count: int) -> None:
    """JPEGs of COCO's usual size, with smooth shapes and grain as photos have."""
    dice = np.random.default_rng(0)
    (folder / "all").mkdir(parents=True)
    for n in range(count):
        coarse = PIL.Image.fromarray(dice.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((640, 480))
        noisy = np.asarray(coarse) + dice.normal(0, 10, (480, 640, 3))
        PIL.Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / "all" / f"{n:06d}.jpg", quality=90)


def peer_modules(path: pathlib.Path):
    """pytorch/examples' transformer_net, vgg and utils, with VGG16's download replaced by random numbers."""
    sys.path.insert(0, str(path / "neural_style"))
    original = torchvision.models.vgg16
    torchvision.models.vgg16 = lambda **_: original(weights=None)
    names = ("transformer_net", "vgg", "utils")
    return [importlib.import_module(name) for name in names]


class Peer:
    """pytorch/examples' training step, as its neural_style.py does it."""

    def __init__(self, modules, style: torch.Tensor, batch: int, device: torch.device):
        transformer_net, vgg, self.utils = modules
        self.network, self.vgg = transformer_net.TransformerNet().to(device), vgg.Vgg16(requires_grad=False).to(device)
        self.optimizer, self.mse = torch.optim.Adam(self.network.parameters(), 1e-3), torch.nn.MSELoss()
        style = style.float().repeat(batch, 1, 1, 1).to(device)
        self.grams = [self.utils.gram_matrix(y) for y in self.vgg(self.utils.normalize_batch(style))]

    def step(self, x: torch.Tensor) -> None:
        """One update."""
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


class Ours:
    """The notebook's training step, from its own definitions."""

    def __init__(self, nb, style: torch.Tensor, batch: int, device: torch.device):
        self.nb, self.batch, self.device = nb, batch, device
        self.network = nb.fresh_network(0).to(device)
        self.loss = nb.PerceptualLoss(nb.VGG16Features("random").to(device), style.to(device))
        if device.type != "mps":
            self.loss = self.loss.to(memory_format=torch.channels_last)
        if device.type == "cuda":
            self.network = self.network.to(memory_format=torch.channels_last)
        self.dtype = nb.mixed_precision(device, "random")
        self.optimizer = torch.optim.Adam(self.network.parameters(), 1e-3)
        self.scaler = torch.amp.GradScaler(device.type, init_scale=256.0, enabled=self.dtype == torch.float16)

    def step(self, x: torch.Tensor) -> None:
        """One update, without the steadiness term."""
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            losses = self.nb.style_losses(self.network, self.loss, x, 0.0, 0, 0, range(self.batch), self.batch)
        self.optimizer.zero_grad()
        self.scaler.scale(losses.total).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()


def main() -> None:
    """Measure, and print photos a second and the ratios."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--peer", type=pathlib.Path, help="pytorch/examples' fast_neural_style folder")
    for name, default in (("size", 256), ("batch", 8), ("rounds", 5), ("epochs", 3), ("photos", 64)):
        options.add_argument(f"--{name}", type=int, default=default)
    given = options.parse_args()
    nb = load_definitions()
    device = nb.pick_device()
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    dtype = nb.mixed_precision(device, "random") or torch.float32
    print(
        f"{device.type} ({where}), ours in {dtype}, theirs in float32, torch {torch.__version__}, {platform.platform()}"
    )
    dice = np.random.default_rng(0)
    style = torch.from_numpy(dice.integers(0, 256, (3, 256, 256), dtype=np.uint8))
    x = (
        torch.from_numpy(dice.integers(0, 256, (given.batch, 3, given.size, given.size), dtype=np.uint8))
        .float()
        .to(device)
    )
    runners = {"ours": Ours(nb, style, given.batch, device)}
    modules = given.peer and peer_modules(given.peer)
    if modules:
        runners["pytorch/examples"] = Peer(modules, style, given.batch, device)
    seconds = {name: [] for name in runners}
    for number in range(given.rounds + 2):  # two rounds of warm-up
        for name, runner in runners.items():
            took = timed(lambda step=runner.step: step(x.clone()), device)
            if number >= 2:
                seconds[name].append(took)
    report("step alone", {name: given.batch / statistics.median(times) for name, times in seconds.items()})

    with tempfile.TemporaryDirectory() as folder:
        make_photos(pathlib.Path(folder), given.photos)
        seconds = {"ours": timed(lambda: end_to_end(nb, runners["ours"], folder, given), device)}
        if modules:
            seconds["pytorch/examples"] = timed(
                lambda: peer_end_to_end(runners["pytorch/examples"], folder, given, device), device
            )
    report("end to end", {name: given.epochs * given.photos / took for name, took in seconds.items()})


def end_to_end(nb, ours: Ours, folder: str, given) -> None:
    """Decode once, then train on crops."""
    photos = nb.load_photos(folder, given.size * 9 // 8)
    photos = photos.to(ours.device) if ours.device.type == "cuda" else photos
    for step in range(given.epochs * given.photos // given.batch):
        ours.step(nb.draw_batch(photos, step, given.batch, given.size, 0).to(ours.device))


def peer_end_to_end(peer: Peer, folder: str, given, device: torch.device) -> None:
    """Its DataLoader, as in its neural_style.py."""
    transform = torchvision.transforms.Compose(
        [
            torchvision.transforms.Resize(given.size),
            torchvision.transforms.CenterCrop(given.size),
            torchvision.transforms.ToTensor(),
            torchvision.transforms.Lambda(lambda image: image.mul(255)),
        ]
    )
    loader = torch.utils.data.DataLoader(torchvision.datasets.ImageFolder(folder, transform), batch_size=given.batch)
    for _ in range(given.epochs):
        for x, _ in loader:
            peer.step(x.to(device))


def report(what: str, rates: dict) -> None:
    """Print photos a second, and the ratio."""
    line = ", ".join(f"{name} {rate:.2f} photos/s" for name, rate in rates.items())
    print(f"{what}: {line}" + (f", ratio {rates['ours'] / rates['pytorch/examples']:.2f}" if len(rates) > 1 else ""))


if __name__ == "__main__":
    main()

"""What the benchmarks share: the notebook as a library (nb), photos and style, timing, options."""

import argparse
import importlib
import itertools
import pathlib
import platform
import sys
import time
import types

import numpy as np
import PIL.Image
import torch
import torchvision

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))
from notebook import ROOT, load_definitions  # noqa: E402

nb = load_definitions()
FRAMES, CLIP = ROOT / "data" / "frames", ROOT / "data" / "gameplay.mp4"
STYLE = ROOT / "data" / "styles" / "snow.jpg"
START, SNOW = ROOT / "checkpoints" / "start.pth", ROOT / "checkpoints" / "snow.pth"


def options(text: str, **defaults) -> argparse.ArgumentParser:
    """A parser of --name options, each of its default's type; None: a path, a list: one or more."""
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=text, formatter_class=shape)
    for name, default in defaults.items():
        first = default[0] if isinstance(default, list) else default
        if first is False:
            how = dict(action="store_true")
        else:
            how = dict(type=pathlib.Path if first is None else type(first), default=default)
        if isinstance(default, list):
            how["nargs"] = "+"
        parser.add_argument(f"--{name.replace('_', '-')}", **how)
    return parser


def held_out(count: int = 10) -> list[pathlib.Path]:
    """The bundled frames that no training here has seen."""
    return sorted(FRAMES.iterdir())[::11][:count]


def bundled_photos(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The bundled frames, uint8 (N, 3, size, size): those to train on, and every 11th, held out."""
    photos = nb.load_photos(FRAMES, size)
    chosen = torch.arange(len(photos)) % 11 == 0
    return photos[~chosen], photos[chosen]


def others_photos(folders: list[pathlib.Path], size: int) -> list[torch.Tensor]:
    """Each folder's photos, less every 11th, which is held out: uint8 (N, 3, size, size)."""
    sets = [nb.load_photos(folder, size) for folder in folders]
    return [photos[torch.arange(len(photos)) % 11 != 0] for photos in sets]


def training_photos(size: int, folders: list[pathlib.Path]) -> torch.Tensor:
    """Each frame but every 11th, whole and its quarters at twice the scale; the folders' photos."""
    whole, large = (nb.load_photos(FRAMES, scale * size) for scale in (1, 2))
    kept = torch.arange(len(whole)) % 11 != 0
    corners = [(y, x) for y in (0, size) for x in (0, size)]
    quarters = [large[kept][..., y : y + size, x : x + size] for y, x in corners]
    return torch.cat([whole[kept], *quarters, *others_photos(folders, size)])


def load_style(size: int, path: pathlib.Path = STYLE) -> torch.Tensor:
    """The style picture, uint8 (3, H, W), its short side `size` pixels."""
    return nb.pil_to_tensor(nb.resize(nb.load_image(path), [size]))


@torch.no_grad()
def warping_error(network: torch.nn.Module, photo: torch.Tensor, frames: int = 6) -> float:
    """A 256 x 256 window glides over the photo, uint8 (3, H, W)."""
    right, down, margin, side = 2, 1, 16, 256
    begins = [(n * down, n * right) for n in range(frames)]
    windows = [photo[:, y : y + side, x : x + side] for y, x in begins]
    painted = [nb.paint_whole(network, window).float() for window in windows]
    here, below, aside = (slice(margin + n, side - margin + n) for n in (0, down, right))
    pairs = itertools.pairwise(painted)
    return np.mean([float((b[:, here, here] - a[:, below, aside]).abs().mean()) for a, b in pairs])


def scene(dice: np.random.Generator, size: tuple, cells: tuple, grain: float) -> PIL.Image.Image:
    """A picture of (width, height) with smooth shapes (rows, columns of cells), and grain."""
    picture = PIL.Image.fromarray(dice.integers(0, 256, (*cells, 3), dtype=np.uint8))
    picture = picture.resize(size, PIL.Image.Resampling.BICUBIC)
    if not grain:
        return picture
    noisy = np.asarray(picture) + dice.normal(0, grain, (*size[::-1], 3))
    return PIL.Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def timed(run) -> float:
    """Seconds that run() takes, the device's work included."""
    if nb.HAS_GPU:
        torch.accelerator.synchronize()
    start = time.perf_counter()
    run()
    if nb.HAS_GPU:
        torch.accelerator.synchronize()
    return time.perf_counter() - start


def where() -> str:
    """The device, its name, the versions."""
    cuda = nb.DEVICE.type == "cuda"
    name = torch.cuda.get_device_name() if cuda else f"{torch.get_num_threads()} CPU threads"
    return f"{nb.DEVICE.type} ({name}), torch {torch.__version__}, {platform.platform()}"


class Nothing(torch.nn.Module):
    """A network that paints the photo itself, in memory as a network's painting lies there."""

    def __init__(self):
        super().__init__()
        self.register_parameter("one", torch.nn.Parameter(torch.ones(1)))

    def forward(self, x):
        return x.contiguous(memory_format=torch.channels_last)


def new_training(half: torch.dtype | None) -> types.SimpleNamespace:
    """What the notebook's training_steps drives: a new network with its optimizer, as in train."""
    device = nb.DEVICE
    network = nb.fold_upsampling(nb.fresh_network(0)).to(device)
    scaler = torch.amp.GradScaler(device.type, init_scale=2**-6, enabled=half == torch.float16)
    fused = device.type == "cuda"
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, fused=fused)
    return types.SimpleNamespace(network=network, optimizer=optimizer, scaler=scaler, done=0)


def peer_modules(path: pathlib.Path) -> list:
    """pytorch/examples' transformer_net, vgg and utils; VGG16's download gives random numbers."""
    sys.path.insert(0, str(path / "neural_style"))
    original = torchvision.models.vgg16
    torchvision.models.vgg16 = lambda **_: original(weights=None)
    return [importlib.import_module(name) for name in ("transformer_net", "vgg", "utils")]

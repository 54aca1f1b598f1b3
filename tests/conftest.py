"""Fixtures."""

import os
import pathlib
import signal
import types

import pytest
import torch
from helpers import picture
from notebook import load_definitions
from torchvision.transforms.v2.functional import pil_to_tensor

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # started in the background of a shell
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def nb():
    """The notebook's definitions as a module; float32 also on processors that have bfloat16, whose
    own tests are in test_precision.py: these here compare with formulas."""
    module = load_definitions()
    module.half_precision = lambda device, vgg_weights="imagenet": None
    return module


@pytest.fixture(autouse=True)
def no_stray_threads():
    """Two cores, and the same sums in the same order in every run."""
    torch.set_num_threads(min(2, os.cpu_count() or 1))


@pytest.fixture
def photos() -> torch.Tensor:
    """Twelve photos, uint8 (12, 3, 72, 72)."""
    return torch.stack([pil_to_tensor(picture(72, 72, seed)) for seed in range(12)])


@pytest.fixture
def style() -> torch.Tensor:
    """A style picture, uint8 (3, 64, 80)."""
    return pil_to_tensor(picture(80, 64, 99))


@pytest.fixture
def photo_folder(tmp_path) -> pathlib.Path:
    """A folder with JPEGs of two sizes in a subfolder, as COCO's."""
    folder = tmp_path / "photos" / "val"
    folder.mkdir(parents=True)
    for n in range(6):
        picture(100 + 20 * (n % 2), 80, n).save(folder / f"{n:06d}.jpg", quality=95)
    return folder.parent


@pytest.fixture
def places(tmp_path) -> types.SimpleNamespace:
    """The work folders in a temporary one, as connect_drive makes them; no repository."""
    home = tmp_path / "home"
    names = ("data", "checkpoints", "outputs", "local")
    folders = {name: home / name for name in names}
    for folder in folders.values():
        folder.mkdir(parents=True)
    return types.SimpleNamespace(home=home, repository="", **folders)

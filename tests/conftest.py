import os
import pathlib

import numpy as np
import PIL.Image
import pytest
import torch
from notebook import load_definitions


@pytest.fixture(scope="session")
def nb():
    """The notebook's definitions as a module."""
    return load_definitions()


@pytest.fixture(autouse=True)
def no_stray_threads():
    """Two cores, and the same sums in the same order in every run."""
    torch.set_num_threads(min(2, os.cpu_count() or 1))


def picture(width: int, height: int, seed: int = 0) -> PIL.Image.Image:
    """A colourful picture with edges, gradients and some grain."""
    dice = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    waves = [np.sin(x * dice.uniform(5, 25) + y * dice.uniform(5, 25) + dice.uniform(0, 6)) for _ in range(3)]
    pixels = np.stack(waves, 2) * 90 + 128 + dice.normal(0, 8, (height, width, 3))
    pixels[height // 3 : height // 2, width // 4 : width // 2] = dice.uniform(0, 255, 3)
    return PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture
def photos(nb) -> torch.Tensor:
    """Twelve photos, uint8 (12, 3, 72, 72)."""
    return torch.stack([nb.to_tensor(picture(72, 72, seed)) for seed in range(12)])


@pytest.fixture
def style(nb) -> torch.Tensor:
    """A style picture, uint8 (3, 64, 80)."""
    return nb.to_tensor(picture(80, 64, 99))


@pytest.fixture
def photo_folder(tmp_path) -> pathlib.Path:
    """A folder with JPEGs of two sizes in a subfolder, as COCO's."""
    folder = tmp_path / "photos" / "val"
    folder.mkdir(parents=True)
    for n in range(6):
        picture(100 + 20 * (n % 2), 80, n).save(folder / f"{n:06d}.jpg", quality=95)
    return folder.parent

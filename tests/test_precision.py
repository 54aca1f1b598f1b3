"""Half precision: bfloat16 on processors that compute in it, float16 where a T4 would."""

import functools

import pytest
import torch
from helpers import picture, press_at, same
from notebook import ROOT, load_definitions

CPU = torch.device("cpu")
# Where the processor does not compute in bfloat16, PyTorch does so slowly: the smallest pictures.
SMALL = dict(batch_size=2, image_size=32, vgg_weights="random", warmup_steps=2, checkpoint_every=2)


@pytest.fixture
def half(request):
    """The notebook's definitions, computing in this precision on every processor."""
    module = load_definitions()
    module.half_precision = lambda device, vgg_weights="imagenet": request.param
    return module


def test_the_precision_is_asked_of_pytorch(monkeypatch):
    nb = load_definitions()
    monkeypatch.setattr(nb.platform, "machine", lambda: "x86_64")
    for native in (False, True):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda native=native: native)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        assert nb.half_precision(CPU) is (torch.bfloat16 if native else None)
    assert nb.half_precision(torch.device("mps")) is None
    monkeypatch.setattr(nb.platform, "machine", lambda: "arm64")  # a Mac, built without oneDNN
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(torch.ops, "mkldnn", None)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert nb.half_precision(torch.device("mps")) is nb.half_precision(CPU) is None
    for capability, usual, caffe in (
        ((7, 5), torch.float16, None),
        ((8, 0), torch.bfloat16, torch.bfloat16),
    ):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, c=capability: c)
        assert nb.half_precision(torch.device("cuda")) is usual
        assert nb.half_precision(torch.device("cuda"), "imagenet-caffe") is caffe


@pytest.mark.parametrize("half", [torch.bfloat16], indirect=True)
def test_bfloat16_trains_the_same_network_each_time_also_resumed(half, photos, style, tmp_path):
    train = functools.partial(half.train, photos, style, **SMALL)
    one = train(tmp_path / "a", steps=4)
    assert same(train(tmp_path / "b", steps=4), one)
    train(tmp_path / "c", steps=4, on_step=press_at(2))
    assert half.load_checkpoint(tmp_path / "c" / "final.pth")["done"] == 2
    assert same(train(tmp_path / "c", steps=4), one)
    assert all(p.dtype == torch.float32 for p in one.parameters())


@pytest.mark.parametrize("half", [torch.bfloat16], indirect=True)
def test_bfloat16_learns_as_float32_does(nb, half, photos, style, tmp_path):
    last = {}
    for name, module in (("half", half), ("full", nb)):
        losses = []
        module.train(
            photos, style, tmp_path / name, steps=24, **SMALL | dict(warmup_steps=10),
            on_step=lambda _, now, losses=losses: losses.append(now.total.item()),
        )  # fmt: skip
        last[name] = sum(losses[-5:])
        assert losses[-1] < losses[0] / 2
    assert last["half"] == pytest.approx(last["full"], rel=0.05)


@pytest.mark.parametrize("half", [torch.bfloat16], indirect=True)
def test_a_painting_in_bfloat16_is_the_one_in_float32(nb, half):
    photo = nb.pil_to_tensor(picture(160, 120))
    network = nb.load_network(ROOT / "checkpoints" / "snow.pth")
    one, two = (module.paint(network, photo).float() for module in (nb, half))
    assert (one - two).abs().mean() < 1 and (one - two).abs().max() < 16
    assert not torch.equal(one, two)  # the precision was really another


@pytest.mark.parametrize("half", [torch.float16], indirect=True)
def test_float16_learns_from_its_first_step_and_resumes_its_scaler(half, photos, style, tmp_path):
    """As on a T4, computed on the CPU: the scale begins where no step is skipped."""
    given = SMALL | dict(warmup_steps=0, checkpoint_every=1)
    before = half.fold_upsampling(half.fresh_network(0)).state_dict()
    for step in (1, 2, 3):
        half.train(photos, style, tmp_path, steps=3, **given, on_step=press_at(step))
        state = half.load_checkpoint(tmp_path / f"step_{step:07d}.pth")
        assert state["scaler"]["scale"] == 2**-6 and state["scaler"]["_growth_tracker"] == step
        now = state["network"]
        assert all(bool(value.isfinite().all()) for value in now.values())
        assert not torch.equal(now["conv1.conv2d.weight"], before["conv1.conv2d.weight"])
        before = now

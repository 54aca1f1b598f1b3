"""A training step that CUDA records and PyTorch compiles, as far as it can be seen without CUDA."""

import contextlib
import functools
import inspect

import pytest
import torch
from helpers import OnGpu


@pytest.fixture
def gpu(nb, monkeypatch):
    """A recorder that plays the work again at each replay; what it did, in order."""
    done, recording = [], []

    class Graph:
        def replay(self):
            done.append("replay")
            step = recording[-1]
            step.result.copy_(step.work(*step.places))

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: None)
    monkeypatch.setattr(
        torch.cuda, "graph", lambda *given, **more: contextlib.nullcontext(done.append("record"))
    )
    monkeypatch.setattr(
        torch, "compile", lambda work: done.append("compile") or (lambda *given: work(*given))
    )
    return done, recording


def test_the_step_is_recorded_once_and_once_more_when_it_is_compiled(nb, gpu):
    done, recording = gpu
    step = nb.Recorded(lambda a, b: a * 2 + b, pays=6)
    recording.append(step)
    for number in range(1, 11):
        a, b = (torch.full((3,), float(n)).as_subclass(OnGpu) for n in (number, 10))
        found = step(a, b)
        assert found.tolist() == [2.0 * number + 10] * 3, number
        if done:
            step.result.zero_()  # what was given out is nobody else's
        assert found.tolist() == [2.0 * number + 10] * 3, number
    assert done == [
        "record", "replay", "replay", "replay",  # calls 3 to 5; 1 and 2 are plain
        "compile", "record", "replay", "replay", "replay",  # from call 6; 6 and 7 are plain
    ]  # fmt: skip


@pytest.mark.parametrize("when", ["asked for", "first used"])
def test_without_a_compiler_the_recorded_step_goes_on(nb, gpu, monkeypatch, when):
    done, recording = gpu

    def broken(*given):
        raise RuntimeError("there is no compiler here")

    monkeypatch.setattr(torch, "compile", broken if when == "asked for" else lambda work: broken)
    step = nb.Recorded(lambda a: a + 1, pays=5)
    recording.append(step)
    for number in range(1, 10):
        assert step(torch.tensor(float(number)).as_subclass(OnGpu)).item() == number + 1
    # the failed try may have let go of the gradients that the old record writes: a new one
    assert done == ["record", "replay", "replay", "record", "replay", "replay", "replay"]


def test_elsewhere_each_call_is_the_work_itself(nb, gpu):
    step = nb.Recorded(lambda a: a + 1, pays=2)
    assert [step(torch.tensor(float(n))).item() for n in range(5)] == [1, 2, 3, 4, 5]
    assert not gpu[0]


def test_a_short_training_compiles_nothing(nb):
    """Half a minute of compiling pays on a fast GPU after 4,000 steps: "quick" has not more."""
    pays = inspect.signature(nb.Recorded).parameters["pays"].default
    assert max(nb.QUICK["steps"], nb.QUICK["steps_alone"]) < pays < nb.FULL["steps"] / 4


def test_the_compiled_step_learns_the_same(nb, photos, style, tmp_path, monkeypatch):
    """PyTorch can capture the loop's step, steadiness and all; its losses are the plain step's."""
    monkeypatch.setattr(nb, "VGG16Features", functools.cache(nb.VGG16Features))
    losses = {}
    for name in ("plain", "captured"):
        found = losses[name] = []
        if name == "captured":
            capture = functools.partial(torch.compile, backend="aot_eager")
            monkeypatch.setattr(nb, "Recorded", capture)
        nb.train(
            photos, style, tmp_path / name, steps=3, batch_size=4, image_size=48, device="cpu",
            vgg_weights="random", warmup_steps=2,
            on_step=lambda step, now, to=found: to.append(now.total.item()),
        )  # fmt: skip
    assert losses["captured"] == pytest.approx(losses["plain"], rel=1e-4)

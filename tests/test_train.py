"""Training: it learns, it resumes to the bit, it survives kills, and bad input is one sentence."""

import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch
from conftest import picture
from notebook import ROOT

SMALL = dict(batch_size=4, image_size=48, vgg_weights="random", device="cpu", warmup_steps=3)


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_learns_the_style_and_keeps_the_content(nb, tmp_path):
    """On the bundled frames the style loss falls to a fifth; each painting keeps its own photo's outlines."""
    photos = nb.load_photos(ROOT / "data" / "frames", 80, limit=60)
    style = nb.to_tensor(nb.resize_short_side(nb.load_image(ROOT / "data" / "styles" / "snow.jpg"), 128))
    seen = []
    network = nb.train(
        photos,
        style,
        tmp_path,
        steps=120,
        start_from=ROOT / "checkpoints" / "start.pth",
        **SMALL | dict(image_size=64),
        on_step=lambda step, losses: seen.append(losses.style.item()),
    )
    assert len(seen) == 120
    assert sum(seen[-5:]) / 5 < seen[0] / 5
    content = photos[::10].float()
    with torch.no_grad():
        painted, own = edges(network(content).clamp(0, 255)), edges(content)
    likeness = torch.nn.functional.cosine_similarity(painted[:, None], own[None], dim=2)
    assert (likeness.argmax(dim=1) == torch.arange(6)).sum() >= 5, likeness  # of each painting to each photo


def edges(pictures):
    """Where a picture has outlines, whatever its colours: coarse maps of the steps in brightness, mean 0."""
    grey = pictures.mean(1, keepdim=True)
    steps = grey[..., 1:, 1:].sub(grey[..., :-1, 1:]).abs() + grey[..., 1:, 1:].sub(grey[..., 1:, :-1]).abs()
    maps = torch.nn.functional.avg_pool2d(steps, 4).log1p().flatten(1)
    return maps - maps.mean(1, keepdim=True)


def test_resumed_training_is_the_unbroken_one(nb, photos, style, tmp_path):
    unbroken = nb.train(photos, style, tmp_path / "a", steps=5, **SMALL)

    def stop_at(number):
        def on_step(step, losses):
            if step == number:
                raise KeyboardInterrupt

        return on_step

    for number in (1, 3):
        nb.train(photos, style, tmp_path / "b", steps=5, **SMALL, on_step=stop_at(number))
        assert not (tmp_path / "b" / "final.pth").exists()
    assert same(nb.train(photos, style, tmp_path / "b", steps=5, **SMALL), unbroken)
    assert same(nb.load_network(tmp_path / "b" / "final.pth"), unbroken)


def test_resume_from_within_the_warm_start(nb, photos, style, tmp_path):
    arguments = SMALL | dict(warmup_steps=4, checkpoint_every=2)
    unbroken = nb.train(photos, style, tmp_path / "a", steps=2, **arguments)
    nb.train(photos, style, tmp_path / "b", steps=2, **arguments)
    for path in list((tmp_path / "b").glob("*.pth")):
        if path.name != "step_0000002.pth":
            path.unlink()
    assert same(nb.train(photos, style, tmp_path / "b", steps=2, **arguments), unbroken)


SCRIPT = """
import sys, torch
sys.path.insert(0, {tests!r})
from notebook import load_definitions
nb = load_definitions()
torch.set_num_threads(2)
photos, style = torch.load({data!r})
nb.train(photos, style, {folder!r}, steps=8, checkpoint_every=1, batch_size=4, image_size=48, vgg_weights="random",
         device="cpu", warmup_steps=3)
print("finished")
"""


def test_killed_training_ends_in_the_same_weights(nb, photos, style, tmp_path):
    """SIGKILL at growing moments, each followed by a resume."""
    torch.save((photos, style), tmp_path / "data.pt")
    unbroken = nb.train(photos, style, tmp_path / "a", steps=8, checkpoint_every=1, **SMALL)
    script = textwrap.dedent(SCRIPT).format(
        tests=str(ROOT / "tests"), data=str(tmp_path / "data.pt"), folder=str(tmp_path / "b")
    )
    finished, kills = False, 0
    while not finished:
        worker = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        known = len(list((tmp_path / "b").glob("step_*.pth*"))) and max(p.name for p in (tmp_path / "b").glob("step_*"))
        deadline = time.monotonic() + 120
        while (
            kills < 3 and worker.poll() is None and time.monotonic() < deadline
        ):  # wait for two new checkpoints, then pull the plug
            names = sorted(p.name for p in (tmp_path / "b").glob("step_*"))
            if len([n for n in names if not known or n > known]) >= 2:
                worker.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.005)
        finished = "finished" in worker.communicate()[0]
    assert kills == 3
    assert same(nb.load_network(tmp_path / "b" / "final.pth"), unbroken)


def test_keeps_three_states_and_the_final_network(nb, photos, style, tmp_path):
    nb.train(photos, style, tmp_path, steps=6, checkpoint_every=1, **SMALL)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "final.pth",
        "step_0000007.pth",
        "step_0000008.pth",
        "step_0000009.pth",
    ]
    state = nb.load_checkpoint(tmp_path / "step_0000009.pth")
    assert state["done"] == 9 and state["optimizer"]["state"] and state["style"].shape[0] == 3


def test_damaged_newest_checkpoint_is_named_and_passed_over(nb, photos, style, tmp_path, capsys):
    unbroken = nb.train(photos, style, tmp_path / "a", steps=5, checkpoint_every=1, **SMALL)
    nb.train(photos, style, tmp_path / "b", steps=5, checkpoint_every=1, **SMALL)
    newest, second = tmp_path / "b" / "step_0000008.pth", tmp_path / "b" / "step_0000007.pth"
    newest.write_bytes(newest.read_bytes()[:5000])
    second.write_bytes(b"")
    (tmp_path / "b" / "step_0000009.pth").write_text("hello")
    capsys.readouterr()
    assert same(nb.train(photos, style, tmp_path / "b", steps=5, **SMALL), unbroken)
    said = capsys.readouterr().out
    assert all(name in said for name in (newest.name, second.name, "step_0000009.pth", "Going on from step 3"))


class Bomb:
    """A pickle of this runs a command when a careless program loads it."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_foreign_and_malicious_files_in_the_folder_are_named_and_run_nothing(
    nb, photos, style, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "c"
    unbroken = nb.train(photos, style, tmp_path / "a", steps=4, checkpoint_every=1, **SMALL)
    nb.train(photos, style, folder, steps=4, checkpoint_every=1, **SMALL)
    newest = folder / "step_0000007.pth"
    torch.save({"network": nb.fresh_network(0).state_dict()}, newest)  # a network, but no training state
    (folder / "step_0000008.pth").write_bytes(pickle.dumps(Bomb()))
    torch.save({"done": Bomb()}, folder / "step_0000009.pth")
    capsys.readouterr()
    assert same(nb.train(photos, style, folder, steps=4, **SMALL), unbroken)
    said = capsys.readouterr().out
    assert all(f"step_000000{n}.pth" in said for n in (7, 8, 9)) and "Going on from step 3" in said
    assert not (tmp_path / "exploded").exists()


def test_a_drive_that_vanishes_in_mid_training_keeps_the_last_checkpoint(nb, photos, style, tmp_path, monkeypatch):
    unbroken = nb.train(photos, style, tmp_path / "a", steps=5, checkpoint_every=1, **SMALL)
    replace, folder = os.replace, tmp_path / "b"

    def vanished(source, target):
        if "step_0000006" in str(target):
            raise OSError(107, "Transport endpoint is not connected")
        replace(source, target)

    monkeypatch.setattr(nb.os, "replace", vanished)
    with pytest.raises(nb.Problem, match="not connected.*reconnect the drive"):
        nb.train(photos, style, folder, steps=5, checkpoint_every=1, **SMALL)
    assert sorted(p.name for p in folder.iterdir()) == [f"step_000000{n}.pth" for n in (3, 4, 5)]
    monkeypatch.setattr(nb.os, "replace", replace)
    assert same(nb.train(photos, style, folder, steps=5, checkpoint_every=1, **SMALL), unbroken)


def test_a_compiled_training_learns_the_same(nb, photos, style, tmp_path, monkeypatch):
    """The compiler traces network and loss whole (its machine code apart: that needs a GPU), and the files are usual."""
    plain = nb.train(photos, style, tmp_path / "a", steps=3, **SMALL)
    assert nb.compiled(plain, torch.device("cpu"), 10**6) is plain
    compile_so = dict(backend="eager", dynamic=False, fullgraph=True)
    monkeypatch.setattr(nb, "compiled", lambda module, *_: torch.compile(module, **compile_so))
    nb.train(photos, style, tmp_path / "b", steps=3, **SMALL)
    for a, b in zip(nb.load_network(tmp_path / "b" / "final.pth").parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


def test_finished_training_is_returned_at_once_and_can_be_lengthened(nb, photos, style, tmp_path):
    network = nb.train(photos, style, tmp_path, steps=2, **SMALL)
    calls = []
    assert same(nb.train(photos, style, tmp_path, steps=2, **SMALL, on_step=lambda *_: calls.append(1)), network)
    assert not calls
    nb.train(photos, style, tmp_path, steps=4, **SMALL, on_step=lambda *_: calls.append(1))
    assert len(calls) == 2


def test_another_style_is_refused_and_a_fresh_start_loses_nothing(nb, photos, style, tmp_path, capsys):
    network = nb.train(photos, style, tmp_path, steps=1, **SMALL)
    other = nb.to_tensor(picture(80, 64, 5))
    with pytest.raises(nb.Problem, match="resume=False"):
        nb.train(photos, other, tmp_path, steps=1, **SMALL)
    nb.train(photos, other, tmp_path, steps=1, resume=False, **SMALL)
    assert same(nb.load_network(tmp_path / "old-1" / "final.pth"), network)
    nb.train(photos, other, tmp_path, steps=2, **SMALL | dict(learning_rate=1e-4))
    assert "learning_rate 0.001 → 0.0001" in capsys.readouterr().out


def test_starts_from_another_styles_network(nb, photos, style, tmp_path):
    first = nb.train(photos, style, tmp_path / "a", steps=2, **SMALL)
    seen = []
    nb.train(
        photos,
        style.flip(0),
        tmp_path / "b",
        steps=1,
        start_from=tmp_path / "a" / "final.pth",
        **SMALL | dict(learning_rate=1e-9),
        on_step=lambda step, losses: seen.append(step),
    )
    assert seen == [1]  # no warm start
    for a, b in zip(nb.load_network(tmp_path / "b" / "final.pth").parameters(), first.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


def test_a_loss_that_is_not_finite_stops_with_advice(nb, photos, style, tmp_path):
    nb.train(photos, style, tmp_path, steps=1, **SMALL)
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(nb.Problem, match="lower learning_rate"):
        nb.train(photos, style, tmp_path, steps=3, **SMALL | dict(content_weight=float("inf")))
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_a_disk_that_cannot_be_written_keeps_the_old_file(nb, tmp_path, monkeypatch):
    path = nb.save_checkpoint(tmp_path / "c.pth", number=1)

    def full(state, file):
        file.write(b"half a ")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nb.torch, "save", full)
    with pytest.raises(nb.Problem, match="No space left"):
        nb.save_checkpoint(path, number=2)
    assert nb.load_checkpoint(path)["number"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["c.pth"]


@pytest.mark.parametrize(
    "change, sentence",
    [
        (dict(image_size=100), "image_size=100"),
        (dict(batch_size=0), "batch_size=0"),
        (dict(vgg_weights="vgg"), "vgg_weights='vgg'"),
    ],
)
def test_input_that_cannot_work_is_one_sentence(nb, photos, style, tmp_path, change, sentence):
    with pytest.raises(nb.Problem, match=sentence):
        nb.train(photos, style, tmp_path, steps=1, **SMALL | change)
    assert list(tmp_path.iterdir()) == []


def test_batches_depend_on_seed_and_step_alone(nb, photos):
    batch = nb.draw_batch(photos, 7, 4, 48, seed=3)
    assert batch.shape == (4, 3, 48, 48) and batch.dtype == torch.float32
    assert torch.equal(batch, nb.draw_batch(photos, 7, 4, 48, seed=3))
    assert not torch.equal(batch, nb.draw_batch(photos, 8, 4, 48, seed=3))
    assert torch.equal(batch[1:3], nb.draw_batch(photos, 7, 4, 48, seed=3, rows=slice(1, 3)))
    whole = nb.draw_batch(photos, 0, 12, 72, seed=0)  # one epoch: every photo once, some mirrored
    known = {tuple(p.flatten().tolist()) for p in torch.cat([photos, photos.flip(3)]).float()}
    assert {tuple(p.flatten().tolist()) for p in whole} <= known and len(
        {tuple(p.flatten().tolist()) for p in whole}
    ) == 12


def test_stability_loss_is_zero_for_a_painter_that_moves_with_the_camera(nb, photos):
    moved, grid = nb.move_camera(photos[:3].float(), seed=0, step=1, places=range(3), noise=0)
    assert nb.stability_loss(photos[:3].float(), moved, grid) < 1e-6
    assert nb.stability_loss(photos[:3].float(), photos[:3].float(), grid) > 10


def test_stability_loss_sees_a_frame_along_the_border(nb, photos):
    """A rim that it left out would be the cheapest place for the style: networks drew a dotted frame there."""

    def framed(pictures):
        inner = torch.nn.functional.pad(torch.zeros_like(pictures[..., 1:-1, 1:-1]), [1] * 4, value=1)
        return torch.where(inner > 0, torch.tensor([0.0, 255]).repeat(pictures.shape[-1] // 2), pictures)

    x = photos[:3].float()
    moved, grid = nb.move_camera(x, seed=0, step=1, places=range(3), noise=0)
    assert nb.stability_loss(framed(x), framed(moved), grid) > 300


def test_signal_during_a_step_stops_after_it(nb, photos, style, tmp_path):
    done = []

    def press(step, losses):
        done.append(step)
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    network = nb.train(photos, style, tmp_path, steps=50, **SMALL, on_step=press)
    assert len(done) <= 3 and not network.training
    assert json.dumps(nb.load_checkpoint(max(tmp_path.glob("step_*")))["done"]) == str(len(done) + 3)


WORKER = """
import os, sys, torch
sys.path.insert(0, {tests!r})
from notebook import load_definitions
nb = load_definitions()
torch.set_num_threads(1)
photos, style = torch.load({data!r})
network = nb.train(photos, style, {folder!r}, steps=3, batch_size=4, image_size=48, vgg_weights="random",
                   device="cpu", warmup_steps=2)
torch.save(network.state_dict(), {folder!r} + "-" + os.environ["RANK"] + ".pt")
"""


def test_two_processes_train_as_one(nb, photos, style, tmp_path):
    """torchrun, gloo, CPU: equal weights in both, and those of one process with the same whole batch to 1e-3."""
    alone = nb.train(photos, style, tmp_path / "alone", steps=3, **SMALL | dict(warmup_steps=2))
    torch.save((photos, style), tmp_path / "data.pt")
    names = dict(tests=str(ROOT / "tests"), data=str(tmp_path / "data.pt"), folder=str(tmp_path / "both"))
    (tmp_path / "worker.py").write_text(WORKER.format(**names))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*torchrun, str(tmp_path / "worker.py")], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (torch.load(tmp_path / f"both-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    # All weights as one vector: a bias before a normalization has no gradient but rounding, of which Adam makes steps.
    one, both = (torch.cat([value.flatten() for value in state.values()]) for state in (alone.state_dict(), first))
    assert (both - one).norm() <= 1e-3 * one.norm()
    assert sorted(p.name for p in (tmp_path / "both").iterdir()) == ["final.pth", "step_0000005.pth"]

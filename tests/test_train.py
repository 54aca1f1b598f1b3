"""Training: it learns, it resumes to the bit, it survives kills, and bad input is one sentence."""

import functools
import os
import pickle
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest
import torch
from helpers import edges, press_at, same, stopped
from notebook import ROOT, run_cell
from torchvision.transforms.v2.functional import pil_to_tensor, resize

SMALL = dict(batch_size=4, image_size=48, vgg_weights="random", device="cpu", warmup_steps=3)


@pytest.fixture(scope="module", autouse=True)
def one_judge(nb):
    """The random VGG16 takes seconds to make and is always the same: made once for all."""
    plain, nb.VGG16Features = nb.VGG16Features, functools.cache(nb.VGG16Features)
    yield
    nb.VGG16Features = plain


def names(folder) -> list:
    return sorted(p.name for p in folder.iterdir())


def test_learns_the_style_and_keeps_the_content(nb, tmp_path):
    """On the bundled frames the style loss falls to a fifth; each painting keeps its own photo's
    outlines."""
    photos = nb.load_photos(ROOT / "data" / "frames", 80, limit=60)
    snow = nb.load_image(ROOT / "data" / "styles" / "snow.jpg")
    style, seen = pil_to_tensor(resize(snow, [128])), []
    network = nb.train(
        photos,
        style,
        tmp_path,
        steps=120,
        start_from=ROOT / "checkpoints" / "start.pth",
        **SMALL,
        on_step=lambda step, losses: seen.append(losses.style.item()),
    )
    assert len(seen) == 120
    assert sum(seen[-5:]) / 5 < seen[0] / 5
    content = photos[::10].float()
    with torch.no_grad():
        painted, own = edges(network(content).clamp(0, 255)), edges(content)
    likeness = torch.nn.functional.cosine_similarity(painted[:, None], own[None], dim=2)
    right = likeness.argmax(dim=1) == torch.arange(6)  # of each painting to each photo
    assert right.sum() >= 5, likeness


def test_the_warm_start_learns_to_redraw(nb, photos):
    """From a new network, in a few steps, to half the distance from its goal."""
    network, batch = nb.fresh_network(0), photos[:4].float()
    given = dict(steps=60, batch_size=4, image_size=48, device=torch.device("cpu"))
    deviation, mean = torch.std_mean(batch, dim=(2, 3), keepdim=True)
    goal = ((batch - mean) / (deviation + 1) * 60 + 125).clamp(0, 255)
    assert nb.redraw_loss(goal, batch).total < 1e-3 < 5 < nb.redraw_loss(batch, batch).total
    assert nb.redraw_loss(goal + 7, batch).total == pytest.approx(7, abs=1e-3)
    with torch.no_grad():
        before = nb.redraw_loss(network(batch), batch).total
    losses = nb.learn_style(network, photos, nb.redraw_loss, **given)
    assert len(losses) == 60 and sum(losses[-5:]) < sum(losses[:5]) / 2
    with torch.no_grad():
        assert nb.redraw_loss(network(batch), batch).total < before / 2


def test_who_only_paints_seeks_no_other_style(nb):
    """Neither here nor on the web: the folders are not even looked at."""
    chosen, path = types.SimpleNamespace(paint_with="snow"), nb.Path("data/styles/snow.jpg")
    seen = vars(nb) | dict(chosen=chosen, places=None, style_path=path)
    names = run_cell("run-transfer", run_cell("run-beginners", seen))
    assert not names["lesson"] and "curves" not in names


def test_a_dead_drive_is_passed_over(nb, tmp_path, monkeypatch):
    """Its folder answers with errors; what the training left on this machine's disk is found."""
    monkeypatch.chdir(tmp_path)
    drive, glob = tmp_path / "drive" / "x-123456", nb.Path.glob
    here = tmp_path / "checkpoints" / "x-123456" / "final.pth"
    here.parent.mkdir(parents=True)
    here.write_bytes(b"1")

    def dead(path, what):
        if path == drive:
            raise OSError(107, "Transport endpoint is not connected")
        return glob(path, what)

    monkeypatch.setattr(nb.Path, "glob", dead)
    assert nb.kept(drive, "final.pth") == [here]


def test_the_lessons_loop_is_the_one_that_trains(nb, photos, style, tmp_path):
    """(b)'s plain loop takes the step that train takes without the temporal loss, whose first
    learning rate is a twentieth; and in some more steps it learns."""
    start, seen = tmp_path / "start.pth", []
    nb.save_checkpoint(start, network=nb.fresh_network(3).state_dict())
    given = SMALL | dict(steps=1, temporal_weight=0.0, learning_rate=2e-2, start_from=start)
    trained = nb.train(
        photos, style, tmp_path / "trained", **given,
        on_step=lambda step, losses: seen.append(losses.total.item()),
    )  # fmt: skip
    network = nb.load_network(start)
    loss_of = nb.PerceptualLoss(nb.VGG16Features("random"), style)
    how = dict(batch_size=4, image_size=48, device=torch.device("cpu"))
    first = nb.learn_style(network, photos, loss_of, steps=1, **how)
    assert first == [pytest.approx(seen[0], rel=1e-5)]
    for a, b in zip(network.parameters(), trained.parameters()):
        assert (a - b).abs().max() < 1e-6
    more = nb.learn_style(network, photos, loss_of, steps=20, **how)
    assert len(more) == 20 and sum(more[-4:]) < 3 * more[0]


def test_the_losses_that_are_told_are_those_of_the_formula(nb, photos, style, tmp_path):
    """The first step's, reckoned anew: of the network that it began from, on the step's photos."""
    seen, network = [], nb.fresh_network(0)
    start = tmp_path / "start.pth"
    nb.save_checkpoint(start, network=network.state_dict(), decoder_relu=True)
    arguments = SMALL | dict(start_from=start, tv_weight=3.0, temporal_weight=7.0)
    nb.train(photos, style, tmp_path / "a", steps=2, **arguments, on_step=lambda *g: seen.append(g))
    assert [step for step, _ in seen] == [1, 2]
    losses, content = seen[0][1], nb.draw_batch(photos, 0, 4, 48, 0)
    with torch.no_grad():
        painted = network(content)
        judge = nb.PerceptualLoss(nb.VGG16Features("random"), style, tv_weight=3.0)
        wanted = judge(painted, content)
        moved, grid = nb.move_camera(content[::4], 0, 0)
        temporal = 7.0 * nb.temporal_loss(painted[::4], network(moved), grid)
    for name in ("content", "style", "tv"):
        assert getattr(losses, name).item() == pytest.approx(getattr(wanted, name).item(), rel=1e-3)
    assert losses.temporal.item() == pytest.approx(temporal.item(), rel=1e-3)
    assert losses.total.item() == pytest.approx((wanted.total + temporal).item(), rel=1e-3)


def test_resumed_training_is_the_unbroken_one(nb, photos, style, tmp_path):
    unbroken = nb.train(photos, style, tmp_path / "a", steps=5, **SMALL)
    for number in (1, 3):
        nb.train(photos, style, tmp_path / "b", steps=5, **SMALL, on_step=press_at(number))
        assert nb.load_checkpoint(tmp_path / "b" / "final.pth")["done"] == number
    assert same(nb.train(photos, style, tmp_path / "b", steps=5, **SMALL), unbroken)
    again = nb.load_network(tmp_path / "b" / "final.pth")
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), unbroken.parameters()))
    assert nb.load_checkpoint(tmp_path / "b" / "final.pth")["done"] == 5


@pytest.mark.parametrize("height, width", [(64, 64), (90, 160)])
def test_the_cameras_motion_turns_and_zooms_and_never_shears(nb, height, width):
    """On a wide picture, too: a step to the right and one downwards stay equal and square."""
    for step in range(5):
        _, grid = nb.move_camera(torch.zeros(1, 3, height, width), 0, step)
        places = grid[0] * torch.tensor([width / 2, height / 2])  # in pixels
        right, down = places[0, 1] - places[0, 0], places[1, 0] - places[0, 0]
        assert abs(float(right @ down)) < 1e-3
        assert float(right.norm()) == pytest.approx(float(down.norm()), rel=1e-3)


def test_the_stop_button_stops_after_the_step_and_leaves_a_network(nb, photos, style, tmp_path):
    done = []

    def press(step, losses):
        done.append(step)
        press_at(2)(step, losses)

    before = signal.getsignal(signal.SIGINT)
    network = nb.train(photos, style, tmp_path, steps=50, **SMALL, on_step=press)
    assert signal.getsignal(signal.SIGINT) is before
    assert done == [1, 2] and not network.training
    assert names(tmp_path) == ["final.pth", "step_0000002.pth"]
    final = nb.load_checkpoint(tmp_path / "final.pth")
    assert final["done"] == 2 < final["settings"]["steps"] == 50
    painter, x = nb.load_network(tmp_path / "final.pth"), photos[:1].float()
    with torch.no_grad():
        assert torch.equal(painter(x), network(x))


def test_a_second_press_stops_at_once(nb, photos, style, tmp_path):
    def press_twice(step, losses):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        nb.train(photos, style, tmp_path, steps=50, **SMALL, on_step=press_twice)
    assert signal.getsignal(signal.SIGINT) is before


SCRIPT = """
import sys, torch
sys.path.insert(0, {tests!r})
from notebook import load_definitions
nb = load_definitions()
nb.half_precision = lambda device, vgg_weights="imagenet": None
torch.set_num_threads(2)
photos, style = torch.load({data!r})
drawn = nb.draw_batch
def draw_batch(*given, **more):
    print("drawn", flush=True)
    return drawn(*given, **more)
nb.draw_batch = draw_batch
nb.train(photos, style, {folder!r}, steps=8, checkpoint_every=1, batch_size=4, image_size=48,
         vgg_weights="random", device="cpu", warmup_steps=3)
print("finished")
"""


@pytest.fixture
def worker(photos, style, tmp_path):
    """A function that begins the training of SCRIPT in tmp_path / "b", in a process of its own."""
    torch.save((photos, style), tmp_path / "data.pt")
    folder, data = str(tmp_path / "b"), str(tmp_path / "data.pt")
    script = SCRIPT.format(tests=str(ROOT / "tests"), data=data, folder=folder)
    pipes = dict(stdout=subprocess.PIPE, text=True)
    return lambda: subprocess.Popen([sys.executable, "-c", script], **pipes)


def test_killed_training_ends_in_the_same_weights(nb, photos, style, tmp_path, worker):
    """SIGKILL at growing moments, each followed by a resume."""
    unbroken = nb.train(photos, style, tmp_path / "a", steps=8, checkpoint_every=1, **SMALL)
    finished, kills, folder = False, 0, tmp_path / "b"
    while not finished:
        process, known = worker(), max((p.name for p in folder.glob("step_*")), default="")
        deadline = time.monotonic() + 120
        while kills < 3 and process.poll() is None and time.monotonic() < deadline:
            # wait for two new checkpoints, then pull the plug
            if len([p for p in folder.glob("step_*") if p.name > known]) >= 2:
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.005)
        finished = "finished" in process.communicate()[0]
        assert finished or process.returncode == -signal.SIGKILL
    assert kills == 3
    mine = nb.load_network(folder / "final.pth").state_dict()
    assert all(torch.equal(value, mine[name]) for name, value in unbroken.state_dict().items())
    states = ["step_0000006.pth", "step_0000007.pth", "step_0000008.pth"]
    assert names(folder) == ["final.pth", *states]  # nothing half is left


def test_killed_in_the_warm_start_ends_in_the_same_weights(nb, photos, style, tmp_path, worker):
    """It is redone, with the same dice."""
    unbroken = nb.train(photos, style, tmp_path / "a", steps=8, checkpoint_every=1, **SMALL)
    process = worker()
    assert "a warm start, then 8 steps" in process.stdout.readline()
    assert [process.stdout.readline() for _ in range(2)] == ["drawn\n"] * 2  # of three
    process.kill()
    process.communicate()
    assert not list((tmp_path / "b").glob("*"))
    assert "finished" in worker().communicate()[0]
    mine = nb.load_network(tmp_path / "b" / "final.pth").state_dict()
    assert all(torch.equal(value, mine[name]) for name, value in unbroken.state_dict().items())


def test_a_stop_in_the_warm_start_ends_in_the_same_weights(
    nb, photos, style, tmp_path, monkeypatch
):
    unbroken = nb.train(photos, style, tmp_path / "a", steps=2, **SMALL)
    draw, drawn = nb.draw_batch, []

    def press(*given, **more):
        drawn.append(given)
        if len(drawn) == 2:
            signal.raise_signal(signal.SIGINT)
        return draw(*given, **more)

    monkeypatch.setattr(nb, "draw_batch", press)
    with pytest.raises(KeyboardInterrupt):
        nb.train(photos, style, tmp_path / "b", steps=2, **SMALL)
    assert not (tmp_path / "b" / "final.pth").exists()
    monkeypatch.setattr(nb, "draw_batch", draw)
    assert same(nb.train(photos, style, tmp_path / "b", steps=2, **SMALL), unbroken)


def test_a_kill_between_the_last_state_and_the_network_leaves_no_older_network(
    nb, photos, style, tmp_path, monkeypatch
):
    """Whatever moment of the last save it is, the next run ends with all steps in final.pth."""
    unbroken = nb.train(photos, style, tmp_path / "a", steps=3, checkpoint_every=1, **SMALL)
    save, folder = nb.save_checkpoint, tmp_path / "b"
    for moment in ("before", "between", "after"):

        class Killed(BaseException):
            pass

        saved = []

        def dies(path, moment=moment, saved=saved, killed=Killed, **state):
            if state["done"] == 3 and len(saved) == ["before", "between", "after"].index(moment):
                raise killed
            save(path, **state)
            if state["done"] == 3:
                saved.append(path)
                if len(saved) == 2 and moment == "after":
                    raise killed

        monkeypatch.setattr(nb, "save_checkpoint", dies)
        with pytest.raises(Killed):
            nb.train(photos, style, folder / moment, steps=3, checkpoint_every=1, **SMALL)
        monkeypatch.setattr(nb, "save_checkpoint", save)
        network = nb.train(photos, style, folder / moment, steps=3, checkpoint_every=1, **SMALL)
        assert same(network, unbroken)
        final = nb.load_checkpoint(folder / moment / "final.pth")
        assert final["done"] == 3, f"killed {moment}: final.pth holds step {final['done']}"


def test_keeps_three_states_and_the_final_network(nb, photos, style, tmp_path):
    nb.train(photos, style, tmp_path, steps=6, checkpoint_every=1, **SMALL)
    states = ["step_0000004.pth", "step_0000005.pth", "step_0000006.pth"]
    assert names(tmp_path) == ["final.pth", *states]
    state = nb.load_checkpoint(tmp_path / states[-1])
    assert state["done"] == 6 and state["optimizer"]["state"] and state["seconds"] > 0
    assert state["settings"]["steps"] == 6 and state["settings"]["vgg_weights"] == "random"
    final = nb.load_checkpoint(tmp_path / "final.pth")
    assert final["done"] == 6 and "optimizer" not in final
    assert final["network"].keys() == nb.TransformerNet().state_dict().keys()


def test_an_old_state_that_cannot_be_deleted_ends_no_training(
    nb, photos, style, tmp_path, monkeypatch
):
    """Drive's hiccups: all that matters is written by then."""
    nb.train(photos, style, tmp_path, steps=3, checkpoint_every=1, **SMALL)

    def failing(path, missing_ok=False):
        if path.name.startswith("step_"):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(nb.Path, "unlink", failing)
    nb.train(photos, style, tmp_path, steps=6, checkpoint_every=1, **SMALL)
    assert {f"step_000000{n}.pth" for n in range(1, 7)} < {p.name for p in tmp_path.iterdir()}
    assert nb.load_checkpoint(tmp_path / "final.pth")["done"] == 6


def test_saves_every_so_many_steps_and_at_the_end(nb, photos, style, tmp_path):
    nb.train(photos, style, tmp_path, steps=5, checkpoint_every=2, **SMALL)
    states = ["step_0000002.pth", "step_0000004.pth", "step_0000005.pth"]
    assert names(tmp_path) == ["final.pth", *states]


def test_damaged_newest_checkpoint_is_named_and_passed_over(nb, photos, style, tmp_path, capsys):
    arguments, folder = SMALL | dict(checkpoint_every=1), tmp_path / "b"
    unbroken = nb.train(photos, style, tmp_path / "a", steps=5, **arguments)
    nb.train(photos, style, folder, steps=5, **arguments)
    newest, second = folder / "step_0000005.pth", folder / "step_0000004.pth"
    newest.write_bytes(newest.read_bytes()[:5000])
    second.write_bytes(b"")
    (folder / "step_0000006.pth").write_text("hello")
    capsys.readouterr()
    assert same(nb.train(photos, style, folder, steps=5, **SMALL), unbroken)
    said = capsys.readouterr().out
    assert all(name in said for name in (newest.name, second.name, "step_0000006.pth"))
    assert "Going on from step 3" in said
    assert nb.load_checkpoint(folder / "final.pth")["done"] == 5


def test_a_state_saved_on_a_gpu_goes_on_without_one(nb, photos, style, tmp_path):
    """The optimizer's choice of kernels is this machine's, not the file's."""
    arguments, folder = SMALL | dict(checkpoint_every=1), tmp_path / "b"
    unbroken = nb.train(photos, style, tmp_path / "a", steps=4, **arguments)
    nb.train(photos, style, folder, steps=4, **arguments)
    (folder / "step_0000004.pth").unlink()
    state = nb.load_checkpoint(folder / "step_0000003.pth")
    assert state["optimizer"]["param_groups"][0]["fused"] is False
    state["optimizer"]["param_groups"][0]["fused"] = True  # as on CUDA
    nb.save_checkpoint(folder / "step_0000003.pth", **state)
    assert same(nb.train(photos, style, folder, steps=4, **arguments), unbroken)
    last = nb.load_checkpoint(folder / "step_0000004.pth")
    assert last["optimizer"]["param_groups"][0]["fused"] is False


class Bomb:
    """A pickle of this runs a command when a careless program loads it."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_foreign_and_malicious_files_in_the_folder_are_named_and_run_nothing(
    nb, photos, style, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    arguments, folder = SMALL | dict(checkpoint_every=1), tmp_path / "c"
    unbroken = nb.train(photos, style, tmp_path / "a", steps=4, **arguments)
    nb.train(photos, style, folder, steps=4, **arguments)
    # a network, but no training state
    torch.save({"network": nb.fresh_network(0).state_dict()}, folder / "step_0000004.pth")
    (folder / "step_0000005.pth").write_bytes(pickle.dumps(Bomb()))
    torch.save({"done": Bomb()}, folder / "step_0000006.pth")
    capsys.readouterr()
    assert same(nb.train(photos, style, folder, steps=4, **SMALL), unbroken)
    said = capsys.readouterr().out
    assert all(f"step_000000{n}.pth" in said for n in (4, 5, 6)) and "Going on from step 3" in said
    assert not (tmp_path / "exploded").exists()


def test_a_drive_that_vanishes_in_mid_training_keeps_the_last_checkpoint(
    nb, photos, style, tmp_path, monkeypatch
):
    arguments = SMALL | dict(checkpoint_every=1)
    unbroken = nb.train(photos, style, tmp_path / "a", steps=5, **arguments)
    replace, folder = os.replace, tmp_path / "b"

    def vanished(source, target):
        if "step_0000004" in str(target):
            raise OSError(107, "Transport endpoint is not connected")
        replace(source, target)

    monkeypatch.setattr(nb.os, "replace", vanished)
    with pytest.raises(nb.Problem, match="not connected.*Drive") as problem:
        nb.train(photos, style, folder, steps=5, **arguments)
    assert "\n" not in str(problem.value)
    assert names(folder) == ["final.pth", *(f"step_000000{n}.pth" for n in (1, 2, 3))]
    monkeypatch.setattr(nb.os, "replace", replace)
    assert same(nb.train(photos, style, folder, steps=5, **arguments), unbroken)


def test_finished_training_is_returned_at_once_and_can_be_lengthened(nb, photos, style, tmp_path):
    network, calls = nb.train(photos, style, tmp_path, steps=2, **SMALL), []
    again = dict(SMALL, on_step=lambda *_: calls.append(1))
    assert same(nb.train(photos, style, tmp_path, steps=2, **again), network)
    assert not calls
    nb.train(photos, style, tmp_path, steps=4, **again)
    assert len(calls) == 2


def test_starts_from_another_styles_network(nb, photos, style, tmp_path):
    first, seen = nb.train(photos, style, tmp_path / "a", steps=2, **SMALL), []
    nb.train(
        photos,
        style.flip(0),
        tmp_path / "b",
        steps=1,
        start_from=tmp_path / "a" / "final.pth",
        **SMALL | dict(learning_rate=1e-9),
        on_step=lambda step, losses: seen.append(step),
    )
    assert seen == [1]
    second = nb.load_network(tmp_path / "b" / "final.pth")  # no warm start has changed it
    for a, b in zip(second.parameters(), first.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


def test_a_resumed_training_needs_its_start_no_more(nb, photos, style, tmp_path):
    """And keeps what it took from it: the blog's decoder, which has no ReLUs."""
    start = tmp_path / "start.pth"
    nb.save_checkpoint(start, network=nb.fresh_network(1).state_dict(), decoder_relu=False)
    arguments = SMALL | dict(start_from=start)
    unbroken = nb.train(photos, style, tmp_path / "a", steps=3, **arguments)
    nb.train(photos, style, tmp_path / "b", steps=3, **arguments, on_step=press_at(1))
    start.unlink()
    network = nb.train(photos, style, tmp_path / "b", steps=3, **arguments)
    assert same(network, unbroken)
    for blog in (network, nb.load_network(tmp_path / "b" / "final.pth")):
        assert type(blog.relu4) is type(blog.relu5) is torch.nn.Identity
    with pytest.raises(nb.Problem, match="start.pth is missing"):
        nb.train(photos, style, tmp_path / "c", steps=3, **arguments)


def test_a_loss_that_is_not_finite_stops_with_advice(nb, photos, style, tmp_path):
    nb.train(photos, style, tmp_path, steps=1, **SMALL)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(nb.Problem, match="lower style_weight and run again"):
        nb.train(photos, style, tmp_path, steps=3, **SMALL | dict(content_weight=float("inf")))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_disk_that_cannot_be_written_keeps_the_old_file(nb, tmp_path, monkeypatch):
    path = tmp_path / "new" / "c.pth"
    nb.save_checkpoint(path, number=1)

    def full(state, file):
        with open(file, "wb") as half:
            half.write(b"half a ")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nb.torch, "save", full)
    with pytest.raises(nb.Problem, match="No space left"):
        nb.save_checkpoint(path, number=2)
    assert nb.load_checkpoint(path)["number"] == 1
    assert names(path.parent) == ["c.pth"]


@pytest.mark.parametrize(
    "change, sentence",
    [
        (dict(image_size=100), "image_size=100"),
        (dict(image_size=16), "image_size=16"),
        (dict(batch_size=0), "batch_size=0"),
        (dict(vgg_weights="vgg"), "vgg_weights='vgg'"),
    ],
    ids=str,
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
    assert not torch.equal(batch, nb.draw_batch(photos, 7, 4, 48, seed=4))
    whole = nb.draw_batch(photos, 0, 12, 72, seed=0)  # one epoch: every photo once, some mirrored
    both = torch.cat([photos, photos.flip(3)]).float()
    known = {tuple(p.flatten().tolist()) for p in both}
    drawn = {tuple(p.flatten().tolist()) for p in whole}
    assert drawn <= known and len(drawn) == 12


def test_batches_across_the_end_of_an_epoch(nb, photos):
    """Five at a time of twelve: the third batch holds two of the first epoch, three of the next."""
    batches = torch.cat([nb.draw_batch(photos, step, 5, 72) for step in range(5)])[:24]
    both = torch.cat([photos, photos.flip(3)]).float()
    likeness = (batches[:, None] - both).abs().amax((2, 3, 4))
    numbers = (likeness.argmin(1) % 12).tolist()
    assert likeness.amin(1).max() == 0
    assert sorted(numbers[:12]) == sorted(numbers[12:]) == list(range(12))
    assert numbers[:12] != numbers[12:]  # in another order


def test_the_camera_moves_every_fourth_photo_alike_in_one_and_in_several_processes(
    nb, photos, monkeypatch
):
    settings = dict(batch_size=8, image_size=72, seed=1, temporal_weight=1.0)
    batch, moved, grid = nb.step_photos(photos, 2, settings, torch.device("cpu"))
    assert len(batch) == 8 and moved.shape == (2, 3, 72, 72) and grid.shape == (2, 72, 72, 2)
    for rank in (0, 1):
        monkeypatch.setattr(nb, "WORLD", 2)
        monkeypatch.setattr(nb, "RANK", rank)
        _, mine, places = nb.step_photos(photos, 2, settings, torch.device("cpu"))
        assert torch.equal(mine, moved[rank : rank + 1])
        assert torch.equal(places, grid[rank : rank + 1])
    assert not torch.equal(moved, nb.move_camera(batch[::4], seed=1, step=3)[0])
    still, grid = nb.move_camera(batch[::4], seed=1, step=2, noise=0)
    grain = (moved - still).std()
    assert 3.5 < grain < 4.5 and torch.equal(still, nb.warp(batch[::4], grid))


def test_temporal_loss_is_zero_for_a_painter_that_moves_with_the_camera(nb, photos):
    x = photos[:3].float()
    moved, grid = nb.move_camera(x, seed=0, step=1, noise=0)
    assert len(moved) == 3
    assert nb.temporal_loss(x, moved, grid) < 1e-6
    assert nb.temporal_loss(x, x, grid) > 10


def test_temporal_loss_is_the_mean_square_over_what_can_be_seen(nb, photos):
    x = photos[:1].float()
    moved, grid = nb.move_camera(x, seed=0, step=1, noise=0)
    assert nb.temporal_loss(x, moved + 3, grid).item() == pytest.approx(9, rel=1e-4)
    outside = ~(grid.abs() < 1).all(-1)[:, None]
    assert outside.any()
    spoilt = torch.where(outside, 1e4, moved)
    assert nb.temporal_loss(x, spoilt, grid) < 1e-6


def test_temporal_loss_sees_a_frame_along_the_border(nb, photos):
    """A rim that it left out would be the cheapest place for the style: networks drew dots
    there."""

    def framed(pictures):
        inner = torch.zeros_like(pictures[..., 1:-1, 1:-1])
        rim = torch.nn.functional.pad(inner, [1] * 4, value=1)
        dots = torch.tensor([0.0, 255]).repeat(pictures.shape[-1] // 2)
        return torch.where(rim > 0, dots, pictures)

    x = photos.float()
    moved, grid = nb.move_camera(x, seed=0, step=1, noise=0)
    assert nb.temporal_loss(framed(x), framed(moved), grid) > 300


WORKER = """
import os, signal, sys, torch
sys.path.insert(0, {tests!r})
from notebook import load_definitions
nb = load_definitions()
nb.half_precision = lambda device, vgg_weights="imagenet": None
torch.set_num_threads(1)
photos, style = torch.load({data!r})
def press(step, losses):
    if {press} == step and os.environ["RANK"] == "1":
        signal.raise_signal(signal.SIGINT)
network = nb.train(photos, style, {folder!r}, steps=3, batch_size=8, image_size=48,
                   vgg_weights="random", device="cpu", warmup_steps=2, on_step=press)
torch.save(network.state_dict(), {folder!r} + "-" + os.environ["RANK"] + ".pt")
"""


def torchrun(photos, style, tmp_path, folder, press=0):
    """Train with two processes on the CPU; returns the weights of both."""
    torch.save((photos, style), tmp_path / "data.pt")
    given = dict(tests=str(ROOT / "tests"), data=str(tmp_path / "data.pt"), press=press)
    (tmp_path / "worker.py").write_text(WORKER.format(folder=str(folder), **given))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command.append(str(tmp_path / "worker.py"))
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    return [torch.load(f"{folder}-{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_two_processes_train_as_one(nb, photos, style, tmp_path):
    """torchrun, gloo: equal weights in both, and those of one process with the same whole batch to
    1e-3. Each has four photos, of which the camera moves one."""
    arguments = SMALL | dict(warmup_steps=2, batch_size=8)
    alone = nb.train(photos, style, tmp_path / "alone", steps=3, **arguments)
    first, second = torchrun(photos, style, tmp_path, tmp_path / "both")
    assert all(torch.equal(first[name], second[name]) for name in first)
    # All weights as one vector: a bias before a normalization has no gradient but rounding, of
    # which Adam makes steps.
    states = (alone.state_dict(), first)
    one, both = (torch.cat([value.flatten() for value in state.values()]) for state in states)
    assert (both - one).norm() <= 1e-3 * one.norm()
    assert names(tmp_path / "both") == ["final.pth", "step_0000003.pth"]


def test_the_stop_button_of_one_process_stops_all_and_both_go_on(nb, photos, style, tmp_path):
    folder, unbroken = tmp_path / "both", torchrun(photos, style, tmp_path, tmp_path / "whole")[0]
    first, second = torchrun(photos, style, tmp_path, folder, press=1)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert nb.load_checkpoint(folder / "final.pth")["done"] == 1
    for state in torchrun(photos, style, tmp_path, folder):
        assert all(torch.equal(state[name], unbroken[name]) for name in state)
    assert nb.load_checkpoint(folder / "final.pth")["done"] == 3


def test_folders_of_one_name_are_two_trainings(nb, photos, style, tmp_path, monkeypatch):
    """checkpoints/<name> of this machine takes over where Drive vanishes, and nothing else."""
    monkeypatch.chdir(tmp_path)
    nb.train(photos, style, "checkpoints/run", steps=3, **SMALL)
    nb.train(photos, 255 - style, "elsewhere/run", steps=2, **SMALL)
    assert nb.load_checkpoint("elsewhere/run/final.pth")["done"] == 2


@pytest.mark.parametrize(
    "wrong, said",
    [(dict(checkpoint_every=0), "checkpoint_every=0"), (dict(image_size=100), "from 32 to 64"),
     (dict(photos=0), "0 photos")],
)  # fmt: skip
def test_photos_that_cannot_be_learned_from_are_one_sentence(nb, style, tmp_path, wrong, said):
    photos = torch.zeros(wrong.pop("photos", 2), 3, 64, 128, dtype=torch.uint8)
    with pytest.raises(nb.Problem, match=said):
        nb.train(photos, style, tmp_path / "run", steps=1, **SMALL | wrong)
    assert not (tmp_path / "run").exists()


def test_a_disk_that_fails_for_a_while_overwrites_nothing(nb, photos, style, tmp_path, monkeypatch):
    """States that cannot be read now are not damaged ones, to be passed over and replaced."""
    nb.train(photos, style, tmp_path, steps=3, **SMALL | dict(checkpoint_every=1))
    before, read = names(tmp_path), nb.Path.read_bytes

    def failing(path):
        if path.name.startswith("step_"):
            raise OSError(5, "Input/output error")
        return read(path)

    monkeypatch.setattr(nb.Path, "read_bytes", failing)
    with pytest.raises(nb.Problem, match="Input/output error.*run again"):
        nb.train(photos, style, tmp_path, steps=6, **SMALL)
    assert names(tmp_path) == before
    assert nb.load_checkpoint(tmp_path / "final.pth")["done"] == 3


@pytest.mark.parametrize("full", [False, True])
def test_what_was_learned_without_drive_goes_there_when_it_is_back(
    nb, tmp_path, monkeypatch, capsys, full
):
    """The training is finished, on the runtime's disk; nothing is trained any more."""
    monkeypatch.chdir(tmp_path)
    spare, drive = tmp_path / "checkpoints" / "snow-123456", tmp_path / "drive" / "snow-123456"
    network = nb.TransformerNet().state_dict()
    state = dict(done=2, seconds=1.0, losses=dict(content=1.0), network=network)
    for name in ("step_0000002.pth", "final.pth"):
        nb.save_checkpoint(spare / name, **state)
    drive.parent.mkdir()
    if full:
        nb.save_checkpoint(drive / "final.pth", **state | dict(done=1))
        os.utime(drive / "final.pth", (1, 1))

        def break_off(source, target):
            nb.Path(target).write_bytes(b"half of it")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(nb.shutil, "copy2", break_off)
    seen = vars(nb) | dict(
        places=types.SimpleNamespace(outputs=tmp_path, checkpoints=drive.parent), folder=drive,
        chosen=types.SimpleNamespace(paint_with=None, batch_size=4), style_name="snow",
        plan=dict(steps=2, start_from=None), network_file=drive / "final.pth",
        vgg16=types.SimpleNamespace(weights="random"),
    )  # fmt: skip
    found = run_cell("run-report", seen)
    there = spare if full else drive
    assert found["network_file"] == there / "final.pth"
    assert names(there) == ["final.pth", "step_0000002.pth"]
    assert nb.load_checkpoint(spare / "final.pth")["done"] == 2
    assert nb.load_checkpoint(drive / "final.pth")["done"] == (1 if full else 2)
    assert f"Your network: {there / 'final.pth'}" in capsys.readouterr().out


def test_a_training_stopped_before_its_first_save_takes_no_other_ones_place(nb, tmp_path):
    """Run-train stopped, the cells below run: the former training's network stays where it is."""
    former = tmp_path / "former-123456"
    nb.save_checkpoint(former / "final.pth", network={})
    plan = dict(steps=2, start_from=None), tmp_path / "new-654321"
    seen = vars(nb) | dict(
        places=types.SimpleNamespace(outputs=tmp_path, checkpoints=tmp_path),
        vgg16=types.SimpleNamespace(weights="random"),
        chosen=types.SimpleNamespace(paint_with=None, batch_size=4),
        network_file=former / "final.pth", style_name="former",
        plan_training=lambda *_: plan, train=stopped, photos=None, style=None, photo_source=None,
        style_path=tmp_path / "new.jpg", photo=None,
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        run_cell("run-train", seen)
    with pytest.raises(nb.Problem, match="new-654321.*missing"):
        run_cell("run-report", seen)
    assert names(tmp_path) == ["former-123456"]
    # what paints, and what its paintings are named after, are the former still
    assert seen["network_file"] == former / "final.pth" and seen["style_name"] == "former"


def test_a_network_that_cannot_be_read_gives_no_paintings_its_name(nb, tmp_path):
    former, bad = tmp_path / "former.pth", tmp_path / "bad.pth"
    bad.write_bytes(b"xx")
    places = types.SimpleNamespace(home=tmp_path, local=tmp_path, repository="", data=tmp_path)
    seen = vars(nb) | dict(
        places=places, vgg16=types.SimpleNamespace(weights="random"), network_file=former,
        chosen=types.SimpleNamespace(paint_with=str(bad)), style_name="former", network="its",
        plan_training=lambda *_: ({}, tmp_path), photos=None, style=None, photo_source=None,
        style_path=None,
    )  # fmt: skip
    with pytest.raises(nb.Problem, match="bad.pth is missing, damaged"):
        run_cell("run-train", seen)
    kept = seen["network_file"], seen["style_name"], seen["network"]
    assert kept == (former, "former", "its")


def test_a_press_while_the_last_state_is_saved_loses_nothing(
    nb, photos, style, tmp_path, monkeypatch
):
    """The save after the last step is as whole as the others: a first press waits for its end."""
    saved, save = [], torch.save

    def press(*given, **how):
        saved.append(given)
        if len(saved) == 3:  # final.pth and a state after step 2, final.pth after step 3
            signal.raise_signal(signal.SIGINT)
        save(*given, **how)

    monkeypatch.setattr(nb.torch, "save", press)
    nb.train(photos, style, tmp_path, steps=3, checkpoint_every=2, **SMALL)
    assert names(tmp_path) == ["final.pth", "step_0000002.pth", "step_0000003.pth"]
    assert nb.load_checkpoint(tmp_path / "final.pth")["done"] == 3


def test_a_network_that_was_moved_away_is_there_again(nb, photos, style, tmp_path):
    """A finished training whose final.pth the reader has renamed: run again, it is made anew."""
    trained = nb.train(photos, style, tmp_path, steps=2, **SMALL)
    (tmp_path / "final.pth").rename(tmp_path / "mine.pth")
    nb.train(photos, style, tmp_path, steps=2, **SMALL)
    again = nb.load_network(tmp_path / "final.pth").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in trained.state_dict().items())


@pytest.mark.parametrize("folder", ["file", "file/run"])
def test_a_place_that_cannot_be_written_is_one_sentence(nb, photos, style, tmp_path, folder):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(nb.Problem, match="Cannot use"):
        nb.train(photos, style, tmp_path / folder, steps=1, **SMALL)
    assert (tmp_path / "file").read_text() == "mine"


def test_numbers_of_numpy_are_numbers(nb, photos, style, tmp_path):
    nb.train(photos, style, tmp_path, steps=np.int64(2), learning_rate=np.float32(1e-3), **SMALL)
    nb.train(photos, style, tmp_path, steps=np.int64(3), **SMALL)
    assert nb.load_checkpoint(tmp_path / "final.pth")["done"] == 3


@pytest.mark.parametrize(
    "what, shape",
    [("style", (4, 40, 40)), ("style", (40, 40, 3)), ("style", (3, 7, 40)), ("style", (40, 40)),
     ("photos", (2, 1, 72, 72)), ("photos", (3, 72, 72))],
)  # fmt: skip
def test_pictures_of_another_shape_are_one_sentence(nb, photos, style, tmp_path, what, shape):
    given = dict(photos=photos, style=style) | {what: torch.zeros(shape, dtype=torch.uint8)}
    with pytest.raises(nb.Problem, match=r"photos as \(N, 3, H, W\), the style as \(3, H, W\)"):
        nb.train(given["photos"], given["style"], tmp_path, steps=1, **SMALL)


@pytest.mark.parametrize("fault", ["damaged", "of fewer steps"])
def test_a_finished_training_mends_its_final_network(nb, photos, style, tmp_path, fault):
    """The states tell how far it went, whatever became of final.pth (a runtime that died while
    Drive wrote it; a shorter training of the same settings that was brought home)."""
    trained, final = nb.train(photos, style, tmp_path, steps=2, **SMALL), tmp_path / "final.pth"
    data = final.read_bytes()
    if fault == "damaged":
        final.write_bytes(data[: len(data) // 2])
    else:
        nb.save_checkpoint(final, **nb.load_checkpoint(final) | dict(done=1))
    nb.train(photos, style, tmp_path, steps=2, **SMALL)
    state = nb.load_checkpoint(final)
    assert state["done"] == 2 and "optimizer" not in state
    again = nb.load_network(final).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in trained.state_dict().items())


def test_a_finished_training_on_a_full_disk_is_returned(nb, photos, style, tmp_path, monkeypatch):
    trained = nb.train(photos, style, tmp_path, steps=2, **SMALL)

    def full(state, file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nb.torch, "save", full)
    assert same(nb.train(photos, style, tmp_path, steps=2, **SMALL), trained)
    assert names(tmp_path) == ["final.pth", "step_0000002.pth"]


def test_after_two_presses_the_training_that_is_told_of_is_the_one_that_paints(
    nb, photos, style, tmp_path
):
    """Run-train was stopped at once; the cells below run, with the name of the former network."""
    folder, former = tmp_path / "new-654321", nb.fresh_network(1)
    learned = nb.train(photos, style, folder, steps=1, **SMALL)
    seen = vars(nb) | dict(
        places=types.SimpleNamespace(outputs=tmp_path, checkpoints=tmp_path), folder=folder,
        chosen=types.SimpleNamespace(paint_with=None, batch_size=4), network=former,
        plan=dict(steps=2, start_from=None), network_file=folder / "final.pth",
        vgg16=types.SimpleNamespace(weights="random"), style_name="new",
    )  # fmt: skip
    assert same(run_cell("run-report", seen)["network"].cpu(), learned)


def test_the_lesson_on_transfer_can_be_run_again(nb, photos, style, tmp_path):
    """Each run of the cell begins at the same beginners, which nothing has been taught."""
    lesson, (learn, show) = tmp_path / "wave.png", (nb.learn_style, lambda *_, **__: None)
    nb.to_image(style).save(lesson)
    seen, taught = vars(nb) | dict(
        lesson=lesson, beginners={"a new network": nb.fresh_network()}, photo=photos[0],
        photos=photos, vgg16=nb.VGG16Features("random"), loss_weights={},
        DEVICE=torch.device("cpu"), loss_figure=show, show_pictures=show,
        chosen=types.SimpleNamespace(
            style_size=48, batch_size=2, steps=2, transfer_steps=2, image_size=64),
    ), []  # fmt: skip
    seen["learn_style"] = lambda *given, **more: learn(*given, **more, device=torch.device("cpu"))
    for _ in range(2):
        taught.append(run_cell("run-transfer", seen)["curves"]["a new network"])
    assert taught[0] == taught[1]


@pytest.mark.parametrize("activation", [torch.nn.SiLU, torch.nn.LeakyReLU])
def test_another_activation_is_saved_and_goes_on(
    nb, photos, style, tmp_path, monkeypatch, activation
):
    """The blog's missing ReLUs are told from a reader's own."""

    class Own(nb.TransformerNet):
        def __init__(self):
            super().__init__()
            for name in [name for name, _ in self.named_children() if name.startswith("relu")]:
                setattr(self, name, activation())

    monkeypatch.setattr(nb, "TransformerNet", Own)
    unbroken = nb.train(photos, style, tmp_path / "a", steps=3, **SMALL)
    nb.train(photos, style, tmp_path / "b", steps=3, **SMALL, on_step=press_at(2))
    assert same(nb.train(photos, style, tmp_path / "b", steps=3, **SMALL), unbroken)
    painter, x = nb.load_network(tmp_path / "b" / "final.pth"), photos[:1].float()
    with torch.no_grad():
        assert torch.equal(painter(x), unbroken(x))


def test_other_layers_are_another_training(nb, places, photos, style, monkeypatch):
    path = places.data / "mine.jpg"
    nb.to_image(style).save(path)
    chosen = types.SimpleNamespace(
        start_from=None, paint_with=None, dataset="bundled", steps=1, steps_alone=1, batch_size=2,
        checkpoint_every=1,
    )  # fmt: skip
    monkeypatch.chdir(places.home)
    given = chosen, "random", places, photos, style, nb.Path("frames"), path
    before = nb.plan_training(*given)[1]
    assert nb.plan_training(*given)[1] == before
    monkeypatch.setattr(nb.nn, "ReLU", torch.nn.SiLU)
    assert nb.plan_training(*given)[1] != before

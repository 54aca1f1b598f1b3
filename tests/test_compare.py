"""Section 8: the older method, and the numbers beside it."""

import signal
import types
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from helpers import picture
from notebook import run_cell


@pytest.fixture(scope="module")
def vgg(nb):
    """The random VGG16."""
    return nb.VGG16Features("random")


@pytest.fixture
def content(nb):
    """A photo, uint8 (3, 32, 32)."""
    return nb.pil_to_tensor(picture(32, 32))


@pytest.fixture
def other(nb):
    """A style picture, uint8 (3, 32, 32)."""
    return nb.pil_to_tensor(picture(32, 32, 9))


def test_optimization_lowers_the_loss_from_noise_and_from_the_photo(nb, vgg):
    content = nb.pil_to_tensor(picture(48, 40))  # as it is in memory, not in the order of its shape
    style = nb.pil_to_tensor(picture(64, 64, 9))
    loss_of = nb.PerceptualLoss(vgg, style, 1e3)  # little content: the photo is far from the best
    for start in (None, content):
        image, losses = nb.optimize_image(
            content, style, vgg, iterations=25, start=start, content_weight=1e3
        )
        assert image.shape == (3, 40, 48) and len(losses) == 25
        assert image.min() >= 0 and image.max() <= 255
        assert losses[-1] < 0.5 * losses[0] and all(isinstance(loss, float) for loss in losses)
        assert (image % 255 == 0).any()  # where the best lies outside of 0 to 255, it is clipped
        with torch.no_grad():  # the losses are section 4's, of pictures that can be shown
            assert float(loss_of(image[None], content[None].float()).total) < 1.2 * losses[-1]
    with torch.no_grad():
        loss = float(loss_of(content[None].float(), content[None].float()).total)
    assert losses[0] == pytest.approx(loss, rel=1e-4)
    assert torch.equal(content, nb.pil_to_tensor(picture(48, 40)))  # the start is left as it was


def test_nothing_is_left_to_optimize(nb, vgg, content, other):
    """A picture of zero loss has no gradient: L-BFGS takes no step, and the picture stays."""
    image, losses = nb.optimize_image(
        content, other, vgg, iterations=3, start=content, style_weight=0
    )
    assert losses == [0, 0, 0]
    torch.testing.assert_close(image, content.float())


def test_optimization_begins_with_the_same_noise(nb, vgg, content, other):
    first, again = (nb.optimize_image(content, other, vgg, iterations=3)[1] for _ in range(2))
    another = nb.optimize_image(content, other, vgg, iterations=3, seed=1)[1]
    assert first == again and first[0] != another[0]


def test_weights_are_passed_on(nb, vgg, content, other):
    one, two = (
        nb.optimize_image(content, other, vgg, iterations=1, start=content, style_weight=weight)
        for weight in (1e10, 2e10)
    )
    assert two[1][0] == pytest.approx(2 * one[1][0], rel=1e-4)  # of the photo, only style is lost


KANDINSKY = "data/styles/composition_vii.jpg"


@pytest.mark.parametrize(
    "given, judged",
    [({}, True), (dict(vgg="random"), False),
     (dict(file="great_wave.pth", style="great_wave"), True),
     (dict(file="candy.pth"), False),
     (dict(file="candy.pth", style_image=KANDINSKY), True),
     (dict(file="snow.pth", style="composition_vii", style_image=KANDINSKY), False),
     (dict(file="mine-1a2b3c/final.pth", style="composition_vii", style_image=KANDINSKY), False)],
)  # fmt: skip
def test_a_network_is_judged_by_the_loss_it_was_trained_on(nb, tmp_path, capsys, given, judged):
    """By its own weights; not at all where its VGG16 or its style is not at hand."""
    settings = dict(vgg_weights=given.get("vgg", "imagenet"), content_weight=3.0, style_weight=7.0)
    file = tmp_path / given.get("file", "snow-1a2b3c/final.pth")
    nb.save_checkpoint(file, settings=settings)
    chosen = types.SimpleNamespace(style_image=given.get("style_image", ""))
    style_path = nb.Path("data/styles") / f"{given.get('style', 'snow')}.jpg"
    found = nb.learned_by(file, dict(vgg_weights="imagenet"), chosen, style_path)
    assert found == (dict(content_weight=3.0, style_weight=7.0) if judged else {})
    said = capsys.readouterr().out
    assert said.startswith("Not compared: set style_image") and str(file) in said or judged


@pytest.mark.parametrize(
    "file, name",
    [("checkpoints/mosaic.pth", "mosaic"), ("checkpoints/my.snow-1a2b3c/final.pth", "my.snow"),
     ("checkpoints/snow-1a2b3c/step_0000100.pth", "snow"), ("data/final.pth", "data"),
     ("my_final.model", "my_final"), ("nets/step_by_step.pth", "step_by_step")],
)  # fmt: skip
def test_results_are_named_after_the_network_that_paints(nb, file, name):
    assert nb.style_of(nb.Path(file)) == name


def test_the_photos_features_are_computed_once(nb, vgg, content, other, monkeypatch):
    """Not in each iteration: the style picture and the photo once, the pixels each time."""
    seen, forward = [], vgg.forward
    monkeypatch.setattr(
        vgg, "forward", lambda x, *given, **more: seen.append(x) or forward(x, *given, **more)
    )
    _, losses = nb.optimize_image(content, other, vgg, iterations=3, start=other)
    assert len(seen) == 1 + 1 + 3
    with torch.no_grad():
        loss_of = nb.PerceptualLoss(vgg, other)
        first = loss_of(other[None].float(), content[None].float()).total.item()
    assert losses[0] == pytest.approx(first, rel=1e-5)


def test_a_time_that_was_cut_short_is_no_time(nb, vgg, content, other, monkeypatch):
    """The stop button ends an optimization early; a number from that would be too good."""
    seen, forward = [], vgg.forward

    def pressed(*given, **more):
        seen.append(given)
        if len(seen) == 12:  # in the middle of the four iterations
            signal.raise_signal(signal.SIGINT)
        return forward(*given, **more)

    monkeypatch.setattr(vgg, "forward", pressed)
    with pytest.raises(KeyboardInterrupt):
        nb.time_iteration(content, other, vgg)
    assert len(seen) == 12 and nb.time_iteration(content, other, vgg) > 0


def test_numbers_are_rounded_to_two_digits(nb):
    numbers = [1769.0, 224, 47.4, 4.04, 0.0]
    assert [nb.rounded(number) for number in numbers] == ["1,800", "220", "47", "4", "0"]


def test_what_one_pass_is_worth(nb):
    """After how many iterations the older method is as good; all of them if it never is."""
    assert nb.worth(5.0, [9.0, 6.0, 5.0, 4.0]) == 2
    assert nb.worth(1.0, [9.0, 6.0]) == 2


def test_methods_are_compared_at_equal_loss(nb, vgg, content, other, monkeypatch, capsys):
    """The clock is set: an iteration takes 2 s, and so does a pass of the network."""
    network, clock, real = nb.fresh_network(0).eval(), [0.0], nb.optimize_image
    painting = real(content, other, vgg, iterations=2, content_weight=1e3)[0][None]
    monkeypatch.setattr(nb.time, "perf_counter", lambda: clock[0])

    def optimize(*given, iterations, **more):
        clock[0] += 2.0 * iterations
        return real(*given, iterations=iterations, **more)

    def forward(x):
        clock[0] += 2.0
        return painting  # as good as some iterations from noise

    monkeypatch.setattr(nb, "optimize_image", optimize)
    monkeypatch.setattr(network, "forward", forward)
    found = nb.compare_methods(network, content, other, vgg, 12, content_weight=1e3)
    monkeypatch.undo()
    with torch.no_grad():
        loss_of = nb.PerceptualLoss(vgg, other, 1e3)
        loss = float(loss_of(painting, content[None].float()).total)
    assert found.loss == pytest.approx(loss, rel=1e-4)  # the network's, by the same judge
    assert [*found.curves] == ["from the photo", "from noise"]
    photo, noise = found.curves.values()
    assert len(noise) == len(photo) == 12
    assert [*found.pictures][:2] == ["photo", "one pass"] and len(found.pictures) == 4
    said = capsys.readouterr().out
    for start, losses in (("noise", noise), ("the photo", photo)):
        count = nb.worth(found.loss, losses)
        more = "\n" if count < 12 else ", or more\n"
        line = f"{count} iterations from {start}: {2 * count:.1f} s, {count} times as long{more}"
        assert line in said
    assert 0 < nb.worth(found.loss, noise) < 12  # so that the test tests something
    assert found.saved["noise"] == 2.0 * nb.worth(found.loss, noise) - 2.0
    assert found.saved["the photo"] == 2.0 * nb.worth(found.loss, photo) - 2.0


@pytest.mark.parametrize(
    "seconds, saved, noise, photo",
    [(5956.0, [4.0, 7.7, 9.0], "after 770 pictures", "after 1,500 pictures"),
     (10.0, [-0.1, -0.2, 9.0], "never", "never"), (0, [4.0, 5.0], None, None)],
)  # fmt: skip
def test_when_a_training_has_paid_for_itself(nb, capsys, monkeypatch, seconds, saved, noise, photo):
    """As often as the median of the seconds saved on a picture goes into the training's. There
    are three pictures, without a clip two. Nothing is said of a training that is not known."""
    clip, view = "clip.mp4" if len(saved) == 3 else None, picture(48, 48)
    saved = [{"noise": one, "the photo": one / 2} for one in saved]
    found = iter(types.SimpleNamespace(saved=s, curves={}, loss=1.0, pictures={}) for s in saved)
    chosen = types.SimpleNamespace(image_size=48, compare_iterations=3)
    names = nb.__dict__ | dict(
        chosen=chosen, network=None, style=None, style_path=None, network_file=None, plan={},
        clip=clip, content_name="clip", content_picture=view, later_picture=clip and view,
        photos=nb.pil_to_tensor(view)[None], vgg16=None, learned_by=lambda *_: dict(style_weight=7),
        compare_methods=lambda *_, style_weight: next(found),
        loss_figure=lambda *_: None, show_pictures=lambda *_: None,
    )  # fmt: skip
    monkeypatch.setattr(nb, "load_checkpoint", lambda _: dict(seconds=seconds))
    run_cell("run-compare", names)
    assert next(found, None) is None
    said, training = capsys.readouterr().out, f"Training, {seconds:,.0f} s, pays for itself"
    if not seconds:
        assert "pays for itself" not in said
        return
    assert f"{training}, against noise, {noise}.\n" in said
    assert f"{training}, against the photo, {photo}.\n" in said


def test_seconds_are_measured(nb, vgg):
    network = nb.TransformerNet().eval()
    for size in (32, 64):
        view = nb.pil_to_tensor(picture(size, size))
        seconds, painting = nb.one_pass(network, view)
        with torch.no_grad():
            wanted = network(view[None].float())[0].clamp(0, 255)
        assert 0 < seconds < 60 and torch.allclose(painting, wanted)


def test_an_iteration_is_timed_without_its_beginning(nb, vgg, content, other, monkeypatch):
    """What each call spends on the style picture does not count: 5 s and 3 s an iteration here."""
    clock = [0.0]
    monkeypatch.setattr(nb.time, "perf_counter", lambda: clock[0])

    def optimize(*given, iterations, **more):
        clock[0] += 5 + 3 * iterations

    monkeypatch.setattr(nb, "optimize_image", optimize)
    assert nb.time_iteration(content, other, vgg) == 3


@pytest.mark.parametrize("begin", ["noise", "photo"])
def test_the_older_methods_first_steps_lead_down(nb, vgg, begin):
    """PyTorch's own first step of L-BFGS is tiny, so that its second cannot know how far to go."""
    content = nb.pil_to_tensor(picture(64, 48))
    style = nb.pil_to_tensor(picture(64, 64, 9))
    start = content if begin == "photo" else None
    _, losses = nb.optimize_image(content, style, vgg, iterations=6, start=start)
    assert losses[1] < 0.95 * losses[0] and max(losses[2:]) < losses[1]


def test_the_older_method_takes_what_a_network_painted(nb, vgg, content, other):
    """Gradients of the picture's own past are none of its business."""
    network = nb.TransformerNet()
    painted = network(content[None].float())[0]
    image, losses = nb.optimize_image(painted, other, vgg, iterations=3, start=painted)
    assert len(losses) == 3 and not image.requires_grad


def test_work_in_another_thread_than_the_main_one(nb, vgg, content, other):
    """A web server's, for example: there is no stop button there, and that is no error."""
    before = signal.getsignal(signal.SIGINT)
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(nb.optimize_image, content, other, vgg, iterations=2)
        assert len(job.result()[1]) == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_a_checkpoint_with_settings_of_another_program(nb, tmp_path):
    """Lightning's, for example: this page's loss weights are taken."""
    nb.save_checkpoint(tmp_path / "theirs.pth", settings={"lr": 1}, state_dict={})
    plan = dict(content_weight=1.0, style_weight=2.0, vgg_weights="imagenet")
    chosen = types.SimpleNamespace(style_image="mine.jpg")
    found = nb.learned_by(tmp_path / "theirs.pth", plan, chosen, tmp_path / "mine.jpg")
    assert found == dict(content_weight=1.0, style_weight=2.0)

"""Section 8: the older method, and the numbers beside it."""

import types

import pytest
import torch
from conftest import picture
from notebook import cells


@pytest.fixture(scope="module")
def vgg(nb):
    """The random VGG16."""
    return nb.VGG16Features("random")


def test_optimization_lowers_the_loss_from_noise_and_from_the_photo(nb, vgg):
    content, style = nb.to_tensor(picture(48, 40)), nb.to_tensor(picture(64, 64, 9))
    loss_of = nb.PerceptualLoss(vgg, style, 1e3)  # little content: the photo itself is far from the best
    for start in (None, content):
        image, losses = nb.optimize_image(content, style, vgg, iterations=25, start=start, content_weight=1e3)
        assert image.shape == (3, 40, 48) and image.min() >= 0 and image.max() <= 255 and len(losses) == 25
        assert losses[-1] < 0.5 * losses[0] and all(isinstance(loss, float) for loss in losses)
        assert (image % 255 == 0).any()  # where the best picture lies outside of 0 to 255, it is clipped
        with torch.no_grad():  # the losses are those of section 4, of pictures that can be shown
            assert float(loss_of(image[None], content[None].float()).total) < 1.2 * losses[-1]
    with torch.no_grad():
        assert losses[0] == pytest.approx(float(loss_of(content[None].float(), content[None].float()).total), rel=1e-4)


def test_nothing_is_left_to_optimize(nb, vgg):
    """A picture of zero loss has no gradient: L-BFGS takes no step, and the picture stays."""
    content, style = nb.to_tensor(picture(32, 32)), nb.to_tensor(picture(32, 32, 9))
    image, losses = nb.optimize_image(content, style, vgg, iterations=3, start=content, style_weight=0)
    assert losses == [0, 0, 0]
    torch.testing.assert_close(image, content.float())


def test_optimization_begins_with_the_same_noise(nb, vgg):
    content, style = nb.to_tensor(picture(32, 32)), nb.to_tensor(picture(32, 32, 9))
    first, again = (nb.optimize_image(content, style, vgg, iterations=3)[1] for _ in range(2))
    other = nb.optimize_image(content, style, vgg, iterations=3, seed=1)[1]
    assert first == again and first[0] != other[0]


def test_weights_are_passed_on(nb, vgg):
    content, style = nb.to_tensor(picture(32, 32)), nb.to_tensor(picture(32, 32, 9))
    one = nb.optimize_image(content, style, vgg, iterations=1, start=content, style_weight=1e10)[1][0]
    two = nb.optimize_image(content, style, vgg, iterations=1, start=content, style_weight=2e10)[1][0]
    assert two == pytest.approx(2 * one, rel=1e-4)  # of the photo itself, only style is lost


@pytest.mark.parametrize("at_hand", ["imagenet", "random"])
def test_the_network_is_judged_by_the_loss_it_was_trained_on(nb, style, tmp_path, at_hand):
    """The ready-made network by its own weights; the reader's own where the ready-made had another VGG16."""
    own = dict(vgg_weights="imagenet", content_weight=3.0, style_weight=7.0)
    network = nb.TransformerNet()
    nb.save_checkpoint(
        tmp_path / "snow.pth", network=network.state_dict(), settings=own, style=nb.thumbnail(style), decoder_relu=True
    )
    given = dict(content_weight=1.0, style_weight=2.0)
    names = nb.__dict__ | dict(
        chosen=types.SimpleNamespace(preset="demo", paint_with=None, steps=1), style=style, style_name="snow",
        places=types.SimpleNamespace(checkpoints=tmp_path), network=network, loss_weights=given, weights=at_hand,
        content_picture=picture(48, 48), show_pictures=lambda *given, **named: None,
    )  # fmt: skip
    exec(next(cell["text"] for cell in cells() if cell["id"] == "run-choose"), names)
    assert names["network"] is not network
    assert names["compared"] is (names["network"] if at_hand == "imagenet" else network)
    assert names["judge"] == (own if at_hand == "imagenet" else given)


def test_what_one_pass_is_worth(nb):
    assert nb.worth(5.0, [9.0, 6.0, 5.0, 4.0]) == 2
    assert nb.worth(1.0, [9.0, 6.0]) is None


def test_speed_table_is_measured(nb, vgg, capsys):
    network = nb.TransformerNet().eval()
    rows = nb.speed_table(network, vgg, picture(90, 70), nb.to_tensor(picture(32, 32)), sizes=(32, 64), measured=3)
    assert list(rows) == [32, 64] and all(each > 0 and one > 0 for each, one in rows.values())
    said = capsys.readouterr().out
    each, one = rows[64]
    assert f"{500 * each:.1f} s" in said and f"{500 * each / one:,.0f} x" in said and "reckoned" in said

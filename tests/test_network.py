"""TransformerNet against an independent definition, its sizes, and its files."""

import pathlib
import pickle

import oracle
import pytest
import torch
from helpers import OnGpu, far
from notebook import ROOT


def pixels(height, width, count=1):
    return torch.rand(count, 3, height, width) * 255


@pytest.mark.parametrize("fold", [False, True])
def test_equals_the_plain_definition(nb, fold):
    network, weights = nb.TransformerNet(), oracle.random_weights()
    network.load_state_dict(weights)
    if fold:
        assert nb.fold_upsampling(network) is network
    x = pixels(48, 64, 2)
    with torch.no_grad():
        assert far(network(x), oracle.johnson(x, weights)) < 1e-5


def left_out(name):
    """Whether a parameter is a bias that folded layers leave out: all convolutions' but RGB's."""
    return name.endswith(".conv2d.bias") and not name.startswith("deconv3")


def without_bias(layer):
    """The layer, its bias set to 0: folded layers leave out what normalization takes out."""
    torch.nn.init.zeros_(layer.conv2d.bias)
    return layer


def test_weights_lie_in_one_of_two_orders(nb):
    """Planes or channels last; MPS reads the weights of convolutions that are neither as planes."""
    given = torch.randn(8, 4, 4, 4).transpose(0, 1)
    assert nb.ordered(given).is_contiguous() and torch.equal(nb.ordered(given), given)
    with torch.no_grad():
        assert nb.ordered(given).is_contiguous(memory_format=torch.channels_last)


def test_folded_layers_compute_the_same(nb):
    """Each layer alone, at sizes of one pixel and more, and that the swap reaches both."""
    network = nb.TransformerNet()
    for layer, channels in ((network.deconv1, 128), (network.deconv2, 64)):
        without_bias(layer)
        for height, width in ((1, 1), (1, 5), (4, 3), (17, 20)):
            x = torch.randn(2, channels, height, width)
            with torch.no_grad():
                plain = layer(x)
                assert plain.shape[2:] == (2 * height, 2 * width)
                torch.testing.assert_close(
                    nb.upsample_folded(layer, x), plain, atol=1e-5, rtol=1e-5
                )
    calls, x = [], pixels(16, 16)
    before = nb.upsample_folded
    try:
        nb.upsample_folded = lambda *given: calls.append(1) or before(*given)
        network(x)
        assert not calls
        nb.fold_upsampling(network)
        calls.clear()  # it compares
        network(x)
        assert len(calls) == 2
    finally:
        nb.upsample_folded = before


def test_folded_and_plain_gradients_agree(nb):
    network, x, gradients = nb.fresh_network(0), pixels(32, 32), []
    for fold in (False, True):
        network = nb.fold_upsampling(network) if fold else network
        network.zero_grad()
        network(x).square().mean().backward()
        named = network.named_parameters()
        gradients.append({name: p.grad for name, p in named if p.grad is not None})
    plain, folded = gradients
    assert plain.keys() - folded.keys() == set(filter(left_out, plain))
    assert len(plain) == 62 and len(folded) == 47
    for name in filter(left_out, plain):  # normalization takes these biases out again
        assert plain[name].abs().max() < 1e-3
    flat = [torch.cat([found[name].flatten() for name in folded]) for found in gradients]
    assert far(*flat) < 1e-4


def test_the_last_layer_is_computed_four_pixels_at_a_time(nb):
    layer, x = nb.TransformerNet().deconv3, torch.randn(2, 32, 12, 16)
    torch.nn.init.normal_(layer.conv2d.bias)
    with torch.no_grad():
        plain = layer(x)
        for memory in (torch.contiguous_format, torch.channels_last):
            found = nb.conv_padded(layer, x.to(memory_format=memory))
            torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-5)
            assert found.is_contiguous(memory_format=torch.channels_last)  # as a clip's frame is
        assert not torch.allclose(layer(x.roll(1, 3)), plain, atol=1e-2)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_padding_with_the_channels_last_copies_the_same_numbers(nb, kind):
    """Eight bytes at a time: also what is no number stays what it is; the order stays."""
    x = torch.randn(1, 8, 9, 7).to(kind)
    x[0, 3, 0, 0], x[0, 5, 8, 6] = float("nan"), float("inf")
    lasts = x.to(memory_format=torch.channels_last)
    for size, mode in ((1, "reflect"), (4, "reflect"), (1, "replicate")):
        with torch.no_grad():
            wanted, found = nb.pad(x, size, mode), nb.pad(lasts, size, mode)
        assert wanted.is_contiguous() and found.dtype == kind
        assert found.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(found, wanted, atol=0, rtol=0, equal_nan=True)
    lasts = torch.rand(1, 8, 9, 7).to(memory_format=torch.channels_last).requires_grad_()
    nb.pad(lasts, 1, "reflect").sum().backward()  # a training's
    assert lasts.grad.sum() == pytest.approx(8 * 11 * 9)


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize(
    "height, width", [(16, 16), (17, 16), (19, 33), (18, 47), (40, 21), (64, 64)]
)
def test_keeps_every_size(nb, height, width, fold):
    network, weights = nb.TransformerNet().eval(), oracle.random_weights()
    network.load_state_dict(weights)
    network = nb.fold_upsampling(network) if fold else network
    x = pixels(height, width)
    with torch.no_grad():
        y = network(x)
        assert y.shape == x.shape
        assert far(y, oracle.johnson(x, weights)[..., :height, :width]) < 1e-5


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("height, width", [(1, 1), (2, 30), (15, 40), (16, 3), (16, 16)])
def test_pictures_below_16_pixels_are_painted(nb, height, width, fold):
    """As if their last row and column went on: the network itself needs 16."""
    network, picture = nb.TransformerNet().eval(), pixels(height, width)[0].byte()
    network.load_state_dict(oracle.random_weights())
    network = nb.fold_upsampling(network) if fold else network
    rows = [min(n, height - 1) for n in range(max(16, height))]
    columns = [min(n, width - 1) for n in range(max(16, width))]
    painted, larger = nb.paint(network, picture), nb.paint(network, picture[:, rows][..., columns])
    assert painted.shape == picture.shape
    assert torch.equal(painted, larger[:, :height, :width])


def test_parameter_count_is_the_published_one(nb):
    assert sum(p.numel() for p in nb.TransformerNet().parameters()) == 1_679_235


@pytest.mark.parametrize("old", [False, True])
def test_loads_pytorch_examples_files(nb, tmp_path, old):
    weights, path = oracle.random_weights(), tmp_path / "candy.pth"
    names = [f"in{n}.running_{what}" for n in range(1, 6) for what in ("mean", "var")]
    stale = dict.fromkeys(names if old else [], torch.zeros(32))
    torch.save(weights | stale, path, _use_new_zipfile_serialization=not old)
    x = pixels(32, 32)
    network = nb.load_network(path)
    assert not network.training
    with torch.no_grad():
        assert far(network(x), oracle.johnson(x, weights)) < 1e-5


def test_loads_the_blogs_checkpoint_and_paints_as_it_did(nb, tmp_path):
    weights = oracle.random_weights(oracle.BLOG)
    wrapped = {"epoch": 63, "model_state_dict": weights, "optimizer_state_dict": {}}
    torch.save(wrapped | {"loss": torch.tensor(1.0)}, tmp_path / "c.pth")
    x = pixels(32, 40)
    with torch.no_grad():
        painted = nb.load_network(tmp_path / "c.pth")(x)
        assert far(painted, oracle.blog(x, weights)) < 1e-5
        relus = oracle.johnson(x, weights, oracle.BLOG)
    assert far(painted, relus) > 1e-2  # with ReLUs in the decoder it would be another picture


def test_our_own_file_comes_back_the_same(nb, tmp_path):
    network = nb.TransformerNet().eval()
    network.relu4 = network.relu5 = torch.nn.Identity()  # as the blog's
    nb.save_checkpoint(tmp_path / "own.pth", network=network.state_dict(), decoder_relu=False)
    again, x = nb.load_network(tmp_path / "own.pth"), pixels(20, 20)
    assert type(again.relu4) is type(again.relu5) is torch.nn.Identity
    with torch.no_grad():
        assert far(again(x), network(x)) < 1e-5  # folded layers: other roundings
        assert torch.equal(again(x), nb.fold_upsampling(network)(x))


class Bomb:
    """A pickle of this opens a file when a careless program loads it."""

    def __reduce__(self):
        return (open, ("/tmp/fast-style-transfer-bomb", "w"))


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", pickle.dumps(Bomb()), pickle.dumps([1, 2])]
)
def test_other_files_are_refused_and_run_nothing(nb, tmp_path, content):
    path = tmp_path / "bad.pth"
    path.write_bytes(content)
    for place in (path, tmp_path / "none" / "bad.pth"):
        with pytest.raises(nb.Problem, match="bad.pth"):
            nb.load_network(place)
    assert not pathlib.Path("/tmp/fast-style-transfer-bomb").exists()


@pytest.mark.parametrize("state", [{"fc.weight": torch.zeros(3)}, {"network": {}}])
def test_another_network_is_refused(nb, tmp_path, state):
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(nb.Problem, match="another kind of network"):
        nb.load_network(tmp_path / "other.pth")


def test_shared_statistics_give_the_whole_pictures_result(nb):
    network, picture = nb.fresh_network(0).eval(), pixels(96, 128)[0].byte()
    whole, statistics = nb.paint(network, picture).int(), nb.measure_statistics(network, picture)
    assert len(statistics) == 15 and all(len(pair) == 2 for pair in statistics.values())
    tiled = nb.paint_tiles(network, picture, 64, statistics).int()
    assert (whole - tiled).abs().float().mean() < 0.1
    assert torch.equal(nb.paint(network, picture).int(), whole)  # the network is as it was


def test_padding_stays_in_half_precision(nb):
    """The layers that are swapped in give the plain layers' numbers, from half the bytes."""
    torch.manual_seed(0)
    x = torch.rand(2, 3, 24, 32).bfloat16()
    for plain in (nb.ConvLayer(3, 8), nb.ConvLayer(3, 8, 9), nb.ConvLayer(3, 8, stride=2)):
        without_bias(plain)
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            wanted = plain(x)
            found = nb.conv_padded(plain, x)  # some processors sum in another order
            torch.testing.assert_close(found, wanted, rtol=2**-7, atol=2**-9)
            for mode in ("reflect", "replicate"):
                assert nb.pad(x, 2, mode).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16], ids=str)
def test_a_large_flat_picture_is_normalized_as_exactly(nb, kind):
    """Far from 0 and nearly even, as a sky is: a million plain float32 sums would be far off."""
    layer, x = nb.InstanceNorm(4), torch.randn(1, 4, 1000, 1000) + 50
    x = x.to(kind, memory_format=torch.channels_last)
    with torch.no_grad():
        found = nb.normalized(layer, x)
        wanted = torch.nn.functional.instance_norm(x.double())
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert (found - wanted).abs().mean() < (1e-3 if kind == torch.float32 else 4e-3)
    several = torch.cat([x, x + 1]).float()
    assert torch.equal(
        nb.normalized(layer, several), torch.nn.InstanceNorm2d.forward(layer, several)
    )


@pytest.mark.parametrize("value", [0, 255, 90])
def test_a_picture_of_one_colour_is_painted_in_one(nb, value):
    """A fade, a loading screen: also in 16 bits, whose rounding must not differ from pixel to
    pixel, since normalization would make a grid of it."""
    snow = nb.load_network(ROOT / "checkpoints" / "snow.pth")
    x = torch.full((1, 3, 96, 96), float(value))
    with torch.no_grad():
        wanted = snow(x).clamp(0, 255)
        with torch.autocast("cpu", torch.bfloat16):
            found = snow(x).clamp(0, 255).float()
            x = torch.rand(1, 8, 1, 1).expand(-1, -1, 12, 12).bfloat16()
            doubled = nb.upsample_folded(nb.UpsampleConvLayer(8, 4), x)
    assert (found - wanted).abs().mean() < 3  # it was 44
    assert (doubled == doubled[..., :1, :1]).all() and doubled.abs().max() > 0.01


def test_painting_in_inference_mode_and_training_later(nb):
    network = nb.fold_upsampling(nb.fresh_network(0)).eval()
    with torch.inference_mode():
        nb.paint(network, torch.zeros(3, 32, 32, dtype=torch.uint8))
    network.train()(torch.rand(1, 3, 32, 32) * 255).mean().backward()
    learns = {name: p.grad is not None for name, p in network.named_parameters()}
    assert learns == {name: not left_out(name) for name in learns}


def test_painting_first_and_training_later(nb):
    """What a painting leaves behind in its inference mode must be good for gradients."""
    network = nb.fold_upsampling(nb.fresh_network(0))
    nb.paint_whole(network, torch.zeros(3, 32, 32, dtype=torch.uint8))
    network(torch.rand(1, 3, 32, 32) * 255).mean().backward()
    learns = {name: p.grad is not None for name, p in network.named_parameters()}
    assert learns == {name: not left_out(name) for name in learns}


@pytest.mark.parametrize("change", ["padding", "no normalization", "a ReLU", "another enlarging"])
def test_layers_of_the_readers_own_are_not_replaced(nb, change):
    """Where the quicker code would paint something else, the network stays as it is."""

    network, x = nb.fresh_network(0), pixels(40, 40)
    if change == "padding":
        network.conv1.conv2d = torch.nn.Conv2d(3, 32, 9, padding=4)
    elif change == "no normalization":
        network.in2 = torch.nn.Identity()
    elif change == "a ReLU":
        network.conv2.append(torch.nn.ReLU())
    else:
        network.deconv1.conv2d.padding_mode = "circular"
        network.deconv1.conv2d._reversed_padding_repeated_twice = [1] * 4
    with torch.no_grad():
        wanted = network(x)
        assert far(nb.fold_upsampling(network)(x), wanted) < 1e-4


def test_a_network_of_the_readers_own_that_keeps_the_size(nb):
    """Its last layer sees odd sizes, which 2 x 2 pixels at once cannot paint."""
    network, x = nb.fresh_network(0), pixels(37, 51)
    for layer in (network.conv2, network.conv3):
        layer.conv2d.stride = (1, 1)
    network.deconv1, network.deconv2 = nb.ConvLayer(128, 64), nb.ConvLayer(64, 32)
    with torch.no_grad():
        wanted = network(x)
        assert far(nb.fold_upsampling(network)(x), wanted) < 1e-4


class EvenOnly(torch.nn.Identity):
    """A skip connection from a halved copy: as U-Nets, it takes no odd sizes."""

    def forward(self, x):
        halved = torch.nn.functional.avg_pool2d(x, 2)
        return x + 0 * torch.nn.functional.interpolate(halved, scale_factor=2)


def test_a_network_of_the_readers_own_that_takes_no_odd_sizes(nb):
    network, x = nb.fresh_network(0), pixels(40, 40)
    network.in1 = torch.nn.Sequential(network.in1, EvenOnly())
    with torch.no_grad():
        wanted = network(x)
        assert far(nb.fold_upsampling(network)(x), wanted) < 1e-4


@pytest.mark.parametrize("size", [(24, 20), (26, 20), (24, 22), (26, 22)])
@pytest.mark.parametrize("kernel", [9, 7])
@pytest.mark.parametrize("learns", [False, True])
def test_the_last_layer_for_several_pixels_at_once(nb, monkeypatch, size, kernel, learns):
    """A GPU paints 4 x 4 pixels at once, where the sizes allow it; and learns 2 x 2."""
    layer, strides, plain = nb.ConvLayer(32, 3, kernel), [], torch.nn.functional.conv2d
    x = pixels(*size)[:, :1].repeat(1, 32, 1, 1).contiguous(memory_format=torch.channels_last)
    with torch.set_grad_enabled(learns):
        wanted, x = layer(x), x.as_subclass(OnGpu)
        monkeypatch.setattr(
            nb.F, "conv2d", lambda *given: strides.append(given[3]) or plain(*given)
        )
        assert far(nb.conv_padded(layer, x.requires_grad_(learns)), wanted) < 1e-5
    assert strides == [2 if learns or size != (24, 20) else 4]


def test_a_network_with_batch_normalization_comes_back(nb, tmp_path, monkeypatch):
    """Section 3 invites to try it: its running statistics are weights, not leftovers."""
    monkeypatch.setattr(nb, "InstanceNorm", torch.nn.BatchNorm2d)
    network, x = nb.fold_upsampling(nb.TransformerNet()).train(), pixels(24, 24)
    network(x)  # running statistics of a bias that is added, or of one that is left out
    nb.save_checkpoint(tmp_path / "own.pth", network=network.state_dict())
    with torch.no_grad():
        painted = nb.load_network(tmp_path / "own.pth")(x)
        assert far(painted, network.eval()(x)) < 1e-4


def test_a_state_that_is_no_network_is_not_told_number_by_number(nb):
    state = nb.TransformerNet().state_dict()
    del state["in3.weight"]
    with pytest.raises(nb.Problem, match="another kind of network") as problem:
        nb.load_network(dict(state))
    assert len(str(problem.value)) < 300


class Transposed(torch.nn.Sequential):
    """The paper's own way to enlarge."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv2d = torch.nn.ConvTranspose2d(in_channels, out_channels, 3, 2, 1, 1)


def test_another_layer_of_the_same_name_stays_as_it_is(nb, monkeypatch):
    """Section 3 names transposed convolutions: whoever tries them gets them."""
    monkeypatch.setattr(nb, "UpsampleConvLayer", Transposed)
    network, x = nb.TransformerNet(), pixels(24, 24)
    with torch.no_grad():
        wanted = network(x)
        assert torch.equal(nb.fold_upsampling(network)(x), wanted)


@pytest.mark.parametrize("kind", [torch.float64, torch.float16])
def test_networks_of_other_precisions_are_folded_or_left(nb, kind):
    network, x = nb.fresh_network().to(kind), pixels(24, 24).to(kind)
    with torch.no_grad():
        wanted = network(x)
        assert far(nb.fold_upsampling(network)(x), wanted) < 5e-3


def test_a_state_with_a_broken_number_is_not_told_number_by_number(nb):
    state = nb.TransformerNet().state_dict()
    state["in3.weight"][0] = float("nan")
    with pytest.raises(nb.Problem, match="training broke") as problem:
        nb.load_network(dict(state))
    assert len(str(problem.value)) < 300

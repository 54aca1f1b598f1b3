"""TransformerNet against an independent definition, its sizes, and every kind of file it can be read from."""

import pickle

import oracle
import pytest
import torch

BLOG = ("encoder.", "residual.resblock_", "decoder.")


def far(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


@pytest.mark.parametrize("fast", [True, False])
def test_equals_the_plain_definition(nb, monkeypatch, fast):
    monkeypatch.setattr(nb.UpsampleConvLayer, "fast", fast)
    network, weights = nb.TransformerNet(), oracle.random_weights()
    network.load_state_dict(weights)
    x = torch.rand(2, 3, 48, 64) * 255
    with torch.no_grad():
        assert far(network(x), oracle.johnson(x, weights)) < 1e-5


def test_fast_and_plain_gradients_agree(nb, monkeypatch):
    network, x, gradients = nb.TransformerNet(), torch.rand(1, 3, 32, 32) * 255, []
    for fast in (True, False):
        monkeypatch.setattr(nb.UpsampleConvLayer, "fast", fast)
        network.zero_grad()
        network(x).square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    assert far(*gradients) < 1e-4


@pytest.mark.parametrize("height, width", [(16, 16), (17, 16), (19, 33), (18, 47), (40, 21), (64, 64)])
def test_keeps_every_size(nb, height, width):
    network, weights = nb.TransformerNet().eval(), oracle.random_weights()
    network.load_state_dict(weights)
    x = torch.rand(1, 3, height, width) * 255
    with torch.no_grad():
        y = network(x)
        assert y.shape == x.shape
        assert far(y, oracle.johnson(x, weights)[..., :height, :width]) < 1e-5


def test_too_small_is_one_sentence(nb):
    with pytest.raises(nb.Problem, match="at least 16 x 16"):
        nb.TransformerNet()(torch.zeros(1, 3, 15, 40))


def test_parameter_count_is_the_published_one(nb):
    assert sum(p.numel() for p in nb.TransformerNet().parameters()) == 1_679_235


@pytest.mark.parametrize("old", [False, True])
def test_loads_pytorch_examples_files(nb, tmp_path, old):
    weights = oracle.random_weights()
    stale = {f"in{n}.running_{what}": torch.zeros(32) for n in range(1, 6) for what in ("mean", "var")} if old else {}
    torch.save(weights | stale, tmp_path / "candy.pth", _use_new_zipfile_serialization=not old)
    x = torch.rand(1, 3, 32, 32) * 255
    with torch.no_grad():
        assert far(nb.load_network(tmp_path / "candy.pth")(x), oracle.johnson(x, weights)) < 1e-5


def test_loads_the_blogs_checkpoint_and_paints_as_it_did(nb, tmp_path):
    weights = oracle.random_weights(BLOG)
    torch.save(
        {"epoch": 63, "model_state_dict": weights, "optimizer_state_dict": {}, "loss": torch.tensor(1.0)},
        tmp_path / "c.pth",
    )
    x = torch.rand(1, 3, 32, 40) * 255
    with torch.no_grad():
        painted = nb.load_network(tmp_path / "c.pth")(x)
        assert far(painted, oracle.blog(x, weights)) < 1e-5
        relus = oracle.johnson(x, weights, BLOG)
    assert far(painted, relus) > 1e-2  # with ReLUs in the decoder it would be another picture


def test_our_own_file_comes_back_the_same(nb, tmp_path):
    network = nb.TransformerNet(decoder_relu=False).eval()
    nb.save_checkpoint(tmp_path / "own.pth", network=network.state_dict(), decoder_relu=False)
    x = torch.rand(1, 3, 20, 20) * 255
    with torch.no_grad():
        assert torch.equal(nb.load_network(tmp_path / "own.pth")(x), network(x))


class Bomb:
    def __reduce__(self):
        return (open, ("/tmp/fast-style-transfer-bomb", "w"))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps(Bomb()), pickle.dumps([1, 2])])
def test_other_files_are_refused_and_run_nothing(nb, tmp_path, content):
    path = tmp_path / "bad.pth"
    path.write_bytes(content)
    with pytest.raises(nb.Problem, match="bad.pth"):
        nb.load_network(path)
    import pathlib

    assert not pathlib.Path("/tmp/fast-style-transfer-bomb").exists()


def test_another_network_is_refused(nb, tmp_path):
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(nb.Problem, match="another kind of network"):
        nb.load_network(tmp_path / "other.pth")


def test_shared_statistics_give_the_whole_pictures_result(nb):
    network, picture = nb.TransformerNet().eval(), (torch.rand(1, 3, 96, 128) * 255).byte()
    whole = nb.paint(network, picture).int()
    tiled = nb.paint_tiles(network, picture, tile=64, overlap=32).int()
    assert (whole - tiled).abs().float().mean() < 0.1
    assert torch.equal(nb.paint(network, picture).int(), whole)  # the network is as it was

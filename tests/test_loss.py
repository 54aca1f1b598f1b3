"""The losses against the paper's formulas, and VGG16 against torchvision's own."""

import subprocess
import sys

import oracle
import pytest
import torch
import torchvision
from notebook import ROOT

FILES = {
    "imagenet": ("vgg16-397923af.pth", "IMAGENET1K_V1"),
    "imagenet-caffe": ("vgg16_features-amdegroot-88682ab5.pth", "IMAGENET1K_FEATURES"),
}


@pytest.fixture(scope="module")
def torchvision_vgg():
    """torchvision's own VGG16, with random numbers (a small classifier: the file must hold one, nobody reads it)."""
    torch.manual_seed(1)
    model = torchvision.models.vgg16(weights=None).eval()
    model.classifier = torch.nn.Linear(4, 4)
    return model


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty torch cache."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("old_format", [True, False])
def test_features_are_torchvisions(nb, cache, torchvision_vgg, kind, old_format):
    name, weights_name = FILES[kind]
    torch.save(torchvision_vgg.state_dict(), cache / name, _use_new_zipfile_serialization=not old_format)
    vgg = nb.VGG16Features(kind)
    preset = getattr(torchvision.models.VGG16_Weights, weights_name).transforms()
    pixels = torch.randint(0, 256, (2, 3, 40, 56), dtype=torch.uint8)
    wanted = torchvision.transforms.functional.normalize(pixels / 255, preset.mean, preset.std)
    with torch.no_grad():
        seen = vgg(pixels.float())
        for layer, end in {"relu1_2": 4, "relu2_2": 9, "relu3_3": 16, "relu4_3": 23}.items():
            torch.testing.assert_close(
                getattr(seen, layer), torchvision_vgg.features[:end](wanted), rtol=1e-3, atol=1e-4
            )
    assert sum(p.numel() for p in vgg.parameters()) == 7_635_264  # the convolutions up to relu4_3, no classifier
    assert not any(p.requires_grad for p in vgg.parameters())


LOAD = """
import os, resource, sys
sys.path.insert(0, {tests!r})
from notebook import load_definitions
nb = load_definitions()
nb.VGG16Features("random")  # so that all that a VGG16 needs anyway is counted before
idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
vgg = nb.VGG16Features("imagenet")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((peak - idle) // 1024, float(vgg.features[0].weight.flatten()[0]))
"""


@pytest.mark.parametrize("old_format", [True, False])
def test_loading_the_real_size_takes_little_memory(cache, old_format):
    """A file of VGG16's 528 MB; the real one is in the old format."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in torchvision.models.vgg16(weights=None).state_dict().items()}
    state = {name: torch.full(shape, 0.25) for name, shape in shapes.items()}
    path = cache / "vgg16-397923af.pth"
    torch.save(state, path, _use_new_zipfile_serialization=not old_format)
    del state
    assert path.stat().st_size > 553_000_000
    program = LOAD.format(tests=str(ROOT / "tests"))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    path.unlink()
    megabytes, weight = done.stdout.split()
    assert float(weight) == 0.25 and int(megabytes) < 150, done.stdout + done.stderr


@pytest.mark.parametrize("old_format", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_file_cut_short_is_named_and_fetched_again(nb, cache, torchvision_vgg, monkeypatch, capsys, old_format, share):
    name, whole = FILES["imagenet"][0], cache.parent / "whole.pth"
    model = torchvision.models.vgg16(weights=None).state_dict()
    state = {k: v[:3000] if k == "classifier.0.weight" else v for k, v in model.items() if "3" not in k}
    state = torchvision_vgg.state_dict() | {k: v for k, v in state.items() if "classifier" in k}  # 300 MB to pass over
    torch.save(state, whole, _use_new_zipfile_serialization=not old_format)
    data = whole.read_bytes()
    (cache / name).write_bytes(data[: int(share * len(data))])
    asked = []

    def fetch(url, path, **_):
        asked.append(url)
        path.write_bytes(data)
        return path

    monkeypatch.setattr(nb, "download", fetch)
    vgg = nb.VGG16Features("imagenet")
    assert torch.equal(vgg.features[0].weight, torchvision_vgg.features[0].weight)
    assert asked == [nb.VGG_FILES["imagenet"]] and name in capsys.readouterr().out


def test_addresses_are_torchvisions(nb):
    for kind, (_, name) in FILES.items():
        assert nb.VGG_FILES[kind] == getattr(torchvision.models.VGG16_Weights, name).url


def test_upto_stops_early(nb):
    seen = nb.VGG16Features("random")(torch.rand(1, 3, 32, 32) * 255, upto="relu2_2")
    assert seen.relu3_3 is None and seen.relu4_3 is None
    assert seen.relu1_2.shape == (1, 64, 32, 32) and seen.relu2_2.shape == (1, 128, 16, 16)


def test_random_weights_are_always_the_same_and_leave_the_dice_alone(nb):
    torch.manual_seed(5)
    first, after = nb.VGG16Features("random"), torch.rand(1)
    torch.manual_seed(5)
    torch.manual_seed(77)
    second = nb.VGG16Features("random")
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), after)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    kernel = first.features[2].weight.flatten(1)
    product = kernel @ kernel.T
    torch.testing.assert_close(product / product[0, 0], torch.eye(64), atol=1e-4, rtol=0)
    edges = first.features[7].weight  # the content's layer does not answer to a flat colour
    assert edges.mean((2, 3)).abs().max() < 1e-5 < edges.abs().max()


def test_random_weights_balance_their_layers_and_the_two_losses(nb):
    """With the usual 1e5 and 1e10, no layer of the style and neither loss drowns the others."""
    vgg = nb.VGG16Features("random")
    style = nb.to_tensor(nb.resize_short_side(nb.load_image(ROOT / "data" / "styles" / "snow.jpg"), 128))
    photo = nb.load_photos(ROOT / "data" / "frames", 128, limit=2).float()
    with torch.no_grad():
        energy = [nb.gram_matrix(maps).square().mean() for maps in vgg(style[None].float())]
        assert max(energy) < 4 * min(energy)
        content = 1e5 * vgg(photo, upto="relu2_2").relu2_2.var()
        assert 10 < 1e10 * sum(energy) / content < 1000


def test_unknown_weights_are_one_sentence(nb):
    with pytest.raises(nb.Problem, match="choose 'imagenet'"):
        nb.VGG16Features("vgg19")


def test_missing_weights_name_file_address_and_place(nb, cache, monkeypatch):
    monkeypatch.setitem(nb.VGG_FILES, "imagenet", "http://127.0.0.1:9/models/vgg16-397923af.pth")
    monkeypatch.setattr(nb.time, "sleep", lambda seconds: None)
    with pytest.raises(nb.Problem) as problem:
        nb.VGG16Features("imagenet")
    for part in ("vgg16-397923af.pth", "http://127.0.0.1:9/models", str(cache)):
        assert part in str(problem.value)
    assert list(cache.iterdir()) == []


def test_gram_matrix(nb):
    features = torch.randn(3, 5, 7, 9)
    for one, whole in zip(nb.gram_matrix(features), features, strict=True):
        torch.testing.assert_close(one.double(), oracle.gram(whole), rtol=1e-5, atol=1e-7)


def test_losses_are_the_papers_formulas_with_the_blogs_scaling(nb, photos, style):
    vgg, painted, content = nb.VGG16Features("random"), photos[:3].flip(3).float(), photos[:3].float()
    losses = nb.PerceptualLoss(vgg, style, tv_weight=2.0)(painted, content)
    seen, wanted, goal = vgg(painted), vgg(content), vgg(style[None].float())
    n, c, h, w = seen.relu2_2.shape
    content_loss = 1e5 * (seen.relu2_2.double() - wanted.relu2_2.double()).square().sum() / (n * c * h * w)
    style_loss = 1e10 * sum(
        sum((oracle.gram(picture) - oracle.gram(target[0])).square().mean() for picture in maps) / n
        for maps, target in zip(seen, goal, strict=True)
    )
    x = painted.double()
    tv = 2.0 * ((x[..., 1:] - x[..., :-1]).square().mean() + (x[..., 1:, :] - x[..., :-1, :]).square().mean())
    for mine, formula in zip(losses, (content_loss, style_loss, tv, content_loss + style_loss + tv), strict=True):
        assert mine.item() == pytest.approx(formula.item(), rel=1e-3)


def test_the_losses_know_their_own(nb, photos, style):
    loss = nb.PerceptualLoss(nb.VGG16Features("random"), style)
    assert loss(photos[:1].float(), photos[:1].float()).content == 0
    assert (
        loss(style[None].float(), style[None].float()).style < 1e-3 * loss(photos[:1].float(), photos[:1].float()).style
    )

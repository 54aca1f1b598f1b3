"""The losses against the paper's formulas, and VGG16 against torchvision's own."""

import hashlib
import types

import oracle
import pytest
import torch
import torchvision
from notebook import ROOT
from server import serve
from torchvision.transforms.v2.functional import pil_to_tensor, resize

FILES = {
    "imagenet": ("vgg16-397923af.pth", "IMAGENET1K_V1"),
    "imagenet-caffe": ("vgg16_features-amdegroot-88682ab5.pth", "IMAGENET1K_FEATURES"),
}
ENDS = {"relu1_2": 4, "relu2_2": 9, "relu3_3": 16, "relu4_3": 23}


@pytest.fixture(scope="module")
def torchvision_vgg():
    """torchvision's own VGG16, with random numbers (and a small classifier, which nobody reads)."""
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


def packed(model, path, old_format=False) -> bytes:
    """The model's weights as a file's bytes."""
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=not old_format)
    return path.read_bytes()


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("old_format", [True, False])
def test_features_are_torchvisions(nb, cache, torchvision_vgg, kind, old_format):
    name, weights_name = FILES[kind]
    packed(torchvision_vgg, cache / name, old_format)
    vgg = nb.VGG16Features(kind)
    preset = getattr(torchvision.models.VGG16_Weights, weights_name).transforms()
    pixels = torch.randint(0, 256, (2, 3, 40, 56), dtype=torch.uint8)
    normalize = torchvision.transforms.functional.normalize
    wanted = normalize(pixels / 255, preset.mean, preset.std)
    with torch.no_grad():
        seen = vgg(pixels.float())
        assert seen._fields == tuple(ENDS)
        for layer, end in ENDS.items():
            plain = torchvision_vgg.features[:end](wanted)
            torch.testing.assert_close(getattr(seen, layer), plain, rtol=1e-3, atol=1e-4)
    # the convolutions up to relu4_3, no classifier
    assert sum(p.numel() for p in vgg.parameters()) == 7_635_264
    assert not any(p.requires_grad for p in vgg.parameters())


@pytest.mark.parametrize("old_format", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_file_cut_short_is_put_aside_and_the_next_run_fetches_again(
    nb, cache, torchvision_vgg, monkeypatch, old_format, share
):
    data = packed(torchvision_vgg, cache.parent / "whole.pth", old_format)
    name = f"vgg16-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    cut = data[: int(share * len(data))]
    (cache / name).write_bytes(cut)
    with serve({f"/models/{name}": data}) as server:
        entry = types.SimpleNamespace(url=f"{server.url}/models/{name}")
        monkeypatch.setitem(nb.VGG_WEIGHTS, "imagenet", entry)
        with pytest.raises(nb.Problem) as problem:
            nb.VGG16Features("imagenet")
        assert name in str(problem.value) and entry.url in str(problem.value)
        (aside,) = cache.iterdir()
        assert aside.suffix == ".damaged" and aside.read_bytes() == cut and not server.asked
        vgg = nb.VGG16Features("imagenet")
        assert torch.equal(vgg.features[0].weight, torchvision_vgg.features[0].weight)
        assert len(server.asked) == 1
        nb.VGG16Features("imagenet")  # and it is kept
        assert len(server.asked) == 1 and (cache / name).read_bytes() == data


@pytest.mark.parametrize("how", ["drop", "other", "404"])
def test_a_failed_fetch_leaves_no_bad_file(nb, cache, torchvision_vgg, monkeypatch, how):
    """Broken off, or a sign-in page in its place: a sentence, and the next run has it."""
    data = packed(torchvision_vgg, cache.parent / "whole.pth")
    name = f"vgg16-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    with serve({f"/{name}": data}, {f"/{name}": [how]}) as server:
        entry = types.SimpleNamespace(url=f"{server.url}/{name}")
        monkeypatch.setitem(nb.VGG_WEIGHTS, "imagenet", entry)
        with pytest.raises(nb.Problem, match=name):
            nb.VGG16Features("imagenet")
        assert list(cache.iterdir()) == []
        vgg = nb.VGG16Features("imagenet")
    assert torch.equal(vgg.features[0].weight, torchvision_vgg.features[0].weight)


def test_addresses_are_torchvisions(nb):
    assert nb.VGG_WEIGHTS.keys() == FILES.keys()
    for kind, (file, name) in FILES.items():
        url = nb.VGG_WEIGHTS[kind].url
        assert url == getattr(torchvision.models.VGG16_Weights, name).url
        assert url.endswith(f"/{file}")


def test_upto_stops_early(nb):
    seen = nb.VGG16Features("random")(torch.rand(1, 3, 32, 32) * 255, upto="relu2_2")
    assert seen.relu3_3 is None and seen.relu4_3 is None
    assert seen.relu1_2.shape == (1, 64, 32, 32) and seen.relu2_2.shape == (1, 128, 16, 16)


def test_random_weights_are_always_the_same_and_leave_the_dice_alone(nb):
    torch.manual_seed(5)
    first, after = nb.VGG16Features("random"), torch.rand(1)
    torch.manual_seed(77)
    second = nb.VGG16Features("random")
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), after)
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    kernel = first.features[2].weight.flatten(1)
    product = kernel @ kernel.T
    torch.testing.assert_close(product / product[0, 0], torch.eye(64), atol=1e-4, rtol=0)
    edges = first.features[7].weight  # the content's layer does not answer to a flat colour
    assert edges.mean((2, 3)).abs().max() < 1e-5 < edges.abs().max()


def test_random_weights_balance_their_layers_and_the_two_losses(nb):
    """With the usual 1e5 and 1e10, no layer of the style and neither loss drowns the others."""
    vgg = nb.VGG16Features("random")
    snow = nb.load_image(ROOT / "data" / "styles" / "snow.jpg")
    style = pil_to_tensor(resize(snow, [128]))
    photo = nb.load_photos(ROOT / "data" / "frames", 128, limit=2).float()
    with torch.no_grad():
        energy = [nb.gram_matrix(maps).square().mean() for maps in vgg(style[None].float())]
        assert max(energy) < 4 * min(energy)
        content = 1e5 * vgg(photo, upto="relu2_2").relu2_2.var()
        assert 10 < 1e10 * sum(energy) / content < 1000


def test_unknown_weights_are_one_sentence(nb):
    with pytest.raises(nb.Problem, match="'vgg19' is unknown: choose imagenet"):
        nb.VGG16Features("vgg19")


def test_missing_weights_name_file_address_and_place(nb, cache, monkeypatch):
    entry = types.SimpleNamespace(url="http://127.0.0.1:9/models/vgg16-397923af.pth")
    monkeypatch.setitem(nb.VGG_WEIGHTS, "imagenet", entry)
    with pytest.raises(nb.Problem) as problem:
        nb.VGG16Features("imagenet")
    for part in ("vgg16-397923af.pth", "http://127.0.0.1:9/models", str(cache)):
        assert part in str(problem.value)
    assert "\n" not in str(problem.value)
    assert list(cache.iterdir()) == []


def test_gram_matrix(nb):
    features = torch.randn(3, 5, 7, 9)
    for one, whole in zip(nb.gram_matrix(features), features, strict=True):
        torch.testing.assert_close(one.double(), oracle.gram(whole), rtol=1e-5, atol=1e-7)


def test_losses_are_the_papers_formulas_with_the_blogs_scaling(nb, photos, style):
    vgg = nb.VGG16Features("random")
    painted, content = photos[:3].flip(3).float(), photos[:3].float()
    losses = nb.PerceptualLoss(vgg, style, tv_weight=2.0)(painted, content)
    seen, wanted, goal = vgg(painted), vgg(content), vgg(style[None].float())
    n, c, h, w = seen.relu2_2.shape
    difference = seen.relu2_2.double() - wanted.relu2_2.double()
    content_loss = 1e5 * difference.square().sum() / (n * c * h * w)
    style_loss = 1e10 * sum(
        sum((oracle.gram(picture) - oracle.gram(target[0])).square().mean() for picture in maps) / n
        for maps, target in zip(seen, goal, strict=True)
    )
    x = painted.double()
    across, down = x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]
    tv = 2.0 * (across.square().mean() + down.square().mean())
    formulas = (content_loss, style_loss, tv, content_loss + style_loss + tv)
    for mine, formula in zip(losses, formulas, strict=True):
        assert mine.item() == pytest.approx(formula.item(), rel=1e-3)


def test_the_losses_know_their_own(nb, photos, style):
    loss = nb.PerceptualLoss(nb.VGG16Features("random"), style)
    photo, own = photos[:1].float(), style[None].float()
    assert loss(photo, photo).content == 0
    assert loss(own, own).style < 1e-3 * loss(photo, photo).style

"""Pictures through the network: every kind, every size, the controls, folders, and what leaves the notebook."""

import io
import subprocess
import sys
import zipfile

import numpy as np
import onnxruntime
import PIL.Image
import PIL.ImageCms
import PIL.PngImagePlugin
import pytest
import torch
from conftest import picture
from notebook import ROOT
from server import serve
from test_video import Tinted


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (15, 40), (33, 21), (100, 80)])
def test_stylize_image_keeps_every_size(nb, size):
    assert nb.stylize_image(nb.TransformerNet().eval(), picture(*size)).size == size


def test_stylize_image_controls(nb):
    network, photo = Tinted(), picture(40, 30)
    pixels = np.asarray(photo).astype(float)
    assert np.array_equal(np.asarray(nb.stylize_image(network, photo, strength=0)), pixels)
    assert np.abs(np.asarray(nb.stylize_image(network, photo)) - pixels * [1, 1, 0.5]).max() <= 0.51
    assert np.abs(np.asarray(nb.stylize_image(network, photo, strength=0.5)) - pixels * [1, 1, 0.75]).max() <= 0.51
    kept = np.asarray(nb.stylize_image(network, photo, keep_colors=True)).astype(float)
    luma = [0.299, 0.587, 0.114]
    unclipped = ((kept > 0) & (kept < 255)).all(-1)
    assert np.abs(kept @ luma - (pixels * [1, 1, 0.5]) @ luma)[unclipped].max() <= 1.01  # brightness of the painting
    difference = (kept - pixels)[unclipped]
    assert np.abs(difference - difference.mean(-1, keepdims=True)).max() <= 1.01  # colours of the photo
    for strength in (-0.1, 1.1):
        with pytest.raises(nb.Problem, match="strength"):
            nb.stylize_image(network, photo, strength=strength)


def test_stylize_image_keeps_transparency(nb):
    photo = picture(40, 30).convert("RGBA")
    alpha = PIL.Image.linear_gradient("L").resize((40, 30))
    photo.putalpha(alpha)
    result = nb.stylize_image(Tinted(), photo)
    assert result.mode == "RGBA" and np.array_equal(np.asarray(result.getchannel("A")), np.asarray(alpha))


def test_stylize_folder_skips_what_is_done(nb, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for n in range(3):
        picture(20, 20, n).save(tmp_path / "in" / f"{n}.png")
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    done = nb.stylize_folder(Tinted(), tmp_path / "in", tmp_path / "out")
    assert [p.name for p in done] == ["0.png", "1.png", "2.png"] and "notes.txt" in capsys.readouterr().out
    stamp = done[0].stat().st_mtime_ns
    nb.stylize_folder(Tinted(), tmp_path / "in", tmp_path / "out")
    assert done[0].stat().st_mtime_ns == stamp
    with pytest.raises(nb.Problem, match="no folder"):
        nb.stylize_folder(Tinted(), tmp_path / "missing", tmp_path / "out")


def corpus() -> dict:
    """Files of many kinds: {name: (bytes, size of the painting or a word of the sentence)}."""
    files, base = {}, picture(60, 40)

    def add(name, image, expected=None, kind="PNG", **options):
        data = io.BytesIO()
        image.save(data, kind, **options)
        files[name] = (data.getvalue(), expected or image.size)

    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        add(f"{mode}.png", base.convert(mode))
    add("p-transparent.gif", base.convert("P"), kind="GIF", transparency=3)
    add("grey16.png", PIL.Image.fromarray((np.arange(2400).reshape(40, 60) * 27).astype(np.uint16)))
    add("float.tiff", PIL.Image.fromarray(np.linspace(0, 255, 2400).reshape(40, 60).astype(np.float32)), kind="TIFF")
    for mode in ("CMYK", "L", "RGB"):
        add(f"{mode}.jpg", base.convert(mode), kind="JPEG")
    add("progressive.jpg", base, kind="JPEG", progressive=True)
    add("lab.tiff", base.convert("LAB"), kind="TIFF")
    add("ycc.tiff", base.convert("YCbCr"), kind="TIFF")
    add("picture.webp", base, kind="WEBP")
    add("picture.bmp", base, kind="BMP")
    add("animated.gif", base, kind="GIF", save_all=True, append_images=[picture(60, 40, 1)])
    for orientation in (2, 3, 6, 8):
        exif = PIL.Image.Exif()
        exif[0x0112], exif[0x010F] = orientation, "Maker"
        add(f"turned{orientation}.jpg", base, (40, 60) if orientation > 4 else (60, 40), kind="JPEG", exif=exif)
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("LAB")).tobytes()
    add("profile.jpg", base, kind="JPEG", icc_profile=profile)
    add("broken-profile.jpg", base, kind="JPEG", icc_profile=b"nothing")
    add("wrong-ending.jpg", base)
    for size in ((1, 1), (5, 3), (3, 5), (2, 40), (4000, 8)):
        add(f"{size[0]}x{size[1]}.png", picture(*size))
    whole = files["RGB.jpg"][0]
    files["truncated.jpg"] = (whole[: len(whole) // 2], "cut short")
    files["empty.jpg"] = (b"", "cut short")
    files["text.png"] = (b"this is no picture", "cut short")
    bomb = io.BytesIO()
    PIL.Image.new("1", (16000, 16000)).save(bomb, "PNG")
    files["bomb.png"] = (bomb.getvalue(), "178 million")
    return files


CORPUS = corpus()


@pytest.mark.parametrize("name", CORPUS)
def test_corpus(nb, tmp_path, name):
    data, expected = CORPUS[name]
    path = tmp_path / name
    path.write_bytes(data)
    if isinstance(expected, str):
        with pytest.raises(nb.Problem, match=expected) as problem:
            nb.stylize_image(Tinted(), path)
        assert name in str(problem.value)
        return
    photo, painted = nb.load_image(path), nb.stylize_image(Tinted(), path)
    assert painted.size == photo.size == expected
    wanted = np.asarray(photo).astype(float) * [1, 1, 0.5]
    assert np.abs(np.asarray(painted.convert("RGB")) - wanted).max() <= 0.51
    saved = nb.save_image(painted, tmp_path / "saved.jpg")
    with PIL.Image.open(saved) as again:
        assert again.size == expected and again.mode == "RGB"


def test_corpus_is_large_enough():
    assert len(CORPUS) >= 25


def test_notes_are_kept_but_not_the_orientation(nb, tmp_path):
    (tmp_path / "in.jpg").write_bytes(CORPUS["turned6.jpg"][0])
    saved = nb.save_image(nb.stylize_image(Tinted(), tmp_path / "in.jpg"), tmp_path / "out.jpg")
    with PIL.Image.open(saved) as image:
        assert image.getexif()[0x010F] == "Maker" and 0x0112 not in image.getexif() and image.size == (40, 60)


def test_transparency_of_a_file_is_kept_in_png_and_white_in_jpeg(nb, tmp_path):
    photo = picture(40, 30).convert("RGBA")
    photo.putalpha(PIL.Image.linear_gradient("L").resize((40, 30)))
    photo.save(tmp_path / "in.png")
    painted = nb.stylize_image(Tinted(), tmp_path / "in.png")
    with PIL.Image.open(nb.save_image(painted, tmp_path / "out.png")) as image:
        assert np.array_equal(np.asarray(image.getchannel("A")), np.asarray(photo.getchannel("A")))
    with PIL.Image.open(nb.save_image(painted, tmp_path / "out.jpg")) as image:
        assert np.asarray(image)[0].mean() > 240  # the clear edge is white


def test_colour_profile_becomes_srgb(nb):
    """The same numbers mean other colours in another colour space: a swapped space shows whether they are converted."""
    photo = picture(30, 30)
    data = io.BytesIO()
    photo.save(data, "PNG", icc_profile=PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes())
    assert np.abs(np.asarray(nb.load_image(data.getvalue())).astype(int) - np.asarray(photo)).max() <= 1


def test_a_failed_save_keeps_the_old_file(nb, tmp_path, monkeypatch):
    path = nb.save_image(picture(20, 20), tmp_path / "a.jpg")
    old = path.read_bytes()

    def full(self, file, *rest, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PIL.Image.Image, "save", full)
    with pytest.raises(nb.Problem, match="No space left"):
        nb.save_image(picture(20, 20, 1), path)
    assert path.read_bytes() == old and [p.name for p in tmp_path.iterdir()] == ["a.jpg"]


def test_stroke_size(nb):
    network, photo = nb.fresh_network(0).eval(), picture(80, 60)
    results = [np.asarray(nb.stylize_image(network, photo, scale=scale)) for scale in (0.5, 1, 2)]
    assert all(result.shape == (60, 80, 3) for result in results)
    detail = [np.abs(np.diff(result.astype(float), axis=1)).mean() for result in results]
    assert detail[2] < detail[1]  # painted at half the size: smoother
    kept = np.asarray(nb.stylize_image(network, photo, scale=2, strength=0))
    assert np.array_equal(kept, np.asarray(photo))
    with pytest.raises(nb.Problem, match="scale"):
        nb.stylize_image(network, photo, scale=0)


def test_mixture_of_two_styles(nb, tmp_path):
    one, other, photo = nb.fresh_network(0).eval(), nb.fresh_network(1).eval(), picture(40, 30)
    mixed = np.asarray(nb.stylize_image(nb.Mixture({one: 3, other: 1}), photo)).astype(float)
    a, b = (np.asarray(nb.stylize_image(n, photo)).astype(float) for n in (one, other))
    assert np.abs(mixed - (0.75 * a + 0.25 * b)).max() <= 1.01
    nb.save_checkpoint(tmp_path / "final.pth", network=other.state_dict(), decoder_relu=other.decoder_relu)
    by_name = np.asarray(nb.stylize_image(nb.Mixture({one: 3, tmp_path / "final.pth": 1}), photo)).astype(float)
    assert np.abs(by_name - mixed).max() <= 1
    for shares in ({}, {one: 0}):
        with pytest.raises(nb.Problem, match="mixture"):
            nb.Mixture(shares)


@pytest.mark.parametrize("share, most", [(1, 0.1), (1 / 4, 1.0)])
def test_tiles_have_no_seams(nb, share, most):
    """On a real frame, with the statistics of the whole picture and with those of a half-size one."""
    photo = nb.to_tensor(nb.load_image(ROOT / "data" / "frames" / "island1_005.jpg"))[None]
    network = nb.load_network(ROOT / "checkpoints" / "start.pth")
    whole = nb.paint_whole(network, photo).float()
    tiled = nb.paint_tiles(network, photo, 160, overlap=32, preview_pixels=share * photo[0, 0].numel()).float()
    assert (tiled - whole).abs().mean() < most
    seam = (tiled[..., 159:161].diff(dim=-1) - whole[..., 159:161].diff(dim=-1)).abs().mean()
    assert seam < 1


def test_out_of_memory_goes_on_with_tiles(nb):
    class Small(Tinted):
        def forward(self, x):
            if x.shape[-1] * x.shape[-2] > 250 * 250:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate too much")
            return super().forward(x)

    photo = picture(600, 420)
    wanted = np.asarray(photo) * np.array([1, 1, 0.5])
    assert np.abs(np.asarray(nb.stylize_image(Small(), photo)) - wanted).max() <= 0.51


LARGE = """
import resource, sys
sys.path.insert(0, {tests!r})
from notebook import load_definitions
import torch
nb = load_definitions()
torch.set_num_threads(2)
nb.paint_tiles = lambda network, picture, *rest, **more: seen.append(rest) or picture  # the memory around the network
seen, network = [], nb.TransformerNet().eval()
idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
image = nb.stylize_image(network, nb.PIL.Image.new("RGB", (6000, 4000), "orange"))
print(image.size, len(seen), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle) // 1024)
"""


def test_large_pictures_go_in_tiles(nb):
    program = LARGE.format(tests=str(ROOT / "tests"))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.startswith("(6000, 4000) 1 "), done.stdout + done.stderr
    assert int(done.stdout.split()[-1]) < 600  # MB: a few copies of 72 MB; the tiles' share is measured in benchmarks


def test_public_styles_are_fetched_safely(nb, tmp_path):
    weights, packed = io.BytesIO(), io.BytesIO()
    torch.save(nb.fresh_network(0).state_dict(), weights)
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("saved_models/candy.pth", weights.getvalue())
        archive.writestr("../../evil.pth", weights.getvalue())
        archive.writestr("saved_models/readme.txt", "no network")
    folder = tmp_path / "a" / "public"
    with serve({"/saved_models.zip": packed.getvalue(), "/bad.zip": b"<html>"}) as server:
        paths = nb.fetch_public_styles(folder, f"{server.url}/saved_models.zip")
        assert nb.load_network(paths[0])(torch.zeros(1, 3, 16, 16)).shape == (1, 3, 16, 16)
        assert {p.name for p in folder.iterdir()} == {"saved_models.zip", "candy.pth", "evil.pth"}
        assert not list(tmp_path.glob("*.pth")) and not list((tmp_path / "a").glob("*.pth"))
        with pytest.raises(nb.Problem, match="no archive"):
            nb.fetch_public_styles(tmp_path / "b", f"{server.url}/bad.zip")


def test_onnx_paints_the_same_at_every_size(nb, tmp_path):
    network = nb.load_network(ROOT / "checkpoints" / "start.pth")
    session = onnxruntime.InferenceSession(str(nb.export_onnx(network, tmp_path / "net.onnx")))
    for height, width in ((64, 64), (120, 88), (83, 57)):
        x = nb.to_tensor(picture(width, height))[None].float()
        with torch.no_grad():
            wanted = network(x).numpy()
        assert np.abs(session.run(None, {"photo": x.numpy()})[0] - wanted).max() < 1

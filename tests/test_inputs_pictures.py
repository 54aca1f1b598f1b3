"""Pictures, paths and networks of the kinds that people bring."""

import io
import struct
import types
import unicodedata
import zipfile
import zlib

import numpy as np
import PIL.features
import PIL.Image
import PIL.PngImagePlugin
import pytest
import torch
from helpers import Tinted, encoded, picture, same
from notebook import ROOT
from server import serve

ENDINGS = ["jpg", "png", "tif", "webp"] + ["avif"] * PIL.features.check("avif")


def notes() -> PIL.Image.Exif:
    """A camera's: maker, time, orientation 6 (turned by 90 degrees)."""
    exif = PIL.Image.Exif()
    exif[0x010F], exif[0x0132], exif[0x0112] = "Maker", "2024:01:02 03:04:05", 6
    return exif


def png(base: PIL.Image.Image, *chunks: tuple[bytes, bytes], broken: bool = False) -> bytes:
    """The picture as PNG with these (name, data) after its header; broken: false checksums."""
    data = encoded(base)
    extra = b"".join(
        struct.pack(">I", len(body)) + name + body
        + struct.pack(">I", zlib.crc32(name + body) ^ broken)
        for name, body in chunks
    )  # fmt: skip
    return data[:33] + extra + data[33:]


@pytest.mark.parametrize("source", ENDINGS)
@pytest.mark.parametrize("target", ENDINGS)
def test_notes_survive_from_every_format_to_every_other(nb, tmp_path, source, target):
    profile = bytes(range(256)) * 3  # passed on bytewise, whatever it says
    picture(40, 24).save(tmp_path / f"in.{source}", exif=notes(), icc_profile=profile)
    result = nb.stylize_image(Tinted(), tmp_path / f"in.{source}")
    path = nb.save_image(result, tmp_path / f"out.{target}")
    with PIL.Image.open(path) as image:
        exif = dict(image.getexif())
        assert image.size == (24, 40)  # upright, and not to be turned again
        assert (exif[0x010F], exif[0x0132]) == ("Maker", "2024:01:02 03:04:05")
        assert exif.get(0x0112, 1) == 1 and image.info["icc_profile"] == profile
        if target != "tif":
            assert not set(exif) & {256, 257, 273, 278, 279}  # a TIFF's layout


@pytest.mark.parametrize("target", ["png", "tif", "webp"])
def test_transparency_survives_where_the_format_has_it(nb, tmp_path, target):
    base = picture(40, 24).convert("RGBA")
    base.putalpha(PIL.Image.linear_gradient("L").resize((40, 24)))
    base.save(tmp_path / "in.png")
    path = nb.save_image(nb.stylize_image(Tinted(), tmp_path / "in.png"), tmp_path / f"a.{target}")
    alpha = np.asarray(PIL.Image.open(path).convert("RGBA").getchannel("A"), int)
    assert np.abs(alpha - np.asarray(base.getchannel("A"), int)).max() <= 3


def test_what_a_format_cannot_hold_is_left_out(nb, tmp_path):
    large = notes()
    large[0x9286] = b"ASCII\0\0\0" + b"x" * 70_000
    picture(40, 24).save(tmp_path / "in.png", exif=large)
    result = nb.stylize_image(Tinted(), tmp_path / "in.png")
    assert "exif" not in PIL.Image.open(nb.save_image(result, tmp_path / "out.jpg")).info
    with PIL.Image.open(nb.save_image(result, tmp_path / "out.png")) as image:
        assert image.getexif()[0x010F] == "Maker"
    for dpi in ((0, 0), (float("nan"), 72), (1e9, 72)):
        photo = picture(40, 24)
        photo.info["dpi"] = dpi
        result = nb.stylize_image(Tinted(), photo)
        assert nb.save_image(result, tmp_path / "dpi.jpg").stat().st_size


DAMAGED = {
    "garbage.png": lambda base: encoded(base, exif=b"Exif\0\0garbage!!"),
    "garbage.webp": lambda base: encoded(base, "WEBP", lossless=True, exif=b"Exif\0\0garbage!!"),
    "garbage.jpg": lambda base: encoded(base, "JPEG", exif=b"Exif\0\0garbage!!"),
    "cut.jpg": lambda base: encoded(base, "JPEG", exif=notes().tobytes()[:30]),
    "text.png": lambda base: png(base, (b"zTXt", b"a\0\0" + zlib.compress(b"x" * (3 << 20)))),
    "broken-text.png": lambda base: png(base, (b"zTXt", b"a\0\0no zlib"), (b"iTXt", b"\xff\0")),
    "profile.png": lambda base: encoded(base, icc_profile=bytes(2 << 20)),
    "broken-profile.png": lambda base: png(base, (b"iCCP", b"a\0\0no zlib")),
    "latin.png": lambda base: png(base, (b"tEXt", b"Comment\0\xe9\xff\xfe")),
}


def test_damaged_notes_hide_no_picture(nb, tmp_path):
    base = picture(48, 32)
    for name, make in DAMAGED.items():
        (tmp_path / name).write_bytes(make(base))
        close = 90 if name.endswith("jpg") else 0
        seen = np.asarray(nb.load_image(tmp_path / name), int)
        assert np.abs(seen - np.asarray(base, int)).max() <= close, name
    assert len(nb.stylize_folder(Tinted(), tmp_path, tmp_path / "out")) == len(DAMAGED)
    assert len(nb.load_photos(tmp_path, 16)) == 2 * len(DAMAGED)  # the paintings, too


def test_it_is_upright_where_the_orientation_can_be_read(nb, tmp_path):
    exif = bytearray(notes().tobytes())
    at = exif.index(b"2024") - 6  # the date is said to lie far outside of the file
    place = exif.index(struct.pack("<I" if exif[6:8] == b"II" else ">I", at))
    exif[place : place + 4] = b"\xff" * 4
    (tmp_path / "a.jpg").write_bytes(encoded(picture(48, 32), "JPEG", exif=bytes(exif)))
    assert nb.load_image(tmp_path / "a.jpg").size == (32, 48)
    assert nb.save_image(nb.stylize_image(Tinted(), tmp_path / "a.jpg"), tmp_path / "b.jpg")


def test_two_thousand_files_with_random_notes(nb, tmp_path):
    dice, base, good = np.random.default_rng(0), picture(24, 16), notes().tobytes()
    for n in range(2000):
        exif = bytearray(good)
        if n % 2:
            exif = bytearray(b"Exif\0\0II*\0" + dice.bytes(int(dice.integers(4, 90))))
        for at in dice.integers(6, len(exif), int(dice.integers(1, 9))):
            exif[at] = dice.integers(256)
        data = encoded(base, "JPEG", exif=bytes(exif))
        assert sorted(nb.load_image(data).size) == [16, 24]
        if n % 20 == 0:
            for ending in ("jpg", "png", "webp"):
                nb.save_image(nb.stylize_image(Tinted(), data), tmp_path / f"a.{ending}")


def test_what_cannot_be_read_says_why(nb, tmp_path):
    heic = b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" + bytes(200)
    page = b"<!DOCTYPE html><html>a page</html>"
    for data, why in ((heic, "HEIC"), (page, "web page"), (b"", "empty"), (b"text", "not known")):
        path = tmp_path / "bad"
        path.write_bytes(data)
        for source in (path, data):
            with pytest.raises(nb.Problem, match=why):
                nb.load_image(source)
    with serve({"/a.jpg": page}) as server, pytest.raises(nb.Problem, match="web page"):
        nb.load_image(f"{server.url}/a.jpg")


def test_a_zip_with_a_password_says_so(nb, tmp_path):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("a.jpg", encoded(picture(40, 24), "JPEG"))
    locked = bytearray(data.getvalue())
    locked[6] |= 1
    locked[locked.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(locked)
    with pytest.raises(nb.Problem, match="password"):
        nb.load_photos(tmp_path / "a.zip", 16)


def test_paths_as_they_are_pasted(nb, places):
    names = ["my clip.mp4", "a%20b.jpg", "12:30.png", "v1.0.final.MP4", "화풍 영상.mp4"]
    for name in names:
        path = places.data / unicodedata.normalize("NFD", name)
        path.write_bytes(b"x")
        for text in (f"data/{name}", f" data/{name}\n", f'"{places.data}/{name}"', f"'{path}' "):
            for form in ("NFC", "NFD"):
                assert nb.find(places, unicodedata.normalize(form, text)) == path
    assert nb.is_url(" https://example.com/a.mp4")


@pytest.mark.parametrize("letter", ["a", "글"])
def test_long_names(nb, tmp_path, letter):
    name = (letter * 250).encode()[:250].decode(errors="ignore")
    (tmp_path / "in").mkdir()
    picture(20, 16).save(tmp_path / "in" / f"{name}.png")
    (result,) = nb.stylize_folder(Tinted(), tmp_path / "in", tmp_path / "out")
    assert result.exists() and nb.save_image(picture(20, 16), tmp_path / f"{name}.png").exists()


def test_a_folder_is_not_painted_onto_itself(nb, tmp_path):
    picture(20, 16).save(tmp_path / "a.jpg")
    (tmp_path / "link").symlink_to(tmp_path)
    before = (tmp_path / "a.jpg").read_bytes()
    for target in (tmp_path, tmp_path / "link", tmp_path / "x" / ".."):
        with pytest.raises(nb.Problem, match="two different folders"):
            nb.stylize_folder(Tinted(), tmp_path, target)
    assert (tmp_path / "a.jpg").read_bytes() == before


def test_networks_in_their_usual_wrappings(nb, tmp_path):
    network = nb.load_network(ROOT / "checkpoints" / "snow.pth")
    plain = network.state_dict()
    several = {f"module._orig_mod.{name}": value for name, value in plain.items()}
    beside = dict(loss=np.float64(3.5), step=np.int64(7), rate=np.float32(1e-3), epoch=2)
    for content in (
        plain,
        several,
        {"state_dict": several},
        {"model_state_dict": plain, "optimizer_state_dict": {}} | beside,
        {"network": {"state_dict": several}} | beside,
    ):
        torch.save(content, tmp_path / "a.pth")
        loaded = nb.load_network(tmp_path / "a.pth")
        assert same(loaded, network) and loaded.decoder_relu
    missing = dict(plain)
    missing.pop("in1.weight")
    larger = plain | {"conv1.conv2d.weight": torch.zeros(32, 3, 7, 7)}
    for content in (missing, larger, plain | {"extra": torch.zeros(1)}, {"optimizer": {}}, beside):
        torch.save(content, tmp_path / "b.pth")
        with pytest.raises(nb.Problem, match="another kind of network"):
            nb.load_network(tmp_path / "b.pth")


def test_a_mixture_as_onnx(nb, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    mixture = nb.Mixture({nb.fresh_network(0).eval(): 1.0, nb.fresh_network(1).eval(): 3.0})
    path = nb.export_onnx(mixture, tmp_path / "mix.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["mix.onnx"]
    x = nb.pil_to_tensor(picture(48, 40))[None].float()
    (found,) = onnxruntime.InferenceSession(str(path)).run(None, {"photo": x.numpy()})
    with torch.no_grad():
        assert (mixture(x) - torch.from_numpy(found)).abs().max() < 0.5


def test_drive_that_died_is_mounted_again(nb, tmp_path, monkeypatch):
    calls = []

    def open_drive(drive, again=False):
        calls.append(again)
        if not again:
            raise OSError(107, "Transport endpoint is not connected")
        return tmp_path / "drive"

    colab = types.ModuleType("google.colab")
    colab.drive = object()
    monkeypatch.setitem(nb.sys.modules if hasattr(nb, "sys") else __import__("sys").modules,
                        "google.colab", colab)  # fmt: skip
    monkeypatch.setattr(nb, "open_drive", open_drive)
    monkeypatch.setattr(
        nb, "Path", lambda *parts: tmp_path.joinpath(*(str(p).strip("/") for p in parts))
    )
    nb.Path.cwd = lambda: tmp_path
    assert nb.connect_drive(True).home == tmp_path / "drive" and calls == [False, True]


def test_a_training_whose_drive_vanishes_goes_on_elsewhere(
    nb, tmp_path, monkeypatch, capsys, photos, style
):
    import shutil

    monkeypatch.chdir(tmp_path)
    mount = tmp_path / "gdrive"
    folder = mount / "My Drive" / "checkpoints" / "snow-123456"
    given = dict(batch_size=2, image_size=64, vgg_weights="random", warmup_steps=0)

    def vanish(step, losses):
        if step == 3:
            shutil.rmtree(mount)
            mount.mkdir()

    nb.train(photos, style, folder, steps=6, checkpoint_every=2, on_step=vanish, **given)
    assert not list(mount.rglob("*")) and "goes on in" in capsys.readouterr().out
    spare = tmp_path / "checkpoints" / "snow-123456"
    assert {path.name for path in spare.iterdir()} >= {"final.pth", "step_0000006.pth"}
    folder.parent.mkdir(parents=True)  # the Drive is back, with what it had
    nb.train(photos, style, folder, steps=8, checkpoint_every=2, **given)
    assert "Going on from step 6 of 8" in capsys.readouterr().out
    assert nb.load_checkpoint(folder / "final.pth")["done"] == 8


@pytest.mark.parametrize("size", [(30, 2000), (2000, 30), (1, 1)])
def test_figures_of_any_shape(nb, monkeypatch, size):
    shown = []
    monkeypatch.setattr(nb, "get_ipython", lambda: True)
    monkeypatch.setattr(nb, "display", lambda image, **_: shown.append(image.data))
    nb.show_pictures({"a strip": PIL.Image.new("RGB", size, "teal")})
    width, height = PIL.Image.open(io.BytesIO(shown[0])).size
    assert width > 50 and 50 < height < 2500

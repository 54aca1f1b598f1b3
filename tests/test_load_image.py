"""Pictures are read: every mode, every kind of source, or one sentence."""

import numpy as np
import PIL.Image
import pytest
from helpers import encoded, picture
from server import serve


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode(nb, mode):
    source = picture(20, 12)
    if mode == "I;16":
        grey = np.asarray(source.convert("L"))
        image = PIL.Image.fromarray(grey.astype(np.uint16) * 257)
        wanted = np.asarray(source.convert("L").convert("RGB"))
    else:
        image = source.convert(mode)
        wanted = np.asarray(image.convert("RGB"))
    loaded = nb.load_image(encoded(image))
    assert loaded.mode == "RGB" and loaded.size == (20, 12)
    assert np.abs(np.asarray(loaded).astype(int) - wanted).max() <= 1


def test_transparency_is_laid_on_white(nb):
    image = picture(20, 12).convert("RGBA")
    alpha = np.asarray(PIL.Image.linear_gradient("L").resize((20, 12)))
    image.putalpha(PIL.Image.fromarray(alpha))
    share = alpha[..., None] / 255
    wanted = np.asarray(picture(20, 12)) * share + 255 * (1 - share)
    assert np.abs(np.asarray(nb.load_image(encoded(image))) - wanted).max() <= 1


def test_cmyk_and_orientation(nb):
    assert nb.load_image(encoded(picture(20, 12).convert("CMYK"), "JPEG")).mode == "RGB"
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    turned = nb.load_image(encoded(picture(20, 12), exif=exif))
    assert turned.size == (12, 20)
    assert np.array_equal(np.asarray(turned), np.rot90(np.asarray(picture(20, 12)), -1))


def test_path_url_bytes_and_pil(nb, tmp_path):
    image = picture(20, 12)
    data, path = encoded(image), tmp_path / "a.png"
    path.write_bytes(data)
    with serve({"/a.png": data}) as server:
        for source in (path, str(path), f"{server.url}/a.png", data, image):
            assert np.array_equal(np.asarray(nb.load_image(source)), np.asarray(image))
    assert np.array_equal(np.asarray(image), np.asarray(picture(20, 12)))  # left as it was


@pytest.mark.parametrize("content", [b"", b"text", encoded(picture(64, 64))[:300]])
def test_names_what_cannot_be_read(nb, tmp_path, content):
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(nb.Problem, match="broken.png"):
        nb.load_image(tmp_path / "broken.png")
    with pytest.raises(nb.Problem, match="The picture") as problem:
        nb.load_image(content)
    assert "\n" not in str(problem.value)
    for missing in (tmp_path / "missing.png", "http://127.0.0.1:9/missing.png"):
        with pytest.raises(nb.Problem, match="missing.png"):
            nb.load_image(missing)


def test_an_address_that_is_not_there_is_one_sentence(nb):
    with serve({}) as server, pytest.raises(nb.Problem, match="a.png cannot be read") as problem:
        nb.load_image(f"{server.url}/a.png")
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("top", [1.0, 255.0, 65535.0])
def test_greys_of_any_scale(nb, top):
    """Floats from 0 to 1, 8-bit numbers in a wider file, 16-bit ones: the same picture."""
    ramp = np.linspace(0, 1, 64, dtype=np.float32)[None].repeat(8, axis=0)
    shown = nb.load_image(encoded(PIL.Image.fromarray(ramp * top), "TIFF"))
    assert np.abs(np.asarray(shown)[..., 0] - ramp * 255.0).max() <= 1


@pytest.mark.parametrize("top", [1, 255, 256, 65535])
def test_16_bit_greys_are_never_brightened(nb, top):
    """A scene that fades to black: each frame by the same measure."""
    ramp = np.linspace(0, top, 64).astype(np.uint16)[None].repeat(8, axis=0)
    shown = nb.load_image(encoded(PIL.Image.fromarray(ramp)))
    assert np.abs(np.asarray(shown)[..., 0] - ramp / 257).max() <= 1

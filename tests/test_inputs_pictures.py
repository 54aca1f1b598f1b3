"""Pictures, paths, networks and Drives as people really bring them: each is taken with the right
result, or refused in one sentence. All inputs are made here."""

import functools
import io
import os
import pathlib
import pickle
import shutil
import struct
import sys
import types
import unicodedata
import zipfile
import zlib

import numpy as np
import oracle
import PIL.features
import PIL.Image
import PIL.ImageCms
import PIL.PngImagePlugin
import pytest
import torch
from helpers import Tinted, encoded, far, picture, press_at, same
from server import serve

ENDINGS = ["jpg", "png", "tif", "webp", "avif"]
KINDS = dict(jpg="JPEG", png="PNG", tif="TIFF", webp="WEBP", avif="AVIF")
LOSSLESS = dict(jpg={}, png={}, tif={}, webp=dict(lossless=True), avif=dict(quality=100))
LAYOUT = {254, 256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 338, 339}
TALL, WIDE = (16, 24), (24, 16)
OLD = int(PIL.__version__.split(".")[0]) < 13  # cannot open a TIFF with a count of 2^32


@pytest.fixture(autouse=True)
def one_core(no_stray_threads):
    """All is small here: a second thread only waits where the machine has other work."""
    torch.set_num_threads(1)


def having(ending: str) -> str:
    if ending == "avif" and not PIL.features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    return ending


def notes(orientation: int = 6) -> PIL.Image.Exif:
    """A camera's: maker, times, place, and how it was held (6: turned by 90 degrees)."""
    exif = PIL.Image.Exif()
    exif[0x010F], exif[0x0132], exif[0x0112] = "Maker", "2024:01:02 03:04:05", orientation
    exif.get_ifd(0x8769)[0x9003] = "2024:01:02 03:04:06"
    exif.get_ifd(0x8825)[1], exif.get_ifd(0x8825)[2] = "N", (37.0, 33.0, 59.5)
    return exif


@functools.cache
def profile(space: bytes = b"RGB ") -> bytes:
    """sRGB's, its red moved to where Display P3's is; space: what it says that it is for."""
    data = bytearray(PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes())
    place = data.index(b"rXYZ")
    offset = int.from_bytes(data[place + 4 : place + 8], "big") + 8
    for n, value in enumerate((0.51512, 0.24120, -0.00105)):
        number = round(value * 65536).to_bytes(4, "big", signed=True)
        data[offset + 4 * n : offset + 4 * n + 4] = number
    data[16:20] = space
    return bytes(data)


def painted(nb, source, path: pathlib.Path, network=None) -> PIL.Image.Image:
    """A picture's painting, as it comes back from the file."""
    with PIL.Image.open(nb.save_image(nb.stylize_image(network or Tinted(), source), path)) as file:
        file.load()
        return file


def shown(nb, source, wanted=None, close: float = 0):
    """Checks that a source is seen as these pixels, (24, 16) of picture() if not given."""
    wanted = np.asarray(picture(*WIDE) if wanted is None else wanted, int)
    seen = np.asarray(nb.load_image(source), int)
    assert seen.shape == wanted.shape and np.abs(seen - wanted).mean() <= close


# What is written beside the pixels


@pytest.mark.parametrize("target", ENDINGS)
@pytest.mark.parametrize("source", ENDINGS)
def test_everything_beside_the_pixels_survives(nb, tmp_path, source, target):
    """EXIF with its times and place, colour profile, resolution; orientation is done, not told."""
    path = tmp_path / f"in.{having(source)}"
    more = {} if source in ("webp", "avif") else dict(dpi=(300, 300))
    exif = notes().tobytes()
    picture(*WIDE).save(path, exif=exif, icc_profile=profile(), **more, **LOSSLESS[source])
    image = painted(nb, path, tmp_path / f"out.{having(target)}")
    exif = image.getexif()
    assert image.size == TALL and exif.get(0x0112, 1) == 1
    assert (exif[0x010F], exif[0x0132]) == ("Maker", "2024:01:02 03:04:05")
    assert exif.get_ifd(0x8769)[0x9003] == "2024:01:02 03:04:06"
    assert [float(n) for n in exif.get_ifd(0x8825)[2]] == [37.0, 33.0, 59.5]
    assert image.info["icc_profile"] == profile()
    if more and target in ("jpg", "png", "tif"):
        assert [round(float(n)) for n in image.info["dpi"]] == [300, 300]
    if target != "tif":
        assert not set(exif) & LAYOUT
    turned = np.rot90(np.asarray(picture(*WIDE), float) * [1, 1, 0.5], -1)
    assert np.abs(np.asarray(image.convert("RGB")) - turned).mean() < 26


@pytest.mark.parametrize("target", ["png", "tif", "webp", "avif"])
@pytest.mark.parametrize("source", ["png", "tif", "webp", "avif"])
def test_transparency_survives(nb, tmp_path, source, target):
    base = picture(40, 24).convert("RGBA")
    base.putalpha(PIL.Image.linear_gradient("L").resize((40, 24)))
    base.save(tmp_path / f"in.{having(source)}", **LOSSLESS[source])
    image = painted(nb, tmp_path / f"in.{source}", tmp_path / f"a.{having(target)}")
    alpha = np.asarray(image.getchannel("A"), int)
    close = 12 if "avif" in (source, target) else 0
    assert np.abs(alpha - np.asarray(base.getchannel("A"), int)).max() <= close
    image = painted(nb, tmp_path / f"in.{source}", tmp_path / "b.jpg")
    assert image.mode == "RGB" and np.asarray(image)[0].mean() > 235  # clear is white there


def test_more_exif_than_a_jpeg_holds_is_left_out(nb, tmp_path):
    large = notes()
    large[0x010E] = "x" * 70_000
    for ending in ("png", "webp", "tif"):
        picture(*WIDE).save(tmp_path / f"in.{ending}", exif=large)
        image = painted(nb, tmp_path / f"in.{ending}", tmp_path / "out.jpg")
        assert image.size == TALL and not image.getexif()
        image = painted(nb, tmp_path / f"in.{ending}", tmp_path / "out.webp")
        assert image.getexif()[0x010F] == "Maker"


@pytest.mark.parametrize("length", [65_000, 65_520, 65_533, 65_534, 65_600])
def test_exif_about_as_large_as_a_jpeg_holds(nb, tmp_path, length):
    exif = PIL.Image.Exif()
    exif[0x010E] = "x" * (length - 40)
    picture(*WIDE).save(tmp_path / "in.png", exif=exif)
    assert painted(nb, tmp_path / "in.png", tmp_path / "out.jpg").size == WIDE


NUMBERS = [(0, 0), (float("nan"), 72), (1e9, 72), (-72, 72), (float("inf"), 1), (72, 0), (0.01, 1)]


@pytest.mark.parametrize("dpi", NUMBERS, ids=str)
def test_a_resolution_that_cannot_be_is_left_out(nb, tmp_path, dpi):
    photo = picture(*WIDE)
    photo.info["dpi"] = dpi
    for ending in ENDINGS[:4]:
        image = painted(nb, photo, tmp_path / f"out.{ending}")
        assert image.size == WIDE
        assert all(0 <= value < 65536 for value in image.info.get("dpi", ()))


def test_a_resolution_of_nothing_in_a_files_own_notes(nb, tmp_path):
    for kind, data in damaged_files(entry(0x011A, 5, 1, struct.pack("<II", 0, 0))):
        for ending in ("jpg", "png", "tif"):  # a TIFF's own is one of its notes
            image = painted(nb, data, tmp_path / f"out.{ending}")
            assert image.size == TALL, kind
            assert ending == "tif" or all(0 <= value < 65536 for value in image.info.get("dpi", ()))


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_a_tiffs_layout_stays_with_it(nb, tmp_path, compression):
    picture(*WIDE).save(tmp_path / "in.tif", compression=compression, exif=notes(1))
    for ending in ENDINGS[:4]:
        exif = painted(nb, tmp_path / "in.tif", tmp_path / f"out.{ending}").getexif()
        assert exif[0x010F] == "Maker"
        assert ending == "tif" or not set(exif) & LAYOUT


@pytest.mark.parametrize(
    "mode, kind, space",
    [("CMYK", "JPEG", b"CMYK"), ("CMYK", "TIFF", b"CMYK"), ("L", "JPEG", b"GRAY"),
     ("L", "PNG", b"GRAY"), ("LA", "PNG", b"GRAY"), ("L", "TIFF", b"GRAY")],
)  # fmt: skip
def test_profiles_of_ink_and_grey_are_not_for_rgb(nb, tmp_path, mode, kind, space):
    data = encoded(picture(*WIDE).convert(mode), kind, icc_profile=profile(space))
    for ending in ("jpg", "png", "tif", "webp"):
        image = painted(nb, data, tmp_path / f"out.{ending}")
        assert image.mode[:3] == "RGB" and "icc_profile" not in image.info


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_wide_gamut_profile_is_passed_on_bytewise(nb, tmp_path, mode):
    data = encoded(picture(*WIDE).convert(mode), icc_profile=profile())
    for ending in ENDINGS[:4]:
        assert painted(nb, data, tmp_path / f"o.{ending}").info["icc_profile"] == profile()


# Damaged notes, good pixels


def entry(tag: int, kind: int, count: int, value: bytes) -> tuple:
    return tag, kind, count, value


def directory(entries, after: bytes = b"", begin: int = 8, following: int = 0) -> bytes:
    """A TIFF's first directory, little-endian: values of over 4 bytes are put behind it."""
    table, extra = struct.pack("<H", len(entries)), b""
    behind = begin + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in entries:
        if len(value) > 4:
            value, extra = struct.pack("<I", behind + len(extra)), extra + value
        table += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
    return (
        b"II*\0" + struct.pack("<I", begin) + table + struct.pack("<I", following) + extra + after
    )


TURNED = entry(0x0112, 3, 1, struct.pack("<H", 6))


def damaged_files(*entries: tuple) -> list[tuple[str, bytes]]:
    """The picture with orientation 6 and these entries, as JPEG, PNG, WebP and TIFF."""
    exif = b"Exif\0\0" + directory([TURNED, *entries])
    return [*with_exif(exif), ("tif", raw_tiff(TURNED, *entries))]


def with_exif(exif: bytes) -> list[tuple[str, bytes]]:
    base = picture(*WIDE)
    return [(e, encoded(base, KINDS[e], exif=exif, **LOSSLESS[e])) for e in ("jpg", "png", "webp")]


def raw_tiff(*entries: tuple) -> bytes:
    """The picture as an uncompressed TIFF with these entries, sorted by their tags."""
    pixels, (width, height) = np.asarray(picture(*WIDE)).tobytes(), WIDE
    bits = struct.pack("<HHH", 8, 8, 8)
    number = {256: width, 257: height, 259: 1, 262: 2, 273: 0, 277: 3, 278: height}
    number[279] = len(pixels)
    table = [entry(258, 3, 3, bits), *(entry(t, 4, 1, struct.pack("<I", v)) for t, v in
                                       number.items()), *entries]  # fmt: skip
    table = sorted(table, key=lambda e: e[0])
    place = len(directory(table))
    table = [entry(273, 4, 1, struct.pack("<I", place)) if e[0] == 273 else e for e in table]
    return directory(table, pixels)


LOOSE = {  # entries behind a good orientation
    "a date far away": entry(0x0132, 2, 20, struct.pack("<I", 0xFFFFFF)[:4]),
    "a count of four thousand million": entry(0x010F, 2, 0xFFFFFFFF, b"abcd"),
    "a kind that is none": entry(0x010F, 99, 1, b"abcd"),
    "kind 0": entry(0x010F, 0, 1, b"abcd"),
    "a count of 0": entry(0x010F, 2, 0, b""),
    "a date in numbers": entry(0x0132, 3, 2, struct.pack("<HH", 2024, 1)),
    "a maker in fractions": entry(0x010F, 5, 1, struct.pack("<II", 1, 0)),
    "a maker in floats": entry(0x010F, 11, 1, struct.pack("<f", float("nan"))),
    "a maker in doubles": entry(0x010F, 12, 1, struct.pack("<d", float("inf"))),
    "a maker in Latin-1": entry(0x010F, 2, 4, b"\xe9\xff\xfe\0"),
    "a resolution in words": entry(0x011A, 2, 12, b"three hundred"[:12]),
    "a resolution without its divisor": entry(0x011A, 5, 1, struct.pack("<II", 300, 0)),
    "a unit that is none": entry(0x0128, 3, 1, struct.pack("<H", 99)),
    "EXIF that points at itself": entry(0x8769, 4, 1, struct.pack("<I", 8)),
    "EXIF outside of the file": entry(0x8769, 4, 1, struct.pack("<I", 0xFFFFFFF0)),
    "EXIF in words": entry(0x8769, 2, 4, b"abc\0"),
    "EXIF in a double": entry(0x8769, 12, 1, struct.pack("<d", 1e300)),
    "two EXIFs": entry(0x8769, 4, 2, struct.pack("<II", 8, 8)),
    "a place that points at itself": entry(0x8825, 4, 1, struct.pack("<I", 8)),
    "a place in words": entry(0x8825, 2, 4, b"abc\0"),
    "a place before the file": entry(0x8825, 9, 1, struct.pack("<i", -5)),
    "more directories, in a circle": entry(0x014A, 4, 1, struct.pack("<I", 8)),
    "a second orientation, in words": entry(0x0112, 2, 4, b"six\0"),
}


@pytest.mark.parametrize("name", LOOSE)
def test_damaged_notes_behind_a_good_orientation(nb, tmp_path, name):
    """Upright in every format, and painted into every format."""
    for kind, data in damaged_files(LOOSE[name]):
        if OLD and kind == "tif" and "count of four" in name:
            continue
        if name.startswith(("a second", "a place before")):
            assert sorted(nb.load_image(data).size) == [16, 24]  # either is right
        else:
            shown(nb, data, np.rot90(np.asarray(picture(*WIDE)), -1), 30 if kind == "jpg" else 0)
        for ending in ENDINGS[:4]:
            assert sorted(painted(nb, data, tmp_path / f"o.{ending}").size) == [16, 24]


GOOD = b"Exif\0\0" + directory([TURNED])
BROKEN = {
    "garbage": b"Exif\0\0garbage!!",
    "nothing": b"Exif\0\0",
    "half a word": b"Exi",
    "no header": b"\xff" * 40,
    "another order": b"Exif\0\0XX*\0" + GOOD[10:],
    "another magic": b"Exif\0\0II\x2b\0" + GOOD[10:],
    "only the order": b"Exif\0\0II",
    "a directory outside": b"Exif\0\0II*\0" + b"\xff" * 4,
    "a directory on the header": b"Exif\0\0II*\0" + bytes(4) + b"II" * 30,
    "sixty thousand entries": GOOD[:14] + b"\xff\xff" + GOOD[16:],
    "cut in the entry": GOOD[:20],
    "cut before the next": GOOD[:28],
    "the next directory is this": b"Exif\0\0" + directory([TURNED], following=8),
    "the next directory is far": b"Exif\0\0" + directory([TURNED], following=0xFFFFFFF0),
    "Motorola's order, Intel's numbers": b"Exif\0\0MM\0*" + GOOD[10:],
    "orientation in words": b"Exif\0\0" + directory([entry(0x0112, 2, 2, b"6\0")]),
    "orientation 0": b"Exif\0\0" + directory([entry(0x0112, 3, 1, b"\0\0")]),
    "orientation 255": b"Exif\0\0" + directory([entry(0x0112, 1, 1, b"\xff")]),
    "orientation -1": b"Exif\0\0" + directory([entry(0x0112, 8, 1, b"\xff\xff")]),
    "orientation 70000, and more": b"Exif\0\0"
    + directory([entry(0x0112, 4, 1, struct.pack("<I", 70_000)), LOOSE["a maker in fractions"]]),
    "orientation -1, and more": b"Exif\0\0"
    + directory([entry(0x0112, 8, 1, b"\xff\xff"), LOOSE["a maker in fractions"]]),
    "no orientation": b"Exif\0\0" + directory([entry(0x0112, 3, 0, b"")]),
    "many orientations": b"Exif\0\0" + directory([entry(0x0112, 3, 9, bytes([3, 0] * 9))]),
    "orientation nan": b"Exif\0\0" + directory([entry(0x0112, 11, 1, struct.pack("<f", np.nan))]),
    "orientation 6/0": b"Exif\0\0" + directory([entry(0x0112, 5, 1, struct.pack("<II", 6, 0))]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_notes_that_cannot_be_read(nb, tmp_path, name):
    for _, data in with_exif(BROKEN[name]):
        assert sorted(nb.load_image(data).size) == [16, 24]
        for ending in ENDINGS[:4]:
            assert sorted(painted(nb, data, tmp_path / f"o.{ending}").size) == [16, 24]


@pytest.mark.parametrize("kind", [3, 4, 9, 8])
def test_orientation_in_other_numbers(nb, kind):
    exif = b"Exif\0\0" + directory([entry(0x0112, kind, 1, struct.pack("<I", 6))])
    for _, data in with_exif(exif):
        assert nb.load_image(data).size == TALL


def test_damaged_files_end_no_folder_and_no_training(nb, tmp_path):
    for n, exif in enumerate(BROKEN.values()):
        for ending, data in with_exif(exif):
            (tmp_path / f"{n}-{ending}.{ending}").write_bytes(data)
    for n, loose in enumerate(LOOSE.values()):
        (tmp_path / f"loose-{n}.jpg").write_bytes(damaged_files(loose)[0][1])
    count = 3 * len(BROKEN) + len(LOOSE)
    assert len(nb.load_photos(tmp_path, 16)) == count
    done = nb.stylize_folder(Tinted(), tmp_path, tmp_path / "out")
    assert len(set(done)) == count and all(path.exists() for path in done)


def png(*chunks: tuple, at: int = 33, broken: bool = False, base=None) -> bytes:
    """The picture as PNG with these (name, data) at a byte; broken: with false checksums."""
    data = encoded(base or picture(*WIDE))
    extra = [
        struct.pack(">I", len(body)) + name + body
        + struct.pack(">I", zlib.crc32(name + body) ^ broken)
        for name, body in chunks
    ]  # fmt: skip
    return data[:at] + b"".join(extra) + data[at:]


def packed(size: int) -> bytes:
    return zlib.compress(b"x" * size)


CHUNKS = {
    "2 MB of text": png((b"zTXt", b"workflow\0\0" + packed(2 << 20))),
    "2 MB of international text": png((b"iTXt", b"prompt\0\1\0\0\0" + packed(2 << 20))),
    "80 MB of text in 40 pieces": png(*[(b"zTXt", b"a%d\0\0" % n + packed(2 << 20)) for n in
                                        range(40)]),
    "2 MB of plain text": png((b"tEXt", b"a\0" + b"x" * (2 << 20))),
    "text behind the pixels": png((b"zTXt", b"a\0\0" + packed(3 << 20)), at=-12),
    "text that is not packed": png((b"zTXt", b"a\0\0no zlib")),
    "text packed by another way": png((b"zTXt", b"a\0\7" + packed(9))),
    "text cut short": png((b"zTXt", b"a\0\0" + packed(999)[:-4])),
    "international text, no zlib": png((b"iTXt", b"a\0\1\0\0\0no zlib")),
    "international text without its parts": png((b"iTXt", b"\xff\0")),
    "text in another code": png((b"tEXt", b"Comment\0\xe9\xff\xfe")),
    "text without a name": png((b"tEXt", b"")),
    "a profile of 2 MB": png((b"iCCP", b"a\0\0" + packed(2 << 20))),
    "a profile, no zlib": png((b"iCCP", b"a\0\0no zlib")),
    "a profile packed by another way": png((b"iCCP", b"a\0\7" + packed(9))),
    "an unknown note": png((b"abCd", b"what is this")),
    "notes in ImageMagick's text": png((b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(
        b"\nexif\n      20\n4578696600004d4d00zz"))),
    "notes of nothing": png((b"eXIf", b"")),
}  # fmt: skip


@pytest.mark.parametrize("name", CHUNKS)
def test_pngs_that_every_browser_shows(nb, tmp_path, name):
    shown(nb, CHUNKS[name])
    for ending in ("jpg", "png"):
        assert painted(nb, CHUNKS[name], tmp_path / f"o.{ending}").size == WIDE


ANCILLARY = {
    "tEXt": b"a\0b", "zTXt": b"a\0\0" + packed(9), "iTXt": b"a\0\0\0\0\0b", "tIME": bytes(7),
    "pHYs": struct.pack(">IIB", 2835, 2835, 1), "gAMA": struct.pack(">I", 45455), "sRGB": b"\0",
    "iCCP": b"a\0\0" + packed(9), "eXIf": GOOD[6:], "abCd": b"what",
}  # fmt: skip


@pytest.mark.parametrize("name", ANCILLARY)
def test_a_false_checksum_of_a_pngs_note(nb, tmp_path, name):
    """Browsers pass over the note and show the picture; its pixels' own checksums are kept."""
    (tmp_path / "a.png").write_bytes(png((name.encode(), ANCILLARY[name]), broken=True))
    shown(nb, tmp_path / "a.png")
    assert len(nb.load_photos(tmp_path, 16)) == 1
    assert len(nb.stylize_folder(Tinted(), tmp_path, tmp_path / "out")) == 1


@pytest.mark.parametrize("name", ["pHYs", "gAMA", "sRGB", "cHRM", "iCCP", "tRNS"])
def test_an_empty_note_of_a_png(nb, name):
    shown(nb, png((name.encode(), b"")))


@pytest.mark.parametrize("word", ["dpi", "icc_profile", "transparency", "xmp", "exif", "quality"])
def test_a_text_by_a_name_that_pillow_uses(nb, tmp_path, word):
    """A PNG's texts are named by who wrote them: "dpi: 300" is a text, no resolution."""
    data = png((b"tEXt", word.encode() + b"\0three hundred"))
    shown(nb, data)
    for ending in ENDINGS[:4]:
        assert painted(nb, data, tmp_path / f"o.{ending}").size == WIDE
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(data)
    assert len(nb.stylize_folder(Tinted(), tmp_path / "in", tmp_path / "out")) == 1


def test_two_thousand_jpegs_with_random_notes(nb, tmp_path):
    dice, base = np.random.default_rng(0), picture(*WIDE)
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x011A], exif[0x011B], exif[0x0128] = 6, 300.0, 300.0, 2
    exif[0x010F] = "Maker"
    good, whole = exif.tobytes(), encoded(base, "JPEG", exif=bytes(200))
    at = whole.index(b"\xff\xe1")
    length = int.from_bytes(whole[at + 2 : at + 4], "big")
    for n in range(2000):
        body = bytearray(good)
        if n % 2:
            begin = (b"Exif\0\0", b"Exif\0\0II*\0\x08\0\0\0", b"Exif\0\0MM\0*\0\0\0\x08")[n % 3]
            body = bytearray(begin + dice.bytes(int(dice.integers(90))))
        for place in dice.integers(6, len(body), int(dice.integers(9))) if len(body) > 6 else []:
            body[place] = dice.integers(256)
        marker = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
        data = whole[:at] + marker + whole[at + 2 + length :]
        assert sorted(nb.load_image(data).size) == [16, 24]
        if n % 4 < 2:
            ending = ("jpg", "png", "webp")[n % 3]
            nb.save_image(nb.stylize_image(Tinted(), data), tmp_path / f"a.{ending}")


def test_six_hundred_others_with_random_notes(nb, tmp_path):
    dice, good = np.random.default_rng(1), notes().tobytes()
    for n in range(600):
        body = bytearray(good)
        for place in dice.integers(6, len(body), int(dice.integers(1, 9))):
            body[place] = dice.integers(256)
        if n % 3 == 0:
            data = png((b"eXIf", bytes(body[6:])))
        elif n % 3 == 1:
            data = encoded(picture(*WIDE), "WEBP", exif=bytes(body), method=0)
        else:  # a TIFF's notes lie in the directory of its pixels: only those are changed
            value = dice.bytes(8)
            counts = [0, 1, 2] if OLD else [0, 1, 2, 2**31, 2**32 - 1]
            kind, count = int(dice.integers(14)), int(dice.choice(counts))
            tag = int(dice.choice([0x010E, 0x010F, 0x0132, 0x8769, 0x8825, 0x011A, 0x0128]))
            data = raw_tiff(TURNED, entry(tag, kind, count, value))
        assert sorted(nb.load_image(data).size) == [16, 24]
        nb.save_image(
            nb.stylize_image(Tinted(), data), tmp_path / ("a.jpg", "a.png", "a.tif")[n % 3]
        )


# What cannot be read says why


PAGE = b"<!DOCTYPE html><html><body>sign in</body></html>"
HEIC = b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" + bytes(200)
UNREADABLE = [
    (HEIC, "HEIC"),
    (PAGE, "web page"),
    (b"\n <HTML lang=en>", "web page"),
    (b"<!doctype html><title>Photo</title><p>Sign in", "web page"),  # <html> may be left out
    (b"\xef\xbb\xbf<!doctype html>\n<!-- " + b"x" * 600 + b" --><html>", "web page"),
    (b"", "empty"),
    (b"text", "not known"),
    (encoded(picture(64, 64), "JPEG")[:900], "truncated"),
    (encoded(picture(64, 64))[:900], "truncated"),
]


@pytest.mark.parametrize("data, why", UNREADABLE, ids=lambda x: ascii(x)[:25])
def test_what_cannot_be_read_says_why(nb, tmp_path, data, why):
    (tmp_path / "IMG_0001").write_bytes(data)
    for source, name in ((tmp_path / "IMG_0001", "IMG_0001"), (data, "The picture")):
        for job in (nb.load_image, lambda source: nb.stylize_image(Tinted(), source)):
            with pytest.raises(nb.Problem, match=f"{name} cannot be read: .*{why}") as problem:
                job(source)
            assert "\n" not in str(problem.value)


def test_pages_in_place_of_pictures(nb, tmp_path, places, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "page.jpg").write_bytes(PAGE)
    picture(20, 20).save(tmp_path / "in" / "good.jpg")
    assert len(nb.load_photos(tmp_path / "in", 16)) == 1
    assert len(nb.stylize_folder(Tinted(), tmp_path / "in", tmp_path / "out")) == 1
    said = capsys.readouterr().out
    assert "page.jpg cannot be read: it is a web page" in said and "no photos: page.jpg" in said
    with serve({"/a.jpg": PAGE}) as server, pytest.raises(nb.Problem, match="a.jpg .*web page"):
        nb.load_image(f"{server.url}/a.jpg")


def test_a_folder_or_a_locked_file_in_place_of_a_picture(nb, tmp_path, monkeypatch, capsys):
    with pytest.raises(nb.Problem, match="cannot be read: .*directory"):
        nb.load_image(tmp_path)
    (tmp_path / "in").mkdir()
    for name in ("locked.jpg", "open.jpg"):
        picture(20, 20).save(tmp_path / "in" / name)
    plain = pathlib.Path.read_bytes

    def read(path):
        if path.name == "locked.jpg":
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path)

    monkeypatch.setattr(pathlib.Path, "read_bytes", read)
    with pytest.raises(nb.Problem, match="locked.jpg cannot be read: .*Permission denied"):
        nb.load_image(tmp_path / "in" / "locked.jpg")
    assert len(nb.stylize_folder(Tinted(), tmp_path / "in", tmp_path / "out")) == 1
    assert len(nb.load_photos(tmp_path / "in", 16)) == 1
    assert capsys.readouterr().out.count("locked.jpg") >= 2


def archive(*names: str, locked: bool = False) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for n, name in enumerate(names):
            file.writestr(name, encoded(picture(40, 24, n), "JPEG"))
    data = bytearray(data.getvalue())
    for mark, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)) if locked else ():
        at = -1
        while (at := data.find(mark, at + 1)) >= 0:
            data[at + place] |= 1
    return bytes(data)


@pytest.mark.parametrize("damage", ["directory", "middle", "version", "name", "size"])
def test_a_zip_with_a_damaged_directory_is_one_sentence(nb, tmp_path, damage):
    """Its end is whole, so it is taken for a zip."""
    data = bytearray(archive("0.jpg", "1.jpg", "2.jpg"))
    entry, end = data.find(b"PK\1\2"), data.rfind(b"PK\5\6")
    if damage == "directory":
        data[entry] = 0
    elif damage == "middle":
        data = data[:200] + data[-100:]
    elif damage == "version":
        data[entry + 6] = 99
    elif damage == "name":  # said to be UTF-8
        data[entry + 9] |= 8
        data[entry + 46] = 0xFF
    else:
        data[end + 12 : end + 16] = struct.pack("<I", 2**31)
    (tmp_path / "a.zip").write_bytes(data)
    assert zipfile.is_zipfile(tmp_path / "a.zip")
    with pytest.raises(nb.Problem, match="No photos found in .*a.zip: give a folder or a .zip"):
        nb.load_photos(tmp_path / "a.zip", 16)


@pytest.mark.parametrize("ending", ["jfif", "tif", "TIFF", "gif", "avif", "webp"])
def test_photos_and_frames_by_other_endings(nb, tmp_path, ending):
    """Windows' browsers save .jfif; renderers write frames as TIFF."""
    for n in range(3):
        kind = {"jfif": "JPEG", "tif": "TIFF"}.get(ending.lower(), ending.upper())
        (tmp_path / f"{n}.{ending}").write_bytes(encoded(picture(40, 24, n), kind))
    assert len(nb.load_photos(tmp_path, 16)) == 3
    about, frames = nb.open_video(tmp_path)
    assert about.size == (40, 24) and len([*frames]) == 3


def test_a_zip_with_a_password(nb, tmp_path):
    (tmp_path / "a.zip").write_bytes(archive("a.jpg", "b.jpg", locked=True))
    with pytest.raises(nb.Problem, match="a.zip has a password: unpack it"):
        nb.load_photos(tmp_path / "a.zip", 16)


def test_zips_as_macs_and_windows_write_them(nb, tmp_path):
    """Notes of the Finder, other slashes, upper-case endings, Hangul: only photos are taken."""
    names = ["사진/하나.JPG", "__MACOSX/사진/._하나.JPG", "b\\c.jpg", ".d.jpg", "a/../../e.jpeg"]
    (tmp_path / "a.zip").write_bytes(archive(*names))
    assert len(nb.load_photos(tmp_path / "a.zip", 16)) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]  # nothing is unpacked


@pytest.mark.parametrize("data", [b"", b"Rar!\x1a\x07\0", PAGE, archive(), archive("a.jpg")[:-9]])
def test_what_is_no_zip_is_one_sentence(nb, tmp_path, data):
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(nb.Problem, match="No photos found in .*a.zip"):
        nb.load_photos(tmp_path / "a.zip", 16)


# Paths


NAMES = [
    "my clip.mp4", "a%20b.jpg", "%d_%05d.png", "12:30.png", "v1.0.final.MP4", "..2.jpg", "IMG.JPG",
    "화풍 영상.mp4", "사진/여름 휴가/바다.jpg", "Tromsø/café.png", "it's.jpg", "a#b?c&d=e.jpg",
    "[1]{2}$HOME*.jpg", "-dash.jpg", "😀.png", "a,b;c.jpg",
]  # fmt: skip


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_paths_as_they_are_pasted(nb, places, monkeypatch, name, stored):
    monkeypatch.chdir(places.home)
    path = places.data / unicodedata.normalize(stored, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    for text in (f"data/{name}", str(places.data / name)):
        for around in ("{}", " {}", "{}\n", "{}\r\n", "\t{} ", '"{}"', "'{}'", ' "{}" \n'):
            for asked in ("NFC", "NFD"):
                found = nb.find(places, around.format(unicodedata.normalize(asked, text)))
                assert found.read_bytes() == b"x" and found.samefile(path)


@pytest.mark.parametrize("name", ["사진/그림.jpg", "\uf90a.jpg"])  # Mac, Windows
def test_names_in_both_normal_forms_and_in_neither(nb, places, name):
    """As Colab's "Copy path" gives them; the second is a letter that both forms would change."""
    first, slash, last = name.rpartition("/")
    for forms in (("NFD", "NFC"), ("NFC", "NFD")):
        folder = places.data / "-".join(forms)
        path = folder / (unicodedata.normalize(forms[0], first) + slash)
        path /= unicodedata.normalize(forms[1], last) if first else last
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        for text in (str(path), f" '{path}'\n"):
            assert nb.find(places, text) == path


def test_addresses_as_they_are_pasted(nb, places):
    data = encoded(picture(*WIDE))
    with serve({"/a%20b.png": data, "/%ED%99%94.PNG": data}) as server:
        quoted = [f'"{server.url}/a b.png"', f"'{server.url}/화.PNG'"]
        upper = server.url.replace("http", "HTTP") + "/a%20b.png"
        for text in (f" {server.url}/a%20b.png\n", *quoted, upper):
            assert nb.is_url(text.strip("\"' \n"))
            shown(nb, nb.find(places, text))
    good = "https://u:p@a.org:80/a.mp4", "HTTPS://A.org", "http://a.org\n", "http://한국.kr?a=../b "
    for text in (*good, f" {good[0]}"):
        assert nb.is_url(text)
    for text in ("httpx://a", "a/http://b", "", "C:\\a.jpg", "ftp://a.org/a.jpg"):
        assert not nb.is_url(text)


@pytest.mark.parametrize(
    "url", ["https://.../mine.jpg", "http://[::1/a.jpg", "https://a..org/a.jpg"]
)
def test_addresses_that_cannot_be(nb, places, url):
    """What stands in instructions for an address, typed as it stands: one sentence."""
    with pytest.raises(nb.Problem, match="is not there"):
        nb.find(places, url)
    with pytest.raises(nb.Problem, match="cannot be read"):
        nb.load_image(url)
    with pytest.raises(nb.Problem, match="no clip at"):
        nb.open_video(url)


LONG = [("a" * 251, "ASCII"), ("글" * 83, "Hangul"), ("é" * 125, "Latin"), ("😀" * 62, "faces")]


@pytest.mark.parametrize("stem", [pytest.param(stem, id=name) for stem, name in LONG])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_long_names(nb, tmp_path, stem, form):
    name = unicodedata.normalize(form, stem).encode()[:250].decode(errors="ignore")
    (tmp_path / "in").mkdir()
    for ending in (".png", ".jpg"):
        picture(*WIDE).save(tmp_path / "in" / (name + ending))
    done = nb.stylize_folder(Tinted(), tmp_path / "in", tmp_path / "out")
    assert len(set(done)) == 2 and all(path.exists() for path in done)
    for ending in (".png", ".JPG"):
        assert nb.save_image(picture(*WIDE), tmp_path / (name + ending)).exists()
    assert len(list(tmp_path.iterdir())) == 4  # nothing half is left beside them
    with pytest.raises(nb.Problem, match="Cannot write"):
        nb.save_image(picture(*WIDE), tmp_path / ("a" * 252 + ".png"))


PICTURES = ["사진 하나.PNG", "a.b.c.JPG", "12:30.png", "100%.webp", "%d.png", "..a.png", "a .png",
            "-o.png", "a\nb.png", "[1]*?.png"]  # fmt: skip


@pytest.mark.parametrize("name", PICTURES)
def test_names_of_pictures_in_a_folder(nb, tmp_path, name):
    source = tmp_path / unicodedata.normalize("NFD", "여름 %d: 휴가")
    source.mkdir()
    picture(*WIDE).save(source / f"x{name}")
    (result,) = nb.stylize_folder(Tinted(), source, tmp_path / "out")
    ending = ".png" if name.lower().endswith("png") else ".jpg"
    assert result.name == pathlib.Path(f"x{name}").stem + ending
    assert PIL.Image.open(result).size == WIDE
    assert len(nb.load_photos(source, 16)) == 1


@pytest.mark.parametrize(
    "way", ["itself", "relative", "link", "link to the target", "dots", "slash"]
)
def test_a_folder_painted_onto_itself(nb, tmp_path, monkeypatch, way):
    folder = tmp_path / "photos"
    folder.mkdir()
    picture(*WIDE).save(folder / "a.jpg")
    before = (folder / "a.jpg").read_bytes()
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    pairs = {
        "itself": (folder, folder), "relative": (folder, "photos"), "slash": (folder, "photos/"),
        "link": (tmp_path / "link", folder), "link to the target": (folder, "link"),
        "dots": ("photos", "photos/new/.."),
    }  # fmt: skip
    with pytest.raises(nb.Problem, match="two different folders"):
        nb.stylize_folder(Tinted(), *pairs[way])
    assert (folder / "a.jpg").read_bytes() == before and len(list(folder.iterdir())) == 1


# Networks


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_shines_through_is_laid_on_white_once(nb, tmp_path, mode):
    """A picture painted by a network that changes nothing looks as before; also the painting saved
    as JPEG. Where next to nothing is seen (alpha below 9), a difference cannot be seen either."""
    photo = picture(48, 40, 3).convert("RGBA")
    photo.putalpha(PIL.Image.linear_gradient("L").resize((48, 40)))
    if mode == "P":  # with a transparency of its own for each colour
        photo.quantize(64).save(tmp_path / "a.png")
        photo = PIL.Image.open(tmp_path / "a.png")
        assert len(set(photo.info["transparency"])) > 9
    else:
        photo = photo.convert(mode)
    wanted = np.asarray(nb.load_image(photo)).astype(int)
    result = nb.stylize_image(Tinted(), photo, strength=0)
    assert np.abs(np.asarray(nb.load_image(result)) - wanted).max() <= 2
    nb.save_image(result, tmp_path / "flat.png")
    nb.save_image(result, tmp_path / "flat.jpg")
    plain = nb.load_image(tmp_path / "flat.png")
    plain.save(tmp_path / "plain.jpg", quality=95)
    assert np.array_equal(
        nb.load_image(tmp_path / "flat.jpg"), nb.load_image(tmp_path / "plain.jpg")
    )


WEIGHTS, BLOGS = oracle.random_weights(), oracle.random_weights(oracle.BLOG)
NUMPYS = dict(loss=np.float64(3.5), rate=np.float32(1e-3), step=np.int64(7), best=np.bool_(True))


def prefixed(weights: dict, prefix: str) -> dict:
    return {prefix + name: value for name, value in weights.items()}


WRAPPED = {
    "plain": WEIGHTS,
    "DataParallel": prefixed(WEIGHTS, "module."),
    "compiled": prefixed(WEIGHTS, "_orig_mod."),
    "compiled, then parallel": prefixed(WEIGHTS, "module._orig_mod."),
    "parallel, then compiled": prefixed(WEIGHTS, "_orig_mod.module."),
    "state_dict": {"state_dict": WEIGHTS, "epoch": 2},
    "model_state_dict": {"model_state_dict": WEIGHTS, "optimizer_state_dict": {}},
    "network": {"network": WEIGHTS},
    "model": {"model": WEIGHTS, "optimizer": {}},
    "params": {"params": WEIGHTS},
    "Lightning": {"state_dict": prefixed(WEIGHTS, "model."), "epoch": 2},
    "nested": {"network": {"state_dict": prefixed(WEIGHTS, "module.")}},
    "NumPy's numbers": {"state_dict": WEIGHTS} | NUMPYS,
    "parameters": {name: torch.nn.Parameter(value) for name, value in WEIGHTS.items()},
    "doubles": {name: value.double() for name, value in WEIGHTS.items()},
    "a name beside the weights": {"network": "TransformerNet", "state_dict": WEIGHTS},
}
PREFIXES = ["", "module.", "_orig_mod.", "module._orig_mod."]


def paints(nb, path, weights, how, close=1e-5):
    x = torch.rand(1, 3, 32, 40, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        assert far(nb.load_network(path)(x), how(x, weights)) < close


@pytest.mark.parametrize("name", WRAPPED)
def test_wrapped_networks_paint_as_they_did(nb, tmp_path, name):
    """In files as PyTorch writes them now, and wrote them before 1.6."""
    new = len(name) % 2 > 0
    torch.save(WRAPPED[name], tmp_path / "a.pth", _use_new_zipfile_serialization=new)
    paints(nb, tmp_path / "a.pth", WEIGHTS, oracle.johnson)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_blogs_network_in_the_same_wrappings(nb, tmp_path, prefix):
    """It has no ReLUs in its decoder, whatever stands before its names."""
    for content in (
        {"model_state_dict": prefixed(BLOGS, prefix)} | NUMPYS,
        prefixed(BLOGS, prefix),
    ):
        torch.save(content, tmp_path / "a.pth")
        paints(nb, tmp_path / "a.pth", BLOGS, oracle.blog)


def test_half_precision_weights(nb, tmp_path):
    torch.save({name: value.half() for name, value in WEIGHTS.items()}, tmp_path / "a.pth")
    paints(nb, tmp_path / "a.pth", WEIGHTS, oracle.johnson, close=0.05)


def without(name: str) -> dict:
    return {key: value for key, value in WEIGHTS.items() if key != name}


def transposed() -> dict:
    """A variant that upsamples by transposed convolutions, under the same names."""
    names = ("deconv1.conv2d.weight", "deconv2.conv2d.weight")
    return WEIGHTS | {name: WEIGHTS[name].transpose(0, 1).contiguous() for name in names}


FOREIGN = {
    "the optimizer alone": torch.optim.Adam([torch.nn.Parameter(torch.zeros(3))]).state_dict(),
    "the optimizer, wrapped": {"optimizer_state_dict": {"state": {}, "param_groups": []}},
    "numbers alone": NUMPYS,
    "nothing": {},
    "an empty network": {"model_state_dict": {}},
    "a layer is missing": without("deconv3.conv2d.weight"),
    "a bias is missing": without("res3.in2.bias"),
    "a layer more": WEIGHTS | {"res6.conv1.conv2d.weight": torch.zeros(128, 128, 3, 3)},
    "transposed convolutions": transposed(),
    "transposed, renamed": {name.replace("deconv1.conv2d", "deconv1.conv_transpose2d"): value
                            for name, value in WEIGHTS.items()},
    "a larger kernel": WEIGHTS | {"conv1.conv2d.weight": torch.zeros(32, 3, 11, 11)},
    "half as wide": WEIGHTS | {"conv2.conv2d.weight": torch.zeros(32, 32, 3, 3)},
    "two groups of names": WEIGHTS | prefixed(WEIGHTS, "discriminator."),
    "VGG16": {"features.0.weight": torch.zeros(64, 3, 3, 3)},
    "words for weights": dict.fromkeys(WEIGHTS, "weights"),
    "numbers for names": {n: value for n, value in enumerate(WEIGHTS.values())},
    "wrapped in a list": {"state_dict": [WEIGHTS]},
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_other_networks_are_refused(nb, tmp_path, name):
    torch.save(FOREIGN[name], tmp_path / "a.pth")
    with pytest.raises(nb.Problem, match="a.pth holds another kind of network"):
        nb.load_network(tmp_path / "a.pth")


class Bomb:
    """Leaves a file where it goes off."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return (open, (str(self.place), "w"))


def script(place):
    data = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Conv2d(1, 1, 1), torch.zeros(1, 1, 1, 1)), data)
    return data.getvalue()


def saved(content, **how) -> bytes:
    data = io.BytesIO()
    torch.save(content, data, **how)
    return data.getvalue()


FILES = {
    "a bomb": lambda place: pickle.dumps(Bomb(place)),
    "a bomb beside the weights": lambda place: saved(WEIGHTS | {"loss": Bomb(place)}),
    "a bomb in an old file": lambda place: saved(
        {"network": WEIGHTS, "x": Bomb(place)}, _use_new_zipfile_serialization=False),
    "a bomb among NumPy's numbers": lambda place: saved(
        NUMPYS | {"x": np.array([Bomb(place)], object)}),
    "a bomb as a name": lambda place: saved({"state_dict": WEIGHTS, "best": [(Bomb(place),)]}),
    "a whole module": lambda place: saved(torch.nn.Conv2d(1, 1, 1)),
    "TorchScript": script,
    "a tensor": lambda place: saved(torch.zeros(3, 2)),
    "a list": lambda place: saved([WEIGHTS]),
    "a page": lambda place: PAGE,
    "a pointer of Git LFS": lambda place: b"version https://git-lfs.github.com/spec/v1\noid sha256",
    "half a file": lambda place: saved(WEIGHTS)[:100_000],
    "a picture": lambda place: encoded(picture(*WIDE)),
    "a zip of photos": lambda place: archive("a.jpg"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_other_files_are_refused_and_run_nothing(nb, tmp_path, name):
    (tmp_path / "a.pth").write_bytes(FILES[name](tmp_path / "went off"))
    with pytest.raises(nb.Problem, match="a.pth") as problem:
        nb.load_network(tmp_path / "a.pth")
    assert "\n" not in str(problem.value)
    assert not (tmp_path / "went off").exists()


def test_a_mixture_as_onnx_is_one_file_that_loads_alone(nb, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    network = nb.fold_upsampling(nb.fresh_network(0).eval())
    network = nb.Mixture({network: 1.0, nb.fresh_network(1).eval(): 3.0})
    path = nb.export_onnx(network, tmp_path / "net.onnx")
    data = path.read_bytes()
    assert list(tmp_path.iterdir()) == [path]
    path.unlink()
    x = torch.stack([nb.pil_to_tensor(picture(48, 40, n)) for n in (0, 1)]).float()
    for batch in (x, x[:1, :, :33, :17]):
        (found,) = onnxruntime.InferenceSession(data).run(None, {"photo": batch.numpy()})
        with torch.no_grad():
            assert (network(batch) - torch.from_numpy(found)).abs().max() < 0.5


# Drive


def test_a_drive_whose_mount_has_died_is_mounted_again(nb, tmp_path, monkeypatch, capsys):
    """mount() alone says "already mounted" of it; every file operation in it fails."""
    content, plain, dead, forced = tmp_path / "content", nb.Path, [True], []

    def path(*parts):
        made = plain(*parts)
        return content / made.relative_to("/content") if str(made).startswith("/content") else made

    def guarded(function):
        def call(place, *given, **more):
            if dead[0] and str(place).startswith(str(content / "gdrive")):
                raise OSError(107, "Transport endpoint is not connected")
            return function(place, *given, **more)

        return call

    def mount(place, force_remount=False, **more):
        forced.append(force_remount)
        dead[0] &= not force_remount

    colab, drive = types.ModuleType("google.colab"), types.ModuleType("google.colab.drive")
    drive.mount, colab.drive = mount, drive
    for name, module in (("google", types.ModuleType("google")), ("google.colab", colab)):
        monkeypatch.setitem(sys.modules, name, module)
    path.cwd = plain.cwd
    monkeypatch.setattr(nb, "Path", path)
    monkeypatch.chdir(tmp_path)
    for name in ("stat", "mkdir", "listdir"):
        monkeypatch.setattr(os, name, guarded(getattr(os, name)))
    monkeypatch.setattr(io, "open", guarded(io.open))
    places = nb.connect_drive(True)
    assert forced == [True]
    assert places.home == content / "gdrive" / "My Drive" / "Colab_Notebooks"
    assert places.checkpoints.is_dir() and "cannot be used" not in capsys.readouterr().out


@pytest.fixture(scope="module")
def lesson(nb):
    """A function that trains, small; the judge is made once."""
    torch.set_num_threads(1)
    plain, nb.VGG16Features = nb.VGG16Features, functools.cache(nb.VGG16Features)
    photos = torch.stack([nb.pil_to_tensor(picture(40, 40, seed)) for seed in range(4)])
    small = dict(batch_size=1, image_size=32, vgg_weights="random", device="cpu", warmup_steps=0)
    style = nb.pil_to_tensor(picture(40, 40, 9))
    yield lambda folder, steps, **more: nb.train(
        photos, style, folder, steps=steps, checkpoint_every=2, **small | more
    )
    nb.VGG16Features = plain


@pytest.fixture(scope="module")
def unbroken(lesson, tmp_path_factory):
    """The network of a training of six steps that nothing befell."""
    return lesson(tmp_path_factory.mktemp("unbroken"), 6)


@pytest.mark.parametrize("remounted", ["empty", "older"])
def test_a_drive_that_vanishes_in_mid_training(
    nb, tmp_path, monkeypatch, capsys, lesson, unbroken, remounted
):
    """The training goes on in the current folder, and a later one goes on from there, to the same
    network."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    mount, aside = tmp_path / "gdrive", tmp_path / "aside"
    folder = mount / "My Drive" / "Colab_Notebooks" / "checkpoints" / "snow-123456"

    def on_step(step, losses):
        if step == 3:  # what is left of an unmounted Drive: an empty mount point
            shutil.move(mount, aside)
            mount.mkdir()
        press_at(5)(step, losses)

    lesson(folder, 6, on_step=on_step)
    said, spare = capsys.readouterr().out, tmp_path / "work" / "checkpoints" / "snow-123456"
    assert "snow-123456" in said and f"goes on in {spare}" in said
    assert list(mount.iterdir()) == []
    assert nb.load_checkpoint(spare / "final.pth")["done"] == 5
    mount.rmdir()
    if remounted == "older":  # with what it had when it went
        shutil.move(aside, mount)
        assert nb.load_checkpoint(folder / "final.pth")["done"] == 2
    else:
        folder.parent.mkdir(parents=True)
    network = lesson(folder, 6)
    assert "Going on from step 5 of 6" in capsys.readouterr().out
    assert same(network, unbroken)
    assert nb.load_checkpoint(folder / "final.pth")["done"] == 6


def test_a_drive_that_dies_in_mid_training(nb, tmp_path, monkeypatch, capsys, lesson):
    """Its mount is still there, but each look into it is an OSError 107."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    mount, dead = tmp_path / "gdrive", [False]
    folder = mount / "My Drive" / "checkpoints" / "snow-123456"

    def guarded(function):
        def call(place, *given, **more):
            if dead[0] and str(place).startswith(str(mount)):
                raise OSError(107, "Transport endpoint is not connected")
            return function(place, *given, **more)

        return call

    for name in ("stat", "mkdir", "listdir", "scandir"):
        monkeypatch.setattr(os, name, guarded(getattr(os, name)))
    live = nb.LiveTraining(torch.zeros(3, 32, 32), 4, mount / "My Drive" / "losses.jpg", pause=0)
    lesson(folder, 4, on_step=lambda step, losses: dead.__setitem__(0, step >= 3), watch=live)
    spare = tmp_path / "work" / "checkpoints" / "snow-123456"
    assert f"goes on in {spare}" in capsys.readouterr().out
    dead[0] = False
    assert nb.load_checkpoint(spare / "final.pth")["done"] == 4
    assert nb.load_checkpoint(folder / "final.pth")["done"] == 2


def test_large_pictures_are_thinned_out_for_figures(nb, monkeypatch):
    """A phone's 48 megapixels took 3 GB in Matplotlib."""
    seen, imshow = [], nb.matplotlib.axes.Axes.imshow

    def spy(axes, array, **how):
        seen.append(array.shape)
        return imshow(axes, array, **how)

    monkeypatch.setattr(nb.matplotlib.axes.Axes, "imshow", spy)
    nb.show_pictures({"large": PIL.Image.new("RGB", (8000, 6000)), "map": torch.zeros(40, 30)})
    assert max(seen[0]) < 1500 and seen[1] == (40, 30)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tiff"])
def test_a_turned_photo_is_saved_upright(nb, tmp_path, ending):
    exif, photo = PIL.Image.Exif(), PIL.Image.new("RGB", (40, 30))
    exif[0x0112] = 6
    photo.paste("red", (0, 0, 10, 30))  # above, when it is upright
    photo.save(tmp_path / "turned.png", exif=exif)
    with PIL.Image.open(tmp_path / "turned.png") as opened:
        nb.save_image(opened, tmp_path / f"out.{ending}")
    saved = PIL.Image.open(tmp_path / f"out.{ending}")
    assert saved.size == (30, 40) and saved.getexif().get(0x0112, 1) == 1
    red, _, _ = saved.convert("RGB").getpixel((15, 3))
    assert red > 200 and saved.convert("RGB").getpixel((15, 30))[0] < 50


def test_a_figure_that_cannot_be_kept_is_shown(nb, tmp_path):
    figure = nb.matplotlib.figure.Figure((1, 1))
    for path in (None, tmp_path / "no" / "folder.jpg", tmp_path, "/dev/full", tmp_path / "a.jpg"):
        nb.show(figure, path)  # a folder, a full disk
    assert PIL.Image.open(tmp_path / "a.jpg").size == (100, 100)


def test_a_drive_that_is_back_goes_on_from_what_the_runtime_kept(
    nb, tmp_path, monkeypatch, capsys, lesson
):
    """Drive was refused, the training ran here; then it is right. A folder without the six
    characters of its settings may be another training's."""
    monkeypatch.chdir(tmp_path)
    for name, begun in (("snow-123456", True), ("mine", False)):
        lesson(tmp_path / "checkpoints" / name, 4)
        capsys.readouterr()
        steps = []
        again = tmp_path / "gdrive" / "checkpoints" / name
        nb.save_checkpoint(tmp_path / "checkpoints" / name / "step_9999999.pth", foreign=True)
        lesson(again, 6, on_step=lambda step, losses, to=steps: to.append(step))
        assert ("Going on from step 4 of 6" in capsys.readouterr().out) == begun
        assert steps == ([5, 6] if begun else [1, 2, 3, 4, 5, 6])


# Figures


@pytest.fixture
def figures(nb, monkeypatch):
    """The figures that are shown, as pictures."""
    seen = []
    monkeypatch.setattr(nb, "get_ipython", lambda: True)
    monkeypatch.setattr(
        nb, "display", lambda image, **_: seen.append(PIL.Image.open(io.BytesIO(image.data)))
    )
    return seen


@pytest.mark.parametrize("size", [(30, 2000), (2000, 30), (1, 1), (1, 3000), (3000, 1), (9, 9)])
def test_figures_of_any_shape(nb, figures, size):
    nb.show_pictures({"the style: strip": PIL.Image.new("RGB", size, (0, 200, 200))})
    nb.show_pictures({f"{n}": PIL.Image.new("RGB", size, (0, 200, 200)) for n in range(5)})
    for figure in figures:
        assert 900 <= figure.width <= 1100 and 30 < figure.height < 2500
        if 3000 not in size:  # of those, a line is narrower than a pixel
            assert (np.abs(np.asarray(figure, int) - (0, 200, 200)).max(-1) < 40).any()


@pytest.mark.parametrize(
    "title", ["$x^", "100% \\alpha_", "화풍 🎨", "", "a\nb", "x" * 300, "</b>&"]
)
def test_figures_with_any_title(nb, figures, title):
    nb.show_pictures({title: picture(*WIDE)})
    assert figures[0].width > 100


# More of these kinds, that nobody had listed


def test_a_picture_that_is_open_is_painted_twice_alike(nb):
    """PIL's own notes of it are left as they are: else it lies on its side the second time."""
    with PIL.Image.open(io.BytesIO(encoded(picture(*WIDE), "JPEG", exif=notes()))) as image:
        sizes = [nb.stylize_image(Tinted(), image).size for _ in range(3)]
        assert sizes == [TALL] * 3 and nb.load_image(image).size == TALL


def test_notes_that_tell_a_layout_of_their_own(nb, tmp_path):
    """Samsung's and others' JPEGs give width, height and bits in their notes: a TIFF with those
    could not be read again."""
    exif = notes(1)
    layout = {256: 4000, 257: 3000, 258: (8, 8, 8), 259: 6, 262: 6, 277: 3, 273: 99, 279: 99}
    for tag, value in (layout | {322: 16, 323: 16, 338: (1,)}).items():
        exif[tag] = value
    data = encoded(picture(*WIDE), "JPEG", exif=exif)
    for ending in ENDINGS[:4]:
        image = painted(nb, data, tmp_path / f"o.{ending}")
        assert image.size == WIDE and image.getexif()[0x010F] == "Maker"
        wanted = np.asarray(nb.load_image(data)) * [1, 1, 0.5]
        assert np.abs(np.asarray(image.convert("RGB")) - wanted).mean() < 26


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"])
def test_a_compressed_tiff_that_was_only_loaded_is_saved(nb, tmp_path, compression):
    picture(*WIDE).save(tmp_path / "in.tif", compression=compression)
    for ending in ENDINGS[:4]:
        path = nb.save_image(nb.load_image(tmp_path / "in.tif"), tmp_path / f"o.{ending}")
        assert PIL.Image.open(path).size == WIDE


def test_long_names_that_begin_alike_are_two_paintings(nb, tmp_path):
    """Also where a name is cut, and where one is what another becomes."""
    for names in (["글" * 70 + f" ({n}).png" for n in range(3)], ["a.bmp", "a.gif", "a_gif.bmp"]):
        source = tmp_path / str(len(names[0]))
        source.mkdir()
        colours = ["red", "lime", "white"]
        for name, colour in zip(names, colours):
            PIL.Image.new("RGB", WIDE, colour).save(source / name)
        done = nb.stylize_folder(Tinted(), source, source / "out", strength=0)
        assert len(set(done)) == 3, [path.name for path in done]
        for path, colour in zip(done, colours):
            close = np.asarray(PIL.Image.open(path), int) - np.array(PIL.ImageColor.getrgb(colour))
            assert np.abs(close).max() < 9
        assert nb.stylize_folder(Tinted(), source, source / "out", strength=0) == done


def test_a_name_in_the_code_of_old_windows(nb, tmp_path, figures):
    """A zip of a Korean Windows, unpacked on Linux: CP949, which is no UTF-8."""
    name = os.fsdecode("사진".encode("cp949"))
    source = tmp_path / "in"
    source.mkdir()
    picture(*WIDE).save(source / f"{name}.png")
    assert len(nb.load_photos(source, 16)) == 1
    (result,) = nb.stylize_folder(Tinted(), source, tmp_path / "out")
    assert PIL.Image.open(result).size == WIDE
    nb.show_pictures({f"the style: {name}": picture(*WIDE)})
    assert figures[0].width > 100


@pytest.mark.parametrize(
    "name", ["~photo.jpg", "~", "'90s.jpg", "it was 5'", " first.jpg", '6".jpg']
)
def test_names_that_begin_or_end_with_what_is_cut_off_of_pasted_ones(nb, places, monkeypatch, name):
    monkeypatch.chdir(places.home)
    (places.home / name).write_bytes(b"x")
    if name != "~":
        assert nb.find(places, name).read_bytes() == b"x"
    assert nb.find(places, places.home / name).read_bytes() == b"x"


@pytest.mark.parametrize("text", ["data:image/png;base64," + "A" * 5000, "a " * 200 + ".jpg",
                                  "~nobody-here/a.jpg", "a\0b.jpg", "글" * 90 + ".zip", "a/" * 3000,
                                  "C:\\Users\\me\\a.jpg", '""'],
                         ids=lambda text: text[:9])  # fmt: skip
def test_texts_that_are_no_path_are_one_sentence(nb, places, monkeypatch, text):
    monkeypatch.chdir(places.home)
    with pytest.raises(nb.Problem, match="is not there"):
        nb.find(places, text)
    assert nb.find(places, text, needed=False) is None


UNSEEN = [
    "\u202a{}\u202c",
    "\ufeff{}",
    "{}\u200b",
    "\u00a0{}",
    "“{}”",
    "‘{}’",
    "\"' {} '\"",
    "`{}`",
]


@pytest.mark.parametrize("around", UNSEEN, ids=ascii)
def test_signs_that_are_not_seen_or_that_programs_make_of_quotes(nb, places, around):
    """Windows' "copy as path" begins with U+202A, web pages with U+FEFF; Word curls quotes."""
    (places.data / "a.jpg").write_bytes(b"x")
    assert nb.find(places, around.format(places.data / "a.jpg")).read_bytes() == b"x"


def test_a_loaded_picture_with_any_text_is_saved(nb, tmp_path):
    for word in (
        "quality",
        "format",
        "dpi",
        "icc_profile",
        "transparency",
        "compression",
        "comment",
    ):
        image = nb.load_image(png((b"tEXt", word.encode() + b"\0best")))
        for ending in ENDINGS[:4]:
            assert nb.save_image(image, tmp_path / f"o.{ending}").exists(), word


def test_several_pictures_in_one_file(nb, tmp_path):
    """A phone's MPO, an animated WebP, a TIFF of pages, an icon: the first, or the largest."""
    for kind in ("MPO", "WEBP", "TIFF", "PNG", "GIF"):
        more = dict(save_all=True, append_images=[picture(*WIDE, seed=1)])
        lossless = dict(lossless=True) if kind == "WEBP" else {}
        data = encoded(picture(*WIDE), kind, **more, **lossless)
        shown(nb, data, None, 26 if kind in ("MPO", "GIF") else 0)
        assert painted(nb, data, tmp_path / "o.jpg").size == WIDE
    exif = notes()
    assert nb.load_image(encoded(picture(*WIDE), "MPO", exif=exif, **more)).size == TALL
    icon = encoded(picture(64, 64), "ICO", sizes=[(16, 16), (64, 64)])
    assert nb.load_image(icon).size == (64, 64)


def test_sixteen_bits_with_a_clear_colour(nb, tmp_path):
    grey = np.full((16, 24), 30_000, np.uint16)
    grey[:8] = 500
    data = png((b"tRNS", struct.pack(">H", 500)), base=PIL.Image.fromarray(grey))
    assert nb.load_image(data).size == WIDE
    for ending in ENDINGS[:4]:
        assert painted(nb, data, tmp_path / f"o.{ending}").size == WIDE


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1e30, 1e30])
def test_a_float_tiff_with_holes(nb, tmp_path, value):
    floats = np.linspace(0, 255, 24 * 16, dtype=np.float32).reshape(16, 24)
    floats[3, 4] = value
    data = encoded(PIL.Image.fromarray(floats), "TIFF")
    assert painted(nb, data, tmp_path / "o.jpg").size == WIDE
    if not value > 0:  # what is missing hides no more than itself
        assert np.asarray(nb.load_image(data))[15].mean() > 200


def test_a_network_whose_weights_are_not_numbers(nb, tmp_path):
    """A training that broke: its pictures would be black without a word."""
    torch.save(WEIGHTS | {"conv1.conv2d.bias": torch.full((32,), torch.nan)}, tmp_path / "a.pth")
    with pytest.raises(nb.Problem, match="a.pth"):
        nb.load_network(tmp_path / "a.pth")


def test_a_jpeg_with_what_phones_hang_onto_it(nb, tmp_path):
    """A motion photo: a clip behind the picture's end; and one that begins a byte late is none."""
    data = encoded(picture(*WIDE), "JPEG", exif=notes()) + HEIC * 50
    assert painted(nb, data, tmp_path / "o.jpg").size == TALL
    (tmp_path / "MVIMG_1.jpg").write_bytes(data)
    assert len(nb.load_photos(tmp_path, 16)) == 2
    with pytest.raises(nb.Problem, match="not known"):
        nb.load_image(b"\0" + data[:200])

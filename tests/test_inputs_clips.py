"""Clips of every kind that a reader may bring: what is seen and heard of each is the right thing.
Each is made here, small; the frames of most show their numbers."""

import concurrent.futures
import itertools
import os
import pathlib
import re
import struct
import subprocess
import time
import types
import unicodedata
from fractions import Fraction

import numpy as np
import PIL.Image
import pytest
import torch
from helpers import FFMPEG, Tinted, encoded, make_clip, probe, read, stopped, write_clip
from notebook import run_cell
from server import serve

WEB_PAGE = b"<!DOCTYPE html><html>sign in</html>"
LOSSLESS = ("-c:v", "libx264", "-qp", "0", "-pix_fmt", "yuv444p")


def ff(*words):
    """Run ffmpeg, Colab's too, which crashes on transport streams without GCONV_PATH."""
    command, env = [FFMPEG, "-y", "-v", "error", *map(str, words)], os.environ | {"GCONV_PATH": "-"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert not done.returncode, (command, done.stderr)


def numbered(path, count=50, rate="25", extra=(), size=(64, 48), sound=0, first=0, noise=0):
    """Frames of eight bright or dark columns: the bits of their numbers."""
    width, height = size
    dice = np.random.default_rng(0)

    def frame(number):
        bits = number >> np.arange(width) * 8 // width & 1
        grain = dice.integers(-noise, noise + 1, (height, width, 3))
        return (40 + 175 * bits[None, :, None] + grain).astype(np.uint8)

    return write_clip(path, map(frame, range(first, first + count)), rate, sound, extra)


def numbers(frames) -> list:
    """The numbers of such frames."""
    return [sum(int(c.mean() > 128) << b for b, c in enumerate(columns(f))) for f in frames]


def in_order(frames, count) -> bool:
    """Whether these show the numbers up to `count`, and only the first one perhaps twice: where the
    sound begins a little earlier than the picture, as in transport streams, ffmpeg repeats it."""
    seen = numbers(frames)
    return seen[-count:] == [*range(count)] and seen[:-count] in ([], [0])


def columns(frame):
    """The middles of the eight columns."""
    width = frame.shape[1] / 8
    return [frame[:, int((b + 0.4) * width) : int((b + 0.4) * width) + 2] for b in range(8)]


def middles(frames) -> list:
    """The colours of frames' centres."""
    return [f[f.shape[0] // 2, f.shape[1] // 2].astype(int).tolist() for f in frames]


def opened(nb, path, *part):
    """What is known of a clip, and its frames; as many as announced (one may be missing at the end,
    or one too many), all of the size announced."""
    about, frames = nb.open_video(path, *part)
    frames = [np.array(frame) for frame in frames]
    assert -1 <= about.frames - len(frames) <= 1
    frames = frames[: about.frames]
    assert all(frame.shape == (about.size[1], about.size[0], 3) for frame in frames)
    return about, frames


def painted(nb, source, target, network=None, **how):
    """The painting's frames; of a network that changes nothing where none is given."""
    how = dict(steady=0) | (dict() if network else dict(strength=0)) | how
    return read(nb.stylize_video(network or Tinted(), source, target, **how))


def near(colour, wanted, tolerance=2) -> bool:
    return np.abs(np.subtract(colour, wanted, dtype=float)).max() <= tolerance


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def picture_seconds(path) -> float:
    """The length of a clip's picture, counted from its packets."""
    words = [FFMPEG, "-v", "error", "-i", path, *"-map 0:v -c copy -f framecrc -".split()]
    said = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True).stdout
    tick = Fraction(said.split("#tb 0: ")[1].split()[0])
    rows = [line.split(",") for line in said.splitlines() if line.startswith("0,")]
    return float((max(int(r[2]) + int(r[3]) for r in rows) - min(int(r[2]) for r in rows)) * tick)


def without_default_duration(path):
    """A WebM as browsers write it: the frames' usual duration made void."""
    data = path.read_bytes()
    at = data.find(b"\x23\xe3\x83")
    size = data[at + 3] & 127
    void = b"\xec" + bytes([128 | size + 2]) + bytes(size + 2)
    path.write_bytes(data[:at] + void + data[at + 4 + size :])
    return path


# The shape


@pytest.mark.parametrize("pixel, size", [("4/3", (213, 120)), ("8/9", (142, 120))])
def test_pixels_that_are_not_square(nb, tmp_path, pixel, size):
    clip = numbered(tmp_path / "flat.mp4", 5, size=(160, 120))
    ff("-i", clip, "-vf", f"setsar={pixel}", tmp_path / "in.mp4")
    about, _ = opened(nb, tmp_path / "in.mp4")
    assert near(about.size, size, 1)
    frames = painted(nb, tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert near(frames.shape[2:0:-1], size, 1)
    assert probe(tmp_path / "out.mp4").count("SAR") == probe(tmp_path / "out.mp4").count("SAR 1:1")


def test_turned_and_not_square(nb, tmp_path):
    """Stored 64x48 with pixels 4:3 and turned by 90 degrees: shown 9 wide and 16 high."""
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:, 32:] = (200, 0, 0)
    write_clip(tmp_path / "flat.mp4", [frame] * 5, "25")
    ff("-i", tmp_path / "flat.mp4", "-vf", "setsar=4/3", *LOSSLESS, tmp_path / "wide.mp4")
    turn = ["-display_rotation", "90", "-i", tmp_path / "wide.mp4", "-c", "copy"]
    ff(*turn, tmp_path / "in.mp4")
    about, frames = opened(nb, tmp_path / "in.mp4")
    wide, high = about.size
    assert abs(wide / high - 9 / 16) < 0.02 and wide >= 36
    assert near(frames[0][10, 20], (200, 0, 0), 6) and near(frames[0][-10, 20], 0, 6)


@pytest.mark.parametrize("size", ["1x1", "3x1", "17x33"])
def test_odd_and_tiny(nb, tmp_path, size):
    wide, high = map(int, size.split("x"))
    clip = make_clip(tmp_path / "in.mkv", size, "10", 0.3, False, ["-c:v", "ffv1"])
    about, frames = opened(nb, clip)
    assert about.size == (wide, high) and len(frames) == 3
    network = nb.fresh_network(0).eval()
    assert painted(nb, clip, tmp_path / "o.mp4", network).shape[1:3] == (
        high + high % 2,
        wide + wide % 2,
    )


@pytest.mark.parametrize("ending, codec", [(".webm", "libvpx"), (".ts", "libx264")])
def test_a_size_that_changes_midway(nb, tmp_path, ending, codec):
    """As calls, shared screens and TV recordings have it: all frames, in the first one's size."""
    parts = []
    for n, size in enumerate([(64, 48), (48, 96)]):
        part = tmp_path / f"{n}{ending}"
        parts.append(numbered(part, 10, "10", ("-c:v", codec, "-b:v", "1M"), size, first=60 * n))
    (tmp_path / "list").write_text("".join(f"file '{part.name}'\n" for part in parts))
    clip = tmp_path / f"in{ending}"
    ff("-f", "concat", "-safe", "0", "-i", tmp_path / "list", "-c", "copy", clip)
    about, frames = opened(nb, clip)
    assert about.size == (64, 48) and len(frames) == 20
    assert numbers(frames) == [*range(10), *range(60, 70)]
    left, right = preview(nb, tmp_path, clip)
    assert 20 <= len(left) <= 22 and numbers(left)[-1] == numbers(right)[-1] == 69


def preview(nb, tmp_path, clip, start=0.0):
    """The clip and its painting, by a network that changes nothing, as the page shows them."""
    painting = nb.stylize_video(
        Tinted(), clip, tmp_path / "painted.mp4", strength=0, steady=0, start=start
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nb, "get_ipython", lambda: True)
        patch.setattr(nb, "display", lambda v: (tmp_path / "shown.mp4").write_bytes(v.data))
        nb.show_video(clip, painting, False, start)
    both = read(tmp_path / "shown.mp4")
    return both[:, :, :400], both[:, :, 400:]


@pytest.mark.parametrize("start", [0.0, 5.0, 5.013])
@pytest.mark.parametrize("ending", ["mp4", "ts", "flv", "mpg", "gif"])
def test_the_preview_shows_the_same_moment_twice(nb, tmp_path, ending, start):
    how = ("-c:v", "libx264", "-bf", "2", "-g", 250)
    if ending in ("mpg", "gif"):
        how = ("-b:v", "2M", "-g", 250) if ending == "mpg" else ("-pix_fmt", "rgb8")
    clip = numbered(tmp_path / f"in.{ending}", 175, "25", tuple(map(str, how)))
    left, right = map(numbers, preview(nb, tmp_path, clip, start))
    assert abs(len(left) - (175 - round(start * 25))) <= 2
    assert max(abs(a - b) for a, b in zip(left, right)) <= 1
    assert abs(right[0] - start * 25) <= 1 and left.count(left[0]) <= 2


@pytest.mark.parametrize("kind, ending", [("vp9", "webm"), ("qtrle", "mov")])
def test_the_preview_of_a_transparent_clip(nb, tmp_path, kind, ending):
    """On white, as it is painted: on both sides."""
    for side in preview(nb, tmp_path, see_through(tmp_path / f"in.{ending}", kind)):
        assert near(side[0, 40:-40, 40:160], 255, 6) and near(side[0, 150, 310], (0, 0, 220), 9)


# Colours


COLOURS = np.array([(0, 184, 0), (255, 255, 255), (200, 40, 90), (20, 30, 220)])


@pytest.mark.parametrize(
    "kind", "709 601 420 full 422 prores vp9 av1 hevc hevc10 mjpeg rgb gray".split()
)
def test_colours_of_every_codec(nb, tmp_path, kind):
    """Four stripes, each within 2 of 255 of what the file says it holds."""
    codec, matrix, fmt, ending = {
        "709": ("libx264 -qp 0", "bt709", "yuv444p", "mp4"),
        "601": ("libx264 -qp 0", "smpte170m", "yuv444p", "mp4"),
        "420": ("libx264 -crf 1", "bt709", "yuv420p", "mp4"),
        "full": ("libx264 -qp 0 -color_range pc", "bt709", "yuvj444p", "mp4"),
        "422": ("prores_ks -profile:v 3 -q:v 1", "bt709", "yuv422p10le", "mov"),
        "prores": ("prores_ks -profile:v 4444 -q:v 1", "bt709", "yuv444p10le", "mov"),
        "vp9": ("libvpx-vp9 -lossless 1 -cpu-used 8", "bt709", "yuv444p", "webm"),
        "av1": ("libaom-av1 -crf 1 -cpu-used 8", "bt709", "yuv420p10le", "mp4"),
        "hevc": ("libx265 -x265-params log-level=none:lossless=1", "bt709", "yuv444p", "mp4"),
        "hevc10": ("libx265 -x265-params log-level=none:lossless=1", "bt709", "yuv420p10le", "mp4"),
        "mjpeg": ("mjpeg -q:v 1", "smpte170m", "yuvj444p", "avi"),
        "rgb": ("libx264rgb -qp 0", None, "rgb24", "mkv"),
        "gray": ("ffv1", None, "gray", "mkv"),
    }[kind]
    colours = COLOURS[:, [1, 1, 1]] if kind == "gray" else COLOURS
    frame, holds = np.tile(np.repeat(colours, 16, 0), (48, 1, 1)), "rgb24"
    frame = frame.astype(np.uint8)
    shift = f"scale=out_color_matrix={matrix}:out_range={'pc' if 'j' in fmt else 'tv'},format={fmt}"
    if kind == "full":  # ffmpeg 7 has its own mind about the matrix of these
        light = frame @ [0.2126, 0.7152, 0.0722]
        blue, red = (frame[..., 2] - light) / 1.8556, (frame[..., 0] - light) / 1.5748
        frame = np.stack([light, 128 + blue, 128 + red]).round().clip(0, 255).astype(np.uint8)
        shift, holds = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709", fmt
    (tmp_path / "raw").write_bytes(frame.tobytes() * 2)
    words = f"-f rawvideo -pix_fmt {holds} -s 64x48 -r 10 -i".split() + [tmp_path / "raw"]
    if matrix:
        words += ["-vf", shift, "-colorspace", matrix, "-color_primaries", matrix]
        words += ["-color_trc", matrix]
    clip = tmp_path / f"in.{ending}"
    ff(*words, "-c:v", *codec.split(), "-pix_fmt", fmt, clip)
    seen = opened(nb, clip)[1][-1][8:-8].reshape(32, 4, 16, 3)[:, :, 6:10].mean((0, 2))
    assert near(seen, colours), seen


@pytest.fixture(scope="session")
def hdr(tmp_path_factory):
    """Makes five HDR frames, the green 0,184,0, a bright grey, white, as a phone writes them."""
    rgb = np.array([[0, 184, 0], [240, 240, 240], [255, 255, 255]]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_2020 = [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
    linear = linear @ np.array(to_2020).T
    y = np.clip(linear * 203 / 1e4, 0, 1) ** 0.1593017578125
    pq = ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375
    e = linear * 0.265
    bright = 0.17883277 * np.log(np.maximum(12 * e - 0.28466892, 1e-9)) + 0.55991073
    hlg = np.where(e <= 1 / 12, np.sqrt(3 * np.clip(e, 0, 1)), bright)
    signals = {"smpte2084": pq, "arib-std-b67": hlg}
    folder = tmp_path_factory.mktemp("hdr")

    def make(transfer, codec="libx265", ending="mp4", tags="all", turn=None):
        frame = np.repeat(np.repeat((signals[transfer] * 65535).round()[None], 64, 0), 32, 1)
        (folder / "raw").write_bytes(frame.astype("<u2").tobytes() * 5)
        params = f"log-level=none:transfer={transfer}"
        said = f"-color_trc {transfer}"
        if tags == "all":
            params += ":colorprim=bt2020:colormatrix=bt2020nc"
            said += " -color_primaries bt2020 -colorspace bt2020nc"
        own = ["-x265-params", params] if codec == "libx265" else ["-crf", "5", "-b:v", "0"]
        clip = folder / f"{transfer}_{codec}_{tags}.{ending}"
        words = f"-f rawvideo -pix_fmt rgb48le -s 96x64 -r 10 -i {folder / 'raw'}".split()
        marks = f"scale=out_color_matrix=bt2020,setparams=color_trc={transfer}"
        if tags == "all":
            marks += ":color_primaries=bt2020:colorspace=bt2020nc"
        elif tags == "curve":
            marks += ":color_primaries=unknown:colorspace=unknown"
        ff(*words, "-vf", marks, "-pix_fmt", "yuv420p10le",
           "-c:v", codec, *own, *said.split(), clip)  # fmt: skip
        return clip

    return make


def check_hdr(frame, transfer):
    green, grey, white = frame[32, [20, 48, 76]].astype(int)
    assert near(grey, 240, 8), grey  # highlights are not burnt out
    if transfer == "smpte2084":
        assert near(green, (0, 184, 0), 12) and near(white, 255, 12), (green, white)
    else:
        assert white.min() > 240 and green[0] < 50 and green[1] > 150, (green, white)
        assert green[2] < 50


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_hdr_becomes_sdr(nb, tmp_path, hdr, transfer):
    clip = hdr(transfer)
    _, frames = opened(nb, clip)
    check_hdr(frames[0], transfer)
    check_hdr(painted(nb, clip, tmp_path / "out.mp4")[2], transfer)
    check_hdr(np.asarray(nb.first_frames(clip)["0 s"]), transfer)
    left, right = preview(nb, tmp_path, clip)
    assert near(left[2].mean((0, 1)), right[2].mean((0, 1)), 8)


@pytest.mark.parametrize("codec, ending, tags", [
    ("libvpx-vp9", "webm", "all"), ("libaom-av1", "mkv", "all"), ("libx265", "mp4", "some"),
    ("libx265", "mp4", "curve"),
])  # fmt: skip
def test_hdr_of_other_codecs_or_poorly_marked(nb, tmp_path, hdr, codec, ending, tags):
    """YouTube's VP9, AV1; and where only the curve is told, not the primaries."""
    clip = hdr("smpte2084", codec, ending, tags)
    frames = [*nb.open_video(clip)[1]]
    assert len(frames) == 5
    check_hdr(frames[0], "smpte2084")


@pytest.mark.parametrize("codec, ending", [("libvpx-vp9", "webm"), ("libaom-av1", "mkv")])
@pytest.mark.parametrize("size", [(95, 64), (96, 63), (95, 63)])
def test_hdr_of_odd_sizes(nb, tmp_path, hdr, codec, ending, size):
    """zscale refuses half a pair of colours; it says so nowhere, and there is no frame."""
    wide, high = size
    how = f"-vf crop={wide}:{high}:exact=1 -pix_fmt yuv420p10le -crf 5 -b:v 0 -c:v {codec}"
    ff("-i", hdr("smpte2084", codec, ending), *how.split(), tmp_path / f"odd.{ending}")
    about, frames = opened(nb, tmp_path / f"odd.{ending}")
    assert about.size == size and len(frames) == 5
    check_hdr(frames[0], "smpte2084")


# Transparency


def see_through(path, kind):
    """Left half transparent over a hidden red, right half an opaque blue."""
    frame = np.full((48, 64, 4), (255, 0, 0, 0), np.uint8)
    frame[:, 32:] = (0, 0, 220, 255)
    if kind == "gif":
        PIL.Image.fromarray(frame).save(path, save_all=True, append_images=[
            PIL.Image.fromarray(frame[::-1] // 2 * 2)], duration=100, disposal=2)  # fmt: skip
        return path
    raw = path.with_name("raw")
    raw.write_bytes(frame.tobytes() * 3)
    how = {
        "vp8": "-c:v libvpx -pix_fmt yuva420p -b:v 1M -auto-alt-ref 0",
        "vp9": "-c:v libvpx-vp9 -pix_fmt yuva420p -crf 5 -b:v 0",
        "qtrle": "-c:v qtrle -pix_fmt argb",
        "png": "-c:v png -pix_fmt rgba",
        "png16": "-c:v png -pix_fmt rgba64be",
        "prores": "-c:v prores_ks -profile:v 4444 -pix_fmt yuva444p10le",
        "ffv1": "-c:v ffv1 -pix_fmt bgra",
        "apng": "-c:v apng -plays 0 -f apng",
        "pal8": "-filter_complex split[a][b];[a]palettegen[p];[b][p]paletteuse -c:v png",
    }[kind]
    ff(*"-f rawvideo -pix_fmt rgba -s 64x48 -r 10 -i".split(), raw, *how.split(), path)
    return path


@pytest.mark.parametrize("kind, ending", [
    ("vp9", "webm"), ("vp8", "webm"), ("vp9", "mkv"), ("qtrle", "mov"), ("gif", "gif"),
    ("png", "mov"), ("png16", "mov"), ("prores", "mov"), ("ffv1", "mkv"), ("apng", "apng"),
    ("pal8", "mov"),
])  # fmt: skip
def test_transparency_is_laid_on_white(nb, tmp_path, kind, ending):
    clip = see_through(tmp_path / f"in.{ending}", kind)
    for frame in opened(nb, clip)[1]:
        assert near(frame[5:-5, 4:26], 255, 4), frame[24, 10]
        assert near(frame[24, 50], (0, 0, 220), 8)


def test_transparent_and_turned(nb, tmp_path):
    clip = see_through(tmp_path / "flat.mov", "qtrle")
    ff("-display_rotation", "90", "-i", clip, "-c", "copy", tmp_path / "in.mov")
    about, frames = opened(nb, tmp_path / "in.mov")
    assert about.size == (48, 64)
    assert near(frames[0][50, 24], 255) and near(frames[0][10, 24], (0, 0, 220), 4)


@pytest.mark.parametrize("ending", ["vob", "3g2", "asf", "dv", "mxf"])
def test_clips_of_camcorders_and_discs_in_a_folder(nb, tmp_path, ending):
    folder = tmp_path / "in"
    folder.mkdir()
    size = "720x576" if ending == "dv" else "64x48"  # it has no other
    clip = make_clip(tmp_path / "made.mp4", size, "25", 0.2, sound=False)
    how = {"vob": "mpeg2video", "dv": "dvvideo", "mxf": "mpeg2video", "asf": "wmv2"}
    ff("-i", clip, "-c:v", how.get(ending, "copy"), folder / f"old.{ending.upper()}")
    (done,) = nb.stylize_folder(Tinted(), folder, tmp_path / "out")
    assert done.name == "old.mp4" and 4 <= len(read(done)) <= 6
    assert nb.clips_in(folder)


def test_a_recording_without_a_keyframe_is_one_sentence(nb, tmp_path):
    """A dump of a live stream: headers, and no packet from which a picture can be made. In a folder
    it is passed over."""
    make_clip(tmp_path / "whole.flv", extra="-g 1000 -c:v libx264".split())
    data, at, folder = (tmp_path / "whole.flv").read_bytes(), 13, tmp_path / "in"
    kept = data[:at]
    while at < len(data):  # FLV's tags: kind, 3 bytes of length; codec and frame's kind come first
        end = at + 15 + int.from_bytes(data[at + 1 : at + 4], "big")
        if not (data[at] == 9 and data[at + 11] >> 4 == 1 and data[at + 12] == 1):
            kept += data[at:end]
        at = end
    folder.mkdir()
    (folder / "live.flv").write_bytes(kept)
    assert len(kept) < len(data)
    with pytest.raises(nb.Problem, match="live.flv is no video"):
        nb.open_video(folder / "live.flv")
    make_clip(folder / "more.mp4", seconds=0.1)
    done = nb.stylize_folder(Tinted(), folder, tmp_path / "out")
    assert [path.name for path in done] == ["more.mp4"]


# Sound


@pytest.mark.parametrize("how, name", [
    ("mpeg1video -c:a mp2", "a.mpg"), ("mpeg2video -bf 2 -c:a mp2", "a.mpg"),
    ("mpeg2video -c:a ac3", "a.vob"), ("mpeg4 -bf 2 -c:a mp3", "a.avi"),
    ("libx264 -bf 3 -c:a mp3", "a.avi"), ("flv -c:a mp3 -ar 44100", "a.flv"),
])  # fmt: skip
def test_packets_that_do_not_tell_their_times(nb, tmp_path, how, name):
    """Camcorders' discs, old AVIs, Flash: the clip's rate and frames, all of its sound. (A codec's
    delay counts as up to two pictures at the beginning.)"""
    numbered(tmp_path / "in.mp4", 50, sound=2)
    ff("-i", tmp_path / "in.mp4", "-q:v", "2", "-c:v", *how.split(), tmp_path / name)
    about, frames = nb.open_video(tmp_path / name)
    assert about.rate == 25 and 48 <= about.frames <= 52 and 50 <= len([*frames]) <= 52
    seen = numbers(painted(nb, tmp_path / name, tmp_path / "out.mp4"))
    assert seen[-50:] == [*range(50)] and set(seen[:-50]) <= {0}
    after, sounds = opened(nb, tmp_path / "out.mp4")[0].sound, []
    for clip in (tmp_path / name, tmp_path / "out.mp4"):
        wave = nb.run_ffmpeg("-i", clip, *"-map 0:a -f framecrc -".split()).splitlines()
        sounds.append(sum(int(line.split(",")[3]) for line in wave if line[0] != "#"))
    assert len(after) == 1 and sounds[1] == pytest.approx(sounds[0], rel=0.03)


@pytest.mark.parametrize("layout", ["7.1.4", "22.2"])
def test_more_channels_than_aac_has_are_heard_in_stereo(nb, tmp_path, layout):
    """As a player mixes them; the sample of 7.1 stays as it is."""
    clip = numbered(tmp_path / "in.mp4", 25)
    for name, sound in (("many", layout), ("usual", "7.1")):
        noise = f"anoisesrc=r=48000:d=1,aformat=channel_layouts={sound}"
        ff("-i", clip, "-f", "lavfi", "-i", noise, "-c:v", "copy", "-c:a", "pcm_s16le",
           tmp_path / f"{name}.mkv")  # fmt: skip
        painted(nb, tmp_path / f"{name}.mkv", tmp_path / f"{name}.mp4")
    assert "stereo" in probe(tmp_path / "many.mp4") and "7.1" in probe(tmp_path / "usual.mp4")


def test_a_sound_track_that_nobody_can_decode(nb, tmp_path):
    """As in the recordings of newer phones: AAC, and a second track of a kind that ffmpeg lacks."""
    numbered(tmp_path / "a.mp4", 20, sound=1)
    tracks = "-map 0:v -map 0:a -map 0:a -c copy".split()
    ff("-i", tmp_path / "a.mp4", *tracks, tmp_path / "in.mp4")
    head, middle, end = (tmp_path / "in.mp4").read_bytes().rpartition(b"mp4a")
    assert middle and b"esds" in end
    (tmp_path / "in.mp4").write_bytes(head + b"apac" + end.replace(b"esds", b"xsds", 1))
    painted(nb, tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert opened(nb, tmp_path / "out.mp4")[0].sound == ["aac"]


def test_screen_grabs_whose_fourth_byte_means_nothing(nb, tmp_path):
    """Uncompressed AVI, 32 bits a pixel, the last eight 0: no transparency."""
    pixels = np.zeros((5, 48, 64, 4), np.uint8)
    pixels[..., 2] = 200
    (tmp_path / "in.raw").write_bytes(pixels.tobytes())
    form = "-f rawvideo -pix_fmt bgra -s 64x48 -r 25".split()
    ff(*form, "-i", tmp_path / "in.raw", "-c:v", "rawvideo", tmp_path / "in.avi")
    assert middles(opened(nb, tmp_path / "in.avi")[1]) == [[200, 0, 0]] * 5


@pytest.mark.parametrize("seconds", [3, 9])
def test_sound_longer_than_the_picture(nb, tmp_path, capsys, seconds):
    clip = numbered(tmp_path / "in.mp4", 25, sound=seconds)
    assert opened(nb, clip)[0].frames == 25
    assert list(nb.first_frames(clip)) == ["0 s", "0.24 s", "0.48 s", "0.72 s"]
    assert numbers(painted(nb, clip, tmp_path / "out.mp4")) == [*range(25)]
    said = capsys.readouterr()
    name = re.escape(str(tmp_path / "out.mp4"))
    assert re.fullmatch(rf"{name}: 25 frames in \d+\.\d s\n", said.out) and "25/25" in said.err
    assert opened(nb, tmp_path / "out.mp4")[0].sound == ["aac"]


@pytest.mark.parametrize("first", ["sound", "picture"])
def test_sound_and_picture_that_begin_apart(nb, tmp_path, first):
    """Half a second apart: no picture is lost, and what belongs together stays together."""
    numbered(tmp_path / "v.mp4", 50)
    begin = 1.5 if first == "sound" else 0.5  # of the tone in its track: when number 25 is seen
    tone = f"aevalsrc='gt(t,{begin})*sin(2764*t)*0.5:d=3'"
    ff("-f", "lavfi", "-i", tone, "-c:a", "aac", tmp_path / "a.m4a")
    late = ["-itsoffset", "0.5"]
    pair = ["-i", tmp_path / "v.mp4"], ["-i", tmp_path / "a.m4a"]
    words = late * (first == "sound") + pair[0] + late * (first == "picture") + pair[1]
    ff(*words, "-c", "copy", tmp_path / "in.mkv")
    _, frames = nb.open_video(tmp_path / "in.mkv")
    seen = numbers(frames)
    assert seen[-1] == 49 and set(seen) == {*range(50)}
    paint = painted(nb, tmp_path / "in.mkv", tmp_path / "out.mp4")
    assert set(numbers(paint)) == {*range(50)}
    raw = f"-v error -i {tmp_path}/out.mp4 -map 0:a -af aresample=8000:async=1:first_pts=0"
    raw = f"{raw} -ac 1 -f s16le -".split()
    sound = np.frombuffer(subprocess.run([FFMPEG, *raw], capture_output=True).stdout, np.int16)
    heard = np.argmax(np.abs(sound) > 3000) / 8000
    assert abs(numbers(paint).index(25) / 25 - heard) < 0.1


def test_every_sound_track_is_kept(nb, tmp_path):
    clip = numbered(tmp_path / "v.mp4", 10)
    tones = [["-f", "lavfi", "-i", f"sine={n}:duration=0.4"] for n in (300, 500, 700)]
    two = [*tones[0], *tones[1], *"-map 0 -map 1 -map 2 -c:v copy -c:a aac".split()]
    ff("-i", clip, *two, tmp_path / "two.mp4")
    how = "-map 0 -map 1 -map 2 -map 3 -c:v copy -c:a:0 aac -c:a:1 libopus -c:a:2 flac".split()
    ff("-i", clip, *itertools.chain(*tones), *how, tmp_path / "three.mkv")
    for name, codecs in (("two.mp4", ["aac"] * 2), ("three.mkv", ["aac", "opus", "flac"])):
        assert opened(nb, tmp_path / name)[0].sound == codecs
        assert in_order(painted(nb, tmp_path / name, tmp_path / "out.mp4"), 10)
        assert opened(nb, tmp_path / "out.mp4")[0].sound == ["aac"] * len(codecs)


def test_a_webm_with_opus(nb, tmp_path):
    numbered(tmp_path / "v.mp4", 25, sound=1)
    ff("-i", tmp_path / "v.mp4", *"-c:v libvpx -b:v 1M -c:a libopus".split(), tmp_path / "in.webm")
    frames = painted(nb, tmp_path / "in.webm", tmp_path / "out.mp4")
    assert numbers(frames) == [*range(25)] and len(frames) == 25
    assert opened(nb, tmp_path / "out.mp4")[0].sound == ["aac"]


# Other streams


def cover(folder):
    (folder / "cover.jpg").write_bytes(encoded(PIL.Image.new("RGB", (300, 300), "red"), "JPEG"))
    return folder / "cover.jpg"


def boxes(data):
    """An MP4's boxes: [(kind, bytes)]."""
    at = 0
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        yield kind, data[at : at + size]
        at += size


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_cover_is_not_the_picture(nb, tmp_path, ending):
    """A red cover, in MP4 before the tracks, so that it is the first stream."""
    clip = numbered(tmp_path / f"v.{ending}", 10, sound=1)
    both, art = tmp_path / f"in.{ending}", cover(tmp_path)
    if ending == "mkv":
        ff("-i", clip, "-attach", art, "-metadata:s:2", "mimetype=image/jpeg", "-c", "copy", both)
    else:
        how = "-map 0 -map 1 -c copy -disposition:v:0 attached_pic".split()
        ff("-i", art, "-i", clip, *how, both)
    if ending == "mp4":
        whole = dict(boxes(both.read_bytes()))
        assert list(whole)[-1] == b"moov"
        parts = sorted(boxes(whole[b"moov"][8:]), key=lambda box: box[0] != b"udta")
        moov = whole[b"moov"][:8] + b"".join(part for _, part in parts)
        both.write_bytes(b"".join([*whole.values()][:-1]) + moov)
    assert "attached pic" in probe(both)
    assert opened(nb, both)[0].size == (64, 48)
    frames = painted(nb, both, tmp_path / "out.mp4")
    assert frames.shape[1:3] == (48, 64) and in_order(frames, 10)
    left, right = map(numbers, preview(nb, tmp_path, both))  # ffmpeg 7 repeats some
    assert [*dict.fromkeys(left)] == [*dict.fromkeys(right)] == [*range(10)]


@pytest.mark.parametrize("ending", ["mp3", "m4a", "flac"])
def test_a_song_with_a_cover_is_a_problem(nb, tmp_path, ending):
    tone = ["-f", "lavfi", "-i", "sine=duration=1", "-i", cover(tmp_path)]
    how = "-map 0 -map 1 -c:v copy -disposition:v attached_pic".split()
    ff(*tone, *how, tmp_path / f"song.{ending}")
    assert "attached pic" in probe(tmp_path / f"song.{ending}")
    with pytest.raises(nb.Problem, match="song.* is no video .*no picture"):
        nb.stylize_video(Tinted(), tmp_path / f"song.{ending}", tmp_path / "out.mp4")


def test_subtitles_timecodes_and_data_are_passed_over(nb, tmp_path):
    clip = numbered(tmp_path / "v.mp4", 25, sound=1)
    (tmp_path / "t.srt").write_text("1\n00:00:00,000 --> 00:00:05,000\nHello\n\n")
    for ending, kind in (("mp4", "mov_text"), ("mkv", "srt"), ("mkv", "ass"), ("mov", "mov_text")):
        sub = ["-i", tmp_path / "t.srt", "-map", "1", "-map", "0", "-c", "copy", "-c:s", kind]
        time = ["-timecode", "01:00:00:00"] if ending == "mov" else []
        ff("-i", clip, *sub, *time, tmp_path / f"in.{ending}")
        said = probe(tmp_path / f"in.{ending}")
        assert "Subtitle" in said and ("tmcd" in said) == (ending == "mov")
        about, frames = nb.open_video(tmp_path / f"in.{ending}")
        assert about.sound == ["aac"] and in_order(frames, 25)
    assert numbers(painted(nb, tmp_path / "in.mov", tmp_path / "out.mp4")) == [*range(25)]
    assert "Subtitle" not in probe(tmp_path / "out.mp4")


NOTES = [
    "Stream #0:0: Video: h264, 1x1, 5 fps", "Duration: 00:00:00.01",
    "[Parsed_showinfo_0 @ 0x1] n:0 fmt:rgba color_trc:smpte2084",
    "x\n[Parsed_showinfo_0 @ 0x1] n:0 fmt:rgba color_trc:smpte2084",
    "x\r[Parsed_showinfo_0 @ 0x1] n:0 fmt:rgba color_trc:smpte2084",
    "#dimensions 0: 1x1\n#tb 0: 1/1\n0, 0, 0, 9, 9, 0x0", "alpha_mode: 1", "x" * 9000,
]  # fmt: skip


@pytest.mark.parametrize("ending", ["mkv", "webm"])
def test_notes_that_look_like_what_ffmpeg_says(nb, tmp_path, ending):
    """The title and the comment change nothing."""
    extra = ("-c:v", "libvpx-vp9", "-lossless", "1") if ending == "webm" else LOSSLESS
    plain = numbered(tmp_path / f"plain.{ending}", 6, extra=extra)
    before, a = opened(nb, plain)
    places = itertools.product(("-metadata", "-metadata:s:v"), ("title", "comment"))
    for text, (where, key) in zip(NOTES, itertools.cycle(places)):
        ff("-i", plain, "-c", "copy", where, f"{key}={text}", tmp_path / f"in.{ending}")
        after, b = opened(nb, tmp_path / f"in.{ending}")
        assert near(a, b, 1)  # "alpha_mode" chooses another decoder
        assert (before.size, before.rate) == (after.size, after.rate)


# Rates and times


@pytest.mark.parametrize("rate", "24000/1001 30000/1001 60000/1001 120000/1001 240 1/5".split())
def test_a_constant_rate_is_kept_exactly(nb, tmp_path, rate):
    clip = numbered(tmp_path / "in.mp4", 60, rate)
    about, frames = opened(nb, clip)
    assert about.rate == Fraction(rate) and numbers(frames) == [*range(60)]


@pytest.mark.parametrize("void", [False, True])
@pytest.mark.parametrize("rate", ["24", "25", "30", "30000/1001", "60"])
def test_stamps_of_whole_milliseconds(nb, tmp_path, rate, void):
    """Matroska's; void: the header does not tell the frames' duration either."""
    clip = numbered(tmp_path / "in.mkv", 60, rate)
    if void:
        without_default_duration(clip)
    about, frames = opened(nb, clip)
    assert abs(about.rate / Fraction(rate) - 1) < 0.01
    assert set(numbers(frames)) == {*range(60)} and 59 <= len(frames) <= 61


def test_a_browsers_recording(nb, tmp_path):
    """MediaRecorder's WebM: neither length nor rate in its header, the times a little uneven."""
    clip = tmp_path / "in.webm"
    times = "settb=1/1000,setpts='(N*16.67+mod(N*N\\,7))/1000/TB'"
    source = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=60:duration=2", "-vf", times]
    how = "-fps_mode passthrough -enc_time_base 1/1000 -c:v libvpx -deadline realtime -f webm"
    ff(*source, *how.split(), "-live", 1, "-write_crc32", 0, clip)
    about, frames = nb.open_video(without_default_duration(clip))
    frames = [*frames]
    assert about.rate >= 50 and abs(about.frames - len(frames)) <= 2
    assert abs(len(frames) / about.rate - 2) < 0.05
    assert list(nb.first_frames(clip)) == ["0 s", "0.5 s", "1 s", "1.5 s"]
    painted(nb, clip, tmp_path / "out.mp4")
    assert abs(picture_seconds(tmp_path / "out.mp4") - 2) < 0.05


def test_one_short_gap_makes_no_clip_of_1000_frames_a_second(nb, tmp_path):
    """A browser's recording again, in which two frames are a millisecond apart."""
    times = "N*33+mod(N*N\\,7)-33*eq(N\\,100)+eq(N\\,100)*(0.5+mod(99*99\\,7)-mod(100*100\\,7))"
    source = "-f lavfi -i testsrc=size=64x48:rate=30:duration=10 -vf".split()
    how = "-fps_mode passthrough -enc_time_base 1/1000 -c:v libvpx -deadline realtime -f webm"
    clip = tmp_path / "in.webm"
    ff(*source, f"settb=1/1000,setpts='({times})/1000/TB'", *how.split(), "-live", 1, clip)
    about, frames = nb.open_video(without_default_duration(clip))
    assert about.rate == 100 and abs(len([*frames]) - 1000) <= 20


@pytest.mark.parametrize("rate, jitter", [(120, 0.1), (240, 0.16)])
def test_a_fast_clip_a_little_uneven_loses_no_frames(nb, tmp_path, rate, jitter):
    numbered(tmp_path / "even.mp4", 250, str(rate))
    shift = f"setpts='(N+{jitter}*mod(N*N\\,3))/{rate}/TB'"
    how = "-fps_mode passthrough -enc_time_base 1/90000 -video_track_timescale 90000".split()
    ff("-i", tmp_path / "even.mp4", "-vf", shift, *how, tmp_path / "in.mp4")
    about, frames = nb.open_video(tmp_path / "in.mp4")
    assert len(set(numbers(frames))) >= 245 and about.rate < 2 * rate


def test_a_gif_of_uneven_delays(nb, tmp_path):
    colours = ["red", "lime", "blue", "yellow", "cyan", "magenta", "black", "orange"]
    pictures = [PIL.Image.new("RGB", (64, 48), colour) for colour in colours]
    delays = [20, 20, 500, 40, 1000, 30, 20, 200]
    rest = dict(save_all=True, append_images=pictures[1:], loop=0)
    pictures[0].save(tmp_path / "in.gif", duration=delays, **rest)
    seen = middles(painted(nb, tmp_path / "in.gif", tmp_path / "out.mp4"))
    wanted = [PIL.Image.new("RGB", (1, 1), colour).getpixel((0, 0)) for colour in colours]
    runs = [next(i for i, w in enumerate(wanted) if near(c, w, 12)) for c in seen]
    assert [number for number, _ in itertools.groupby(runs)] == [*range(8)]
    assert abs(picture_seconds(tmp_path / "out.mp4") - sum(delays) / 1000) <= 0.05
    painted_gif = nb.stylize_video(Tinted(), tmp_path / "in.gif", tmp_path / "out.gif", strength=0)
    with PIL.Image.open(painted_gif) as gif:
        length = 0
        for n in range(gif.n_frames):
            gif.seek(n)
            length += gif.info["duration"]
    assert abs(length - sum(delays)) <= 50


@pytest.mark.parametrize("delay", [None, 0, 10, 100])
def test_a_gif_of_one_picture_or_without_delays(nb, tmp_path, delay):
    pictures = [PIL.Image.new("RGB", (64, 48), c) for c in ("red", "lime", "blue")]
    if delay is None:
        pictures[0].save(tmp_path / "in.gif")
    else:
        more = dict(save_all=True, append_images=pictures[1:])
        pictures[0].save(tmp_path / "in.gif", duration=delay, **more)
    count = 1 if delay is None else 3
    _, frames = opened(nb, tmp_path / "in.gif")
    seen = [colour for colour, _ in itertools.groupby(middles(frames))]
    assert near(seen, [(255, 0, 0), (0, 255, 0), (0, 0, 255)][:count])
    assert len(painted(nb, tmp_path / "in.gif", tmp_path / "out.mp4")) == len(frames)
    assert len(nb.first_frames(tmp_path / "in.gif")) == min(4, len(frames))


@pytest.mark.parametrize("ending", ["webm", "ts", "mkv", "avi"])
def test_a_clip_of_one_frame(nb, tmp_path, ending):
    extra = ("-c:v", "libvpx", "-b:v", "1M") if ending == "webm" else ()
    clip = numbered(tmp_path / f"in.{ending}", 1, extra=extra, first=40)
    about, frames = opened(nb, clip)
    assert numbers(frames) == [40]
    assert list(nb.first_frames(clip)) == ["0 s"]
    assert numbers(painted(nb, clip, tmp_path / "out.mp4")) == [40]


@pytest.mark.parametrize("gap", [0.2, 0.9, 6.3])
def test_one_odd_gap_changes_no_rate(nb, tmp_path, gap):
    """A phone's clip, 30 a second, but for one gap (in frames): the rest keeps its rate."""
    numbered(tmp_path / "even.mp4", 150, "30")
    shift = f"setpts='(N+gt(N,49)*({gap}-1))/30/TB'"
    how = "-fps_mode passthrough -enc_time_base 1/90000 -video_track_timescale 90000".split()
    ff("-i", tmp_path / "even.mp4", "-vf", shift, *how, tmp_path / "in.mp4")
    about, frames = nb.open_video(tmp_path / "in.mp4")
    seen = numbers(frames)
    assert abs(float(about.rate) / 30 - 1) < 0.02
    assert abs(len(seen) - (149 + gap)) <= 1.5 and about.frames - len(seen) in (-1, 0, 1)
    assert len(set(seen)) >= 149 and seen[-1] == 149


def test_a_part_cut_out_by_an_edit_list(nb, tmp_path):
    """Cut between keyframes without encoding: what lies before the cut is in the file, unseen."""
    clip = numbered(tmp_path / "v.mp4", 75, extra=("-g", "50"), sound=3)
    ff("-ss", 1, "-i", clip, "-c", "copy", tmp_path / "in.mp4")
    about, frames = nb.open_video(tmp_path / "in.mp4")
    seen = numbers(frames)
    assert seen == [*range(25, 75)] and about.frames == 50
    assert numbers(opened(nb, tmp_path / "in.mp4", 1.0)[1])[:3] == [50, 51, 52]
    assert numbers(painted(nb, tmp_path / "in.mp4", tmp_path / "out.mp4")) == [*range(25, 75)]


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_a_clip_whose_first_packet_is_missing(nb, tmp_path, ending):
    """It begins between two keyframes: what can be seen is from the second one on."""
    clip = numbered(tmp_path / "v.mp4", 75, extra=("-g", "25", "-bf", "0"))
    lost = ["-c", "copy", "-copyinkf", "-bsf:v", "noise=drop=eq(n\\,0)"]
    ff("-i", clip, *lost, tmp_path / f"in.{ending}")
    _, frames = nb.open_video(tmp_path / f"in.{ending}")
    seen = numbers(frames)
    assert seen[-1] == 74 and {*range(25, 75)} <= set(seen)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "gif"])
def test_a_slide_show(nb, tmp_path, ending):
    """Three pictures of five seconds each: all are seen, each of the sheet's at its time."""
    how = ("-pix_fmt", "rgb8") if ending == "gif" else ()
    clip = numbered(tmp_path / f"in.{ending}", 3, "1/5", how)
    about, frames = opened(nb, clip)
    assert [*dict.fromkeys(numbers(frames))] == [0, 1, 2]
    assert abs(len(frames) / about.rate - 15) < 0.3
    painted(nb, clip, tmp_path / "out.mp4")
    assert abs(picture_seconds(tmp_path / "out.mp4") - 15) < 0.3
    shown = nb.first_frames(clip)
    assert [numbers([np.asarray(v)])[0] for v in shown.values()] == [
        int(float(title.split()[0]) // 5) for title in shown
    ]


@pytest.mark.parametrize("start", [6.1, 7.0, 7.9])
def test_sound_begins_with_the_first_frame_of_a_slide_show(nb, tmp_path, start):
    """Which is shown from the nearest slide on."""
    clip = numbered(tmp_path / "in.mp4", 4, "1/5", sound=20)
    out = tmp_path / "out.mp4"
    pictures = numbers(painted(nb, clip, out, start=start))
    first = round(start / 5)
    assert pictures == [*range(first, 4)]
    words = f"-v error -i {out} -map 0:a -ac 1 -ar 1000 -f s16le -".split()
    sound = subprocess.run([FFMPEG, *words], capture_output=True, check=True).stdout
    assert abs(len(sound) / 2000 - (20 - 5 * first)) < 0.2


def test_a_folder_of_clips_is_painted_anew_by_other_settings(nb, tmp_path):
    """And by another network; what is there already is passed over."""
    (tmp_path / "clips").mkdir()
    numbered(tmp_path / "clips" / "a.mp4", 20, "10")
    other = Tinted()
    other.scale.data *= 0.9
    made = []
    for network, how in ((Tinted(), dict(duration=1)), (Tinted(), {}), (other, {}), (other, {})):
        before = names(tmp_path / "out") if made else []
        (path,) = nb.stylize_clips(network, tmp_path / "clips", tmp_path / "out", "x", **how)
        made.append((path, len(read(path)), names(tmp_path / "out") == before))
    assert [count for _, count, _ in made] == [10, 20, 20, 20]
    assert len({path for path, *_ in made}) == 3 and [same for *_, same in made][-1]
    assert nb.stylize_clips(other, None, tmp_path, "x") == []


def test_a_folder_of_clips_is_painted_anew_by_another_mixture(nb, tmp_path):
    """The same networks, other shares."""
    (tmp_path / "clips").mkdir()
    numbered(tmp_path / "clips" / "a.mp4", 5, "10")
    made = set()
    for share in (0.9, 0.1, 0.1):
        mixture = nb.Mixture({Tinted(): share, nb.nn.Identity(): 1 - share})
        made |= {*nb.stylize_clips(mixture, tmp_path / "clips", tmp_path / "out", "x")}
    assert len(made) == 2


@pytest.mark.parametrize("good", ["a.mkv", "a.mp4"])
def test_beside_each_painting_is_its_own_original(nb, tmp_path, monkeypatch, good):
    """In run-play, where a broken clip of the same name comes first (and is passed over)."""
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.avi").write_text("no clip")
    numbered(tmp_path / "clips" / good, 10, "10")
    painted_clips = nb.stylize_clips(Tinted(), tmp_path / "clips", tmp_path / "out", "x")
    shown = []
    chosen = types.SimpleNamespace(clip_start=0.0, clip_duration=None, side_by_side=False)
    run_cell("run-play", vars(nb) | dict(
        painted_clips=painted_clips, chosen=chosen, clip=tmp_path / "clips",
        show_pictures=lambda sheet: None, show_video=lambda *given: shown.append(given[0].name),
    ))  # fmt: skip
    assert shown == [good]


def test_a_control_that_does_not_exist_is_not_passed_over(nb, tmp_path):
    """`stroke_size` is the setting's name, `scale` the argument's."""
    (tmp_path / "in").mkdir()
    PIL.Image.new("RGB", (40, 40)).save(tmp_path / "in" / "a.png")
    with pytest.raises(TypeError, match="stroke_size"):
        nb.stylize_folder(Tinted(), tmp_path / "in", tmp_path / "out", stroke_size=2.0)
    nb.stylize_folder(Tinted(), tmp_path / "in", tmp_path / "out", scale=2.0, side_by_side=True)
    assert names(tmp_path / "out") == ["a.png"]


def test_two_folders_of_one_name_are_two(nb, tmp_path):
    """And a clip that changed is painted again: beside it, another one's would be shown."""
    made = []
    for count, day in ((5, "monday"), (8, "tuesday"), (10, "tuesday")):
        (tmp_path / day / "clips").mkdir(parents=True, exist_ok=True)
        numbered(tmp_path / day / "clips" / "a.mp4", count, "10")
        made += nb.stylize_clips(Tinted(), tmp_path / day / "clips", tmp_path / "out", "x")
    assert [len(read(path)) for path in made] == [5, 10, 10] and made[1] == made[2] != made[0]


def test_a_stopped_clip_leaves_no_other_clips_painting(nb, tmp_path):
    """Run-video stopped hard, then run-play: not the former clip's painting beside this clip."""
    controls = dict(side_by_side=False, clip_start=0.0, clip_duration=None, max_frames=None)
    seen = vars(nb) | dict(
        chosen=types.SimpleNamespace(**controls, steady=0.5), controls={}, network=None, clip=None,
        style_name="x", places=types.SimpleNamespace(outputs=tmp_path), stylize_clips=stopped,
        painted_clips=[tmp_path / "former.mp4"],
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        run_cell("run-video", seen)
    assert seen["painted_clips"] == []


def test_the_stop_button_is_not_for_ffmpeg(nb, tmp_path):
    """Jupyter's goes to all processes of the kernel's group: sound would be lost, clips refused."""
    words = "-re -f lavfi -i testsrc=s=32x32:d=2 -f null -".split()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        job = pool.submit(nb.run_ffmpeg, *words)
        children = pathlib.Path(f"/proc/{os.getpid()}/task").glob("*/children")
        time.sleep(0.5)
        running = [int(pid) for path in children for pid in path.read_text().split()]
        groups = [os.getpgid(pid) for pid in running if "testsrc" in command_of(pid)]
        job.result()
    assert groups and os.getpgrp() not in groups


def command_of(pid) -> str:
    return pathlib.Path(f"/proc/{pid}/cmdline").read_text()


def test_folders_of_clips_with_dots_in_their_names(nb, tmp_path):
    """Two days of a holiday: two folders of paintings."""
    for count in (5, 8):
        folder = tmp_path / f"trip 2024.05.{count}"
        folder.mkdir()
        numbered(folder / "a.mp4", count, "10")
        (path,) = nb.stylize_clips(Tinted(), folder, tmp_path / "out", "x")
        assert len(read(path)) == count and path.parent.name.startswith(f"{folder.name}_x-")


def test_a_fragmented_mp4_cut_off(nb, tmp_path):
    """As a browser or a crashed recorder leaves it: no length in its header, half a fragment."""
    loose = ("-movflags", "empty_moov+default_base_moof+frag_keyframe", "-g", "10")
    clip = numbered(tmp_path / "in.mp4", 50, extra=loose, noise=20)
    clip.write_bytes(clip.read_bytes()[:-2000])
    about, frames = nb.open_video(clip)
    seen = numbers(frames)
    assert 39 <= len(seen) < 50 and seen == [*range(len(seen))]
    assert abs(about.frames - len(seen)) <= 1
    assert numbers(painted(nb, clip, tmp_path / "out.mp4")) == seen


# Transport streams


@pytest.mark.parametrize("every", [50, 250])
def test_a_transport_stream_from_its_middle_on(nb, tmp_path, every):
    clip = numbered(tmp_path / "in.ts", 75, extra=("-g", str(every)), sound=3)
    assert in_order(nb.open_video(clip)[1], 75)  # the sound begins 0.02 s earlier
    seen = numbers(nb.open_video(clip, 1.0)[1])
    assert [*dict.fromkeys(seen)] == [*range(seen[0], 75)] and seen[0] in (24, 25)
    assert list(nb.first_frames(clip, 1.0)) == ["1 s", "1.48 s", "1.96 s", "2.44 s"]
    part = painted(nb, clip, tmp_path / "out.mp4", start=1.0, duration=1.0)
    assert numbers(part) == seen[:25]


def test_a_transport_stream_entered_between_keyframes(nb, tmp_path):
    """As a recording of TV begins: before the first keyframe there is nothing to see."""
    how = ("-g", "30", "-bf", "0")
    clip = numbered(tmp_path / "v.ts", 75, extra=how, sound=3, noise=30)
    data = clip.read_bytes()
    (tmp_path / "in.ts").write_bytes(data[len(data) // 188 // 5 * 188 :])
    about, frames = nb.open_video(tmp_path / "in.ts")
    seen = [*dict.fromkeys(numbers(frames))]
    assert seen[-1] == 74 and {*range(31, 75)} <= set(seen)
    paint = numbers(painted(nb, tmp_path / "in.ts", tmp_path / "out.mp4"))
    assert paint[-1] == 74 and {*range(31, 75)} <= set(paint)
    whole = numbers(nb.open_video(tmp_path / "in.ts")[1])
    part = numbers(nb.open_video(tmp_path / "in.ts", 1.0)[1])
    assert part == whole[25:]


def test_transport_streams_one_after_the_other(nb, tmp_path):
    """Files put together byte by byte: the times begin anew in the middle."""
    parts = [numbered(tmp_path / f"{n}.ts", 25, sound=1, first=30 * n) for n in range(2)]
    (tmp_path / "in.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    about, frames = nb.open_video(tmp_path / "in.ts")
    assert [*dict.fromkeys(numbers(frames))] == [*range(25), *range(30, 55)]
    paint = numbers(painted(nb, tmp_path / "in.ts", tmp_path / "out.mp4"))
    assert [*dict.fromkeys(paint)] == [*range(25), *range(30, 55)] and len(paint) <= 54


@pytest.mark.parametrize("codec", ["mpeg2video -q:v 1", "libx264 -qp 0"])
def test_interlaced(nb, tmp_path, codec):
    how = ("-c:v", *codec.split(), "-flags", "+ilme+ildct")
    clip = numbered(tmp_path / "in.ts", 25, extra=how, size=(64, 64), sound=1)
    about, frames = nb.open_video(clip)
    assert about.rate == 25 and in_order(frames, 25)


@pytest.mark.parametrize("start", [0.0, 0.5])
@pytest.mark.parametrize("ending", ["ts", "mts", "mpg", "mkv", "mp4"])
@pytest.mark.parametrize(
    "first", ["[0:v]trim=0.6[v];[1:a]anull[a]", "[0:v]null[v];[1:a]atrim=0.6[a]"]
)
def test_sound_and_picture_that_begin_apart_stay_together(nb, tmp_path, ending, first, start):
    """As recordings of TV, cut anywhere, do: a flash and a beep, 1.6 seconds from the earlier."""
    frames = [np.full((48, 64, 3), 230 if 40 <= n < 50 else 40, np.uint8) for n in range(75)]
    write_clip(tmp_path / "v.mkv", frames, "25")
    tone = "aevalsrc=0.8*sin(6283*t)*between(t\\,1.6\\,2):s=48000:d=3"
    codec = "-c:v mpeg2video -q:v 2 -c:a mp2" if ending == "mpg" else "-c:v libx264 -crf 9 -c:a ac3"
    how = ("-filter_complex", first, "-map", "[v]", "-map", "[a]", *codec.split())
    clip = tmp_path / f"in.{ending}"
    ff("-i", tmp_path / "v.mkv", "-f", "lavfi", "-i", tone, *how, clip)
    target = tmp_path / "out.mp4"
    bright = [frame.mean() > 128 for frame in painted(nb, clip, target, start=start)]
    how = "-af aresample=8000:first_pts=0 -ac 1 -f f32le -".split()
    words = [FFMPEG, "-v", "error", "-i", target, *how]
    sound = np.frombuffer(subprocess.run(words, capture_output=True, check=True).stdout, np.float32)
    beep = (np.abs(sound) > 0.2).argmax() / 8000
    assert bright.index(True) / 25 == pytest.approx(beep, abs=0.025)  # 0.02, and a wave's rise
    assert beep == pytest.approx(1.6 - start, abs=0.65) and sum(bright) == 10


@pytest.mark.parametrize("codec", ["libx264 -bf 3", "libx265 -x265-params bframes=3:log-level=0"])
def test_pauses_and_b_frames(nb, tmp_path, codec):
    """As phones and screen recorders write them: the lengths of an MP4's frames are differences of
    decoding times. Each frame is shown from its own time on, until the next one comes."""
    numbered(tmp_path / "v.mkv", 125, extra=LOSSLESS)
    seen = [n for n in range(125) if not 37 <= n < 55 and not 80 <= n < 102 and n % 7 != 3]
    chosen = "+".join(f"eq(n\\,{n})" for n in seen)
    how = ("-vf", f"select={chosen}", *"-fps_mode passthrough -crf 5 -c:v".split(), *codec.split())
    ff("-i", tmp_path / "v.mkv", *how, tmp_path / "in.mp4")
    wanted = [max(m for m in seen if m <= n) for n in range(125)]
    assert numbers(opened(nb, tmp_path / "in.mp4")[1]) == wanted
    assert numbers(nb.open_video(tmp_path / "in.mp4", 2.0)[1]) == wanted[50:]
    assert numbers(painted(nb, tmp_path / "in.mp4", tmp_path / "out.mp4")) == wanted


# Folders


def frames_folder(folder, count=8):
    folder.mkdir()
    for n in range(count):
        PIL.Image.new("RGB", (64, 48), (30 * n, 0, 0)).save(folder / f"{n}.png")
    return folder


def test_a_folder_of_frames_everywhere(nb, tmp_path):
    folder = frames_folder(tmp_path / "frames")
    about, frames = opened(nb, folder)
    wanted = [[30 * n, 0, 0] for n in range(8)]
    assert middles(frames) == wanted and about.rate == 25
    shown = nb.first_frames(folder)
    assert list(shown) == ["0 s", "0.08 s", "0.16 s", "0.24 s"]
    assert middles(map(np.asarray, shown.values())) == wanted[::2]
    assert near(middles(painted(nb, folder, tmp_path / "out.mp4")), wanted, 6)
    nb.show_video(folder, tmp_path / "out.mp4")
    assert names(tmp_path) == ["frames", "out.mp4"]
    assert nb.clips_in(folder) == []


def test_a_folder_from_a_camcorder(nb, tmp_path):
    (tmp_path / "cam").mkdir()
    ends = {"00001.MTS": ("-f", "mpegts"), "b.ts": (), "c.wmv": ("-c:v", "wmv2", "-q:v", "2")}
    for name, extra in ends.items():
        numbered(tmp_path / "cam" / name, 10, extra=extra)
    assert [path.name for path in nb.clips_in(tmp_path / "cam")] == [*ends]
    done = nb.stylize_folder(Tinted(), tmp_path / "cam", tmp_path / "out", strength=0)
    assert [path.name for path in done] == ["00001.mp4", "b.mp4", "c.mp4"]
    for path in done:
        assert numbers(read(path)) == [*range(10)]


def test_a_folder_onto_itself_is_a_problem(nb, tmp_path, monkeypatch):
    folder = frames_folder(tmp_path / "frames", 1)
    before = (folder / "0.png").read_bytes()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(folder)
    for target in (folder, f"{folder}/", "frames", "./frames/../frames", tmp_path / "link"):
        with pytest.raises(nb.Problem, match="two different folders"):
            nb.stylize_folder(Tinted(), folder, target)
    assert (folder / "0.png").read_bytes() == before and names(folder) == ["0.png"]


@pytest.mark.parametrize("kind", ["mp4", "gif", "ts", "frames"])
def test_a_start_behind_the_end_is_one_sentence(nb, tmp_path, kind):
    if kind == "frames":
        clip = frames_folder(tmp_path / "in.frames")
    else:
        clip = numbered(tmp_path / f"in.{kind}", 10, "10")
    for job in (
        lambda: nb.stylize_video(Tinted(), clip, tmp_path / "out.mp4", start=20),
        lambda: nb.first_frames(clip, 20),
    ):
        with pytest.raises(nb.Problem, match=f"in.{kind} ends before its second 20: begin earlier"):
            job()
    assert names(tmp_path) == [f"in.{kind}"]


# Names


LONG = "가" * 82  # 246 bytes


NAMES = [
    "2024-11-25T13:19:57.mp4", "Doom: E1M1.mp4", "my%20dog.mp4", "%d_%05d.mp4", "GX010042.MP4",
    "it's \"quoted\".mp4", "00001.MTS", LONG + ".mp4", "-dash.mp4", "a\\b[1]{2}$HOME;'*?.mp4",
    "file:x.mp4", "두:개|pipe#hash&.mp4", "a b,  c=d.v1.2 .mp4", "😀.mp4",
]  # fmt: skip


@pytest.mark.parametrize("asked", ["NFC", "NFD"])
@pytest.mark.parametrize("stored", ["NFC", "NFD"])
def test_hangul_names_as_linux_and_macs_write_them(nb, tmp_path, monkeypatch, stored, asked):
    check_name(nb, tmp_path, monkeypatch, "영상: 한글.mp4", stored, asked)


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[1:10])
def test_names(nb, tmp_path, monkeypatch, name):
    check_name(nb, tmp_path, monkeypatch, name)


def check_name(nb, tmp_path, monkeypatch, name, stored="NFC", asked="NFC"):
    """The way of the cells run-content, run-video and run-play, from the working folder."""
    stored, name = unicodedata.normalize(stored, name), unicodedata.normalize(asked, name)
    numbered(tmp_path / "x.mp4", 10, extra=("-f", "mpegts") if name.endswith(".MTS") else ())
    work = tmp_path / "work"
    (work / "outputs").mkdir(parents=True)
    (tmp_path / "x.mp4").rename(work / stored)
    monkeypatch.chdir(work)
    places = types.SimpleNamespace(home=work, data=work, local=work, repository="")
    clip = nb.find(places, name)
    assert len(nb.first_frames(clip)) == 4
    target = nb.Path("outputs") / f"{nb.short(clip.stem)}_snow"
    result = nb.stylize_video(Tinted(), clip, nb.Path(f"{target}.mp4"), strength=0)
    assert numbers(read(f"file:{result}")) == [*range(10)]
    gif = result.with_suffix(".gif")
    twice, words = ("-t", 4, "-i", result) * 2, nb.GIF.format("scale=320:-1:flags=lanczos")
    assert nb.run_ffmpeg(*twice, "-lavfi", words, gif) == ""
    nb.show_video(clip, result)
    assert names(work / "outputs") == sorted([result.name, gif.name])
    assert names(work) == sorted([stored, "outputs"])


def chosen_for_painting(nb, work, names=None, **given):
    """Section 6's choices, by its own cell, in a working folder without ready-made styles."""
    places = types.SimpleNamespace(
        home=work, data=work / "data", local=work, checkpoints=work, repository=""
    )
    asked = dict(video="", content_image="") | given
    found = vars(nb) | dict(
        chosen=types.SimpleNamespace(**asked), places=places, network=Tinted(), style_name="snow",
        style_path=work / "snow.jpg", network_file=None, photos=torch.full((1, 3, 64, 64), 99),
    ) | (names or {})  # fmt: skip
    return run_cell("run-content", found)


def test_a_folder_whose_first_clip_is_broken(nb, tmp_path, monkeypatch):
    """Pictures are painted all the same, and of the folder what is good."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "rec").mkdir()
    numbered(tmp_path / "rec" / "b.mp4", 10)
    (tmp_path / "rec" / "a.mp4").write_bytes((tmp_path / "rec" / "b.mp4").read_bytes()[:200])
    names = chosen_for_painting(nb, tmp_path, video="rec")
    assert names["content_name"] == "photo" and names["content_picture"].size == (64, 64)
    assert names["later_picture"] is None
    run_cell("run-maps", names | dict(ready_made={"snow": None}))  # shows nothing
    done = nb.stylize_folder(names["network"], names["clip"], tmp_path / "out", strength=0)
    assert [path.name for path in done] == ["b.mp4"]
    (tmp_path / "rec" / "a.mp4").unlink()
    names = chosen_for_painting(nb, tmp_path, video="rec")
    assert names["content_name"] == "b" and names["content_picture"].size != (64, 64)
    assert names["later_picture"].size == names["content_picture"].size


def test_the_notes_of_the_readers_picture_are_kept(nb, tmp_path, monkeypatch):
    """Its camera and its colour profile; a profile of inks or greys fits no RGB painting."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(nb.FETCHED, "data/cockatoo.mp4")
    (tmp_path / "data").mkdir()
    exif = PIL.Image.Exif()
    exif[0x010F] = "Samsung"
    for mode, kept in (("RGB", b"profile"), ("CMYK", None), ("L", None)):
        photo = PIL.Image.new(mode, (64, 48), 90 if mode == "L" else None)
        photo.save(tmp_path / "mine.jpg", exif=exif, icc_profile=b"profile")
        names = chosen_for_painting(nb, tmp_path, content_image="mine.jpg")
        assert names["content_name"] == "mine"
        painting = nb.stylize_image(Tinted(), names["content_picture"], strength=0)
        saved = PIL.Image.open(nb.save_image(painting, tmp_path / "out.jpg"))
        assert saved.getexif()[0x010F] == "Samsung" and saved.info.get("icc_profile") == kept


@pytest.mark.parametrize("name", ["out.MP4", "out.GIF", "Quake: painted.mp4", "out", "out.mov"])
def test_names_of_targets(nb, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    clip = numbered(tmp_path / "in.mp4", 10, sound=1)
    result = nb.stylize_video(Tinted(), clip, name, strength=0)
    assert names(tmp_path) == sorted(["in.mp4", result.name])
    if name == "out.GIF":
        assert PIL.Image.open(result).format == "GIF"
    else:
        assert numbers(read(f"file:{result}")) == [*range(10)]
        assert opened(nb, result)[0].sound == ["aac"]


def test_an_uppercase_clip_is_the_readers_own(nb, tmp_path):
    for name in ("GX010042.MP4", "gameplay.mp4", "notes.txt", ".hidden.mp4"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in nb.clips_in(tmp_path)] == ["GX010042.MP4", "gameplay.mp4"]


# Addresses


def test_a_page_is_not_kept(nb, tmp_path):
    """As a YouTube or Drive address gives one: the sentence says so, now and the next time."""

    places = types.SimpleNamespace(
        home=tmp_path, data=tmp_path / "data", local=tmp_path / "data", repository=""
    )
    with serve({}) as server:

        def page(handler):
            handler.send_response(200)
            handler.send_header("Content-Type", "text/html; charset=utf-8")
            handler.send_header("Content-Length", str(len(WEB_PAGE)))
            handler.end_headers()
            handler.wfile.write(WEB_PAGE)

        server.RequestHandlerClass = type("Page", (server.RequestHandlerClass,), {"do_GET": page})
        url = f"{server.url}/watch?v=abc"
        for _ in range(2):
            with pytest.raises(nb.Problem, match="is a web page: give the address of the file"):
                nb.find(places, url)
        with pytest.raises(nb.Problem, match="is a web page"):
            nb.stylize_video(Tinted(), url, tmp_path / "out.mp4")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_two_addresses_that_end_alike(nb, tmp_path):
    files = {}
    for n in range(3):
        data = numbered(tmp_path / "v.mp4", 5, first=30 * n).read_bytes()
        files[f"/{n}/video.mp4" if n < 2 else "/0/video.mp4?id=2"] = data
    home = tmp_path / "home"
    places = types.SimpleNamespace(home=home, data=home / "data", local=home, repository="")
    with serve(files) as server:
        found = [nb.find(places, f"{server.url}{path}") for path in files]
        again = nb.find(places, f"{server.url}/1/video.mp4")
    for n, clip in enumerate(found):
        assert numbers(opened(nb, clip)[1]) == [30 * n + k for k in range(5)]
    assert again == found[1] and len(set(found)) == 3


# Work


def test_a_still_clip_is_painted_once_for_each_picture(nb, tmp_path):
    class Counting(Tinted):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x)

    network = Counting()
    frames = [np.full((48, 64, 3), (40 + 80 * (n // 10), 100, 100), np.uint8) for n in range(30)]
    clip = write_clip(tmp_path / "in.mkv", frames, "10", extra=("-c:v", "ffv1"))
    wanted = [(40 + 80 * (n // 10), 100, 50) for n in range(30)]
    shown = painted(nb, clip, tmp_path / "out.mp4", network)
    assert network.calls == 3 and near(middles(shown), wanted, 6)
    shown = painted(nb, clip, tmp_path / "out.mp4", network, side_by_side=True)
    assert network.calls == 6 and shown.shape[1:3] == (48, 128)
    assert torch.is_grad_enabled()

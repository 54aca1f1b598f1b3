"""Settings: what empty ones mean, and one sentence for each that cannot work."""

import pathlib
import types

import PIL.Image
import pytest
import torch
from helpers import stopped
from notebook import run_cell, settings

GIVEN = settings()
SAMPLES = dict(preset="quick", vgg_weights="random")  # texts that are a choice; others are free
TEXTS = {name for name, value in GIVEN.items() if isinstance(value, str)}
SWITCHES = {name for name, value in GIVEN.items() if isinstance(value, bool)}
NUMBERS = set(GIVEN) - TEXTS - SWITCHES


def test_every_setting_is_checked(nb):
    assert list(nb.SETTINGS) == list(GIVEN) and len(GIVEN) == 24
    for name, kind in nb.SETTINGS.items():
        text = list if name in SAMPLES else str  # a choice, or whatever one likes
        expected = text if name in TEXTS else bool if name in SWITCHES else tuple
        assert kind is expected or isinstance(kind, expected), name


def test_empty_means_what_the_preset_says(nb):
    assert nb.resolve_settings(GIVEN, False).preset == "demo"
    demo = nb.resolve_settings(GIVEN | dict(preset="demo"), True)
    assert demo.preset == "demo" and demo.image_size == 128
    quick = nb.resolve_settings(GIVEN, True)
    assert (quick.preset, quick.batch_size, quick.image_size) == ("quick", 8, 256)
    assert quick.learning_rate == 1e-3 and quick.steps * quick.batch_size == 9_600
    assert quick.steps_alone * quick.batch_size == 32_000  # without start.pth
    full = nb.resolve_settings(GIVEN | dict(preset="full"), False)
    assert full.steps * full.batch_size == 320_000  # the blog's budget
    for name, preset in nb.PRESETS.items():  # all that a preset says and nobody sets
        resolved = vars(nb.resolve_settings(GIVEN | dict(preset=name), False))
        assert resolved.keys() == GIVEN.keys() | preset.keys()
        assert {key: resolved[key] for key in preset} == preset
        assert not [key for key in resolved if resolved[key] == ""]
    own = nb.resolve_settings(GIVEN | dict(steps=7, temporal_weight=0), False)
    assert (own.steps, own.temporal_weight, own.batch_size) == (7, 0, demo.batch_size)
    assert own.steps_alone == 7  # what is set holds with and without start.pth
    assert own.strength == 1.0 and own.keep_colors is False


def test_who_only_paints_fetches_no_photo_set(nb):
    """With paint_with, nothing is trained: the bundled frames do to look at, unless one asks."""
    painting = nb.resolve_settings(GIVEN | dict(paint_with="great_wave"), True)
    assert (painting.preset, painting.dataset, painting.limit) == ("quick", "bundled", 400)
    own = nb.resolve_settings(GIVEN | dict(paint_with="great_wave", dataset="train2014"), True)
    assert own.dataset == "train2014"


def test_who_only_paints_with_this_file_alone_fetches_no_photo_set(nb, places, monkeypatch):
    """There are no frames to look at then: the stand-ins do."""
    monkeypatch.chdir(places.home)
    asked = []
    monkeypatch.setattr(nb, "download", lambda url, path, md5=None: asked.append(url) or path)
    assert nb.find_photos("bundled", places, fetch=False) == nb.STANDINS and not asked
    assert nb.find_photos("bundled", places).name == "val2017.zip" and len(asked) == 1


def test_what_is_set_wins_over_the_preset(nb):
    given = {name: nb.SETTINGS[name][0] for name in NUMBERS}
    given |= {name: SAMPLES.get(name, "mine") for name in TEXTS}
    given |= {name: not GIVEN[name] for name in SWITCHES}
    resolved = vars(nb.resolve_settings(given, False))
    assert {name: resolved[name] for name in given} == given


BAD = [
    dict(preset="fast"),
    dict(steps=-1),
    dict(steps=0),
    dict(batch_size=2.5),
    dict(image_size="big"),
    dict(image_size=16),
    dict(strength=1.5),
    dict(strength=-0.5),
    dict(vgg_weights="vgg19"),
    dict(use_drive="yes"),
    dict(use_drive=None),
    dict(style_image=3),
    dict(style_weight=float("nan")),
    dict(style_weight=float("inf")),
    dict(tv_weight=-1),
    dict(temporal_weight=True),
    dict(stroke_size=0),
    dict(clip_start=-1),
    dict(clip_duration=0),
    dict(compare_iterations=1.5),
]


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_what_cannot_work_is_one_sentence(nb, bad):
    with pytest.raises(nb.Problem, match=next(iter(bad))) as problem:
        nb.resolve_settings(GIVEN | bad, False)
    assert "\n" not in str(problem.value)


def test_a_whole_number_is_asked_for_as_such(nb):
    for wrong, right in ((dict(steps=1e4), "a whole number, 1"), (dict(strength=2.0), "a number")):
        with pytest.raises(nb.Problem, match=f"give {right}"):
            nb.resolve_settings(GIVEN | wrong, False)


@pytest.mark.parametrize("name", GIVEN)
def test_a_value_of_a_wrong_kind_is_one_sentence(nb, name):
    own = (10**400, "ten") if name in NUMBERS else (1.5, 2)
    for wrong in ([], {}, b"", *own):
        with pytest.raises(nb.Problem, match=f"{name}=") as problem:
            nb.resolve_settings(GIVEN | {name: wrong}, False)
        assert "\n" not in str(problem.value)


def prepared(chosen, count=400):
    """Photos and a style picture of these settings' sizes."""
    side = chosen.image_size * 9 // 8
    return torch.zeros(1).expand(count, 3, side, side), torch.zeros(3, chosen.style_size, 9)


def folder_of(nb, places, style, has_gpu=False, name="snow", count=400, stale=None, **given):
    """Where the notebook keeps the training of these settings, by its own run cell."""
    chosen = nb.resolve_settings(GIVEN | given, has_gpu)
    path = places.home / f"{name}.jpg"
    path.write_bytes(style.numpy().tobytes())
    seen = vars(nb) | dict(chosen=chosen, places=places, style_path=path)
    seen["photo_source"] = places.local / f"{pathlib.Path(chosen.dataset).name}.zip"
    seen["photos"], shown = prepared(stale or chosen, count)
    seen["vgg16"] = type("Judge", (), dict(weights=chosen.vgg_weights or "imagenet"))
    told = []
    seen |= dict(photo=None, style=shown, train=lambda *given, **_: told.append(given[2]))
    assert run_cell("run-train", seen)["folder"] == told[0]
    return told[0]


def test_a_training_lives_in_a_folder_of_what_defines_it(nb, places, style, monkeypatch):
    monkeypatch.chdir(places.home)  # where there is no start.pth yet
    mine = folder_of(nb, places, style)
    assert mine.parent == places.checkpoints
    assert mine.name[:5] == "snow-" and len(mine.name) == 11
    assert mine == folder_of(nb, places, style.clone())
    painting = dict(strength=0.5, stroke_size=2.0, keep_colors=True, side_by_side=True)
    others = dict(clip_start=3.0, video="b.mp4", use_drive=False, compare_iterations=5)
    for unimportant in (dict(steps=7), painting, others):
        assert mine == folder_of(nb, places, style, **unimportant)
    other = style.clone()
    other[0, 0, 0] ^= 1
    folders = [mine, folder_of(nb, places, other), folder_of(nb, places, style, name="mosaic")]
    training = dict(batch_size=2, image_size=64, style_size=99, style_weight=1.0, tv_weight=1.0)
    training |= dict(temporal_weight=1.0, vgg_weights="random", dataset="val2017")
    (places.home / "a.pth").write_bytes(b"")
    training |= dict(start_from="a.pth")
    for setting, value in training.items():
        folders.append(folder_of(nb, places, style, **{setting: value}))
    assert len(set(folders)) == len(folders)
    assert folder_of(nb, places, style, has_gpu=True) not in folders  # another preset
    assert folder_of(nb, places, style, count=399) not in folders  # other photos of that name
    before = nb.resolve_settings(GIVEN, False)  # section 2 was not run again
    for setting in (dict(style_size=99), dict(image_size=64)):
        proper = folder_of(nb, places, style, **setting)
        assert folder_of(nb, places, style, stale=before, **setting) != proper
    whole = dict(tv_weight=0, style_weight=10**10, temporal_weight=350)  # the usual ones
    assert folder_of(nb, places, style, **whole) == mine
    sets = [folder_of(nb, places, style, dataset=f"{place}/photos") for place in "ab"]
    assert sets[0] != sets[1]  # two sets of one name
    (places.checkpoints / "start.pth").write_bytes(b"")
    assert folder_of(nb, places, style) not in folders  # another beginning


def test_the_folder_of_a_training_does_not_hang_on_where_things_lie(nb, places, style, tmp_path):
    """Drive today, this machine tomorrow: the same name."""
    mine = folder_of(nb, places, style)
    (places.checkpoints / "start.pth").write_bytes(b"")
    with_start = folder_of(nb, places, style)
    moved = type(places)(**vars(places))
    moved.home = tmp_path / "elsewhere"
    moved.checkpoints = moved.home / "checkpoints"
    moved.checkpoints.mkdir(parents=True)
    (moved.checkpoints / "start.pth").write_bytes(b"")
    assert folder_of(nb, moved, style).name == with_start.name
    assert mine.parent == with_start.parent
    (places.home / "a.pth").write_bytes(b"")
    (moved.home / "a.pth").write_bytes(b"")
    set_to = [folder_of(nb, p, style, start_from="a.pth").name for p in (places, moved)]
    assert set_to[0] == set_to[1] != with_start.name


@pytest.mark.parametrize("given", ["mine", " mine ", "mine.pth", '"mine"', "checkpoints/mine.pth"])
def test_networks_are_called_by_name(nb, places, given):
    file = places.checkpoints / "mine.pth"
    file.write_bytes(b"a network")
    assert nb.find_network(given, places) == file
    with pytest.raises(nb.Problem, match="yours"):
        nb.find_network("yours", places)


def test_a_training_is_called_by_its_folder(nb, places):
    file = places.checkpoints / "mine-1a2b3c" / "final.pth"
    file.parent.mkdir()
    file.write_bytes(b"a network")
    assert nb.find_network("mine-1a2b3c", places) == file


def test_a_damaged_network_of_the_album_is_passed_over(nb, places, capsys, monkeypatch):
    """As a pointer of Git LFS is one; the others, and the reader's own pictures, are painted."""
    monkeypatch.chdir(places.home)
    (places.checkpoints / "snow.pth").write_text("version https://git-lfs.github.com/spec/v1")
    nb.save_checkpoint(places.checkpoints / "city.pth", **nb.TransformerNet().state_dict())
    assert list(nb.load_album(places)) == ["city"]
    assert "Passed over" in (said := capsys.readouterr().out) and "snow.pth" in said


@pytest.mark.parametrize(
    "given",
    ["mine", "mine.pth ", '"mine"', '"checkpoints/mine.pth"', "mine-1a2b3c",
     "checkpoints/mine-1a2b3c/final.pth", "checkpoints/mine-1a2b3c/step_0000100.pth"],
)  # fmt: skip
def test_a_networks_style_is_shown_with_it(nb, places, given):
    (places.data / "styles").mkdir(parents=True)
    (places.data / "styles" / "mine.jpg").write_bytes(b"a picture")
    chosen = types.SimpleNamespace(style_image="", paint_with=given, preset="demo")
    assert nb.find_style(chosen, places) == places.data / "styles" / "mine.jpg"


def test_a_stop_among_the_photos_leaves_no_other_style(nb, places, monkeypatch):
    """Section 2 stopped, the cells below run: they must not learn the former style as this one."""
    monkeypatch.setattr(nb, "load_photos", stopped)
    PIL.Image.new("RGB", (40, 40), "red").save(places.home / "red.png")
    chosen = nb.resolve_settings(GIVEN | dict(style_image="red.png"), False)
    (places.data / "frames").mkdir()
    seen = vars(nb) | dict(places=places, chosen=chosen, style="the former style")
    with pytest.raises(KeyboardInterrupt):
        run_cell("run-photos", seen)
    assert seen["style_path"] == places.home / "red.png"
    assert seen["style"][:, 0, 0].tolist() == [255, 0, 0]


def test_a_network_that_is_here_is_not_asked_for_elsewhere(nb, places, monkeypatch):
    places.repository = "https://example.org/raw"
    monkeypatch.setattr(nb, "download", lambda *given: pytest.fail(f"asked for {given[0]}"))
    file = places.checkpoints / "start.pth"
    file.write_bytes(b"a network")
    monkeypatch.chdir(places.home)
    assert nb.find_network("start.pth", places).samefile(file)


def test_painting_does_not_need_what_a_training_would_begin_with(nb, places):
    chosen = nb.resolve_settings(GIVEN | dict(paint_with="a.pth", start_from="gone.pth"), False)
    assert arguments_of(nb, chosen, "imagenet", places)["start_from"] is None


def test_styles_are_called_by_name(nb, places):
    (places.data / "styles").mkdir(parents=True)
    (places.data / "styles" / "mine.jpg").write_bytes(b"a picture")
    for given in ("mine", "mine ", '"mine"'):
        chosen = nb.resolve_settings(GIVEN | dict(style_image=given), False)
        assert nb.find_style(chosen, places) == places.data / "styles" / "mine.jpg"


def arguments_of(nb, chosen, weights, places):
    """train's arguments by these settings."""
    style = places.home / "style.jpg"
    style.write_bytes(b"a style")
    pictures = prepared(chosen)
    return nb.plan_training(chosen, weights, places, *pictures, places.home / "a.zip", style)[0]


def test_arguments_are_the_usual_ones_of_the_vgg16_where_none_is_set(nb, places, monkeypatch):
    places.outputs.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(places.outputs)  # not where this project's own start.pth is
    for weights, usual in nb.LOSS_WEIGHTS.items():
        chosen = nb.resolve_settings(GIVEN | dict(batch_size=3), False)
        arguments = arguments_of(nb, chosen, weights, places)
        names = ("content_weight", "style_weight", "temporal_weight")
        assert tuple(arguments[name] for name in names) == usual
        assert arguments["batch_size"] == 3 and arguments["vgg_weights"] == weights
        assert arguments["start_from"] is None
    own = nb.resolve_settings(GIVEN | dict(style_weight=5.0, temporal_weight=0), False)
    arguments = arguments_of(nb, own, "imagenet", places)
    assert (arguments["style_weight"], arguments["temporal_weight"]) == (5.0, 0)
    (places.checkpoints / "start.pth").write_bytes(b"a network")
    arguments = arguments_of(nb, own, "imagenet", places)
    assert arguments["start_from"] == places.checkpoints / "start.pth"
    mine = nb.resolve_settings(GIVEN | dict(start_from="missing.pth"), False)
    with pytest.raises(nb.Problem, match="missing.pth is not there"):
        arguments_of(nb, mine, "imagenet", places)

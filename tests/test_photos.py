"""Photo sets: from folders and zips, in memory or on disk, broken ones named."""

import time
import types
import zipfile

import numpy as np
import PIL.Image
import pytest
import torch
from helpers import encoded, picture


def test_folder_and_zip_are_the_same(nb, photo_folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in sorted(photo_folder.rglob("*.jpg")):
            archive.write(path, f"val/{path.name}")
        archive.writestr("__MACOSX/val/._000000.jpg", b"a Mac's notes")
        archive.writestr("val/.hidden.jpg", b"hidden")
        archive.writestr("val/notes.txt", b"no photo")
    photos = nb.load_photos(photo_folder, 64)
    assert photos.shape == (6, 3, 64, 64) and photos.dtype == torch.uint8
    assert torch.equal(photos, nb.load_photos(tmp_path / "photos.zip", 64))


def test_limit_draws_the_same_ones_each_time(nb, photo_folder):
    photos = nb.load_photos(photo_folder, 64)
    some = nb.load_photos(photo_folder, 64, limit=3, seed=1)
    assert len(some) == 3
    assert torch.equal(some, nb.load_photos(photo_folder, 64, limit=3, seed=1))
    assert not torch.equal(some, nb.load_photos(photo_folder, 64, limit=3, seed=2))
    assert all(any(torch.equal(one, photo) for photo in photos) for one in some)
    assert torch.equal(nb.load_photos(photo_folder, 64, limit=100), photos)


def test_shrinks_as_a_plain_resize_does(nb, tmp_path):
    (tmp_path / "p").mkdir()
    image = picture(640, 480, 3)
    image.save(tmp_path / "p" / "a.jpg", quality=98)
    plain = image.crop((80, 0, 560, 480)).resize((64, 64), PIL.Image.Resampling.BICUBIC)
    mine = nb.load_photos(tmp_path / "p", 64)[0].permute(1, 2, 0).numpy()
    assert np.abs(mine.astype(int) - np.asarray(plain)).mean() < 3


def test_bad_files_are_skipped_and_named(nb, photo_folder, capsys):
    (photo_folder / "bad.jpg").write_bytes(b"no picture")
    (photo_folder / "cut.png").write_bytes(encoded(picture(64, 64))[:3000])
    picture(40, 40).convert("L").save(photo_folder / "grey.png")
    photos = nb.load_photos(photo_folder, 32)
    assert len(photos) == 7
    said = capsys.readouterr().out
    assert "Skipped 2 of 9" in said and "bad.jpg" in said and "cut.png" in said
    (photo_folder / "bad.jpg").unlink()
    (photo_folder / "cut.png").unlink()
    assert torch.equal(photos, nb.load_photos(photo_folder, 32))  # none is left out or doubled
    assert "Skipped" not in capsys.readouterr().out


def test_bad_entries_of_a_zip_are_skipped_and_named(nb, tmp_path, capsys):
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w") as archive:  # stored: its bytes can be found and spoilt
        for n in range(3):
            archive.writestr(f"{n}.png", encoded(picture(40, 40, n)))
    good, data = nb.load_photos(path, 32), path.read_bytes()
    spoilt = encoded(picture(40, 40, 1))
    path.write_bytes(data.replace(spoilt[100:140], bytes(40)))
    photos = nb.load_photos(path, 32)
    assert torch.equal(photos, good[[0, 2]])
    assert "Skipped 1 of 3 files that are no photos: 1.png" in capsys.readouterr().out


def test_without_photos_it_is_one_sentence(nb, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut.zip").write_bytes(b"PK\3\4 cut short")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_bytes(b"no picture")
    for name in ("empty", "nothing", "cut.zip", "bad"):
        with pytest.raises(nb.Problem, match=f"No photos found in .*{name}") as problem:
            nb.load_photos(tmp_path / name)
        assert "\n" not in str(problem.value)


def test_zip_entries_that_point_outside_touch_nothing(nb, tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../../escaped.png", encoded(picture(40, 40)))
    assert len(nb.load_photos(tmp_path / "evil.zip", 32)) == 1
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["evil.zip"]


def test_a_set_too_large_for_memory_is_mapped_from_disk(nb, photo_folder, tmp_path, monkeypatch):
    """In a file without a name, which is gone when the notebook ends, however it ends."""
    (photo_folder / "000.jpg").write_bytes(b"no picture")
    whole, made, memmap = nb.load_photos(photo_folder, 64), [], np.memmap
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(nb.np, "memmap", lambda *a, **k: made.append(memmap(*a, **k)) or made[-1])
    assert torch.equal(nb.load_photos(photo_folder, 64, cache=tmp_path / "cache"), whole)
    assert not made  # there is room for so few in memory
    monkeypatch.setattr(nb.os, "sysconf", lambda name: 100)
    mapped = nb.load_photos(photo_folder, 64, cache=tmp_path / "cache")
    assert torch.equal(mapped, whole)
    (file,) = made
    assert mapped.data_ptr() == file.ctypes.data and file.nbytes == 7 * 3 * 64 * 64
    assert list((tmp_path / "cache").iterdir()) == []
    mapped[0] = 0  # it can be written, as the one in memory
    full = types.SimpleNamespace(free=10)
    monkeypatch.setattr(nb.shutil, "disk_usage", lambda path: full)
    with pytest.raises(nb.Problem, match="free space"):
        nb.load_photos(photo_folder, 48, cache=tmp_path / "cache")


def test_a_slow_folder_is_read_by_several_threads(nb, photo_folder, monkeypatch):
    """20 ms a file, as Drive: the waits overlap."""
    read, waiting, most = nb.Path.read_bytes, [], []

    def slow(path):
        waiting.append(1)
        most.append(len(waiting))
        time.sleep(0.02)
        waiting.pop()
        return read(path)

    monkeypatch.setattr(nb.Path, "read_bytes", slow)
    assert len(nb.load_photos(photo_folder, 32)) == 6 and max(most) > 1

"""What one reading of a picture tells: hashes, channels, the pixels of its mask and its slivers."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from layout_sets import painted, toy, write_coco, write_indices
from models import write_photograph
from PIL import Image

from convnext_dense.data.layouts.recognise import read_folder
from convnext_dense.report.survey import perceptual_hash, slivers, survey
from convnext_dense.report.thumbnail import thumbnail


def test_pictures_and_masks(tmp_path: Path) -> None:
    scenes = painted(toy(tmp_path / 'toy'))
    write_indices(tmp_path / 'data', scenes, ('building', 'sky', 'tree'))
    found = read_folder(str(tmp_path / 'data'))
    told = []
    rows = survey(found, found.pictures, True, lambda done, total: told.append((done, total)))
    assert told[-1] == (6, 6)
    for seen, one in zip(rows, [*scenes['train'], *scenes['val']], strict=True):
        pixels = np.asarray(Image.open(one.path), np.float64).reshape(-1, 3)
        assert seen.size == (80, 60) and seen.mode == 'RGB' and not seen.why
        assert seen.mean == pytest.approx(pixels.mean(0)) and seen.std == pytest.approx(pixels.std(0))
        assert seen.pixels.tolist() == [int((one.mask == k).sum()) for k in (1, 2, 3)]
    assert len({seen.digest for seen in rows}) == 6


def test_outlines_count_as_pixels_only_where_masks_are_asked_for(tmp_path: Path) -> None:
    write_coco(tmp_path / 'data', toy(tmp_path / 'toy'))
    found = read_folder(str(tmp_path / 'data'))
    assert all(seen.pixels is None for seen in survey(found, found.pictures, False))
    assert all(seen.pixels.sum() > 100 for seen in survey(found, found.pictures, True))


def test_a_picture_that_cannot_be_read(tmp_path: Path) -> None:
    write_coco(tmp_path / 'data', toy(tmp_path / 'toy'))
    found = read_folder(str(tmp_path / 'data'))
    found.pictures[0].path.write_bytes(b'no picture')
    found.pictures[1].path.unlink()
    first, second, third = survey(found, found.pictures, False)[:3]
    assert 'p0.jpg cannot be read' in first.why and 'p1.jpg' in second.why and not third.why


def test_what_looks_alike_has_the_same_hash(tmp_path: Path) -> None:
    one = Image.open(write_photograph(tmp_path / 'a.png', 90, 120))
    other = Image.open(write_photograph(tmp_path / 'b.png', 90, 120, seed=5))
    one.save(tmp_path / 'a.jpg', quality=90)
    smaller = Image.open(tmp_path / 'a.jpg').resize((100, 75))
    assert perceptual_hash(one) == perceptual_hash(smaller) != perceptual_hash(other)
    assert perceptual_hash(Image.new('RGB', (50, 50), 'red')) == -1


def test_slivers() -> None:
    mask = np.full((60, 80), 1, np.uint8)
    mask[10:30, 10:40] = 0  # a thick one
    mask[40:42, 5:70] = 0  # a thin one
    mask[0:2, 50:80] = 0  # at the edge, where more of it may lie outside
    mask[50:52, 5:8] = 0  # too small to tell
    mask[55:57, 5:70] = 255  # no class
    (found,) = [one for one in slivers(mask, 2) if one.label == 0]
    assert found.pixels == 130 and found.box == (5, 40, 70, 42)


def test_turned_pictures(tmp_path: Path) -> None:
    write_coco(tmp_path / 'data', toy(tmp_path / 'toy'))
    found = read_folder(str(tmp_path / 'data'))
    image = Image.open(found.pictures[0].path)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / 'turned.jpg', exif=exif)
    shutil.copy(tmp_path / 'turned.jpg', found.pictures[0].path)
    assert survey(found, found.pictures[:1], False)[0].size == (60, 80)


def test_many_channels(tmp_path: Path) -> None:
    import tifffile

    write_coco(tmp_path / 'data', toy(tmp_path / 'toy'))
    found = read_folder(str(tmp_path / 'data'))
    values = np.random.default_rng(0).integers(0, 60000, (60, 80, 12), dtype=np.uint16)
    for picture in found.pictures[:1]:
        picture.path = tmp_path / 'a.tif'
        tifffile.imwrite(picture.path, values, photometric='minisblack', planarconfig='contig')
    seen, other = survey(found, found.pictures[:2], False, channels=12)
    assert seen.size == (80, 60) and seen.mode == 'uint16 of 12 channels' and seen.look >= 0
    assert seen.mean == pytest.approx(values.reshape(-1, 12).mean(0))
    assert 'p1.jpg' in other.why and '12' in other.why
    assert thumbnail(found, found.pictures[0], [(255, 0, 0)] * 3, channels=12).startswith('data:image/jpeg')

"""Masks of TIFF files, written as they are computed."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import call_tool, one_line
from models import photograph, write_photograph
from PIL import Image

from convnext_dense.predict import tiff_mask
from convnext_dense.predict.loading import load_model
from convnext_dense.predict.tiff_mask import write_mask
from convnext_dense.predict.windows import Tiff


@pytest.fixture
def tiff(tmp_path: Path) -> Path:
    scale, tie = (33550, 'd', 3, (0.5, 0.5, 0.0), True), (33922, 'd', 6, (0.0, 0.0, 0.0, 100.0, 200.0, 0.0), True)
    tifffile.imwrite(
        tmp_path / 'a.tif', photograph(200, 300), photometric='rgb', tile=(64, 64), extratags=[scale, tie], metadata=None
    )
    return tmp_path / 'a.tif'


def test_a_mask_is_that_of_the_picture_in_memory(segmentor_file: str, tiff: Path, tmp_path: Path) -> None:
    model = load_model(segmentor_file, tile=96)
    counts = write_mask(model, Tiff(str(tiff)), tmp_path / 'm.tif')
    expected = model(tiff)
    with tifffile.TiffFile(tmp_path / 'm.tif') as file:
        page = file.pages[0]
        assert np.array_equal(page.asarray(), expected.mask)
        assert page.tags[33550].value == (0.5, 0.5, 0.0) and page.tags[33922].value[3:5] == (100.0, 200.0)
    assert counts == expected.counts()
    image = Image.open(tmp_path / 'm.tif')
    assert image.mode == 'P' and tuple(image.getpalette()[:3]) == model.palette[0]


def test_through_the_command_line(segmentor_file: str, tiff: Path, tmp_path: Path) -> None:
    done = call_tool('predict', segmentor_file, str(tiff), '--tile', '96', '--out', str(tmp_path / 'm.tif'))
    assert done.returncode == 0, done.stderr
    assert tifffile.imread(tmp_path / 'm.tif').shape == (200, 300) and '1 pictures' in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {'a.tif', 'm.tif'}


def test_what_cannot_be(segmentor_file: str, detector_file: str, tiff: Path, tmp_path: Path) -> None:
    png = str(write_photograph(tmp_path / 'a.png'))
    (tmp_path / 'bad.tif').write_text('text')
    out = ['--out', str(tmp_path / 'm.tif'), '--tile', '96']
    for arguments, line in (
        ([segmentor_file, png, *out], 'expected a TIFF as input for the mask'),
        ([detector_file, str(tiff), *out], 'expected a segmentor for the mask .*, got a detector'),
        ([segmentor_file, str(tmp_path / 'bad.tif'), *out], 'bad.tif cannot be read as a TIFF'),
        ([segmentor_file, png, '--out', str(tmp_path / 'o'), '--tile', '10'], '--tile: expected a whole number .* from 64 up'),
        ([segmentor_file, png, '--out', str(tmp_path / 'o'), '--tile', 'big'], '--tile: expected auto, off or a number'),
        ([segmentor_file, png, '--out', str(tmp_path / 'o'), '--overlap', '0.5'], '--overlap: expected --tile with it'),
        ([segmentor_file, png, '--out', str(tmp_path / 'o'), '--tile', '96', '--tta'], 'tile and tta: expected one of the two'),
    ):
        done = call_tool('predict', *arguments)
        one_line(done.returncode, done.stderr, line)
    assert {path.name for path in tmp_path.iterdir()} == {'a.tif', 'a.png', 'bad.tif'}


def test_rows_become_tiles(monkeypatch) -> None:
    monkeypatch.setattr(tiff_mask, 'TILE', 5)
    rows = np.arange(1, 13 * 7 + 1).reshape(13, 7)
    found = list(tiff_mask.tiles([rows[:1], rows[1:11], rows[11:12], rows[12:]], 7))
    assert [tile.shape for tile in found] == [(5, 5)] * 6
    whole = np.concatenate([np.concatenate(found[i : i + 2], axis=1) for i in (0, 2, 4)])
    assert np.array_equal(whole[:13, :7], rows) and whole[13:].sum() == whole[:, 7:].sum() == 0

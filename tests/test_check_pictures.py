"""Pictures to compare on: of three sizes each, one of them as it is."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convnext_dense import InputError
from convnext_dense.export.check_pictures import Calibration, check_pictures


def test_of_a_folder(tmp_path: Path) -> None:
    for i in range(5):
        Image.fromarray(np.full((100, 150, 3), (200, 10, i), np.uint8)).save(tmp_path / f'{i}.png')
    found = list(check_pictures(str(tmp_path), None))
    assert [name for name, _ in found] == [str(i) for i in range(4) for _ in range(3)]
    assert [rgb.shape for _, rgb in found[:3]] == [(100, 150, 3), (71, 107, 3), (65, 65, 3)]
    assert found[0][1][0, 0].tolist() == [200, 10, 0]
    assert {rgb.shape for _, rgb in check_pictures(str(tmp_path), (77, 91))} == {(77, 91, 3)}


def test_large_ones_are_made_smaller(tmp_path: Path) -> None:
    Image.new('RGB', (3000, 1500)).save(tmp_path / 'large.jpg')
    assert [rgb.shape[:2] for _, rgb in check_pictures(str(tmp_path), None)] == [(320, 640), (227, 455), (139, 275)]


def test_drawn_ones() -> None:
    sides = [rgb.shape[:2] for _, rgb in check_pictures(None, None)]
    assert len(sides) == 6 and all(side % 2 for pair in (sides[1], sides[2]) for side in pair)


def test_wrong_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='found none'):
        list(check_pictures(str(tmp_path), None))
    (tmp_path / 'a.jpg').write_bytes(b'no picture')
    with pytest.raises(InputError, match='a.jpg'):
        list(check_pictures(str(tmp_path), None))
    with pytest.raises(InputError, match='not there'):
        list(check_pictures(str(tmp_path / 'no'), None))


def test_calibration_reads_a_picture_when_it_is_asked_for(tmp_path: Path) -> None:
    for i in range(3):
        Image.fromarray(np.full((40, 60, 3), (200, 10, i), np.uint8)).save(tmp_path / f'{i}.png')
    found = Calibration(str(tmp_path), (33, 44), lambda rgb: rgb[None])
    assert len(found) == 3 and [x.shape for x in found] == [(1, 33, 44, 3)] * 3
    assert [x[0, 0, 0].tolist() for x in found[1:]] == [[200, 10, 1], [200, 10, 2]]
    assert Calibration(str(tmp_path), None, lambda rgb: rgb[None])[0].shape == (1, 40, 60, 3)
    Image.fromarray(np.full((40, 60, 3), 7, np.uint8)).save(tmp_path / '1.png')
    assert found[1].max() == 7
    (tmp_path / '1.png').write_bytes((tmp_path / '0.png').read_bytes()[:60])
    with pytest.raises(InputError, match='--int8: .*1.png'):
        found[1]
    (tmp_path / '1.png').write_bytes(b'no picture')
    with pytest.raises(InputError, match='--int8: .*1.png'):
        Calibration(str(tmp_path), None, lambda rgb: rgb[None])

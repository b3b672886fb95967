"""What the values and colours of masks mean."""

from pathlib import Path

import numpy as np
import pytest
from mask_sets import colour, write
from models import write_photograph
from PIL import Image

from convnext_dense.data.layouts.found import IGNORE, Faults
from convnext_dense.data.layouts.recognise import read_folder
from convnext_dense.errors import InputError


def test_two_values(tmp_path: Path) -> None:
    found = read_folder(str(write(tmp_path, 0, 255)))
    assert found.classes == ('background', 'foreground') and found.values.classes == {0: 0, 255: 1}
    assert found.notes == ['the masks have the values 0 and 255 alone: 0 is background, 255 is foreground']
    (tmp_path / 'classes.txt').write_text('ground\ncrack\n')
    assert read_folder(str(tmp_path)).classes == ('ground', 'crack')


def test_values_without_a_list(tmp_path: Path) -> None:
    found = read_folder(str(write(tmp_path, 0, 3, 7, 255)))
    assert found.classes == ('class 0', 'class 3', 'class 7') and found.values.classes == {0: 0, 3: 1, 7: 2, 255: IGNORE}
    assert 'no list of classes lies there' in found.notes[0]


@pytest.mark.parametrize(('most', 'meaning'), [(1, {0: 0, 1: 1, 255: IGNORE}), (2, {0: IGNORE, 1: 0, 2: 1, 255: IGNORE})])
def test_values_from_0_or_1(tmp_path: Path, most: int, meaning: dict) -> None:
    (tmp_path / 'classes.txt').write_text('cat\ndog\n')
    found = read_folder(str(write(tmp_path, *range(most + 1))))
    assert found.values.classes == meaning and found.classes == ('cat', 'dog') and len(found.notes) == 1


def test_a_value_beyond_the_list(tmp_path: Path) -> None:
    (tmp_path / 'classes.txt').write_text('cat\ndog\n')
    with pytest.raises(InputError, match=r'masks/a.png has the value 4, and .*classes.txt has 2 classes \(cat, dog\)'):
        read_folder(str(write(tmp_path, 0, 1, 4)))


def test_colours(tmp_path: Path) -> None:
    found = read_folder(str(colour(tmp_path, (0, 0, 0), (250, 0, 0), mode='RGBA')))
    assert found.classes == ('#000000', '#fa0000') and found.values.colours
    (tmp_path / 'classes.txt').write_text('ground: 0, 0, 0\ncat: 250, 0, 0\n')
    assert read_folder(str(tmp_path)).classes == ('ground', 'cat')
    (tmp_path / 'classes.txt').write_text('cat: 250, 0, 0\n')
    with pytest.raises(InputError, match=r"masks/a.png has the colour 0, 0, 0, which no class of .*classes.txt.*'#000000'"):
        read_folder(str(tmp_path))


def test_grey_in_three_channels(tmp_path: Path) -> None:
    found = read_folder(str(colour(tmp_path, (0, 0, 0), (255, 255, 255))))
    assert found.classes == ('background', 'foreground') and found.values.classes == {0: 0, 0xFFFFFF: 1}


def test_photographs_as_masks(tmp_path: Path) -> None:
    write(tmp_path, 0)
    write_photograph(tmp_path / 'masks/a.png', 40, 60)
    with pytest.raises(InputError, match='expected colours of classes, got .* photographs'):
        read_folder(str(tmp_path))


@pytest.mark.parametrize('values', [(0,), (255,)])
def test_nothing_in_any_mask(tmp_path: Path, values) -> None:
    with pytest.raises(InputError, match='all masks are empty'):
        read_folder(str(write(tmp_path, *values)))


def test_an_unknown_value_that_is_ignored(tmp_path: Path) -> None:
    (tmp_path / 'classes.txt').write_text('cat\ndog\n')
    write(tmp_path, 0, 1, 4)
    found = read_folder(str(tmp_path), faults=Faults(ignored=frozenset(['4'])))
    assert found.values.classes[4] == IGNORE and found.classes == ('cat', 'dog')


def test_all_faults_in_one_reading(tmp_path: Path) -> None:
    (tmp_path / 'classes.txt').write_text('cat\ndog\n')
    write(tmp_path, 0, 1, 4)
    write(tmp_path, 0, 7, stem='b')
    write(tmp_path, 0, 1, stem='c', shape=(20, 60))
    found = read_folder(str(tmp_path), faults=Faults(collect=True))
    assert sorted((one.picture.stem, one.text.split(' has ')[1][:11]) for one in found.wrong) == [
        ('a', 'the value 4'),
        ('b', 'the value 7'),
        ('c', '60x20 pixel'),
    ]


def test_sixteen_bits(tmp_path: Path) -> None:
    write(tmp_path, 0)
    mask = np.full((40, 60), 700, np.uint16)
    Image.fromarray(mask).save(tmp_path / 'masks/a.png')
    with pytest.raises(InputError, match='every mask has the value 700 alone: nothing to learn'):
        read_folder(str(tmp_path))
    mask[:9] = 3
    Image.fromarray(mask).save(tmp_path / 'masks/a.png')
    assert read_folder(str(tmp_path)).classes == ('class 3', 'class 700')


def test_masks_of_two_kinds(tmp_path: Path) -> None:
    colour(tmp_path, (1, 2, 3))
    with pytest.raises(InputError, match='masks of one kind, got values in .*b.png and colours in .*a.png'):
        read_folder(str(write(tmp_path, 0, 1, stem='b')))


def test_a_mask_of_another_size(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'masks/a.png has 60x20 pixels, its picture .*images/a.png has 60x40'):
        read_folder(str(write(tmp_path, 0, 1, shape=(20, 60))))


def test_smoothed_masks(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='expected numbers of classes, got 200 of them; are they resized or smoothed'):
        _smooth(tmp_path)


def _smooth(root: Path):
    write(root, 0)
    Image.fromarray(np.resize(np.arange(200, dtype=np.uint8), (40, 60))).save(root / 'masks/a.png')
    return read_folder(str(root))


def test_one_class_of_two_values(tmp_path: Path) -> None:
    """0 is the one in the list, 255 is ignored: not background and foreground."""
    (tmp_path / 'classes.txt').write_text('cat\n')
    found = read_folder(str(write(tmp_path, 0, 255)))
    assert found.classes == ('cat',) and found.values.classes == {0: 0, 255: IGNORE}

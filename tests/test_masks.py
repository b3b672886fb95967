"""Folders of masks: which belong to which pictures, and what their values mean."""

from pathlib import Path

import numpy as np
import pytest
from models import write_photograph
from PIL import Image

from convnext_dense.data.layouts.found import IGNORE, Faults
from convnext_dense.data.layouts.recognise import read_folder
from convnext_dense.errors import InputError


def write(root: Path, *values: int, stem: str = 'a', folder: str = 'masks', shape: tuple[int, int] = (40, 60)) -> Path:
    """A picture, and a mask of stripes of these values."""
    write_photograph(root / f'images/{stem}.png', 40, 60)
    (root / folder).mkdir(exist_ok=True)
    mask = np.resize(np.array(values, np.uint8), shape[1])[None].repeat(shape[0], 0)
    Image.fromarray(mask).save(root / folder / f'{stem}.png')
    return root


def colour(root: Path, *colours: tuple[int, int, int], mode: str = 'RGB') -> Path:
    write(root, 0)
    mask = np.resize(np.array(colours, np.uint8), (40, 60, 3))
    Image.fromarray(mask).convert(mode).save(root / 'masks/a.png')
    return root


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
    with pytest.raises(InputError, match='colours, more than classes; are they photographs'):
        read_folder(str(tmp_path))


@pytest.mark.parametrize('values', [(0,), (255,)])
def test_nothing_in_any_mask(tmp_path: Path, values) -> None:
    with pytest.raises(InputError, match='all masks are empty'):
        read_folder(str(write(tmp_path, *values)))


def test_a_mask_of_another_size(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'masks/a.png has 60x20 pixels, its picture .*images/a.png has 60x40'):
        read_folder(str(write(tmp_path, 0, 1, shape=(20, 60))))


def test_jpeg_masks(tmp_path: Path) -> None:
    write(tmp_path, 0, 1)
    (tmp_path / 'masks/a.png').unlink()
    write_photograph(tmp_path / 'masks/a.jpg', 40, 60)
    with pytest.raises(InputError, match='is a JPEG, whose compression changes the values'):
        read_folder(str(tmp_path))


def test_masks_of_two_kinds(tmp_path: Path) -> None:
    colour(tmp_path, (1, 2, 3))
    with pytest.raises(InputError, match='masks of one kind, got values in .*b.png and colours in .*a.png'):
        read_folder(str(write(tmp_path, 0, 1, stem='b')))


def test_pictures_without_masks(tmp_path: Path) -> None:
    write(tmp_path, 0, 1)
    for stem in 'bcd':
        write(tmp_path, 0, 1, stem=stem)
    (tmp_path / 'masks/b.png').rename(tmp_path / 'masks/z.png')
    found = read_folder(str(tmp_path))
    assert [picture.path.stem for picture in found.pictures] == ['a', 'c', 'd']
    assert found.notes[:2] == [
        '1 pictures without a mask are left out, such as b.png',
        '1 masks without a picture are left out, such as z.png',
    ]
    for stem in 'cd':
        (tmp_path / f'masks/{stem}.png').unlink()
    with pytest.raises(InputError, match=r'1 of 4 pictures in .*images have a mask in .*masks, b.png has none'):
        read_folder(str(tmp_path))


def test_names_that_differ_in_case(tmp_path: Path) -> None:
    for stem in 'abc':
        write(tmp_path, 0, 1, stem=stem)
    (tmp_path / 'masks/b.png').rename(tmp_path / 'masks/B.png')
    with pytest.raises(InputError, match=r'images/b.png and a mask in .* differ in case alone \(1 pictures\)'):
        read_folder(str(tmp_path))


@pytest.mark.parametrize('by_train_id', [True, False])
def test_cityscapes(tmp_path: Path, by_train_id: bool) -> None:
    for split in ('train', 'val'):
        write_photograph(tmp_path / f'leftImg8bit/{split}/bonn/bonn_1_leftImg8bit.png', 20, 30)
        (tmp_path / f'gtFine/{split}/bonn').mkdir(parents=True)
        name = 'labelTrainIds' if by_train_id else 'labelIds'
        mask = np.full((20, 30), 13 if by_train_id else 26, np.uint8)
        Image.fromarray(mask).save(tmp_path / f'gtFine/{split}/bonn/bonn_1_gtFine_{name}.png')
    found = read_folder(str(tmp_path))
    assert found.layout == 'Cityscapes' and len(found.classes) == 19 and [p.split for p in found.pictures] == ['train', 'val']
    assert found.classes[found.values.classes[13 if by_train_id else 26]] == 'car'
    assert found.values.classes[255] == IGNORE


def test_sixteen_bits(tmp_path: Path) -> None:
    write(tmp_path, 0)
    Image.fromarray(np.full((40, 60), 700, np.uint16)).save(tmp_path / 'masks/a.png')
    assert read_folder(str(tmp_path)).classes == ('class 700',)


def test_an_unknown_value_that_is_ignored(tmp_path: Path) -> None:
    (tmp_path / 'classes.txt').write_text('cat\ndog\n')
    write(tmp_path, 0, 1, 4)
    found = read_folder(str(tmp_path), faults=Faults(ignored=frozenset([4])))
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

"""What all readers share: names of splits, sizes, boxes."""

from pathlib import Path

import pytest
from models import write_photograph
from PIL import Image

from convnext_dense.data.layouts.found import (
    box_of,
    by_stem,
    label_of,
    picture_size,
    pictures_in,
    split_in,
    split_of,
    whole_polygons,
)
from convnext_dense.errors import InputError


@pytest.mark.parametrize(
    ('names', 'split'),
    [
        (('instances_train2017',), 'train'),
        (('valid',), 'val'),
        (('a', 'Validation'), 'val'),
        (('test-dev',), 'test'),
        (('trainval',), ''),
        (('constrained',), ''),
        (('train_station',), ''),
        (('harbour_test',), ''),
        (('train_images',), 'train'),
        (('person_keypoints_val2017',), 'val'),
        ((), ''),
    ],
)
def test_a_split_by_its_name(names, split: str) -> None:
    assert split_of(*names) == split


def test_a_split_in_the_name_of_a_file() -> None:
    assert [split_in(name) for name in ('nuts_train', 'my.testing', 'instances_val2017', 'trainval', 'a')] == [
        'train', 'test', 'val', '', '',
    ]  # fmt: skip


def test_the_size_after_the_turn(tmp_path: Path) -> None:
    image = Image.new('RGB', (40, 30))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / 'a.jpg', exif=exif)
    assert picture_size(tmp_path / 'a.jpg') == (30, 40)
    (tmp_path / 'b.jpg').write_text('no picture')
    with pytest.raises(InputError, match=r'data: .*b.jpg cannot be read'):
        picture_size(tmp_path / 'b.jpg')


def test_pictures_of_a_folder(tmp_path: Path) -> None:
    for name in ('b.PNG', 'a.jpg', 'inner/c.tif', '.hidden.jpg', 'notes.txt'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in pictures_in(tmp_path)] == ['a.jpg', 'b.PNG', 'c.tif']
    assert [path.name for path in pictures_in(tmp_path, recursive=False)] == ['a.jpg', 'b.PNG']


def test_two_pictures_of_one_stem(tmp_path: Path) -> None:
    paths = [write_photograph(tmp_path / name) for name in ('a.png', 'b.png')]
    assert by_stem(paths) == dict(zip('ab', paths))
    with pytest.raises(InputError, match='expected one picture for each label'):
        by_stem([*paths, tmp_path / 'a.jpg'])


def test_polygons() -> None:
    assert box_of([[1, 2, 5, 9, 3, 0], [7, 7, 8, 8, 7, 8]]) == (1, 0, 8, 9)
    assert whole_polygons([[1, 2, 3, 4], [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6, 7]]) == [[1, 2, 3, 4, 5, 6]]
    assert label_of('b', ('a', 'b'), 'x') == 1
    with pytest.raises(InputError, match="x: expected one of the classes a, b, got 'c'"):
        label_of('c', ('a', 'b'), 'x')

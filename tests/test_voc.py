"""Pascal VOC: where boxes are counted from, difficult objects, masks of objects and classes, splits."""

from pathlib import Path

import numpy as np
import pytest
from models import write_photograph
from PIL import Image

from convnext_dense.data.layouts.found import GROUND, IGNORE
from convnext_dense.data.layouts.index import drawn
from convnext_dense.data.layouts.recognise import read_folder
from convnext_dense.errors import InputError


def thing(name: str, *corners: float, difficult: int = 0) -> str:
    inner = ''.join(f'<{key}>{v}</{key}>' for key, v in zip(('xmin', 'ymin', 'xmax', 'ymax'), corners))
    return f'<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{inner}</bndbox></object>'


def write(root: Path, objects: str, stem: str = 'a') -> Path:
    write_photograph(root / f'JPEGImages/{stem}.jpg', 60, 80)
    (root / 'Annotations').mkdir(exist_ok=True)
    (root / f'Annotations/{stem}.xml').write_text(f'<annotation><filename>{stem}.jpg</filename>{objects}</annotation>')
    return root


def mask(root: Path, folder: str, values: np.ndarray, stem: str = 'a') -> None:
    (root / folder).mkdir(exist_ok=True)
    Image.fromarray(values).save(root / f'{folder}/{stem}.png')


@pytest.mark.parametrize(
    ('corners', 'expected', 'origin'),
    [((1, 1, 80, 60), (0, 0, 80, 60), 1), ((0, 3, 10, 12), (0, 3, 10, 12), 0), ((1.5, 3, 10, 12), (1.5, 3, 10, 12), 0)],
)
def test_where_boxes_are_counted_from(tmp_path: Path, corners, expected, origin: int) -> None:
    found = read_folder(str(write(tmp_path, thing('cat', *corners))))
    assert found.pictures[0].objects[0].box == expected and f'boxes are counted from {origin}' in found.notes


def test_difficult_objects_are_crowds(tmp_path: Path) -> None:
    found = read_folder(str(write(tmp_path, thing('cat', 1, 1, 9, 9, difficult=1) + thing('dog', 1, 1, 9, 9))))
    assert [one.crowd for one in found.pictures[0].objects] == [True, False] and found.classes == ('cat', 'dog')
    assert '1 difficult objects are neither learnt nor judged' in found.notes


@pytest.mark.parametrize(
    ('objects', 'words'),
    [
        (thing('cat', 9, 1, 5, 9), r'a.xml: expected xmin to xmax .* got 9 to 5 and 1 to 9 of cat'),
        (thing('cat', 1, 2, 3), 'expected xmin, ymin, xmax and ymax'),
        ('<object>', 'a.xml is no XML'),
    ],
)
def test_what_is_wrong(tmp_path: Path, objects: str, words: str) -> None:
    write(tmp_path, thing('cat', 1, 1, 9, 9), 'b')
    with pytest.raises(InputError, match=words):
        read_folder(str(write(tmp_path, objects)))


def test_masks_of_objects(tmp_path: Path) -> None:
    write(tmp_path, thing('cat', 1, 1, 9, 9) + thing('dog', 20, 20, 40, 40))
    values = np.zeros((60, 80), np.uint8)
    values[0:9, 0:9], values[20:40, 20:40], values[19, 20:40] = 1, 2, IGNORE
    mask(tmp_path, 'SegmentationObject', values)
    cat, dog = read_folder(str(tmp_path)).pictures[0].objects
    assert drawn(cat.outline, (80, 60)).sum() == 81 and np.array_equal(drawn(dog.outline, (80, 60)), values == 2)


def test_objects_from_masks_alone(tmp_path: Path) -> None:
    """As CVAT writes them: each object's own colour, and its class by another file's."""
    write_photograph(tmp_path / 'JPEGImages/a.jpg', 60, 80)
    (tmp_path / 'labelmap.txt').write_text('background:0,0,0::\ncat:250,0,0::\ndog:0,250,0::\n')
    kinds, things = np.zeros((2, 60, 80, 3), np.uint8)
    kinds[5:15, 5:25], kinds[30:40, 5:25] = (250, 0, 0), (0, 250, 0)
    things[5:15, 5:25], things[30:40, 5:25] = (1, 2, 3), (4, 5, 6)
    mask(tmp_path, 'SegmentationClass', kinds)
    mask(tmp_path, 'SegmentationObject', things)
    found = read_folder(str(tmp_path))
    assert [(one.label, one.box) for one in found.pictures[0].objects] == [(0, (5, 5, 25, 15)), (1, (5, 30, 25, 40))]
    assert found.values.classes == {0: GROUND, 250 << 16: 0, 250 << 8: 1, (224 << 16) + (224 << 8) + 192: IGNORE}


def test_the_twenty_classes(tmp_path: Path) -> None:
    write(tmp_path, thing('cat', 1, 1, 9, 9))
    mask(tmp_path, 'SegmentationClass', np.full((60, 80), 8, np.uint8))
    found = read_folder(str(tmp_path))
    assert len(found.classes) == 20 and found.classes[found.values.classes[8]] == 'cat'


def test_a_colour_that_no_class_has(tmp_path: Path) -> None:
    write_photograph(tmp_path / 'JPEGImages/a.jpg', 60, 80)
    (tmp_path / 'labelmap.txt').write_text('background:0,0,0::\ncat:250,0,0::\n')
    mask(tmp_path, 'SegmentationClass', np.full((60, 80, 3), 7, np.uint8))
    with pytest.raises(InputError, match=r'a.png has the colour #070707, which is none of labelmap.txt'):
        read_folder(str(tmp_path))


def test_splits(tmp_path: Path) -> None:
    for stem in 'abc':
        write(tmp_path, thing('cat', 1, 1, 9, 9), stem)
    (tmp_path / 'ImageSets/Main').mkdir(parents=True)
    (tmp_path / 'ImageSets/Main/train.txt').write_text('a\n')
    (tmp_path / 'ImageSets/Main/val.txt').write_text('b\n')
    assert [picture.split for picture in read_folder(str(tmp_path)).pictures] == ['train', 'val', '']
    (tmp_path / 'ImageSets/Main/val.txt').write_text('z\n')
    with pytest.raises(InputError, match=r'val.txt names z, which is not in'):
        read_folder(str(tmp_path))


def test_an_annotation_without_a_picture(tmp_path: Path) -> None:
    write(tmp_path, thing('cat', 1, 1, 9, 9))
    (tmp_path / 'Annotations/b.xml').write_text((tmp_path / 'Annotations/a.xml').read_text())
    with pytest.raises(InputError, match=r'b.xml has no picture in'):
        read_folder(str(tmp_path))


def test_files_beside_their_pictures(tmp_path: Path) -> None:
    write_photograph(tmp_path / 'train/a.jpg', 60, 80)
    (tmp_path / 'train/a.xml').write_text(f'<annotation>{thing("cat", 1, 1, 9, 9)}</annotation>')
    found = read_folder(str(tmp_path))
    assert found.layout == 'Pascal VOC' and found.pictures[0].split == 'train' and len(found.pictures[0].objects) == 1


def test_labelmes_polygons_and_sizes(tmp_path: Path) -> None:
    """LabelMe 3.0's XML, as CVAT writes it; a size in the file is the annotation's."""
    points = ''.join(f'<pt><x>{x}</x><y>{y}</y></pt>' for x, y in ((5, 5), (20, 5), (20, 15)))
    size = '<size><width>40</width><height>30</height></size>'
    write(tmp_path, f'{size}<object><name> cat </name><polygon>{points}</polygon></object>')
    found = read_folder(str(tmp_path))
    assert found.classes == ('cat',) and found.pictures[0].objects[0].outline == [[5, 5, 20, 5, 20, 15]]
    assert found.pictures[0].size == (40, 30)


def test_names_with_dots_in_a_list(tmp_path: Path) -> None:
    for stem in ('f.0001', 'f.0002'):
        write(tmp_path, thing('cat', 1, 1, 9, 9), stem)
    (tmp_path / 'ImageSets/Main').mkdir(parents=True)
    (tmp_path / 'ImageSets/Main/train.txt').write_text('f.0001\n')
    (tmp_path / 'ImageSets/Main/val.txt').write_text('f.0002 1\n')
    assert [picture.split for picture in read_folder(str(tmp_path)).pictures] == ['train', 'val']

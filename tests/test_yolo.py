"""YOLO's label files: boxes, polygons, where the pictures are, and what is wrong in a line."""

from pathlib import Path

import pytest
from layout_sets import CLASSES, toy, write_yolo
from models import write_photograph

from convnext_dense.data.layouts import yolo
from convnext_dense.data.layouts.recognise import read_folder
from convnext_dense.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_photograph(tmp_path / 'images/a.png', 50, 100)
    (tmp_path / 'labels').mkdir()
    (tmp_path / 'data.yaml').write_text('names:\n  0: cat\n  1: dog\n')
    return tmp_path


def objects(root: Path, text: str):
    (root / 'labels/a.txt').write_text(text)
    return read_folder(str(root)).pictures[0].objects


def test_boxes_and_polygons(root: Path) -> None:
    box, polygon = objects(root, '0 0.5 0.5 0.2 0.4\n\n1 0.1 0.2 0.3 0.2 0.3 0.6\n')
    assert (box.label, box.box, box.outline) == (0, (40.0, 15.0, 60.0, 35.0), None)
    assert (polygon.label, polygon.box, polygon.outline) == (
        1,
        (10.0, 10.0, 30.0, 30.0),
        [[10.0, 10.0, 30.0, 10.0, 30.0, 30.0]],
    )


@pytest.mark.parametrize(
    ('line', 'words'),
    [
        ('2 0.5 0.5 0.2 0.4', r'a.txt, line 1: expected a class from 0 to 1 \(cat, dog\), got 2'),
        ('-1 0.5 0.5 0.2 0.4', 'expected a class from 0 to 1'),
        ('0 50 50 20 40', 'as shares from 0 to 1'),
        ('0 0.5 0.5', 'expected a class and x y width height'),
        ('cat 0.5 0.5 0.2 0.4', 'expected a class and x y width height'),
        ('0 0.1 0.1 0.2 0.2 0.3 0.3 0.4', 'two numbers for each point, got 7'),
        ('0 nan 0.5 0.2 0.4', 'as shares'),
    ],
)
def test_a_wrong_line(root: Path, line: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        objects(root, line)


def test_a_picture_without_labels_has_no_objects(root: Path) -> None:
    (root / 'labels/a.txt').write_text('0 0.5 0.5 0.2 0.4\n')
    write_photograph(root / 'images/b.png', 50, 100)
    (root / 'labels/b.txt').touch()
    write_photograph(root / 'images/c.png', 50, 100)
    assert [len(picture.objects) for picture in read_folder(str(root)).pictures] == [1, 0, 0]


def test_labels_without_names(root: Path) -> None:
    (root / 'data.yaml').unlink()
    (root / 'labels/a.txt').write_text('0 0.5 0.5 0.2 0.4\n')
    with pytest.raises(InputError, match=r'labels/a.txt looks like a YOLO label, and .* has no data.yaml'):
        read_folder(str(root))


@pytest.mark.parametrize('name', ['classes.txt', 'obj.names'])
def test_names_of_other_tools(root: Path, name: str) -> None:
    (root / 'data.yaml').unlink()
    (root / name).write_text('cat\ndog\n')
    assert len(objects(root, '1 0.5 0.5 0.2 0.4')) == 1
    assert read_folder(str(root)).classes == ('cat', 'dog')


@pytest.mark.parametrize('names', ['[cat, cat]', '{0: cat, 2: dog}', 'cat', '[]'])
def test_names_that_are_none(root: Path, names: str) -> None:
    (root / 'data.yaml').write_text(f'names: {names}\n')
    with pytest.raises(InputError, match='data.yaml: expected names'):
        objects(root, '0 0.5 0.5 0.2 0.4')


def test_a_broken_yaml(root: Path) -> None:
    (root / 'data.yaml').write_text('names: [cat\n')
    with pytest.raises(InputError, match='data.yaml cannot be read'):
        objects(root, '0 0.5 0.5 0.2 0.4')


def test_lists_of_pictures(root: Path) -> None:
    (root / 'labels/a.txt').write_text('0 0.5 0.5 0.2 0.4\n')
    write_photograph(root / 'images/b.png', 50, 100)
    (root / 'train.txt').write_text('images/a.png\n')
    (root / 'val.txt').write_text('./images/b.png\n')
    (root / 'data.yaml').write_text('train: train.txt\nval: val.txt\nnames: [cat, dog]\n')
    assert [picture.split for picture in read_folder(str(root)).pictures] == ['train', 'val']
    (root / 'val.txt').write_text('images/nothing.png\n')
    with pytest.raises(InputError, match='val.txt names images/nothing.png, which is not there'):
        read_folder(str(root))


def test_paths_of_another_machine(tmp_path: Path) -> None:
    write_yolo(tmp_path, toy(tmp_path / 'toy'))
    yaml = tmp_path / 'data.yaml'
    yaml.write_text(yaml.read_text().replace('../train', '/home/someone/nuts/train').replace('../val', 'C:/nuts/val'))
    found = yolo.read(tmp_path)
    assert {picture.split for picture in found.pictures if 'toy' not in picture.name} == {'train', 'val'}
    assert found.classes == CLASSES


def test_labels_without_a_picture_and_of_another_case(root: Path) -> None:
    (root / 'labels/a.txt').write_text('0 0.5 0.5 0.2 0.4\n')
    (root / 'labels/gone.txt').write_text('0 0.5 0.5 0.2 0.4\n')
    assert read_folder(str(root)).notes == ['1 label files without a picture are left out, such as gone.txt']
    (root / 'labels/a.txt').rename(root / 'labels/A.txt')
    with pytest.raises(InputError, match=r'labels/A.txt and .*images/a.png have names that differ in case'):
        read_folder(str(root))


@pytest.mark.parametrize(
    ('yaml', 'words'),
    [
        ('nc: 3\nnames: [cat, dog]', 'as many names as nc says, 3, got 2'),
        ('kpt_shape: [2, 3]\nnames: [cat, dog]', 'key points'),
    ],
)
def test_what_the_yaml_says_else(root: Path, yaml: str, words: str) -> None:
    (root / 'data.yaml').write_text(yaml)
    with pytest.raises(InputError, match=words):
        objects(root, '0 0.5 0.5 0.2 0.4')


def test_a_picture_in_two_lists(root: Path) -> None:
    (root / 'labels/a.txt').write_text('0 0.5 0.5 0.2 0.4\n')
    (root / 'data.yaml').write_text('train: train.txt\nval: val.txt\nnames: [cat, dog]\n')
    for name in ('train', 'val'):
        (root / f'{name}.txt').write_text('data/images/a.png\n')
    with pytest.raises(InputError, match='a.png stands in the lists of train and val'):
        read_folder(str(root))


def test_other_encodings_and_a_confidence(root: Path) -> None:
    with pytest.raises(InputError, match='is the last one a confidence'):
        objects(root, '0 0.5 0.5 0.2 0.4 0.9')
    (root / 'data.yaml').unlink()
    (root / 'classes.txt').write_bytes('Bär\nHund\n'.encode('cp1252'))
    with pytest.raises(InputError, match='classes.txt cannot be read as UTF-8'):
        objects(root, '0 0.5 0.5 0.2 0.4')

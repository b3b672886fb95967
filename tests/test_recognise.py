"""Every layout is recognised, and gives the same pictures, objects and classes; what is none or several is said."""

from pathlib import Path

import pytest
from layout_sets import CLASSES, MASKS, OBJECTS, Parts, box, painted, toy, write_coco, write_indices, write_yolo

from convnext_dense.data.layouts.found import Found
from convnext_dense.data.layouts.recognise import LAYOUTS, read_folder
from convnext_dense.data.layouts.split import split
from convnext_dense.errors import InputError

NAMES = dict(roboflow='COCO JSON', coco='COCO JSON', yolo='YOLO', labelme='LabelMe', cvat='CVAT XML', voc='Pascal VOC')
TREES = ('building', 'sky', 'tree')  # names that ADE20K has, too


@pytest.fixture(scope='module')
def parts(tmp_path_factory) -> Parts:
    return toy(tmp_path_factory.mktemp('toy'))


def read(root: Path, write, *args) -> Found:
    root.mkdir()
    write(root, *args)
    return read_folder(str(root))


@pytest.mark.parametrize('name', OBJECTS)
def test_a_layout_of_objects(name: str, parts: Parts, tmp_path: Path) -> None:
    found = read(tmp_path / name, OBJECTS[name], parts)
    assert found.layout == NAMES.get(name, 'Label Studio JSON') and found.why and found.classes == CLASSES
    splits, how = split(found)
    assert how == 'splits as in the folder'
    for part, ones in parts.items():
        assert [p.path.name for p in splits[part]] == [one.path.name for one in ones]
        for picture, one in zip(splits[part], ones):
            assert picture.size == one.size and picture.path.is_file()
            assert [o.label for o in picture.objects] == [label for label, _ in one.polygons]
            for mine, (_, polygon) in zip(picture.objects, one.polygons):
                assert mine.box == pytest.approx(box(polygon), abs=1e-3)
                if name != 'voc':
                    assert [v for p in mine.outline for v in p] == pytest.approx(polygon, abs=1e-3)
    assert found.outlined


@pytest.mark.parametrize('name', MASKS)
def test_a_layout_of_masks(name: str, parts: Parts, tmp_path: Path) -> None:
    scenes = painted(parts)
    found = read(tmp_path / name, MASKS[name], scenes, TREES)
    assert [one for one in found.classes if one in TREES] == list(TREES)
    assert sum(picture.split == 'val' for picture in found.pictures) == len(parts['val'])
    if name == 'coco_masks':
        assert found.values is None and found.outlined
    else:
        assert found.values is not None and all(picture.mask.is_file() for picture in found.pictures)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='which is empty'):
        read_folder(str(tmp_path))


def test_no_folder(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    for name, words in (('nothing', 'not there'), ('file', 'a file')):
        with pytest.raises(InputError, match=words):
            read_folder(str(tmp_path / name))


def test_pictures_alone(parts: Parts, tmp_path: Path) -> None:
    write_coco(tmp_path, parts)
    for path in tmp_path.glob('*.json'):
        path.unlink()
    with pytest.raises(InputError, match=f'COCO JSON, YOLO.*got {tmp_path} with 6 pictures and none of these'):
        read_folder(str(tmp_path))


def test_two_layouts_at_once(parts: Parts, tmp_path: Path) -> None:
    write_coco(tmp_path, parts)
    write_yolo(tmp_path, parts)
    with pytest.raises(InputError, match=r'one layout.*coco \(train.json and val.json\) and yolo \(data.yaml.*--layout'):
        read_folder(str(tmp_path))
    assert read_folder(str(tmp_path), 'yolo').layout == 'YOLO'
    with pytest.raises(InputError, match='--layout labelme: expected its files'):
        read_folder(str(tmp_path), 'labelme')


def test_names_with_spaces_letters_and_links(tmp_path: Path) -> None:
    parts = toy(tmp_path / 'source folder')
    for ones in parts.values():
        for index, one in enumerate(ones):
            ones[index] = one._replace(path=one.path.rename(one.path.with_name(f'größe № {one.path.stem}.jpg')))
    for name in ('coco', 'yolo', 'labelme', 'cvat', 'voc', 'label_studio'):
        real = tmp_path / f'my {name}'
        found = read(real, OBJECTS[name], parts)
        assert len(found.pictures) == 6 and found.pictures[0].path.name.startswith('größe')
    (tmp_path / 'link').symlink_to(tmp_path / 'my coco')
    assert len(read_folder(str(tmp_path / 'link')).pictures) == 6


def test_masks_are_counted_as_they_are_read(parts: Parts, tmp_path: Path) -> None:
    write_indices(tmp_path, painted(parts), TREES)
    told: list[tuple[int, int]] = []
    read_folder(str(tmp_path), told=lambda done, total: told.append((done, total)))
    assert told == [(n, 6) for n in range(1, 7)]


def test_every_layout_has_a_name() -> None:
    assert {*LAYOUTS} == {'coco', 'yolo', 'voc', 'labelme', 'cvat', 'label-studio', 'masks'}


@pytest.mark.parametrize('name', ['coco', 'yolo', 'voc'])
def test_a_folder_in_a_folder(name: str, parts: Parts, tmp_path: Path) -> None:
    """As archives unpack; but a split that is alone stays one."""
    inner = tmp_path / 'out/nuts.v1i'
    inner.mkdir(parents=True)
    OBJECTS[name](inner, parts)
    (tmp_path / 'out/.DS_Store').touch()
    assert len(read_folder(str(tmp_path / 'out')).pictures) == 6


def test_nothing_annotated(parts: Parts, tmp_path: Path) -> None:
    write_coco(tmp_path, {split: [one._replace(polygons=()) for one in ones] for split, ones in parts.items()})
    with pytest.raises(InputError, match='expected annotations in .*, got none in any picture'):
        read_folder(str(tmp_path))


def test_coordinates_of_another_world(parts: Parts, tmp_path: Path) -> None:
    far = parts['train'][0]._replace(polygons=((1, [1.0, 1, 5e12, 1, 5, 1e9]),))
    write_coco(tmp_path, parts | dict(train=[far, *parts['train'][1:]]))
    with pytest.raises(InputError, match=r'images/p0.jpg: expected coordinates in a picture of 80x60, got a fig at'):
        read_folder(str(tmp_path))


def test_hidden_and_linked_folders(parts: Parts, tmp_path: Path) -> None:
    write_indices(tmp_path / 'real', painted(parts), TREES)
    (tmp_path / 'data').mkdir()
    for name in ('images', 'masks', 'classes.txt'):
        (tmp_path / 'data' / name).symlink_to(tmp_path / 'real' / name)
    (tmp_path / 'real/images/train/.ipynb_checkpoints').mkdir()
    picture = parts['train'][0].path
    (tmp_path / 'real/images/train/.ipynb_checkpoints/p0-checkpoint.jpg').write_bytes(picture.read_bytes())
    assert len(read_folder(str(tmp_path / 'data')).pictures) == 6

"""COCO's JSON as several tools write it."""

import json
from pathlib import Path

import pytest
from layout_sets import CLASSES, coco_content, toy, write_coco, write_roboflow

from convnext_dense.data.layouts.recognise import read_folder
from convnext_dense.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_coco(tmp_path / 'set', toy(tmp_path / 'toy'))
    return tmp_path / 'set'


def edit(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_union_of_the_splits_is_left_out(root: Path, tmp_path: Path) -> None:
    parts = toy(tmp_path / 'toy')
    (root / 'trainval.json').write_text(json.dumps(coco_content([*parts['train'], *parts['val']])))
    found = read_folder(str(root))
    assert len(found.pictures) == 6 and found.notes == ['trainval.json has the pictures of the other files and is left out']


def test_a_picture_in_two_splits(root: Path) -> None:
    first = json.loads((root / 'train.json').read_text())['images'][0]
    edit(root / 'val.json', lambda content: content['images'].append(first | dict(id=99)))
    with pytest.raises(InputError, match=r'p0.jpg stands in .*train.json and .*val.json'):
        read_folder(str(root))


def test_other_categories_in_one_file(root: Path) -> None:
    edit(root / 'val.json', lambda content: content['categories'][0].update(name='plum'))
    with pytest.raises(InputError, match='the same categories in all files, got date, fig, hazelnut in .* and plum, fig'):
        read_folder(str(root))


def test_roboflows_category_above_is_left_out(tmp_path: Path) -> None:
    write_roboflow(tmp_path / 'set', toy(tmp_path / 'toy'))
    found = read_folder(str(tmp_path / 'set'))
    assert found.classes == CLASSES and 'nuts, above the others' in found.notes[0]


def test_thin_polygons_are_counted(root: Path) -> None:
    edit(root / 'train.json', lambda content: content['annotations'][0].update(segmentation=[[1, 1, 5, 5]]))
    found = read_folder(str(root))
    assert found.notes == ['1 polygons of less than three points are left out']
    assert sum(len(picture.objects) for picture in found.pictures) == 17


def test_boxes_alone_and_crowds(root: Path) -> None:
    def change(content: dict) -> None:
        content['annotations'][0].pop('segmentation')
        content['annotations'][1].update(iscrowd=1)

    edit(root / 'train.json', change)
    first = read_folder(str(root)).pictures[0].objects
    assert first[0].outline is None and first[1].crowd and not first[2].crowd


def test_keypoints_beside_instances_are_not_read(root: Path) -> None:
    (root / 'annotations').mkdir()
    for name in ('train', 'val'):
        content = json.loads((root / f'{name}.json').read_text())
        (root / f'{name}.json').rename(root / f'annotations/instances_{name}2017.json')
        (root / f'annotations/person_keypoints_{name}2017.json').write_text(json.dumps(content))
        (root / f'annotations/captions_{name}2017.json').write_text(json.dumps(dict(images=[], annotations=[])))
    found = read_folder(str(root))
    assert [p.split for p in found.pictures] == ['train'] * 4 + ['val'] * 2 and 'instances_train2017' in found.why


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (
            lambda c: c['annotations'][1].update(category_id=99),
            'annotation 1 has category_id 99, which is not among',
        ),
        (lambda c: c['annotations'][1].update(image_id=99), 'annotation 1 has image_id 99, which is not among the image ids'),
        (lambda c: c['images'][1].update(id=0), 'images of different ids, got 0 more than once'),
        (lambda c: c['annotations'][1].update(segmentation=[1.0, 2, 3, 4, 5, 6]), r'expected polygons \[\[x, y'),
        (lambda c: (c['annotations'][1].pop('segmentation'), c['annotations'][1].pop('bbox')), 'expected bbox of four numbers'),
        (lambda c: c['categories'][1].update(name='date'), None),
    ],
)
def test_annotations_that_have_no_place(root: Path, change, words: str | None) -> None:
    edit(root / 'train.json', change)
    if words is None:
        edit(root / 'val.json', change)
    with pytest.raises(InputError, match=words or 'classes of different names in .*, got date more than once'):
        read_folder(str(root))


def test_what_may_be_left_out(root: Path) -> None:
    """Boxes where there are polygons, sizes where there are pictures."""
    expected = read_folder(str(root)).pictures

    def change(content: dict) -> None:
        for item in content['annotations']:
            item.pop('bbox')
        for image in content['images']:
            image.pop('width')

    edit(root / 'train.json', change)
    assert read_folder(str(root)).pictures == expected


@pytest.mark.parametrize('name', ['/data/upload/1/{}', 'C:\\photos\\{}', '../../{}'])
def test_names_of_another_machine(root: Path, name: str) -> None:
    expected = read_folder(str(root)).pictures

    def change(content: dict) -> None:
        for image in content['images']:
            image['file_name'] = name.format(image['file_name'])

    for split in ('train', 'val'):
        edit(root / f'{split}.json', change)
    assert read_folder(str(root)).pictures == expected
    (root / 'images/p0.jpg').rename(root / 'images/P0.jpg')
    with pytest.raises(InputError, match='expected one picture p0.jpg in .*, got none; its name differs in case'):
        read_folder(str(root))


def test_a_file_for_each_of_many_pictures(tmp_path: Path) -> None:
    parts = toy(tmp_path / 'toy', 30)
    ones = [*parts['train'], *parts['val']]
    write_coco(tmp_path / 'set', parts)
    for split in ('train', 'val'):
        (tmp_path / f'set/{split}.json').unlink()
    for number, one in enumerate(ones):
        (tmp_path / f'set/{number}.json').write_text(json.dumps(coco_content([one])))
    assert len(read_folder(str(tmp_path / 'set')).pictures) == 30

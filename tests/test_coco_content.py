"""COCO files: found, read, checked; their classes in every head."""

import json
import shutil
from pathlib import Path

import pytest
from coco_sets import TRAIN_VAL, config

from convnext_dense import InputError
from convnext_dense.data.coco import (
    _present,
    class_list,
    coco_files,
    find_images,
    parts,
    read_coco,
)
from convnext_dense.expect import brief
from convnext_dense.run.classes import dataset_specs, settle_coco


def spoilt(key: str, field: str, value) -> dict:
    coco = dict(
        images=[dict(id=1, file_name='a.jpg', width=9, height=9)],
        annotations=[dict(id=1, image_id=1, category_id=1)],
        categories=[dict(id=1, name='thing')],
    )
    coco[key][0][field] = value
    return coco


IDS = [
    ('images', 'id'),
    ('annotations', 'id'),
    ('annotations', 'image_id'),
    ('annotations', 'category_id'),
    ('categories', 'id'),
]
NAMES = [('images', 'file_name'), ('categories', 'name')]
WRONG_IDS = ['1', 1.0, True, None, [1], dict(a=1), -1, 2**53, 10**30, float('nan')]
WRONG_NAMES = [5, None, True, ['a.jpg'], dict(), '', '  ', 'a\0.jpg', '\ud800.jpg']


@pytest.mark.parametrize(
    'key, field, value, expected',
    [(*place, value, 'an integer from 0 to 9007199254740991') for place in IDS for value in WRONG_IDS]
    + [(*place, value, 'text') for place in NAMES for value in WRONG_NAMES],
)
def test_ids_and_names_of_other_types(tmp_path, key: str, field: str, value, expected: str) -> None:
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(spoilt(key, field, value)))
    with pytest.raises(InputError) as caught:
        read_coco(path)
    message = str(caught.value)
    assert message.startswith(f'data: {path}: {key}[0] ') and message.endswith(
        f'; expected {expected}; mend the annotation file'
    ), message
    assert f'has {field} {brief(value)}' in message and '\n' not in message


@pytest.mark.parametrize(('key', 'field', 'value'), [*((*place, v) for place in IDS for v in (0, 2**53 - 1)), (*NAMES[0], '5')])
def test_ids_and_names_at_the_limits(tmp_path, key: str, field: str, value) -> None:
    (tmp_path / 'a.json').write_text(json.dumps(spoilt(key, field, value)))
    assert read_coco(tmp_path / 'a.json')[key][0][field] == value


def test_three_wrong_values_are_named(tmp_path) -> None:
    coco = spoilt('images', 'id', 'x')
    for count in (3, 4, 9):
        (tmp_path / 'a.json').write_text(json.dumps(coco | dict(images=coco['images'] * count)))
        read_coco.cache_clear()
        with pytest.raises(
            InputError,
            match=f'; and {count - 3} more; mend the annotation file$'
            if count > 3
            else "images.2. has id 'x'; .*to 9007199254740991; mend the annotation file$",
        ):
            read_coco(tmp_path / 'a.json')


@pytest.mark.parametrize(
    'content, words',
    [
        (b'[' * 100_000 + b']' * 100_000, 'which is nested too deep to be read'),
        (b'{"a":' * 100_000 + b'1' + b'}' * 100_000, 'which is nested too deep to be read'),
        ('{"images": "\u00e9"}'.encode('latin-1'), 'expected COCO JSON in UTF-8, got .* which cannot be read'),
        (b'', 'which cannot be read'),
        (b'{"images": [' + b'1' * 5000 + b']}', 'which cannot be read'),  # more digits than Python converts
        (b'\xef\xbb\xbf{}', 'which cannot be read'),  # with a byte order mark
    ],
    ids=['lists', 'dicts', 'latin-1', 'empty', 'digits', 'mark'],
)
def test_content_that_cannot_be_read(tmp_path, content: bytes, words: str) -> None:
    (tmp_path / 'a.json').write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_coco(tmp_path / 'a.json')


def test_no_file(tmp_path) -> None:
    for path, what in ((tmp_path, 'a folder'), (tmp_path / 'a.json', 'not there'), (tmp_path / ('x' * 999), 'not there')):
        with pytest.raises(InputError, match=f'which is {what}; pass --train-ann or --val-ann FILE'):
            read_coco(path)


def test_a_file_without_annotations_is_one_of_images_to_test(tmp_path) -> None:
    coco = spoilt('images', 'id', 1)
    del coco['annotations']
    (tmp_path / 'a.json').write_text(json.dumps(coco))
    assert read_coco(tmp_path / 'a.json')['annotations'] == []


@pytest.mark.parametrize(
    'meta, expected',
    [
        (None, None),
        (dict(), None),
        (dict(palette=[]), None),
        (dict(classes=['a', 'b']), ('a', 'b')),
        (dict(classes=('a', 'b'), palette=[(0, 0, 0), [255, 255, 255]]), ('a', 'b')),
        ([1], r'metainfo: expected dict\(classes=\[...\]\), got \[1\]'),
        (dict(classes='ab'), "metainfo.classes: expected a list of names, got 'ab'"),
        (dict(classes=None), 'metainfo.classes: expected a list of names, got None'),
        (dict(classes=[]), r'got \[\]'),
        (dict(classes=['a', 5]), r"got \['a', 5\]"),
        (dict(classes=['a', '']), r"got \['a', ''\]"),
        (dict(classes=dict(a=1)), "got {'a': 1}"),
        (dict(classes=['a', 'b', 'a']), 'expected different names, got a more than once'),
        (dict(classes=['a', 'b'], palette=[[1, 2, 3]]), r'palette: expected 2 colours .*; got 1 entries'),
        (dict(classes=['a'], palette=[[1, 2]]), r'expected 1 colours .*; got \[\[1, 2\]\]'),
        (dict(classes=['a'], palette=[[1, 2, 256]]), r'got \[\[1, 2, 256\]\]'),
        (dict(classes=['a'], palette=[[1, 2, -1]]), r'got \[\[1, 2, -1\]\]'),
        (dict(classes=['a'], palette=[[1, 2, True]]), 'True'),
        (dict(classes=['a'], palette=['red']), 'red'),
        (dict(classes=['a'], palette='random'), '0 entries'),
        (dict(classes=['a'], palette=dict(a=1)), '0 entries'),
    ],
)
def test_class_lists(meta, expected) -> None:
    if not isinstance(expected, str):
        assert class_list(dict(metainfo=meta)) == expected
    else:
        with pytest.raises(InputError, match=expected):
            class_list(dict(metainfo=meta))


@pytest.mark.parametrize(
    'spec, words',
    [
        (dict(data_prefix=['a']), r"data_prefix: expected dict\(img='FOLDER'\), got \['a'\]"),
        (dict(data_prefix='a'), "got 'a'"),
        *((dict(data_prefix=dict(img=v)), 'data_prefix.img: expected a path as text') for v in ([], ['a'], 5, None, True)),
        *((dict(ann_file=v), 'ann_file: expected a path as text') for v in ([], ['a'], 5, None, '', dict(a=1))),
        *((dict(data_root=v), 'data_root: expected a path as text') for v in (['a'], 5, dict(a=1))),
    ],
)
def test_paths_that_are_none(root: Path, spec: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        coco_files(dict(ann_file='a.json') | spec)
    cfg = config(root)
    for name in TRAIN_VAL:
        dataset_specs(cfg, name)[0].update(spec)
    with pytest.raises(InputError, match=words):
        settle_coco(cfg, TRAIN_VAL)


def test_paths() -> None:
    files = coco_files(dict(ann_file='a.json', data_root=None, data_prefix=None))
    assert (files.annotations, files.images) == (Path('a.json'), Path())
    files = coco_files(dict(ann_file='a.json', data_root='root', data_prefix=dict(img='b')))
    assert (files.annotations, files.images) == (Path('root/a.json'), Path('root/b'))


def test_the_parts_of_a_data_set() -> None:
    assert parts(dict(dataset=dict(dataset=dict(type='a')))) == [('dataset.dataset.dataset', dict(type='a'))]
    one, two, three = (dict(type=name) for name in 'abc')
    nested = dict(datasets=[one, dict(times=2, dataset=dict(datasets=[two, three]))])
    places = ['x.datasets[0]', 'x.datasets[1].dataset.datasets[0]', 'x.datasets[1].dataset.datasets[1]']
    assert parts(nested, 'x') == list(zip(places, (one, two, three)))
    for odd in (5, dict(datasets=[]), dict(datasets='x'), dict(datasets=[3])):
        assert parts(odd) == [('dataset', odd)]


@pytest.mark.parametrize(
    'there, expected', [('abcd', 4), ('acd', 3), ('abc', 3), ('bcd', 3), ('ad', 2), ('a', 1), ('d', 1), ('bc', 0), ('', 0)]
)
def test_how_many_images_are_there(tmp_path, there: str, expected: int) -> None:
    for name in there:
        (tmp_path / name).touch()
    assert _present(tmp_path, [dict(file_name=name) for name in 'abcd']) == expected


def test_the_folder_with_most_images_where_none_has_all(root: Path) -> None:
    annotations = root / 'instances_training.json'
    coco, photos = read_coco(annotations), root / 'images' / 'training'
    for name, missing in (('few', (1, 2, 3)), ('most', (2,)), ('some', (2, 3))):
        shutil.copytree(photos, root / name)
        for index in missing:
            (root / name / coco['images'][index]['file_name']).unlink()
    shutil.rmtree(root / 'images')
    assert find_images(str(root), annotations, 'train2017', coco) == root / 'most'


def test_folders_that_cannot_be_looked_into(root: Path, tmp_path) -> None:
    (root / 'loop').symlink_to(root / 'loop')
    annotations = root / 'instances_training.json'
    coco = read_coco(annotations)
    assert find_images(str(root), annotations, 'x' * 999, coco) == root / 'images' / 'training'
    assert find_images(str(tmp_path / 'nowhere'), annotations, 'train2017', coco) == root / 'images' / 'training'

"""Content of COCO files: named where wrong, and what is accepted trains with the right masks."""

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from convnext_dense import InputError
from convnext_dense.data.check_coco import coco_problems, filters, left_out, nothing_left, nothing_to_find
from convnext_dense.data.check_masks import mask_problems, run_lengths
from convnext_dense.data.coco import class_list, read_coco

WIDTH, HEIGHT = 30, 20
NAN, INF = float('nan'), float('inf')
SQUARE = [5, 5, 15, 5, 15, 15, 5, 15]
RUNS = [100, 50, WIDTH * HEIGHT - 150]


def content(**fields) -> dict:
    """A sound file of one image and one object, whose fields are replaced."""
    item = dict(id=1, image_id=1, category_id=1, bbox=[5, 5, 10, 10], area=100, iscrowd=0, segmentation=[SQUARE])
    return dict(
        images=[dict(id=1, file_name='a.jpg', width=WIDTH, height=HEIGHT)],
        annotations=[{**item, **fields}],
        categories=[dict(id=1, name='thing')],
    )


def write(tmp_path: Path, coco: dict) -> Path:
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(coco))
    read_coco.cache_clear()
    return path


def problems(tmp_path: Path, coco: dict, with_masks: bool = True) -> list[str]:
    lines = list(coco_problems(write(tmp_path, coco), tmp_path, with_masks, sample=0))
    return [line for line in lines if 'is missing' not in line]


def run_mask(counts, size=(HEIGHT, WIDTH)) -> dict:
    return dict(segmentation=dict(size=list(size), counts=counts))


@pytest.mark.parametrize(
    'fields, message',
    [
        (dict(bbox=[True, True, True, True]), 'bbox [True, True, True, True]; expected [x, y, width, height]'),
        (dict(bbox=['1', '2', '3', '4']), "bbox ['1', '2', '3', '4']; expected"),
        (dict(bbox=[1, 2, 3, INF]), 'bbox [1, 2, 3, inf]; expected'),
        (dict(bbox=[10**400, 2, 3, 4]), '; expected [x, y, width, height]'),
        (dict(bbox=[5, 5, 1, -1]), 'with a negative side'),
        (dict(bbox=[-2.5, 5, 4, 4]), 'outside its image of 30x20'),
        (dict(bbox=[5, -2.5, 4, 4]), 'outside its image of 30x20'),
        (dict(bbox=[5, 5, 28, 4]), 'outside its image of 30x20'),
        (dict(bbox=[5, 5, 4, 18]), 'outside its image of 30x20'),
        (dict(area=NAN), 'has area nan; expected the area'),
        (dict(area=-1), 'has area -1; expected the area'),
        (dict(area=True), 'has area True; expected the area'),
        (dict(iscrowd='0'), "has iscrowd '0'; expected 0 or 1"),
        (dict(iscrowd=None), 'has iscrowd None; expected 0 or 1'),
        (dict(iscrowd=1.0), 'has iscrowd 1.0; expected 0 or 1'),
        (dict(ignore=2), 'has ignore 2; expected 0 or 1'),
        (dict(segmentation='a'), "has segmentation 'a'; expected polygons"),
        (dict(segmentation=SQUARE), 'has a polygon 5; expected a list'),
        (dict(segmentation=[[SQUARE] * 6]), 'has a polygon with [5, 5, 15, 5, 15, 15, 5, 15] in it; expected numbers'),
        (dict(segmentation=[SQUARE, [*SQUARE[:-1], '15']]), "has a polygon with '15' in it; expected numbers"),
        (dict(segmentation=[[*SQUARE[:-1], True]]), 'has a polygon with True in it; expected numbers'),
        (
            dict(segmentation=[SQUARE, [*SQUARE[:-1], NAN]]),
            'from x, y = 5, nan to 15, nan; expected finite numbers in its image',
        ),
        (dict(segmentation=[[*SQUARE[:-1], 10**400]]), 'to 15, inf; expected finite numbers in its image of 30x20'),
        (dict(segmentation=[[1e9, *SQUARE[1:]]]), 'to 1e+09, 15; expected finite numbers in its image of 30x20'),
        (dict(segmentation=[[-1e9, *SQUARE[1:]]]), 'from x, y = -1e+09, 5 to'),
        (dict(segmentation=[[v + 30 for v in SQUARE]]), 'from x, y = 35, 35 to 45, 45; expected finite numbers in its image'),
        (
            dict(segmentation=[[30, 5, 40, 5, 40, 15, 30, 15]]),
            'from x, y = 30, 5 to 40, 15; expected finite numbers in its image',
        ),
        (dict(segmentation=[[v - 15 for v in SQUARE]]), 'from x, y = -10, -10 to 0, 0; expected'),
        (dict(segmentation=[[5, 5, 10, 10, 15, 15]]), 'has polygons that enclose no area; expected the outline'),
        (run_mask(RUNS, (WIDTH, HEIGHT)), 'has a run-length mask of size [30, 20]; expected [20, 30]'),
        (run_mask(RUNS, (20.0, 30.0)), 'has a run-length mask of size [20.0, 30.0]; expected [20, 30]'),
        (run_mask(RUNS, 'ab'), "of size ['a', 'b']; expected"),
        (dict(segmentation=dict(size=5, counts=RUNS)), 'of size 5; expected [20, 30]'),
        (run_mask([10, 5]), 'with lengths whose sum is 15; expected lengths of 0 or more whose sum is 600 (30x20)'),
        (run_mask([]), 'with lengths whose sum is 0; expected'),
        (run_mask([-5, 605]), 'with the length -5; expected'),
        (run_mask(['600']), "with the length '600'; expected"),
        (run_mask([True, 599]), 'with the length True; expected'),
        (run_mask([2**70]), 'with the length 1180591620717411303424; expected'),
        (run_mask([600]), 'has a run-length mask without a pixel'),
        (run_mask(None), 'with counts None; expected'),
        (run_mask('hello'), "with counts 'hello', which is no compressed text"),
        (run_mask('é'), 'which is no compressed text'),
        (run_mask('o' * 9), 'which is no compressed text'),
        (run_mask('o' * 9 + '0'), 'which is no compressed text'),
        (run_mask(''), 'with lengths whose sum is 0; expected'),
    ],
)
def test_what_an_annotation_has_wrong_is_named(tmp_path, fields, message: str) -> None:
    (line,) = problems(tmp_path, content(**fields))
    assert line.startswith(f'{tmp_path}/a.json: annotation 1 (image 1) has ') and message in line, line
    if 'segmentation' in fields:
        assert problems(tmp_path, content(**fields), with_masks=False) == []


@pytest.mark.parametrize(
    'fields',
    [
        dict(bbox=[-2, -2, 34, 24]),
        dict(bbox=[5, 5, 0, 0], area=0),
        dict(area=0, segmentation=[[5, 5, 10, 10, 15, 15]]),
        dict(area=0, **run_mask([600])),
        dict(iscrowd=True, ignore=False),
        dict(segmentation=[[-10, -10, 50, 5, 5, 35]]),  # over the border: pycocotools cuts it off
        dict(segmentation=[SQUARE, [5, 5, 10, 10, 15, 15]]),  # one part of an object without area
        run_mask([0, 600]),
        run_mask([100, 0, 0, 50, 450]),
    ],
)
def test_what_trains_rightly_is_no_problem(tmp_path, fields) -> None:
    assert problems(tmp_path, content(**fields)) == []


def test_a_crowd_is_flagged_where_it_may_be_left_out(tmp_path) -> None:
    coco = content()
    del coco['annotations'][0]['iscrowd']
    assert problems(tmp_path, coco) == []


@pytest.mark.parametrize('share', [0.02, 0.5, 0.98])
@pytest.mark.parametrize('shape', [(1, 1), (3, 700), (300, 411)])
def test_run_lengths_are_those_of_pycocotools(shape: tuple[int, int], share: float) -> None:
    mask = (np.random.default_rng(0).random(shape) < share).astype(np.uint8)
    encoded = coco_mask.encode(np.asfortranarray(mask))
    pixels = mask.T.ravel()
    edges = np.flatnonzero(np.diff(pixels)) + 1
    expected = np.diff([0, *edges, pixels.size]).tolist()
    expected = [0, *expected] if pixels[0] else expected
    assert run_lengths(encoded['counts'].decode()).tolist() == expected
    assert run_lengths(expected).tolist() == expected


def test_problems_of_many_masks_are_those_of_each() -> None:
    good, bad = dict(segmentation=[SQUARE, SQUARE], area=1), dict(segmentation=[SQUARE, [5] * 5 + [NAN]], area=1)
    flat, strange = dict(segmentation=[[5] * 6] * 2, area=1), dict(segmentation=[[None] * 6], area=1)
    items = [good, bad, good, flat, strange, good]
    found = mask_problems((item, (WIDTH, HEIGHT)) for item in items)
    assert {id(item) for item, _ in found} == {id(bad), id(flat), id(strange)}


@pytest.mark.parametrize(
    'key, field, value, expected',
    [
        *(('annotations', 'id', value, 'an integer') for value in ([1], 1.0, '1', None, True, -1, 2**53, {})),
        *(('annotations', key, [1], 'an integer') for key in ('image_id', 'category_id')),
        *(('images', 'id', value, 'an integer') for value in ([1], '1')),
        *(('images', 'file_name', value, 'text') for value in (7, '', ' ', None, ['a'], 'a\0b', '\ud800')),
        *(('categories', 'name', value, 'text') for value in (None, '', 7, ['a'])),
        ('categories', 'id', '1', 'an integer'),
    ],
)
def test_ids_and_names_of_other_types(tmp_path, key: str, field: str, value, expected: str) -> None:
    coco = content()
    coco[key][0][field] = value
    with pytest.raises(InputError) as caught:
        read_coco(write(tmp_path, coco))
    line = str(caught.value)
    assert f'a.json: {key}[0]' in line and f'has {field} ' in line and f'; expected {expected}' in line
    assert len(line.splitlines()) == 1 and line.isprintable()


def test_the_largest_and_the_smallest_id(tmp_path) -> None:
    coco = content(id=0, image_id=2**53 - 1)
    coco['images'][0]['id'] = 2**53 - 1
    assert problems(tmp_path, coco) == []


@pytest.mark.parametrize('value', [0, -1, 2**20, 10**9, 30.0, '30', True, None, [30]])
def test_sides_of_an_image(tmp_path, value) -> None:
    coco = content()
    coco['images'][0]['width'] = value
    (line,) = problems(tmp_path, coco)
    assert (
        f'image 1 (a.jpg) has no width and height in pixels; expected width and height from 1 to 1048575, got {value!r} and 20'
        in line
    )


@pytest.mark.parametrize(
    'raw, message',
    [
        (b'[' * 100_000, 'nested too deep'),
        (b'\xef\xbb\xbf{}', 'cannot be read .*BOM'),
        ('{"images": "é"}'.encode('latin-1'), 'cannot be read .*utf-8'),
        (b'{"a": ' + b'9' * 5000 + b'}', 'cannot be read'),
        (b'', 'cannot be read'),
    ],
    ids=['deep', 'BOM', 'latin-1', 'long number', 'empty'],
)
def test_a_file_that_is_no_json(tmp_path, raw: bytes, message: str) -> None:
    (tmp_path / 'a.json').write_bytes(raw)
    with pytest.raises(InputError, match=f'expected COCO JSON.*a.json which .*{message}'):
        read_coco(tmp_path / 'a.json')


def test_a_file_that_cannot_be_opened(tmp_path, monkeypatch) -> None:
    def fail(self, **_):
        raise PermissionError(13, 'Permission denied')

    path = write(tmp_path, content())
    monkeypatch.setattr(Path, 'read_text', fail)
    with pytest.raises(InputError, match='a.json which cannot be read .*Permission denied'):
        read_coco(path)


def test_names_that_no_file_can_have(tmp_path) -> None:
    coco = content()
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path / 'nowhere')
    for name, hint in (('x' * 5000, ' (no path for a file)'), ('folder', ' (a folder; expected'), ('link', ' (a broken link)')):
        coco['images'][0]['file_name'] = name
        (line,) = coco_problems(write(tmp_path, coco), tmp_path, True, None)
        assert f'image 1 is missing: {tmp_path}/{name}' in line and hint in line


@pytest.mark.parametrize(
    'fields, keeps_empty, min_size, message',
    [
        ({}, False, HEIGHT, None),
        ({}, False, HEIGHT + 1, 'no image is left to train on: of 1, 1 have a side below 21 pixels .* and 0 no object'),
        ({}, True, HEIGHT + 1, 'no image is left'),
        (dict(category_id=9), False, 0, 'no image is left to train on: of 1, 0 have a side below 0 pixels .* and 1 no object'),
        (dict(category_id=9), True, 0, None),
        (dict(iscrowd=1), False, 0, 'no object is left to train on: all 1 are crowds'),
        (dict(ignore=1), False, 0, 'no object is left'),
        (dict(area=0), False, 0, 'no object is left'),
        (dict(bbox=[5, 5, 0.9, 5]), False, 0, 'no object is left'),
        (dict(bbox=[5, 5, 5, 0.9]), False, 0, 'no object is left'),
        (dict(bbox=[-2, 5, 2, 5]), False, 0, 'no object is left'),
        (dict(bbox=[5, 20, 2, 2]), False, 0, 'no object is left'),
        (dict(bbox=[5, 5, 1, 1]), False, 0, None),
        (dict(area=0), True, 0, None),
    ],
)
def test_nothing_left_to_train_on(tmp_path, fields, keeps_empty: bool, min_size: int, message: str | None) -> None:
    path = write(tmp_path, content(**fields))
    lines = list(nothing_left(path, keeps_empty, min_size))
    assert not lines if message is None else len(lines) == 1
    if message:
        with pytest.raises(InputError, match=message):
            raise InputError(lines[0])


@pytest.mark.parametrize(
    'fields, line',
    [
        (dict(bbox=[5, 5, 1, 1]), None),
        (dict(bbox=[5, 5, 0.5, 4]), 'left out of training: 1 objects of less than a pixel a side'),
        (dict(area=0), 'left out of training: 1 objects whose area is 0, which mmdet drops'),
        (dict(ignore=1, area=0), 'left out of training: 1 objects marked ignore'),
        (dict(iscrowd=1), 'left out of training: 1 crowds, whose regions are neither object nor background'),
    ],
)
def test_what_is_left_out_is_said(tmp_path, fields, line: str | None) -> None:
    path = write(tmp_path, content(**fields))
    assert left_out(path, keeps_empty=False, min_size=HEIGHT) == line


def test_small_images_and_background_alone_are_said(tmp_path) -> None:
    path = write(tmp_path, content())
    assert '1 images with a side below 21 pixels (filter_cfg.min_size)' in left_out(path, True, HEIGHT + 1)
    assert left_out(path, True, classes=('other',)) == 'no object to train on: every image is background'


def test_nothing_to_evaluate_on(tmp_path) -> None:
    assert list(nothing_to_find(write(tmp_path, content()))) == []
    assert list(nothing_to_find(write(tmp_path, content()), classes=('thing',))) == []
    for coco, classes in ((content(iscrowd=1), None), (content(), ('other',)), (dict(content(), annotations=[]), None)):
        (line,) = nothing_to_find(write(tmp_path, coco), classes)
        assert 'no object is annotated' in line and 'would be -1' in line


def test_the_filter_of_a_config() -> None:
    assert filters({}) == (True, 0)
    assert filters(dict(filter_cfg=dict(filter_empty_gt=True, min_size=32))) == (False, 32)
    for given in ('x', dict(min_size='a'), dict(min_size=NAN)):
        with pytest.raises(InputError, match='filter_cfg: expected'):
            filters(dict(filter_cfg=given))


@pytest.mark.parametrize(
    'meta, message',
    [
        ([1], r'metainfo: expected dict\(classes='),
        (dict(classes='disc'), "metainfo.classes: expected a list of names, got 'disc'"),
        (dict(classes=[]), 'expected a list of names'),
        (dict(classes=['a', 1]), 'expected a list of names'),
        (dict(classes=['a', 'b', 'a']), 'expected different names, got a more than once'),
        (dict(classes=['a', 'b'], palette=[[1, 2, 3]]), 'metainfo.palette: expected 2 colours .* got 1 entries'),
        (dict(classes=['a'], palette=[[1, 2]]), 'expected 1 colours'),
        (dict(classes=['a'], palette=[[1, 2, 256]]), 'expected 1 colours'),
        (dict(classes=['a'], palette=[[1, -2, 25]]), 'expected 1 colours'),
        (dict(classes=['a'], palette=5), 'expected 1 colours .* got 0 entries'),
    ],
)
def test_class_lists_by_hand(meta, message: str) -> None:
    with pytest.raises(InputError, match=message):
        class_list(dict(metainfo=meta))


def test_class_lists_that_are_right() -> None:
    assert class_list({}) is None and class_list(dict(metainfo=dict(palette=[]))) is None
    assert class_list(dict(metainfo=dict(classes=['b', 'a'], palette=[(0, 0, 0), (255, 255, 255)]))) == ('b', 'a')
    assert class_list(dict(metainfo=dict(classes=('a',), palette=[]))) == ('a',)

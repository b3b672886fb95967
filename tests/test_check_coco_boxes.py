"""A COCO file's boxes, flags, sizes and images: what mmdet would take wrongly is named, what it leaves out is said."""

import json
from pathlib import Path

import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from PIL import Image

from convnext_dense import InputError
from convnext_dense.data.check import check_data, check_split
from convnext_dense.data.check_coco import (
    coco_problems,
    filters,
    left_out,
    nothing_left,
    nothing_to_find,
    spread,
)
from convnext_dense.data.coco import read_coco

NAN = float('nan')
WIDTH, HEIGHT = 40, 30


def item(key: int = 1, image: int = 1, **fields) -> dict:
    polygon = [[5, 5, 15, 5, 15, 15, 5, 15]]
    row = dict(id=key, image_id=image, category_id=1, bbox=[5, 5, 10, 10], area=100, iscrowd=0, segmentation=polygon)
    return {field: value for field, value in (row | fields).items() if value != 'left out'}


def write(root: Path, items, images=None, categories=('thing', 'other'), pictures: bool = True) -> Path:
    images = images or [dict(id=1, file_name='1.png', width=WIDTH, height=HEIGHT)]
    rows = [dict(id=i, name=name) for i, name in enumerate(categories, 1)]
    (root / 'a.json').write_text(json.dumps(dict(images=images, annotations=items, categories=rows)))
    for image in images if pictures else ():
        Image.new('RGB', (image['width'], image['height'])).save(root / image['file_name'])
    read_coco.cache_clear()
    return root / 'a.json'


def found(root: Path, items, images=None, **arguments) -> list[str]:
    path = write(root, items, images)
    return [
        line.removeprefix(f'{path}: ')
        for line in coco_problems(path, root, **(dict(with_masks=False, sample=None) | arguments))
    ]


@pytest.mark.parametrize(
    'fields, words',
    [
        (dict(), None),
        (dict(bbox=[-2, -2, WIDTH + 4, HEIGHT + 4]), None),
        (dict(bbox=[-2.1, 0, 9, 9]), 'has bbox [-2.1, 0, 9, 9] outside its image of 40x30; expected [x, y, width, height]'),
        (dict(bbox=[0, -2.1, 9, 9]), 'outside its image'),
        (dict(bbox=[33, 0, 9.5, 9]), 'outside its image'),
        (dict(bbox=[0, 24, 9, 8.5]), 'outside its image'),
        (dict(bbox=[5, 5, 0, 0], area=0), None),  # left out of training, and said to be
        (dict(bbox=[5, 5, -1, 3]), 'with a negative side'),
        (dict(bbox=[5, 5, 3, -1]), 'with a negative side'),
        (dict(bbox=[True, 5, 3, 3]), 'has bbox [True, 5, 3, 3]; expected [x, y, width, height] in pixels'),
        (dict(bbox=[5, 5, '3', 3]), "has bbox [5, 5, '3', 3]"),
        (dict(bbox=[5, 5, 3]), 'has bbox [5, 5, 3];'),
        (dict(bbox=[5, 5, 3, 3, 3]), 'has bbox [5, 5, 3, 3, 3];'),
        (dict(bbox='5 5 3 3'), "has bbox '5 5 3 3'"),
        (dict(bbox='left out'), 'has bbox None'),
        *(
            (dict(bbox=[*[5] * i, value, *[5] * (3 - i)]), 'expected [x, y, w')
            for i in range(4)
            for value in (NAN, 2**31, -(2**31))
        ),
        (dict(area='left out'), 'has no area; expected the area of its mask in square pixels'),
        (dict(area=NAN), 'has area nan'),
        (dict(area=-1), 'has area -1'),
        (dict(area=True), 'has area True'),
        (dict(area='9'), "has area '9'"),
        (dict(area=10**400), 'has area 1000000'),
        (dict(iscrowd='left out'), None),
        (dict(iscrowd=1), None),
        (dict(iscrowd=True), None),
        (dict(iscrowd='0'), "has iscrowd '0'; expected 0 or 1"),
        (dict(iscrowd=2), 'has iscrowd 2'),
        (dict(iscrowd=1.0), 'has iscrowd 1.0'),
        (dict(iscrowd=None), 'has iscrowd None'),
        (dict(iscrowd=[1]), 'has iscrowd [1]'),
        (dict(ignore=1), None),
        (dict(ignore='no'), "has ignore 'no'; expected 0 or 1"),
        (dict(segmentation=[]), None),  # masks are not asked for
    ],
)
def test_boxes_areas_and_flags(tmp_path, fields: dict, words: str | None) -> None:
    lines = found(tmp_path, [item(1), item(7, **fields)])
    assert len(lines) == bool(words), lines
    assert not words or (lines[0].startswith('annotation 7 (image 1) ') and words in lines[0])


def test_masks_where_they_are_asked_for(tmp_path) -> None:
    lines = found(tmp_path, [item(1), item(7, segmentation=[])], with_masks=True)
    assert len(lines) == 1 and 'annotation 7 (image 1) has no segmentation' in lines[0]


@pytest.mark.parametrize('side', [0, -1, 2**20, 40.0, '40', True, None])
@pytest.mark.parametrize('key', ['width', 'height'])
def test_sizes_that_are_none(tmp_path, key: str, side) -> None:
    images = [dict(id=3, file_name='1.png', width=40, height=30)]
    path = write(tmp_path, [item(1, 3)], images)
    content = json.loads(path.read_text())
    content['images'][0][key] = side
    path.write_text(json.dumps(content))
    read_coco.cache_clear()
    lines = list(coco_problems(path, tmp_path, with_masks=True, sample=None))
    assert len(lines) == 1 and 'image 3 (1.png) has no width and height in pixels; expected width' in lines[0]


def test_a_picture_of_another_size(tmp_path) -> None:
    path = write(tmp_path, [item()])
    Image.new('RGB', (WIDTH, HEIGHT + 1)).save(tmp_path / '1.png')
    (line,) = coco_problems(path, tmp_path, with_masks=True, sample=None)
    assert line.endswith('1.png is 40x31, but the annotation file says 40x30 (width x height)')


def test_a_picture_of_which_the_resizing_leaves_nothing(tmp_path) -> None:
    images = [dict(id=1, file_name='1.png', width=1, height=4000)]
    resize = [dict(type='Resize', scale=(1333, 800), keep_ratio=True)]
    items = [item(bbox=[0, 0, 1, 50], area=50)]
    assert found(tmp_path, items, images) == []
    (line,) = found(tmp_path, items, images, pipeline=resize)
    assert 'is 1x4000, of which the Resize in the pipeline would leave no pixel; cut it into tiles' in line


def test_what_is_in_a_pictures_place(tmp_path) -> None:
    names = ['folder.png', 'link.png', 'nothing.png', 'x' * 300 + '.png', '1.png']
    images = [dict(id=i, file_name=name, width=9, height=9) for i, name in enumerate(names)]
    path = write(tmp_path, [], images, pictures=False)
    (tmp_path / 'folder.png').mkdir()
    (tmp_path / 'link.png').symlink_to('nowhere')
    (tmp_path / '1.png').write_text('no picture')
    lines = list(coco_problems(path, tmp_path, with_masks=True, sample=None))
    for key, end in enumerate(['folder.png (a folder; expected a picture)', 'link.png (a broken link)', 'nothing.png']):
        assert lines[key].startswith(f'{path}: image {key} is missing: ') and lines[key].endswith(end)
    assert lines[3].endswith('(no path for a file)') or lines[3].endswith('.png')
    assert '1.png cannot be read' in lines[4] and len(lines) == 5


def test_ids_that_stand_for_nothing(tmp_path) -> None:
    lines = found(tmp_path, [item(1), item(1), item(2, 5), item(3, category_id=9), item(4, category_id=9)])
    assert lines == [
        'annotations with the same id: 1',
        'category id 9 of 2 annotations is not in the list of categories (1, 2)',
        'annotation 2 is of image 5, which is not in the list of images',
    ]


def test_spread() -> None:
    assert spread([1, 2, 3], None) == spread([1, 2, 3], 3) == spread([1, 2, 3], 9) == [1, 2, 3]
    assert spread(list(range(101)), 3) == [0, 50, 100]


def drawn(rng: np.random.Generator) -> list[dict]:
    """Annotations about the limits at which mmdet leaves one out."""
    x, w = rng.choice([-3, -1, 0, 5, 39, 40, 41], 300), rng.choice([0, 0.5, 0.999, 1, 1.001, 3], 300)
    y, h = rng.choice([-3, -1, 0, 5, 29, 30, 31], 300), rng.choice([0, 0.5, 0.999, 1, 1.001, 3], 300)
    flags = dict(ignore=rng.choice([0, 0, 0, 1], 300), iscrowd=rng.choice([0, 0, 0, 1], 300), area=rng.choice([0, 1, 9], 300))
    flags['category_id'] = rng.choice([1, 1, 2], 300)
    boxes = np.stack([x, y, w, h], axis=1).astype(float).tolist()
    return [item(i + 1, bbox=box, **{key: int(v[i]) for key, v in flags.items()}) for i, box in enumerate(boxes)]


def as_mmdet(path: Path, root: Path, classes, **filter_cfg) -> list[list[dict]]:
    """The objects of each image that is kept."""
    meta, prefix = dict(classes=classes), dict(img=str(root))
    data = CocoDataset(str(path), data_prefix=prefix, metainfo=meta, pipeline=[], filter_cfg=filter_cfg, serialize_data=False)
    return [data.get_data_info(i)['instances'] for i in range(len(data))]


def test_what_is_left_out_is_what_mmdet_leaves_out(tmp_path) -> None:
    items = drawn(np.random.default_rng(0))
    for classes in (('thing',), ('thing', 'other')):
        path = write(tmp_path, items)
        (kept,) = as_mmdet(path, tmp_path, classes, filter_empty_gt=True)
        said = left_out(path, False, classes=classes).split(': ', 1)[1].split('; ')
        numbers = {text.split(' ', 1)[1][:9]: int(text.split()[0]) for text in said}
        given = [one for one in items if one['category_id'] <= len(classes)]
        assert len(kept) == len(given) - numbers['objects o'] - numbers['objects w'] - numbers['objects m'], said
        assert numbers['crowds, w'] == sum(one['iscrowd'] for one in given)
    # Each in an image of its own: is an object left to train on?
    images = [dict(id=one['id'], file_name='1.png', width=WIDTH, height=HEIGHT) for one in items]
    path = write(tmp_path, [one | dict(image_id=one['id']) for one in items], images, pictures=False)
    for one, kept in zip(items, as_mmdet(path, tmp_path, ('thing', 'other')), strict=True):
        trained = any(not instance['ignore_flag'] for instance in kept)
        assert bool(list(nothing_left(write(tmp_path, [one], pictures=False), False, 0))) is not trained, one


SEVERAL = [dict(id=i, file_name=f'{i}.png', width=side, height=50) for i, side in enumerate((20, 32, 40))]


@pytest.mark.parametrize('least', [0, 20, 21, 32, 33, 41])
@pytest.mark.parametrize('empty', [True, False])
@pytest.mark.parametrize('holder', [0, 2])
def test_no_image_is_left_where_mmdet_keeps_none(tmp_path, least: int, empty: bool, holder: int) -> None:
    path = write(tmp_path, [item(1, holder)], SEVERAL, pictures=False)
    given = dict(filter_empty_gt=empty, min_size=least)
    lines = list(nothing_left(path, *filters(dict(filter_cfg=given))))
    assert len(lines) == (not as_mmdet(path, tmp_path, ('thing', 'other'), **given))
    assert all('no image is left to train on: of 3, ' in line and f'below {least} pixels' in line for line in lines)
    small = f'{sum(side < least for side in (20, 32, 40))} images with a side below {least} pixels (filter_cfg.min_size)'
    assert (small in (left_out(path, not empty, least) or '')) is (least > 20)


def test_what_is_said_of_a_set_without_objects(tmp_path) -> None:
    path = write(tmp_path, [], SEVERAL, pictures=False)
    assert left_out(path, True) == 'no object to train on: every image is background'
    assert left_out(path, False).startswith('left out of training: 3 images without objects')
    assert list(nothing_left(path, True, 0)) == []
    assert 'of 3, 0 have a side below 0 pixels' in next(nothing_left(path, False, 0))
    write(tmp_path, [item(1, 0, iscrowd=1), item(2, 1, ignore=1), item(3, 2, area=0)], SEVERAL, pictures=False)
    assert 'no object is left to train on: all 3 are crowds, ignored or empty' in next(nothing_left(path, False, 0))
    assert left_out(path, False, classes=('other',)).endswith('no object to train on: every image is background')


@pytest.mark.parametrize(
    'items, classes, sound',
    [
        ([], None, False),
        ([item(iscrowd=1)], None, False),
        ([item()], None, True),
        ([item(1, iscrowd=1), item(2)], None, True),
        ([item()], ('thing',), True),
        ([item()], ('other',), False),
    ],
)
def test_something_to_find(tmp_path, items, classes, sound: bool) -> None:
    lines = list(nothing_to_find(write(tmp_path, items), classes))
    assert len(lines) == (not sound) and all('every number of the evaluation would be -1' in line for line in lines)


@pytest.mark.parametrize(
    'given, expected',
    [
        (None, (True, 0)),
        (dict(), (True, 0)),
        (dict(filter_empty_gt=True), (False, 0)),
        (dict(filter_empty_gt=False, min_size=32.5), (True, 32.5)),
        *((given, None) for given in ([1], 'x', 5, *(dict(min_size=v) for v in ('32', NAN, True, [1], None)))),
    ],
)
def test_filters(given, expected) -> None:
    if expected is not None:
        assert filters(dict(filter_cfg=given)) == expected
    else:
        with pytest.raises(InputError, match=r'filter_cfg: expected dict\(filter_empty_gt=True, min_size=PIXELS\), got'):
            filters(dict(filter_cfg=given))


def loader(path: Path, **dataset) -> dict:
    spec = dict(type='CocoDataset', ann_file=str(path), data_prefix=dict(img=str(path.parent)), pipeline=[])
    return dict(dataset=spec | dict(metainfo=dict(classes=('thing', 'other'))) | dataset)


@pytest.mark.parametrize(
    'name, pipeline, evaluator, with_masks',
    [
        ('train_dataloader', [dict(type='LoadAnnotations', with_mask=True)], None, True),
        ('train_dataloader', [dict(type='LoadAnnotations', with_bbox=True)], None, False),
        ('val_dataloader', [], dict(type='CocoMetric', metric=['bbox', 'segm']), True),
        ('val_dataloader', [], dict(type='CocoMetric', metric='segm'), True),
        ('val_dataloader', [], dict(type='CocoMetric', metric='bbox'), False),
        ('val_dataloader', [], dict(type='CocoMetric'), False),
        ('val_dataloader', [], dict(type='CocoStatsMetric'), True),
        ('val_dataloader', [], [dict(type='CocoStatsMetric', metric='bbox')], False),
        ('val_dataloader', [dict(type='LoadAnnotations', with_mask=True)], dict(metric='bbox'), True),
        ('test_dataloader', [], dict(type='CocoStatsMetric'), True),
    ],
)
def test_masks_are_looked_at_where_they_are_used(tmp_path, name: str, pipeline, evaluator, with_masks: bool) -> None:
    path = write(tmp_path, [item(), item(2, segmentation=[])])
    cfg = Config({'default_scope': 'mmdet', name: loader(path, pipeline=pipeline)})
    if evaluator:
        cfg[name.replace('dataloader', 'evaluator')] = evaluator
    lines = check_split(name, cfg)
    assert len(lines) == with_masks and all('has no segmentation' in line for line in lines)
    assert check_split(name, cfg, 'off') == []


def test_each_split_has_its_own_question(tmp_path) -> None:
    path = write(tmp_path, [item(iscrowd=1)])
    names = ('train_dataloader', 'val_dataloader')
    cfg = Config({'default_scope': 'mmdet', **{name: loader(path) for name in names}})
    train, val = (check_split(name, cfg) for name in names)
    assert len(train) == 0 and len(val) == 1 and 'no object is annotated' in val[0]
    cfg.train_dataloader.dataset.filter_cfg = dict(filter_empty_gt=True)
    assert 'no object is left to train on' in check_split('train_dataloader', cfg)[0]
    cfg.val_evaluator = dict(type='CocoMetric', format_only=True)
    assert check_split('val_dataloader', cfg) == []
    for name in names:
        cfg[name].dataset.metainfo.classes = ('other',)
    assert 'no image is left to train on' in check_split('train_dataloader', cfg)[0]
    with pytest.raises(InputError, match='data: 1 problem: .*no image is left.*; mend the annotation file$'):
        check_data(cfg, names)


def test_the_advice_is_on_the_file_that_is_wrong(tmp_path) -> None:
    names = ['train_dataloader']
    path = write(tmp_path, [item(bbox='x')])
    cfg = Config({'default_scope': 'mmdet', 'train_dataloader': loader(path)})
    with pytest.raises(InputError, match='expected .x, y, width, height. in pixels; mend the annotation file$'):
        check_data(cfg, names)
    picture = next(path.parent.glob('*.jpg'), None) or next(path.parent.glob('*.png'))
    content = picture.read_bytes()
    picture.write_bytes(b'none')
    with pytest.raises(InputError, match='data: 2 problems: .*; mend the annotation file, and mend or remove these files$'):
        check_data(cfg, names)
    picture.unlink()
    with pytest.raises(InputError, match='mend the annotation file or add the missing pictures$'):
        check_data(cfg, names)
    picture.write_bytes(content)
    cfg.train_dataloader.dataset.pipeline = [dict(type='Resize', scale=(0, 0))]
    with pytest.raises(
        InputError, match=r'train_dataloader.dataset.pipeline\[0\]: expected numbers above 0 in scale of Resize'
    ):
        check_data(cfg, names, 'off')

"""What is wrong with a data set is named with file and value."""

import pytest
from conftest import ROOT, SHAPES, one_line
from mmengine.config import Config, ConfigDict
from seg_sets import config, mask_path, problems

from convnext_dense import InputError
from convnext_dense.data.check import check_data, check_num_classes, check_split, data_classes
from convnext_dense.data.shapes import CLASSES, write_shapes
from convnext_dense.run.classes import settle_coco


@pytest.mark.parametrize('part', ['decode_head', 'auxiliary_head'])
@pytest.mark.parametrize(
    'head, got',
    [
        (dict(num_classes=6), None),
        ([dict(num_classes=6), dict(num_classes=6)], None),
        ([dict(num_classes=6), dict(num_classes=5)], '5'),
        (dict(num_classes=6.0), '6.0'),
        (dict(num_classes='6'), "'6'"),
        (dict(num_classes=True), 'True'),
        (dict(channels=7), None),
        (None, None),
        ('head', None),
        ('no model', None),
    ],
)
def test_heads_of_every_kind(root, part: str, head, got: str | None) -> None:
    cfg = config(root)
    cfg.model = {part: head} if head != 'no model' else 5
    if got is None:
        check_num_classes(cfg, 'train_dataloader')
    else:
        with pytest.raises(InputError, match=f'model.{part}.num_classes: expected 6, .*; got {got}; set it'):
            check_num_classes(cfg, 'train_dataloader')


def test_the_classes_of_the_data(root) -> None:
    assert data_classes(config(root), 'train_dataloader') == CLASSES
    assert data_classes(config(root, metainfo=dict(classes=('disc', 'ring'))), 'train_dataloader') == ('disc', 'ring')


@pytest.mark.parametrize(
    'dataset, message',
    [
        (
            dict(metainfo=dict(classes=('disc', 'wolf'))),
            'expected some of the classes that ShapesDataset has .* got disc, wolf',
        ),
        (dict(metainfo=dict(classes='disc')), "metainfo.classes: expected a list of names, got 'disc'"),
        (dict(kind='ShapeDataset'), 'the data set cannot be built from this config: .*ShapeDataset'),
        (dict(kind=''), 'cannot be built from this config'),
        (dict(kind='NoDataset'), 'cannot be built from this config'),
        (dict(no_such_key=3), 'cannot be built from this config: .*no_such_key'),
    ],
)
def test_data_sets_that_cannot_be_built(root, dataset: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        settle_coco(config(root, **dataset), ('train_dataloader',))
        problems(root, **dataset)


@pytest.mark.parametrize('inner', [None, 5, [1], 'x'])
def test_wrappers_of_no_data_set(root, inner) -> None:
    cfg = config(root)
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=3, dataset=inner)
    with pytest.raises(InputError, match=r'train_dataloader.dataset: expected dict\(type=...\) in the innermost, got'):
        check_split('train_dataloader', cfg)


@pytest.mark.parametrize('loader', [None, dict()])
def test_no_loader_is_no_problem(loader) -> None:
    cfg = Config(dict(train_dataloader=loader))
    assert check_split('train_dataloader', cfg) == [] and check_split('val_dataloader', cfg) == []
    check_num_classes(cfg, 'train_dataloader')


@pytest.mark.parametrize('count', [1, 3, 4, 5])
def test_how_problems_are_counted(tmp_path, count: int) -> None:
    write_shapes(tmp_path / 'shapes', train=count + 1, val=1)
    for index in range(count):
        mask_path(tmp_path / 'shapes', index).unlink()
    with pytest.raises(InputError) as caught:
        check_data(config(tmp_path / 'shapes'), ['train_dataloader'])
    message = str(caught.value)
    assert message.startswith(f'data: {count} problem{"s" if count > 1 else ""}: ') and message.count('has no mask') == min(
        count, 3
    )
    assert message.endswith(
        (f'; and {count - 3} more (`convnext-dense check` lists all)' if count > 3 else '') + '; mend or remove these files'
    )


def test_the_tool_lists_all(root, tool) -> None:
    assert tool('check', SHAPES, '--data-root', str(root)) == (0, '')
    for index in range(3):
        mask_path(root, index).write_bytes(b'no png')
    status, err = tool('check', SHAPES, '--data-root', str(root))
    assert (status, err) == (1, '')


def test_the_tool_takes_what_the_config_has(root, tool) -> None:
    """One of the splits is enough; none is not."""
    nothing = str(ROOT / 'configs/_base_/models/upernet_convnext.py')
    one_line(
        *tool('check', nothing),
        'upernet_convnext.py: expected train_dataloader, val_dataloader or test_dataloader, got none',
    )
    args = ['check', SHAPES, '--data-root', str(root), '--cfg-options']
    assert tool(*args, 'train_dataloader=None')[0] == tool(*args, 'val_dataloader=None')[0] == 0
    assert tool(*args, 'train_dataloader=None', 'val_dataloader=None')[0] == 0
    one_line(*tool(*args, *(f'{name}_dataloader=None' for name in ('train', 'val', 'test'))), 'got none')


def test_the_tool_looks_at_other_test_data_too(root, tool) -> None:
    args = ['check', SHAPES, '--data-root', str(root), '--cfg-options']
    mask_path(root).unlink()
    prefix = 'test_dataloader.dataset.data_prefix'
    status, _ = tool(*args, 'train_dataloader=None')
    assert status == 0
    other = [f'{prefix}.img_path=images/training', f'{prefix}.seg_map_path=annotations/training']
    assert tool(*args, 'train_dataloader=None', *other)[0] == 1
    one_line(*tool(*args, 'test_dataloader.dataset.reduce_zero_label=False'), 'test_dataloader.dataset.reduce_zero_label')


def test_joined_data_sets_are_looked_into(root) -> None:
    cfg = config(root)
    one = cfg.train_dataloader.dataset
    joined = ConfigDict(type='ConcatDataset', datasets=[one, ConfigDict(type='RepeatDataset', times=2, dataset=one)])
    cfg.train_dataloader.dataset = joined
    assert check_split('train_dataloader', cfg) == [] and data_classes(cfg, 'train_dataloader') == CLASSES
    mask_path(root).unlink()
    assert len(check_split('train_dataloader', cfg)) == 2
    for wrong in ([], 'x', [3]):
        cfg.train_dataloader.dataset = ConfigDict(type='ConcatDataset', datasets=wrong)
        with pytest.raises(InputError, match='cannot be built from this config'):
            check_split('train_dataloader', cfg)


def two(root, **dataset) -> Config:
    """Training and validation, whose data set differs in `dataset`."""
    cfg = config(root)
    cfg.val_dataloader = config(root, **dataset).train_dataloader
    return cfg


LISTS = dict(kind='BaseSegDataset', reduce_zero_label=True)


@pytest.mark.parametrize(
    'dataset, message',
    [
        ({}, None),
        (LISTS | dict(metainfo=dict(classes=CLASSES)), None),
        (
            LISTS | dict(metainfo=dict(classes=CLASSES[::-1])),
            'val_dataloader.dataset: expected the classes of train_dataloader.dataset in the same order, got .*order differs',
        ),
        (
            LISTS | dict(metainfo=dict(classes=[*CLASSES[:5], 'wolf'])),
            'only in val_dataloader.dataset: wolf; give both the same metainfo.classes',
        ),
        (
            dict(reduce_zero_label=False),
            'val_dataloader.dataset.reduce_zero_label: expected True, as of train_dataloader.dataset; got False; set both',
        ),
        (
            LISTS | dict(metainfo=dict(classes=CLASSES[:5])),
            'decode_head.num_classes: expected 5, the classes of BaseSegDataset; got 6; set it to .* of val_dataloader.dataset',
        ),
    ],
)
def test_the_splits_agree(root, dataset: dict, message: str | None) -> None:
    cfg = two(root, **dataset)
    cfg.model = dict(decode_head=dict(num_classes=6))
    if message is None:
        check_data(cfg, ['train_dataloader', 'val_dataloader'], 'off')
    else:
        with pytest.raises(InputError, match=message):
            check_data(cfg, ['train_dataloader', 'val_dataloader'], 'off')


@pytest.mark.parametrize(
    'dataset, ignored, message',
    [
        ({}, None, None),
        (
            dict(metainfo=dict(palette=[[9, 9, 9]] * 6)),
            None,
            r'datasets\[1\]: expected the same metainfo.palette as in .*\[0\]',
        ),
        (dict(metainfo=dict(palette=[[9, 9, 9]] * 6)), 'palette', None),
        (dict(metainfo=dict(palette=[[9, 9, 9]] * 6)), ['palette'], None),
        (
            dict(metainfo=dict(more=1)),
            None,
            'expected the same metainfo.more .* None; got 1; make them equal, or set ignore_keys',
        ),
        (
            LISTS | dict(metainfo=dict(classes=CLASSES[::-1])),
            ['classes', 'palette'],
            r'\[1\]: expected the classes of .*\[0\] in',
        ),
        (
            dict(metainfo=dict(classes='disc')),
            None,
            r'train_dataloader.dataset.datasets\[1\].metainfo.classes: expected a list',
        ),
        (
            dict(bogus=1),
            None,
            r'train_dataloader.dataset.datasets\[1\]: the data set cannot be built from this config: .*bogus',
        ),
    ],
)
def test_the_parts_of_a_joined_data_set_agree(root, dataset: dict, ignored, message: str | None) -> None:
    cfg = two(root, **dataset)
    datasets = [cfg.train_dataloader.dataset, cfg.val_dataloader.dataset]
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=datasets, ignore_keys=ignored)
    if message is None:
        check_data(cfg, ['train_dataloader'])
    else:
        with pytest.raises(InputError, match=message):
            check_data(cfg, ['train_dataloader'])


@pytest.mark.parametrize('times', [0, -1, None, 1.5, True])
def test_repeated_not_once(root, times) -> None:
    cfg = config(root)
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=times, dataset=cfg.train_dataloader.dataset)
    with pytest.raises(InputError, match=f'train_dataloader: expected times of 1 or more in RepeatDataset, got {times}'):
        check_data(cfg, ['train_dataloader'])

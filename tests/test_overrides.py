"""An override is of an entry that is read, and of the kind that stood there."""

import argparse

import pytest
from conftest import SHAPES, SHAPES_COCO
from mmengine.config import Config

from convnext_dense import InputError
from convnext_dense.run.nodes import component
from convnext_dense.run.options import load_config, seed, set_work_dir
from convnext_dense.run.overrides import check_once, check_overrides


@pytest.fixture(scope='module')
def cfg() -> Config:
    return load_config(SHAPES)


@pytest.mark.parametrize(
    'key, value',
    [
        ('train_dataloader.batch_size', 2),
        ('model.decode_head.dropout_ratio', 0),
        ('model.decode_head.align_corners', True),
        ('model.backbone.arch', 'femto'),
        ('model.backbone.out_indices', 3),
        ('val_evaluator.iou_metrics', 'mIoU'),
        ('param_scheduler', []),
        ('optim_wrapper.optimizer.betas', [0.9, 1]),
        ('train_dataloader.dataset.pipeline.2.crop_size', 64),
        ('model.auxiliary_head', None),
        ('param_scheduler.0.begin', 0.5),  # a 0 may stand for a share
    ],
)
def test_values_of_the_kind_that_stood_there(cfg: Config, key: str, value: object) -> None:
    check_overrides(cfg, {key: value})


@pytest.mark.parametrize(
    'key, value, message',
    [
        ('train_dataloader.batch_size', 2.5, 'expected a whole number, as 4; got 2.5'),
        ('train_dataloader.batch_size', True, 'expected a whole number'),
        ('train_dataloader.batch_size', [2], 'expected a whole number'),
        ('model.decode_head.dropout_ratio', 'x', 'expected a number, as 0.1'),
        ('model.decode_head.dropout_ratio', False, 'expected a number, as 0.1; got False'),
        ('param_scheduler.0.begin', 'x', 'expected a number, as 0'),
        ('model.decode_head.align_corners', 1, 'expected true or false, as False; got 1'),
        ('model.backbone.arch', 3, "expected text, as 'atto'; got 3"),
        ('param_scheduler', 'x', r'one of its entries by index, or \[\] for none'),
        ('param_scheduler', [1], 'one of its entries by index'),
        ('optim_wrapper.optimizer.betas', 'x', r'expected numbers, as \(0.9, 0.999\); got .x'),
        ('optim_wrapper.optimizer.betas', [0.9, 'x'], 'expected numbers'),
        ('crop_size', (64, 64), r'a variable of the config file.*set .*pipeline.2.crop_size'),
        ('crop_size.0', 64, 'a variable of the config file'),
        ('fan_in.type', 'Xavier', 'a variable of the config file'),
        ('data_root', '/tmp', 'use --data-root'),
        ('resume', True, 'use --resume'),
        ('load_from', 'a.pth', 'use --load-from'),
        ('launcher', 'pytorch', 'use --launcher'),
        ('custom_imports.imports', ['os'], 'set it in the config file'),
        ('tta_scales', [1], 'went into other entries when it was read; set it in the config file$'),
        ('custom_hooks.0.type', 'Foo', 'expected a list under custom_hooks of the config, which has none; write the list into'),
        ('param_scheduler.2.end', 3, 'is a list of 2; expected an index below that'),
        ('param_scheduler.-1.end', 3, 'is a list of 2; expected an index below that'),
    ],
)
def test_values_of_another_kind(cfg: Config, key: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=f'--cfg-options {key}: .*{message}'):
        check_overrides(cfg, {key: value})


def test_two_keys_of_which_one_lies_in_the_other() -> None:
    with pytest.raises(InputError, match='--cfg-options: .*give each entry once'):
        load_config(SHAPES, {'model.auxiliary_head': None, 'model.auxiliary_head.channels': 8})


@pytest.mark.parametrize('scope', ['nonsense', '', 'os.path', 3])
def test_scopes_without_registries(scope: object, tmp_path) -> None:
    (tmp_path / 'a.py').write_text(f'default_scope = {scope!r}\n')
    with pytest.raises(InputError, match='expected default_scope to be'):
        load_config(str(tmp_path / 'a.py'))


def test_no_scope_and_those_of_the_recipes(tmp_path) -> None:
    (tmp_path / 'a.py').write_text('model = dict()\n')
    assert load_config(str(tmp_path / 'a.py')).model == {}
    assert load_config(SHAPES_COCO, {'default_scope': 'mmseg'}).default_scope == 'mmseg'
    with pytest.raises(InputError, match="got 'nonsense'"):
        load_config(SHAPES_COCO, {'default_scope': 'nonsense'})


@pytest.mark.parametrize('text', ['-1', '1.5', '', 'x', str(2**32), '1_0'])
def test_seeds_that_numpy_does_not_take(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match='expected a whole number from 0 to 4294967295'):
        seed(text)


def test_seeds() -> None:
    assert (seed('0'), seed(str(2**32 - 1))) == (0, 2**32 - 1)


def test_a_config_that_is_a_folder(tmp_path) -> None:
    with pytest.raises(InputError, match='which is a folder'):
        load_config(str(tmp_path))


@pytest.mark.parametrize('kind', ['', '../..', '.', 'a..b', 'a b', 'a.', None, 3])
def test_types_that_are_no_names(kind: object) -> None:
    assert component(kind, 'mmseg') is (kind if not isinstance(kind, str) else None)
    assert component('LoggerHook', 'mmseg').__name__ == 'LoggerHook'


def test_given_twice() -> None:
    for option, key in (('--data-root', 'train_dataloader.dataset.data_root'), ('--work-dir', 'work_dir')):
        with pytest.raises(InputError, match=f'{option} and --cfg-options {key}: expected one of the two, got both'):
            if option == '--data-root':
                load_config(SHAPES, {key: 'a'}, 'b')
            else:
                set_work_dir(load_config(SHAPES, {key: 'a'}), SHAPES, 'b', {key: 'a'})
    check_once('--work-dir', None, lambda key: True)
    assert load_config(SHAPES, {'train_dataloader.dataset.data_root': 'a'}).train_dataloader.dataset.data_root == 'a'

"""Overrides are checked against the config and against the component that they are for."""

from pathlib import Path

import pytest
from conftest import SHAPES, one_line
from mmengine.config import Config

from convnext_dense import InputError
from convnext_dense.run.options import check_overrides, load_config, set_data_root, set_work_dir


@pytest.mark.parametrize(
    'key',
    [
        'model.backbone.drop_path_rate',  # not in the config, an argument of ConvNeXt
        'model.backbone.with_cp',
        'model.decode_head.ignore_index',  # an argument of UPerHead's base class
        'optim_wrapper.clip_grad.max_norm',
        'optim_wrapper.accumulative_counts',
        'optim_wrapper.paramwise_cfg.custom_keys.decode_head.lr_mult',
        'optim_wrapper.optimizer.eps',
        'train_dataloader.drop_last',
        'train_dataloader.sampler.seed',
        'default_hooks.checkpoint.max_keep_ckpts',
        'train_dataloader.dataset.pipeline.2.crop_size',
        'val_evaluator.nan_to_num',
        'randomness.seed',
        'param_scheduler.1.end',
    ],
)
def test_keys_that_are_taken(cfg: Config, key: str) -> None:
    check_overrides(cfg, {key: 1})


@pytest.mark.parametrize(
    'key, near',
    [
        ('model.backbone.drop_rate_path', 'drop_path_rate'),
        ('model.decode_head.chanels', 'channels'),
        ('optim_wrapper.optimiser.lr', 'optimizer'),
        ('optim_wrapper.optimizer.weight_decy', 'weight_decay'),
        ('train_cfg.max_iter', 'max_iters'),
        ('train_dataloader.batchsize', 'batch_size'),
        ('train_dataloader.dataset.pipeline.2.crop', 'crop_size'),
        ('default_hooks.checkpoint.intervall', 'interval'),
        ('randomnes.seed', 'randomness'),
    ],
)
def test_keys_that_are_not(cfg: Config, key: str, near: str) -> None:
    with pytest.raises(InputError, match=f"did you mean '{near}'"):
        check_overrides(cfg, {key: 1})


@pytest.mark.parametrize(
    'key, value, message',
    [
        ('train_cfg.max_iters', 'abc', r"expected a whole number, as \d+; got 'abc'"),
        ('optim_wrapper.optimizer.lr', 'fast', 'expected a number'),
        ('model.backbone', 'tiny', r"expected one of its keys \(type, .*got 'tiny'"),
    ],
)
def test_values_of_another_kind(cfg: Config, key: str, value: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_overrides(cfg, {key: value})


def test_values_that_switch_off_or_change_the_number(cfg: Config) -> None:
    check_overrides(cfg, {'model.auxiliary_head': None, 'train_cfg.max_iters': 10, 'optim_wrapper.optimizer.lr': 1})


def test_a_recipe_is_found_by_its_name_from_any_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ('upernet_convnext_atto_shapes', 'upernet_convnext_atto_shapes.py'):
        assert load_config(name).filename == SHAPES
    (tmp_path / 'upernet_convnext_atto_shapes').mkdir()  # a folder of that name, as a work directory's
    assert load_config('upernet_convnext_atto_shapes').filename == SHAPES
    cfg = load_config('upernet_convnext_atto_shapes')
    set_work_dir(cfg, 'upernet_convnext_atto_shapes', None)
    assert cfg.work_dir == 'work_dirs/upernet_convnext_atto_shapes'


def test_a_file_in_the_current_folder_goes_before_a_recipe(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = 'upernet_convnext_atto_shapes'
    (tmp_path / f'{name}.py').write_text('model = dict(type="Mine")\n')
    assert load_config(f'{name}.py').model.type == 'Mine'
    with pytest.raises(InputError, match=f'^config: {name} is a recipe, and {name}.py is in this folder; write {name}.py for'):
        load_config(name)
    monkeypatch.chdir(Path(SHAPES).parent)
    assert load_config(name).filename == SHAPES


@pytest.mark.parametrize(
    'name, hint',
    [
        ('upernet_convnext_tt_ade20k', "did you mean 'upernet_convnext_t_ade20k'?"),
        ('upernet_convnext_tt_ade20k.py', "did you mean 'upernet_convnext_t_ade20k'?"),
        ('mine', "did you mean 'mine.py'?"),
        ('qqq', 'expected one of: cascade_.*, mine.py, roadmap_.*, upernet_.*_xl_ade20k'),
    ],
)
def test_names_of_no_recipe(tmp_path, monkeypatch, name: str, hint: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'mine.py').write_text('')
    with pytest.raises(
        InputError, match=f'^config: expected a file or the name of a recipe, got {name} which is not there; {hint}'
    ):
        load_config(name)


def test_data_root_reaches_every_data_set(cfg: Config) -> None:
    set_data_root(cfg, '/somewhere')
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.data_root == '/somewhere'
    assert cfg.data_root == '/somewhere'


LAZY = 'from no_such_module import Thing\ntrain_dataloader = dict(dataset=dict(type=Thing))'


@pytest.mark.parametrize('words', ['import sys; sys.exit(3)', 'exit()', LAZY, 'import os.nonsense\na = os.nonsense.b()'])
def test_a_config_that_ends_the_program_or_imports_what_is_not_there(tool, tmp_path, words: str) -> None:
    (tmp_path / 'a.py').write_text(f'{words}\nmodel = dict()\n')
    for name in ('train', 'check'):
        one_line(*tool(name, str(tmp_path / 'a.py')), r'a.py cannot be read: \w+')


@pytest.mark.parametrize('key, near', [('train_dataloder', 'train_dataloader'), ('param_schedulers', 'param_scheduler')])
def test_names_that_are_nearly_the_runners(tmp_path, key: str, near: str) -> None:
    (tmp_path / 'a.py').write_text(f'{key} = dict()\n')
    with pytest.raises(InputError, match=f"a.py: {key} is read by nothing; did you mean '{near}'"):
        load_config(str(tmp_path / 'a.py'))
    (tmp_path / 'a.py').write_text('models = []\ntrain_pipeline = test_pipeline = []\n')
    load_config(str(tmp_path / 'a.py'))


@pytest.mark.parametrize('root', ['http://host/data', 's3://bucket/data'])
def test_a_data_root_that_is_no_folder(root: str) -> None:
    with pytest.raises(InputError, match=f'--data-root: expected a local folder, got {root}'):
        load_config(SHAPES, data_root=root)


@pytest.mark.parametrize('option', ['--work-dir', '--data-root', '--val-ann', '--resume'])
def test_empty_paths(tool, option: str) -> None:
    one_line(*tool('train', SHAPES, option, ''), f'{option}: expected a path or a name, got an empty one')


def test_a_work_dir_that_is_no_path(cfg: Config) -> None:
    cfg.work_dir = 5
    with pytest.raises(InputError, match='work_dir: expected the path of a folder, got 5'):
        set_work_dir(cfg, SHAPES, None)


@pytest.mark.parametrize('path', [None, 5, ['a.py']])
def test_a_config_that_is_no_path(path: object) -> None:
    with pytest.raises(InputError, match='config: expected the path of a file, got'):
        load_config(path)

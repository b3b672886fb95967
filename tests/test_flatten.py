"""A recipe printed as one file: the same config, from any folder, with its variables in one place."""

from pathlib import Path
from typing import Any

import pytest
from conftest import QUICK, SHAPES, call_tool, one_line
from mmengine.config import Config

from convnext_dense.recipes import find_recipe, recipes
from convnext_dense.run.flatten import _Writer, flat_text
from convnext_dense.run.nodes import top_level
from convnext_dense.run.options import load_config
from convnext_dense.version import __version__


@pytest.mark.parametrize('name', recipes())
def test_it_is_the_recipe(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = flat_text(find_recipe(name))
    Path('my.py').write_text(text)
    mine, recipe = (load_config(path)._cfg_dict.to_dict() for path in ('my.py', name))
    assert '_base_ =' not in text and 'custom_imports' in mine
    assert repr(mine) == repr({key: recipe[key] for key in mine})
    assert not {key for key in recipe if key not in mine} & top_level()
    assert max(map(len, text.splitlines())) <= 128
    assert (
        text.startswith('# ')
        and f'\n# By `convnext-dense config {name}` of convnext_dense {__version__}: the recipe and' in text
    )


def test_a_variable_has_one_place() -> None:
    lines = flat_text(find_recipe('upernet_convnext_t_ade20k')).splitlines()
    for line in ("data_root = 'data/ADEChallengeData2016'", 'crop_size = (512, 512)', 'test_dataloader = val_dataloader'):
        assert line in lines
    text = '\n'.join(lines)
    assert text.count('data_root=data_root') == 2 and text.count('data/ADE') == text.count("'SyncBN'") == 1
    assert text.count('(512, 512)') == 1 and text.count('pipeline=test_pipeline') == 1
    assert 'tta_scales' not in text and 'dataset_type' not in text, 'nothing would read it'
    text = flat_text(find_recipe('mask_rcnn_convnext_t_coco'))
    assert text.count('num_classes=num_classes') == 2 and "ann_file=f'{data_root}/annotations/instances_val2017.json'" in text


def test_another_config_can_be_based_on_it(tmp_path: Path) -> None:
    name = 'upernet_convnext_t_ade20k'
    (tmp_path / 'base.py').write_text(flat_text(find_recipe(name)))
    delta = "train_dataloader = val_dataloader = dict(dataset=dict(type='BaseSegDataset'))\n"
    delta += 'model = dict(decode_head=dict(num_classes=2))'
    for own, base in (('mine', 'base.py'), ('ours', find_recipe(name))):
        (tmp_path / f'{own}.py').write_text(f'_base_ = {str(base)!r}\n{delta}')
    mine, ours = (load_config(tmp_path / f'{own}.py') for own in ('mine', 'ours'))
    assert {key: ours[key] for key in mine} == dict(mine.items()) and mine.model.decode_head.num_classes == 2


@pytest.mark.parametrize(
    'value, text',
    [
        ({}, 'dict()'),
        ([], '[]'),
        ((), '()'),
        ((1,), '(1,)'),
        ([(1, 2.5), True, None, "it's"], '[(1, 2.5), True, None, "it\'s"]'),
        (dict(a=1, b=[dict(c='x')]), "dict(a=1, b=[dict(c='x')])"),
        ({'a.b': dict(lr_mult=1), 'class': 2}, "{'a.b': dict(lr_mult=1), 'class': 2}"),
        ([1.0, True], '[1.0, True]'),  # no `variable`, whose items equal them
    ],
)
def test_values(value: Any, text: str) -> None:
    writer = _Writer(dict(variable=[1, 1], unread=(), model=value))
    writer.write('model')
    assert writer.written == {'model': f'model = {text}'}


def test_a_value_of_more_than_a_line_is_one_item_to_a_line() -> None:
    value = dict(one=['x' * 50] * 3, two=('y' * 70, 'z' * 70), three={'a b': ['w' * 110]}, four=1)
    writer = _Writer(dict(model=value))
    writer.write('model')
    assert max(map(len, writer.written['model'].splitlines())) <= 128
    assert Config.fromstring(writer.written['model'], '.py').model == value
    assert "    two=(\n        'yyy" in writer.written['model'] and '\n    four=1,\n)' in writer.written['model']


def test_the_command_prints_it(tool) -> None:
    name = 'upernet_convnext_atto_shapes'
    for given in (name, f'{name}.py'):
        done = call_tool('config', given)
        assert (done.returncode, done.stdout, done.stderr) == (0, f'{flat_text(Path(SHAPES))}\n', '')
    one_line(*tool('config'), 'the following arguments are required: NAME; --help lists the options')
    one_line(*tool('config', name, name), f'unrecognized arguments: {name}')
    one_line(*tool('config', 'nope'), 'expected the name of a recipe, got nope; expected one of: cascade_')
    one_line(*tool('config', f'{name}s'), f"got {name}s; did you mean '{name}'?")
    one_line(*tool('config', SHAPES), 'expected the name of a recipe, got /')


@pytest.mark.slow
def test_it_trains_from_another_folder(shapes: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path('my.py').write_text(call_tool('config', 'upernet_convnext_atto_shapes').stdout)
    short = ['train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'default_hooks.checkpoint.interval=2']
    done = call_tool('train', 'my.py', '--data-root', shapes, '--cfg-options', *QUICK, *short)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'work_dirs/my/iter_2.pth').is_file() and 'mIoU' in done.stdout

"""Where hooks and evaluators write is known before the run."""

from pathlib import Path

import pytest
from conftest import SHAPES, one_line
from mmengine.config import Config

from convnext_dense import InputError
from convnext_dense.run.outputs import check_outputs

NAMES = ('default_hooks', 'custom_hooks', 'val_evaluator')


def config(key: str, value: object) -> Config:
    node = dict(type='X', **{key: value})
    return Config(dict(default_hooks=dict(checkpoint=node), custom_hooks=[node], val_evaluator=[node], test_evaluator=node))


@pytest.fixture
def places(tmp_path) -> Path:
    (tmp_path / 'file').write_text('')
    (tmp_path / 'run.bbox.json').mkdir()
    return tmp_path


@pytest.mark.parametrize('key', ['out_dir', 'output_dir', 'out_file_path', 'outfile_prefix'])
def test_places_that_can_be_written(places, key: str) -> None:
    for value in (None, 's3://bucket/run', str(places / 'new' / 'deeper'), str(places / 'new')):
        check_outputs(config(key, value), NAMES)
    check_outputs(config(key, str(places / 'file' / 'x')), ('other_evaluator',))
    assert sorted(path.name for path in places.iterdir()) == ['file', 'run.bbox.json']


@pytest.mark.parametrize('name', [*NAMES, 'test_evaluator'])
@pytest.mark.parametrize(
    'key, value, message',
    [
        ('out_dir', 'file/x', 'expected a folder, got .*file is a file'),
        ('output_dir', 'file', 'expected a folder, got .*file is a file'),
        ('out_file_path', 'file/a.pkl', 'expected a folder, got .*file is a file'),
        ('out_file_path', 'run.bbox.json', 'which is no regular file'),
        ('outfile_prefix', 'run', 'run.bbox.json which is no regular file'),
        ('outfile_prefix', 'x' * 250, 'a name of at most 255 bytes'),
        ('out_dir', 5, 'expected the path of a place to write to, got 5'),
        ('out_dir', '', 'expected the path of a place to write to'),
    ],
)
def test_places_that_cannot(places, name: str, key: str, value: object, message: str) -> None:
    given = f'{places}/{value}' if value and isinstance(value, str) else value
    with pytest.raises(InputError, match=rf'^{name}\.(.*\.)?{key}: .*{message}'):
        check_outputs(config(key, given), (name,))


@pytest.mark.parametrize('name, positional, key', [('train', [], 'val'), ('test', ['a.pth'], 'test')])
def test_the_tools_look_before_anything_is_made(tool, places, name: str, positional: list[str], key: str) -> None:
    (places / 'c.py').write_text(f"_base_ = '{SHAPES}'\n{key}_evaluator = dict(output_dir='{places}/file/x')\n")
    args = [str(places / 'c.py'), *positional, '--work-dir', str(places / 'run')]
    one_line(*tool(name, *args), f'{key}_evaluator.output_dir: expected a folder, got .*file/x')
    assert not (places / 'run').exists()

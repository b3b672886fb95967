"""A checkpoint's config is read and not run; what could run code is refused."""

from unittest.mock import patch

import pytest
from conftest import SHAPES, SHAPES_COCO
from mmengine.config import Config, ConfigDict

from convnext_dense.errors import InputError
from convnext_dense.predict.config_text import check_types, import_own, parse_config
from convnext_dense.run.options import load_config


@pytest.mark.parametrize('config', [SHAPES, SHAPES_COCO, 'configs/cascade_mask_rcnn_convnext_xl_coco.py'])
def test_what_mmengine_writes_is_read_as_it_was(config: str) -> None:
    cfg = load_config(config)
    with patch('mmengine.config.config.FormatCode', lambda text, **_: (text, True)):
        text = cfg.pretty_text
    assert parse_config(text)._cfg_dict == Config.fromstring(text, '.py')._cfg_dict == cfg._cfg_dict


def test_values_of_every_kind() -> None:
    text = "a = dict(b=[1, -2.5, None], c=(True, 'x'), d={1: 'y', 'p-q': 2})\ne = {1, 2}\nf = -inf\ng = 1e-05"
    found = parse_config(text)
    assert found.a == dict(b=[1, -2.5, None], c=(True, 'x'), d={1: 'y', 'p-q': 2})
    assert (found.e, found.f, found.g) == ({1, 2}, float('-inf'), 1e-5)


@pytest.mark.parametrize(
    'text',
    [
        'import os',
        "a = __import__('os').system('true')",
        "a = open('/etc/passwd')",
        'a = dict(**b)',
        'a = [i for i in range(3)]',
        'a, b = 1, 2',
        'a.b = 1',
        'a = b',
        "a = dict([('b', 1)])",
        'a = 1 if True else 2',
        "a = f'{1}'",
        'a = {**b}',
        "a = -'x'",
        'def f(): pass',
    ],
)
def test_what_is_no_plain_value_is_refused(text: str) -> None:
    with pytest.raises(InputError, match='config.* expected plain values'):
        parse_config(text)


@pytest.mark.parametrize(
    'text', ['a = (', 'a = ' + '(' * 5000, 'a = ' + '[' * 150 + ']' * 150, 'a = 1\x00', 5, None, 'filename = 3', '_base_ = 1']
)
def test_broken_texts_get_a_line(text) -> None:
    try:
        parse_config(text)
    except InputError as error:
        assert 'config' in str(error) and '\n' not in str(error).strip()


@pytest.mark.parametrize(
    'cls',
    [
        'os.system',
        'mmengine.load',
        'mmengine.fileio.load',
        'builtins.eval',
        'torch.load',
        '__import__("os").mkdir("x")',
        'print(1)',
        '__name__',
        'NoSuchModel',
        7,
        'mmdet.apis.init_detector',
    ],
)
def test_types_that_are_no_registered_classes_are_refused(cls) -> None:
    with pytest.raises(InputError, match='its config: '):
        check_types(ConfigDict(model=dict(type='EncoderDecoder', backbone=dict(type=cls))), 'mmseg', ['my_models'])


def test_registered_classes_pass() -> None:
    check_types(load_config(SHAPES).model, 'mmseg', [])
    check_types(load_config(SHAPES_COCO).model, 'mmdet', [])
    check_types(ConfigDict(type='mmdet.FPN'), 'mmseg', [])
    with pytest.raises(InputError, match='default_scope'):
        check_types(ConfigDict(type='FPN'), 'os', [])


def test_only_this_packages_modules_are_imported() -> None:
    assert import_own(
        Config(dict(custom_imports=dict(imports=['convnext_dense.detection', 'antigravity', 'convnext_dense_evil'])))
    ) == [
        'antigravity',
        'convnext_dense_evil',
    ]
    assert import_own(Config(dict(custom_imports=dict(imports='convnext_dense')))) == []
    assert import_own(Config({})) == []
    with pytest.raises(InputError, match='which this version does not have'):
        import_own(Config(dict(custom_imports=dict(imports=['convnext_dense.gone']))))

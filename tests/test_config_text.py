"""A checkpoint's config is read and not run; what could run code is refused."""

import pytest
from conftest import ROOT, SHAPES, SHAPES_COCO
from mmengine.config import Config, ConfigDict

from convnext_dense.errors import InputError
from convnext_dense.predict.config_text import check_types, dataset_meta, import_own, parse_config
from convnext_dense.run.channels import settle_channels
from convnext_dense.run.options import load_config


@pytest.mark.parametrize('config', [SHAPES, SHAPES_COCO, 'configs/cascade_mask_rcnn_convnext_xl_coco.py'])
def test_what_mmengine_writes_is_read_as_it_was(config: str) -> None:
    cfg = load_config(config)
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


@pytest.mark.parametrize('text', ['a = (', 'a = ' + '(' * 5000, 'a = 1\x00', 5, None, 'filename = 3'])
def test_broken_texts_get_a_line(text) -> None:
    with pytest.raises(InputError, match='config'):
        parse_config(text)


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


OPENED = [
    dict(type='CrossEntropyLoss', class_weight='weights.pkl'),
    dict(type='LoadImageFromFile', backend_args=dict(backend='petrel')),
    dict(type='FPN', _scope_='this'),
    dict(type='RetinaHead', anchor_generator=dict(type='CameraMotionCompensation', warp_mode='1')),
    dict(type='KnowledgeDistillationSingleStageDetector', teacher_config='a.py'),
]


@pytest.mark.parametrize('node', OPENED, ids=lambda node: node['type'])
def test_classes_that_evaluate_or_open_what_they_are_given_are_refused(node) -> None:
    with pytest.raises(InputError, match='its config: .*give the config file'):
        check_types(ConfigDict(model=dict(type='EncoderDecoder', backbone=node)), 'mmseg', [])


@pytest.mark.parametrize('path', sorted((ROOT / 'configs').glob('*.py')), ids=lambda path: path.stem)
def test_the_recipes_pass(path) -> None:
    cfg = load_config(str(path))
    parts = [cfg.model, cfg.get('tta_model'), cfg.get('tta_pipeline'), cfg.test_dataloader.dataset.pipeline]
    check_types([part for part in parts if part], cfg.default_scope, [])


@pytest.mark.parametrize('config', [SHAPES, SHAPES_COCO])
def test_a_config_of_other_channels_passes(config: str) -> None:
    cfg = load_config(config)
    settle_channels(cfg, 4, [0.0] * 4, [1.0] * 4)
    parts = [cfg.model, cfg.test_dataloader.dataset.pipeline]
    assert 'channels' in str(parts)
    check_types([*parts, *([cfg.tta_pipeline] if 'tta_pipeline' in cfg else [])], cfg.default_scope, [])
    assert import_own(cfg) == []


def test_scopes() -> None:
    check_types(ConfigDict(type='mmdet.FPN'), 'mmseg', [])
    with pytest.raises(InputError, match='default_scope'):
        check_types(ConfigDict(type='FPN'), 'os', [])


def test_a_data_sets_classes_are_found_by_its_name_alone() -> None:
    assert dataset_meta('ADE20KDataset')['classes'][0] == 'wall' == dataset_meta('mmseg.ADE20KDataset')['classes'][0]
    for name in ('antigravity.fly', 'NoSuchDataset', None, 3):
        assert dataset_meta(name) == {}


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

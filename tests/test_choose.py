"""`benchmark.py choose`: which options it times and prints."""

import re

import pytest
from conftest import SHAPES, SHAPES_COCO

from convnext_dense import InputError
from convnext_dense.benchmark import choose
from convnext_dense.benchmark.contest import prepare
from convnext_dense.benchmark.timing import Timing
from convnext_dense.run.options import load_config
from convnext_dense.run.overrides import check_overrides


@pytest.fixture(autouse=True, scope='module')
def registered() -> None:
    prepare()


def test_options_of_a_segmentor() -> None:
    parts = ('backbone', 'decode_head', 'auxiliary_head')
    assert choose.fused_options(load_config(SHAPES), True) == {f'model.{part}.fused': True for part in parts}
    assert choose.fused_options(load_config(SHAPES), False) == {f'model.{part}.fused': False for part in parts}


def test_options_of_a_detector() -> None:
    plain = choose.fused_options(load_config(SHAPES_COCO), False)
    assert plain['model.backbone.fused'] is False
    assert plain['model.rpn_head.type'] == 'RPNHead'
    assert plain['model.neck.conv_cfg.type'] == 'Conv2d'
    assert plain['model.roi_head.mask_head.type'] == 'FCNMaskHead'
    assert choose.fused_options(load_config(SHAPES_COCO), True) == {'model.backbone.fused': True}


@pytest.mark.parametrize('config', [SHAPES, SHAPES_COCO], ids=['segmentor', 'detector'])
def test_both_ways_are_run_and_differ_in_nothing_but_the_path(config: str, monkeypatch) -> None:
    cfg, said, models = load_config(config), [], []
    cfg.train_dataloader.batch_size = 2
    build = choose._model
    monkeypatch.setattr(choose, '_model', lambda *args: models.append(build(*args)) or models[-1])
    table = choose.choose(cfg, (64, 96), 1, said.append)
    assert table.row_count == 6
    assert [line.split(':')[0] for line in said[1:]] == ['training', 'prediction']
    _, plain, fast = models
    assert (plain.backbone.stages[0][0].fused, fast.backbone.stages[0][0].fused) == (False, True)
    for (name, one), (_, other) in zip(plain.named_parameters(), fast.named_parameters()):
        assert one.grad is not None and other.grad is not None, name
        assert (one.grad - other.grad).norm() <= 0.02 * one.grad.norm() + 1e-6, name


@pytest.mark.parametrize(
    'config, plain, fast, advice',
    [
        (1.0, 2.0, 1.0, 'nothing to set'),
        (1.02, 2.0, 1.0, 'nothing to set'),
        (2.0, 1.0, 1.5, '2.00 times faster with .*--cfg-options model.backbone.fused=False model.decode_head.fused=False'),
        (1.5, 2.0, 1.0, '1.50 times faster with .*--cfg-options model.backbone.fused=True model.decode_head.fused=True'),
    ],
)
@pytest.mark.parametrize('given', ['auto', True, False, None])
def test_advice_is_taken_by_the_tools(config: float, plain: float, fast: float, advice: str, given: object) -> None:
    cfg = load_config(SHAPES)
    if given is not None:
        cfg.model.backbone.fused = given
    timings = dict(config=Timing((config,)), plain=Timing((plain,)), fast=Timing((fast,)))
    line = choose.advice(cfg, 'train', timings)
    assert re.search(advice, line)
    options = dict(part.split('=') for part in line.partition('--cfg-options ')[2].split())
    check_overrides(cfg, {key: value == 'True' for key, value in options.items()})


def test_sizes_are_those_of_training() -> None:
    assert choose.training_size(load_config(SHAPES).train_dataloader) == (96, 96)
    coco = load_config(SHAPES.replace('upernet_convnext_atto_shapes', 'mask_rcnn_convnext_t_coco'))
    assert choose.training_size(coco.train_dataloader) == (800, 1333)
    assert choose.training_size({}) == (512, 512)


def test_a_model_without_faster_paths_is_refused() -> None:
    cfg = load_config(SHAPES)
    cfg.model = dict(
        type='EncoderDecoder',
        backbone=dict(type='ResNet', depth=18),
        decode_head=dict(type='FCNHead', in_channels=512, channels=8, num_classes=5),
    )
    with pytest.raises(InputError, match='expected a model with faster paths'):
        choose.choose(cfg, (64, 64), 1, print)


def test_rounds_that_overlap_are_noise() -> None:
    """Measured: the config as it stands and the fast paths, which are the same on maps of this size."""
    timings = dict(config=Timing((10.3, 10.5)), plain=Timing((20.4, 20.7)), fast=Timing((8.9, 10.32)))
    assert choose.advice(load_config(SHAPES), 'tools/train.py', timings).startswith('nothing to set')
    timings['fast'] = Timing((8.9, 9.1))
    assert '1.16 times faster' in choose.advice(load_config(SHAPES), 'tools/train.py', timings)

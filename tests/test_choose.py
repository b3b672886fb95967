"""`benchmark.py choose`: which options it times and prints."""

import re

import pytest
from conftest import SHAPES, SHAPES_COCO

from convnext_dense import InputError
from convnext_dense.benchmark import choose
from convnext_dense.benchmark.contest import DEVICE, prepare
from convnext_dense.benchmark.timing import Timing
from convnext_dense.run.options import load_config


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
    assert table.row_count == 4
    assert [line.split(':')[0] for line in said[1:]] == ['training', 'prediction']
    plain, fast = models
    assert (plain.backbone.stages[0][0].fused, fast.backbone.stages[0][0].fused) == (False, True)
    for (name, one), (_, other) in zip(plain.named_parameters(), fast.named_parameters()):
        assert one.grad is not None and other.grad is not None, name
        assert (one.grad - other.grad).norm() <= 0.02 * one.grad.norm() + 1e-6, name


@pytest.mark.parametrize(
    'plain, fast, given, advice',
    [
        (2.0, 1.0, 'auto', 'the fast paths are faster, and taken by the config as it stands; nothing to set'),
        (
            1.0,
            2.0,
            'auto',
            'the plain paths are faster; .*--cfg-options model.backbone.fused=False model.decode_head.fused=False',
        ),
        (2.0, 1.0, False, 'the fast paths are faster; .*--cfg-options model.backbone.fused=True$'),
        (1.0, 1.02, 'auto', 'differ by less than 5%; nothing to set'),
    ],
)
def test_advice(plain: float, fast: float, given: object, advice: str) -> None:
    cfg = load_config(SHAPES)
    cfg.model.backbone.fused = given
    timings = dict(plain=Timing((plain,)), fast=Timing((fast,)))
    if DEVICE != 'cpu':
        pytest.skip('what auto takes is the plain paths here')
    assert re.search(advice, choose.advice(cfg, 'tools/train.py', timings))


def test_sizes_are_those_of_training() -> None:
    assert choose.training_size(load_config(SHAPES)) == (96, 96)
    assert choose.training_size(load_config(SHAPES.replace('upernet_convnext_atto_shapes', 'mask_rcnn_convnext_t_coco'))) == (
        800,
        1333,
    )


def test_a_model_without_faster_paths_is_refused() -> None:
    cfg = load_config(SHAPES)
    cfg.model = dict(
        type='EncoderDecoder',
        backbone=dict(type='ResNet', depth=18),
        decode_head=dict(type='FCNHead', in_channels=512, channels=8, num_classes=5),
    )
    with pytest.raises(InputError, match='expected a model with faster paths'):
        choose.choose(cfg, (64, 64), 1, print)

"""What is checked of a model before the first step."""

from types import SimpleNamespace

import pytest
from conftest import SHAPES
from mmengine.config import Config
from torch import nn

from convnext_dense import InputError
from convnext_dense.run.options import load_config
from convnext_dense.run.preflight import _check_channels, build_on_meta, check_batch_norm, check_evaluators


class Pooling(nn.Module):
    def __init__(self, norm: type, scales: tuple[int, ...]) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(4, 4, 1), norm(4))
        self.head.pool_scales = scales


@pytest.mark.parametrize(
    'norm, scales, batch, stops',
    [
        (nn.BatchNorm2d, (1, 2), 1, True),
        (nn.BatchNorm2d, (1, 2), 2, False),
        (nn.BatchNorm2d, (2, 3), 1, False),
        (nn.SyncBatchNorm, (1, 2), 1, False),  # sees the images of all processes
        (nn.InstanceNorm2d, (1,), 1, False),
    ],
)
def test_batch_norm_of_one_value(norm: type, scales: tuple[int, ...], batch: int, stops: bool) -> None:
    cfg, model = Config(dict(train_dataloader=dict(batch_size=batch))), Pooling(norm, scales)
    if stops:
        with pytest.raises(InputError, match='batch_size: expected 2 or more per process, got 1; head pools to 1x1'):
            check_batch_norm(cfg, model)
    else:
        check_batch_norm(cfg, model)


@pytest.mark.parametrize('index, channels', [(4, 64), (5, 64), ([0, 1, 2, 4], [8, 16, 32, 64])], ids=str)
def test_an_index_beyond_the_maps(index, channels) -> None:
    given = (8, 16, 32, 64), 'backbone.out_indices=(0, 1, 2, 3)', 'decode_head'
    with pytest.raises(InputError, match='in_index: expected indices below 4'):
        _check_channels(*given, SimpleNamespace(in_channels=channels, in_index=index))
    _check_channels(*given, SimpleNamespace(in_channels=64, in_index=3))
    with pytest.raises(InputError, match='in_channels: expected 64, the channels of the backbone; got 32'):
        _check_channels(*given, SimpleNamespace(in_channels=32, in_index=3))


@pytest.mark.parametrize('evaluators', ['dict', 'list'])
def test_arguments_of_evaluators(evaluators: str) -> None:
    import convnext_dense.detection  # noqa: F401

    wrong = dict(type='CocoStatsMetric', nonsense=1)
    cfg = Config(dict(default_scope='mmdet', val_evaluator=wrong if evaluators == 'dict' else [dict(type='Other'), wrong]))
    check_evaluators(cfg, 'test_evaluator')  # which is not there
    with pytest.raises((InputError, TypeError), match='nonsense'):
        check_evaluators(cfg, 'test_evaluator', 'val_evaluator')


@pytest.mark.parametrize('index, channels', [(1, [16]), ([1], 16), ([0, 'x'], [8, 16]), (None, 16), (1.0, 16)])
def test_indices_of_another_kind_than_the_channels(index, channels) -> None:
    head = SimpleNamespace(in_index=index, in_channels=channels)
    with pytest.raises(InputError, match='model.head: expected in_channels and in_index both numbers or both lists'):
        _check_channels((8, 16), 'backbone.out_indices=(0, 1)', 'head', head)


def test_what_a_class_of_ours_says_is_said_as_it_is() -> None:
    model = dict(type='ConvNeXt', drop_path_rate=2)
    with pytest.raises(InputError, match='^drop_path_rate: expected a number in'):
        build_on_meta(Config(dict(model=model)))
    with pytest.raises(InputError, match='^model: cannot be built from this config: TypeError: .*nonsense'):
        build_on_meta(Config(dict(model=dict(type='ConvNeXt', nonsense=2))))


def test_a_wrong_argument_of_the_backbone_gets_the_nearest_name() -> None:
    cfg = load_config(SHAPES)
    cfg.model.backbone.drop_path = 0.1
    with pytest.raises(InputError, match="'drop_path'; did you mean 'drop_path_rate'"):
        build_on_meta(cfg)

"""Channels that a config leaves to its backbone."""

import pytest
from mmengine.config import Config

from convnext_dense import InputError
from convnext_dense.run.heads import settle_heads
from convnext_dense.run.options import load_config
from convnext_dense.run.preflight import build_on_meta

CONFIG = 'roadmap_upernet_shapes'


@pytest.mark.parametrize(('step', 'channels'), [('enhanced', [256, 512, 1024, 2048]), ('downsample', [96, 192, 384, 768])])
def test_of_a_step(step: str, channels: list[int]) -> None:
    cfg = load_config(CONFIG, {'model.backbone.step': step})
    assert cfg.model.decode_head.in_channels == channels and cfg.model.auxiliary_head.in_channels == channels[2]
    build_on_meta(cfg)


def test_a_neck_that_takes_all() -> None:
    neck = dict(type='SimplePyramid', in_channels='backbone')
    cfg = Config(dict(model=dict(backbone=dict(type='IsotropicConvNeXt', arch='base'), neck=neck)))
    settle_heads(cfg)
    assert cfg.model.neck.in_channels == [768]


def test_what_is_left_as_it_is() -> None:
    for model in (dict(backbone=dict(type='ResNet'), decode_head=dict(in_channels=[8])), dict(type='A'), None):
        cfg = Config(dict(model=model))
        settle_heads(cfg)
        assert cfg.model == model
    cfg = Config(dict(model=dict(backbone=dict(type='RoadmapNet', stp='width'), neck=dict(in_channels='backbone'))))
    settle_heads(cfg)  # building the model says it
    assert cfg.model.neck.in_channels == 'backbone'


@pytest.mark.parametrize('index', [4, -1, [0, 1, 2, -5], [0, '1'], None])
def test_an_index_of_no_map(index) -> None:
    with pytest.raises(InputError, match='in_index: expected indices from 0 to 3, of the maps of the backbone; got '):
        settle_heads(
            Config(dict(model=dict(backbone=dict(type='RoadmapNet'), head=dict(in_channels='backbone', in_index=index))))
        )


@pytest.mark.parametrize('backbone', [dict(type='ResNet', depth=50), None, 'ConvNeXt'], ids=str)
def test_another_backbone(backbone) -> None:
    with pytest.raises(InputError, match="in_channels='backbone': expected a backbone of ConvNeXt, RoadmapNet, Iso.*, got "):
        settle_heads(Config(dict(model=dict(backbone=backbone, neck=dict(in_channels='backbone')))))


def test_wrong_arguments_of_the_backbone() -> None:
    with pytest.raises(InputError, match="step: expected one of .*did you mean 'width'"):
        load_config(CONFIG, {'model.backbone.step': 'wdth'})
    cfg = load_config(CONFIG)
    cfg.model.backbone.stp = 'width'
    with pytest.raises(InputError, match=r"unexpected keyword argument 'stp'; did you mean 'step'\?"):
        build_on_meta(cfg)

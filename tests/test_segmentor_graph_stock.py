"""MMSegmentation's own models as graphs: traced at one size, they give at others what the models give."""

from typing import Any

import numpy as np
import pytest
from export_models import by_torch, pictures
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from convnext_dense.export.graphs import SEGMENTOR, Graph
from convnext_dense.export.runtimes import run_torchscript, write_torchscript
from convnext_dense.export.segmentor_graph import SegmentorGraph

NORM = dict(type='BN')
PREPROCESSOR = dict(
    type='SegDataPreProcessor', mean=[123.0, 116.0, 103.0], std=[58.0, 57.0, 56.0], bgr_to_rgb=True, size=(64, 64)
)
RESNET = dict(
    type='ResNetV1c', depth=18, base_channels=8, stem_channels=8, norm_cfg=NORM, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)
)
PYRAMID = dict(RESNET, strides=(1, 2, 2, 2), dilations=(1, 1, 1, 1))
SEGFORMER = dict(
    type='MixVisionTransformer',
    embed_dims=8,
    num_layers=[1, 1, 1, 1],
    num_heads=[1, 1, 2, 2],
    sr_ratios=[8, 4, 2, 1],
    mlp_ratio=2,
)
COMMON = dict(channels=16, num_classes=7, norm_cfg=NORM)
LAST = dict(COMMON, in_channels=64, in_index=3)
ALL = dict(COMMON, in_index=[0, 1, 2, 3])
MODELS_OF = {
    'FCN': (RESNET, dict(LAST, type='FCNHead')),
    'PSPNet': (RESNET, dict(LAST, type='PSPHead')),
    'DeepLabV3': (RESNET, dict(LAST, type='ASPPHead', dilations=(1, 3, 6))),
    'DeepLabV3+': (
        RESNET,
        dict(LAST, type='DepthwiseSeparableASPPHead', dilations=(1, 3, 6), c1_in_channels=8, c1_channels=4),
    ),
    'NonLocal': (RESNET, dict(LAST, type='NLHead')),
    'APCNet': (RESNET, dict(LAST, type='APCHead', pool_scales=(1, 2))),
    'Semantic FPN': (PYRAMID, dict(ALL, type='FPNHead', in_channels=[16] * 4, feature_strides=[4, 8, 16, 32])),
    'SegFormer': (SEGFORMER, dict(ALL, type='SegformerHead', in_channels=[8, 8, 16, 16])),
    'UPerNet': (PYRAMID, dict(ALL, type='UPerHead', in_channels=[8, 16, 32, 64], align_corners=True)),
}


@pytest.mark.parametrize('name', MODELS_OF)
def test_stock(name: str, tmp_path) -> None:
    backbone, head = MODELS_OF[name]
    config: dict[str, Any] = dict(
        type='EncoderDecoder', data_preprocessor=PREPROCESSOR, backbone=backbone, decode_head={'align_corners': False, **head}
    )
    if head['type'] == 'FPNHead':
        config['neck'] = dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, num_outs=4)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(config).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    graph = Graph(SegmentorGraph(model).eval(), SEGMENTOR, None, False, True, None, None)
    write_torchscript(graph, tmp_path / 'model.ts', {})
    run = run_torchscript(tmp_path / 'model.ts')
    for shape in ((1, 101, 67), (2, 70, 200)):
        image = pictures(*shape)
        classes, logits = by_torch(model, image)
        got, values = run(image)
        assert np.abs(values - logits).max() < 1e-5 * np.abs(logits).max() and (got == classes).mean() > 0.9999

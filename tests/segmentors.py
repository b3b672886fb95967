"""Segmentors for tests, this project's beside mmseg's, and what they are given."""

import torch
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

import convnext_dense.segmentation  # noqa: F401

CLASSES = 7
SIZE = dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32))


def segmentor(lean: bool, **test_cfg):
    torch.manual_seed(0)
    head = dict(num_classes=CLASSES, norm_cfg=dict(type='BN'), align_corners=False, dropout_ratio=0.0)
    uper = dict(type='FastUPerHead' if lean else 'UPerHead', in_index=[0, 1, 2, 3], in_channels=[8, 16, 24, 32], channels=16)
    fcn = dict(type='FastFCNHead' if lean else 'FCNHead', in_index=2, in_channels=24, channels=8, num_convs=1)
    model = dict(
        type='LeanEncoderDecoder' if lean else 'EncoderDecoder',
        backbone=dict(type='ConvNeXt', arch=SIZE, layer_scale_init_value=1.0, channels_last=True),
        decode_head=head | uper,
        auxiliary_head=head | fcn | dict(concat_input=False),
        test_cfg=test_cfg,
    )
    built = MODELS.build(ConfigDict(model)).eval()
    for module in built.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight.data *= 3
    return built


def pair(**test_cfg):
    stock = {key: value for key, value in test_cfg.items() if key not in ('batch_size', 'keep_logits', 'keep_confidence')}
    theirs, ours = segmentor(False, **stock), segmentor(True, **test_cfg)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def sample(size, ori_shape, **meta) -> SegDataSample:
    meta = dict(img_shape=size, pad_shape=size, ori_shape=ori_shape, padding_size=[0, 0, 0, 0]) | meta
    return SegDataSample(metainfo=meta)


def image(*size: int, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(0))

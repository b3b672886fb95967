"""Which detectors `DetectorGraph` computes as mmdet does: each part is of a class listed here, and not of a subclass."""

from __future__ import annotations

from typing import Any

from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.models.dense_heads import RPNHead
from mmdet.models.detectors import CascadeRCNN, FasterRCNN, MaskRCNN, TwoStageDetector
from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead, ConvFCBBoxHead, Shared2FCBBoxHead, Shared4Conv1FCBBoxHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from torch import nn

from convnext_dense.detection.mask_head import PasteMaskHead
from convnext_dense.detection.rpn_head import FastRPNHead
from convnext_dense.errors import InputError
from convnext_dense.expect import brief, number, whole
from convnext_dense.text import listed

DETECTORS = (FasterRCNN, MaskRCNN, CascadeRCNN, TwoStageDetector)
BOX_HEADS = (Shared2FCBBoxHead, Shared4Conv1FCBBoxHead, ConvFCBBoxHead, BBoxHead)
OTHERWISE = 'export a Faster, Mask or Cascade Mask R-CNN of the recipes, or predict with PyTorch'


def expect_supported(model: nn.Module) -> None:
    """Stop with an InputError at a part whose inference is not what `DetectorGraph` computes."""
    part: Any = model
    expect_type('model', part, *DETECTORS)
    expect_type('data_preprocessor', part.data_preprocessor, DetDataPreprocessor)
    expect_rpn(part.rpn_head)
    expect_type('roi_head', part.roi_head, StandardRoIHead, CascadeRoIHead)
    if part.roi_head.with_shared_head:
        raise unsupported('roi_head.shared_head', 'none', type(part.roi_head.shared_head).__name__)
    expect_nms('test_cfg.rcnn', part.roi_head.test_cfg)
    for head, extractor in pairs(part.roi_head, 'bbox'):
        expect_box_head(head)
        expect_extractor(extractor)
    if part.roi_head.with_mask and part.roi_head.test_cfg.get('mask_thr_binary', 0.5) < 0:
        raise unsupported('test_cfg.rcnn.mask_thr_binary', 'a number from 0 up', part.roi_head.test_cfg.mask_thr_binary)
    for head, extractor in pairs(part.roi_head, 'mask') if part.roi_head.with_mask else ():
        expect_type('roi_head.mask_head', head, FCNMaskHead, PasteMaskHead)
        expect_extractor(extractor)


def pairs(roi_head: Any, kind: str) -> list[tuple[Any, Any]]:
    """Heads and RoI extractors, of each stage."""
    heads, extractors = getattr(roi_head, f'{kind}_head'), getattr(roi_head, f'{kind}_roi_extractor')
    return list(zip(heads, extractors)) if isinstance(heads, nn.ModuleList) else [(heads, extractors)]


def expect_rpn(head: Any) -> None:
    expect_type('rpn_head', head, RPNHead, FastRPNHead)
    if not head.use_sigmoid_cls:
        raise unsupported('rpn_head.loss_cls.use_sigmoid', True, False)
    expect_type('rpn_head.anchor_generator', head.prior_generator, AnchorGenerator)
    expect_coder('rpn_head', head.bbox_coder)
    expect_nms('test_cfg.rpn', head.test_cfg)
    if not whole(head.test_cfg.get('nms_pre'), 1):
        raise unsupported('test_cfg.rpn.nms_pre', 'a whole number from 1 up', head.test_cfg.get('nms_pre'))


def expect_box_head(head: Any) -> None:
    name = 'roi_head.bbox_head'
    expect_type(name, head, *BOX_HEADS)
    if not (head.with_cls and head.with_reg):
        raise unsupported(name, 'one with classes and boxes', f'with_cls={head.with_cls}, with_reg={head.with_reg}')
    if head.custom_activation or head.custom_cls_channels:
        raise unsupported(f'{name}.loss_cls', 'a softmax', type(head.loss_cls).__name__)
    expect_coder(name, head.bbox_coder)


def expect_coder(name: str, coder: Any) -> None:
    expect_type(f'{name}.bbox_coder', coder, DeltaXYWHBBoxCoder)
    if coder.add_ctr_clamp:
        raise unsupported(f'{name}.bbox_coder.add_ctr_clamp', False, True)


def expect_extractor(extractor: Any) -> None:
    name = 'roi_head.bbox_roi_extractor'
    expect_type(name, extractor, SingleRoIExtractor)
    layer = extractor.roi_layers[0]
    if type(layer).__name__ != 'RoIAlign' or layer.pool_mode != 'avg' or layer.use_torchvision:
        raise unsupported(f'{name}.roi_layer', "RoIAlign with pool_mode='avg'", brief(layer))


def expect_nms(name: str, cfg: Any) -> None:
    """`cfg`: a stage's test_cfg."""
    nms = dict(cfg.nms)
    kind, threshold = nms.pop('type', 'nms'), nms.pop('iou_threshold', None)
    nms.pop('split_thr', None)  # mmcv computes the same in parts
    if kind != 'nms' or not number(threshold, 0) or nms:
        raise unsupported(f'{name}.nms', "dict(type='nms', iou_threshold=...)", brief(dict(cfg.nms)))
    if not whole(cfg.max_per_img, 1):
        raise unsupported(f'{name}.max_per_img', 'a whole number from 1 up', cfg.max_per_img)


def expect_type(name: str, part: Any, *types: type) -> None:
    """The class itself, not one derived from it."""
    if type(part) not in types:
        raise unsupported(name, listed([kind.__name__ for kind in types]), type(part).__name__)


def unsupported(name: str, expected: object, got: object) -> InputError:
    return InputError(f'{name}: expected {expected} for export, got {got}; {OTHERWISE}')

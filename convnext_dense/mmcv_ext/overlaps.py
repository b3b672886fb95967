"""Intersection over union of upright boxes: mmcv's bbox_overlaps."""

from __future__ import annotations

import torch
from torch import Tensor

from convnext_dense.errors import InputError
from convnext_dense.mmcv_ext.operands import check_boxes, check_floats, check_shape, lift

PAIRS = 1 << 20  # that are worked on at once
IOU, IOF = 0, 1


def bbox_overlaps(bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode: int, aligned: bool, offset: int) -> None:
    """bboxes1 (N, 4), bboxes2 (M, 4) as (x1, y1, x2, y2) -> ious (N, M), or of the pairs in turn (N,) where `aligned`.

    `mode` 0 is the IoU, 1 the intersection over the area of the first box. With offset 1, widths and heights are x2 - x1 + 1.
    Two boxes without area have no IoU: NaN, as by mmcv's kernels.
    """
    name = 'bbox_overlaps'
    check_floats(name, bboxes1=bboxes1, bboxes2=bboxes2, ious=ious)
    check_boxes(name, 4, bboxes1=bboxes1, bboxes2=bboxes2)
    if mode not in (IOU, IOF):
        raise InputError(f'{name}: expected mode {IOU} (iou) or {IOF} (iof), got {mode}')
    if offset not in (0, 1):
        raise InputError(f'{name}: expected offset 0 or 1, got {offset}')
    first, second = lift(bboxes1.detach()), lift(bboxes2.detach()).to(lift(bboxes1).dtype)
    if aligned:
        check_shape(name, 'bboxes2', bboxes2, len(bboxes1), 4)
        check_shape(name, 'ious', ious, len(bboxes1))
        ious.copy_(_ious(first, second, mode, offset))
        return
    check_shape(name, 'ious', ious, len(bboxes1), len(bboxes2))
    rows = max(1, PAIRS // max(1, len(bboxes2)))
    for part, boxes in zip(ious.split(rows), first.split(rows)):
        part.copy_(_ious(boxes[:, None], second, mode, offset))


def _ious(first: Tensor, second: Tensor, mode: int, offset: int) -> Tensor:
    """first, second (..., 4), broadcast -> (...)."""
    sides = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2]) + offset
    shared = sides.clamp(min=0).prod(dim=-1)
    area1, area2 = ((boxes[..., 2:] - boxes[..., :2] + offset).prod(dim=-1) for boxes in (first, second))
    return shared / (area1 + area2 - shared if mode == IOU else area1)

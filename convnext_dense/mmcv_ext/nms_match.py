"""NMS that tells what each kept box has suppressed, as PISA asks (arXiv 1904.04821): mmcv's nms_match."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from convnext_dense.mmcv_ext.operands import check_finite, check_floats, check_shape


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """dets (N, 5) as (x1, y1, x2, y2, score) -> for each kept box, by descending score, its index and those it suppressed.

    A box is suppressed by the first kept one with which its IoU is at least the threshold.
    """
    check_floats('nms_match', dets=dets)
    check_shape('nms_match', 'dets', dets, 'N', 5)
    check_finite('nms_match', 'dets', dets)
    dets = dets.detach().cpu()
    left = dets[:, 4].sort(descending=True)[1].numpy()
    box = dets[:, :4].to(torch.float64 if dets.dtype == torch.float64 else torch.float32).numpy()
    sides = box[:, 2:] - box[:, :2]
    area = sides[:, 0] * sides[:, 1]
    threshold = box.dtype.type(iou_threshold)
    groups = []
    while len(left):
        top, rest = left[0], left[1:]
        inner = np.minimum(box[top, 2:], box[rest, 2:]) - np.maximum(box[top, :2], box[rest, :2])
        inter = np.maximum(inner[:, 0], 0) * np.maximum(inner[:, 1], 0)
        union = area[top] + area[rest] - inter
        # Two boxes without area have no IoU: neither suppresses the other.
        iou = np.divide(inter, union, out=np.full_like(inter, np.nan), where=union != 0)
        taken = iou >= threshold
        groups.append([int(top), *rest[taken].tolist()])
        left = rest[~taken]
    return groups

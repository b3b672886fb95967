"""NMS that tells what each kept box has suppressed, as PISA asks (arXiv 1904.04821): mmcv's nms_match."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from convnext_dense.mmcv_ext.operands import check_boxes, check_floats, lift


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """dets (N, 5) as (x1, y1, x2, y2, score) -> for each kept box, by descending score, its index and those it suppressed.

    A box is suppressed by the first kept one with which its IoU is at least the threshold.
    """
    check_floats('nms_match', dets=dets)
    check_boxes('nms_match', 5, dets=dets)
    dets = dets.detach().cpu()
    index = dets[:, 4].sort(descending=True)[1]
    corners = lift(dets[:, :4])[index].t().contiguous().numpy()  # (4, N)
    area = (corners[2] - corners[0]) * (corners[3] - corners[1])
    left = index.numpy()
    threshold = corners.dtype.type(iou_threshold)
    groups = []
    with np.errstate(invalid='ignore', divide='ignore', over='ignore'):  # boxes without area: 0 / 0, which is no threshold
        while len(left):
            rest, rest_area = corners[:, 1:], area[1:]
            sides = np.minimum(corners[2:, :1], rest[2:]) - np.maximum(corners[:2, :1], rest[:2])
            np.maximum(sides, 0, out=sides)
            shared = sides[0] * sides[1]
            taken = shared / (area[0] + rest_area - shared) >= threshold
            groups.append([int(left[0]), *left[1:][taken].tolist()])
            corners, area, left = rest, rest_area, left[1:]
            if len(groups[-1]) > 1:
                corners, area, left = corners[:, ~taken], area[~taken], left[~taken]
    return groups

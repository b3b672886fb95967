"""Intersection over union of rotated boxes, and NMS by it: mmcv's box_iou_rotated and nms_rotated.

A rotated box is (x, y, width, height, angle in radians) of its centre. Two of them meet in a convex polygon. Its corners are
among 24 points: where an edge of one crosses an edge of the other, and the corners of either that lie in the other. Sorted by
their angle around their mean they are the polygon; points that are found twice add nothing to its area. So a point that is a
little too far out is taken too: of boxes that are nearly the same, rounding would else lose corners, and with them a third of
the IoU or all of it, as it happens by mmcv's kernels.

Legend: N M boxes, Q pairs of boxes, those whose circumscribed circles meet.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from convnext_dense.errors import InputError
from convnext_dense.mmcv_ext.operands import check_boxes, check_finite, check_floats, check_shape, lift

PAIRS = 1 << 14  # whose polygons are worked on at once
DISTANCES = 1 << 22  # pairs whose circles are compared at once
BLOCK = 256  # boxes of one round of NMS
IOU, IOF = 0, 1
ROUNDING = 16  # of a dtype's epsilon, parts of a box's sides that its corners may be off by
NO_AREA = PARALLEL = 1e-14  # below these mmcv sees no box, and no crossing of two edges


def box_iou_rotated(boxes1: Tensor, boxes2: Tensor, ious: Tensor, mode_flag: int, aligned: bool) -> None:
    """boxes1 (N, 5), boxes2 (M, 5) -> ious (N * M,), or of the pairs in turn (N,) where `aligned`.

    `mode_flag` 0 is the IoU, 1 the intersection over the area of the first box. A box without area has 0 with every other.
    """
    name = 'box_iou_rotated'
    check_floats(name, boxes1=boxes1, boxes2=boxes2, ious=ious)
    check_boxes(name, 5, boxes1=boxes1, boxes2=boxes2)
    if mode_flag not in (IOU, IOF):
        raise InputError(f'{name}: expected mode_flag {IOU} (iou) or {IOF} (iof), got {mode_flag}')
    first, second = lift(boxes1.detach()), lift(boxes2.detach()).to(lift(boxes1).dtype)
    if aligned:
        check_shape(name, 'boxes2', boxes2, len(boxes1), 5)
        check_shape(name, 'ious', ious, len(boxes1))
        for part, some, others in zip(ious.split(PAIRS), first.split(PAIRS), second.split(PAIRS)):
            part.copy_(_ious(some, others, mode_flag))
        return
    check_shape(name, 'ious', ious, len(boxes1) * len(boxes2))
    ious.copy_(_table(first, second, mode_flag).flatten())


def nms_rotated(
    dets: Tensor,
    scores: Tensor,
    order: Tensor,
    dets_sorted: Tensor,
    labels: Tensor,
    iou_threshold: float,
    multi_label: int,
) -> Tensor:
    """dets (N, 5), scores (N,), `order` by descending score (N,) -> the kept indices by descending score.

    As in mmcv, a box goes where its IoU with a kept one is at least the threshold, on a GPU where it is above. Labels, which
    come as a sixth column of dets, do not tell boxes apart (batched_nms moves those of different labels apart).
    """
    name = 'nms_rotated'
    check_floats(name, dets=dets, scores=scores)
    check_shape(name, 'dets', dets, 'N', 6 if multi_label else 5)
    check_shape(name, 'scores', scores, len(dets))
    check_shape(name, 'order', order, len(dets))
    check_finite(name, 'dets', dets)
    check_finite(name, 'scores', scores[:, None])
    boxes = lift(dets.detach())[order, :5]

    def suppressed(some: Tensor, others: Tensor) -> Tensor:
        table = _table(boxes[some], boxes[others], IOU)
        return table > iou_threshold if table.is_cuda else table >= iou_threshold

    left, kept = torch.arange(len(boxes), device=boxes.device), []
    while len(left):
        head, rest = left[:BLOCK], left[BLOCK:]
        some = head[_greedy(suppressed(head, head)).to(head.device)]
        kept.append(some)
        left = rest[~suppressed(some, rest).any(dim=0)]
    return order[torch.cat(kept)] if kept else order[:0]


def _greedy(suppressed: Tensor) -> Tensor:
    """(n, n) whether a box suppresses a later one -> (n,) bool, those that no kept box suppresses."""
    table = suppressed.cpu().numpy()
    stays = np.ones(len(table), dtype=bool)
    for i in range(len(table)):
        if stays[i]:
            stays[i + 1 :] &= ~table[i, i + 1 :]
    return torch.from_numpy(stays)


def _table(boxes1: Tensor, boxes2: Tensor, mode: int) -> Tensor:
    """boxes1 (N, 5), boxes2 (M, 5) -> (N, M); polygons are made only where the boxes' circles meet."""
    table = boxes1.new_zeros(len(boxes1), len(boxes2))
    reach1, reach2 = (boxes[:, 2:4].norm(dim=1) / 2 for boxes in (boxes1, boxes2))
    step = max(1, DISTANCES // max(1, len(boxes2)))
    for start in range(0, len(boxes1), step):
        some = slice(start, start + step)
        apart = boxes1[some, None, :2] - boxes2[:, :2]  # (step, M, 2)
        reach = (reach1[some, None] + reach2) * 1.001  # rounding must not part boxes that touch
        rows, columns = (apart.square().sum(-1) <= reach.square()).nonzero(as_tuple=True)
        for i, j in zip(rows.split(PAIRS), columns.split(PAIRS)):
            table[start + i, j] = _ious(boxes1[start + i], boxes2[j], mode)
    return table


def _ious(first: Tensor, second: Tensor, mode: int) -> Tensor:
    """first, second (Q, 5) -> (Q,)."""
    middle = (first[:, :2] + second[:, :2]) / 2  # as the origin, for precision
    area1, area2 = first[:, 2] * first[:, 3], second[:, 2] * second[:, 3]
    shared = _intersection(_corners(first, middle), _corners(second, middle))
    shared = torch.where((area1 < NO_AREA) | (area2 < NO_AREA), 0, shared)
    base = area1 + area2 - shared if mode == IOU else area1
    return torch.where(shared > 0, shared / base, 0)


def _corners(boxes: Tensor, origin: Tensor) -> Tensor:
    """boxes (Q, 5) -> their corners in turn (Q, 4, 2), from an origin (Q, 2)."""
    angle = boxes[:, 4].double()
    cos, sin = (part.to(boxes.dtype) / 2 for part in (angle.cos(), angle.sin()))
    width, height = boxes[:, 2], boxes[:, 3]
    centre = boxes[:, :2] - origin
    x, y = centre.unbind(1)
    corner1 = torch.stack([x - sin * height - cos * width, y + cos * height - sin * width], dim=1)
    corner2 = torch.stack([x + sin * height - cos * width, y - cos * height - sin * width], dim=1)
    return torch.stack([corner1, corner2, 2 * centre - corner1, 2 * centre - corner2], dim=1)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - b[..., 0] * a[..., 1]


def _intersection(corners1: Tensor, corners2: Tensor) -> Tensor:
    """The area (Q,) that rectangles with these corners (Q, 4, 2) share."""
    edges1, edges2 = (corners.roll(-1, dims=1) - corners for corners in (corners1, corners2))
    crossings, crosses = _crossings(corners1[:, :, None], edges1[:, :, None], corners2[:, None], edges2[:, None])
    points = torch.cat([crossings.flatten(1, 2), corners1, corners2], dim=1)  # (Q, 24, 2)
    found = torch.cat([crosses.flatten(1, 2), _inside(corners1, corners2, edges2), _inside(corners2, corners1, edges1)], dim=1)
    number = found.sum(dim=1)
    points = torch.where(found[..., None], points, 0)
    points = points - (points.sum(dim=1) / number.clamp(min=1)[:, None])[:, None]
    angle = torch.where(found, torch.atan2(points[..., 1], points[..., 0]), torch.inf)
    order = angle.argsort(dim=1)  # those that are no corners come last
    points = points.gather(1, order[..., None].expand(-1, -1, 2))
    points = torch.where(found.gather(1, order)[..., None], points, points[:, :1])
    area = _cross(points, points.roll(-1, dims=1)).sum(dim=1).abs() / 2
    return torch.where(number > 2, area, 0)


def _crossings(start1: Tensor, edge1: Tensor, start2: Tensor, edge2: Tensor) -> tuple[Tensor, Tensor]:
    """Where edges (..., 2) from their starts cross (..., 2), and whether they do (...)."""
    det = _cross(edge2, edge1)
    parallel = det.abs() <= PARALLEL
    det = torch.where(parallel, 1, det)
    between = start2 - start1
    along1, along2 = _cross(edge2, between) / det, _cross(edge1, between) / det
    off = _rounding(start1)
    crosses = (along1 >= -off) & (along1 <= 1 + off) & (along2 >= -off) & (along2 <= 1 + off) & ~parallel
    return start1 + edge1 * along1[..., None], crosses


def _inside(points: Tensor, corners: Tensor, edges: Tensor) -> Tensor:
    """Which of the points (Q, n, 2) are within rectangles with these corners and edges (Q, 4, 2), borders included (Q, n)."""
    from_corner = points - corners[:, :1]
    side1, side2 = edges[:, :1], -edges[:, 3:]
    at1, at2 = (from_corner * side1).sum(-1), (from_corner * side2).sum(-1)
    length1, length2 = side1.norm(dim=-1), side2.norm(dim=-1)
    off = _rounding(points) * (length1 + length2)
    within1 = (at1 >= -off * length1) & (at1 <= (length1 + off) * length1)
    within2 = (at2 >= -off * length2) & (at2 <= (length2 + off) * length2)
    return within1 & within2


def _rounding(points: Tensor) -> float:
    return ROUNDING * torch.finfo(points.dtype).eps

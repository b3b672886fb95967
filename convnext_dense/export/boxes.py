"""The box arithmetic of two-stage detectors without Python that depends on values; the numbers are mmdet's.

Legend: K boxes, R RoIs, C channels, L pyramid levels. Boxes are (x1, y1, x2, y2) in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torchvision
from torch import Tensor

LONGEST_STEP = abs(math.log(16 / 1000))  # of log width and height: mmdet's wh_ratio_clip
ABSENT = -1.0  # the score of a place that no box fills: below any probability


class Boxes(NamedTuple):
    """A fixed number of boxes by descending score; the places that no box fills come last: ABSENT, all zeros, label 0."""

    boxes: Tensor  # (K, 4)
    scores: Tensor  # (K,)
    labels: Tensor  # (K,)

    @property
    def present(self) -> Tensor:
        """(K,) bool"""
        return self.scores > ABSENT


def anchors(generator: Any, level: int, index: Tensor, width: Any) -> Tensor:
    """Those of mmdet's AnchorGenerator at places index (K,) of a map (H, W, A) flattened -> (K, 4); `width` may be a symbol.

    Its own `sparse_priors` takes a remainder by the width, which the ONNX exporter refuses for symbols.
    """
    base = generator.base_anchors[level].to(index.device)  # (A, 4)
    cell = index // len(base)
    columns = torch.full_like(index, width)
    row = cell.div(columns, rounding_mode='floor')
    x, y = ((at * stride).to(base) for at, stride in zip((cell - row * columns, row), generator.strides[level]))
    return torch.stack([x, y, x, y], dim=1) + base[index % len(base)]


def decode(priors: Tensor, deltas: Tensor, coder: Any, size: Sequence[Any]) -> Tensor:
    """mmdet's DeltaXYWHBBoxCoder.decode, which refuses to be exported: priors (..., 4), deltas (..., 4) -> boxes (..., 4).

    `size` is the picture's (height, width), to which boxes are clipped; the two may be symbols.
    """
    deltas = deltas * deltas.new_tensor(coder.stds) + deltas.new_tensor(coder.means)
    centre = (priors[..., :2] + priors[..., 2:]) * 0.5
    sides = priors[..., 2:] - priors[..., :2]
    centre = centre + sides * deltas[..., :2]
    half = sides * deltas[..., 2:].clamp(-LONGEST_STEP, LONGEST_STEP).exp() * 0.5
    boxes = torch.cat([centre - half, centre + half], dim=-1)
    if not coder.clip_border:
        return boxes
    height, width = size
    x, y = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
    return torch.stack([x, y], dim=-1).flatten(-2)


def class_wise_nms(boxes: Tensor, scores: Tensor, labels: Tensor, valid: Tensor, iou_threshold: float, count: int) -> Boxes:
    """The `count` best boxes that mmcv's batched_nms keeps of the valid ones: boxes (K, 4), the others (K,).

    Boxes of different labels are shifted apart by the same offsets as in mmcv, so that the overlaps are rounded alike.
    """
    index = valid.nonzero()[:, 0]
    # Suppression keeps every box without area: behind `count` of these, at least `count` are kept, whatever the picture.
    boxes = torch.cat([boxes[index], boxes.new_zeros(count, 4)])
    scores = torch.cat([scores[index], scores.new_full((count,), ABSENT)])
    labels = torch.cat([labels[index], labels.new_zeros(count)])
    offsets = labels.to(boxes) * (boxes.max() + 1)
    keep = torchvision.ops.nms(boxes + offsets[:, None], scores, iou_threshold)
    if not torch.jit.is_tracing():  # the tracer needs no promise: it does not reason about sizes
        torch._check(keep.shape[0] >= count)
    keep = keep.narrow(0, 0, count)
    return Boxes(boxes[keep], scores[keep], labels[keep])


def best_places(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` highest of scores (K,), and their places; where K is less, ABSENT at place 0 fills them up."""
    scores, index = torch.cat([scores, scores.new_full((count,), ABSENT)]).sort(descending=True)
    scores, index = scores.narrow(0, 0, count), index.narrow(0, 0, count)  # mmdet sorts, and equal scores keep their order
    return scores, torch.where(scores > ABSENT, index, 0)


def roi_levels(rois: Tensor, finest_scale: float, levels: int) -> Tensor:
    """mmdet's SingleRoIExtractor.map_roi_levels: rois (R, 5) -> (R,).

    Comparisons in place of a logarithm, which runtimes round differently where a RoI is exactly a power of two.
    """
    scale = ((rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2])).sqrt() / finest_scale + 1e-6
    return torch.stack([scale >= 2**level for level in range(1, levels)]).sum(dim=0)


def roi_features(extractor: Any, maps: Sequence[Tensor], rois: Tensor) -> Tensor:
    """mmdet's SingleRoIExtractor: maps L x (B, C, H, W), rois (R, 5) as (image, x1, y1, x2, y2) -> (R, C, h, w).

    Each level is asked for all RoIs, but a RoI of another level has no area there, and so no samples: what it costs are the
    L - 1 more results to write and to select from.
    """
    layers = extractor.roi_layers
    level = roi_levels(rois, extractor.finest_scale, len(layers)) if len(layers) > 1 else torch.zeros_like(rois[:, 0])
    features: Tensor | None = None
    for i, (layer, x) in enumerate(zip(layers, maps)):
        here = level == i
        part = torchvision.ops.roi_align(
            x, rois * here[:, None], layer.output_size, layer.spatial_scale, layer.sampling_ratio, layer.aligned
        )
        features = part if features is None else torch.where(here[:, None, None, None], part, features)
    assert features is not None
    return features

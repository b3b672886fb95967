"""Counting parameters and multiply-adds, and reading the published figures of a config's docstring."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.analysis import FlopAnalyzer
from mmengine.config import Config
from torch import Tensor, nn

from convnext_dense.recipes import docstring
from convnext_dense.run.preflight import build_on_meta
from convnext_dense.run.settle import settle_norms

# The one form in which a config's docstring states them.
FIGURES = re.compile(r'(?:(\d+)M parameters,\s+)?\b(\d+)G\s+multiply-adds at (\d+)x(\d+)')


@dataclass(frozen=True)
class Figures:
    """Published parameters in millions (V2's detectors: none) and multiply-adds in billions, at height x width pixels."""

    params: int | None
    macs: int
    height: int
    width: int


def published_figures(path: Path) -> Figures | None:
    """The figures in a config's docstring; None if it states none."""
    found = FIGURES.search(docstring(path))
    if found is None:
        return None
    params, *rest = found.groups()
    return Figures(int(params) if params else None, *map(int, rest))


def usual_shape(cfg: Config) -> tuple[int, int]:
    """Height and width at which figures are published: of detectors, and of segmentors that train at 512 pixels."""
    return (1280, 800) if 'roi_head' in cfg.model else (512, 2048)


BOX_PROPOSALS, MASK_PROPOSALS = 1000, 100  # of an image, in the published figures of two-stage detectors


class TwoStage(nn.Module):
    """A two-stage detector's forward pass as its published multiply-adds count it (MMDetection 2's `forward_dummy`).

    Backbone, neck and RPN on the image, then 1,000 proposals through every box head and 100 through every mask head: the three
    mask heads of a cascade all count. Proposals are random boxes, so that neither RPN scores nor NMS change their number.
    """

    def __init__(self, detector: Any) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = self.detector.extract_feat(images)
        outputs = [*self.detector.rpn_head(maps)[0]]
        roi_head = self.detector.roi_head
        height, width = images.shape[-2:]
        corners = torch.rand(BOX_PROPOSALS, 2, 2, generator=torch.Generator().manual_seed(0)).sort(dim=1).values
        rois = torch.cat([torch.zeros(BOX_PROPOSALS, 1), (corners * torch.tensor([width, height])).flatten(1)], dim=1)
        stages = range(roi_head.num_stages) if hasattr(roi_head, 'num_stages') else [None]
        for stage in stages:
            at = () if stage is None else (stage,)
            outputs.append(roi_head._bbox_forward(*at, maps, rois)['cls_score'])
            if roi_head.with_mask:
                outputs.append(roi_head._mask_forward(*at, maps, rois[:MASK_PROPOSALS])['mask_preds'])
        return outputs


def count(cfg: Config, height: int, width: int) -> tuple[int, int]:
    """Parameters and multiply-adds of a model's forward pass on one image, with weights of zero.

    A segmentor's auxiliary head is in the parameters and, as in the published figures, not in the multiply-adds: it does not
    run at inference. For detectors with RoI heads see `TwoStage`.
    """
    settle_norms(cfg, processes=1)
    return count_of(build_on_meta(cfg).to_empty(device='cpu'), height, width)


def count_of(model: nn.Module, height: int, width: int) -> tuple[int, int]:
    """As `count`, of a model that is built, and whose weights become zero."""
    model.eval()
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data.zero_()
    counted = TwoStage(model) if getattr(model, 'roi_head', None) is not None else model
    analysis = FlopAnalyzer(counted, torch.zeros(1, 3, height, width))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings('none')
    return sum(param.numel() for param in model.parameters()), int(analysis.total())

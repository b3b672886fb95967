"""A trained model as a graph to be written: the module, what goes in and what comes out."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from torch import Tensor, nn

from convnext_dense.errors import InputError
from convnext_dense.expect import brief
from convnext_dense.export.detector_graph import DetectorGraph
from convnext_dense.export.names import MASKS
from convnext_dense.export.options import Size
from convnext_dense.export.picture_input import LEAST, MOST, pipeline_resize
from convnext_dense.export.segmentor_graph import FusedUPerHead, SegmentorGraph
from convnext_dense.predict.model import Model

TRACED = (96, 160)  # any will do, but for sides that are equal or of one place in the last map
SEGMENTOR = dict(classes='(B, H, W) of class indices', logits='(B, classes, h, w), before they are upsampled')
DETECTOR = dict(
    boxes='(1, N, 4) of x1, y1, x2, y2 in pixels',
    scores='(1, N), falling; 0 where there is no object',
    labels='(1, N) of class indices; -1 where there is no object',
)
MASK = dict(
    crop='(1, N, h, w) of probabilities, to be pasted into the boxes',
    full='(1, N, H, W) of 0 and 1',
)


@dataclass(frozen=True, eq=False)
class Graph:
    """A module of one input, and what is to be known of it."""

    module: nn.Module
    outputs: Mapping[str, str]  # what each is
    size: Size
    raw: bool  # (B, 3, h, w) in place of bytes (B, H, W, 3)
    batch: bool  # of any number of pictures; else one
    masks: str | None
    resize: Mapping[str, Any] | None

    def example(self) -> Tensor:
        """An input."""
        height, width = self.size or TRACED
        count = 2 if self.batch and self.size is None else 1
        return torch.zeros(count, 3, height, width) if self.raw else torch.zeros(count, height, width, 3, dtype=torch.uint8)

    def in_integers(self) -> Graph:
        """The graph that a file of eight bits is made from; itself, where it has no transforms that these do not hold."""
        head = getattr(self.module, 'head', None)
        if not isinstance(head, FusedUPerHead) or not head.levels:
            return self
        module = copy.copy(self.module)  # the layers are shared
        module._modules = module._modules | dict(head=FusedUPerHead(head.inner, filtered=False))
        return replace(self, module=module.eval())

    def dynamic(self) -> tuple[dict[int, Any]] | None:
        """torch.export's dynamic shapes."""
        if self.size is not None:
            return None
        dim, at = torch.export.Dim, 2 if self.raw else 1
        # One more than the least: a side of exactly LEAST would make the detectors' last map a case of its own.
        sides = {at + i: dim(name, min=LEAST + (not self.batch), max=MOST) for i, name in enumerate(('height', 'width'))}
        return ({0: dim('batch')} | sides if self.batch else sides,)


def graph_of(model: Model, size: Size, raw: bool, masks: str) -> Graph:
    """The graph of a segmentor or a two-stage detector.

    Args:
        model: trained; it is left as it is.
        size: (H, W) of all pictures, or None.
        raw: resizing and normalising are the caller's.
        masks: of `names.MASKS`.

    Raises:
        InputError: for a model, preprocessor or pipeline that is not supported, and `masks` of a model that has none.
    """
    if masks != MASKS[0] and not getattr(getattr(model.model, 'roi_head', None), 'with_mask', False):
        raise InputError(f'--masks {masks}: expected a detector with masks, got {type(model.model).__name__}; leave it out')
    pipeline = model.cfg.test_dataloader.dataset.get('pipeline')
    resize: dict[str, Any] | None
    try:
        resize = pipeline_resize(pipeline)
    except InputError:
        if not raw:
            raise
        resize = dict(steps=brief(pipeline))  # for the caller to read
    inside = None if raw else resize
    if isinstance(model.model, BaseDetector):
        detector = DetectorGraph(model.model, inside, raw, full=masks == 'full')
        with_mask = detector.model.roi_head.with_mask
        outputs = DETECTOR | (dict(masks=MASK[masks]) if with_mask else {})
        return Graph(detector, outputs, size, raw, False, masks if with_mask else None, resize)
    return Graph(SegmentorGraph(model.model, True, inside, raw).eval(), SEGMENTOR, size, raw, True, None, resize)

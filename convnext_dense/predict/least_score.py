"""Detections that are not wanted are left out before their masks are computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from torch import nn

HEADS = (StandardRoIHead, CascadeRoIHead)  # not their subclasses: a mask of theirs may change a score


@contextmanager
def least_score(model: nn.Module, score: float) -> Iterator[None]:
    """Inside, a two-stage detector gives objects of `score` and more alone, the same as without.

    Non-maximum suppression goes from the highest score down, so that what is left out could not have changed the others.
    """
    head = getattr(model, 'roi_head', None)
    cfg = getattr(head, 'test_cfg', None)
    least = float(np.nextafter(np.float32(score), np.float32(-1)))  # it asks for more than its threshold
    if type(head) not in HEADS or cfg is None or cfg.get('score_thr', 1) >= least:
        yield
        return
    before = cfg.score_thr
    cfg.score_thr = least
    try:
        yield
    finally:
        cfg.score_thr = before

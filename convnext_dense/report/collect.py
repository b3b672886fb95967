"""Keeps what a test run predicts: maps of classes with the confidences' histogram, or a detector's pictures by their order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from numpy.typing import NDArray

from convnext_dense.data.layouts.found import IGNORE
from convnext_dense.errors import InputError
from convnext_dense.report.evaluated import BINS, write_maps


@HOOKS.register_module()
class CollectHook(Hook):
    """Writes each test picture's truth and prediction below `folder`, and adds up how often a confidence was right.

    Of a detector it keeps the pictures' files and ids; its detections are written by the metric.

    Args:
        folder: of the maps.
        classes: how many the model knows.
        ignore: the truth's index of pixels without a class, as the metric has it; in the maps it is the highest there is.
        detector: whether the metric writes detections.
    """

    def __init__(self, folder: str, classes: int, ignore: int = IGNORE, detector: bool = False) -> None:
        self.folder = Path(folder)
        self.ignore, self.detector = ignore, detector
        self.kind = np.dtype(np.uint8 if classes <= np.iinfo(np.uint8).max else np.uint16)
        self.pictures: list[str] = []
        self.annotations: set[str] = set()
        self.ids: list[int] = []
        self.bins = np.zeros((BINS, 3))
        self.confident = True  # whether all samples say how sure the model was
        self.not_finite = 0  # pixels whose confidence is no number

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence | None = None) -> None:
        """Keep the samples of this batch."""
        for sample in outputs or ():
            if 'pred_sem_seg' in sample:
                self._keep_maps(sample)
            elif 'pred_instances' in sample:
                if not self.detector:
                    raise InputError(
                        'report: expected CocoStatsMetric or CocoMetric in test_evaluator of a detector, got another metric'
                    )
                self.ids.append(int(sample.img_id))
            else:
                raise InputError(f'report: expected classes of pixels or objects from the model, got {sample.keys()}')
            self.pictures.append(os.path.abspath(sample.img_path))

    def _keep_maps(self, sample: Any) -> None:
        if 'gt_sem_seg' not in sample:
            raise InputError('report: expected annotations in the test pipeline, got none; add LoadAnnotations to it')
        truth = sample.gt_sem_seg.data.squeeze(0).cpu().numpy()
        predicted = sample.pred_sem_seg.data.squeeze(0).cpu().numpy()
        if truth.shape != predicted.shape:
            raise InputError(
                f'report: expected the annotation of the size of the picture, got {truth.shape} for {predicted.shape} '
                f'in {sample.img_path}; load annotations after the pictures are resized, as the recipes do'
            )
        known = truth != self.ignore
        kept = np.where(known, truth, np.iinfo(self.kind).max).astype(self.kind)
        write_maps(self.folder, len(self.pictures), kept, predicted.astype(self.kind))
        if sample.get('seg_map_path'):
            self.annotations.add(os.path.abspath(sample.seg_map_path))
        confidence = _confidence(sample)
        if confidence is None:
            self.confident = False
            return
        finite = np.isfinite(confidence)
        self.not_finite += int((known & ~finite).sum())
        known &= finite
        add_to(self.bins, confidence[known], (truth == predicted)[known])


def _confidence(sample: Any) -> NDArray[np.float32] | None:
    """(H, W): the probability of the class that was chosen; None where the model does not say."""
    if 'confidence' in sample:
        return sample.confidence.data[0].float().cpu().numpy()
    if 'seg_logits' not in sample:
        return None
    logits = sample.seg_logits.data.float()
    if logits.shape[0] == 1:  # two classes: MMSegmentation's segmentors leave the second one's probability here
        second = sample.pred_sem_seg.data[0].bool()
        return torch.where(second, logits[0], 1 - logits[0]).cpu().numpy()
    return (logits.amax(0) - logits.logsumexp(0)).exp().cpu().numpy()


def add_to(bins: NDArray[np.float64], confidence: NDArray, right: NDArray) -> None:
    """Add pixels to the histogram (BINS, 3) of counts, right ones, and sums of confidences, in bins of equal width."""
    which = np.minimum((confidence * len(bins)).astype(np.int64), len(bins) - 1)
    bins[:, 0] += np.bincount(which, minlength=len(bins))
    bins[:, 1] += np.bincount(which, right, len(bins))
    bins[:, 2] += np.bincount(which, confidence, len(bins))

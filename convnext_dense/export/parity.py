"""Whether a file gives what the PyTorch model gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from numpy.typing import NDArray

LOGITS, PIXELS = 1e-4, 0.9999  # largest difference relative to the largest logit; least share of equal pixels
BOXES, SCORES, MASKS = 0.01, 1e-3, 1e-3  # largest differences in pixels, of scores; largest share of unequal pixels of masks

SEGMENTS = dict(logits=LOGITS, pixels=PIXELS)  # of a segmentor, as in its rows
OBJECTS = dict(boxes=BOXES, scores=SCORES, masks=MASKS, unmatched=0)  # of a detector

Arrays = Sequence[NDArray[Any]]


@dataclass(frozen=True)
class Parity:
    """A picture by a file beside the same by PyTorch."""

    picture: str
    height: int
    width: int

    @property
    def within(self) -> bool:
        """Whether the two differ by rounding alone."""
        raise NotImplementedError

    def row(self) -> dict[str, Any]:
        return asdict(self) | dict(within=self.within)


@dataclass(frozen=True)
class Refused(Parity):
    """A picture that the file does not take."""

    reason: str

    @property
    def within(self) -> bool:
        return False

    def __str__(self) -> str:
        return f'the file does not take it ({self.reason})'


@dataclass(frozen=True)
class SegmentorParity(Parity):
    logits: float  # largest difference, relative to the largest logit
    pixels: float  # share of equal classes

    @property
    def within(self) -> bool:
        return self.logits <= LOGITS and self.pixels >= PIXELS

    def __str__(self) -> str:
        return f'logits differ by {self.logits:.1e} of the largest, {self.pixels:.4%} of the pixels are equal'


@dataclass(frozen=True)
class DetectorParity(Parity):
    objects: int  # by PyTorch
    unmatched: int  # of either, without one of the same class in the same place
    boxes: float  # largest difference in pixels, of matched ones
    scores: float  # largest difference
    masks: float | None  # pixels that differ, relative to those of the masks

    @property
    def within(self) -> bool:
        near = self.boxes < BOXES and self.scores < SCORES
        return self.unmatched == 0 and near and (self.masks is None or self.masks <= MASKS)

    def __str__(self) -> str:
        masks = '' if self.masks is None else f', masks by {self.masks:.4%} of their pixels'
        alone = f', {self.unmatched} of either have no counterpart' if self.unmatched else ''
        return f'{self.objects} objects: boxes differ by {self.boxes:.1e} pixels, scores by {self.scores:.1e}{masks}{alone}'


def compare_segments(name: str, size: tuple[int, int], ours: Arrays, theirs: Arrays) -> SegmentorParity:
    """Classes and logits by a file beside PyTorch's."""
    (got, values), (classes, logits) = ours, theirs
    difference = np.abs(logits - values).max() if logits.shape == values.shape else np.inf
    equal = (classes == got).mean() if classes.shape == got.shape else 0.0
    scale = max(float(np.abs(logits).max()), 1e-6)
    share = float(difference) / scale if np.isfinite(difference) else float('inf')
    return SegmentorParity(name, *size, share, float(equal))


class Limits(NamedTuple):
    """Of a detector: objects are those above `score`, at most `most`; masks are cut at `mask`."""

    score: float
    most: int
    mask: float


def compare_objects(name: str, size: tuple[int, int], ours: Arrays, theirs: Arrays, limits: Limits) -> DetectorParity:
    """Boxes (1, N, 4), scores, labels and masks (cropped or whole) by a file beside PyTorch's (K, 4) and so on.

    Each object is matched with one of the same class, the nearest first, so that equal scores may be in any order. What is
    without one counts, but where rounding decides whether it is in the list: within SCORES of the least score that is asked
    for, or of the last one in a list that is full.
    """
    boxes, scores, labels, *masks = (np.asarray(part)[0] for part in ours)
    found = labels >= 0
    boxes, scores, labels = boxes[found], scores[found], labels[found]
    pairs = matched(boxes, labels, theirs[0], theirs[2])
    mine, other = (np.array([pair[i] for pair in pairs], int) for i in (0, 1))
    alone = np.concatenate([np.delete(scores, mine), np.delete(theirs[1], other)])
    ends = [limits.score, *(float(part.min()) for part in (scores, theirs[1]) if len(part) == limits.most)]
    unmatched = int(sum(all(abs(score - end) >= SCORES for end in ends) for score in alone))
    share = None
    if masks and len(theirs) > 3:
        share = different(masks[0][found][mine], boxes[mine], theirs[3][other], size, limits.mask)
    apart, scored = largest(boxes[mine] - theirs[0][other]), largest(scores[mine] - theirs[1][other])
    return DetectorParity(name, *size, len(theirs[1]), unmatched, apart, scored, share)


def matched(boxes: NDArray, labels: NDArray, others: NDArray, other_labels: NDArray) -> list[tuple[int, int]]:
    """Pairs of indices of boxes (N, 4) and others (M, 4): of one class, within a pixel, the nearest first, each once."""
    if not len(boxes) or not len(others):
        return []
    apart = np.abs(boxes[:, None] - others[None]).max(-1)
    apart[labels[:, None] != other_labels[None]] = np.inf
    pairs, taken, left = [], set(), set(range(len(boxes)))
    for place in np.argsort(apart, axis=None, kind='stable'):
        i, k = divmod(int(place), len(others))
        if not apart[i, k] < 1:
            break
        if i in left and k not in taken:
            pairs.append((i, k))
            left.discard(i)
            taken.add(k)
    return pairs


def largest(values: NDArray) -> float:
    return float(np.abs(values).max()) if values.size else 0.0


def different(masks: NDArray, boxes: NDArray, others: NDArray, size: tuple[int, int], threshold: float) -> float:
    """Pixels that differ, relative to those of either: masks (K, h, w) in boxes, or (K, H, W) of bytes; others (K, H, W)."""
    wrong = total = 0
    for mask, box, other in zip(masks, boxes, others):
        if mask.dtype != np.uint8:
            whole, _ = _do_paste_mask(torch.from_numpy(mask)[None, None], torch.from_numpy(box)[None], *size, skip_empty=False)
            mask = whole[0].numpy() >= threshold
        if mask.shape != other.shape:
            return 1.0
        wrong, total = wrong + int((mask.astype(bool) != other).sum()), total + int((mask.astype(bool) | other).sum())
    return wrong / max(total, 1)

"""What a model saw in a picture, from mmengine's data samples: the prediction, and the truth where the pipeline loads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convnext_dense.predict.draw import drawn, palette_of
from convnext_dense.predict.predictor import SCORE
from convnext_dense.predict.result import Result, index_type

Palette = tuple[tuple[int, int, int], ...]


class Names(NamedTuple):
    """Classes and their colours."""

    classes: tuple[str, ...]
    palette: Palette


def names_of(meta: Mapping[str, Any]) -> Names:
    """Of a data set's `metainfo`; colours are made where it has none."""
    classes = tuple(meta.get('classes') or ())
    return Names(classes, palette_of(meta.get('palette'), len(classes)))


def _result(path: str, rgb: NDArray[np.uint8], names: Names, **arrays: Any) -> NDArray[np.uint8]:
    name = Path(path).name
    return drawn(Result(name, path, name, rgb[..., ::-1], names.classes, names.palette, **arrays))


def _of_mask(path: str, rgb: NDArray[np.uint8], mask: NDArray[Any], names: Names) -> NDArray[np.uint8]:
    """Classes (H, W) over a picture of their size."""
    return _result(path, rgb, names, mask=mask)


def predicted(sample: Any, rgb: NDArray[np.uint8], names: Names) -> NDArray[np.uint8]:
    """A data sample's prediction over its picture (H, W, 3): classes, or objects of at least the usual score."""
    if 'pred_sem_seg' in sample:
        mask = sample.pred_sem_seg.data[0].cpu().numpy().astype(index_type(len(names.classes)))
        return _of_mask(sample.img_path, rgb, mask, names)
    found = sample.pred_instances
    scores = found.scores.float().cpu().numpy()
    keep = scores >= SCORE
    arrays = dict(boxes=found.bboxes.float().cpu().numpy()[keep], scores=scores[keep], labels=found.labels.cpu().numpy()[keep])
    masks = found.get('masks', None)
    if masks is not None:
        masks = masks[keep] if isinstance(masks, np.ndarray) else masks.cpu().numpy()[keep]
    return _result(sample.img_path, rgb, names, mask_data=masks, **arrays)


def annotated(sample: Any, rgb: NDArray[np.uint8], names: Names) -> NDArray[np.uint8] | None:
    """What is annotated, over the picture (H, W, 3): classes, or boxes; None where the pipeline loaded nothing."""
    if 'gt_sem_seg' in sample:
        mask = sample.gt_sem_seg.data.squeeze(0).cpu().numpy()
        if mask.shape != rgb.shape[:2]:
            return None  # of another size than the picture: resized with it
        return _of_mask(sample.img_path, rgb, mask.astype(index_type(len(names.classes))), names)
    truth = sample.get('gt_instances', None)
    if truth is None or 'bboxes' not in truth:
        return None
    boxes = getattr(truth.bboxes, 'tensor', truth.bboxes).float().cpu().numpy()
    factors = np.tile(np.asarray(sample.metainfo.get('scale_factor', (1.0, 1.0)), np.float32)[:2], 2)
    labels = truth.labels.cpu().numpy()
    return _result(sample.img_path, rgb, names, boxes=boxes / factors, scores=np.ones(len(labels), np.float32), labels=labels)

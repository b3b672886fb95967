"""A picture on its way to an exported file, and the file's answer on its way back to the picture; with numpy and OpenCV alone.

Where a file takes pictures as they are, there is little to do. One that was exported raw is given what MMDetection's and
MMSegmentation's test pipelines and preprocessors make of a picture, and its answer is brought back as theirs is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from convnext_dense.errors import InputError
from convnext_dense.predict.exported_about import About, Resize
from convnext_dense.predict.patch import Patch, patch_of

VALUES = 2**24  # logits that are brought to a picture's size at a time
Size = tuple[int, int]  # height, width


class Found(NamedTuple):
    """A detector's answer: N objects, boxes (N, 4) in pixels of the picture; no patches where the model makes no masks."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    patches: list[Patch] | None


def given_to(about: About, bgr: NDArray[np.uint8]) -> NDArray[Any]:
    """A picture (H, W, 3) as the file takes it, without the batch's dimension.

    Raises:
        InputError: where the file takes pictures of another size, or larger ones.
    """
    image: NDArray[Any] = resized(bgr, about.resize) if about.raw else bgr
    if about.size is not None and image.shape[:2] != about.size:
        (height, width), (h, w) = about.size, image.shape[:2]
        after = 'after resizing ' if about.raw and about.resize is not None else ''
        raise InputError(
            f'is {h}x{w} {after}(height x width) where the model takes {height}x{width} alone; resize it, or export with '
            '--size dynamic'
        )
    if min(image.shape[:2]) < about.least:  # OpenVINO that stopped at one may refuse others
        height, width = image.shape[:2]
        raise InputError(
            f'has {width}x{height} pixels: expected height and width of at least {about.least}, the last stride; '
            'resize or pad the image'
        )
    image = image[..., ::-1] if about.rgb else image
    if about.raw:
        image = (image.astype(np.float32) - np.array(about.mean, np.float32)) / np.array(about.std, np.float32)
    return np.ascontiguousarray(image.transpose(2, 0, 1) if about.channels_first else image)


def resized(image: NDArray[np.uint8], to: Resize | None) -> NDArray[np.uint8]:
    """As mmcv's Resize: bilinear, and with `keep_ratio` sides rounded to the nearest pixel."""
    if to is None:
        return image
    height, width = image.shape[:2]
    size = (int(to.scale[0]), int(to.scale[1]))
    if to.keep_ratio:
        factor = min(max(to.scale) / max(height, width), min(to.scale) / min(height, width))
        size = int(width * factor + 0.5), int(height * factor + 0.5)
    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)


def class_map(about: About, outputs: Mapping[str, NDArray[Any]], index: int, given: Size, size: Size) -> NDArray[Any]:
    """Of a segmentor's outputs for a batch: class indices (H, W) of picture `index`, which was given at size `given`."""
    if given == size:
        return outputs['classes'][index]
    return classes_of(outputs['logits'][index], given, size, about.align_corners, about.threshold)


def classes_of(logits: NDArray[np.float32], between: Size, size: Size, align_corners: bool, threshold: float) -> NDArray[Any]:
    """Class indices (H, W) of logits (K, h, w), enlarged to the input's size and then to the picture's, as MMSegmentation does.

    Two bilinear steps are one matrix for each axis; some rows of the picture are computed at a time.
    """
    down, across = (
        enlarging(middle, end, align_corners) @ enlarging(start, middle, align_corners)
        for start, middle, end in zip(logits.shape[1:], between, size)
    )
    rows = max(VALUES // (len(logits) * size[1]), 1)
    parts = []
    for top in range(0, size[0], rows):
        part = (down[top : top + rows] @ logits) @ across.T  # (K, rows, W)
        parts.append(1 / (1 + np.exp(-part[0])) > threshold if len(part) == 1 else part.argmax(0))
    return np.concatenate(parts)


def enlarging(start: int, end: int, align_corners: bool) -> NDArray[np.float32]:
    """The matrix (end, start) of PyTorch's bilinear interpolation along an axis."""
    at = np.arange(end, dtype=np.float32)
    if align_corners:
        at *= np.float32((start - 1) / (end - 1) if end > 1 else 0)
    else:
        at = np.maximum((at + np.float32(0.5)) * np.float32(start / end) - np.float32(0.5), 0)
    first = np.minimum(at.astype(int), start - 1)
    second = np.minimum(first + 1, start - 1)
    share = (at - first).astype(np.float32)
    matrix = np.zeros((end, start), np.float32)
    np.add.at(matrix, (np.arange(end), first), 1 - share)
    np.add.at(matrix, (np.arange(end), second), share)
    return matrix


def objects(
    about: About,
    outputs: Mapping[str, NDArray[Any]],
    given: Size,
    size: Size,
    wanted: Callable[[NDArray, NDArray], NDArray[np.bool_]] | None = None,
) -> Found:
    """Of a detector's outputs for one picture, which was given at size `given`: all objects, or those that are `wanted`.

    It is asked by their scores and labels.
    """
    scores, labels = outputs['scores'][0], outputs['labels'][0].astype(np.int64)
    keep = labels >= 0
    if wanted is not None:
        keep &= wanted(scores, labels)
    boxes = outputs['boxes'][0][keep]
    if given != size:
        boxes = boxes / np.array([given[1] / size[1], given[0] / size[0]] * 2, np.float32)
    patches = None
    if about.masks is not None:
        masks = outputs['masks'][0][keep]
        if about.masks == 'crop':
            patches = [pasted(mask, box, size, about.mask_threshold) for mask, box in zip(masks, boxes)]
        else:
            patches = [patch_of(_at_size(mask, size)) for mask in masks]
    return Found(boxes.astype(np.float32), scores[keep].astype(np.float32), labels[keep], patches)


def pasted(mask: NDArray[np.float32], box: NDArray[np.float32], size: Size, threshold: float) -> Patch:
    """Probabilities (h, w) in a box of a picture (H, W) as a mask, of which only the box and the pixels beside it are made.

    As mmdet's `_do_paste_mask`: bilinear between centres of the mask's pixels, at those of the picture's, zero outside.
    """
    x0, y0, x1, y1 = box.astype(np.float32)
    left, top = max(int(np.floor(x0)) - 1, 0), max(int(np.floor(y0)) - 1, 0)
    right, bottom = min(int(np.ceil(x1)) + 1, size[1]), min(int(np.ceil(y1)) + 1, size[0])
    down = _samples(top, bottom, y0, y1, mask.shape[0])
    across = _samples(left, right, x0, x1, mask.shape[1])
    return Patch(top, left, down @ mask.astype(np.float32) @ across.T >= threshold)


def _samples(start: int, stop: int, begin: np.float32, end: np.float32, length: int) -> NDArray[np.float32]:
    """(stop - start, length): how much each place of a mask counts at each pixel of an axis."""
    pixels = np.arange(start, max(stop, start), dtype=np.float32) + np.float32(0.5)
    with np.errstate(divide='ignore', invalid='ignore'):
        across = (pixels - begin) / (end - begin) * 2 - 1
    across[~np.isfinite(across)] = 0  # of a box without area
    at = ((across + 1) * length - 1) / 2
    return np.maximum(1 - np.abs(at[:, None] - np.arange(length, dtype=np.float32)), 0).astype(np.float32)


def _at_size(mask: NDArray[np.uint8], size: Size) -> NDArray[np.bool_]:
    """A whole mask at the picture's size; where it has another, its edges are those of the nearest pixels."""
    if mask.shape != size:
        mask = cv2.resize(np.ascontiguousarray(mask), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return mask.astype(bool)

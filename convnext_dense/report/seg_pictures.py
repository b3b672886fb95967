"""Pictures of a segmentor's mistakes: a picture beside its truth, its prediction and where they differ; crops of confusions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from convnext_dense.data.bands import shown_picture
from convnext_dense.data.pictures import UnreadableError
from convnext_dense.predict.draw import coloured
from convnext_dense.report.evaluated import About, read_maps
from convnext_dense.report.html import jpeg
from convnext_dense.report.look import Names

SIDE = 240  # pixels of the longer side
MARGIN = 0.5  # of a region's sides, around it in a crop
LEAST = 48  # pixels of a crop's side
WRONG, NONE = (230, 30, 40), (60, 90, 200)


def readable(path: str, size: tuple[int, int], channels: int | None) -> NDArray[np.uint8]:
    """The picture as it was predicted on, (H, W, 3); grey where it cannot be read any more, or is another by now."""
    try:
        rgb = shown_picture(path, channels)
    except (UnreadableError, OSError, ValueError, AttributeError):
        rgb = None
    if rgb is None or rgb.shape[:2] != size:
        return np.full((*size, 3), 128, np.uint8)
    return rgb


def _small(image: NDArray, way: int) -> NDArray:
    scale = min(1.0, SIDE / max(image.shape[:2]))
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return cv2.resize(image, size, interpolation=way)


def differences(rgb: NDArray[np.uint8], truth: NDArray, predicted: NDArray, classes: int) -> NDArray[np.uint8]:
    """(H, W, 3): the picture dark, red where a class is wrong, blue where the truth has none."""
    shown = (rgb // 3).astype(np.uint8)
    shown[truth != predicted] = WRONG
    shown[truth >= classes] = NONE
    return shown


def four(
    path: str, truth: NDArray, predicted: NDArray, names: Names, channels: int | None, caption: str
) -> list[tuple[str, str]]:
    """Cells of a grid: picture, truth, prediction, differences. Maps are (H, W) of class indices."""
    rgb = _small(readable(path, truth.shape, channels), cv2.INTER_AREA)
    t, p = (_small(one, cv2.INTER_NEAREST) for one in (truth, predicted))
    images = [rgb, coloured(rgb, t, names.palette), coloured(rgb, p, names.palette), differences(rgb, t, p, len(names.classes))]
    return [(jpeg(one), words) for one, words in zip(images, (caption, 'truth', 'prediction', 'differences'))]


def confused(
    folder: Path, about: About, names: Names, pairs: Sequence[tuple[tuple[int, int], Sequence[tuple[int, int]]]]
) -> list[tuple[str, str]]:
    """Cells of a grid: for each pair (truth, prediction) and its pictures (pixels, index), a crop around the largest region."""
    cells = []
    for (t, p), examples in pairs:
        for pixels, index in sorted(examples, reverse=True):
            truth, predicted = read_maps(folder, index)
            path = about.pictures[index]
            crop = _crop(readable(path, truth.shape, about.channels), (truth == t) & (predicted == p))
            cells.append((jpeg(crop), f'{names.classes[t]} taken for {names.classes[p]}: {pixels} pixels in {Path(path).name}'))
    return cells


def _crop(rgb: NDArray[np.uint8], wrong: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Around the largest connected region, all regions outlined."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(wrong.astype(np.uint8), connectivity=8)
    left, top, width, height = stats[1:][stats[1:, cv2.CC_STAT_AREA].argmax(), :4].tolist()
    side_x, side_y = max(LEAST, round(width * (1 + 2 * MARGIN))), max(LEAST, round(height * (1 + 2 * MARGIN)))
    x = int(np.clip(left + width // 2 - side_x // 2, 0, max(rgb.shape[1] - side_x, 0)))
    y = int(np.clip(top + height // 2 - side_y // 2, 0, max(rgb.shape[0] - side_y, 0)))
    part = np.ascontiguousarray(rgb[y : y + side_y, x : x + side_x])
    scale = SIDE / max(part.shape[:2])
    size = max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale))
    shown = cv2.resize(part, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    mask = cv2.resize(wrong[y : y + side_y, x : x + side_x].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    return cv2.drawContours(shown, outlines, -1, WRONG, 1)


def pair_cells(
    path: str,
    maps: Sequence[tuple[NDArray, NDArray]],
    names: Sequence[Names],
    channels: int | None,
    captions: Sequence[str],
) -> list[tuple[str, str]]:
    """Cells of a grid: a picture, its truth, and two predictions; `maps` are (truth, prediction) of each run."""
    rgb = _small(readable(path, maps[0][0].shape, channels), cv2.INTER_AREA)
    shown = [(maps[0][0], names[0]), *((one[1], own) for one, own in zip(maps, names))]
    images = [rgb, *(coloured(rgb, _small(one, cv2.INTER_NEAREST), own.palette) for one, own in shown)]
    return [(jpeg(one), words) for one, words in zip(images, (Path(path).name, 'truth', *captions))]

"""The pictures that an exported file is compared on: of several sizes, odd ones among them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import cv2
import mmcv
import numpy as np
from numpy.typing import NDArray

from convnext_dense.data.pictures import UnreadableError
from convnext_dense.data.shapes import draw_scene
from convnext_dense.errors import InputError
from convnext_dense.export.graphs import Size
from convnext_dense.export.picture_input import LEAST
from convnext_dense.predict.inputs import Item, as_bgr, check_readable, items

MOST, CALIBRATING = 4, 100  # of a folder
LARGEST = 640  # pixels of a picture's long side
SHARES = (1.0, 0.71, 0.43)  # of that size


def check_pictures(folder: str | None, size: Size) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Names and pictures (H, W, 3) in RGB: of a folder, or drawn; each at three sizes, or at `size` alone.

    Raises:
        InputError: for a folder without pictures, and pictures that cannot be read.
    """
    for name, rgb in _drawn() if folder is None else _read(folder, '--check', MOST):
        for sides in _sizes(rgb.shape[0], rgb.shape[1]) if size is None else [size]:
            yield name, cv2.resize(rgb, sides[::-1], interpolation=cv2.INTER_LINEAR)


def calibration_pictures(folder: str, size: Size) -> list[NDArray[np.uint8]]:
    """Pictures (H, W, 3) in RGB as they are, or of `size`.

    Raises:
        InputError: as above.
    """
    pictures = [rgb for _, rgb in _read(folder, '--int8', CALIBRATING)]
    return pictures if size is None else [cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_LINEAR) for rgb in pictures]


def _drawn() -> Iterator[tuple[str, NDArray[np.uint8]]]:
    for index in range(2):
        yield f'drawn {index}', np.ascontiguousarray(draw_scene(0, 'validation', index).image[..., ::-1])


def _read(folder: str, option: str, most: int) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    try:
        found = list(islice(items(folder), most))
    except InputError as error:
        why = str(error).removeprefix('input: ').partition('; --recursive')[0]
        raise InputError(f'{option}: {why}') from error
    for item in found:
        try:
            yield item.name, np.ascontiguousarray(_bgr(item)[..., ::-1])
        except UnreadableError as error:
            raise InputError(f'{option}: {item.source} {error}') from error


def _bgr(item: Item) -> NDArray[np.uint8]:
    if isinstance(item.given, UnreadableError):
        raise item.given
    if not isinstance(item.given, str):
        return as_bgr(item.given, item.source)
    check_readable(item.given)
    return mmcv.imread(item.given)


def _sizes(height: int, width: int) -> list[tuple[int, int]]:
    fit = min(1.0, LARGEST / max(height, width))
    return [(_side(height * fit, share), _side(width * fit, share)) for share in SHARES]


def _side(pixels: float, share: float) -> int:
    """A share of a side; odd, but for the whole."""
    return max(round(pixels * share), LEAST + 1) | (share < 1)  # one more: see graphs.Graph.dynamic

"""The pictures that an exported file is compared on: of several sizes, odd ones among them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, overload

import cv2
import mmcv
import numpy as np
from numpy.typing import NDArray

from convnext_dense.data.pictures import UnreadableError
from convnext_dense.data.shapes import draw_scene
from convnext_dense.errors import InputError
from convnext_dense.export.options import Size, of_option
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


class Calibration(Sequence[NDArray[Any]]):
    """Pictures of a folder as a file takes them, as they are or of `size`; each is read when it is asked for.

    `taken` makes of a picture (H, W, 3) in RGB what a file takes.

    Raises:
        InputError: as above, here and where a picture is asked for.
    """

    def __init__(self, folder: str, size: Size, taken: Callable[[NDArray[np.uint8]], NDArray[Any]]) -> None:
        self.items, self.size, self.taken = _items(folder, '--int8', CALIBRATING), size, taken
        for item in self.items:
            if isinstance(item.given, str):
                try:
                    check_readable(item.given)
                except UnreadableError as error:
                    raise _unreadable('--int8', item, error) from error

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> NDArray[Any]: ...

    @overload
    def __getitem__(self, index: slice) -> list[NDArray[Any]]: ...

    def __getitem__(self, index: int | slice) -> NDArray[Any] | list[NDArray[Any]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        rgb = _rgb(self.items[index], '--int8')
        return self.taken(rgb if self.size is None else cv2.resize(rgb, self.size[::-1], interpolation=cv2.INTER_LINEAR))


def _drawn() -> Iterator[tuple[str, NDArray[np.uint8]]]:
    for index in range(2):
        yield f'drawn {index}', np.ascontiguousarray(draw_scene(0, 'validation', index).image[..., ::-1])


def _read(folder: str, option: str, most: int) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    return ((item.name, _rgb(item, option)) for item in _items(folder, option, most))


def _items(folder: str, option: str, most: int) -> list[Item]:
    try:
        return list(islice(items(folder), most))
    except InputError as error:
        raise of_option(option, error) from error


def _rgb(item: Item, option: str) -> NDArray[np.uint8]:
    try:
        return np.ascontiguousarray(_bgr(item)[..., ::-1])
    except UnreadableError as error:
        raise _unreadable(option, item, error) from error


def _unreadable(option: str, item: Item, error: UnreadableError) -> InputError:
    return InputError(f'{option}: {item.source} {error}')


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

"""A picture of any number of channels, 8 or 16 bits or floats, read with its own values: TIFF, GeoTIFF, NPY, PNG and others."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from convnext_dense.data.pictures import (
    EXIF_ORIENTATION,
    Size,
    UnreadableError,
    as_unreadable,
    image_size,
    opened,
    quiet_opencv,
)
from convnext_dense.data.pipeline import steps
from convnext_dense.errors import InputError, last_line

MOST = 512  # channels that OpenCV resizes
FEWER = 4  # times that there are columns and rows for each band
TIFFS = ('.tif', '.tiff')
ARRAYS = ('.npy',)
PALETTE = 3  # photometric interpretation of a TIFF: numbers of colours, which are no values
ORIENTATION = 274  # a TIFF's tag
# How a picture is turned to lie upright, by its orientation.
UPRIGHT: dict[int, Callable[[NDArray], NDArray]] = {
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x.swapaxes(0, 1)[:, ::-1],
    7: lambda x: x.swapaxes(0, 1)[::-1, ::-1],
    8: lambda x: x.swapaxes(0, 1)[::-1],
}


def read_channels(path: Path, channels: int | None = None) -> NDArray:
    """A file's picture (H, W, N) in its own type, colours as red, green, blue; turned by its orientation.

    Raises:
        UnreadableError: for a broken file, another number of channels than asked, complex values, NaN and infinity.
        InputError: where the library that reads it is not installed.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        raise UnreadableError('is a folder; expected a picture')
    values = _of_tiff(path, channels) if suffix in TIFFS else _of_npy(path, channels) if suffix in ARRAYS else _of_opencv(path)
    return checked(values, channels)


def checked(values: NDArray, channels: int | None) -> NDArray:
    """A picture (H, W) or (H, W, N) as (H, W, N); booleans as 0 and 1.

    Raises:
        UnreadableError: as `read_channels`.
    """
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or not values.size:
        raise UnreadableError(f'has shape {values.shape}; expected height, width and channels')
    if values.dtype.kind not in 'buif':
        raise UnreadableError(f'has values of type {values.dtype}; expected whole or real numbers: save it as float32')
    if channels is not None and values.shape[2] != channels:
        raise UnreadableError(
            f'is {values.shape[2]}-channel data with --channels {channels}; a model takes the channels that it is trained on: '
            f'save it with {channels}, or train with --channels {values.shape[2]}'
        )
    if values.dtype.kind == 'f':
        with np.errstate(over='ignore'):
            bad = int((~np.isfinite(values.astype(np.float32, copy=False))).sum())
        if bad:
            raise UnreadableError(f'has NaN, infinity or more than float32 holds in {bad} values; fill them with a number')
    return values.astype(np.uint8) if values.dtype.kind == 'b' else values


def channels_size(path: Path, channels: int) -> tuple[Size, int]:
    """As `image_size`, of a picture of so many channels, all of which is read; it is upright."""
    try:
        height, width = read_channels(path, channels).shape[:2]
    except InputError as error:
        raise UnreadableError(f'cannot be read ({last_line(error)})') from error
    return (width, height), 1


def header_size(path: Path, channels: int | None = None) -> Size:
    """Width and height of an upright TIFF or NPY, from its header alone.

    Raises:
        UnreadableError: for a file that has none, and shapes that are no picture.
        InputError: where tifffile is not installed.
    """
    if path.suffix.lower() in ARRAYS:
        with as_unreadable():
            values = _bands_last(np.load(path, allow_pickle=False, mmap_mode='r'), channels)
    else:
        tifffile = tiff_library(str(path))
        try:
            with warnings.catch_warnings(), tifffile.TiffFile(path) as file:
                warnings.simplefilter('ignore')
                series, turned = file.series[0], file.pages[0].tags.get(ORIENTATION)
                empty = np.broadcast_to(np.uint8(0), series.shape)  # of no memory
                values = _laid_out(empty, series.axes, channels, turned)
        except Exception as error:  # of any broken file
            raise UnreadableError(f'cannot be read as a TIFF ({last_line(error)})') from error
    if values.ndim not in (2, 3) or not values.size:
        raise UnreadableError(f'has shape {values.shape}; expected height, width and channels')
    return values.shape[1], values.shape[0]


def channels_of(pipeline: Any) -> int | None:
    """How many channels this part of a config loads by `LoadChannels`; None where it loads three of bytes."""
    types = ((step.get('type'), step.get('channels')) for step in steps(pipeline))
    return next((given for kind, given in types if str(getattr(kind, '__name__', kind)).endswith('LoadChannels')), None)


def size_reader(pipeline: Any) -> Callable[[Path], tuple[Size, int]]:
    """What tells the size at which a pipeline's loading step reads a picture, and its orientation."""
    channels = channels_of(pipeline)
    return image_size if channels is None else lambda path: channels_size(path, channels)


def tiff_library(what: str) -> ModuleType:
    try:
        import tifffile
    except ImportError as error:
        raise InputError(f'{what}: expected tifffile, which is not installed ({error}); pip install tifffile') from error
    logging.getLogger('tifffile').setLevel(logging.CRITICAL)  # it would write to the terminal what the line says
    return tifffile


def _of_tiff(path: Path, channels: int | None) -> NDArray:
    tifffile = tiff_library(str(path))
    try:
        with warnings.catch_warnings(), tifffile.TiffFile(path) as file:
            warnings.simplefilter('ignore')
            page, series = file.pages[0], file.series[0]
            axes, turned = series.axes, page.tags.get(ORIENTATION)
            if page.photometric == PALETTE:
                raise UnreadableError('is a TIFF with a palette; expected values: save it as grey or RGB')
            values = series.asarray()
    except (UnreadableError, MemoryError):
        raise
    except Exception as error:  # of any broken file, or a compression that needs another library
        found = _otherwise(path)
        if found is None:
            hint = '; pip install imagecodecs, or rasterio' if 'imagecodecs' in str(error) else ''
            raise UnreadableError(f'cannot be read as a TIFF ({last_line(error)}){hint}') from error
        return found
    return _laid_out(values, axes, channels, turned)


def _laid_out(values: NDArray, axes: str, channels: int | None, turned: Any) -> NDArray:
    """A TIFF's array as (H, W) or (H, W, N), upright; `turned` is its tag, if it has one."""
    if 'S' in axes:  # samples of a pixel, beside each other or a plane each
        values = np.moveaxis(values, axes.index('S'), -1)
    elif values.ndim == 3:  # one page a band
        values = values if _channels_last(values, channels) else np.moveaxis(values, 0, -1)
    return UPRIGHT.get(turned.value if turned is not None else 1, np.asarray)(values)


def _channels_last(values: NDArray, channels: int | None) -> bool:
    """Whether an array of pages is (H, W, N) all the same, as tifffile writes it where nothing says otherwise."""
    return channels is not None and values.shape[0] != channels and values.shape[2] == channels


def _otherwise(path: Path) -> NDArray | None:
    """A TIFF of a compression that tifffile alone does not know, by rasterio where it is installed, else by OpenCV; or None."""
    try:
        import rasterio

        with warnings.catch_warnings(), rasterio.open(path) as file:
            warnings.simplefilter('ignore')
            return np.moveaxis(file.read(), 0, -1)
    except Exception:  # not installed, or of any broken file: what tifffile said is told
        pass
    try:
        return _decoded(path)
    except UnreadableError:
        return None


def _of_npy(path: Path, channels: int | None) -> NDArray:
    """(H, W, N) or (H, W); or (N, H, W), where the first is the number of channels that is asked for and the last is not."""
    with as_unreadable():
        values = np.load(path, allow_pickle=False)
    if not isinstance(values, np.ndarray):
        raise UnreadableError('is an archive of arrays; expected one array, as np.save writes it')
    return _bands_last(values, channels)


def _bands_last(values: NDArray, channels: int | None) -> NDArray:
    """Without a number that is asked for, the bands come first where they are far fewer than the columns."""
    if values.ndim != 3:
        return values
    if channels is None:
        first = FEWER * values.shape[0] <= min(values.shape[1:])
    else:
        first = values.shape[0] == channels != values.shape[2]
    return np.moveaxis(values, 0, -1) if first else values


def _of_opencv(path: Path) -> NDArray:
    with opened(path) as image:
        turned = image.getexif().get(EXIF_ORIENTATION, 1)
    return UPRIGHT.get(turned, np.asarray)(_decoded(path))


def _decoded(path: Path) -> NDArray:
    with as_unreadable(), quiet_opencv():
        values = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise UnreadableError('is not read by OpenCV as an image; save it as PNG or TIFF')
    return values[..., [2, 1, 0, *range(3, values.shape[2])]] if values.ndim == 3 else values

"""Three bands, or one, of a picture of any channels as bytes to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from numpy.typing import NDArray

from convnext_dense.data.channels import read_channels
from convnext_dense.errors import InputError
from convnext_dense.expect import brief, whole

SHARES = (2, 98)  # percentiles that are drawn black and white
PIXELS = 2**20  # about so many are asked for the percentiles


def checked_bands(bands: Any, channels: int) -> tuple[int, ...]:
    """Indices of the bands that are drawn as red, green and blue, or of one that is drawn grey; by default the first ones.

    Raises:
        InputError: for others than the picture has.
    """
    if bands is None:
        return (0, 1, 2) if channels >= 3 else (0,)
    given = bands if isinstance(bands, Sequence) else ()
    if len(given) not in (1, 3) or not all(whole(band, 0) and band < channels for band in given):
        raise InputError(
            f'bands: expected one or three of the {channels} channels, 0 to {channels - 1} (on the command line '
            f'1 to {channels}); got {brief(bands)}'
        )
    return tuple(int(band) for band in given)


def shown_picture(path: str | Path, channels: int | None = None) -> NDArray[np.uint8]:
    """A file's picture (H, W, 3) in RGB; with `channels`, as it is loaded with so many, what is shown of them."""
    if channels is None:
        return mmcv.imread(str(path), channel_order='rgb')
    return displayed(read_channels(Path(path), channels), checked_bands(None, channels))


def displayed(image: NDArray, bands: Sequence[int]) -> NDArray[np.uint8]:
    """(H, W, 3) in RGB of a picture (H, W, N), each band stretched so that its 2nd to 98th percentile fill the bytes."""
    chosen = [_stretched(image[..., band]) for band in bands]
    return np.stack(chosen if len(chosen) == 3 else chosen * 3, axis=2)


def _stretched(band: NDArray) -> NDArray[np.uint8]:
    step = max(int((band.size / PIXELS) ** 0.5), 1)
    low, high = (float(value) for value in np.percentile(band[::step, ::step], SHARES))
    if high <= low:  # as of a mask, which is nearly everywhere the same
        low, high = float(band.min()), float(band.max())
    if high <= low:
        return np.zeros(band.shape, np.uint8)
    scaled = (band.astype(np.float64) - low) * (255 / (high - low))
    return np.rint(scaled.clip(0, 255)).astype(np.uint8)

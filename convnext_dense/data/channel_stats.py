"""Mean and deviation of each channel over the pictures of a data set, by which a model's input is normalised."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from convnext_dense.data.channels import read_channels
from convnext_dense.data.check_coco import spread
from convnext_dense.data.pictures import UnreadableError
from convnext_dense.errors import InputError

MOST = 2000  # pictures that are read
BLOCK = 2**22  # values of a picture that are summed at once, in float64


class ChannelStats(NamedTuple):
    """Of each channel; and from what, for the log."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    line: str


class Moments(NamedTuple):
    """How many pixels there are; of each channel, the mean and the sum of squared distances from it."""

    pixels: int
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]

    def merged(self, other: Moments) -> Moments:
        """Of both, as Chan et al. (1979) put them together: nothing large is taken from something large."""
        pixels = self.pixels + other.pixels
        apart = other.mean - self.mean
        share = other.pixels / pixels
        return Moments(pixels, self.mean + apart * share, self.squares + other.squares + apart * apart * (self.pixels * share))


def channel_stats(
    paths: Sequence[str | os.PathLike[str]], channels: int, progress: Callable[[int, int], None] | None = None
) -> ChannelStats:
    """Over all pixels of up to `MOST` of the pictures, spread evenly, read once; `progress` is told done and all of them.

    Raises:
        InputError: for a picture that cannot be read as one of so many channels.
    """
    if not paths:
        raise InputError('statistics: expected the pictures of the training split, got none; check the data set')
    chosen = spread([Path(path) for path in paths], MOST)
    whole: Moments | None = None
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        try:
            for done, part in enumerate(pool.map(lambda path: _of_file(path, channels), chosen), 1):
                whole = part if whole is None else whole.merged(part)
                if progress is not None:
                    progress(done, len(chosen))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    assert whole is not None
    std = np.sqrt(whole.squares / whole.pixels)
    of = f'all {len(chosen)}' if len(chosen) == len(paths) else f'{len(chosen)} of {len(paths)}'
    line = f'statistics: mean and deviation of {channels} channels over {of} training pictures, {whole.pixels:,} pixels'
    return ChannelStats(tuple(whole.mean.tolist()), tuple(std.tolist()), line)


def _of_file(path: Path, channels: int) -> Moments:
    try:
        return moments(read_channels(path, channels))
    except UnreadableError as error:
        raise InputError(f'{path} {error}') from error


def moments(values: NDArray) -> Moments:
    """Of a picture (H, W, N), some rows at a time."""
    rows = max(BLOCK // (values.shape[1] * values.shape[2]), 1)
    parts = [_of_rows(values[top : top + rows]) for top in range(0, len(values), rows)]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.merged(part)
    return whole


def _of_rows(values: NDArray) -> Moments:
    flat = values.reshape(-1, values.shape[2]).astype(np.float64)
    mean = flat.mean(0)
    return Moments(len(flat), mean, ((flat - mean) ** 2).sum(0))

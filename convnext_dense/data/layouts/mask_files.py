"""Files with a class for each pixel: their values as they are, and colours as one number each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convnext_dense.data.pictures import LOSSY, UnreadableError, opened
from convnext_dense.errors import InputError


def read_mask(path: Path) -> NDArray:
    """A mask's values (H, W), of a palette its indices; or its colours (H, W, 3). Transparency is left away.

    Raises:
        InputError: for what cannot be read, and for JPEG, whose compression blurs values.
    """
    try:
        with opened(path) as image:
            if image.format in LOSSY:
                raise UnreadableError(
                    f'is a {image.format}, whose compression changes the values at every border; save masks as PNG'
                )
            if image.mode == '1':
                image = image.convert('L')
            elif image.mode in ('RGBA', 'CMYK', 'YCbCr', 'HSV', 'LAB'):
                image = image.convert('RGB')
            elif image.mode == 'LA':
                image = image.getchannel('L')
            return np.asarray(image)
    except UnreadableError as error:
        raise InputError(f'data: mask {path} {error}') from error


def colours(rgb: NDArray) -> NDArray[np.int64]:
    """Colours (…, 3) as one number each."""
    wide = rgb.astype(np.int64)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]


def packed(values: NDArray) -> NDArray:
    """A mask (H, W) of numbers: its values, or its colours as one number each."""
    return colours(values) if values.ndim == 3 else values


def colour_text(number: int) -> str:
    """A packed colour as people write it."""
    return f'#{number:06x}'

"""Files with a class for each pixel: their values as they are, and colours as one number each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as run_lengths

from convnext_dense.data.pictures import LOSSY, Size, UnreadableError, opened
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


def placed(part: NDArray, left: int, top: int, size: Size) -> NDArray[np.uint8]:
    """A mask of a part of a picture as one of the picture (H, W) of `size` (width, height); what lies beyond is cut."""
    whole = np.zeros(size[::-1], np.uint8)
    place = whole[top : top + part.shape[0], left : left + part.shape[1]]
    place[:] = part[: place.shape[0], : place.shape[1]]
    return whole


def encoded(mask: NDArray) -> dict[str, Any]:
    """A mask (H, W) in run lengths whose counts are text, as JSON takes them."""
    found = run_lengths.encode(np.asfortranarray(mask, np.uint8))
    return dict(size=list(found['size']), counts=found['counts'].decode())

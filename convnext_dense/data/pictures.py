"""One file with a picture in it: whether training can read it, and how large it is then."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

EXIF_ORIENTATION = 0x0112
TURNED = (5, 6, 7, 8)  # orientations that swap width and height
PLAIN = ('JPEG', 'MPO', 'PNG')  # what Pillow reads of these, OpenCV does too
LOSSY = ('JPEG', 'MPO', 'JPEG2000')
ONE_OF_MANY = ('MPO', 'TIFF')  # formats whose first picture is the picture, whatever follows

Size = tuple[int, int]  # width, height


class UnreadableError(Exception):
    """Why a picture cannot be used; the words follow its path in a line."""


class TooLargeError(UnreadableError):
    """A picture of more pixels than Pillow opens without being told to."""

    def __init__(self, words: str) -> None:
        super().__init__(f'is too large ({words.rstrip(".")}); cut it into tiles')
        self.pixels = int(re.findall(r'(\d+) pixels', words)[0])


def is_file(path: Path) -> bool:
    """Whether a file is there; also where the path itself cannot be (a name too long, an unreadable folder)."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether a folder is there, likewise."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def image_size(path: Path) -> tuple[Size, int]:
    """The size that training reads an image at, and its EXIF orientation, after which mmcv turns it.

    Raises:
        UnreadableError: if it is no picture, is broken, or OpenCV does not read it.
    """
    with opened(path) as image:
        orientation = image.getexif().get(EXIF_ORIENTATION, 1)  # first: Pillow turns a TIFF on loading, and forgets
        size, what = image.size, f'{image.format} of mode {image.mode}'
        plain = image.format in PLAIN and orientation == 1
        image.draft('L', (1, 1))  # all of a JPEG is read, but an eighth of its rows and columns made
        image.load()
    if plain:
        return size, orientation
    pixels = read_bgr(path)
    if pixels is None:
        raise UnreadableError(f'is a {what}, which OpenCV does not read as an image; save it as PNG or JPEG')
    return (pixels.shape[1], pixels.shape[0]), orientation


def mask_values(path: Path, backend: str) -> NDArray:
    """A mask's values (H, W) as mmseg's loader reads them, before it makes bytes of them.

    Raises:
        UnreadableError: if it is no picture, is broken, lossy, or has more than one channel.
    """
    with opened(path) as image:
        if image.format in LOSSY:
            raise UnreadableError(f'is a {image.format}, whose compression blurs class numbers; save masks losslessly, as PNG')
        mode = image.mode
    import mmcv  # here: pictures are read without it

    with as_unreadable(), quiet_opencv(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        values = mmcv.imfrombytes(path.read_bytes(), flag='unchanged', backend=backend)
    if values is None or values.ndim != 2:
        raise UnreadableError(f'has mode {mode}; expected one channel of class numbers')
    return values


def read_bgr(path: Path) -> NDArray[np.uint8] | None:
    """(H, W, 3) as mmcv's loader reads a file of any kind and turns it; None where OpenCV does not read it."""
    with quiet_opencv():
        content = np.frombuffer(path.read_bytes(), np.uint8)
        return cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """OpenCV would write to the terminal what the line says."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A picture as Pillow opens it, its pixels not read; whatever is wrong with the file is an UnreadableError."""
    if path.is_dir():
        raise UnreadableError('is a folder; expected a picture')
    with as_unreadable(), Image.open(path) as image:
        if getattr(image, 'is_animated', False) and image.format not in ONE_OF_MANY:
            raise UnreadableError(f'is a {image.format} of {image.n_frames} frames; expected one picture')
        yield image


@contextmanager
def as_unreadable() -> Iterator[None]:
    """Whatever a decoder raises at a foreign or broken file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            warnings.simplefilter('error', Image.DecompressionBombWarning)
            yield
    except UnreadableError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLargeError(str(error)) from error
    except Exception as error:
        raise UnreadableError(f'cannot be read ({_words(error)})') from error


def _words(error: Exception) -> str:
    text = ' '.join(str(error).split())
    return text if isinstance(error, (OSError, ValueError, SyntaxError)) and text else f'{type(error).__name__}: {text}'


def values_of(mask: NDArray) -> set[int | float]:
    """The different values in a mask, whole numbers as int; NaN once."""
    found = np.unique(mask)
    if found.dtype.kind == 'f':
        return {int(v) if float(v).is_integer() else float(v) for v in found}
    return {int(v) for v in found}

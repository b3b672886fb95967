"""What is given to predict on as a stream of pictures: files, folders, patterns, URLs, videos, arrays, iterators of them."""

from __future__ import annotations

import glob
import os
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from convnext_dense.data.channels import ARRAYS, checked
from convnext_dense.data.pictures import TooLargeError, UnreadableError, image_size, is_file, is_folder
from convnext_dense.errors import InputError
from convnext_dense.expect import brief
from convnext_dense.predict.video import frames, pyav

PICTURES = ('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm', '.pbm', '.jp2', '.gif')
VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv', '.flv', '.ts')
TIMEOUT = 30  # seconds without an answer of a server
MAX_DOWNLOAD = 2**30  # bytes
Convert = Callable[[Any, str], NDArray]  # of a picture in memory and what it is called


@dataclass(frozen=True)
class Item:
    """One picture to predict on: what outputs are named after, what messages call it, and what there is of it."""

    name: str
    source: str
    given: Any  # a path, a URL, an array as the model takes it, or an UnreadableError
    file: str = ''  # its path below what was given, or the name that a file of it would have


def is_one(given: Any) -> bool:
    """Whether it is a single picture, whose answer is a single result."""
    if isinstance(given, (str, os.PathLike)):
        text = os.fspath(given)
        if is_url(text):
            return not _is_video(text)
        return not (is_folder(Path(text)) or _is_pattern(text) or _is_video(text))
    return _in_memory(given) and getattr(given, 'ndim', 3) < 4


def _in_memory(given: Any) -> bool:
    return isinstance(given, (Image.Image, np.ndarray)) or _is_tensor(given)


def _is_tensor(given: Any) -> bool:
    """Whether it is PyTorch's, which is not imported for the question: there is no tensor where it was not."""
    torch = sys.modules.get('torch')
    return torch is not None and isinstance(given, torch.Tensor)


def items(given: Any, recursive: bool = False, every: int = 1, convert: Convert | None = None) -> Iterator[Item]:
    """The pictures in what is given, files in the order of their names; of a video each `every`-th frame.

    `convert` makes of a picture in memory what a model of other channels takes; files of arrays are pictures, and videos none.

    Raises:
        InputError: for what is not there, a folder or pattern without pictures, and a type that is no picture.
    """
    if isinstance(given, (str, os.PathLike)):
        return _of_path(os.fspath(given), recursive, every, convert)
    if _in_memory(given):
        if not is_one(given):
            return _of_batch(given, convert)
        return iter([Item('picture', 'picture', (convert or as_bgr)(given, 'picture'), 'picture.jpg')])
    if isinstance(given, Iterable) and not isinstance(given, (bytes, dict, set)):
        return _of_several(given, recursive, every, convert)
    raise InputError(
        'input: expected a path, URL, PIL image, array (H, W, 3), tensor (3, H, W), or several of them; '
        f'got {type(given).__name__}'
    )


def count(given: Any, recursive: bool = False) -> int | None:
    """How many pictures there are, where that is known without reading them: for the progress bar."""
    if isinstance(given, (list, tuple)):
        counts = [count(one, recursive) for one in given]
        return None if any(found is None for found in counts) else sum(found for found in counts if found is not None)
    if is_one(given):
        if isinstance(given, (str, os.PathLike)) and not is_url(os.fspath(given)):
            _of_path(os.fspath(given), recursive, 1, None)  # stops where it is not there
        return 1
    if isinstance(given, (str, os.PathLike)) and not _is_video(os.fspath(given)):
        return len(_listed(os.fspath(given), recursive, (*PICTURES, *ARRAYS)))
    return None


def _of_several(given: Iterable[Any], recursive: bool, every: int, convert: Convert | None) -> Iterator[Item]:
    """The pictures of each; arrays and pictures in memory are numbered, as frames of a video are."""
    for index, one in enumerate(given):
        if isinstance(one, Item):
            yield one
        elif _in_memory(one) and is_one(one):
            picture = (convert or as_bgr)(one, f'picture {index}')
            yield Item(f'{index:06d}', f'picture {index}', picture, f'{index:06d}.jpg')
        elif isinstance(one, (str, os.PathLike)):
            yield from _of_path(os.fspath(one), recursive, every, convert)
        else:
            raise InputError(f'input {index}: expected a path, URL, PIL image, array or tensor, got {type(one).__name__}')


def _of_batch(given: Any, convert: Convert | None) -> Iterator[Item]:
    if given.ndim != 4:
        raise InputError(f'input: expected an array (H, W, 3) or a tensor (3, H, W), got shape {tuple(given.shape)}')
    return _of_several(given, False, 1, convert)


def _of_path(text: str, recursive: bool, every: int, convert: Convert | None) -> Iterator[Item]:
    path = Path(text)
    if not text:
        raise InputError('input: expected a path, got an empty one; is a variable not set?')
    if convert is not None and _is_video(text):
        raise InputError(f'input: expected pictures for a model of other than three channels of bytes, got the video {text}')
    if is_url(text):
        name = Path(urlparse(text).path).stem or 'picture'
        return (
            _of_video(text, name, every) if _is_video(text) else iter([Item(name, text, text, Path(urlparse(text).path).name)])
        )
    if '://' in text:
        raise InputError(f'input: expected a path or a URL of http or https, got {text}')
    if is_folder(path) or _is_pattern(text):
        found = _listed(text, recursive, PICTURES if convert is None else (*PICTURES, *ARRAYS))
        base = path if is_folder(path) else Path(os.path.commonpath([os.path.dirname(p) or '.' for p in found]))
        return (Item(_below(p, base).with_suffix('').as_posix(), p, p, _below(p, base).as_posix()) for p in found)
    if not is_file(path):
        near = path.parent
        raise InputError(f'input: expected a file, folder, pattern or URL, got {text} which is not there; look into {near}/')
    return _of_video(text, path.stem, every) if _is_video(text) else iter([Item(path.stem, text, text, path.name)])


def _of_video(text: str, name: str, every: int) -> Iterator[Item]:
    pyav()
    try:
        for index, frame in frames(text, every):
            yield Item(f'{name}_{index:06d}', f'{text}, frame {index}', frame, f'{name}_{index:06d}.jpg')
    except InputError as error:  # left out as a picture would be; what came before it was given
        yield Item(name, text, UnreadableError(str(error).removeprefix('video: ').removeprefix(text).strip()))


def _listed(text: str, recursive: bool, suffixes: tuple[str, ...]) -> list[str]:
    """The pictures of a folder or a pattern, sorted."""
    path = Path(text)
    if is_folder(path):
        inside = sorted(path.rglob('*') if recursive else path.iterdir())
        found = [str(p) for p in inside if p.suffix.lower() in suffixes and is_file(p)]
        if not found:
            deeper = '' if recursive else '; --recursive (recursive=True) looks into its folders too'
            raise InputError(f'input: expected pictures ({", ".join(PICTURES)}) in {text}, found none{deeper}')
        return found
    found = sorted(p for p in glob.glob(text, recursive=True) if Path(p).suffix.lower() in suffixes and is_file(Path(p)))
    if not found:
        raise InputError(f'input: expected pictures that fit the pattern {text}, found none; check it')
    return found


def _below(path: str, base: Path) -> Path:
    return Path(os.path.relpath(path, base))


def is_url(text: str) -> bool:
    """Whether it is to be downloaded."""
    return text.lower().startswith(('http://', 'https://'))


def _is_video(text: str) -> bool:
    return Path(text.partition('?')[0]).suffix.lower() in VIDEOS


def _is_pattern(text: str) -> bool:
    return glob.has_magic(text) and not os.path.lexists(text)


def check_readable(path: str) -> None:
    """Stop at a file that is no whole picture, or larger than Pillow's limit.

    Raises:
        UnreadableError: with the reason, whose words follow the path in a line.
    """
    try:
        image_size(Path(path))
    except TooLargeError as error:
        raise UnreadableError(
            f'has {error.pixels:,} pixels, where {Image.MAX_IMAGE_PIXELS:,} are expected at most; if it is meant, --max-pixels '
            f'{error.pixels} allows it (in Python PIL.Image.MAX_IMAGE_PIXELS)'
        ) from error


def downloaded(url: str) -> str:
    """A URL's content as a temporary file, for the caller to remove.

    Raises:
        UnreadableError: if the server does not answer, or with something else.
    """
    handle, path = tempfile.mkstemp(suffix=Path(urlparse(url).path).suffix)
    try:
        request = urllib.request.Request(url, headers={'User-Agent': 'convnext_dense'})
        with os.fdopen(handle, 'wb') as file, urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            while part := answer.read(2**20):
                file.write(part)
                if file.tell() > MAX_DOWNLOAD:
                    raise OSError(f'more than {MAX_DOWNLOAD:,} bytes')
        return path
    except (OSError, ValueError, HTTPException) as error:
        os.unlink(path)
        raise UnreadableError(f'cannot be downloaded ({getattr(error, "reason", None) or error}); check the URL') from error


def as_bgr(given: Any, what: str = 'picture') -> NDArray[np.uint8]:
    """A picture in memory as (H, W, 3) bytes, blue first as OpenCV reads them.

    PIL images are turned by their EXIF orientation. Arrays are (H, W, 3) or (H, W, 4) of RGB, or (H, W) of grey; tensors
    (3, H, W) or (1, H, W). Bytes are 0 to 255; floats 0 to 1; sixteen bits are brought to eight.

    Raises:
        InputError: for other shapes and types.
    """
    if isinstance(given, Image.Image):
        turned: Image.Image = ImageOps.exif_transpose(given)
        values = np.asarray(turned if turned.mode.startswith('I') else turned.convert('RGB'))
    elif _is_tensor(given):
        values = (given.float() if str(given.dtype) == 'torch.bfloat16' else given).detach().cpu().numpy()
        if values.ndim != 3 or values.shape[0] not in (1, 3):
            raise InputError(f'{what}: expected a tensor (3, H, W) or (1, H, W) of RGB, got shape {tuple(given.shape)}')
        values = values.transpose(1, 2, 0)
    else:
        values = given
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.shape[2] not in (1, 3, 4) or not values.size:
        raise InputError(f'{what}: expected an array (H, W, 3) of RGB, got shape {values.shape}')
    if isinstance(given, Image.Image) and values.dtype == np.int32 and values.min() >= 0 and values.max() < 2**16:
        values = values.astype(np.uint16)  # Pillow's mode I, of a grey picture of sixteen bits
    if values.dtype == np.uint16:
        values = values >> 8  # as OpenCV does
    elif values.dtype.kind == 'f':
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise InputError(
                f'{what}: expected floats from 0 to 1, got {brief(float(values.min()))} to {float(values.max()):g}'
            )
        values = np.rint(values * 255)
    elif values.dtype != np.uint8:
        raise InputError(f'{what}: expected bytes (uint8) or floats from 0 to 1, got {values.dtype}')
    rgb = np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values[..., :3]
    return np.ascontiguousarray(rgb[..., ::-1].astype(np.uint8))


def as_channels(given: Any, what: str, channels: int) -> NDArray[np.float32]:
    """A picture in memory as (H, W, channels) with its own values, which are in the unit of the files that were trained on.

    Arrays are (H, W, N), or (H, W) for one channel; tensors (N, H, W). PIL images are turned by their EXIF orientation.

    Raises:
        InputError: for other shapes and types, NaN and infinity.
    """
    if isinstance(given, Image.Image):
        turned: Image.Image = ImageOps.exif_transpose(given)
        values = np.asarray(turned.convert('RGB') if turned.mode == 'P' else turned)
    elif _is_tensor(given):
        values = given.detach().cpu().float().numpy()
        values = values.transpose(1, 2, 0) if values.ndim == 3 else values
    else:
        values = given
    try:
        return np.ascontiguousarray(checked(values, channels), np.float32)
    except UnreadableError as error:
        raise InputError(f'{what} {error}') from error

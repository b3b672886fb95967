"""Every picture of an annotated folder read once: its size, channels, hashes, and the pixels and slivers of its mask."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convnext_dense.data.bands import displayed
from convnext_dense.data.channels import read_channels
from convnext_dense.data.layouts.class_masks import ClassMasks
from convnext_dense.data.layouts.found import Found, Picture
from convnext_dense.data.pictures import UnreadableError, opened
from convnext_dense.errors import InputError

HASH = 8  # rows and columns of the perceptual hash
THIN = 3  # pixels: what an opening by a square of this side takes away is thin
SLIVER = 12  # pixels of a thin region from which on it is told


class Sliver(NamedTuple):
    """A thin region of a class mask."""

    label: int
    pixels: int
    box: tuple[int, int, int, int]  # x1, y1, x2, y2


@dataclass(slots=True)
class Seen:
    """What a picture is like; `why` says why it cannot be read."""

    why: str = ''
    size: tuple[int, int] = (0, 0)  # width, height
    mode: str = ''
    digest: str = ''  # of the file's bytes
    look: int = -1  # a perceptual hash: pictures that look alike have the same
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    pixels: NDArray[np.int64] | None = None  # of each class
    slivers: list[Sliver] = field(default_factory=list)


def survey(
    found: Found,
    pictures: Sequence[Picture],
    masks: bool,
    told: Callable[[int, int], None] | None = None,
    channels: int | None = None,
) -> list[Seen]:
    """Each picture, and with `masks` its class mask, read once, in threads; `channels` as in training, None for photographs."""
    class_mask = ClassMasks(found)

    def look(picture: Picture) -> Seen:
        seen = _picture(picture) if channels is None else _bands(picture, channels)
        if masks and not seen.why:
            try:
                mask = class_mask(picture)
            except InputError as error:
                seen.why = str(error).removeprefix('data: ')
                return seen
            if mask is not None:
                seen.pixels = np.bincount(mask.ravel(), minlength=256)[: len(found.classes)]
                seen.slivers = slivers(mask, len(found.classes))
        return seen

    rows: list[Seen] = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for seen in pool.map(look, pictures):
            rows.append(seen)
            if told is not None:
                told(len(rows), len(pictures))
    return rows


def _picture(picture: Picture) -> Seen:
    try:
        digest = hashlib.sha256(picture.path.read_bytes()).hexdigest()
        with opened(picture.path) as image:
            turned = _turned(image)
            mode, size = image.mode, turned.size
            values = np.asarray(turned)
    except (UnreadableError, OSError) as error:
        return Seen(why=f'{picture.path} {error if isinstance(error, UnreadableError) else "is missing"}')
    flat = values.reshape(-1, values.shape[2] if values.ndim == 3 else 1).astype(np.float64)
    mean, std = tuple(flat.mean(0).tolist()), tuple(flat.std(0).tolist())
    return Seen('', size, mode, digest, perceptual_hash(turned), mean, std)


def _bands(picture: Picture, channels: int) -> Seen:
    try:
        digest = hashlib.sha256(picture.path.read_bytes()).hexdigest()
        values = read_channels(picture.path, channels)
    except (UnreadableError, OSError) as error:
        return Seen(why=f'{picture.path} {error if isinstance(error, UnreadableError) else "is missing"}')
    flat = values.reshape(-1, channels).astype(np.float64)
    mean, std = tuple(flat.mean(0).tolist()), tuple(flat.std(0).tolist())
    look = perceptual_hash(Image.fromarray(displayed(values, (0,))))
    size = values.shape[1], values.shape[0]
    return Seen('', size, f'{values.dtype} of {channels} channels', digest, look, mean, std)


def _turned(image: Image.Image) -> Image.Image:
    from PIL import ImageOps

    image = image.convert('RGB') if image.mode in ('P', '1', 'CMYK', 'YCbCr', 'RGBA', 'LA') else image
    return ImageOps.exif_transpose(image)


def perceptual_hash(image: Image.Image) -> int:
    """Whether each of 8 x 8 places is brighter than its right neighbour, as bits; -1 where there is nothing to see."""
    grey = np.asarray(image.convert('F') if image.mode.startswith(('I', 'F')) else image.convert('L'), np.float32)
    small = cv2.resize(grey, (HASH + 1, HASH), interpolation=cv2.INTER_AREA)
    bits = (small[:, 1:] > small[:, :-1]).ravel()
    return -1 if np.ptp(small) < 4 else int(''.join('1' if bit else '0' for bit in bits), 2)


def slivers(mask: NDArray[np.uint8], classes: int) -> list[Sliver]:
    """Thin regions, the largest first: those of which an opening by a square leaves nothing, away from the picture's edge."""
    found: list[Sliver] = []
    square = np.ones((THIN, THIN), np.uint8)
    for label in np.unique(mask).tolist():
        if label >= classes:
            continue
        inside = np.pad((mask == label).astype(np.uint8), THIN, mode='edge')
        count, regions, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
        kept = np.unique(regions[cv2.morphologyEx(inside, cv2.MORPH_OPEN, square) > 0])
        for index in set(range(1, count)) - set(kept.tolist()):
            x, y, w, h, pixels = (int(v) for v in stats[index])
            if pixels >= SLIVER:
                box = max(0, x - THIN), max(0, y - THIN), x + w - THIN, y + h - THIN
                found.append(Sliver(label, pixels, box))
    return sorted(found, key=lambda one: -one.pixels)

"""A prediction drawn over its picture, by OpenCV and Pillow; boxes and words as in torchvision's `draw_bounding_boxes`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from convnext_dense.predict.patch import Patch

OPACITY = 0.5  # of classes and masks over the picture
FONT = 'DejaVuSans.ttf'  # with letters of most alphabets: matplotlib brings it, and many systems have it
MARGIN = 1  # pixels around words
LINE, TEXT = 300, 50  # of these parts of the longer side: lines' width and letters' height


class Drawable(Protocol):
    """What is drawn of a result."""

    @property
    def image(self) -> NDArray[np.uint8]: ...
    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def names(self) -> list[str]: ...
    @property
    def palette(self) -> Sequence[tuple[int, int, int]]: ...
    @property
    def mask(self) -> NDArray[Any] | None: ...
    @property
    def boxes(self) -> NDArray[np.float32] | None: ...
    @property
    def scores(self) -> NDArray[np.float32] | None: ...
    @property
    def labels(self) -> NDArray[np.int64] | None: ...
    @property
    def mask_data(self) -> Any: ...
    def patch(self, index: int) -> Patch: ...


def palette_of(given: Any, count: int) -> tuple[tuple[int, int, int], ...]:
    """The colours of so many classes, as a data set gives them; made, the same each time, where it gives none that can be."""
    try:
        colours = np.asarray(given, dtype=int)
    except (TypeError, ValueError):
        colours = np.zeros(0, int)
    if colours.shape != (count, 3) or (colours < 0).any() or (colours > 255).any():
        colours = np.random.default_rng(0).integers(40, 256, (count, 3))
    return tuple((r, g, b) for r, g, b in colours.tolist())


def drawn(result: Drawable) -> NDArray[np.uint8]:
    """(H, W, 3) in RGB: the classes' colours over the picture; or masks, boxes and names with scores."""
    rgb = np.array(result.image, order='C')  # a copy, to draw on
    if result.mask is not None:
        return coloured(rgb, result.mask, result.palette)
    assert result.boxes is not None and result.labels is not None and result.scores is not None
    if not len(result.labels):
        return rgb
    colours = [result.palette[label] for label in result.labels]
    if result.mask_data is not None:
        for i in reversed(range(len(colours))):  # the highest score on top
            top, left, mask = result.patch(i).within(0, 0, *result.size)
            area = rgb[top : top + mask.shape[0], left : left + mask.shape[1]]
            area[mask] = ((1 - OPACITY) * area[mask] + OPACITY * np.array(colours[i])).astype(np.uint8)
    longer = max(result.size)
    width, font = max(longer // LINE, 1), _font(max(longer // TEXT, 10))
    image = Image.fromarray(rgb)
    draw = ImageDraw.Draw(image)
    for box, name, score, colour in zip(result.boxes, result.names, result.scores, colours):
        left, top, right, bottom = map(int, box.clip(min=0))
        draw.rectangle((left, top, max(right, left), max(bottom, top)), outline=colour, width=width)
        at, words = (left + width + MARGIN, top + width + MARGIN), f'{name} {score:.2f}'
        x, y, x2, y2 = draw.textbbox(at, words, font=font)
        draw.rectangle((x - MARGIN, y - MARGIN, x2 + MARGIN, y2 + MARGIN), fill=colour)
        draw.text(at, words, fill=_readable_on(colour), font=font)
    return np.array(image)


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """FONT; where it is nowhere, Pillow's own, which has the letters of English alone."""
    matplotlib = find_spec('matplotlib')
    beside = [Path(matplotlib.origin).with_name('mpl-data') / 'fonts/ttf'] if matplotlib and matplotlib.origin else []
    for name in (*(str(folder / FONT) for folder in beside), FONT):
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def _readable_on(colour: tuple[int, int, int]) -> str:
    """Black or white, by the colour's luminance."""
    return 'black' if np.dot(colour, (0.299, 0.587, 0.114)) > 140 else 'white'


def coloured(rgb: NDArray[np.uint8], mask: NDArray, palette: Sequence[tuple[int, int, int]]) -> NDArray[np.uint8]:
    """Each class's colour over the picture; pixels without a class as they are."""
    colours = np.zeros((np.iinfo(mask.dtype).max + 1, 3), np.uint8)
    colours[: len(palette)] = palette
    blend: NDArray[np.uint8] = cv2.addWeighted(rgb, 1 - OPACITY, colours[mask], OPACITY, 0)
    none = mask >= len(palette)
    if none.any():
        blend[none] = rgb[none]
    return blend

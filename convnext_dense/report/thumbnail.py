"""A picture with its annotations, small enough for a page."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from convnext_dense.data.bands import checked_bands, displayed
from convnext_dense.data.channels import read_channels
from convnext_dense.data.layouts.class_masks import Lookup
from convnext_dense.data.layouts.found import Box, Found, Picture
from convnext_dense.data.layouts.index import drawn
from convnext_dense.data.pictures import UnreadableError, opened
from convnext_dense.errors import InputError
from convnext_dense.predict.draw import coloured
from convnext_dense.report.html import SIDE, jpeg

ALPHA = 110  # of 255, of what is annotated over the picture
FONT = ImageFont.truetype(f'{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf', 11)
MARK = (255, 0, 80)
HATCH = 4  # of these pixels every second one is dark where a pixel has no class

Colour = tuple[int, int, int]


def thumbnail(
    found: Found,
    picture: Picture,
    palette: Sequence[Colour],
    mark: Box | None = None,
    masks: bool = False,
    channels: int | None = None,
) -> str:
    """A JPEG as a data URL, '' for what cannot be read: class masks where `masks`, else objects; `mark` is a place in it."""
    try:
        if channels is not None:
            values = read_channels(picture.path, channels)
            image = Image.fromarray(displayed(values, checked_bands(None, channels)))
        else:
            with opened(picture.path) as opened_image:
                image = _eight_bits(opened_image)
    except (UnreadableError, OSError):
        return ''
    scale = min(1.0, SIDE / max(image.size))
    small = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.BILINEAR)
    if masks and found.values is not None:
        small = _with_mask(small, found, picture, palette)
    else:
        small = _with_objects(small, found, picture, palette, scale, boxes=not masks)
    if mark is not None:
        _mark(small, mark, scale)
    return jpeg(small)


def _eight_bits(image: Image.Image) -> Image.Image:
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(('I', 'F')):
        values = np.asarray(image, np.float64)
        low, high = np.percentile(values, (2, 98))
        return Image.fromarray(((values - low) / max(high - low, 1e-9) * 255).clip(0, 255).astype(np.uint8)).convert('RGB')
    return image.convert('RGB')


def _with_mask(small: Image.Image, found: Found, picture: Picture, palette: Sequence[Colour]) -> Image.Image:
    """Classes in their colours, pixels of none dark."""
    assert found.values is not None
    try:
        mask = Lookup(found.values.classes.items(), found.values.colours)(picture.mask) if picture.mask else None
    except InputError:
        mask = None
    if mask is None:
        return small
    shrunk = np.asarray(Image.fromarray(mask).resize(small.size, Image.Resampling.NEAREST))
    rgb = coloured(np.array(small), shrunk, palette)
    none = shrunk >= len(palette)
    rgb[none] = rgb[none] // HATCH
    return Image.fromarray(rgb)


def _with_objects(
    small: Image.Image, found: Found, picture: Picture, palette: Sequence[Colour], scale: float, boxes: bool
) -> Image.Image:
    over = Image.new('RGBA', small.size)
    pen = ImageDraw.Draw(over)
    large_first = sorted(picture.objects, key=lambda one: -(one.box[2] - one.box[0]) * (one.box[3] - one.box[1]))
    for one in large_first:
        colour = palette[one.label]
        if isinstance(one.outline, list):
            for polygon in one.outline:
                pen.polygon([v * scale for v in polygon], fill=(*colour, ALPHA), outline=(*colour, 255))
        elif one.outline is not None:
            mask = Image.fromarray(drawn(one.outline, picture.size)).resize(small.size)
            over.paste((*colour, ALPHA), mask=mask)
    for one in large_first if boxes else ():
        colour = palette[one.label]
        x1, y1, x2, y2 = (v * scale for v in one.box)
        pen.rectangle((min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)), outline=(*colour, 255))
        text = found.classes[one.label] + (' (crowd)' if one.crowd else '')
        left, top, right, bottom = pen.textbbox((x1 + 1, max(0.0, y1 - 12)), text, font=FONT)
        pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), fill=(*colour, 220))
        pen.text((x1 + 1, max(0.0, y1 - 12)), text, font=FONT, fill='black' if sum(colour) > 380 else 'white')
    return Image.alpha_composite(small.convert('RGBA'), over).convert('RGB')


def _mark(small: Image.Image, box: Box, scale: float) -> None:
    """A frame around a place, a little away from it, so that a tiny one is seen."""
    x1, y1, x2, y2 = (v * scale for v in box)
    x1, x2, y1, y2 = min(x1, x2) - 5, max(x1, x2) + 5, min(y1, y2) - 5, max(y1, y2) + 5
    width, height = small.size
    frame = max(1.0, x1), max(1.0, y1), min(width - 2.0, x2), min(height - 2.0, y2)
    frame = min(frame[0], width - 4.0), min(frame[1], height - 4.0), max(frame[2], 3.0), max(frame[3], 3.0)
    ImageDraw.Draw(small).rectangle(frame, outline=MARK, width=3)

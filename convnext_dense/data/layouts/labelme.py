"""LabelMe's JSON: a file for each picture, with shapes (labelme.io)."""

from __future__ import annotations

import base64
import binascii
import io
import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as run_lengths

from convnext_dense.data.layouts.found import (
    Found,
    Object,
    Picture,
    below,
    box_of,
    by_name,
    picture_size,
    pictures_in,
    split_of,
)
from convnext_dense.data.layouts.json_files import contents, read_json
from convnext_dense.data.layouts.mask_files import encoded, placed
from convnext_dense.data.pictures import Size, is_file
from convnext_dense.errors import InputError

NO_AREA = ('point', 'points', 'line', 'linestrip')
KINDS = ('polygon', 'rectangle', 'circle', 'mask')


def _is(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get('shapes'), list) and 'imagePath' in content


def looks(root: Path) -> str:
    return next((below(path, root) for path, content in contents(root, sample=True) if _is(content)), '')


def read(root: Path) -> Found:
    """All pictures: those without a file have no objects. Shapes of one `group_id` and label are one object.

    Raises:
        InputError: for a file whose picture is not there, and shapes that are none.
    """
    pictures: dict[Path, Picture] = {}
    shapes: list[tuple[Picture, Path, list[dict[str, Any]]]] = []
    there = pictures_in(root)
    inside = by_name(there)
    for path in sorted(root.rglob('*.json')):
        content = read_json(path)
        if not _is(content):
            continue
        picture = _picture(path, content['imagePath'], inside)
        if picture in pictures:
            raise InputError(f'data: {path} and another file are of the picture {picture}; expected one: mend imagePath')
        said = content.get('imageWidth'), content.get('imageHeight')
        size = (int(said[0]), int(said[1])) if all(isinstance(v, int) and v > 0 for v in said) else picture_size(picture)
        found = Picture(picture, below(picture, root), size, split=_split(picture, root))
        pictures[picture] = found
        shapes.append((found, path, content['shapes']))
    for path in there:
        if path not in pictures:
            pictures[path] = Picture(path, below(path, root), picture_size(path), split=_split(path, root))
    names = sorted({_label(shape, path) for _, path, several in shapes for shape in several if _kind(shape) not in NO_AREA})
    left_out: Counter[str] = Counter()
    for picture_found, path, several in shapes:
        picture_found.objects = _objects(several, names, picture_found.size, path, left_out)
    notes = [f'{count} {kind} are left out' for kind, count in left_out.items()]
    return Found('LabelMe', looks(root), root, tuple(names), sorted(pictures.values(), key=lambda one: one.name), notes=notes)


def _split(path: Path, root: Path) -> str:
    return split_of(*path.relative_to(root).parts[:-1]) if path.is_relative_to(root) else ''


def _picture(path: Path, given: Any, inside: dict[str, list[Path]]) -> Path:
    """Where imagePath leads, on the machine of its annotator or here; else the one picture of that, or of the file's name."""
    name = PureWindowsPath(str(given))
    tries = [Path(os.path.normpath(path.parent / name.as_posix())), path.parent / name.name]
    tries += [beside for beside in sorted(path.parent.glob(f'{_plain(path.stem)}.*')) if beside.suffix != '.json']
    same = inside.get(name.name, [])
    found = next((one for one in tries if is_file(one)), same[0] if len(same) == 1 else None)
    if found is None:
        raise InputError(f'data: {path} is of the picture {given}, which is not in the folder; add it or take the file out')
    return found


def _plain(text: str) -> str:
    """A name without what a pattern would read as its own."""
    return ''.join(f'[{letter}]' if letter in '*?[' else letter for letter in text)


def _kind(shape: dict[str, Any]) -> str:
    return str(shape.get('shape_type') or 'polygon')


def _label(shape: Any, path: Path) -> str:
    if not isinstance(shape, dict) or not isinstance(shape.get('label'), str) or not isinstance(shape.get('points'), list):
        raise InputError(f'data: {path}: expected shapes with label and points, got {str(shape)[:60]}; mend it')
    return shape['label']


def _objects(
    shapes: Sequence[dict[str, Any]], names: list[str], size: Size, path: Path, left_out: Counter[str]
) -> list[Object]:
    found: list[Object] = []
    groups: dict[tuple[str, Any], Object] = {}
    for shape in shapes:
        kind = _kind(shape)
        points = [[float(v) for v in point] for point in shape['points']]
        if kind in NO_AREA:
            left_out[f'{kind} shapes'] += 1
            continue
        if kind not in KINDS:
            raise InputError(f'data: {path}: expected shapes of {", ".join(KINDS)}, got {kind!r}; mend it')
        if (kind == 'polygon' and len(points) < 3) or (kind != 'polygon' and len(points) != 2):
            left_out[
                'polygons of less than three points' if kind == 'polygon' else f'{kind} shapes of other than two points'
            ] += 1
            continue
        one = _object(shape, kind, points, names.index(shape['label']), size, path)
        key = (shape['label'], shape.get('group_id'))
        group = groups.get(key) if key[1] is not None else None
        if group is not None and isinstance(group.outline, list) and isinstance(one.outline, list):
            group.outline += one.outline
            group.box = box_of(group.outline)
            continue
        groups[key] = one
        found.append(one)
    return found


def _object(shape: dict[str, Any], kind: str, points: list[list[float]], label: int, size: Size, path: Path) -> Object:
    if kind == 'circle':
        points = _circle(points[0], points[1])
    flat = [v for point in points for v in point]
    box = box_of([flat])
    if kind == 'rectangle':
        return Object(label, box)
    if kind == 'mask':
        runs = _mask(shape, box, size, path)
        x, y, w, h = (float(v) for v in run_lengths.toBbox(runs))
        return Object(label, (x, y, x + w, y + h), runs)
    return Object(label, box, [flat])


def _circle(centre: Sequence[float], edge: Sequence[float]) -> list[list[float]]:
    """A polygon that is nowhere further than a tenth of a pixel from the circle."""
    radius = math.dist(centre, edge)
    count = max(12, math.ceil(math.pi / math.acos(1 - 0.1 / radius))) if radius > 1 else 12
    angles = (2 * math.pi * index / count for index in range(count))
    return [[centre[0] + radius * math.cos(a), centre[1] + radius * math.sin(a)] for a in angles]


def _mask(shape: dict[str, Any], box: tuple[float, ...], size: Size, path: Path) -> dict[str, Any]:
    """A PNG of the box, in base64, as a mask of the picture in run lengths."""
    try:
        part = np.asarray(Image.open(io.BytesIO(base64.b64decode(shape['mask'], validate=True)))) > 0
    except (KeyError, TypeError, OSError, binascii.Error, ValueError) as error:
        raise InputError(f'data: {path}: a mask shape cannot be read ({type(error).__name__}); mend it') from error
    return encoded(placed(part, max(0, round(box[0])), max(0, round(box[1])), size))

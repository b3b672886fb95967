"""CVAT's own XML, "CVAT for images 1.1" (docs.cvat.ai, XML annotation format)."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import numpy as np

from convnext_dense.data.layouts.found import (
    Found,
    Object,
    Picture,
    below,
    box_of,
    by_name,
    label_of,
    pictures_in,
    read_xml,
    split_of,
)
from convnext_dense.data.layouts.mask_files import encoded, placed
from convnext_dense.data.pictures import Size, is_file
from convnext_dense.errors import InputError, last_line

NO_AREA = ('polyline', 'points', 'skeleton', 'cuboid', 'tag', 'ellipse')


def _files(root: Path) -> list[Path]:
    found = [path for pattern in ('*.xml', '*/*.xml') for path in sorted(root.glob(pattern))]
    return [path for path in found if _is(path)]


def _is(path: Path) -> bool:
    try:
        with path.open('rb') as file:
            start = file.read(4096)
    except OSError:
        return False
    return b'<annotations' in start


def looks(root: Path) -> str:
    return ' and '.join(below(path, root) for path in _files(root)[:2])


def read(root: Path) -> Found:
    """All pictures that the file lists.

    Raises:
        InputError: for a broken file, a picture that is not there, a class that the labels do not have.
    """
    pictures: list[Picture] = []
    classes: list[str] = []
    seen: dict[Path, Path] = {}
    inside = by_name(pictures_in(root))
    left_out: Counter[str] = Counter()
    for path in _files(root):
        tree = read_xml(path)
        if tree.find('.//track') is not None:
            raise InputError(f'data: {path} has the tracks of a video; export it as "CVAT for images 1.1"')
        names = [name.text or '' for name in tree.findall('.//meta//labels/label/name')]
        names = names or sorted({shape.get('label', '') for image in tree.iter('image') for shape in image})
        classes += [name for name in dict.fromkeys(names) if name not in classes]
        for image in tree.iter('image'):
            picture = _picture(image, path, root, inside, classes, left_out)
            if seen.setdefault(picture.path, path) != path:
                raise InputError(f'data: {picture.path} stands in {seen[picture.path]} and {path}; take it out of one')
            pictures.append(picture)
    notes = [f'{count} {kind} are left out' for kind, count in left_out.items()]
    return Found('CVAT XML', looks(root), root, tuple(classes), sorted(pictures, key=lambda one: one.name), notes=notes)


def _picture(
    image: ET.Element, source: Path, root: Path, inside: dict[str, list[Path]], classes: list[str], left_out: Counter[str]
) -> Picture:
    name = image.get('name', '')
    tries = [root / name, root / 'images' / name, source.parent / name, source.parent / 'images' / name]
    path = next((one for one in tries if is_file(one)), None)
    if path is None:
        same = inside.get(Path(name).name, [])
        if len(same) != 1:
            raise InputError(f'data: {source} names {name}, which is not in {root}; add the picture or take out its entry')
        path = same[0]
    size = int(image.get('width', 0)), int(image.get('height', 0))
    where = f'{source}, image {name}'
    objects = []
    for shape in image:
        if shape.tag in NO_AREA:
            left_out[f'shapes of the kind {shape.tag}'] += 1
            continue
        one = _object(shape, size, label_of(shape.get('label', ''), classes, where), where)
        if one is None:
            left_out['polygons of less than three points'] += 1
        else:
            objects.append(one)
    return Picture(path, below(path, root), size, objects, split=split_of(image.get('subset', ''), *Path(name).parts[:-1]))


def _object(shape: ET.Element, size: Size, label: int, where: str) -> Object | None:
    try:
        if shape.tag == 'polygon':
            points = [float(v) for pair in shape.get('points', '').split(';') for v in pair.split(',')]
            return Object(label, box_of([points]), [points]) if len(points) >= 6 else None
        if shape.tag == 'box':
            x1, y1, x2, y2 = (float(shape.get(key, 'x')) for key in ('xtl', 'ytl', 'xbr', 'ybr'))
            turn = float(shape.get('rotation', 0))
            if turn:
                corners = turned((x1, y1, x2, y2), turn)
                return Object(label, box_of([corners]), [corners])
            return Object(label, (x1, y1, x2, y2))
        if shape.tag == 'mask':
            left, top, width, height = (int(shape.get(key, 'x')) for key in ('left', 'top', 'width', 'height'))
            runs = [int(v) for v in shape.get('rle', '').split(',')]
            part = np.repeat(np.arange(len(runs)) % 2, runs).reshape(height, width)
            return Object(label, (left, top, left + width, top + height), encoded(placed(part, left, top, size)))
    except ValueError as error:
        raise InputError(f'data: {where}: a {shape.tag} cannot be read ({last_line(error)}); mend it') from error
    raise InputError(f'data: {where}: expected polygon, box or mask, got {shape.tag}; mend it')


def turned(box: tuple[float, float, float, float], degrees: float) -> list[float]:
    """The corners of a box that is turned clockwise around its centre."""
    x1, y1, x2, y2 = box
    x, y, angle = (x1 + x2) / 2, (y1 + y2) / 2, math.radians(degrees)
    found = []
    for px, py in ((x1, y1), (x2, y1), (x2, y2), (x1, y2)):
        dx, dy = px - x, py - y
        found += [x + dx * math.cos(angle) - dy * math.sin(angle), y + dx * math.sin(angle) + dy * math.cos(angle)]
    return found

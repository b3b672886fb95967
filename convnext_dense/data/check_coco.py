"""What is wrong with this COCO data set? Found before training, named with file, id and value."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from convnext_dense.data.coco import class_names, read_coco
from convnext_dense.text import listed

OVER = 2.0  # pixels that a box may reach over the border; annotators' tools round
EXIF_ORIENTATION = 0x0112
TURNED = (5, 6, 7, 8)  # orientations that swap width and height


def coco_problems(annotations: Path, images: Path, with_masks: bool, sample: int | None) -> Iterator[str]:
    """Problems of a COCO file and its images, each a line.

    `sample` images are opened, spread evenly, or all for None; their files must all be there.
    """
    coco = read_coco(annotations)
    yield from _duplicates(annotations, coco)
    sizes = {}
    for image in coco['images']:
        if not all(isinstance(image.get(key), int) and image[key] > 0 for key in ('width', 'height')):
            yield f'{annotations}: image {image["id"]} ({image["file_name"]}) has no width and height in pixels'
        else:
            sizes[image['id']] = (image['width'], image['height'])
    known = {category['id'] for category in coco['categories']}
    images_known = {image['id'] for image in coco['images']}
    unknown = Counter(item.get('category_id') for item in coco['annotations'] if item.get('category_id') not in known)
    for category, count in unknown.items():
        yield (
            f'{annotations}: category id {category} of {count} annotations is not in the list of categories ({listed(known)})'
        )
    for item in coco['annotations']:
        if item['image_id'] not in images_known:
            yield f'{annotations}: annotation {item["id"]} is of image {item["image_id"]}, which is not in the list of images'
        elif item['image_id'] in sizes:
            for problem in _annotation_problems(item, *sizes[item['image_id']], with_masks):
                yield f'{annotations}: annotation {item["id"]} (image {item["image_id"]}) {problem}'
    present = []
    for image in coco['images']:
        path = images / image['file_name']
        if path.is_file():
            present.append((path, image))
        else:
            yield f'{annotations}: image {image["id"]} is missing: {path}'
    for path, image in spread(present, sample):
        yield from _image_problems(path, sizes.get(image['id']))


def spread(items: list[Any], most: int | None) -> list[Any]:
    """At most `most` of the items, spread evenly; all for None."""
    if most is None or len(items) <= most:
        return items
    return [items[int(i)] for i in np.linspace(0, len(items) - 1, most)]


def _duplicates(annotations: Path, coco: dict[str, Any]) -> Iterator[str]:
    for key in ('images', 'annotations', 'categories'):
        twice = [i for i, count in Counter(str(row['id']) for row in coco[key]).items() if count > 1]
        if twice:
            yield f'{annotations}: {key} with the same id: {listed(twice)}'
    twice = [name for name, count in Counter(class_names(coco)).items() if count > 1]
    if twice:
        yield f'{annotations}: categories with the same name: {listed(twice)}'


def _annotation_problems(item: dict[str, Any], width: int, height: int, with_masks: bool) -> Iterator[str]:
    box = _box(item)
    if box is None:
        yield f'has bbox {item.get("bbox")}; expected [x, y, width, height] in pixels'
    else:
        x, y, w, h = box
        if w < 0 or h < 0:
            yield f'has bbox {box} with a negative side; expected [x, y, width, height]'
        elif x < -OVER or y < -OVER or x + w > width + OVER or y + h > height + OVER:
            yield f'has bbox {box} outside its image of {width}x{height}; expected [x, y, width, height] in pixels'
    if not isinstance(item.get('area'), (int, float)):
        yield 'has no area; expected the area of its mask in square pixels'
    if with_masks:
        yield from _mask_problems(item, width, height)


def _box(item: dict[str, Any]) -> list[float] | None:
    """The annotation's x, y, width, height; None if it has no such four numbers."""
    box = item.get('bbox')
    sound = isinstance(box, list) and len(box) == 4 and all(isinstance(v, (int, float)) and math.isfinite(v) for v in box)
    return box if sound else None


def _mask_problems(item: dict[str, Any], width: int, height: int) -> Iterator[str]:
    shape = item.get('segmentation')
    if isinstance(shape, dict):
        if list(shape.get('size', ())) != [height, width]:
            yield f'has a run-length mask of size {shape.get("size")}; expected [{height}, {width}]'
        return
    if not isinstance(shape, list) or not shape:
        yield 'has no segmentation; expected polygons or a run-length mask (for boxes alone take a box detector)'
        return
    for polygon in shape:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            numbers = len(polygon) if isinstance(polygon, list) else polygon
            yield f'has a polygon of {numbers} numbers; expected x, y of three points or more'


def _image_problems(path: Path, size: tuple[int, int] | None) -> Iterator[str]:
    try:
        with Image.open(path) as image:
            image.load()
            orientation, stored = image.getexif().get(EXIF_ORIENTATION, 1), image.size
    except (OSError, SyntaxError, ValueError) as error:
        yield f'{path} cannot be read ({error})'
        return
    read = stored[::-1] if orientation in TURNED else stored  # as mmcv reads it: turned by its EXIF
    if size is not None and read != size:
        turned = f' (EXIF orientation {orientation} is applied on reading)' if orientation in TURNED else ''
        yield f'{path} is {read[0]}x{read[1]}{turned}, but the annotation file says {size[0]}x{size[1]} (width x height)'


def left_out(annotations: Path, keeps_empty: bool) -> str | None:
    """What mmdet leaves out of training without a word: annotations of zero area, images without any object."""
    coco = read_coco(annotations)
    boxes = [box for box in map(_box, coco['annotations']) if box is not None]
    empty = sum(min(box[2:]) < 1 for box in boxes)  # mmdet drops boxes of less than a pixel a side
    bare = len({image['id'] for image in coco['images']} - {item['image_id'] for item in coco['annotations']})
    crowds = sum(bool(item.get('iscrowd')) for item in coco['annotations'])
    parts = [f'{empty} objects of less than a pixel a side'] * bool(empty)
    parts += [f'{crowds} crowds, whose regions are neither object nor background'] * bool(crowds)
    parts += [f'{bare} images without objects (filter_cfg.filter_empty_gt=False keeps them)'] * bool(bare and not keeps_empty)
    return f'left out of training: {"; ".join(parts)}' if parts else None

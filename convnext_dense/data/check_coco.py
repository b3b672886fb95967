"""What is wrong with this COCO data set? Found before training, named with file, id and value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from convnext_dense.data.channels import size_reader
from convnext_dense.data.check_masks import HUGE, NUMBERS, is_number, mask_problems
from convnext_dense.data.coco import class_names, read_coco
from convnext_dense.data.pictures import TURNED, Size, UnreadableError, is_file
from convnext_dense.data.pipeline import smallest_side
from convnext_dense.errors import InputError
from convnext_dense.expect import brief
from convnext_dense.text import listed

OVER = 2.0  # pixels that a box may reach over the border; annotators' tools round
MOST_SIDE = 2**20 - 1  # OpenCV reads no longer ones
FLAGS = (0, 1)  # of iscrowd and ignore; false and true are equal to them


def coco_problems(annotations: Path, images: Path, with_masks: bool, sample: int | None, pipeline: Any = None) -> Iterator[str]:
    """Problems of a COCO file and its images, each a line.

    `sample` images are opened, spread evenly, or all for None; their files must all be there. An image that the resizing of the
    `pipeline` would make nothing of is a problem.
    """
    coco = read_coco(annotations)
    yield from _duplicates(annotations, coco)
    sizes: dict[int, Size] = {}
    for image in coco['images']:
        sides = image.get('width'), image.get('height')
        if all(type(side) is int and 0 < side <= MOST_SIDE for side in sides):
            sizes[image['id']] = sides
        else:
            yield (
                f'{annotations}: image {image["id"]} ({image["file_name"]}) has no width and height in pixels; '
                f'expected width and height from 1 to {MOST_SIDE}, got {brief(sides[0])} and {brief(sides[1])}'
            )
    known = {category['id'] for category in coco['categories']}
    images_known = {image['id'] for image in coco['images']}
    unknown = Counter(item['category_id'] for item in coco['annotations'] if item['category_id'] not in known)
    for category, count in unknown.items():
        yield (
            f'{annotations}: category id {category} of {count} annotations is not in the list of categories ({listed(known)})'
        )
    sound = []
    for item in coco['annotations']:
        if item['image_id'] not in images_known:
            yield f'{annotations}: annotation {item["id"]} is of image {item["image_id"]}, which is not in the list of images'
        elif item['image_id'] in sizes:
            sound.append((item, sizes[item['image_id']]))
            for problem in _annotation_problems(item, *sizes[item['image_id']]):
                yield _line(annotations, item, problem)
    if with_masks:
        for item, problem in mask_problems(sound):
            yield _line(annotations, item, problem)
    present = []
    for image in coco['images']:
        path = images / image['file_name']
        if is_file(path):
            present.append((path, image))
        else:
            yield f'{annotations}: image {image["id"]} is missing: {path}{_instead(path)}'
    for path, image in spread(present, sample):
        yield from _image_problems(path, sizes.get(image['id']), pipeline)


def _line(annotations: Path, item: dict[str, Any], problem: str) -> str:
    return f'{annotations}: annotation {item["id"]} (image {item["image_id"]}) {problem}'


def _instead(path: Path) -> str:
    """What is in a file's place, if anything."""
    try:
        return ' (a folder; expected a picture)' if path.is_dir() else ' (a broken link)' if path.is_symlink() else ''
    except (OSError, ValueError):
        return ' (no path for a file)'


def spread(items: list[Any], most: int | None) -> list[Any]:
    """At most `most` of the items, spread evenly; all for None."""
    if most is None or len(items) <= most:
        return items
    return [items[int(i)] for i in np.linspace(0, len(items) - 1, most)]


def _duplicates(annotations: Path, coco: dict[str, Any]) -> Iterator[str]:
    for key in ('images', 'annotations', 'categories'):
        twice = [i for i, count in Counter(row['id'] for row in coco[key]).items() if count > 1]
        if twice:
            yield f'{annotations}: {key} with the same id: {listed(twice)}'
    twice = [name for name, count in Counter(class_names(coco)).items() if count > 1]
    if twice:
        yield f'{annotations}: categories with the same name: {listed(twice)}'


def _annotation_problems(item: dict[str, Any], width: int, height: int) -> Iterator[str]:
    box = _box(item)
    if box is None:
        yield f'has bbox {brief(item.get("bbox"))}; expected [x, y, width, height] in pixels'
    else:
        x, y, w, h = box
        if w < 0 or h < 0:
            yield f'has bbox {box} with a negative side; expected [x, y, width, height]'
        elif x < -OVER or y < -OVER or x + w > width + OVER or y + h > height + OVER:
            yield f'has bbox {box} outside its image of {width}x{height}; expected [x, y, width, height] in pixels'
    area = item.get('area')
    if not is_number(area) or area < 0:
        got = 'no area' if area is None else f'area {brief(area)}'
        yield f'has {got}; expected the area of its mask in square pixels'
    for flag in ('iscrowd', 'ignore'):
        if flag in item and (isinstance(item[flag], float) or item[flag] not in FLAGS):
            yield f'has {flag} {brief(item[flag])}; expected 0 or 1'


def _box(item: dict[str, Any]) -> list[float] | None:
    """The annotation's x, y, width, height; None if it has no such four numbers."""
    box = item.get('bbox')
    if not isinstance(box, list) or len(box) != 4 or not set(map(type, box)) <= NUMBERS:
        return None
    x, y, w, h = box
    return box if -HUGE < x < HUGE and -HUGE < y < HUGE and -HUGE < w < HUGE and -HUGE < h < HUGE else None  # no NaN either


def _image_problems(path: Path, size: Size | None, pipeline: Any) -> Iterator[str]:
    try:
        read, orientation = size_reader(pipeline)(path)
    except UnreadableError as error:
        yield f'{path} {error}'
        return
    if size is not None and read != size:
        turned = f' (EXIF orientation {orientation} is applied on reading)' if orientation in TURNED else ''
        yield f'{path} is {read[0]}x{read[1]}{turned}, but the annotation file says {size[0]}x{size[1]} (width x height)'
    if smallest_side(read, pipeline) < 1:
        yield f'{path} is {read[0]}x{read[1]}, of which the Resize in the pipeline would leave no pixel; cut it into tiles'


def filters(spec: Mapping[str, Any]) -> tuple[bool, float]:
    """Of a CocoDataset's config: whether images without objects are kept, and the least side of those that are.

    Raises:
        InputError: if the least side is no number.
    """
    given = spec.get('filter_cfg') or {}
    least = given.get('min_size', 0) if isinstance(given, Mapping) else None
    if not is_number(least):
        raise InputError(f'filter_cfg: expected dict(filter_empty_gt=True, min_size=PIXELS), got {brief(given)}')
    return not given.get('filter_empty_gt', False), least


def nothing_left(
    annotations: Path, keeps_empty: bool, min_size: float, classes: Collection[str] | None = None
) -> Iterator[str]:
    """A line where mmdet's filter leaves no image, or no object, to train on; `classes` where they are a part of the file's."""
    coco = read_coco(annotations)
    objects = _of_classes(coco, classes)
    annotated = {item['image_id'] for item in objects}
    sizes = {image['id']: _size(image) for image in coco['images']}
    large = {key for key, size in sizes.items() if size is None or min(size) >= min_size}
    kept = large if keeps_empty else large & annotated
    if not kept:
        yield (
            f'{annotations}: no image is left to train on: of {len(sizes)}, {len(sizes) - len(large)} have a side below '
            f'{min_size} pixels (filter_cfg.min_size) and {len(large)} no object of the classes; expected annotations'
        )
    elif not keeps_empty and not any(item['image_id'] in kept and _trained(item, sizes[item['image_id']]) for item in objects):
        yield f'{annotations}: no object is left to train on: all {len(objects)} are crowds, ignored or empty; expected some'


def nothing_to_find(annotations: Path, classes: Collection[str] | None = None) -> Iterator[str]:
    """A line where no object counts in the evaluation."""
    if all(item.get('iscrowd') for item in _of_classes(read_coco(annotations), classes)):
        yield (
            f'{annotations}: no object is annotated, so that every number of the evaluation would be -1; expected annotations '
            '(for images without published ones: format_only=True and outfile_prefix in the evaluator)'
        )


def _of_classes(coco: dict[str, Any], classes: Collection[str] | None) -> list[dict[str, Any]]:
    ids = {category['id'] for category in coco['categories'] if classes is None or category['name'] in classes}
    return [item for item in coco['annotations'] if item['category_id'] in ids]


def _size(image: dict[str, Any]) -> Size | None:
    size: Any = image.get('width'), image.get('height')
    return size if all(map(is_number, size)) else None


def _flat(item: dict[str, Any]) -> bool:
    """Whether mmdet drops the object for its area alone."""
    area, box = item.get('area'), _box(item)
    return is_number(area) and area <= 0 and box is not None and min(box[2:]) >= 1


def _empty(item: dict[str, Any], size: Size | None) -> bool:
    """Whether mmdet drops the object: less than a pixel a side, no area, or none of the box in its image."""
    box, area = _box(item), item.get('area')
    if box is None or size is None or not is_number(area):
        return False  # wrong, and named elsewhere
    (x, y, w, h), (width, height) = box, size
    inside = min(x + w, width) > max(x, 0) and min(y + h, height) > max(y, 0)
    return w < 1 or h < 1 or area <= 0 or not inside


def _trained(item: dict[str, Any], size: Size | None) -> bool:
    return size is not None and not item.get('ignore') and not item.get('iscrowd') and not _empty(item, size)


def left_out(annotations: Path, keeps_empty: bool, min_size: float = 0, classes: Collection[str] | None = None) -> str | None:
    """What mmdet leaves out of training without a word: annotations of zero area, small images, images without any object."""
    coco = read_coco(annotations)
    sizes = {image['id']: _size(image) for image in coco['images']}
    objects = _of_classes(coco, classes)
    ignored = sum(bool(item.get('ignore')) for item in objects)
    dropped = [item for item in objects if not item.get('ignore') and _empty(item, sizes.get(item['image_id']))]
    flat = sum(map(_flat, dropped))
    empty = len(dropped) - flat
    crowds = sum(bool(item.get('iscrowd')) for item in objects)
    bare = len(sizes.keys() - {item['image_id'] for item in objects})
    small = sum(size is not None and min(size) < min_size for size in sizes.values())
    parts = [f'{empty} objects of less than a pixel a side'] * bool(empty)
    parts += [f'{flat} objects whose area is 0, which mmdet drops'] * bool(flat)
    parts += [f'{crowds} crowds, whose regions are neither object nor background'] * bool(crowds)
    parts += [f'{ignored} objects marked ignore'] * bool(ignored)
    parts += [f'{small} images with a side below {min_size} pixels (filter_cfg.min_size)'] * bool(small)
    parts += [f'{bare} images without objects (filter_cfg.filter_empty_gt=False keeps them)'] * bool(bare and not keeps_empty)
    lines = [f'left out of training: {"; ".join(parts)}'] * bool(parts)
    lines += ['no object to train on: every image is background'] * (not objects)
    return '; '.join(lines) or None

"""The record of a split that a run reads: COCO's JSON, with the mask file of each picture and what its values mean."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as run_lengths

from convnext_dense.data.layouts.found import Found, Object, Picture, Size, Values
from convnext_dense.errors import InputError, last_line
from convnext_dense.files import partial_file


def content(found: Found, pictures: Sequence[Picture]) -> dict[str, Any]:
    """Pictures and objects as COCO has them; `values` are pairs of a mask's value and its class."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, picture in enumerate(pictures):
        image: dict[str, Any] = dict(id=number, file_name=picture.name, width=picture.size[0], height=picture.size[1])
        images.append(image if picture.mask is None else image | dict(mask_file=str(picture.mask)))
        for one in picture.objects:
            annotations.append(dict(id=len(annotations) + 1, image_id=number) | annotation(one, picture.size))
    categories = [dict(id=number, name=name) for number, name in enumerate(found.classes, 1)]
    whole: dict[str, Any] = dict(
        info=dict(description=f'{found.layout} in {found.root}', layout=found.layout, root=str(found.root), why=found.why),
        images=images,
        annotations=annotations,
        categories=categories,
    )
    if found.values is not None:
        whole['values'] = dict(colours=found.values.colours, classes=sorted(found.values.classes.items()))
    return whole


def write(found: Found, pictures: Sequence[Picture], path: Path) -> None:
    with partial_file(str(path)) as partial:
        partial.write_text(json.dumps(content(found, pictures), ensure_ascii=False), encoding='utf-8')


def is_record(content: dict[str, Any]) -> bool:
    """Whether a file's content is what `write` writes."""
    info = content.get('info')
    return isinstance(info, dict) and {'layout', 'root', 'why'} <= info.keys()


def read(folder: Path) -> tuple[Found, dict[str, list[Picture]]]:
    """What `write` recorded in a folder: the splits, and all of them as they were found.

    Raises:
        InputError: for records that cannot be read.
    """
    parts: dict[str, list[Picture]] = {}
    found: Found | None = None
    for split in ('train', 'val', 'test'):
        path = folder / f'{split}.json'
        if not path.is_file():
            continue
        try:
            whole = json.loads(path.read_text(encoding='utf-8'))
            found = found or _found(whole)
            parts[split] = _pictures(whole, found.root)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f'data: {path} is no record of a run ({last_line(error)}); start without --resume') from error
        found.pictures += parts[split]
    if found is None:
        raise InputError(f'data: expected the records of the run in {folder}, found none; start without --resume')
    return found, parts


def _found(whole: dict[str, Any]) -> Found:
    info, given = whole['info'], whole.get('values')
    values = Values({int(v): int(i) for v, i in given['classes']}, given['colours']) if given else None
    return Found(info['layout'], info['why'], Path(info['root']), tuple(c['name'] for c in whole['categories']), [], values)


def _pictures(whole: dict[str, Any], root: Path) -> list[Picture]:
    pictures = {}
    for image in whole['images']:
        mask = Path(image['mask_file']) if 'mask_file' in image else None
        size = image['width'], image['height']
        pictures[image['id']] = Picture(root / image['file_name'], image['file_name'], size, mask=mask)
    for one in whole['annotations']:
        x, y, w, h = one['bbox']
        made = Object(one['category_id'] - 1, (x, y, x + w, y + h), one.get('segmentation'), bool(one['iscrowd']))
        pictures[one['image_id']].objects.append(made)
    return list(pictures.values())


def annotation(one: Object, size: Size) -> dict[str, Any]:
    """An object as COCO has it, without its ids. A crowd's outline is in run lengths, as the evaluators take it."""
    x1, y1, x2, y2 = one.box
    found: dict[str, Any] = dict(category_id=one.label + 1, bbox=[x1, y1, x2 - x1, y2 - y1], iscrowd=int(one.crowd))
    if one.outline is None:
        return found | dict(area=(x2 - x1) * (y2 - y1))
    outline = as_runs(one.outline, size) if one.crowd else one.outline
    return found | dict(segmentation=outline, area=area(one.outline, size))


def as_runs(outline: Any, size: Size) -> dict[str, Any]:
    """An outline in run lengths whose counts are text."""
    width, height = size
    if isinstance(outline, list):
        outline = run_lengths.merge(run_lengths.frPyObjects(outline, height, width))
    elif isinstance(outline['counts'], list):
        outline = run_lengths.frPyObjects(outline, height, width)
    counts = outline['counts']
    return dict(size=list(outline['size']), counts=counts.decode() if isinstance(counts, bytes) else counts)


def drawn(outline: Any, size: Size) -> np.ndarray:
    """An outline as a mask (H, W) of truths."""
    return run_lengths.decode(as_runs(outline, size)).astype(bool)


def area(outline: Any, size: Size) -> float:
    """Pixels of an outline; of polygons their exact area."""
    if not isinstance(outline, list):
        return float(run_lengths.area(as_runs(outline, size)))
    return sum(_polygon_area(polygon) for polygon in outline)


def _polygon_area(polygon: Sequence[float]) -> float:
    """By the shoelace formula."""
    xs, ys = np.asarray(polygon[::2]), np.asarray(polygon[1::2])
    return float(abs(np.dot(xs, np.roll(ys, -1)) - np.dot(ys, np.roll(xs, -1))) / 2)

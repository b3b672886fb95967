"""The record of a split that a run reads: COCO's JSON, with the mask file of each picture and what its values mean."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as run_lengths

from convnext_dense.data.layouts.found import Found, Object, Picture, Size
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
        info=dict(description=f'{found.layout} in {found.root}'), images=images, annotations=annotations, categories=categories
    )
    if found.values is not None:
        whole['values'] = dict(colours=found.values.colours, classes=sorted(found.values.classes.items()))
    return whole


def write(found: Found, pictures: Sequence[Picture], path: Path) -> None:
    with partial_file(str(path)) as partial:
        partial.write_text(json.dumps(content(found, pictures), ensure_ascii=False), encoding='utf-8')


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

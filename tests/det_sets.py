"""A detector's answers for tests: written by hand, and made up from the truth by spoiling it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from convnext_dense.report.det_matches import Detected

HEIGHT, WIDTH = 80, 100
IDS = (90, 7, 12, 33, 2, 51, 60, 61, 8, 70, 71, 3)  # of categories, in no order
FIRST = 11  # the first picture's id


def by_hand(
    truths: Sequence[tuple], found: Sequence[tuple], names: Sequence[str] = ('cat', 'dog'), images: int = 1, folder: str = '.'
) -> Detected:
    """Of boxes x, y, width, height: truths are (picture, class, box) or (picture, class, box, 'crowd'); then a score."""
    annotations = [_object(number, image, label, box, bool(crowd)) for number, (image, label, box, *crowd) in enumerate(truths)]
    detections = [
        dict(image_id=FIRST + image, category_id=IDS[label], bbox=list(map(float, box)), score=score)
        for image, label, box, score in found
    ]
    return Detected(_truth(annotations, names, images), {'bbox': detections}, Path(folder), {})


def _object(number: int, image: int, label: int, box: Sequence[float], crowd: bool) -> dict:
    """As a COCO file has it."""
    area = box[2] * box[3]
    return dict(id=number, image_id=FIRST + image, category_id=IDS[label], bbox=list(box), area=area, iscrowd=int(crowd))


def _truth(annotations: list[dict], names: Sequence[str], images: int) -> dict:
    return dict(
        images=[dict(id=FIRST + i, file_name=f'p{i}.png', width=WIDTH, height=HEIGHT) for i in range(images)],
        annotations=annotations,
        categories=[dict(id=number, name=name) for number, name in zip(IDS, names)],
    )


def made_up(
    seed: int = 0, images: int = 8, names: Sequence[str] = ('cat', 'dog', 'bird', 'none'), objects: int = 6, digits: int = 2
) -> Detected:
    """Jittered truth, wrong classes, duplicates, nothing at all, crowds; boxes and masks of the same.

    The first picture has no object, the last class neither. Scores have so many `digits`, so that some are equal.
    """
    random = np.random.default_rng(seed)
    annotations, rows = [], []
    for image in range(images):
        for _ in range(random.integers(1, objects + 1) if image else 0):
            label, crowd = int(random.integers(len(names) - 1)), random.random() < 0.12
            box = _box(random, 30 if crowd else 8, 60 if crowd else 40)
            annotations.append((image, label, box, crowd))
            for _ in range(random.integers(4)):
                near = [v + random.normal() * random.choice([0.5, 3, 8]) for v in box]
                other = int(random.integers(len(names))) if random.random() < 0.3 else label
                rows.append((image, other, _inside(near)))
        rows += [(image, int(random.integers(len(names))), _box(random, 4, 40)) for _ in range(random.integers(6))]
    order = random.permutation(len(rows))
    boxes = [(*rows[i], round(float(random.random()), digits)) for i in order]
    items = [
        dict(
            _object(number, image, label, box, crowd),
            area=box[2] * box[3] * 0.7,
            segmentation=_mask(box) if crowd else [_outline(box)],
        )
        for number, (image, label, box, crowd) in enumerate(annotations)
    ]
    found: dict[str, list[dict]] = {'bbox': [], 'segm': []}
    for image, label, box, score in boxes:
        row = dict(image_id=FIRST + image, category_id=IDS[label], score=score)
        found['bbox'].append(dict(row, bbox=list(box)))
        found['segm'].append(dict(row, segmentation=_mask(box)))
    return Detected(_truth(items, names, images), found, Path('.'), {})


def _box(random: np.random.Generator, least: float, most: float) -> tuple[float, ...]:
    width, height = random.uniform(least, most, 2)
    return _inside((random.uniform(0, WIDTH - width), random.uniform(0, HEIGHT - height), width, height))


def _inside(box: Sequence[float]) -> tuple[float, ...]:
    x, y, width, height = box
    x, y = min(max(x, 0.0), WIDTH - 4.0), min(max(y, 0.0), HEIGHT - 4.0)
    return x, y, min(max(width, 3.0), WIDTH - x), min(max(height, 3.0), HEIGHT - y)


def _outline(box: Sequence[float]) -> list[float]:
    """A polygon with its corners on the middles of the box's sides and on two of its corners."""
    x, y, width, height = box
    return [x, y, x + width, y + height / 2, x + width, y + height, x, y + height / 2]


def _mask(box: Sequence[float]) -> dict:
    encoded = coco_mask.frPyObjects([_outline(box)], HEIGHT, WIDTH)[0]
    return dict(encoded, counts=encoded['counts'].decode())

"""What a detector got wrong, to look at: the picture around an object that was missed, confused or badly placed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from convnext_dense.data.bands import shown_picture
from convnext_dense.data.pictures import UnreadableError, as_unreadable, quiet_opencv
from convnext_dense.report.det_matches import Detected
from convnext_dense.report.det_scenes import Box, Shapes
from convnext_dense.report.html import gallery, jpeg
from convnext_dense.report.tide import CLASS, MISSED, NOTHING, PLACE, Error, Tide

EACH = 12  # pictures of a gallery
SIDE = 240  # pixels of the longer side
MARGIN = 0.35  # of the objects' longer side, around them
LEAST = 16  # pixels of the picture around them, at least
TRUTH, FOUND = (0, 200, 0), (230, 0, 0)
TRUTH_LINE, FOUND_LINE = 4, 2  # pixels: where the two boxes agree, both are seen
GALLERIES = {
    MISSED: (
        'Missed objects',
        'Green: an object that no detection found, nor one of a wrong class or place; of each class the largest first.',
    ),
    NOTHING: (
        'False alarms',
        'Red: a detection where nothing is annotated, the highest scores first. It may be an object that was not annotated.',
    ),
    CLASS: ('Confused classes', 'Green: the object. Red: a detection of another class in its place, the highest scores first.'),
    PLACE: (
        'Badly placed',
        'Green: the object. Red: a detection of its class with an IoU of 0.1 to 0.5, the highest scores first.',
    ),
}


def galleries(detected: Detected, iou_type: str, found: Tide) -> list[str]:
    """A gallery in HTML for each kind of `GALLERIES` of which there are errors. One picture is in memory at a time."""
    cells = _Cells(detected, iou_type)
    chosen = {kind: chosen_errors(detected, iou_type, found, kind) for kind in GALLERIES}
    return [gallery(*GALLERIES[kind], [cells.cell(error) for error in errors]) for kind, errors in chosen.items() if errors]


def chosen_errors(detected: Detected, iou_type: str, found: Tide, kind: str) -> list[Error]:
    """Up to `EACH`: false positives by falling score; missed objects so that every class comes before any comes again."""
    errors = [error for error in found.errors if error.kind == kind and not error.in_crowd]
    if kind == MISSED:
        return _largest_of_each(detected, errors)[:EACH]
    scores = [item['score'] for item in detected.detections.get(iou_type, [])]
    return sorted(errors, key=lambda error: -scores[error.detection or 0])[:EACH]


def _largest_of_each(detected: Detected, errors: list[Error]) -> list[Error]:
    """The largest of each class, then the second of each; among those the larger one first."""
    ranked = []
    seen: dict[int, int] = {}
    areas = [(detected.truth['annotations'][error.truth or 0], error) for error in errors]
    for item, error in sorted(areas, key=lambda one: -_area(one[0])):
        rank = seen[item['category_id']] = seen.get(item['category_id'], -1) + 1
        ranked.append((rank, -_area(item), error))
    return [error for _, _, error in sorted(ranked, key=lambda one: one[:2])]


def _area(item: dict[str, Any]) -> float:
    return float(item['bbox'][2] * item['bbox'][3])


class _Cells:
    """Pictures and captions of errors."""

    def __init__(self, detected: Detected, iou_type: str) -> None:
        self.detected = detected
        self.shapes = Shapes(detected, iou_type)
        self.detections = detected.detections.get(iou_type, [])
        self.images = {image['id']: image for image in detected.truth['images']}
        self.names = {category['id']: category['name'] for category in detected.truth['categories']}

    def cell(self, error: Error) -> tuple[str, str]:
        """A data URL, '' for what cannot be read, and words."""
        truth = None if error.truth is None else self.shapes.truth_box(error.truth)
        found = None if error.detection is None else self.shapes.found_box(error.detection)
        item = self.detected.truth['annotations'][error.truth] if error.truth is not None else {}
        answer = self.detections[error.detection] if error.detection is not None else {}
        name = self.images[item['image_id'] if item else answer['image_id']]['file_name']
        words = []
        if answer:
            words.append(f'{self.names[answer["category_id"]]} {answer["score"]:.2f}')
        if error.kind == CLASS:
            words.append(f'is {self.names[item["category_id"]]}')
        if error.kind == PLACE:
            words.append(f'IoU {error.iou:.2f}')
        if error.kind == MISSED and truth is not None:
            words.append(f'{self.names[item["category_id"]]}, {truth[2] - truth[0]:.0f} x {truth[3] - truth[1]:.0f} pixels')
        try:
            with as_unreadable(), quiet_opencv():
                rgb = shown_picture(str(self.detected.images / name), self.detected.channels)
                url = jpeg(around(rgb, truth, found), None)
        except UnreadableError:
            url = ''
            words.append('cannot be read')
        return url, f'{", ".join(words)}: {name}'


def around(rgb: NDArray[np.uint8], truth: Box | None, found: Box | None) -> Image.Image:
    """A square of a picture (H, W, 3) around one box or two, cut at its edges, `SIDE` pixels long, with the boxes on it."""
    boxes = np.array([box for box in (truth, found) if box is not None])
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    longer = float((high - low).max())
    reach, middle = longer / 2 + max(LEAST, MARGIN * longer), (low + high) / 2
    height, width = rgb.shape[:2]
    # A box may lie outside the picture: at least one pixel of it is cut out.
    left, top = (int(np.clip(v, 0, most - 1)) for v, most in zip(np.floor(middle - reach), (width, height)))
    right, bottom = (
        int(np.clip(v, start + 1, most)) for v, start, most in zip(np.ceil(middle + reach), (left, top), (width, height))
    )
    scale = SIDE / max(right - left, bottom - top)
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    image = Image.fromarray(np.ascontiguousarray(rgb[top:bottom, left:right])).resize(size, Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(image)
    for box, colour, line in ((truth, TRUTH, TRUTH_LINE), (found, FOUND, FOUND_LINE)):
        if box is not None:
            x1, y1, x2, y2 = (float((v - start) * scale) for v, start in zip(box, (left, top, left, top)))
            pen.rectangle((min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)), outline=colour, width=line)
    return image

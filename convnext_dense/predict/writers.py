"""The files that a result becomes: one for each picture and format. What one file holds of all pictures is in `out_folder`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convnext_dense.predict.result import Result

LABELME = '5.5.0'  # the version whose layout is written
QUALITY = 90  # of JPEG pictures


class Outline(NamedTuple):
    """A region: its class, score (None: of a segmentor), and rings (N, 2) of x, y in pixels: the outer one, then the holes."""

    label: int
    score: float | None
    object: int | None  # its number among the picture's objects
    area: int
    rings: list[NDArray[np.int32]]


def outlines(result: Result) -> Iterator[Outline]:
    """Every region of every class or object (its box, without masks), rings through the centres of its outermost pixels."""
    if result.labels is None or result.boxes is None or result.scores is None:
        assert result.mask is not None
        for label in result.pixels:
            for area, rings in _regions(result.mask == label):
                yield Outline(label, None, None, area, rings)
        return
    for i, label in enumerate(result.labels.tolist()):
        found: Any
        if result.mask_data is not None:
            top, left, mask = result.patch(i)
            shift = np.array([left, top], np.int32)
            found = [(area, [ring + shift for ring in rings]) for area, rings in _regions(mask)]
        else:
            left, top, right, bottom = result.boxes[i].round().astype(np.int32)
            ring = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.int32)
            found = [(int((right - left) * (bottom - top)), [ring])]
        for area, rings in found:
            yield Outline(label, float(result.scores[i]), i, area, rings)


def _regions(mask: NDArray) -> Iterator[tuple[int, list[NDArray[np.int32]]]]:
    """Area in pixels between the rings, and the rings, of each region that has three points and more."""
    contours, hierarchy = cv2.findContours(np.ascontiguousarray(mask, np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    rings = [contour[:, 0] for contour in contours]
    for i, ring in enumerate(rings):
        if hierarchy[0][i][3] >= 0 or len(ring) < 3:  # a hole, or a line of pixels
            continue
        holes = [j for j in range(len(rings)) if hierarchy[0][j][3] == i and len(rings[j]) > 2]
        area = cv2.contourArea(ring) - sum(cv2.contourArea(rings[j]) for j in holes)
        yield int(area), [ring, *(rings[j] for j in holes)]


def write_picture(result: Result, path: Path) -> None:
    result.picture().save(path, format='JPEG', quality=QUALITY)


def write_png(result: Result, path: Path) -> None:
    """Class indices as the pixels' values, coloured by a palette where there are at most 255 classes."""
    values = result.class_map()
    image = Image.fromarray(values)
    if values.dtype == np.uint8:
        colours = np.zeros((256, 3), np.uint8)  # all of them: of fewer, Pillow would write fewer bits a pixel
        colours[: len(result.palette)] = result.palette
        image.putpalette(colours.tobytes())
    image.save(path, format='PNG', compress_level=1)


def write_json(result: Result, path: Path) -> None:
    path.write_text(result.to_json())


def write_npz(result: Result, path: Path) -> None:
    arrays = {key: getattr(result, key) for key in ('mask', 'boxes', 'scores', 'labels', 'masks')}
    with open(path, 'wb') as file:  # numpy would add a suffix to a name
        np.savez_compressed(file, classes=np.array(result.classes), **{key: a for key, a in arrays.items() if a is not None})


def write_labelme(result: Result, path: Path) -> None:
    """Polygons, the largest first, so that the ones in their holes come on top; LabelMe's polygons have no holes."""
    shapes = [
        dict(
            label=result.classes[region.label],
            points=region.rings[0].tolist(),
            group_id=region.object,
            description='' if region.score is None else f'score {region.score:.4f}',
            shape_type='polygon',
            flags={},
        )
        for region in sorted(outlines(result), key=lambda region: -cv2.contourArea(region.rings[0]))
    ]
    height, width = result.size
    content: dict[str, Any] = dict(
        version=LABELME,
        flags={},
        shapes=shapes,
        imagePath=os.path.abspath(result.source) if os.path.exists(result.source) else result.file,
        imageData=None,
        imageHeight=height,
        imageWidth=width,
    )
    path.write_text(json.dumps(content))


def write_geojson(result: Result, path: Path) -> None:
    """A feature for each region; coordinates are x and y in pixels, y downwards."""
    features = [
        dict(
            type='Feature',
            properties=dict(name=result.classes[region.label], label=region.label, object=region.object, score=region.score),
            geometry=dict(type='Polygon', coordinates=[[*ring.tolist(), ring[0].tolist()] for ring in region.rings]),
        )
        for region in outlines(result)
    ]
    path.write_text(json.dumps(dict(type='FeatureCollection', features=features)))


class Writer(NamedTuple):
    """Where a format's files go, and what writes one."""

    folder: str
    suffix: str
    write: Callable[[Result, Path], None]


PICTURES = Writer('pictures', '.jpg', write_picture)
WRITERS = {
    'png': Writer('masks', '.png', write_png),
    'json': Writer('json', '.json', write_json),
    'labelme': Writer('labelme', '.json', write_labelme),
    'npz': Writer('npz', '.npz', write_npz),
    'geojson': Writer('geojson', '.geojson', write_geojson),
}
TOGETHER = ('coco', 'csv')  # one file of all pictures
FORMATS = (*WRITERS, *TOGETHER)

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

from convnext_dense.data.rings import polygons
from convnext_dense.predict.result import Result

LABELME = '5.5.0'  # the version whose layout is written
QUALITY = 90  # of JPEG pictures
MOST = 16384  # pixels a side of a drawn picture


class Outline(NamedTuple):
    """A region: its class, score (None: of a segmentor), and its outer ring (N, 2) of x, y in pixels."""

    label: int
    score: float | None
    object: int | None  # its number among the picture's objects
    ring: NDArray[np.int32]


def outlines(result: Result) -> Iterator[Outline]:
    """Every region of three points and more, its ring through the centres of its outermost pixels."""
    for label, score, number, left, top, mask in _masks(result):
        image = np.ascontiguousarray(mask, np.uint8)
        contours, hierarchy = cv2.findContours(image, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        for i, contour in enumerate(contours):
            if hierarchy[0][i][3] < 0 and len(contour) > 2:  # no hole, and no line of pixels
                yield Outline(label, score, number, contour[:, 0] + np.array([left, top], np.int32))


def write_picture(result: Result, path: Path) -> None:
    picture = result.picture()
    picture.thumbnail((MOST, MOST))  # to look at; JPEG has 65,500 pixels a side at most
    picture.save(path, format='JPEG', quality=QUALITY)


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
            points=region.ring.tolist(),
            group_id=region.object,
            description='' if region.score is None else f'score {region.score:.4f}',
            shape_type='polygon',
            flags={},
        )
        for region in sorted(outlines(result), key=lambda region: -cv2.contourArea(region.ring))
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
    """A feature for each region, along the edges of its pixels; coordinates are x and y in pixels, y downwards."""
    features = []
    for label, score, number, left, top, mask in _masks(result):
        for rings in polygons(mask):
            features.append(
                dict(
                    type='Feature',
                    properties=dict(name=result.classes[label], label=label, object=number, score=score),
                    geometry=dict(type='Polygon', coordinates=[[[x + left, y + top] for x, y in ring] for ring in rings]),
                )
            )
    path.write_text(json.dumps(dict(type='FeatureCollection', features=features)))


def _masks(result: Result) -> Iterator[tuple[int, float | None, int | None, int, int, NDArray[np.bool_]]]:
    """Label, score and number of each object, or of each class; the left and top of its mask, and that. Boxes without masks."""
    if result.labels is None or result.boxes is None or result.scores is None:
        assert result.mask is not None
        for label in result.pixels:
            yield label, None, None, 0, 0, result.mask == label
        return
    for i, (label, score) in enumerate(zip(result.labels.tolist(), result.scores.tolist())):
        if result.mask_data is not None:
            top, left, mask = result.patch(i)
        else:
            left, top, right, bottom = result.boxes[i].round().astype(int).tolist()
            mask = np.ones((bottom - top, right - left), bool)
        yield label, score, i, left, top, mask


class Writer(NamedTuple):
    """Where a format's files go, and what writes one."""

    folder: str
    suffix: str
    write: Callable[[Result, Path], None]


DRAWN = Writer('pictures', '.jpg', write_picture)
WRITERS = {
    'png': Writer('masks', '.png', write_png),
    'json': Writer('json', '.json', write_json),
    'labelme': Writer('labelme', '.json', write_labelme),
    'npz': Writer('npz', '.npz', write_npz),
    'geojson': Writer('geojson', '.geojson', write_geojson),
}
TOGETHER = ('coco', 'csv')  # one file of all pictures
FORMATS = (*WRITERS, *TOGETHER)

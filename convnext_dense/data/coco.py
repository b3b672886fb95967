"""COCO files: read once, the classes in them, and the folder that their images are in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from convnext_dense.errors import InputError

BACKENDS = ('pycocotools', 'faster-coco-eval')  # that compute COCO's numbers


@dataclass(frozen=True)
class CocoFiles:
    """The annotation file and the image folder of a data set."""

    annotations: Path
    images: Path


def coco_files(spec: Mapping[str, Any]) -> CocoFiles:
    """The files that a CocoDataset's config names."""
    root = Path(spec.get('data_root') or '')
    return CocoFiles(root / spec['ann_file'], root / (spec.get('data_prefix') or {}).get('img', ''))


@lru_cache(maxsize=2)  # the training and the validation file
def read_coco(path: Path) -> dict[str, Any]:
    """The content of a COCO annotation file, with lists under images, annotations and categories.

    Raises:
        InputError: for a missing file, one that is no JSON, and one that is JSON but no COCO file.
    """
    if not path.is_file():
        raise InputError(
            f'data: expected a COCO annotation file, got {path} which is not there; pass --train-ann or --val-ann FILE'
        )
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(f'data: expected COCO JSON, got {path} which cannot be read ({error})') from error
    keys = list(content)[:8] if isinstance(content, dict) else type(content).__name__
    for key, fields in (('images', ('id', 'file_name')), ('annotations', ('id', 'image_id')), ('categories', ('id', 'name'))):
        rows = content.get(key) if isinstance(content, dict) else None
        if not isinstance(rows, list) or any(not isinstance(row, dict) or any(f not in row for f in fields) for row in rows):
            raise InputError(
                f'data: expected a COCO file, a dict with lists of dicts under images, annotations and categories; '
                f'got {path} with {keys}, where {key} is not a list of dicts with {" and ".join(fields)}'
            )
    for key in ('images', 'categories'):
        if not content[key]:
            raise InputError(f'data: expected a COCO file with {key}, got none in {path}')
    return content


def class_names(coco: dict[str, Any]) -> tuple[str, ...]:
    """The names of the categories in the file's order, which is that of mmdet's labels."""
    return tuple(str(category['name']) for category in coco['categories'])


def find_annotations(root: str | None, given: str) -> Path:
    """The annotation file that `given` means: in the data set's folder, or from the working directory.

    Raises:
        InputError: if it is in neither.
    """
    places = [Path(root, given)] if root else []
    places.append(Path(given))
    for place in places:
        if place.is_file():
            return place.resolve()
    tried = ' and '.join(dict.fromkeys(map(str, places)))
    raise InputError(
        f'data: expected a COCO annotation file, looked for {tried}; pass --data-root DIR, --train-ann and --val-ann FILE'
    )


def find_images(root: str | None, annotations: Path, prefix: str, coco: dict[str, Any]) -> Path:
    """The folder that holds the images of a COCO file.

    Looked through in this order, and the first with all images is taken, else the one with the most: the config's prefix, the
    folder named as in instances_NAME.json, images/, the data set's folder, the annotation file's folder and those below.

    Raises:
        InputError: if no folder holds any of the images.
    """
    base = Path(root) if root else annotations.parent
    name = annotations.stem.removeprefix('instances_')
    places = [base / prefix, base / name, base / 'images' / name, base / 'images', base, annotations.parent]
    for folder in (base, annotations.parent):
        below = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        places += [*below, *(deeper for path in below for deeper in sorted(path.iterdir()) if deeper.is_dir())]
    names = [str(image['file_name']) for image in coco['images']]
    best, most = None, 0
    for place in dict.fromkeys(places):
        if not (place / names[0]).is_file() and not (place / names[-1]).is_file():
            continue
        found = sum((place / name).is_file() for name in names)
        if found == len(names):
            return place.resolve()
        if found > most:
            best, most = place, found
    if best is None:
        raise InputError(
            f'data: expected the images of {annotations} (such as {names[0]}) in {base / prefix} or in a folder under {base}, '
            'found none; pass --data-root DIR or set data_prefix.img of the data set'
        )
    return best.resolve()

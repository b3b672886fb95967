"""COCO files: read once, the classes in them, and the folder that their images are in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from convnext_dense.errors import InputError

BACKENDS = ('pycocotools', 'faster-coco-eval')  # that compute COCO's numbers


@dataclass(frozen=True)
class CocoFiles:
    """The annotation file and the image folder of a data set."""

    annotations: Path
    images: Path


def innermost(spec: Any) -> Any:
    """The data set's own config, out of RepeatDataset and other wrappers."""
    while spec is not None and 'dataset' in spec:
        spec = spec['dataset']
    return spec


def is_coco_class(kind: Any) -> bool:
    """Whether a class is mmdet's CocoDataset or a subclass, told without importing mmdet."""
    return any(base.__name__ == 'CocoDataset' for base in getattr(kind, '__mro__', ()))


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

    Looked through in this order, and the first with all images is taken: the config's prefix, the folder named as in
    instances_NAME.json, images/, the data set's folder, the annotation file's. Then the folders below those two, of which
    only one may hold images of the file's names and sizes. Where none has all images, the one with the most is taken.

    Raises:
        InputError: if no folder holds any of the images, or several below could be meant.
    """
    base = Path(root) if root else annotations.parent
    name = annotations.stem.removeprefix('instances_')
    named = [base / prefix, base / name, base / 'images' / name, base / 'images', base, annotations.parent]
    below = []
    for folder in (base, annotations.parent):
        inner = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        below += [*inner, *(deeper for path in inner for deeper in sorted(path.iterdir()) if deeper.is_dir())]
    images = coco['images']
    counts = {place.resolve(): _present(place, images) for place in (*named, *below)}
    for place in named:
        if counts[place.resolve()] == len(images):
            return place.resolve()
    whole = [place for place, count in counts.items() if count == len(images)]
    if len(whole) > 1:
        whole = [place for place in whole if _sizes_agree(place, images)] or whole
    if len(whole) > 1:
        places = ' and '.join(map(str, whole[:3]))
        raise InputError(f'data: expected one folder with the images of {annotations}, found {places}; set data_prefix.img')
    most = max(counts.values())
    if not most:
        raise InputError(
            f'data: expected the images of {annotations} (such as {images[0]["file_name"]}) in {base / prefix} or in a folder '
            f'under {base}, found none; pass --data-root DIR or set data_prefix.img of the data set'
        )
    return whole[0] if whole else next(place for place, count in counts.items() if count == most)


def _present(folder: Path, images: Sequence[Mapping[str, Any]]) -> int:
    """How many of the images are in the folder; 0 as soon as neither the first nor the last is."""
    if not any((folder / image['file_name']).is_file() for image in (images[0], images[-1])):
        return 0
    return sum((folder / image['file_name']).is_file() for image in images)


def _sizes_agree(folder: Path, images: Sequence[Mapping[str, Any]]) -> bool:
    """Whether some of the folder's images have the sizes that the file says."""
    for image in images[:8]:
        with Image.open(folder / image['file_name']) as opened:
            if sorted(opened.size) != sorted((image.get('width', 0), image.get('height', 0))):
                return False
    return True

"""COCO files: read once, the classes in them, and the folder that their images are in."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from convnext_dense.data.pictures import UnreadableError, image_size, is_file, is_folder
from convnext_dense.errors import InputError
from convnext_dense.expect import brief
from convnext_dense.text import listed

BACKENDS = ('pycocotools', 'faster-coco-eval')  # that compute COCO's numbers
FIELDS = {
    'images': {'id': 'integer', 'file_name': 'text'},
    'annotations': {'id': 'integer', 'image_id': 'integer', 'category_id': 'integer'},
    'categories': {'id': 'integer', 'name': 'text'},
}
REQUIRED = {'images': ('id', 'file_name'), 'annotations': ('id', 'image_id'), 'categories': ('id', 'name')}
MOST = 2**53 - 1  # of ids: whole in float64, in which the evaluators keep them
EXPECTED = {'integer': f'an integer from 0 to {MOST}', 'text': 'text'}
MEND = 'mend the annotation file'
SHOWN = 3  # wrong values named in one line


@dataclass(frozen=True)
class CocoFiles:
    """The annotation file and the image folder of a data set."""

    annotations: Path
    images: Path


def parts(spec: Any, where: str = 'dataset') -> list[tuple[str, Any]]:
    """The data sets' own configs, out of ConcatDataset and other wrappers, each with its place in the config."""
    while isinstance(spec, Mapping) and 'dataset' in spec:
        spec, where = spec['dataset'], f'{where}.dataset'
    joined = spec.get('datasets') if isinstance(spec, Mapping) else None
    if not isinstance(joined, (list, tuple)) or not joined or not all(isinstance(one, Mapping) for one in joined):
        return [(where, spec)]
    return [part for index, one in enumerate(joined) for part in parts(one, f'{where}.datasets[{index}]')]


def both(one: Sequence[str], one_from: Any, other: Sequence[str], other_from: Any) -> str:
    """Two lists of classes for a message, and what only one of them has."""
    rows = [f'{len(names)} in {place}: {listed(names)}' for names, place in ((one, one_from), (other, other_from))]
    only = [
        f'only in {place}: {listed(rest)}'
        for rest, place in (([n for n in one if n not in other], one_from), ([n for n in other if n not in one], other_from))
        if rest
    ]
    return '; '.join([*rows, *(only or ['the order differs'])])


def is_coco_class(cls: Any) -> bool:
    """Whether a class is mmdet's CocoDataset or a subclass, told without importing mmdet."""
    return any(base.__name__ == 'CocoDataset' for base in getattr(cls, '__mro__', ()))


def coco_files(spec: Mapping[str, Any]) -> CocoFiles:
    """The files that a CocoDataset's config names.

    Raises:
        InputError: if it names none, or with anything but text.
    """
    prefix = spec.get('data_prefix') or {}
    if not isinstance(prefix, Mapping):
        raise InputError(f"data_prefix: expected dict(img='FOLDER'), got {brief(prefix)}")
    root, ann_file, images = spec.get('data_root') or '', spec.get('ann_file'), prefix.get('img', '')
    for key, value in (('data_root', root), ('ann_file', ann_file), ('data_prefix.img', images)):
        if not isinstance(value, str) or (key == 'ann_file' and not value):
            raise InputError(f'{key}: expected a path as text in the config of the data set, got {brief(value)}')
    return CocoFiles(Path(root, str(ann_file)), Path(root, images))


@lru_cache(maxsize=4)  # the training and the validation file, or some joined ones
def read_coco(path: Path) -> dict[str, Any]:
    """The content of a COCO annotation file, with lists under images, annotations and categories; ids are integers, names text.

    Raises:
        InputError: for a missing file, one that is no JSON, one that is JSON but no COCO file, ids and names of other types.
    """
    if not is_file(path):
        raise InputError(
            f'data: expected a COCO annotation file, got {path} which is {_what(path)}; pass --train-ann or --val-ann FILE'
        )
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except RecursionError as error:
        raise InputError(f'data: expected COCO JSON, got {path} which is nested too deep to be read') from error
    except (OSError, ValueError) as error:
        raise InputError(f'data: expected COCO JSON in UTF-8, got {path} which cannot be read ({error})') from error
    if isinstance(content, dict) and {'images', 'categories'} <= content.keys():
        content.setdefault('annotations', [])  # as of COCO's own test images
    keys = brief(list(content)) if isinstance(content, dict) else type(content).__name__
    for key, fields in REQUIRED.items():
        rows = content.get(key) if isinstance(content, dict) else None
        if not isinstance(rows, list) or any(not isinstance(row, dict) or any(f not in row for f in fields) for row in rows):
            raise InputError(
                f'data: expected a COCO file, a dict with lists of dicts under images, annotations and categories; '
                f'got {path} with {keys}, where {key} is not a list of dicts with {" and ".join(fields)}; {MEND}'
            )
    for key in ('images', 'categories'):
        if not content[key]:
            raise InputError(f'data: expected a COCO file with {key}, got none in {path}; {MEND}')
    wrong = list(_wrong_values(content))
    if wrong:
        more = f'; and {len(wrong) - SHOWN} more' if len(wrong) > SHOWN else ''
        raise InputError(f'data: {path}: {"; ".join(wrong[:SHOWN])}{more}; {MEND}')
    return content


def _what(path: Path) -> str:
    return 'a folder' if is_folder(path) else 'not there'


def _wrong_values(content: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Ids that are no integers and names that are no text: they would fail, or match nothing, far from here."""
    for key, fields in FIELDS.items():
        for field, wanted in fields.items():
            sound = _is_integer if wanted == 'integer' else _is_text
            for index, row in enumerate(content[key]):
                if not sound(row.get(field)):
                    which = f' (id {brief(row["id"])})' if field != 'id' else ''
                    yield f'{key}[{index}]{which} has {field} {brief(row.get(field))}; expected {EXPECTED[wanted]}'


def _is_integer(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MOST


def _is_text(value: Any) -> bool:
    """Whether it is a string that can be printed and be in a path."""
    if not isinstance(value, str) or not value.strip() or '\0' in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def class_names(coco: dict[str, Any]) -> tuple[str, ...]:
    """The names of the categories in the file's order, which is that of mmdet's labels."""
    return tuple(category['name'] for category in coco['categories'])


def class_list(spec: Mapping[str, Any]) -> tuple[str, ...] | None:
    """`metainfo.classes` of a data set's config; None where it names none.

    Raises:
        InputError: unless it is a list of different names, with a colour for each where there is a palette.
    """
    meta = spec.get('metainfo') or {}
    if not isinstance(meta, Mapping):
        raise InputError(f'metainfo: expected dict(classes=[...]), got {brief(meta)}')
    if 'classes' not in meta:
        return None
    names = meta['classes']
    if not isinstance(names, (list, tuple)) or not names or not all(map(_is_text, names)):
        raise InputError(f'metainfo.classes: expected a list of names, got {brief(names)}')
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f'metainfo.classes: expected different names, got {", ".join(twice)} more than once')
    palette = meta.get('palette')
    if palette:
        colours = palette if isinstance(palette, (list, tuple)) else []
        if len(colours) != len(names) or not all(map(_is_colour, colours)):
            given = f'{len(colours)} entries' if len(colours) != len(names) else brief(palette)
            raise InputError(f'metainfo.palette: expected {len(names)} colours [r, g, b] of 0 to 255, one a class; got {given}')
    return tuple(names)


def _is_colour(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 3 and all(type(v) is int and 0 <= v <= 255 for v in value)


def find_annotations(root: str | None, given: str) -> Path:
    """The annotation file that `given` means: in the data set's folder, or from the working directory.

    Raises:
        InputError: if it is in neither.
    """
    places = [Path(root, given)] if root else []
    places.append(Path(given))
    for place in places:
        if is_file(place):
            return _real(place)
    tried = ' and '.join(dict.fromkeys(f'{place} (a folder)' if is_folder(place) else str(place) for place in places))
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
        inner = _folders(folder)
        below += [*inner, *(deeper for path in inner for deeper in _folders(path))]
    images = coco['images']
    counts = {_real(place): _present(place, images) for place in (*named, *below)}
    for place in named:
        if counts[_real(place)] == len(images):
            return _real(place)
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


def _real(path: Path) -> Path:
    """Absolute, links followed; unlike Path.resolve, also where links go round in a circle."""
    return Path(os.path.realpath(path))


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder; none where it is not there or cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []


def _present(folder: Path, images: Sequence[Mapping[str, Any]]) -> int:
    """How many of the images are in the folder; 0 as soon as neither the first nor the last is."""
    if not any(is_file(folder / image['file_name']) for image in (images[0], images[-1])):
        return 0
    return sum(is_file(folder / image['file_name']) for image in images)


def _sizes_agree(folder: Path, images: Sequence[Mapping[str, Any]]) -> bool:
    """Whether some of the folder's images have the sizes that the file says."""
    for image in images[:8]:
        try:
            size, _ = image_size(folder / image['file_name'])
        except UnreadableError:
            return False
        said = image.get('width'), image.get('height')
        if size not in (said, said[::-1]):
            return False
    return True

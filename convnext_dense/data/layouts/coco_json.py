"""COCO's JSON: one file or one for each split, in the folder, in annotations/, or in each split's own (Roboflow)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

from convnext_dense.data.coco import MEND, class_names, find_images, read_coco
from convnext_dense.data.layouts.found import (
    Found,
    Object,
    Picture,
    below,
    box_of,
    by_name,
    picture_size,
    pictures_in,
    split_in,
    split_of,
    whole_polygons,
)
from convnext_dense.data.layouts.index import is_record
from convnext_dense.data.layouts.json_files import contents
from convnext_dense.errors import InputError
from convnext_dense.expect import brief, number
from convnext_dense.text import listed

SECTIONS = ('images', 'annotations', 'categories')


def files(root: Path, sample: bool = False) -> list[Path]:
    """The instance annotation files in the folder: not those of keypoints, whose instances have a file of their own."""
    found = [path for path, content in contents(root, sample) if _is(content)]
    people = [path for path in found if path.name.startswith('person_keypoints')]
    panoptic = [path for path in found if path.name.startswith('panoptic')]
    rest = [path for path in found if path not in people and path not in panoptic]
    return rest or found


def _unions(found: list[Path]) -> list[Path]:
    """Files of no split, such as trainval.json, whose pictures are all in those of the splits."""
    named = {path: {image['file_name'] for image in read_coco(path)['images']} for path in found}
    inside = set().union(*(names for path, names in named.items() if _has_split(path)))
    return [path for path, names in named.items() if not _has_split(path) and names <= inside]


def _is(content: Any) -> bool:
    """Whether it is an annotation file, and no record of a run that lies in the folder."""
    return isinstance(content, dict) and all(key in content for key in SECTIONS) and not is_record(content)


def looks(root: Path) -> str:
    return ' and '.join(below(path, root) for path in files(root, sample=True)[:2])


def read(root: Path) -> Found:
    """All pictures of all files; their classes must be the same.

    Raises:
        InputError: as reading the files does; for files of different classes, and a picture in two splits.
    """
    classes: tuple[str, ...] | None = None
    pictures: list[Picture] = []
    notes: list[str] = []
    first, thin = None, 0
    seen: dict[Path, str] = {}
    found = files(root)
    unions = _unions(found)
    found = [path for path in found if path not in unions]
    notes += [f'{path.name} has the pictures of the other files and is left out' for path in unions]
    for path in found:
        kept = read_coco(path)
        content = kept | dict(images=[dict(image) for image in kept['images']])  # whose names may be changed
        categories = _categories(content, notes)
        names = class_names(dict(content, categories=categories))
        if classes is None:
            classes, first = names, path
        elif classes != names:
            raise InputError(
                f'data: expected the same categories in all files, got {listed(classes)} in {first} and {listed(names)} in '
                f'{path}; --data-root with --train-ann and --val-ann names the two that are meant'
            )
        split = (
            (split_in(path.stem) or split_of(*path.relative_to(root).parts[:-1][::-1]))
            if len(found) > 1 or _has_split(path)
            else ''
        )
        check_content(content, categories, path)
        folder = _images(root, path, content)
        more, left_out = pictures_of(content, categories, folder, root, split)
        thin += left_out
        for picture in more:
            other = seen.setdefault(picture.path, str(path))
            if other != str(path):
                raise InputError(f'data: {picture.path} stands in {other} and {path}; expected it in one; take it out of one')
        pictures += more
    if thin:
        notes.append(f'{thin} polygons of less than three points are left out')
    return Found('COCO JSON', looks(root), root, classes or (), pictures, notes=notes)


def check_content(content: dict[str, Any], categories: Sequence[dict[str, Any]], path: Path) -> None:
    """Stop at annotations that no reader could place.

    Raises:
        InputError: with the annotation's id and what is wrong with it.
    """
    ids = [image['id'] for image in content['images']]
    twice = next((one for one, count in Counter(ids).items() if count > 1), None)
    if twice is not None:
        raise InputError(f'data: {path}: expected images of different ids, got {twice} more than once; {MEND}')
    images, labels = set(ids), {item['id'] for item in categories}
    for item in content['annotations']:
        where = f'data: {path}: annotation {item["id"]}'
        for key, known in (('image_id', images), ('category_id', labels)):
            if item[key] not in known:
                raise InputError(f'{where} has {key} {item[key]}, which is not among the {key[:-3]} ids; {MEND}')
        outline, box = item.get('segmentation'), item.get('bbox')
        if isinstance(outline, list) and not all(isinstance(one, list) and all(map(number, one)) for one in outline):
            raise InputError(f'{where}: expected polygons [[x, y, x, y, …]] as segmentation, got {brief(outline)}; {MEND}')
        if not outline and not (isinstance(box, list) and len(box) == 4 and all(map(number, box))):
            raise InputError(f'{where}: expected bbox of four numbers or polygons, got {brief(box)}; {MEND}')


def _images(root: Path, path: Path, content: dict[str, Any]) -> Path:
    """The folder of the images; where none has their names as they are, the names are brought to what lies there.

    Exports keep the paths of other machines: `C:\\photos\\a.jpg`, `/data/upload/1/a.jpg`.
    """
    try:
        return find_images(str(root), path, '', content)
    except InputError as error:
        if 'found none' not in str(error):
            raise
    inside = by_name(pictures_in(root))
    lower = {name.lower() for name in inside}
    for image in content['images']:
        name = PureWindowsPath(image['file_name']).name
        same = inside.get(name, [])
        if len(same) != 1:
            hint = '; its name differs in case' if name.lower() in lower and not same else ''
            got = f'{len(same)} of them' if same else 'none'
            raise InputError(
                f'data: {path} names {image["file_name"]}: expected one picture {name} in {root}, got {got}{hint}; add it, or '
                'rename it'
            )
        image['file_name'] = below(same[0], root)
    return root


def _has_split(path: Path) -> bool:
    return bool(split_in(path.stem) or split_of(path.parent.name))


def _categories(content: dict[str, Any], notes: list[str]) -> list[dict[str, Any]]:
    """Without the one that Roboflow puts before the others: the project's name, above them, of no object."""
    categories = content['categories']
    used = {item['category_id'] for item in content['annotations']}
    above = {item.get('supercategory') for item in categories}
    rest = [
        item
        for item in categories
        if item['id'] in used or item.get('supercategory') not in ('none', None) or item['name'] not in above
    ]
    if rest and len(rest) < len(categories):
        gone = [item['name'] for item in categories if item not in rest]
        note = f'the category {listed(gone)}, above the others and of no object, is left out'
        if note not in notes:
            notes.append(note)
        return rest
    return categories


def pictures_of(
    content: dict[str, Any], categories: list[dict[str, Any]], folder: Path, root: Path, split: str
) -> tuple[list[Picture], int]:
    """The pictures of a COCO file, in the order of their names; and how many polygons were too thin to be one."""
    labels = {item['id']: index for index, item in enumerate(categories)}
    objects: dict[int, list[Object]] = {image['id']: [] for image in content['images']}
    thin = 0
    for item in content['annotations']:
        one, left_out = _object(item, labels)
        thin += left_out
        if one is not None:
            objects[item['image_id']].append(one)
    pictures = []
    for image in content['images']:
        path = folder / image['file_name']
        size = (image['width'], image['height']) if image.get('width') and image.get('height') else picture_size(path)
        pictures.append(Picture(path, below(path, root), size, objects[image['id']], split=split))
    return sorted(pictures, key=lambda one: one.name), thin


def _object(item: dict[str, Any], labels: dict[int, int]) -> tuple[Object | None, int]:
    x, y, w, h = item.get('bbox') or (0, 0, 0, 0)
    segmentation = item.get('segmentation')
    outline: Any = segmentation or None
    thin = 0
    if isinstance(segmentation, list):
        outline = whole_polygons(segmentation) or None
        thin = len(segmentation) - len(outline or [])
        if segmentation and not outline:
            return None, thin
    # Some tools round boxes: that of the polygons is the same in every layout.
    box = box_of(outline) if isinstance(outline, list) else (x, y, x + w, y + h)
    return Object(labels[item['category_id']], box, outline, bool(item.get('iscrowd'))), thin

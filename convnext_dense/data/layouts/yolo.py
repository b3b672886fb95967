"""YOLO's text files: a line for each object, with coordinates as shares of the picture's sides.

`class x y width height` is a box by its centre, `class x y x y x y …` a polygon (docs.ultralytics.com/datasets). Classes are in
data.yaml; Darknet's and CVAT's exports have obj.names, LabelImg's and Label Studio's classes.txt.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from convnext_dense.data.layouts.found import (
    DIGITS,
    Box,
    Found,
    Object,
    Picture,
    below,
    box_of,
    folders_in,
    picture_size,
    pictures_in,
    split_of,
)
from convnext_dense.data.pictures import Size, is_file
from convnext_dense.errors import InputError, last_line
from convnext_dense.text import listed

LISTS = ('classes.txt', 'obj.names')
NO_LABELS = ('classes', 'notes', 'readme', 'license', 'labelmap', 'train', 'val', 'valid', 'test')  # other text files' names


def looks(root: Path) -> str:
    """Why the folder is taken for one of YOLO's; '' where it is not.

    Raises:
        InputError: for label files whose classes nothing names.
    """
    labels = next((path for folder in _label_folders(root) for path in _labels_in(folder)), None)
    source = _names_file(root)
    if source is not None and (labels is not None or source.suffix in ('.yaml', '.yml')):
        return f'{source.name}' + (f' and {below(labels, root)}' if labels else '')
    if labels is not None:
        nameless = next(iter([*root.glob('*.yaml'), *root.glob('*.yml')]), None)
        what = f'{nameless} has no names' if nameless else f'{root} has no data.yaml that names the classes'
        raise InputError(
            f'data: {labels} looks like a YOLO label, and {what}; write one with the line "names: [first, second]"'
        )
    return ''


def read(root: Path) -> Found:
    """All pictures with their labels; a picture without a file of labels has no objects.

    Raises:
        InputError: for a line that is no object, with its file and number.
    """
    source = _names_file(root)
    assert source is not None
    classes, splits = _read_names(source)
    pictures, found = [], _pictures(root, splits)
    labels = {path: _label_file(path) for path, _ in found}
    gone = [one for several in splits.values() for one in several if found and _place(root, one) is None]
    notes = _check_labels(root, labels) + [f'{source.name} names {one}, which is not there' for one in gone]
    for path, split in found:
        size, label = picture_size(path), labels[path]
        objects = _read_labels(label, size, classes) if label else []
        pictures.append(Picture(path, below(path, root), size, objects, split=split))
    return Found('YOLO', looks(root), root, classes, pictures, notes=notes)


def _check_labels(root: Path, labels: dict[Path, Path | None]) -> list[str]:
    """A line where labels have no picture.

    Raises:
        InputError: where a label's name differs from its picture's in case or in the form of a letter alone.
    """
    used = {path for path in labels.values() if path is not None}
    alone = [path for path in sorted(root.rglob('*')) if path.suffix.lower() == '.txt' and path not in used and _is_label(path)]
    without = {_same_name(path): path for path, label in labels.items() if label is None}
    for path in alone:
        picture = without.get(_same_name(path))
        if picture is not None:
            raise InputError(
                f'data: {path} and {picture} have names that differ in case, or in how a letter is written, alone; rename one'
            )
    return [f'{len(alone)} label files without a picture are left out, such as {alone[0].name}'] if alone else []


def _same_name(path: Path) -> str:
    return unicodedata.normalize('NFC', path.stem).lower()


def _is_label(path: Path) -> bool:
    words = _first_line(path).split()
    return path.stem.lower() not in NO_LABELS and len(words) >= 5 and words[0].isdigit() and _shares(words[1:]) is not None


def _names_file(root: Path) -> Path | None:
    for path in sorted([*root.glob('*.yaml'), *root.glob('*.yml')], key=lambda p: (p.stem not in ('data', 'dataset'), p.name)):
        content = _yaml(path)
        if isinstance(content, dict) and 'names' in content:
            return path
    return next((root / name for name in LISTS if is_file(root / name)), None)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding='utf-8-sig')
    except (OSError, ValueError) as error:
        raise InputError(f'data: {path} cannot be read as UTF-8 ({last_line(error)}); save it in UTF-8') from error


def _yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding='utf-8-sig'))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f'data: {path} cannot be read ({last_line(error)}); mend it') from error


def _read_names(source: Path) -> tuple[tuple[str, ...], dict[str, list[str]]]:
    """The classes, and the folders or lists of each split."""
    if source.suffix not in ('.yaml', '.yml'):
        lines = _text(source).splitlines()
        return tuple(line.strip() for line in lines if line.strip()), {}
    content = _yaml(source)
    names = content['names']
    if isinstance(names, dict):
        numbers = sorted(names)
        if numbers != list(range(len(names))):
            raise InputError(f'data: {source}: expected names numbered from 0 without a gap, got {listed(numbers)}; mend it')
        names = [names[number] for number in numbers]
    if not isinstance(names, list) or not names or len(set(map(str, names))) < len(names):
        raise InputError(f'data: {source}: expected names, a list of different class names, got {names!r}; mend it')
    if content.get('nc') not in (None, len(names)):
        raise InputError(f'data: {source}: expected as many names as nc says, {content["nc"]}, got {len(names)}; mend it')
    if 'kpt_shape' in content:
        raise InputError(f'data: {source} is of key points, which are not learnt here; export boxes or polygons')
    splits = {}
    for key in ('train', 'val', 'valid', 'test'):
        given = content.get(key)
        if given:
            base = str(content.get('path') or '').replace('\\', '/')
            several = given if isinstance(given, list) else [given]
            splits[split_of(key)] = [str(Path(base, str(one).replace('\\', '/'))) for one in several]
    return tuple(map(str, names)), splits


def _pictures(root: Path, splits: dict[str, list[str]]) -> list[tuple[Path, str]]:
    """Pictures with their splits: as data.yaml says where its paths are there, else by the names of the folders."""
    found: dict[Path, str] = {}
    for split, given in splits.items():
        for one in given:
            place = _place(root, one)
            if place is None:
                continue
            listing = place.suffix == '.txt'
            for path in _listed(place, root) if listing else pictures_in(place):
                if listing and found.get(path, split) != split:
                    raise InputError(f'data: {path} stands in the lists of {found[path]} and {split}; take it out of one')
                found.setdefault(path, split)
    if not found:  # no paths, or those of another machine
        found = {path: split_of(*path.relative_to(root).parts[:-1]) for path in pictures_in(root)}
    return sorted(found.items(), key=lambda item: below(item[0], root))


def _place(root: Path, given: str) -> Path | None:
    """Where a path of data.yaml leads: as it is, below the folder, or (Roboflow's ../train/images) without what leads out."""
    inside = Path(*[part for part in Path(given).parts if part not in ('..', '/')]) if given else Path()
    tries = [root / given, root / inside, *(root / Path(*inside.parts[i:]) for i in range(1, len(inside.parts)))]
    return next((p for p in tries if p.is_dir() or is_file(p)), None)


def _listed(place: Path, root: Path) -> list[Path]:
    """The pictures that a list names.

    Raises:
        InputError: for one that is not there.
    """
    found = []
    for line in filter(None, map(str.strip, _text(place).splitlines())):
        parts = Path(line).parts
        tries = [Path(line), place.parent / line, *(root / Path(*parts[i:]) for i in range(len(parts)))]
        path = next((p for p in tries if is_file(p)), None)
        if path is None:
            raise InputError(f'data: {place} names {line}, which is not there; add the picture or take out the line')
        found.append(path)
    return found


def _label_folders(root: Path) -> list[Path]:
    """Where label files may be, outermost first."""
    found, level = [root], list(folders_in(root))
    for _ in range(3):
        found += level
        level = [inner for outer in level for inner in folders_in(outer)]
    return found


def _labels_in(folder: Path) -> list[Path]:
    """Text files that hold objects: an empty one, of a picture without any, tells nothing."""
    for path in sorted(folder.glob('*.txt'))[:50]:
        if _is_label(path):
            return [path]
    return []


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding='utf-8-sig') as file:
            return file.readline(10_000)
    except (OSError, ValueError):
        return ''


def _shares(words: Sequence[str]) -> list[float] | None:
    try:
        return [float(word) for word in words]
    except ValueError:
        return None


def _label_file(picture: Path) -> Path | None:
    """images/a.jpg has labels/a.txt, in place of the last folder of that name; or a.txt lies beside it."""
    parts = list(picture.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index].lower() == 'images':
            for name in ('labels', 'Labels', 'LABELS'):
                label = Path(*parts[:index], name, *parts[index + 1 :]).with_suffix('.txt')
                if is_file(label):
                    return label
    beside = picture.with_suffix('.txt')
    return beside if is_file(beside) else None


def _read_labels(path: Path, size: Size, classes: tuple[str, ...]) -> list[Object]:
    objects = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        values = _shares(words)
        where = f'data: {path}, line {number}'
        if values is None or len(values) < 5 or not all(-0.01 <= v <= 1.01 for v in values[1:]):
            raise InputError(
                f'{where}: expected a class and x y width height, or x y of each point, as shares from 0 to 1; got '
                f'{line[:60]!r}; mend it'
            )
        label = int(values[0])
        if label != values[0] or not 0 <= label < len(classes):
            raise InputError(
                f'{where}: expected a class from 0 to {len(classes) - 1} ({listed(classes)}), got {words[0]}; '
                'mend it, or the names'
            )
        if len(values) == 5:
            objects.append(Object(label, _box(values[1:], size)))
        elif len(values) % 2 == 0:
            confidence = '; is the last one a confidence? Take it off' if len(values) == 6 else '; mend it'
            raise InputError(f'{where}: expected two numbers for each point, got {len(values) - 1}{confidence}')
        else:
            polygon = [round(v * size[i % 2], DIGITS) for i, v in enumerate(values[1:])]
            objects.append(Object(label, box_of([polygon]), [polygon]))
    return objects


def _box(values: Sequence[float], size: Size) -> Box:
    (x, y, w, h), (width, height) = values, size
    corners = (x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height
    x1, y1, x2, y2 = (round(v, DIGITS) for v in corners)
    return x1, y1, x2, y2

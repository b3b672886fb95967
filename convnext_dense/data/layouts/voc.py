"""Pascal VOC: Annotations/*.xml beside JPEGImages/, or each XML beside its picture; SegmentationObject/ and SegmentationClass/.

Of an XML's objects the n-th is the value n of SegmentationObject (VOC development kit, section 3.4); 255, or the palest colour
of its palette, is the border that belongs to none.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Container
from pathlib import Path

import numpy as np

from convnext_dense.data.layouts.class_lists import VOC_BORDER, ClassList, read_class_list
from convnext_dense.data.layouts.found import (
    BACKGROUND,
    GROUND,
    IGNORE,
    Faults,
    Found,
    Object,
    Picture,
    Size,
    Values,
    below,
    box_of,
    by_stem,
    label_of,
    picture_size,
    pictures_in,
    read_xml,
    split_of,
)
from convnext_dense.data.layouts.mask_files import colour_text, colours, encoded, read_mask
from convnext_dense.data.layouts.mask_values import Pair, Told, look, settle_unknown
from convnext_dense.data.pictures import is_file
from convnext_dense.errors import InputError
from convnext_dense.text import listed as shown

OBJECTS, CLASSES, IMAGES = 'SegmentationObject', 'SegmentationClass', 'JPEGImages'


def _root_of(root: Path) -> Path:
    """The folder with the parts: it may be VOCdevkit's, with VOC2012 below."""
    inner = sorted(path.parent for path in root.glob('*/JPEGImages')) + sorted(root.glob('VOCdevkit/*/JPEGImages'))
    return root if (root / IMAGES).is_dir() or len(inner) != 1 else inner[0]


def _annotations(root: Path) -> list[Path]:
    folder = root / 'Annotations'
    paths = folder.rglob('*.xml') if folder.is_dir() else root.rglob('*.xml')
    return sorted(path for path in paths if not path.name.startswith('.'))


def looks(root: Path) -> str:
    root = _root_of(root)
    first = next((path for path in _annotations(root)[:20] if _tag(path) == 'annotation'), None)
    if first is not None:
        return below(first, root)
    masks = [name for name in (OBJECTS, CLASSES) if (root / name).is_dir()]
    return f'{IMAGES} and {" and ".join(masks)}' if (root / IMAGES).is_dir() and masks else ''


def _tag(path: Path) -> str:
    try:
        return next(ET.iterparse(path, events=('start',)))[1].tag
    except (ET.ParseError, OSError, StopIteration):
        return ''


def read(root: Path, told: Told | None = None, faults: Faults | None = None) -> Found:
    """All pictures of JPEGImages, or beside the XML files.

    Raises:
        InputError: for broken files, boxes of no area, classes that no list has, pictures that are not there.
    """
    why, root = looks(root), _root_of(root)
    files = {path.stem: path for path in _annotations(root)}
    trees = {stem: read_xml(path) for stem, path in files.items()}
    listed = read_class_list(root)
    folder = root / IMAGES if (root / IMAGES).is_dir() else root
    inside = pictures_in(folder)
    inside = [p for p in inside if p.parent.name not in (OBJECTS, CLASSES)]
    paths = by_stem(inside)
    missing = [files[stem] for stem in files if stem not in paths]
    if missing:
        raise InputError(f'data: {missing[0]} has no picture in {folder}; add it or take the file out')
    names = _names(trees, listed, (root / CLASSES).is_dir())
    splits = _splits(root, paths)
    pictures, notes = [], []
    shift = _first_pixel(trees)
    hard = 0
    objects_folder, classes_folder = root / OBJECTS, root / CLASSES
    for stem, path in sorted(paths.items()):
        size = _size(trees[stem]) if stem in trees else None
        size = size or picture_size(path)
        mask = classes_folder / f'{stem}.png'
        picture = Picture(path, below(path, root), size, mask=mask if is_file(mask) else None)
        picture.split = splits.get(stem) or split_of(*path.relative_to(root).parts[:-1])
        if stem in trees:
            picture.objects = _objects(trees[stem], names, files[stem], shift)
            hard += sum(one.crowd for one in picture.objects)
        instances = objects_folder / f'{stem}.png'
        if is_file(instances):
            _add_masks(picture, instances, trees.get(stem), listed)
        pictures.append(picture)
    if trees:
        notes.append(f'boxes are counted from {shift}')
    if hard:
        notes.append(f'{hard} difficult objects are neither learnt nor judged')
    faults = faults or Faults()
    values = _values(names, listed, pictures, told, faults)
    return Found('Pascal VOC', why, root, tuple(names), pictures, values, notes, faults.found)


def _size(tree: ET.Element) -> Size | None:
    """Width and height by the XML; None where it does not say, or 0 as some tools do."""
    try:
        size = int(tree.findtext('size/width', '')), int(tree.findtext('size/height', ''))
    except ValueError:
        return None
    return size if min(size) > 0 else None


def _names(trees: dict[str, ET.Element], listed: ClassList | None, with_masks: bool) -> list[str]:
    """The list's, without the background; else those in the files, sorted; VOC's own twenty where they are among these."""
    if listed is not None:
        return [name for name in listed.names if name.lower() != BACKGROUND]
    names = sorted({item.findtext('name', '').strip() for tree in trees.values() for item in tree.iter('object')})
    if with_masks:
        from mmseg.datasets import PascalVOCDataset

        twenty = PascalVOCDataset.METAINFO['classes'][1:]
        return list(twenty) if set(names) <= set(twenty) else names
    return names


def _splits(root: Path, stems: Container[str]) -> dict[str, str]:
    """Of ImageSets: Main's, or Segmentation's."""
    found: dict[str, str] = {}
    for folder in ('Segmentation', 'Main', 'Layout'):
        for split in ('train', 'val', 'test'):
            path = root / 'ImageSets' / folder / f'{split}.txt'
            if is_file(path):
                for line in filter(str.strip, path.read_text(encoding='utf-8-sig').splitlines()):
                    words = line.split()
                    names = [line.strip(), words[0], Path(line.strip()).stem, Path(words[0]).stem]
                    stem = next((name for name in names if name in stems), None)
                    if stem is None:
                        raise InputError(
                            f'data: {path} names {words[0]}, which is not in {root / IMAGES}; add it or take it out'
                        )
                    found.setdefault(stem, split)
    return found


def _first_pixel(trees: dict[str, ET.Element]) -> int:
    """1 where boxes are of whole numbers from 1 on, as VOC's own are; 0 where one begins at 0, or between pixels."""
    numbers = [_number(item, key) for tree in trees.values() for item in tree.iter('bndbox') for key in ('xmin', 'ymin')]
    numbers += [_number(item, key) for tree in trees.values() for item in tree.iter('bndbox') for key in ('xmax', 'ymax')]
    return int(bool(numbers) and all(v is not None and v >= 1 and v == int(v) for v in numbers))


def _number(box: ET.Element, key: str) -> float | None:
    try:
        return float(box.findtext(key, ''))
    except ValueError:
        return None


def _objects(tree: ET.Element, names: list[str], path: Path, shift: int) -> list[Object]:
    found = []
    for item in tree.iter('object'):
        label = label_of(item.findtext('name', '').strip(), names, path)
        points = [float(point.findtext(key, 'nan')) for point in item.findall('polygon/pt') for key in ('x', 'y')]
        if len(points) >= 6 and item.findtext('deleted', '0') != '1':  # LabelMe 3.0's
            found.append(Object(label, box_of([points]), [points]))
            continue
        box = item.find('bndbox')
        numbers = [None] * 4 if box is None else [_number(box, key) for key in ('xmin', 'ymin', 'xmax', 'ymax')]
        if any(v is None for v in numbers):
            raise InputError(f'data: {path}: expected xmin, ymin, xmax and ymax in bndbox of {names[label]}; mend it')
        x1, y1, x2, y2 = (float(v) for v in numbers if v is not None)
        if x1 > x2 or y1 > y2:
            raise InputError(
                f'data: {path}: expected xmin to xmax and ymin to ymax in rising order, got {x1:g} to {x2:g} and {y1:g} to '
                f'{y2:g} of {names[label]}; mend it'
            )
        found.append(Object(label, (x1 - shift, y1 - shift, x2, y2), None, item.findtext('difficult', '0').strip() == '1'))
    return found


def _add_masks(picture: Picture, path: Path, tree: ET.Element | None, listed: ClassList | None) -> None:
    """Outlines from a file of instances; without an XML the objects themselves, of the classes in SegmentationClass."""
    values = read_mask(path).reshape(picture.size[1], picture.size[0], -1)
    flat = colours(values) if values.shape[2] == 3 else values[..., 0]
    numbers = [int(v) for v in np.unique(flat) if int(v) not in (0, IGNORE, VOC_BORDER)]
    if tree is not None:
        if flat.max(initial=0) <= IGNORE:
            for number, one in enumerate(picture.objects, 1):
                if number in numbers:
                    one.outline = encoded(flat == number)
        return
    if picture.mask is None or listed is None:
        return
    kinds = read_mask(picture.mask)
    packed = colours(kinds) if kinds.ndim == 3 else kinds
    of_value = listed.values(packed_colours=kinds.ndim == 3)
    names = [name for name in listed.names if name.lower() != BACKGROUND]
    for number in numbers:
        inside = flat == number
        found, counts = np.unique(packed[inside], return_counts=True)
        name = of_value.get(int(found[counts.argmax()]))
        if name in names:
            ys, xs = np.nonzero(inside)
            box = float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1)
            picture.objects.append(Object(names.index(name), box, encoded(inside)))


def _values(
    names: list[str], listed: ClassList | None, pictures: list[Picture], told: Told | None, faults: Faults
) -> Values | None:
    """What SegmentationClass's values mean: the list's colours, or VOC's own numbers, 0 the background."""
    pairs = [Pair(picture.path, picture.mask) for picture in pictures if picture.mask is not None]
    if not pairs:
        return None
    seen, examples, coloured = look(pairs, told, faults)
    if coloured:
        of_colour = listed.values(packed_colours=True) if listed is not None else {}
        meaning = {v: GROUND if name.lower() == BACKGROUND else names.index(name) for v, name in of_colour.items()}
        meaning[VOC_BORDER] = IGNORE
    else:
        meaning = {number: number - 1 for number in range(1, len(names) + 1)} | {0: GROUND, IGNORE: IGNORE}
    source = listed.source.name if listed is not None else f'{len(names)} classes ({shown(names)})'
    settle_unknown(
        seen,
        meaning,
        examples,
        faults,
        lambda v: f'{f"the colour {colour_text(v)}" if coloured else f"the value {v}"}, which is none of {source}',
        'mend it, write labelmap.txt with lines "name:red,green,blue::", or',
        colour_text if coloured else str,
    )
    return Values(meaning, coloured)

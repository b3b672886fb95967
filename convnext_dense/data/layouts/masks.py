"""Folders of pictures and masks: the same names in images/ and masks/ and their like, ADE20K's tree, Cityscapes' tree.

A mask's value is a class by the list that lies beside it, else by what the values are; every decision is a note.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from convnext_dense.data.check_names import LOSSLESS, LOSSY, common_ending
from convnext_dense.data.layouts.class_lists import VOC_BORDER, ClassList, read_class_list
from convnext_dense.data.layouts.found import (
    IGNORE,
    PICTURES,
    Faults,
    Found,
    Picture,
    Values,
    below,
    folders_in,
    picture_size,
    pictures_in,
    split_of,
)
from convnext_dense.data.layouts.mask_files import colour_text, packed, read_mask
from convnext_dense.errors import InputError
from convnext_dense.text import listed

IMAGES = ('images', 'image', 'imgs', 'img', 'jpegimages', 'photos', 'pictures', 'leftimg8bit')
MASKS = (
    'masks', 'mask', 'labels', 'label', 'annotations', 'annotation', 'annots', 'ann', 'segmentationclass', 'segmentation',
    'segmentations', 'seg', 'gt', 'gtfine', 'ground_truth', 'groundtruth',
)  # fmt: skip
MOST_COLOURS = 256  # of masks without a list of classes
CITYSCAPES = ('_gtFine_labelTrainIds.png', '_gtFine_labelIds.png')
# The 19 classes among the ids of labelIds, in the order of the train ids (cityscapesScripts, helpers/labels.py).
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)

Told = Callable[[int, int], None]  # how many masks of how many were read


class Pair(NamedTuple):
    image: Path
    mask: Path


class Folders(NamedTuple):
    images: Path
    masks: Path


def folders(root: Path) -> list[Folders]:
    """Folders of pictures with the folders of their masks: side by side, in each split, or with the splits below."""
    found = []
    for folder in (root, *folders_in(root), *(deeper for inner in folders_in(root) for deeper in folders_in(inner))):
        inner = {path.name.lower(): path for path in folders_in(folder)}
        images = next((inner[name] for name in IMAGES if name in inner), None)
        masks = [inner[name] for name in MASKS if name in inner and _has_masks(inner[name])]
        if images is not None and masks:
            found.append(Folders(images, masks[0]))
    return found


def _has_masks(folder: Path) -> bool:
    return any(p.suffix.lower() in (*LOSSLESS, *LOSSY) for p in _first(folder.rglob('*.*'), 50))


def _first(paths: Iterable[Path], count: int) -> list[Path]:
    return [path for path, _ in zip(paths, range(count))]


def _beside(root: Path) -> str:
    """The ending of masks that lie beside their pictures, as of Roboflow's a.jpg and a_mask.png; '' where there are none."""
    for folder in (root, *folders_in(root)):
        names = [path.name for path in pictures_in(folder, recursive=False)]
        for ending in ('_mask.png', '_seg.png', '_label.png'):
            if sum(name.endswith(ending) for name in names) >= max(1, len(names) // 3):
                return ending
    return ''


def looks(root: Path) -> str:
    found = folders(root)
    if found:
        return f'{below(found[0].images, root)}/ and {below(found[0].masks, root)}/'
    ending = _beside(root)
    return f'pictures and *{ending}' if ending else ''


def read(root: Path, told: Told | None = None, faults: Faults | None = None) -> Found:
    """All pairs of pictures and masks; each mask is read once for its values. `faults`: what to do about wrong ones.

    Raises:
        InputError: for masks that do not fit their pictures, JPEG masks, values or colours that no class has.
    """
    kind, pairs, notes = _pairs(root)
    listed_classes = read_class_list(root)
    faults = faults or Faults()
    seen, examples, colourful = look(pairs, told, faults)
    if kind == 'ADE20K':
        classes, values, more = _ade20k(seen, listed_classes, examples, colourful, faults)
    elif kind == 'Cityscapes':
        classes, values, more = _cityscapes(pairs)
    else:
        classes, values, more = _meaning(seen, listed_classes, examples, colourful, faults)
    pictures = [
        Picture(pair.image, below(pair.image, root), picture_size(pair.image), mask=pair.mask, split=_split(pair.image, root))
        for pair in pairs
    ]
    return Found(kind, looks(root), root, classes, pictures, values, [*notes, *more], faults.found)


def _split(path: Path, root: Path) -> str:
    return split_of(*path.relative_to(root).parts[:-1][::-1]) if path.is_relative_to(root) else ''


def _pairs(root: Path) -> tuple[str, list[Pair], list[str]]:
    found: list[Pair] = []
    notes: list[str] = []
    places = folders(root)
    for place in places:
        if place.images.name.lower() == 'leftimg8bit' and place.masks.name.lower() == 'gtfine':
            return 'Cityscapes', _cityscapes_pairs(place), notes
        more, said = _matched(place)
        found += more
        notes += said
    kind = 'images and masks'
    if len(places) == 1 and places[0].masks.name == 'annotations' and (places[0].images / 'training').is_dir():
        kind = 'ADE20K'
    if not places:
        ending = _beside(root)
        inside = pictures_in(root)
        masks = {path.with_name(path.name.removesuffix(ending)): path for path in inside if path.name.endswith(ending)}
        images = [path for path in inside if not path.name.endswith(ending)]
        found = [Pair(path, masks[path.with_suffix('')]) for path in images if path.with_suffix('') in masks]
        alone = len(images) - len(found)
        notes += [f'{alone} pictures without a mask are left out'] if alone else []
    return kind, sorted(found), notes


def _matched(place: Folders) -> tuple[list[Pair], list[str]]:
    """Pictures and masks of the same names, up to an ending that the masks share.

    Raises:
        InputError: where fewer than half of the pictures have a mask, or names differ in case alone.
    """
    images = pictures_in(place.images)
    masks = pictures_in(place.masks)
    keys = {path: below(path.with_suffix(''), place.images) for path in images}
    names = [below(path, place.masks) for path in masks]
    ending = common_ending(list(keys.values()), [n for n in names if Path(n).suffix.lower() in LOSSLESS])
    lossy = common_ending(list(keys.values()), [n for n in names if Path(n).suffix.lower() in LOSSY])
    if ending is None and lossy is not None:
        raise InputError(
            f'data: {place.masks}/{names[0]} is a JPEG, whose compression changes the values at every border; save masks as PNG'
        )
    stem_ending = Path(f'x{ending}').stem[1:] if ending else ''
    by_key = {_key(name, stem_ending): path for name, path in zip(names, masks)}
    found = [Pair(path, by_key[key]) for path, key in keys.items() if key in by_key]
    alone = [path for path, key in keys.items() if key not in by_key]
    notes = []
    lower = {key.lower() for key in by_key}
    case = [path for path in alone if keys[path].lower() in lower]
    if case:
        raise InputError(
            f'data: {case[0]} and a mask in {place.masks} have names that differ in case alone ({len(case)} pictures); '
            'rename one of each'
        )
    if not images:
        raise InputError(f'data: expected pictures ({", ".join(PICTURES)}) in {place.images}, found none; check the folder')
    if 2 * len(found) < len(images):
        what = f'{len(found)} of {len(images)} pictures in {place.images} have a mask in {place.masks}'
        example = f', {alone[0].name} has none' if alone else ''
        raise InputError(f'data: {what}{example}; expected masks of the same names: add them or take the pictures out')
    if alone:
        notes.append(f'{len(alone)} pictures without a mask are left out, such as {alone[0].name}')
    used = {pair.mask for pair in found}
    rest = [path for path in masks if path not in used]
    if rest:
        notes.append(f'{len(rest)} masks without a picture are left out, such as {rest[0].name}')
    return found, notes


def _key(name: str, stem_ending: str) -> str:
    return str(Path(name).with_suffix('').as_posix()).removesuffix(stem_ending)


def _cityscapes_pairs(place: Folders) -> list[Pair]:
    for ending in CITYSCAPES:
        masks = {path.name.removesuffix(ending): path for path in sorted(place.masks.rglob(f'*{ending}'))}
        if masks:
            images = sorted(place.images.rglob('*_leftImg8bit.*'))
            return [Pair(p, masks[key]) for p in images if (key := p.stem.removesuffix('_leftImg8bit')) in masks]
    raise InputError(f'data: expected masks *{CITYSCAPES[1]} in {place.masks}, found none; write them by cityscapesScripts')


def look(pairs: Sequence[Pair], told: Told | None, faults: Faults) -> tuple[Counter[int], dict[int, Pair], bool]:
    """How many masks have each value or colour, a pair that has it, and whether they are colours.

    Raises:
        InputError: for a mask of another size than its picture, and for values and colours side by side.
    """
    counts: Counter[int] = Counter()
    examples: dict[int, Pair] = {}
    kinds: dict[bool, Path] = {}

    def values_in(pair: Pair) -> tuple[list[int], bool]:
        values = read_mask(pair.mask)
        size, expected = values.shape[1::-1], picture_size(pair.image)
        if size != expected:
            text = f'{pair.mask} has {size[0]}x{size[1]} pixels, its picture {pair.image} has {expected[0]}x{expected[1]}'
            faults.add(pair.image, text, 'expected the same: mend it or take it out')
        found = np.unique(packed(values))
        if found.dtype.kind == 'f' and not np.array_equal(found, found.astype(np.int64)):
            raise InputError(f'data: {pair.mask}: expected whole numbers as values, got {found[:3].tolist()}; save it as PNG')
        return [int(v) for v in found], values.ndim == 3

    with ThreadPoolExecutor(2) as pool:
        for index, (pair, (found, coloured)) in enumerate(zip(pairs, pool.map(values_in, pairs)), 1):
            kinds.setdefault(coloured, pair.mask)
            counts.update(found)
            for value in found:
                examples.setdefault(value, pair)
            if told is not None:
                told(index, len(pairs))
    if len(kinds) == 2:
        raise InputError(
            f'data: expected masks of one kind, got values in {kinds[False]} and colours in {kinds[True]}; mend them'
        )
    return counts, examples, kinds.get(True) is not None


Meaning = tuple[tuple[str, ...], Values, list[str]]


def _meaning(
    seen: Counter[int], given: ClassList | None, examples: dict[int, Pair], colourful: bool, faults: Faults
) -> Meaning:
    """Classes and what the values or colours mean, by the list, or by themselves."""
    numbers = sorted(seen)
    if not numbers or numbers == [IGNORE]:
        raise InputError('data: all masks are empty: expected class numbers, got none; check the export')
    if colourful:
        return _of_colours(numbers, given, examples, faults)
    if set(numbers) <= {0, IGNORE} and IGNORE in numbers:
        names: tuple[str, ...] = ('background', 'foreground')
        names = given.names if given is not None and len(given.names) == 2 else names
        return (
            names,
            Values({0: 0, IGNORE: 1}),
            [f'the masks have the values 0 and 255 alone: 0 is {names[0]}, 255 is {names[1]}'],
        )
    if numbers == [0]:
        raise InputError('data: all masks are empty: every value is 0; expected the numbers of classes too; check the export')
    if given is not None:
        return _of_list(numbers, given, examples, faults)
    rest = [v for v in numbers if v != IGNORE]
    names = tuple(f'class {v}' for v in rest)
    said = [
        f'no list of classes lies there: the values {listed(rest)} are classes, 255 is ignored; classes.txt would name them'
    ]
    return names, Values({v: i for i, v in enumerate(rest)} | {IGNORE: IGNORE}), said


def _of_list(numbers: list[int], given: ClassList, examples: dict[int, Pair], faults: Faults) -> Meaning:
    """Values by the list; where one is its length, they are counted from 1 and 0 is no class."""
    names, most = given.names, len(given.names)
    if given.numbers is None and most in numbers:
        meaning = {v: v - 1 for v in range(1, len(names) + 1)} | {0: IGNORE, IGNORE: IGNORE}
        said = [f'the values go to {most}, of {len(names)} classes in {given.source.name}: from 1 on, 0 is ignored']
    else:
        of_value = given.values(packed_colours=False)
        meaning = {v: names.index(name) for v, name in of_value.items()} | {IGNORE: IGNORE}
        said = [f'the values are those of {given.source.name}, counted from {min(of_value)}; 255 is ignored']
    source = f'{given.source} has {len(names)} classes ({listed(names)})'
    settle_unknown(
        numbers, meaning, examples, faults, lambda v: f'the value {v}, and {source}', 'add the class, mend the mask, or'
    )
    return names, Values(meaning), said


def _of_colours(numbers: list[int], given: ClassList | None, examples: dict[int, Pair], faults: Faults) -> Meaning:
    if given is not None and given.colours is not None:
        meaning = {VOC_BORDER: IGNORE} | {v: i for i, v in enumerate(given.colours)}
        settle_unknown(
            numbers,
            meaning,
            examples,
            faults,
            lambda v: f'the colour {_rgb(v)}, which no class of {given.source} has',
            'add it, mend the mask, or',
            colour_text,
        )
        return given.names, Values(meaning, True), [f'colours by {given.source.name}']
    grey = all(v % 0x010101 == 0 for v in numbers)
    if grey:
        one_channel = {v & 255: pair for v, pair in examples.items()}
        names, values, said = _meaning(Counter(v & 255 for v in numbers), given, one_channel, False, faults)
        packed_values = {v * 0x010101: index for v, index in values.classes.items()}
        return names, Values(packed_values, True), [*said, 'the masks are grey pictures in three channels']
    if len(numbers) > MOST_COLOURS:
        raise InputError(
            f'data: {examples[numbers[0]].mask} and others: expected colours of classes, got {len(numbers)} of them; are they '
            'photographs, or resized masks? Save masks without smoothing, and add classes.txt of "name: red, green, blue"'
        )
    names = tuple(colour_text(v) for v in numbers)
    said = ['no list of classes lies there: each colour is a class; classes.txt with lines "name: red, green, blue" names them']
    return names, Values({v: i for i, v in enumerate(numbers)}, True), said


def settle_unknown(
    numbers: Iterable[int],
    meaning: dict[int, int],
    examples: Mapping[int, Pair],
    faults: Faults,
    words: Callable[[int], str],
    advice: str,
    text: Callable[[int], str] = str,
) -> None:
    """Values that mean nothing are a fault each, and then no class; those that are ignored are none."""
    for value in sorted(set(numbers) - set(meaning)):
        if value not in faults.ignored:
            faults.add(
                examples[value].image, f'{examples[value].mask} has {words(value)}', f"{advice} pass --ignore '{text(value)}'"
            )
        meaning[value] = IGNORE


def _rgb(number: int) -> str:
    return f'{number >> 16}, {number >> 8 & 255}, {number & 255}'


def _ade20k(seen: Counter[int], given: ClassList | None, examples: dict[int, Pair], colourful: bool, faults: Faults) -> Meaning:
    """ADE20K's 150 names, of which those remain that the masks have; another list that lies there goes before."""
    from mmseg.datasets import ADE20KDataset

    names = ADE20KDataset.METAINFO['classes']
    there = sorted(v for v in seen if v not in (0, IGNORE))
    if given is not None or colourful or not there or max(there) > len(names):
        return _meaning(seen, given, examples, colourful, faults)
    kept = tuple(names[v - 1] for v in there)
    few = (
        f"{len(kept)} of ADE20K's {len(names)} classes are in the masks"
        if len(kept) < len(names)
        else "the classes are ADE20K's"
    )
    return (
        kept,
        Values({v: i for i, v in enumerate(there)} | {0: IGNORE, IGNORE: IGNORE}),
        [f'{few}; 0 is no class and ignored'],
    )


def _cityscapes(pairs: list[Pair]) -> Meaning:
    from mmseg.datasets import CityscapesDataset

    names = tuple(CityscapesDataset.METAINFO['classes'])
    by_train_id = pairs[0].mask.name.endswith(CITYSCAPES[0])
    ids = range(len(names)) if by_train_id else CITYSCAPES_IDS
    meaning = dict.fromkeys(range(256), IGNORE) | {v: i for i, v in enumerate(ids)}
    return names, Values(meaning), ["the classes are Cityscapes' 19, all other ids are ignored"]

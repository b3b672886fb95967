"""What the values and colours of mask files mean, by a list of classes, by a known data set, or by themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from convnext_dense.data.layouts.class_lists import VOC_BORDER, ClassList
from convnext_dense.data.layouts.found import IGNORE, Faults, Values, picture_size
from convnext_dense.data.layouts.mask_files import colour_text, packed, read_mask
from convnext_dense.errors import InputError
from convnext_dense.text import listed

MOST_COLOURS = 256  # of masks without a list of classes
MOST_VALUES = 100  # likewise
# The 19 classes among the ids of labelIds, in the order of the train ids (cityscapesScripts, helpers/labels.py).
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)

Told = Callable[[int, int], None]  # how many masks of how many were read


class Pair(NamedTuple):
    image: Path
    mask: Path


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


def meaning_of(
    seen: Counter[int], given: ClassList | None, examples: dict[int, Pair], colourful: bool, faults: Faults
) -> Meaning:
    """Classes and what the values or colours mean, by the list, or by themselves."""
    numbers = sorted(seen)
    if not numbers or numbers == [IGNORE]:
        raise InputError('data: all masks are empty: expected class numbers, got none; check the export')
    if colourful:
        return _of_colours(numbers, given, examples, faults)
    if set(numbers) <= {0, IGNORE} and IGNORE in numbers and (given is None or len(given.names) == 2):
        names: tuple[str, ...] = ('background', 'foreground')
        names = given.names if given is not None else names
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
    if len(rest) > MOST_VALUES:
        raise InputError(
            f'data: {examples[rest[0]].mask} and others: expected numbers of classes, got {len(rest)} of them; are they '
            'resized or smoothed masks? Save masks without smoothing; if all are classes, name them in classes.txt'
        )
    if len(rest) == 1:
        raise InputError(f'data: every mask has the value {rest[0]} alone: nothing to learn; check the export')
    names = tuple(f'class {v}' for v in rest)
    ignored = f'255 is ignored, in {seen[IGNORE]} masks' if IGNORE in seen else '255 would be ignored'
    said = [f'no list of classes lies there: the values {listed(rest)} are classes, {ignored}']
    return names, Values({v: i for i, v in enumerate(rest)} | {IGNORE: IGNORE}), said


def _of_list(numbers: list[int], given: ClassList, examples: dict[int, Pair], faults: Faults) -> Meaning:
    """Values by the list; where one is its length, they are counted from 1 and 0 is no class."""
    names, most = given.names, len(given.names)
    if given.numbers is None and most in numbers:
        meaning = {v: v - 1 for v in range(1, len(names) + 1)} | {0: IGNORE, IGNORE: IGNORE}
        said = [f'the value {most} is there, of {len(names)} classes in {given.source.name}: they count from 1, 0 is ignored']
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
        names, values, said = meaning_of(Counter(v & 255 for v in numbers), given, one_channel, False, faults)
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
        if not {text(value), str(value & 255) if value % 0x010101 == 0 else ''} & faults.ignored:
            faults.add(
                examples[value].image, f'{examples[value].mask} has {words(value)}', f"{advice} pass --ignore '{text(value)}'"
            )
        meaning[value] = IGNORE


def _rgb(number: int) -> str:
    return f'{number >> 16}, {number >> 8 & 255}, {number & 255}'


def of_ade20k(
    seen: Counter[int], given: ClassList | None, examples: dict[int, Pair], colourful: bool, faults: Faults
) -> Meaning:
    """ADE20K's 150 names, of which those remain that the masks have; another list that lies there goes before."""
    from mmseg.datasets import ADE20KDataset

    names = ADE20KDataset.METAINFO['classes']
    there = sorted(v for v in seen if v not in (0, IGNORE))
    if given is not None or colourful or not there or max(there) > len(names):
        return meaning_of(seen, given, examples, colourful, faults)
    kept = tuple(names[v - 1] for v in there)
    few = (
        f"{len(kept)} of ADE20K's {len(names)} classes are in the masks"
        if len(kept) < len(names)
        else "the classes are ADE20K's"
    )
    return (
        kept,
        Values({v: i for i, v in enumerate(there)} | {0: IGNORE, IGNORE: IGNORE}),
        [f'{few}; 0 is no class and ignored; a classes.txt beside them names others'],
    )


def of_cityscapes(by_train_id: bool) -> Meaning:
    from mmseg.datasets import CityscapesDataset

    names = tuple(CityscapesDataset.METAINFO['classes'])
    ids = range(len(names)) if by_train_id else CITYSCAPES_IDS
    meaning = dict.fromkeys(range(256), IGNORE) | {v: i for i, v in enumerate(ids)}
    return names, Values(meaning), ["the classes are Cityscapes' 19, all other ids are ignored"]

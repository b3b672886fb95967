"""What is wrong with the masks of a COCO file: polygons and run lengths that pycocotools would misread, hang on or die of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from convnext_dense.expect import brief

CHUNK = 20_000  # annotations whose polygons are looked at together
NUMBERS = {int, float}  # bool is none
HUGE = 2.0**31  # no coordinate of a picture; a float, which floats are compared with faster
FIVE_BITS, MORE, SIGN, FIRST_CHARACTER = 31, 32, 16, 48  # of a character in compressed run lengths
LONGEST = 7  # characters of a number: 35 bits

Sized = tuple[dict[str, Any], tuple[int, int]]  # an annotation, and its image's width and height


def mask_problems(items: Iterable[Sized]) -> Iterator[tuple[dict[str, Any], str]]:
    """Annotations whose segmentation is none, and what is wrong with it."""
    items = iter(items)
    while chunk := list(islice(items, CHUNK)):
        outlined = []
        for item, size in chunk:
            problem = _one_problem(item, size)
            if problem:
                yield item, problem
            elif isinstance(item['segmentation'], list):
                outlined.append((item, size))
        flat = chain.from_iterable(chain.from_iterable(item['segmentation'] for item, _ in outlined))
        if not set(map(type, flat)) <= NUMBERS:
            first = [next(_strange(item), 0) for item, _ in outlined]
            for (item, _), value in zip(outlined, first):
                if type(value) not in NUMBERS:
                    yield item, f'has a polygon with {brief(value)} in it; expected numbers x, y, x, y, ...'
            outlined = [one for one, value in zip(outlined, first) if type(value) in NUMBERS]
        if outlined:
            yield from _polygon_problems(outlined)


def is_number(value: Any) -> TypeGuard[float]:
    """A finite int or float of a size that pictures have; no boolean."""
    return type(value) in NUMBERS and -HUGE < value < HUGE


def _one_problem(item: dict[str, Any], size: tuple[int, int]) -> str | None:
    shape = item.get('segmentation')
    if isinstance(shape, dict):
        return _run_problem(shape, *size, empty_is_wrong=item.get('area') != 0)
    if not isinstance(shape, list) or not shape:
        what = 'no segmentation' if not shape else f'segmentation {brief(shape)}'
        return f'has {what}; expected polygons or a run-length mask (boxes alone: a detector of MMDetection, docs/plugin.md)'
    for polygon in shape:
        if not isinstance(polygon, list):
            return f'has a polygon {brief(polygon)}; expected a list [x, y, x, y, ...] of numbers for each'
        if len(polygon) < 6 or len(polygon) % 2:
            return f'has a polygon of {len(polygon)} numbers; expected x, y of three points or more'
    return None


def _strange(item: dict[str, Any]) -> Iterator[Any]:
    """What is no number in an annotation's polygons."""
    return (value for value in chain.from_iterable(item['segmentation']) if type(value) not in NUMBERS)


def _polygon_problems(outlined: list[Sized]) -> Iterator[tuple[dict[str, Any], str]]:
    """Coordinates that are no finite numbers or far off, and objects without area; all polygons at once."""
    polygons = list(chain.from_iterable(item['segmentation'] for item, _ in outlined))
    try:
        flat = np.fromiter(chain.from_iterable(polygons), np.float64)
    except OverflowError:  # an int beyond float64
        flat = np.array([v if is_number(v) else np.inf for v in chain.from_iterable(polygons)])
    points = flat.reshape(-1, 2)
    lengths = np.array([len(polygon) // 2 for polygon in polygons])
    starts = np.cumsum(lengths) - lengths
    owner = np.repeat(np.arange(len(outlined)), [len(item['segmentation']) for item, _ in outlined])
    sides = np.array([size for _, size in outlined], np.float64)[owner]
    with np.errstate(invalid='ignore', over='ignore'):
        low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
        # What is partly over the border pycocotools cuts off; wholly outside, or by more than the image's side, is wrong.
        inside = ((low >= -sides) & (high <= 2 * sides) & (high > 0) & (low < sides)).all(axis=1)
        after = np.roll(points, -1, axis=0)
        after[starts + lengths - 1] = points[starts]
        areas = np.abs(np.add.reduceat(points[:, 0] * after[:, 1] - points[:, 1] * after[:, 0], starts))  # twice
    for index in np.flatnonzero(~inside):
        item, (width, height) = outlined[owner[index]]
        x1, y1, x2, y2 = (float(v) for v in (*low[index], *high[index]))
        expected = f'expected finite numbers in its image of {width}x{height}'
        yield item, f'has a polygon from x, y = {x1:g}, {y1:g} to {x2:g}, {y2:g}; {expected}'
    for index in np.flatnonzero(np.bincount(owner, areas) == 0):
        item, _ = outlined[index]
        if item.get('area') != 0:  # those are left out of training, and said to be
            yield item, 'has polygons that enclose no area; expected the outline of an object'


def _run_problem(shape: dict[str, Any], width: int, height: int, empty_is_wrong: bool) -> str | None:
    size = shape.get('size')
    if not isinstance(size, list) or size != [height, width] or {type(v) for v in size} != {int}:
        return f'has a run-length mask of size {brief(size)}; expected [{height}, {width}]'
    expected = f'expected lengths of 0 or more whose sum is {width * height} ({width}x{height})'
    runs = run_lengths(shape.get('counts'))
    if isinstance(runs, str):
        return f'has a run-length mask with {runs}; {expected}'
    if runs.min(initial=0) < 0:
        return f'has a run-length mask with the length {runs.min()}; {expected}'
    if runs.sum() != width * height:
        return f'has a run-length mask with lengths whose sum is {runs.sum()}; {expected}'
    if empty_is_wrong and not runs[1::2].any():
        return 'has a run-length mask without a pixel; expected the region of an object'
    return None


def run_lengths(counts: Any) -> NDArray[np.int64] | str:
    """The lengths of a run-length mask's `counts`, a list or COCO's compressed text; or what is wrong with them, in words."""
    if isinstance(counts, list):
        if set(map(type, counts)) - {int}:
            strange = next(value for value in counts if type(value) is not int)
            return f'the length {brief(strange)}'
        if any(abs(value) > HUGE for value in counts):
            return f'the length {brief(max(counts, key=abs))}'
        return np.array(counts, np.int64)
    if not isinstance(counts, str):
        return f'counts {brief(counts)}'
    if not counts.isascii():
        return f'counts {brief(counts)}, which is no compressed text'
    return _decompress(np.frombuffer(counts.encode(), np.uint8).astype(np.int64) - FIRST_CHARACTER, counts)


def _decompress(characters: NDArray[np.int64], text: str) -> NDArray[np.int64] | str:
    """As pycocotools' rleFrString: five bits a character, lowest first; from the fourth on, differences to the last but one."""
    if not characters.size:
        return np.zeros(0, np.int64)
    last = (characters & MORE) == 0
    if characters.min() < 0 or characters.max() >= 2 * MORE or not last[-1]:
        return f'counts {brief(text)}, which is no compressed text'
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(characters)) - np.repeat(starts, ends - starts + 1)
    if place.max() >= LONGEST:
        return f'counts {brief(text)}, which is no compressed text'
    values = np.add.reduceat((characters & FIVE_BITS) << (5 * place), starts)
    negative = (characters[ends] & SIGN) != 0
    values[negative] -= np.int64(1) << (5 * (place[ends[negative]] + 1))
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values

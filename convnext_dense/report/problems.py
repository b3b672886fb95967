"""What is wrong with annotated pictures, or odd: each with its picture, and the place in it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from convnext_dense.data.layouts.found import Box, Found, Picture
from convnext_dense.report.survey import THIN, Seen

TINY = 4  # pixels of a box's shorter side
FULL = 0.95  # of the picture's area
OUTSIDE = 1.0  # pixels beyond the edge
ERROR, WARNING = 'error', 'warning'


class Problem(NamedTuple):
    """An error stops training or spoils it; a warning is to be looked at."""

    kind: str
    level: str
    text: str
    picture: Picture | None = None
    box: Box | None = None
    other: Picture | None = None


def problems(found: Found, parts: Mapping[str, Sequence[Picture]], seen: Mapping[str, Seen]) -> list[Problem]:
    """All of them, errors first; `seen` is by a picture's name."""
    pictures = [picture for several in parts.values() for picture in several]
    rows = [
        *_faults(found, pictures),
        *(one for picture in pictures for one in _of_picture(found, picture, seen[picture.name])),
        *_twins(parts, seen),
        *_classes(found, parts, seen),
    ]
    return sorted(rows, key=lambda one: one.level)


def _faults(found: Found, pictures: Sequence[Picture]) -> Iterator[Problem]:
    by_path = {picture.path: picture for picture in pictures}
    for fault in found.wrong:
        yield Problem('wrong masks', ERROR, fault.text, by_path.get(fault.picture))


def _of_picture(found: Found, picture: Picture, seen: Seen) -> Iterator[Problem]:
    if seen.why:
        yield Problem('unreadable', ERROR, seen.why)
        return
    if seen.size != picture.size:
        sizes = f'{seen.size[0]}x{seen.size[1]} pixels, where its annotation says {picture.size[0]}x{picture.size[1]}'
        yield Problem('other size', ERROR, f'{picture.name} has {sizes}', picture)
        return
    width, height = seen.size
    for one in picture.objects:
        x1, y1, x2, y2 = one.box
        name, place = found.classes[one.label], f'{x1:.0f}, {y1:.0f} to {x2:.0f}, {y2:.0f}'
        where = f'{picture.name}: {name} at {place}'
        if x2 <= x1 or y2 <= y1:
            yield Problem('boxes of no area', ERROR, f'{where} has no area', picture, one.box)
        elif x1 < -OUTSIDE or y1 < -OUTSIDE or x2 > width + OUTSIDE or y2 > height + OUTSIDE:
            yield Problem('boxes outside', ERROR, f'{where} goes beyond the picture of {width}x{height}', picture, one.box)
        elif min(x2 - x1, y2 - y1) < TINY:
            yield Problem('tiny boxes', WARNING, f'{where} is less than {TINY} pixels wide or high', picture, one.box)
        elif (x2 - x1) * (y2 - y1) > FULL * width * height:
            yield Problem('full-frame boxes', WARNING, f'{where} covers the picture', picture, one.box)
    if seen.slivers:
        first = seen.slivers[0]
        x1, y1, x2, y2 = first.box
        text = (
            f'{picture.name}: {len(seen.slivers)} regions of less than {THIN} pixels across, such as {first.pixels} pixels of '
            f'{found.classes[first.label]}'
        )
        yield Problem('slivers', WARNING, text, picture, (float(x1), float(y1), float(x2), float(y2)))


def _twins(parts: Mapping[str, Sequence[Picture]], seen: Mapping[str, Seen]) -> Iterator[Problem]:
    """Pictures of the same bytes; and those that look alike on both sides of training and validation."""
    same: dict[str, list[tuple[str, Picture]]] = defaultdict(list)
    alike: dict[int, list[tuple[str, Picture]]] = defaultdict(list)
    for split, pictures in parts.items():
        for picture in pictures:
            one = seen[picture.name]
            if not one.why:
                same[one.digest].append((split, picture))
                if one.look >= 0:
                    alike[one.look].append((split, picture))
    for several in same.values():
        for (split, first), (other_split, other) in pairwise(several):
            leak = split != other_split
            kind = 'leaks' if leak else 'duplicates'
            text = f'{first.name} of {split} and {other.name} of {other_split} are the same file'
            yield Problem(kind, WARNING, text, first, None, other)
    for several in alike.values():
        sides = dict(reversed(several))  # the first of each split
        trained = sides.get('train')
        for split, other in sides.items():
            if trained is not None and split != 'train' and seen[trained.name].digest != seen[other.name].digest:
                text = f'{trained.name} of train and {other.name} of {split} look the same'
                yield Problem('leaks', WARNING, text, trained, None, other)


def _classes(found: Found, parts: Mapping[str, Sequence[Picture]], seen: Mapping[str, Seen]) -> Iterator[Problem]:
    counts = {split: class_counts(found, pictures, seen) for split, pictures in parts.items() if pictures}
    for label, name in enumerate(found.classes):
        if not any(count[label] for count in counts.values()):
            yield Problem('classes', WARNING, f'nothing is annotated as {name}')
        elif not counts.get('train', Counter())[label]:
            splits = ' and '.join(split for split, count in counts.items() if count[label])
            yield Problem('classes', WARNING, f'{name} is in {splits}, but not in train')


def class_counts(found: Found, pictures: Sequence[Picture], seen: Mapping[str, Seen]) -> Counter[int]:
    """In how many of the pictures each class is."""
    return Counter(label for picture in pictures for label in labels_in(picture, seen[picture.name]))


def labels_in(picture: Picture, seen: Seen) -> set[int]:
    """The classes in a picture, by its mask where it has one."""
    if seen.pixels is not None:
        return {int(label) for label in seen.pixels.nonzero()[0]}
    return {one.label for one in picture.objects}

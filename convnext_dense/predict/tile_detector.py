"""A detector on a picture of any size: in tiles, for small objects, and on the whole picture, for large ones, merged.

Two findings of a class from different views (tiles, or the whole picture) are one object where, in the part that both views
saw, their masks (boxes, where there are none) cover more than half of the smaller one, and that is no less than NESTED of the
other: a small object before a large one is another. Of the findings of an object, those that
a tile's border does not cut are whole, and the one of the highest score is taken; where all are cut, they are put together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from convnext_dense.predict.patch import Patch, shared, union
from convnext_dense.predict.tiles import Tiling, View
from convnext_dense.predict.windows import Windowed, reduced

NESTED = 0.3
THRESHOLD = 0.5  # of the intersection, over the smaller of two
BORDER = 2  # pixels from a tile's border within which a finding is cut by it
WHOLE_SIDE = 2048  # pixels that the whole picture's longer side is brought to, where the pipeline gets it


@dataclass(frozen=True)
class Objects:
    """N objects of a picture: boxes (N, 4) as left, top, right, bottom in pixels; `patches` None where there are no masks."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    patches: list[Patch] | None

    def __len__(self) -> int:
        return len(self.scores)


Detect = Callable[[NDArray[np.uint8]], Objects]


def detect(find: Detect, picture: Windowed, tiling: Tiling) -> Objects:
    """The objects that `find` sees in tiles of a picture and on the whole of it, each once, from the highest score down."""
    height, width = picture.size
    views, found = tiling.views(picture.size), []
    for view in views:
        found.append(moved(find(picture.read(*view)), view.top, view.left))
    if len(views) > 1:
        small = reduced(picture, WHOLE_SIDE)
        whole = find(small)
        found.append(scaled(whole, height / small.shape[0], width / small.shape[1]))
        views.append(View(0, 0, height, width))
    return merged(found, views, picture.size)


def moved(objects: Objects, top: int, left: int) -> Objects:
    """From a tile's pixels to the picture's."""
    patches = objects.patches and [Patch(p.top + top, p.left + left, p.mask) for p in objects.patches]
    return replace(objects, boxes=objects.boxes + np.array([left, top, left, top], np.float32), patches=patches)


def scaled(objects: Objects, down: float, across: float) -> Objects:
    """From a reduced picture's pixels to the picture's."""
    if down == across == 1:
        return objects
    boxes = objects.boxes * np.array([across, down, across, down], np.float32)
    patches = None if objects.patches is None else [_enlarged(patch, down, across) for patch in objects.patches]
    return replace(objects, boxes=boxes, patches=patches)


def _enlarged(patch: Patch, down: float, across: float) -> Patch:
    """By the nearest pixel."""
    height, width = patch.mask.shape
    top, left = round(patch.top * down), round(patch.left * across)
    bottom, right = round((patch.top + height) * down), round((patch.left + width) * across)
    rows = (((np.arange(top, bottom) + 0.5) / down).astype(int) - patch.top).clip(0, height - 1)
    columns = (((np.arange(left, right) + 0.5) / across).astype(int) - patch.left).clip(0, width - 1)
    return Patch(top, left, patch.mask[rows][:, columns])


def merged(found: Sequence[Objects], views: Sequence[View], size: tuple[int, int], threshold: float = THRESHOLD) -> Objects:
    """The objects of several views of a picture (H, W), each once, from the highest score down."""
    first = np.cumsum([0, *(len(objects) for objects in found)])
    boxes, scores, labels = (np.concatenate([getattr(o, key) for o in found]) for key in ('boxes', 'scores', 'labels'))
    patches = None if any(o.patches is None for o in found) else [patch for o in found for patch in o.patches or ()]
    everything = Objects(boxes, scores, labels, patches)
    cut = np.concatenate([_cut(o.boxes, view, size) for o, view in zip(found, views)])
    same: list[list[int]] = [[] for _ in scores]
    for i, j, region in _overlaps(views):
        for a, b in _pairs(found[i], found[j], region, threshold):
            same[first[i] + a].append(int(first[j] + b))
            same[first[j] + b].append(int(first[i] + a))
    done = np.zeros(len(scores), bool)
    groups = []
    for start in np.argsort(-scores, kind='stable').tolist():
        if done[start]:
            continue
        group, reach = [], [start]
        done[start] = True
        while reach:  # from a cut finding on to others of the same object; a whole one needs no more
            member = reach.pop()
            group.append(member)
            if member == start or cut[member]:
                new = [other for other in same[member] if not done[other]]
                done[new] = True
                reach += new
        groups.append(group)
    return _joined([_of_group(everything, group, cut) for group in groups], patches is not None)


def _overlaps(views: Sequence[View]) -> Iterable[tuple[int, int, NDArray[np.float32]]]:
    """Pairs of views that share a part, and that part as a box."""
    for i, a in enumerate(views):
        for j in range(i + 1, len(views)):
            b = views[j]
            left, top = max(a.left, b.left), max(a.top, b.top)
            right, bottom = min(a.left + a.width, b.left + b.width), min(a.top + a.height, b.top + b.height)
            if left < right and top < bottom:
                yield i, j, np.array([left, top, right, bottom], np.float32)


def _pairs(one: Objects, other: Objects, region: NDArray, threshold: float) -> Iterable[tuple[int, int]]:
    """Findings of two views that are the same object by what lies in the region."""
    a, b = (_clipped(objects.boxes, region) for objects in (one, other))
    sides = (np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])).clip(0)
    inside = sides.prod(2)
    areas = [(x[:, 2:] - x[:, :2]).clip(0).prod(1) for x in (a, b)]
    smaller, larger = (pick(areas[0][:, None], areas[1][None]) for pick in (np.minimum, np.maximum))
    near = (one.labels[:, None] == other.labels[None]) & (inside > 0)
    if one.patches is None or other.patches is None:
        yield from (
            (int(i), int(j)) for i, j in np.argwhere(near & (inside > threshold * smaller) & (smaller >= NESTED * larger))
        )
        return
    for i, j in np.argwhere(near).tolist():
        if _covered(one.patches[i], other.patches[j], region) > threshold:
            yield i, j


def _clipped(boxes: NDArray, region: NDArray) -> NDArray:
    return np.concatenate([np.maximum(boxes[:, :2], region[:2]), np.minimum(boxes[:, 2:], region[2:])], axis=1)


def _covered(one: Patch, other: Patch, region: NDArray) -> float:
    """The intersection of two masks within a region, over the smaller of them there."""
    left, top, right, bottom = region.astype(int).tolist()
    one, other = (patch.within(top, left, bottom, right) for patch in (one, other))
    smaller, larger = sorted((one.area, other.area))
    return shared(one, other) / smaller if smaller and smaller >= NESTED * larger else 0.0


def _cut(boxes: NDArray, view: View, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which boxes reach a border of the view that is none of the picture (H, W)."""
    inner = [view.left > 0, view.top > 0, view.left + view.width < size[1], view.top + view.height < size[0]]
    near = np.concatenate(
        [
            boxes[:, :2] <= np.array([view.left, view.top]) + BORDER,
            boxes[:, 2:] >= np.array([view.left + view.width, view.top + view.height]) - BORDER,
        ],
        axis=1,
    )
    return (near & np.array(inner)).any(1)


def _of_group(objects: Objects, group: list[int], cut: NDArray) -> Objects:
    """The findings of one object as one."""
    group = sorted(group, key=lambda i: -objects.scores[i])
    whole = [i for i in group if not cut[i]]
    parts = whole[:1] or group
    boxes = objects.boxes[parts]
    box = np.concatenate([boxes[:, :2].min(0), boxes[:, 2:].max(0)])[None]
    patches = None if objects.patches is None else [union([objects.patches[i] for i in parts])]
    return Objects(box, objects.scores[group[:1]], objects.labels[group[:1]], patches)


def _joined(objects: Sequence[Objects], masks: bool) -> Objects:
    if not objects:
        return Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), [] if masks else None)
    boxes, scores, labels = (np.concatenate([getattr(o, key) for o in objects]) for key in ('boxes', 'scores', 'labels'))
    return Objects(boxes, scores, labels, [patch for o in objects for patch in o.patches or ()] if masks else None)

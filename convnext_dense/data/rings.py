"""A mask's regions as polygons along the edges of their pixels: their areas are the numbers of pixels, and they are valid."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

Point = tuple[int, int]
RIGHT, DOWN, LEFT, UP = (1, 0), (0, 1), (-1, 0), (0, -1)
# An edge of a pixel (x, y): where the neighbour is that is none of the region, where the edge begins, and where it goes. The
# region is always to the right.
EDGES = (((0, -1), (0, 0), RIGHT), ((1, 0), (1, 0), DOWN), ((0, 1), (1, 1), LEFT), ((-1, 0), (0, 1), UP))


def polygons(mask: NDArray) -> Iterator[list[list[Point]]]:
    """Closed rings of x and y for each region whose pixels share edges: the outer one, then the holes."""
    labels = cv2.connectedComponents(np.ascontiguousarray(mask, np.uint8), connectivity=4)[1]
    found: dict[int, list[list[Point]]] = {}
    for label, ring in _rings(np.asarray(mask, bool), labels):
        rings = found.setdefault(label, [])
        rings.insert(0 if area(ring) > 0 else len(rings), ring)
    for _, rings in sorted(found.items()):
        yield [_straight(ring) for ring in rings]


def area(ring: list[Point]) -> float:
    """Of a closed ring, above 0 where it goes around to the right (x to the right, y downwards)."""
    x, y = np.array(ring, float).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


def _rings(mask: NDArray[np.bool_], labels: NDArray) -> Iterator[tuple[int, list[Point]]]:
    """(label, closed ring) along all edges between the mask and the rest, without a point twice in a ring."""
    wide = np.pad(mask, 1)
    outgoing: dict[Point, list[tuple[Point, int]]] = {}
    for (dx, dy), (x0, y0), along in EDGES:
        beside = wide[1 + dy : wide.shape[0] - 1 + dy, 1 + dx : wide.shape[1] - 1 + dx]
        ys, xs = np.nonzero(mask & ~beside)
        for x, y, label in zip(xs.tolist(), ys.tolist(), labels[ys, xs].tolist()):
            outgoing.setdefault((x + x0, y + y0), []).append((along, label))
    while outgoing:
        at = next(iter(outgoing))
        first, label = outgoing[at][0]
        way: Point | None = first
        ring, place = [at], {at: 0}
        while way is not None:
            _take(outgoing, at, way, label)
            at = at[0] + way[0], at[1] + way[1]
            if at in place:  # a ring is whole; what came before it goes on from here
                start = place[at]
                yield label, [*ring[start:], at]
                for gone in ring[start + 1 :]:
                    del place[gone]
                del ring[start + 1 :]
            else:
                place[at] = len(ring)
                ring.append(at)
            ways = [one for one, other in outgoing.get(at, ()) if other == label]
            right = (-way[1], way[0])  # along the same pixel
            way = right if right in ways else next(iter(ways), None)


def _take(outgoing: dict[Point, list[tuple[Point, int]]], at: Point, way: Point, label: int) -> None:
    outgoing[at].remove((way, label))
    if not outgoing[at]:
        del outgoing[at]


def _straight(ring: list[Point]) -> list[Point]:
    """Without the points between two edges of one direction."""
    inner = ring[:-1]
    kept = [
        here
        for before, here, after in zip([inner[-1], *inner], inner, [*inner[1:], inner[0]])
        if (here[0] - before[0]) * (after[1] - here[1]) != (here[1] - before[1]) * (after[0] - here[0])
    ]
    return [*kept, kept[0]]

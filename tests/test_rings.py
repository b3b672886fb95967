"""Polygons along pixels' edges: as large as the masks, valid, and the masks again when painted."""

import cv2
import numpy as np
import pytest

from convnext_dense.data.rings import area, polygons

HOLE = np.array([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 1, 1]], bool)
TOUCHING = np.array([[1, 0], [0, 1]], bool)
HOLES_TOUCHING = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]], bool)
HOLE_TO_THE_OUTSIDE = np.array([[1, 1, 1, 0], [1, 0, 1, 1], [1, 1, 0, 1], [0, 1, 1, 1]], bool)
BAY = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], bool)


def painted(mask: np.ndarray) -> np.ndarray:
    """From the polygons, at four times the size, where an edge is between pixels."""
    out = np.zeros([4 * side for side in mask.shape], np.uint8)
    for outer, *holes in polygons(mask):
        one = np.zeros_like(out)
        for ring, value in ((outer, 1), *((hole, 0) for hole in holes)):
            inside = np.zeros_like(out)
            cv2.fillPoly(inside, [np.array(ring, np.int32) * 4 * 16 - 8], 1, shift=4)
            one[inside > 0] = value
        out |= one
    return out[1::4, 1::4] > 0


@pytest.mark.parametrize(
    'mask', [HOLE, TOUCHING, HOLES_TOUCHING, HOLE_TO_THE_OUTSIDE, BAY, np.ones((1, 1), bool), np.zeros((3, 3), bool)]
)
def test_shapes(mask) -> None:
    found = list(polygons(mask))
    assert len(found) == cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[0] - 1
    assert sum(area(ring) for rings in found for ring in rings) == mask.sum()
    assert np.array_equal(painted(mask), mask)


@pytest.mark.parametrize('seed', range(30))
def test_random_masks_are_simple_rings_of_the_right_area(seed: int) -> None:
    mask = np.random.default_rng(seed).random((12, 15)) < 0.25 + 0.5 * (seed % 3) / 2
    found = list(polygons(mask))
    assert len(found) == cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[0] - 1
    for outer, *holes in found:
        assert area(outer) > 0 and all(area(hole) < 0 for hole in holes)
        for ring in (outer, *holes):
            assert ring[0] == ring[-1] and len(set(ring)) == len(ring) - 1 >= 4
    assert sum(area(ring) for rings in found for ring in rings) == mask.sum()
    assert np.array_equal(painted(mask), mask)

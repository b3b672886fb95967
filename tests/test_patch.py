"""Masks where they are."""

import numpy as np
import pytest
from pycocotools import mask as run_lengths

from convnext_dense.predict.patch import Patch, patch_of, shared, union

RNG = np.random.default_rng(0)


def random_patch(seed: int, size=(20, 30)) -> Patch:
    rng = np.random.default_rng(seed)
    h, w = rng.integers(1, 15, 2)
    return Patch(int(rng.integers(-5, size[0])), int(rng.integers(-5, size[1])), rng.random((h, w)) < 0.5)


@pytest.mark.parametrize('seed', range(20))
def test_on_and_within_and_run_length_are_those_of_the_whole_mask(seed: int) -> None:
    patch, size = random_patch(seed), (20, 30)
    whole = np.zeros((60, 70), bool)  # with 20 pixels around
    h, w = patch.mask.shape
    whole[20 + patch.top : 20 + patch.top + h, 20 + patch.left : 20 + patch.left + w] = patch.mask
    inside = whole[20:40, 20:50]
    assert np.array_equal(patch.on(size), inside)
    theirs = run_lengths.encode(np.asfortranarray(inside, dtype=np.uint8))
    assert patch.run_length(size) == theirs
    assert Patch(0, 0, inside).run_length(size) == theirs
    cut = patch.within(5, 7, 12, 22)
    assert cut.area == inside[5:12, 7:22].sum() and np.array_equal(cut.on(size)[5:12, 7:22], inside[5:12, 7:22])


@pytest.mark.parametrize('mask', [np.ones((4, 5), bool), np.zeros((4, 5), bool), np.eye(4, 5, dtype=bool)])
def test_run_lengths_at_the_edges(mask) -> None:
    for top, left in ((0, 0), (16, 25), (3, 25), (16, 3)):
        whole = np.zeros((20, 30), np.uint8, order='F')
        whole[top : top + 4, left : left + 5] = mask
        assert Patch(top, left, mask).run_length((20, 30)) == run_lengths.encode(whole)


@pytest.mark.parametrize('seed', range(20))
def test_shared_and_union(seed: int) -> None:
    a, b, size = random_patch(seed), random_patch(seed + 100), (40, 50)
    a, b = (Patch(p.top + 5, p.left + 5, p.mask) for p in (a, b))
    assert shared(a, b) == shared(b, a) == (a.on(size) & b.on(size)).sum()
    assert np.array_equal(union([a, b]).on(size), a.on(size) | b.on(size)) and union([a]) is a


def test_a_mask_without_its_empty_border() -> None:
    mask = np.zeros((10, 12), bool)
    mask[3:5, 4:9] = [[1, 0, 0, 0, 1], [0, 0, 1, 0, 0]]
    found = patch_of(mask)
    assert (found.top, found.left, found.mask.shape, found.area) == (3, 4, (2, 5), 3)
    assert np.array_equal(found.on((10, 12)), mask)
    assert patch_of(np.zeros((3, 4), bool)).area == 0

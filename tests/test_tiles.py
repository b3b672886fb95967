"""Where tiles lie, and what they count."""

import numpy as np
import pytest

from convnext_dense.errors import InputError
from convnext_dense.predict.tiles import STRIDE, Tiling, checked_tiling, weights


@pytest.mark.parametrize('side', [64, 100, 512])
@pytest.mark.parametrize('overlap', [0.0, 0.25, 0.9])
@pytest.mark.parametrize('length', [1, 31, 64, 65, 100, 513, 3000])
def test_tiles_cover_a_picture_and_overlap(side: int, overlap: float, length: int) -> None:
    tiling = Tiling(side, overlap)
    starts, tile = tiling.starts(length), tiling.length(length)
    assert starts[0] == 0 and all(start % STRIDE == 0 for start in starts) and tile % STRIDE == 0
    assert length <= starts[-1] + tile < length + STRIDE
    steps = np.diff(starts)
    assert (steps > 0).all() and (steps <= max(tile - int(side * overlap), STRIDE)).all()


def test_views_are_within_the_picture_and_cover_it() -> None:
    seen = np.zeros((150, 300), int)
    for top, left, height, width in Tiling(96, 0.25).views((150, 300)):
        assert top + height <= 150 and left + width <= 300
        seen[top : top + height, left : left + width] += 1
    assert seen.min() == 1 and seen.max() >= 4
    assert Tiling(96).views((50, 60)) == [(0, 0, 50, 60)]


@pytest.mark.parametrize('starts', [[0], [0, 6], [0, 8], [0, 3, 6, 7], [0, 1, 2]])
def test_weights_add_up_to_one_and_fade(starts: list[int]) -> None:
    total = np.zeros(starts[-1] + 8)
    for start, weight in zip(starts, weights(starts, 8)):
        assert weight.shape == (8,) and (weight > 0).all()
        total[start : start + 8] += weight
    assert np.allclose(total, 1)
    first = weights([0, 6], 8)[0]
    assert np.allclose(first, [1] * 6 + [0.75, 0.25])


@pytest.mark.parametrize(
    'side, overlap, line',
    [
        (10, 0.25, '--tile: .* from 64 up, got 10'),
        (True, 0.25, '--tile'),
        ('many', 0.25, '--tile'),
        (512, 1.0, '--overlap: expected a share of the tile from 0 to 0.9, got 1.0'),
        (512, -0.1, '--overlap'),
        (512, float('nan'), '--overlap'),
    ],
)
def test_tilings_that_cannot_be(side, overlap, line: str) -> None:
    with pytest.raises(InputError, match=line):
        checked_tiling(side, overlap)

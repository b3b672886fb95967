"""Chosen bands are stretched to bytes; others than there are get a line."""

import numpy as np
import pytest
from channel_sets import picture

from convnext_dense.data.bands import checked_bands, displayed
from convnext_dense.errors import InputError


def test_the_percentiles_are_black_and_white() -> None:
    ramp = np.linspace(100, 1100, 1001, dtype=np.float32).reshape(7, 143, 1)
    found = displayed(np.concatenate([ramp, ramp * 3, -ramp], axis=2), (0, 1, 2))
    assert found.dtype == np.uint8 and found.shape == (7, 143, 3)
    expected = np.rint(((ramp[..., 0] - 120) / 960 * 255).clip(0, 255))
    for band, sign in ((0, 1), (1, 1), (2, -1)):
        assert np.abs(found[..., band].astype(int) - (expected if sign > 0 else 255 - expected)).max() <= 1


def test_one_band_is_grey_and_three_keep_their_order() -> None:
    values = picture(5)
    one = displayed(values, (4,))
    assert np.array_equal(one[..., 0], one[..., 1]) and np.array_equal(one[..., 0], one[..., 2])
    assert np.array_equal(displayed(values, (4, 0, 2))[..., 0], one[..., 0])


def test_bands_with_few_values() -> None:
    flat = np.full((10, 10, 1), 7.0, np.float32)
    assert not displayed(flat, (0,)).any()
    flat[3, 4] = 9
    assert displayed(flat, (0,))[3, 4, 0] == 255 and displayed(flat, (0,)).sum() == 3 * 255


@pytest.mark.parametrize(
    ('given', 'channels', 'expected'), [(None, 12, (0, 1, 2)), (None, 2, (0,)), ([3], 4, (3,)), ((2, 1, 0), 3, (2, 1, 0))]
)
def test_which_are_taken(given, channels: int, expected: tuple) -> None:
    assert checked_bands(given, channels) == expected


@pytest.mark.parametrize('given', [(0, 1), (), (0, 1, 4), (-1,), 'abc', 3, (0.5,)])
def test_others_than_there_are(given) -> None:
    with pytest.raises(InputError, match='bands: expected one or three of the 4 channels'):
        checked_bands(given, 4)

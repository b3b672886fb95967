"""Means and deviations are those of numpy over all pixels; up to 2,000 pictures are read, spread evenly."""

from pathlib import Path

import numpy as np
import pytest
from channel_sets import picture, write_tiff

from convnext_dense.data import channel_stats as room
from convnext_dense.data.channel_stats import channel_stats, moments
from convnext_dense.errors import InputError


def written(folder: Path, count: int, channels: int, shift: float = 0.0) -> tuple[list[Path], np.ndarray]:
    """Pictures of several sizes, and all of their pixels (P, N) one after the other."""
    paths, pixels = [], []
    for index in range(count):
        values = picture(channels, np.float32, height=20 + index, width=30, seed=index) + np.float32(shift)
        np.save(folder / f'{index}.npy', values)
        paths.append(folder / f'{index}.npy')
        pixels.append(values.reshape(-1, channels))
    return paths, np.concatenate(pixels).astype(np.float64)


@pytest.mark.parametrize('shift', [0.0, 1e6])  # far from zero, where sums of squares lose all digits
@pytest.mark.parametrize('channels', [1, 12])
def test_they_are_those_of_the_whole(channels: int, shift: float, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(room, 'BLOCK', 500)
    paths, pixels = written(tmp_path, 7, channels, shift)
    steps: list[tuple[int, int]] = []
    mean, std, line = channel_stats(paths, channels, lambda done, total: steps.append((done, total)))
    np.testing.assert_allclose(mean, pixels.mean(0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(std, pixels.std(0), rtol=1e-6)
    assert f'over all 7 training pictures, {len(pixels):,} pixels' in line
    assert steps == [(i, 7) for i in range(1, 8)]


def test_many_pictures_are_thinned_out_evenly(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(room, 'MOST', 3)
    paths, _ = written(tmp_path, 7, 2)
    mean, _, line = channel_stats(paths, 2)
    assert 'over 3 of 7 training pictures' in line
    assert mean == channel_stats([paths[0], paths[3], paths[6]], 2).mean


def test_sixteen_bits_and_a_constant_channel(tmp_path: Path) -> None:
    values = picture(3)
    values[..., 1] = 65535
    write_tiff(tmp_path / 'x.tif', values)
    found = channel_stats([tmp_path / 'x.tif'], 3)
    np.testing.assert_allclose(found.std, values.reshape(-1, 3).std(0), rtol=1e-9)
    assert found.mean[1] == 65535 and found.std[1] == 0


def test_blocks_are_put_together() -> None:
    values = picture(2, height=7, width=5)
    whole = moments(values)
    parts = moments(values[:3]).merged(moments(values[3:]))
    assert whole.pixels == parts.pixels == 35
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(parts.squares, whole.squares, rtol=1e-12)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='expected the pictures of the training split, got none'):
        channel_stats([], 3)
    paths, _ = written(tmp_path, 3, 2)
    with pytest.raises(InputError, match=r'\d.npy is 2-channel data with --channels 3'):
        channel_stats(paths, 3)

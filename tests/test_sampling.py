"""Bilinear samples and their sums, against one sample at a time."""

import pytest
import torch
from plain_samples import maps, sample
from torch.autograd import gradcheck

from convnext_dense.errors import InputError
from convnext_dense.mmcv_ext import sampling

POINTS = [
    (0.0, 0.0),
    (3.25, 7.5),
    (-0.7, 4.2),
    (-1.0, -1.0),
    (-1.01, 3),
    (12.4, 15.9),
    (13.0, 16.0),
    (13.1, 2),
    (12, 15),
    (1e9, 0),
]


def test_corners_are_those_of_one_sample() -> None:
    x = maps()
    y, across = (torch.tensor(part, dtype=torch.float64) for part in zip(*POINTS))
    near = sampling.corners(y, across, torch.ones(len(POINTS), dtype=torch.long), 13, 16)
    values = sampling.sums(sampling.as_rows(x), near.pixels, near.weight)
    torch.testing.assert_close(values, torch.stack([sample(x[1], *point) for point in POINTS]))
    assert near.within.tolist() == [-1 <= y <= 13 and -1 <= x <= 16 for y, x in POINTS]


def test_grids_hold_each_roi_once_and_few_samples() -> None:
    heights, widths = torch.tensor([3.0, 6.1, 0, 3, -2]), torch.tensor([2.0, 9, 5, 1.5, 4])
    found = {}
    for grid in sampling.grids('op', heights, widths, (3, 2), 0, most=1):
        assert len(grid.rois) == 1  # at most one sample at once is one RoI at once
        found[int(grid.rois)] = (grid.height, grid.width)
    assert found == {0: (1, 1), 1: (3, 5), 2: (0, 3), 3: (1, 1), 4: (0, 2)}
    (grid,) = sampling.grids('op', heights, widths, (3, 2), 2)
    assert grid.rois.tolist() == [0, 1, 2, 3, 4] and grid[1:] == (2, 2)
    assert not list(sampling.grids('op', heights[:0], widths[:0], (3, 2), 0))


def test_a_roi_of_absurdly_many_samples_is_refused() -> None:
    with pytest.raises(InputError, match='op: expected RoIs of at most .* samples, got one of more; set sampling_ratio'):
        next(sampling.grids('op', torch.tensor([1e9]), torch.tensor([1e9]), (7, 7), 0))


@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('side', [torch.inf, torch.nan])
def test_a_side_that_is_not_finite_is_refused(side: float, ratio: int) -> None:
    with pytest.raises(InputError, match='op: expected RoIs of at most .* samples, got one of more'):
        next(sampling.grids('op', torch.tensor([1.0, side]), torch.tensor([1.0, 1.0]), (7, 7), ratio))


@pytest.mark.parametrize('nowhere', [torch.nan, torch.inf, -torch.inf])
def test_a_sample_that_is_nowhere_is_nan(nowhere: float) -> None:
    y, x = torch.tensor([1.0, nowhere, 1.0]), torch.tensor([1.0, 1.0, nowhere])
    near = sampling.corners(y, x, torch.zeros(3, dtype=torch.long), 4, 5)
    values = sampling.sums(torch.ones(20, 2), near.pixels, near.weight)
    assert values[0].tolist() == [1, 1] and values[1:].isnan().all()


def test_a_map_without_channels_has_rows() -> None:
    rows = sampling.as_rows(torch.ones(2, 0, 3, 4))
    assert rows.shape == (24, 0)
    index = torch.zeros(5, 4, dtype=torch.long)
    assert sampling.sums(rows, index, torch.ones(5, 4)).shape == (5, 0)
    sampling.add_gradient(rows, torch.ones(5, 0), index, torch.ones(5, 4))


def test_steps_are_the_middles_of_equal_parts() -> None:
    y, x = sampling.Grid(torch.zeros(1), 2, 3).steps(torch.zeros(1))
    assert y.tolist() == [[0.5], [1.5]] and x.tolist() == [[0.5, 1.5, 2.5]]


def test_the_gradient_of_sums_is_added(monkeypatch) -> None:
    monkeypatch.setattr(sampling, 'SAMPLES', 3)  # several rounds
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(6, 4, dtype=torch.float64, generator=generator).requires_grad_()
    index = torch.randint(6, (5, 8), generator=generator)
    weight = torch.randn(5, 8, dtype=torch.float64, generator=generator)
    out = sampling.sums(rows, index, weight)
    torch.testing.assert_close(out, (rows[index] * weight[..., None]).sum(1))
    assert gradcheck(lambda rows: sampling.sums(rows, index, weight), (rows,))
    seed = torch.randn(out.shape, dtype=torch.float64, generator=generator)
    (expected,) = torch.autograd.grad(out, rows, seed)
    into = torch.ones_like(expected)
    sampling.add_gradient(into, seed, index, weight)
    torch.testing.assert_close(into, expected + 1)


@pytest.mark.parametrize('shape', [(0, 4), (3, 0)])
def test_no_bags_and_no_entries(shape: tuple[int, int]) -> None:
    rows, index = torch.ones(5, 2), torch.zeros(shape, dtype=torch.long)
    assert torch.equal(sampling.sums(rows, index, torch.zeros(shape)), torch.zeros(shape[0], 2))
    into = torch.ones(5, 2)
    sampling.add_gradient(into, torch.ones(shape[0], 2), index, torch.zeros(shape))
    assert (into == 1).all()

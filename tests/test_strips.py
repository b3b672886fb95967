"""Rows of maps, a few at a time, against whole maps."""

import pytest
import torch
import torch.nn.functional as F
from conftest import rounding

from convnext_dense.kernels import strips
from convnext_dense.kernels.strips import Resized, WholeMap


def test_strips_cover_the_rows_once(small_strips):
    parts = list(strips.strips((50, 64), 7))
    assert len(parts) > 5 and [row for start, stop in parts for row in range(start, stop)] == list(range(50))


@pytest.mark.parametrize('align', [False, True])
@pytest.mark.parametrize('size', [(5, 7), (12, 14), (13, 9), (40, 3), (5, 20), (1, 1)])
def test_resized_rows_equal_interpolate(size, align):
    x = torch.randn(3, 5, 7)
    expected = F.interpolate(x[None], size=size, mode='bilinear', align_corners=align)[0].permute(1, 2, 0)
    resized = Resized(WholeMap(x), size, align)
    got = torch.cat([resized.rows(start, min(start + 3, size[0])) for start in range(0, size[0], 3)])
    torch.testing.assert_close(got, expected, rtol=0, atol=rounding(2, 2) * x.abs().max().item())

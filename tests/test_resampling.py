"""Pooling and upsampling as matrix products are PyTorch's."""

import pytest
import torch
import torch.nn.functional as F
from conftest import image
from torch import nn

from convnext_dense.export.resampling import AveragePool, replace_baked, upsampling


@pytest.mark.parametrize('parts', [1, 2, 3, 6])
@pytest.mark.parametrize('size', [(1, 3), (2, 7), (6, 6), (16, 33)])
def test_averages(size: tuple[int, int], parts: int) -> None:
    x = image(2, 3, *size)
    torch.testing.assert_close(
        AveragePool(parts, parts + 1)(x), F.adaptive_avg_pool2d(x, (parts, parts + 1)), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize(('out', 'own'), [(7, 3), (16, 8), (33, 16), (5, 5), (1, 1), (100, 1), (3, 9)])
def test_upsampling(out: int, own: int, align_corners: bool) -> None:
    x = image(1, 1, 4, own)
    expected = F.interpolate(x, (4, out), mode='bilinear', align_corners=align_corners)
    torch.testing.assert_close(x @ upsampling(out, own, align_corners, x).t(), expected, atol=1e-5, rtol=0)


def test_every_pool_is_replaced() -> None:
    module = nn.Sequential(
        nn.AdaptiveAvgPool2d(2), nn.Sequential(nn.AdaptiveAvgPool2d((3, 1)), nn.AdaptiveAvgPool2d((None, 1)))
    )
    x = image(1, 2, 5, 7)
    expected = module(x), module[1][0](x)
    replace_baked(module)
    assert [type(one).__name__ for one in (module[0], *module[1])] == ['AveragePool', 'AveragePool', 'AdaptiveAvgPool2d']
    torch.testing.assert_close((module(x), module[1][0](x)), expected, atol=1e-6, rtol=0)

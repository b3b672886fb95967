"""A convolution over upsampled maps, at their own resolution, in operators that every runtime has."""

import pytest
import torch
import torch.nn.functional as F
from conftest import image, rounding

from convnext_dense.export.upsampled_conv_graph import conv_of_upsampled


@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize('size', [(33, 47), (8, 8), (3, 1)])
def test_it_equals_the_convolution_of_the_upsampled_maps(size: tuple[int, int], align_corners: bool) -> None:
    base, maps = image(2, 5, *size), [image(2, 4, *own) for own in ((16, 23), (8, 11), (1, 1))]
    weights = [image(5, 4, 3, 3, seed=i) for i in range(3)]
    expected = base + sum(
        F.conv2d(F.interpolate(m, size, mode='bilinear', align_corners=align_corners), w, padding=1)
        for m, w in zip(maps, weights, strict=True)
    )
    found = conv_of_upsampled(base, maps, weights, align_corners)
    torch.testing.assert_close(found, expected, rtol=0, atol=rounding(9 * 4, 16) * float(expected.abs().max()))

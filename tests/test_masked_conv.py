"""masked_conv2d, against a convolution and one patch at a time."""

import pytest
import torch
import torch.nn.functional as F

from convnext_dense.errors import InputError
from convnext_dense.mmcv_ext.masked_conv import masked_col2im_forward, masked_im2col_forward

mmcv_ops = pytest.importorskip('mmcv.ops')


def inputs(dtype: torch.dtype = torch.float64, kernel: tuple[int, int] = (3, 3)):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 5, 7, 10, dtype=torch.float64, generator=generator)
    weight = torch.randn(4, 5, *kernel, dtype=torch.float64, generator=generator)
    bias = torch.randn(4, dtype=torch.float64, generator=generator)
    mask = torch.rand(1, 7, 10, generator=generator) > 0.6
    return x.to(dtype).contiguous(memory_format=torch.channels_last), mask, weight.to(dtype), bias.to(dtype)


@pytest.mark.parametrize('kernel', [(3, 3), (1, 1), (5, 3)])
def test_it_is_a_convolution_where_the_mask_is(kernel: tuple[int, int]) -> None:
    x, mask, weight, bias = inputs(kernel=kernel)
    padding = (kernel[0] // 2, kernel[1] // 2)
    out = mmcv_ops.masked_conv2d(x, mask, weight, bias, padding)
    torch.testing.assert_close(out, F.conv2d(x, weight, bias, padding=padding) * mask)
    assert 0 < mask.sum() < mask.numel()


def test_patches_one_number_at_a_time() -> None:
    x = inputs()[0]
    rows, columns = torch.tensor([0, 6, 3, 6]), torch.tensor([0, 9, 4, 1])
    col = torch.full((5 * 3 * 2, 4), torch.nan, dtype=torch.float64)
    masked_im2col_forward(x, rows, columns, col, kernel_h=3, kernel_w=2, pad_h=2, pad_w=0)
    expected = torch.zeros_like(col)
    for c in range(5):
        for i in range(3):
            for j in range(2):
                for m in range(4):
                    y, across = int(rows[m]) - 2 + i, int(columns[m]) + j
                    if 0 <= y < 7 and 0 <= across < 10:
                        expected[c * 6 + i * 2 + j, m] = x[0, c, y, across]
    assert torch.equal(col, expected)


def test_only_the_places_are_written() -> None:
    im = torch.full((1, 2, 3, 4), 7.0)
    masked_col2im_forward(torch.tensor([[1.0, 2], [3, 4]]), torch.tensor([0, 2]), torch.tensor([3, 1]), im, 3, 4, 2)
    assert im[0, :, 0, 3].tolist() == [1, 3] and im[0, :, 2, 1].tolist() == [2, 4]
    assert (im == 7).sum() == 20


def test_an_empty_mask_and_reduced_precision() -> None:
    x, mask, weight, bias = inputs()
    assert mmcv_ops.masked_conv2d(x, torch.zeros_like(mask), weight, bias, 1).abs().sum() == 0
    for dtype in (torch.float16, torch.bfloat16):
        half = inputs(dtype)
        out = mmcv_ops.masked_conv2d(*half, 1)
        assert out.dtype == dtype
        whole = mmcv_ops.masked_conv2d(*(t.float() if t.is_floating_point() else t for t in half), 1)
        torch.testing.assert_close(out.float(), whole, rtol=0.02, atol=0.1)
    col, none = torch.zeros(9, 0), torch.zeros(0, dtype=torch.long)
    masked_im2col_forward(torch.zeros(1, 1, 4, 4), none, none, col, 3, 3, 1, 1)
    masked_im2col_forward(torch.zeros(1, 1, 0, 4), torch.tensor([0]), torch.tensor([0]), torch.ones(9, 1), 3, 3, 1, 1)


PLACE = torch.tensor([0])


@pytest.mark.parametrize(
    'call, message',
    [
        (
            lambda: masked_im2col_forward(torch.zeros(1, 1, 4, 4).int(), PLACE, PLACE, torch.zeros(9, 1), 3, 3, 1, 1),
            'in im, got',
        ),
        (
            lambda: masked_im2col_forward(torch.zeros(1, 1, 4, 4), PLACE.float(), PLACE, torch.zeros(9, 1), 3, 3, 1, 1),
            'expected int64 in mask_h_idx',
        ),
        (
            lambda: masked_im2col_forward(torch.zeros(2, 1, 4, 4), PLACE, PLACE, torch.zeros(9, 1), 3, 3, 1, 1),
            r'expected im of shape \(1, C, H, W\), got \(2, 1, 4, 4\)',
        ),
        (
            lambda: masked_im2col_forward(torch.zeros(1, 1, 4, 4), PLACE, PLACE, torch.zeros(8, 1), 3, 3, 1, 1),
            r'expected col of shape \(9, 1\)',
        ),
        (
            lambda: masked_col2im_forward(torch.zeros(1, 1), PLACE + 4, PLACE, torch.zeros(1, 1, 4, 4), 4, 4, 1),
            r'expected places within 4 x 4, got \(4, 0\)',
        ),
    ],
)
def test_wrong_input(call, message: str) -> None:
    with pytest.raises(InputError, match=f'masked_.*{message}'):
        call()

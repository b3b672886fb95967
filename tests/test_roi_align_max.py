"""RoIAlign with the largest sample, against one sample at a time."""

import math

import pytest
import torch
from plain_samples import ROIS, maps, sample
from torch import Tensor
from torch.autograd import gradcheck

from convnext_dense.errors import InputError
from convnext_dense.mmcv_ext import roi_align_max
from convnext_dense.mmcv_ext.roi_align_max import max_roi_align_backward, max_roi_align_forward

SIZE = (3, 2)


class MaxRoIAlign(torch.autograd.Function):
    """mmcv's autograd function of roi_align, on these two operators."""

    @staticmethod
    def forward(ctx, x: Tensor, rois: Tensor, size: tuple[int, int], scale: float, ratio: int, aligned: bool) -> Tensor:
        shape = (len(rois), x.shape[1], *size)
        output, *argmax = (x.new_zeros(shape) for _ in range(3))
        ctx.options = (*size, scale, ratio, aligned)
        max_roi_align_forward(x, rois, output, *argmax, *ctx.options)
        ctx.save_for_backward(rois, *argmax)
        ctx.shape = x.shape
        return output

    @staticmethod
    def backward(ctx, grad: Tensor):
        into = grad.new_zeros(ctx.shape)
        max_roi_align_backward(grad.contiguous(), *ctx.saved_tensors, into, *ctx.options)
        return into, None, None, None, None, None


max_roi_align = MaxRoIAlign.apply


def plain(x: Tensor, rois: Tensor, size: tuple[int, int], scale: float, ratio: int, aligned: bool) -> Tensor:
    out = []
    for roi in rois:
        x1, y1, x2, y2 = (roi[1:] * scale - (0.5 if aligned else 0)).tolist()
        wide, tall = x2 - x1, y2 - y1
        if not aligned:
            wide, tall = max(wide, 1.0), max(tall, 1.0)
        grid_y, grid_x = (ratio or math.ceil(side / count) for side, count in zip((tall, wide), size))
        for i in range(size[0]):
            for j in range(size[1]):
                samples = [
                    sample(
                        x[int(roi[0])],
                        y1 + (i + (a + 0.5) / grid_y) * tall / size[0],
                        x1 + (j + (b + 0.5) / grid_x) * wide / size[1],
                    )
                    for a in range(grid_y)
                    for b in range(grid_x)
                ]
                out.append(torch.stack(samples).amax(0) if samples else x.new_zeros(x.shape[1]))
    return torch.stack(out).view(len(rois), *size, -1).permute(0, 3, 1, 2)


@pytest.fixture(params=[None, 1], ids=['whole', 'in parts'])
def parts(request, monkeypatch) -> None:
    if request.param:
        monkeypatch.setattr(roi_align_max, 'VALUES', request.param)
        monkeypatch.setattr(roi_align_max, 'PLACES', request.param)


@pytest.mark.usefixtures('parts')
@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('aligned', [True, False])
def test_it_equals_one_sample_at_a_time_in_both_directions(aligned: bool, ratio: int) -> None:
    x = maps().requires_grad_()
    options = (ROIS, SIZE, 0.5, ratio, aligned)
    out, expected = max_roi_align(x, *options), plain(x, *options)
    torch.testing.assert_close(out, expected)
    seed = torch.randn(out.shape, dtype=torch.float64).transpose(2, 3).contiguous().transpose(2, 3)
    # Outside the map all samples of a bin are 0 and none has a gradient.
    torch.testing.assert_close(*(torch.autograd.grad(y, x, seed)[0] for y in (out, expected)))


@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('aligned', [True, False])
def test_gradients(aligned: bool, ratio: int) -> None:
    x = maps(2, 6, 8, seed=1).requires_grad_()
    assert gradcheck(lambda x: max_roi_align(x, ROIS, SIZE, 0.25, ratio, aligned), (x,), fast_mode=True)


def test_where_the_largest_is_by_hand() -> None:
    x = torch.zeros(1, 2, 8, 8)
    x[0, 0, 3, 4] = 1.0
    output, argmax_y, argmax_x = (torch.full((2, 2, 1, 1), 5.0) for _ in range(3))
    # Samples at 0.5, 1.5, …: the four around (3, 4) have a quarter each, the first is at (2.5, 3.5). The other box has no area.
    rois = torch.tensor([[0.0, 0.5, 0.5, 8.5, 8.5], [0, 2.5, 2.5, 2.5, 2.5]])
    max_roi_align_forward(x, rois, output, argmax_y, argmax_x, 1, 1, 1.0, 0, True)
    assert output.flatten().tolist() == [0.25, 0, 0, 0]
    assert argmax_y.flatten().tolist() == [2.5, 0.5, -1, -1]
    assert argmax_x.flatten().tolist() == [3.5, 0.5, -1, -1]


def test_no_boxes_and_reduced_precision() -> None:
    x = torch.randn(1, 3, 8, 8, requires_grad=True)
    out = max_roi_align(x, torch.zeros(0, 5), (7, 7), 1.0, 0, True)
    out.sum().backward()
    assert out.shape == (0, 3, 7, 7) and x.grad.abs().sum() == 0
    for dtype in (torch.float16, torch.bfloat16):
        half = maps().to(dtype).requires_grad_()
        rois = ROIS.to(dtype)
        out = max_roi_align(half, rois, SIZE, 0.5, 2, True)
        whole = max_roi_align(half.detach().float(), rois.float(), SIZE, 0.5, 2, True)
        assert torch.equal(out, whole.to(dtype))
        out.sum().backward()
        assert half.grad.dtype == dtype and half.grad.isfinite().all() and half.grad.abs().sum() > 0


@pytest.mark.parametrize(
    'rois, message',
    [
        (torch.tensor([[1.0, 0, 0, 1, 1]]), 'expected batch indices from 0 to 0, got 1 in row 0 of rois'),
        (torch.tensor([[0.0, 0, torch.inf, 1, 1]]), 'expected finite numbers in rois, got 0 0 inf 1 1 in row 0'),
        (torch.tensor([[0.0, 3, 0, 1, 1]]), 'expected RoIs .* with x1 <= x2 and y1 <= y2, got one without'),
        (torch.zeros(1, 5).long(), r'expected floating-point numbers in rois, got torch\.int64'),
        (torch.zeros(1, 6), r'expected rois of shape \(K, 5\), got \(1, 6\)'),
    ],
)
def test_wrong_input(rois: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=f'^roi_align_forward: {message}'):
        max_roi_align(torch.zeros(1, 3, 4, 4), rois, (2, 2), 1.0, 0, True)

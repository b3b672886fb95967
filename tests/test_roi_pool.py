"""roi_pool, against loops over bins."""

import math

import pytest
import torch
from plain_samples import ROIS, maps
from torch.autograd import gradcheck

from convnext_dense.errors import InputError
from convnext_dense.mmcv_ext import roi_pool
from convnext_dense.mmcv_ext.roi_pool import roi_pool_backward, roi_pool_forward

mmcv_ops = pytest.importorskip('mmcv.ops')
SIZE = (3, 2)


def plain(x: torch.Tensor, rois: torch.Tensor, size: tuple[int, int], scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    height, width = x.shape[2:]
    out = x.new_zeros(len(rois), x.shape[1], *size)
    argmax = torch.full(out.shape, -1)
    for k, roi in enumerate(rois.tolist()):
        x1, y1, x2, y2 = roi[1] * scale, roi[2] * scale, (roi[3] + 1) * scale, (roi[4] + 1) * scale
        for i in range(size[0]):
            for j in range(size[1]):
                tall, wide = (y2 - y1) / size[0], (x2 - x1) / size[1]
                ys = [min(max(e, 0), height) for e in (math.floor(i * tall + y1), math.ceil((i + 1) * tall + y1))]
                xs = [min(max(e, 0), width) for e in (math.floor(j * wide + x1), math.ceil((j + 1) * wide + x1))]
                if x2 <= x1 or y2 <= y1 or ys[0] >= ys[1] or xs[0] >= xs[1]:
                    continue
                places = [(y, across) for y in range(*ys) for across in range(*xs)]
                for c in range(x.shape[1]):
                    y, across = max(places, key=lambda at: float(x[int(roi[0]), c, at[0], at[1]]))  # the first of equals
                    out[k, c, i, j] = x[int(roi[0]), c, y, across]
                    argmax[k, c, i, j] = y * width + across
    return out, argmax


@pytest.fixture(params=[None, 1], ids=['whole', 'in parts'])
def parts(request, monkeypatch) -> None:
    if request.param:
        monkeypatch.setattr(roi_pool, 'VALUES', request.param)


@pytest.mark.usefixtures('parts')
@pytest.mark.parametrize('scale', [1.0, 0.4])
def test_it_equals_a_loop(scale: float) -> None:
    x = maps().round()  # with equal numbers, of which the first counts
    expected, places = plain(x, ROIS, SIZE, scale)
    output, argmax = torch.full_like(expected, 9), torch.zeros(expected.shape, dtype=torch.int)
    roi_pool_forward(x, ROIS, output, argmax, *SIZE, scale)
    assert torch.equal(output, expected) and torch.equal(argmax.long(), places)
    assert torch.equal(mmcv_ops.roi_pool(x, ROIS, SIZE, scale), expected)
    assert (places < 0).any() and len(expected.unique()) < places.numel()


def test_a_box_the_wrong_way_round_is_0_and_has_no_gradient() -> None:
    x = maps().requires_grad_()
    out = mmcv_ops.roi_pool(x, torch.tensor([[0.0, 9, 2, 3, 8]], dtype=torch.float64), SIZE)
    out.sum().backward()
    assert (out == 0).all() and (x.grad == 0).all()


def test_numbers_that_are_not_are_passed_over() -> None:
    x = torch.full((1, 2, 2, 2), torch.nan)
    x[0, 0, 1, 0] = -3.0
    output, argmax = torch.zeros(1, 2, 1, 1), torch.zeros(1, 2, 1, 1, dtype=torch.int)
    roi_pool_forward(x, torch.tensor([[0.0, 0, 0, 1, 1]]), output, argmax, 1, 1, 1.0)
    assert output[0, 0] == -3 and argmax.flatten().tolist() == [2, -1]


@pytest.mark.parametrize('scale', [1.0, 0.4])
def test_gradients(scale: float) -> None:
    x = maps(2, 7, 9).requires_grad_()
    assert gradcheck(lambda x: mmcv_ops.roi_pool(x, ROIS, SIZE, scale), (x,), fast_mode=True)


def test_a_map_without_channels() -> None:
    x = maps(0).requires_grad_()
    out = mmcv_ops.roi_pool(x, ROIS, SIZE, 0.5)
    assert out.shape == (len(ROIS), 0, *SIZE)
    out.sum().backward()
    assert x.grad.shape == x.shape


def test_overlapping_boxes_add_up() -> None:
    x = torch.zeros(1, 1, 3, 3, requires_grad=True)
    with torch.no_grad():
        x[0, 0, 1, 2] = 5
    boxes = torch.tensor([[0.0, 0, 0, 2, 2], [0, 1, 1, 2, 2]])
    mmcv_ops.roi_pool(x, boxes, (1, 1)).backward(torch.tensor([2.0, 3.0]).view(2, 1, 1, 1))
    assert x.grad.flatten().tolist() == [0, 0, 0, 0, 0, 5, 0, 0, 0]


def test_no_boxes_and_reduced_precision() -> None:
    x = torch.randn(1, 3, 8, 8, requires_grad=True)
    out = mmcv_ops.roi_pool(x, torch.zeros(0, 5), (7, 7))
    out.sum().backward()
    assert out.shape == (0, 3, 7, 7) and x.grad.abs().sum() == 0
    for dtype in (torch.float16, torch.bfloat16):
        half = maps().to(dtype).requires_grad_()
        whole = half.detach().float().requires_grad_()
        outs = [mmcv_ops.roi_pool(t, ROIS.to(dtype).to(t.dtype), SIZE, 0.5) for t in (half, whole)]
        assert outs[0].dtype == dtype and torch.equal(outs[0].float(), outs[1])
        for out in outs:
            out.sum().backward()
        assert torch.equal(half.grad, whole.grad.to(dtype))


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(rois=torch.tensor([[2.0, 0, 0, 1, 1]])), 'expected batch indices from 0 to 1, got 2 in row 0 of rois'),
        (dict(rois=torch.tensor([[0.0, 0, torch.nan, 1, 1]])), 'expected finite numbers in rois, got 0 0 nan 1 1 in row 0'),
        (dict(input=torch.zeros(2, 3, 4, 4).long()), r'expected floating-point numbers in input, got torch\.int64'),
        (dict(rois=torch.zeros(1, 4)), r'expected rois of shape \(K, 5\), got \(1, 4\)'),
        (dict(rois=torch.zeros(1, 5, device='meta')), 'expected all tensors on one device, got input on cpu, rois on meta'),
        (dict(argmax=torch.zeros(1, 3, 2, 3)), r'expected argmax of shape \(1, 3, 2, 2\), got \(1, 3, 2, 3\)'),
    ],
)
def test_wrong_input(change: dict, message: str) -> None:
    output = torch.zeros(1, 3, 2, 2)
    given = dict(input=torch.zeros(2, 3, 4, 4), rois=torch.zeros(1, 5), output=output, argmax=output.int())
    with pytest.raises(InputError, match=f'^roi_pool_forward: {message}'):
        roi_pool_forward(**{**given, **change}, pooled_height=2, pooled_width=2, spatial_scale=1.0)
    with pytest.raises(InputError, match='^roi_pool_backward: expected grad_output of shape'):
        roi_pool_backward(output[:, :2], torch.zeros(1, 5), output.int(), given['input'], 2, 2, 1.0)

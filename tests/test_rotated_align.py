"""roi_align_rotated, against one sample at a time and against roi_align of upright boxes."""

import math

import pytest
import torch
from plain_samples import ROIS, maps, sample
from torch import Tensor
from torch.autograd import gradcheck

from convnext_dense.errors import InputError
from convnext_dense.mmcv_ext import sampling

mmcv_ops = pytest.importorskip('mmcv.ops')
align = pytest.importorskip('mmcv.ops.roi_align_rotated').roi_align_rotated
SIZE = (3, 2)
ROTATED = torch.tensor(
    [
        [0.0, 12, 9, 14, 8, 0.4],
        [1, 20, 3, 30, 17, -2.1],
        [0, 70, 70, 9, 9, 0.3],
        [1, 8, 8, 0, 0, 1.0],
        [1, 15.3, 11.2, 2.5, 21, 1.57],
    ],
    dtype=torch.float64,
)


def plain(x: Tensor, rois: Tensor, scale: float, ratio: int, aligned: bool, clockwise: bool) -> Tensor:
    out = []
    for roi in rois:
        cx, cy = (float(v) * scale - (0.5 if aligned else 0) for v in roi[1:3])
        wide, tall = (float(v) * scale if aligned else max(float(v) * scale, 1.0) for v in roi[3:5])
        angle = -float(roi[5]) if clockwise else float(roi[5])
        grid_y, grid_x = (ratio or math.ceil(side / count) for side, count in zip((tall, wide), SIZE))
        for i in range(SIZE[0]):
            for j in range(SIZE[1]):
                total = x.new_zeros(x.shape[1])
                for a in range(grid_y):
                    for b in range(grid_x):
                        v = -tall / 2 + (i + (a + 0.5) / grid_y) * tall / SIZE[0]
                        u = -wide / 2 + (j + (b + 0.5) / grid_x) * wide / SIZE[1]
                        py = v * math.cos(angle) - u * math.sin(angle) + cy
                        px = v * math.sin(angle) + u * math.cos(angle) + cx
                        total = total + sample(x[int(roi[0])], py, px)
                out.append(total / max(grid_y * grid_x, 1))
    return torch.stack(out).view(len(rois), *SIZE, -1).permute(0, 3, 1, 2)


@pytest.fixture(params=[None, 1], ids=['whole', 'in parts'])
def parts(request, monkeypatch) -> None:
    if request.param:
        monkeypatch.setattr(sampling, 'SAMPLES', request.param)


@pytest.mark.usefixtures('parts')
@pytest.mark.parametrize('clockwise', [True, False])
@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('aligned', [True, False])
def test_it_equals_one_sample_at_a_time_in_both_directions(aligned: bool, ratio: int, clockwise: bool) -> None:
    x = maps().requires_grad_()
    out, expected = align(x, ROTATED, SIZE, 0.5, ratio, aligned, clockwise), plain(x, ROTATED, 0.5, ratio, aligned, clockwise)
    torch.testing.assert_close(out, expected)
    seed = torch.randn(out.shape, dtype=torch.float64).transpose(2, 3).contiguous().transpose(2, 3)
    torch.testing.assert_close(*(torch.autograd.grad(y, x, seed)[0] for y in (out, expected)))


@pytest.mark.parametrize('ratio', [0, 3])
def test_without_an_angle_it_is_roi_align(ratio: int) -> None:
    x = maps()
    boxes = ROIS[(ROIS[:, 3] > ROIS[:, 1])]
    upright = torch.stack([boxes[:, 0], *((boxes[:, a] + boxes[:, a + 2]) / 2 for a in (1, 2))], dim=1)
    upright = torch.cat([upright, boxes[:, 3:] - boxes[:, 1:3], torch.zeros(len(boxes), 1)], dim=1)
    torch.testing.assert_close(align(x, upright, SIZE, 0.5, ratio), mmcv_ops.roi_align(x, boxes, SIZE, 0.5, ratio, 'avg', True))


def test_gradients() -> None:
    x = maps(2, 6, 8).requires_grad_()
    assert gradcheck(lambda x: align(x, ROTATED, SIZE, 0.3, 0, True, True), (x,), fast_mode=True)


def test_no_boxes_and_reduced_precision() -> None:
    x = torch.randn(1, 3, 8, 8, requires_grad=True)
    out = align(x, torch.zeros(0, 6), (7, 7), 1.0)
    out.sum().backward()
    assert out.shape == (0, 3, 7, 7) and x.grad.abs().sum() == 0
    for dtype in (torch.float16, torch.bfloat16):
        half, rois = maps().to(dtype).requires_grad_(), ROTATED.to(dtype)
        whole = half.detach().float().requires_grad_()
        outs = [align(t, rois.to(t.dtype), SIZE, 0.5, 2) for t in (half, whole)]
        assert torch.equal(outs[0], outs[1].to(dtype))
        for out in outs:
            out.sum().backward()
        torch.testing.assert_close(half.grad, whole.grad.to(dtype))


def test_a_map_without_channels() -> None:
    x = maps(0).requires_grad_()
    out = align(x, ROTATED, SIZE, 0.5, 2)
    assert out.shape == (len(ROTATED), 0, *SIZE)
    out.sum().backward()
    assert x.grad.shape == x.shape


@pytest.mark.parametrize(
    'rois, message',
    [
        (torch.tensor([[1.0, 0, 0, 1, 1, 0]]), 'expected batch indices from 0 to 0, got 1 in row 0 of rois'),
        (torch.tensor([[0.0, 0, 1, 1, 1, torch.nan]]), 'expected finite numbers in rois, got 0 0 1 1 1 nan in row 0'),
        (torch.tensor([[0.0, 0, 1, -1, 1, 0]]), 'expected RoIs .* of no negative size, got one of such'),
        (torch.zeros(1, 6).long(), r'expected floating-point numbers in rois, got torch\.int64'),
        (torch.zeros(1, 5), r'expected rois of shape \(K, 6\), got \(1, 5\)'),
        (torch.zeros(1, 6, device='meta'), 'expected all tensors on one device, got input on cpu, rois on meta'),
    ],
)
def test_wrong_input(rois: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=f'^roi_align_rotated_forward: {message}'):
        align(torch.zeros(1, 3, 4, 4), rois, (2, 2), 1.0)

"""deform_roi_pool, against one sample at a time."""

import math

import pytest
import torch
from plain_samples import ROIS, maps, sample
from torch import Tensor
from torch.autograd import gradcheck

from convnext_dense.errors import InputError
from convnext_dense.mmcv_ext import deform_roi_pool, sampling
from convnext_dense.mmcv_ext.deform_roi_pool import deform_roi_pool_forward

mmcv_ops = pytest.importorskip('mmcv.ops')
pool = pytest.importorskip('mmcv.ops.deform_roi_pool').deform_roi_pool
SIZE, GAMMA = (3, 2), 0.3
INNER = torch.tensor([[0.0, 2, 3, 11, 9], [1, 4, 2, 13, 10]], dtype=torch.float64)


def offsets(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 2, *SIZE, dtype=torch.float64, generator=generator) * 0.4


def places(roi: Tensor, move: Tensor | None, scale: float, ratio: int):
    """Bins (i, j), and where their samples are."""
    x1, y1, x2, y2 = (roi[1:] * scale - 0.5).tolist()
    wide, tall = x2 - x1, y2 - y1
    grid_y, grid_x = (ratio or max(math.ceil(side / count), 0) for side, count in zip((tall, wide), SIZE))
    for i in range(SIZE[0]):
        for j in range(SIZE[1]):
            dx, dy = (0, 0) if move is None else (GAMMA * wide * float(move[0, i, j]), GAMMA * tall * float(move[1, i, j]))
            at = [
                (y1 + dy + (i + (a + 0.5) / grid_y) * tall / SIZE[0], x1 + dx + (j + (b + 0.5) / grid_x) * wide / SIZE[1])
                for a in range(grid_y)
                for b in range(grid_x)
            ]
            yield i, j, at, wide, tall


def plain(x: Tensor, rois: Tensor, offset: Tensor | None, scale: float, ratio: int) -> Tensor:
    out = []
    for k, roi in enumerate(rois):
        for _, _, at, _, _ in places(roi, None if offset is None else offset[k], scale, ratio):
            samples = [sample(x[int(roi[0])], *point) for point in at]
            out.append(torch.stack(samples).mean(0) if samples else x.new_zeros(x.shape[1]))
    return torch.stack(out).view(len(rois), *SIZE, -1).permute(0, 3, 1, 2)


def plain_offset_gradient(x: Tensor, rois: Tensor, offset: Tensor, scale: float, ratio: int, grad: Tensor) -> Tensor:
    """mmcv's: the slope of the plane through the four pixels, at the sample's own place, where that is near the map."""
    into = torch.zeros_like(offset)
    height, width = x.shape[2:]
    for k, roi in enumerate(rois):
        image = x[int(roi[0])]
        for i, j, at, wide, tall in places(roi, offset[k], scale, ratio):
            for py, px in at:
                if not (-1 <= py <= height and -1 <= px <= width):
                    continue
                top, left = min(int(max(py, 0)), height - 1), min(int(max(px, 0)), width - 1)
                low, right = min(top + 1, height - 1), min(left + 1, width - 1)
                a, b, c, d = image[:, top, left], image[:, top, right], image[:, low, left], image[:, low, right]
                across = d * (py - top) + b * (low - py) + c * (top - py) + a * (py - low)
                down = d * (px - left) + c * (right - px) + b * (left - px) + a * (px - right)
                into[k, 0, i, j] += GAMMA * wide * (across * grad[k, :, i, j]).sum() / len(at)
                into[k, 1, i, j] += GAMMA * tall * (down * grad[k, :, i, j]).sum() / len(at)
    return into


@pytest.fixture(params=[None, 1], ids=['whole', 'in parts'])
def parts(request, monkeypatch) -> None:
    if request.param:
        monkeypatch.setattr(sampling, 'SAMPLES', request.param)
        monkeypatch.setattr(deform_roi_pool, 'VALUES', request.param)


@pytest.mark.usefixtures('parts')
@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('moved', [True, False])
def test_it_equals_one_sample_at_a_time_in_both_directions(moved: bool, ratio: int) -> None:
    rois = torch.cat([ROIS, torch.tensor([[0.0, 9, 8, 3, 4]], dtype=torch.float64)])  # the last the wrong way round
    x = maps().requires_grad_()
    offset = offsets(len(rois)).requires_grad_() if moved else None
    out, expected = pool(x, rois, offset, SIZE, 0.5, ratio, GAMMA), plain(x, rois, offset, 0.5, ratio)
    torch.testing.assert_close(out, expected)
    seed = torch.randn(out.shape, dtype=torch.float64).transpose(2, 3).contiguous().transpose(2, 3)
    torch.testing.assert_close(*(torch.autograd.grad(y, x, seed, retain_graph=True)[0] for y in (out, expected)))
    if offset is not None:
        (grad,) = torch.autograd.grad(out, offset, seed)
        with torch.no_grad():
            torch.testing.assert_close(grad, plain_offset_gradient(x, rois, offset, 0.5, ratio, seed))


@pytest.mark.parametrize('ratio', [0, 2])
def test_gradients_within_the_map(ratio: int) -> None:
    x, offset = maps(2).requires_grad_(), offsets(2, seed=3).requires_grad_()
    assert gradcheck(lambda x, o: pool(x, INNER, o, SIZE, 1.0, ratio, 0.1), (x, offset), fast_mode=True)
    assert gradcheck(lambda x: pool(x, INNER, None, SIZE, 1.0, ratio, 0.1), (x,), fast_mode=True)


def test_a_ramp_by_hand() -> None:
    # x grows by 1 a pixel, so a bin's mean is its centre: bins of 4 to 8 and 8 to 12, less a half, moved by 0.5 * 8 * 0.25.
    ramp = torch.arange(16.0).expand(1, 1, 16, 16)
    box = torch.tensor([[0.0, 4, 4, 12, 12]])
    assert pool(ramp, box, None, (1, 2), 1.0, 2, 0.5).flatten().tolist() == [5.5, 9.5]
    right = torch.zeros(1, 2, 1, 2)
    right[0, 0] = 0.25
    assert pool(ramp, box, right, (1, 2), 1.0, 2, 0.5).flatten().tolist() == [6.5, 10.5]
    assert pool(ramp, box, right.flip(1), (1, 2), 1.0, 2, 0.5).flatten().tolist() == [5.5, 9.5]


@pytest.mark.parametrize('value', [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize('axis', [0, 1])
def test_an_offset_that_is_not_finite_gives_nan_in_its_bin(axis: int, value: float) -> None:
    x, offset = maps(2).requires_grad_(), offsets(2)
    whole = pool(x, INNER, offset, SIZE, 1.0, 2, 0.1)
    offset[1, axis, 2, 0] = value
    out = pool(x, INNER, offset.requires_grad_(), SIZE, 1.0, 2, 0.1)
    bad = torch.zeros_like(out, dtype=torch.bool)
    bad[1, :, 2, 0] = True
    assert out.isnan().equal(bad)
    torch.testing.assert_close(out[~bad], whole[~bad])
    assert torch.autograd.grad(out.sum(), (x, offset))[0].isnan().any()


def test_a_map_without_channels() -> None:
    x, offset = maps(0).requires_grad_(), offsets(2).requires_grad_()
    out = pool(x, INNER, offset, SIZE, 1.0, 2, 0.1)
    assert out.shape == (2, 0, *SIZE)
    out.sum().backward()
    assert x.grad.shape == x.shape and offset.grad.abs().sum() == 0


def test_no_boxes_modules_and_reduced_precision() -> None:
    x = torch.randn(1, 3, 8, 8, requires_grad=True)
    out = pool(x, torch.zeros(0, 5), torch.zeros(0, 2, 7, 7), (7, 7), 1.0, 0, 0.1)
    out.sum().backward()
    assert out.shape == (0, 3, 7, 7) and x.grad.abs().sum() == 0
    pack = mmcv_ops.ModulatedDeformRoIPoolPack((3, 2), 3, deform_fc_channels=8)
    pack(x, torch.tensor([[0.0, 1, 1, 6, 5]])).sum().backward()
    assert pack.offset_fc[-1].bias.grad.abs().sum() > 0
    for dtype in (torch.float16, torch.bfloat16):
        half = [t.to(dtype).requires_grad_() for t in (maps(), offsets(len(ROIS)))]
        whole = [t.detach().float().requires_grad_() for t in half]
        outs = [pool(x, ROIS.to(dtype).to(x.dtype), offset, SIZE, 0.5, 2, 0.25) for x, offset in (half, whole)]
        assert torch.equal(outs[0], outs[1].to(dtype))
        for out in outs:
            out.sum().backward()
        for one, full in zip(half, whole):
            torch.testing.assert_close(one.grad, full.grad.to(dtype))


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(rois=torch.tensor([[2.0, 0, 0, 1, 1]])), 'expected batch indices from 0 to 1, got 2 in row 0 of rois'),
        (dict(rois=torch.tensor([[0.0, 0, torch.nan, 1, 1]])), 'expected finite numbers in rois, got 0 0 nan 1 1 in row 0'),
        (dict(input=torch.zeros(2, 3, 4, 4).long()), r'expected floating-point numbers in input, got torch\.int64'),
        (dict(offset=torch.zeros(1, 2, 3, 2)), r'expected offset of shape \(1, 2, 2, 2\), got \(1, 2, 3, 2\)'),
        (dict(offset=torch.zeros(1, 2, 2, 2, device='meta')), 'expected all tensors on one device, got .* offset on meta'),
    ],
)
def test_wrong_input(change: dict, message: str) -> None:
    offset = torch.zeros(1, 2, 2, 2)
    given = dict(input=torch.zeros(2, 3, 4, 4), rois=torch.zeros(1, 5), offset=offset, output=torch.zeros(1, 3, 2, 2))
    options = dict(pooled_height=2, pooled_width=2, spatial_scale=1.0, sampling_ratio=0, gamma=0.1)
    with pytest.raises(InputError, match=f'^deform_roi_pool_forward: {message}'):
        deform_roi_pool_forward(**{**given, **change}, **options)

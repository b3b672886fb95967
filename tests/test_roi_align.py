"""RoIAlign against plain sampling, and what it is not to be given."""

from functools import partial

import pytest
import torch
from conftest import needs_lite
from plain_samples import sample
from test_operators import devices
from torch.autograd import gradcheck

from convnext_dense.errors import InputError

mmcv_ops = pytest.importorskip('mmcv.ops')


def plain_roi_align(x, rois, size, scale, ratio, aligned):
    """Bilinear samples at the bins' inner points, averaged; pixel centres at integers, borders clamped within one pixel."""
    out = x.new_zeros(len(rois), x.shape[1], *size)
    for k, roi in enumerate(rois):
        x1, y1, x2, y2 = (roi[1:] * scale - (0.5 if aligned else 0)).tolist()
        w, h = x2 - x1, y2 - y1
        if not aligned:
            w, h = max(w, 1.0), max(h, 1.0)
        bin_h, bin_w = h / size[0], w / size[1]
        grid_h = ratio or -(-h // size[0])
        grid_w = ratio or -(-w // size[1])
        for i in range(size[0]):
            for j in range(size[1]):
                total = x.new_zeros(x.shape[1])
                for a in range(int(grid_h)):
                    for b in range(int(grid_w)):
                        py = y1 + (i + (a + 0.5) / grid_h) * bin_h
                        px = x1 + (j + (b + 0.5) / grid_w) * bin_w
                        total = total + sample(x[int(roi[0])], py, px)
                out[k, :, i, j] = total / max(grid_h * grid_w, 1)
    return out


ROIS = torch.tensor([[0.0, 2, 3, 20, 17], [1, 0, 0, 31, 31], [0, 8.3, 4.1, 9.9, 30.2]], dtype=torch.float64)


@devices
@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('aligned', [True, False])
def test_roi_align_equals_plain_sampling(device: str, aligned: bool, ratio: int) -> None:
    x = torch.randn(2, 3, 16, 15, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours = mmcv_ops.roi_align(x.to(device), ROIS.to(device), (3, 2), 0.5, ratio, 'avg', aligned)
    torch.testing.assert_close(ours.cpu(), plain_roi_align(x, ROIS, (3, 2), 0.5, ratio, aligned))


def test_roi_align_of_a_ramp_by_hand() -> None:
    # x grows by 1 a pixel: a bin's average is its centre; box 1..5 in two columns: centres 2 and 4, less 0.5.
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    out = mmcv_ops.roi_align(ramp, torch.tensor([[0.0, 1, 1, 5, 5]]), (2, 2), 1.0, 2, 'avg', True)
    torch.testing.assert_close(out[0, 0], torch.tensor([[1.5, 3.5], [1.5, 3.5]]))


@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('aligned', [True, False])
def test_roi_align_gradients(aligned: bool, ratio: int) -> None:
    x = torch.randn(2, 2, 7, 6, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: mmcv_ops.roi_align(x, ROIS, (2, 2), 0.25, ratio, 'avg', aligned), (x,))


def test_roi_align_takes_channels_last_maps() -> None:
    x = torch.randn(2, 5, 33, 40)
    rois = torch.tensor([[0, 1, 2, 30, 20], [1, 0, 0, 39, 32.0]])
    for maps in (x, x[:1]):
        last = maps.contiguous(memory_format=torch.channels_last)
        assert torch.equal(mmcv_ops.roi_align(last, rois[: len(maps)], 7), mmcv_ops.roi_align(maps, rois[: len(maps)], 7))


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_roi_align_of_many_boxes_on_all_cores(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(2, 3, 20, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype).requires_grad_()
    corners = torch.rand(131, 2, generator=torch.Generator().manual_seed(1)) * 60
    rois = torch.cat([torch.arange(131)[:, None] % 2, corners, corners + 25], dim=1).to(dtype)
    results = []
    for threads in (1, 3):
        monkeypatch.setattr(torch, 'get_num_threads', partial(int, threads))
        results.append(mmcv_ops.roi_align(x, rois, (7, 7), 0.25))
    assert torch.equal(*results)
    assert results[1].requires_grad


def test_roi_align_without_boxes() -> None:
    x = torch.randn(1, 3, 8, 8, requires_grad=True)
    out = mmcv_ops.roi_align(x, torch.zeros(0, 5), (7, 7))
    assert out.shape == (0, 3, 7, 7)
    out.sum().backward()
    assert x.grad.abs().sum() == 0


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_roi_align_in_reduced_precision(dtype: torch.dtype) -> None:
    x = torch.randn(2, 3, 16, 16, dtype=dtype, requires_grad=True)
    out = mmcv_ops.roi_align(x, ROIS.to(dtype), (3, 3), 0.5)
    whole = mmcv_ops.roi_align(x.detach().float(), ROIS.to(dtype).float(), (3, 3), 0.5)
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), whole, rtol=0.02, atol=0.02)
    out.sum().backward()
    assert x.grad.dtype == dtype


@needs_lite
@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_a_roi_that_is_not_finite_gives_nan_and_no_gradient(value: float) -> None:
    """torchvision's kernel ends the process there."""
    x = torch.randn(1, 2, 50, 50, requires_grad=True)
    rois = torch.tensor([[0, 1.0, 1, 30, 30], [0, 1, value, 30, 30], [0, 2, 2, 40, 20]])
    out = mmcv_ops.roi_align(x, rois, (3, 3), 1.0, 2, 'avg', True)
    assert out[1].isnan().all() and out[[0, 2]].isfinite().all()
    out[[0, 2]].sum().backward()
    grad, x.grad = x.grad, None
    mmcv_ops.roi_align(x, rois[[0, 2]], (3, 3), 1.0, 2, 'avg', True).sum().backward()
    torch.testing.assert_close(grad, x.grad)


@needs_lite
@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(rois=torch.tensor([[1.0, 1, 1, 5, 5]])), 'expected batch indices from 0 to 0, got 1 in row 0 of rois'),
        (dict(rois=torch.tensor([[-1.0, 1, 1, 5, 5]])), 'expected batch indices from 0 to 0, got -1'),
        (dict(rois=torch.tensor([[0, 1, 1, 5, 5]])), 'expected floating-point numbers in rois, got torch.int64'),
        (dict(x=torch.ones(1, 2, 9, 9, dtype=torch.uint8)), 'expected floating-point numbers in input, got torch.uint8'),
        (dict(x=torch.ones(2, 9, 9)), 'expected input of shape'),
    ],
)
def test_wrong_operands_are_one_line(change: dict, message: str) -> None:
    given = dict(x=torch.randn(1, 2, 9, 9), rois=torch.tensor([[0, 1.0, 1, 5, 5]])) | change
    with pytest.raises(InputError, match=f'^roi_align_forward: {message}'):
        mmcv_ops.roi_align(given['x'], given['rois'], (3, 3), 1.0, 2, 'avg', True)


@needs_lite
def test_the_maximum_of_samples_is_another_file() -> None:
    x = torch.arange(100.0).view(1, 1, 10, 10).requires_grad_()
    rois = torch.tensor([[0, 0.0, 0, 8, 8]])
    mean, most = (mmcv_ops.roi_align(x, rois, (2, 2), 1.0, 2, mode, True) for mode in ('avg', 'max'))
    assert (most > mean).all()
    (grad,) = torch.autograd.grad(most.sum(), x)
    assert grad.sum() == 4


@needs_lite
@pytest.mark.parametrize('shape', [(1, 4, 0, 9), (1, 4, 9, 0), (1, 0, 9, 9)])
@pytest.mark.parametrize('mode', ['avg', 'max'])
def test_a_map_without_pixels_gives_zeros(shape: tuple[int, ...], mode: str) -> None:
    """torchvision's kernel ends the process there."""
    x = torch.randn(shape, requires_grad=True)
    rois = torch.tensor([[0, 1.0, 1, 20, 20], [0, 2, 2, 9, 9]]).repeat(40, 1)
    out = mmcv_ops.roi_align(x, rois, 3, 0.25, 2, mode)
    assert out.equal(torch.zeros(80, shape[1], 3, 3))
    out.sum().backward()
    assert x.grad.equal(torch.zeros(shape))


@needs_lite
@pytest.mark.parametrize('mode', ['avg', 'max'])
@pytest.mark.parametrize('side', [1e5, 1e6, 1e9, 1e30])
def test_a_roi_of_absurdly_many_samples_is_refused(mode: str, side: float) -> None:
    x, rois = torch.randn(1, 2, 9, 9), torch.tensor([[0, 0.0, 0, side, side]])
    with pytest.raises(InputError, match='^roi_align_forward: expected RoIs of at most .*; set sampling_ratio or clip them$'):
        mmcv_ops.roi_align(x, rois, 7, 0.25, 0, mode)
    if side < 1e10:
        assert mmcv_ops.roi_align(x, rois, 7, 0.25, 2, mode).isfinite().all()


@needs_lite
@pytest.mark.parametrize('mode', ['avg', 'max'])
@pytest.mark.parametrize('ratio', [0, 2])
def test_a_roi_the_wrong_way_round_is_refused_where_aligned(mode: str, ratio: int) -> None:
    x, rois = torch.randn(1, 2, 9, 9), torch.tensor([[0, 1.0, 1, 5, 5], [0, 5, 1, 3, 5]])
    with pytest.raises(InputError, match='^roi_align_forward: expected RoIs .* with x1 <= x2 and y1 <= y2, got one without$'):
        mmcv_ops.roi_align(x, rois, 3, 1.0, ratio, mode, True)
    assert mmcv_ops.roi_align(x, rois, 3, 1.0, ratio, mode, False).isfinite().all()


@needs_lite
@pytest.mark.parametrize('ratio', [0, 2])
def test_a_roi_wider_than_numbers_go_gives_nan(ratio: int) -> None:
    x, rois = torch.randn(1, 2, 9, 9, requires_grad=True), torch.tensor([[0, -3e38, 1, 3e38, 5]])
    out = mmcv_ops.roi_align(x, rois, 3, 1.0, ratio, 'avg', True)
    assert out.isnan().all()
    out.sum().backward()
    assert x.grad.equal(torch.zeros_like(x))

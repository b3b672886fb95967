"""What the operators have of a kernel: autocast and second derivatives pass them by."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from plain_samples import ROIS
from torch import Tensor

from convnext_dense.errors import InputError

mmcv_ops = pytest.importorskip('mmcv.ops')
DEVICES = ['cpu', pytest.param('cuda', marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU'))]


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


ROIS32 = ROIS.float()
ROTATED = torch.cat([ROIS32[:, :3], ROIS32[:, 3:].abs(), torch.full((len(ROIS), 1), 0.4)], dim=1)
MAP, BOXES = random(2, 4, 13, 16), random(20, 5).abs()
UPRIGHT = torch.cat([BOXES[:, :2], BOXES[:, :2] + BOXES[:, 2:4]], dim=1)
# name -> the operator of a float tensor that has a gradient, and that tensor
SMOOTH: dict[str, tuple[Callable[..., Tensor], Tensor]] = {
    'carafe': (lambda x: mmcv_ops.carafe(x, random(2, 25, 26, 32).to(x.device), 5, 1, 2), MAP),
    'deform_conv': (lambda x: mmcv_ops.deform_conv2d(x, *(t.to(x.device) for t in (random(2, 18, 13, 16), W)), 1, 1), MAP),
    'modulated_deform_conv': (
        lambda x: mmcv_ops.modulated_deform_conv2d(
            x, *(t.to(x.device) for t in (random(2, 18, 13, 16), random(2, 9, 13, 16), W, random(3))), 1, 1
        ),
        MAP,
    ),
    'roi_align': (lambda x: mmcv_ops.roi_align(x, ROIS32.to(x.device), 3, 0.5), MAP),
    'roi_align_max': (lambda x: mmcv_ops.roi_align(x, ROIS32.to(x.device), 3, 0.5, 2, 'max', True), MAP),
    'roi_pool': (lambda x: mmcv_ops.roi_pool(x, ROIS32.to(x.device), 3, 0.5), MAP),
    'roi_align_rotated': (lambda x: mmcv_ops.roi_align_rotated(x, ROTATED.to(x.device), 3, 0.5), MAP),
    'deform_roi_pool': (
        lambda x: mmcv_ops.deform_roi_pool(MAP.to(x.device), ROIS32.to(x.device), x, (3, 3), 0.5, 2, 0.1),
        random(len(ROIS), 2, 3, 3),
    ),
    'ms_deform_attn': (
        lambda x: ATTENTION(x, SHAPES.to(x.device), STARTS.to(x.device), *(t.to(x.device) for t in (WHERE, SHARES)), 64),
        random(2, 42, 3, 4),
    ),
    'sigmoid_focal_loss': (
        lambda x: mmcv_ops.sigmoid_focal_loss(x, torch.tensor([0, 2, 3], device=x.device), 2.0, 0.25, None, 'none'),
        random(3, 3),
    ),
    'softmax_focal_loss': (
        lambda x: mmcv_ops.softmax_focal_loss(x, torch.tensor([0, 2, 1], device=x.device), 2.0, 0.25, None, 'none'),
        random(3, 3),
    ),
    'psa_mask': (lambda x: PSA(x, 0, (3, 3)), random(2, 9, 4, 5)),
}
PLAIN: dict[str, tuple[Callable[..., Tensor], Tensor]] = {
    'bbox_overlaps': (lambda x: mmcv_ops.bbox_overlaps(x, x), UPRIGHT),
    'box_iou_rotated': (lambda x: mmcv_ops.box_iou_rotated(x, x), BOXES),
    'nms': (lambda x: mmcv_ops.nms(x, BOXES[:, 4].to(x.device), 0.3)[0], UPRIGHT),
    'nms_rotated': (lambda x: mmcv_ops.nms_rotated(x, BOXES[:, 4].to(x.device), 0.3)[0], BOXES),
    'soft_nms': (lambda x: mmcv_ops.soft_nms(x.cpu(), BOXES[:, 4], 0.3)[0], UPRIGHT),
}
W, SHAPES, STARTS = random(3, 4, 3, 3), torch.tensor([[6, 5], [3, 4]]), torch.tensor([0, 30])
WHERE, SHARES = random(2, 7, 3, 2, 5, 2).sigmoid(), random(2, 7, 3, 2, 5)
ATTENTION = pytest.importorskip('mmcv.ops.multi_scale_deform_attn').MultiScaleDeformableAttnFunction.apply
PSA = pytest.importorskip('mmcv.ops.psa_mask').psa_mask


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('name', [*SMOOTH, *PLAIN])
def test_autocast_changes_nothing(name: str, device: str) -> None:
    run, given = (SMOOTH | PLAIN)[name]
    results = []
    for enabled in (False, True):
        x = given.clone().to(device).requires_grad_(name in SMOOTH)
        with torch.autocast(device, torch.bfloat16, enabled=enabled):
            out = run(x)
            results.append([out])
            if name in SMOOTH:
                results[-1] += torch.autograd.grad(out, x, torch.ones_like(out))
    for whole, cast in zip(*results):
        assert cast.dtype == torch.float32
        torch.testing.assert_close(cast, whole, rtol=0 if device == 'cpu' else 1e-5, atol=0 if device == 'cpu' else 1e-5)


@pytest.mark.parametrize('name', [name for name in SMOOTH if name != 'softmax_focal_loss'])  # mmcv's own has a product in it
def test_a_second_derivative_is_refused(name: str) -> None:
    """By mmcv's once_differentiable, or by us where it has none: what a graph of our products gave was wrong."""
    run, given = SMOOTH[name]
    x = given.clone().requires_grad_()
    out = run(x)
    (grad,) = torch.autograd.grad(out, x, torch.ones_like(out, requires_grad=True), create_graph=True)
    with pytest.raises(RuntimeError if name not in OURS else InputError, match='once_differentiable|expected no derivative'):
        (grad.square().sum() + x.sum()).backward()


OURS = {'carafe', 'roi_align_rotated', 'psa_mask'}


def test_a_second_derivative_of_carafe_is_refused_in_each_operand() -> None:
    x, masks = MAP.clone().requires_grad_(), random(2, 25, 26, 32).requires_grad_()
    for grad in torch.autograd.grad(mmcv_ops.carafe(x, masks, 5, 1, 2).sum(), (x, masks), create_graph=True):
        with pytest.raises(InputError, match='^carafe_backward: expected no derivative of a gradient, got one asked for'):
            (grad.square().sum() + x.sum()).backward()
    # Without create_graph nothing changes.
    mmcv_ops.carafe(x, masks, 5, 1, 2).sum().backward()
    assert x.grad is not None and not x.grad.requires_grad

"""The functions of `mmcv._ext` that this package answers with, from torchvision's kernels and PyTorch.

They have the signatures of mmcv/ops/csrc/pytorch/pybind.cpp: results are written into tensors that mmcv allocates. Where
torchvision has no kernel for a reduced precision, the work is done in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor

from convnext_dense.errors import InputError
from convnext_dense.mmcv_ext.carafe import carafe_backward, carafe_forward, carafe_naive_backward, carafe_naive_forward
from convnext_dense.mmcv_ext.deform import (
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
)
from convnext_dense.mmcv_ext.deform_roi_pool import deform_roi_pool_backward, deform_roi_pool_forward
from convnext_dense.mmcv_ext.focal import check_focal, softmax_focal_loss_backward, softmax_focal_loss_forward
from convnext_dense.mmcv_ext.masked_conv import masked_col2im_forward, masked_im2col_forward
from convnext_dense.mmcv_ext.nms_match import nms_match
from convnext_dense.mmcv_ext.operands import (
    check_floats,
    check_indices,
    check_precision,
    check_shape,
    lift,
    lift_for_torchvision,
)
from convnext_dense.mmcv_ext.overlaps import bbox_overlaps
from convnext_dense.mmcv_ext.psamask import psamask_backward, psamask_forward
from convnext_dense.mmcv_ext.roi_align import roi_align_backward, roi_align_forward
from convnext_dense.mmcv_ext.roi_pool import roi_pool_backward, roi_pool_forward
from convnext_dense.mmcv_ext.rotated_align import roi_align_rotated_backward, roi_align_rotated_forward
from convnext_dense.mmcv_ext.rotated_iou import box_iou_rotated, nms_rotated

FOCAL = 'sigmoid_focal_loss'


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Kept indices by descending score. With offset 1, widths and heights are x2 - x1 + 1."""
    _check_boxes('nms', boxes, scores)
    boxes = lift_for_torchvision(boxes)
    if offset:
        boxes = torch.cat([boxes[:, :2], boxes[:, 2:] + offset], dim=1)
    return torchvision.ops.nms(boxes, lift_for_torchvision(scores).to(boxes.dtype), iou_threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS (arXiv 1704.04503) on the CPU; `method` 0 naive, 1 linear, 2 gaussian.

    Writes the K kept (x1, y1, x2, y2, rescored) into dets[:K] and returns their K indices. Picks, swaps and discards happen
    in the order of mmcv's loop, so ties fall the same way.
    """
    _check_boxes('softnms', boxes, scores)
    if method not in range(3):
        raise InputError(f'softnms: expected method 0 (naive), 1 (linear) or 2 (gaussian), got {method}')
    box = boxes.detach().float().numpy()
    score = scores.detach().float().numpy().copy()
    sides = box[:, 2:] - box[:, :2] + offset
    area = sides[:, 0] * sides[:, 1]
    order = np.arange(len(box))
    i = 0
    with np.errstate(invalid='ignore', divide='ignore', over='ignore'):  # 0 / 0 and NaN, which no comparison holds for
        while i < len(order):
            left = score[order[i:]]
            # NaN is never larger, and nothing is larger than NaN: it is taken where it comes first.
            best = i if np.isnan(left[0]) else i + int(np.argmax(np.where(np.isnan(left), -np.inf, left)))
            order[[i, best]] = order[[best, i]]
            top, rest = order[i], order[i + 1 :]
            low_right = -_larger(-box[top, 2:], -box[rest, 2:])
            inner = _larger(np.float32(0), low_right - _larger(box[top, :2], box[rest, :2]) + offset)
            inter = inner[:, 0] * inner[:, 1]
            iou = inter / (area[top] + area[rest] - inter)
            if method == 2:
                weight = np.exp(-(iou * iou) / np.float32(sigma))
            else:
                weight = np.where(iou >= np.float32(iou_threshold), (1 - iou) if method == 1 else 0, 1)
            score[rest] *= weight.astype(np.float32)
            order = np.concatenate([order[: i + 1], _compacted(rest, ~(score[rest] < np.float32(min_score)))])
            i += 1
    keep = torch.from_numpy(order.astype(np.int64))
    dets[: len(keep), :4] = boxes[keep]
    dets[: len(keep), 4] = torch.from_numpy(score)[keep].to(dets.dtype)
    return keep


def _check_boxes(operator: str, boxes: Tensor, scores: Tensor) -> None:
    check_floats(operator, boxes=boxes, scores=scores)
    check_shape(operator, 'boxes', boxes, 'N', 4)
    check_shape(operator, 'scores', scores, len(boxes))


def _larger(first: np.ndarray | np.float32, second: np.ndarray) -> np.ndarray:
    """std::max: the first where either is NaN."""
    return np.where(first < second, second, first)


def _compacted(indices: np.ndarray, stays: np.ndarray) -> np.ndarray:
    """Those that stay, in the order of mmcv's loop: a discarded one's place is taken by the last one that stays."""
    count = int(stays.sum())
    kept = indices[:count].copy()
    kept[~stays[:count]] = indices[count:][stays[count:]][::-1]
    return kept


def _logits(input: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """What the loss is computed of: input (N, C) in float32 at least, once it, target (N,) and weight (C,) fit."""
    check_focal(FOCAL, input, target, weight)
    classes = input.shape[1]
    if not target.is_cuda and ((target < 0) | (target > classes)).any():
        raise InputError(f'{FOCAL}: expected whole numbers from 0 to {classes} in target, got others')
    return lift(input.detach())


def _focal(logits: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float) -> Tensor:
    """Focal loss (arXiv 1708.02002), element-wise. logits (N, C), target (N,) with C for background."""
    classes = logits.shape[1]
    one_hot = torch.nn.functional.one_hot(target, classes + 1)[:, :classes].to(logits.dtype)
    loss = torchvision.ops.sigmoid_focal_loss(logits, one_hot, alpha, gamma, reduction='none')
    if weight.numel():  # (C,) by target class; background counts once
        loss = loss * torch.cat([weight, weight.new_ones(1)])[target, None]
    return loss


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    output.copy_(_focal(_logits(input, target, weight), target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    logits = _logits(input, target, weight).requires_grad_()
    with torch.enable_grad():
        (grad,) = torch.autograd.grad(_focal(logits, target, weight, gamma, alpha).sum(), logits)
    grad_input.copy_(grad)


def ms_deform_attn_forward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Multi-scale deformable attention (arXiv 2010.04159), by bilinear sampling of each level.

    value (B, keys, heads, C), spatial_shapes (levels, 2) as (height, width), sampling_locations
    (B, queries, heads, levels, points, 2) as (x, y) in [0, 1], attention_weights (B, queries, heads, levels, points)
    -> (B, queries, heads * C). mmcv asks for it on CUDA alone; on the CPU it has the same in PyTorch.

    Raises:
        InputError: where these do not fit each other.
    """
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    name = 'ms_deform_attn_forward'
    floats = dict(value=value, sampling_locations=sampling_locations, attention_weights=attention_weights)
    check_floats(name, **floats)
    check_precision(name, **floats)
    check_shape(name, 'value', value, 'B', 'keys', 'heads', 'C')
    batch, keys, heads, _ = value.shape
    check_shape(name, 'sampling_locations', sampling_locations, batch, 'queries', heads, 'levels', 'points', 2)
    check_shape(name, 'attention_weights', attention_weights, *sampling_locations.shape[:-1])
    check_indices(name, spatial_shapes=spatial_shapes)
    check_shape(name, 'spatial_shapes', spatial_shapes, sampling_locations.shape[3], 2)
    if (pixels := int(spatial_shapes.prod(dim=1).sum())) != keys:
        raise InputError(f'{name}: expected as many keys in value as spatial_shapes has pixels, {pixels}, got {keys}')
    values = lift_for_torchvision(value)
    locations, weights = (part.to(values.dtype) for part in (sampling_locations, attention_weights))
    return multi_scale_deformable_attn_pytorch(values, spatial_shapes, locations, weights).to(value.dtype)


def ms_deform_attn_backward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    with torch.enable_grad():
        parts = [part.detach().requires_grad_() for part in (value, sampling_locations, attention_weights)]
        output = ms_deform_attn_forward(parts[0], spatial_shapes, level_start_index, parts[1], parts[2], im2col_step)
        grads = torch.autograd.grad(output, parts, grad_output.to(output.dtype))
    for into, grad in zip((grad_value, grad_sampling_loc, grad_attn_weight), grads):
        into.copy_(grad)


def get_compiler_version() -> str:
    return 'none (mmcv-lite)'


def get_compiling_cuda_version() -> str:
    return f'none (torchvision {torchvision.__version__})'


class _Once(torch.autograd.Function):
    """Gives a gradient that an operator wrote a graph that refuses to be differentiated."""

    @staticmethod
    def forward(ctx: Any, operator: str, written: Tensor, *given: Tensor) -> Tensor:
        ctx.operator = operator
        ctx.mark_dirty(written)
        return written

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> None:
        raise InputError(f'{ctx.operator}: expected no derivative of a gradient, got one asked for; leave out what needs it')


def _as_kernel(operator: Callable[..., Any]) -> Callable[..., Any]:
    """The operator as one of mmcv's kernels: in the precision of its tensors, whatever autocast says, and with no graph of it.

    mmcv does not mark each backward as once differentiable: a graph of our products would be a second derivative, a wrong one,
    and none at all would leave it out in silence.
    """
    name = operator.__name__

    @wraps(operator)
    def call(*args: Any, **kwargs: Any) -> Any:
        tensors = [given for given in (*args, *kwargs.values()) if isinstance(given, Tensor)]
        twice = [t for t in tensors if t.requires_grad] if 'backward' in name and torch.is_grad_enabled() else []
        versions = [t._version for t in tensors] if twice else []
        on_gpu = any(t.is_cuda for t in tensors)
        with torch.no_grad(), torch.autocast('cuda' if on_gpu else 'cpu', enabled=False):
            result = operator(*args, **kwargs)
        for tensor, version in zip(tensors, versions):
            if tensor._version != version:
                _Once.apply(name, tensor, *twice)
        return result

    return call


OPERATORS: dict[str, Callable[..., Any]] = {
    f.__name__: _as_kernel(f)
    for f in (
        nms,
        softnms,
        roi_align_forward,
        roi_align_backward,
        sigmoid_focal_loss_forward,
        sigmoid_focal_loss_backward,
        deform_conv_forward,
        deform_conv_backward_input,
        deform_conv_backward_parameters,
        modulated_deform_conv_forward,
        modulated_deform_conv_backward,
        ms_deform_attn_forward,
        ms_deform_attn_backward,
        get_compiler_version,
        get_compiling_cuda_version,
        masked_im2col_forward,
        masked_col2im_forward,
        psamask_forward,
        psamask_backward,
        nms_match,
        carafe_forward,
        carafe_backward,
        carafe_naive_forward,
        carafe_naive_backward,
        roi_pool_forward,
        roi_pool_backward,
        deform_roi_pool_forward,
        deform_roi_pool_backward,
        bbox_overlaps,
        softmax_focal_loss_forward,
        softmax_focal_loss_backward,
        box_iou_rotated,
        nms_rotated,
        roi_align_rotated_forward,
        roi_align_rotated_backward,
    )
}

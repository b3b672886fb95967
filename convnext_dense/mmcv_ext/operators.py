"""The functions of `mmcv._ext` that this package answers with, from torchvision's kernels and PyTorch.

They have the signatures of mmcv/ops/csrc/pytorch/pybind.cpp: results are written into tensors that mmcv allocates. Where
torchvision has no kernel for a reduced precision, the work is done in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor

from convnext_dense.mmcv_ext.carafe import carafe_backward, carafe_forward, carafe_naive_backward, carafe_naive_forward
from convnext_dense.mmcv_ext.deform_roi_pool import deform_roi_pool_backward, deform_roi_pool_forward
from convnext_dense.mmcv_ext.focal import softmax_focal_loss_backward, softmax_focal_loss_forward
from convnext_dense.mmcv_ext.masked_conv import masked_col2im_forward, masked_im2col_forward
from convnext_dense.mmcv_ext.nms_match import nms_match
from convnext_dense.mmcv_ext.overlaps import bbox_overlaps
from convnext_dense.mmcv_ext.psamask import psamask_backward, psamask_forward
from convnext_dense.mmcv_ext.roi_pool import roi_pool_backward, roi_pool_forward
from convnext_dense.mmcv_ext.rotated_align import roi_align_rotated_backward, roi_align_rotated_forward
from convnext_dense.mmcv_ext.rotated_iou import box_iou_rotated, nms_rotated

PART_ROIS = 32  # RoIs that are worth a thread of their own


def _lift(tensor: Tensor) -> Tensor:
    """Float32 where torchvision has no kernel for the dtype (bfloat16 anywhere, float16 on the CPU)."""
    reduced = tensor.dtype == torch.bfloat16 or (tensor.dtype == torch.float16 and not tensor.is_cuda)
    return tensor.float() if reduced else tensor


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Kept indices by descending score. With offset 1, widths and heights are x2 - x1 + 1."""
    boxes = _lift(boxes)
    if offset:
        boxes = torch.cat([boxes[:, :2], boxes[:, 2:] + offset], dim=1)
    return torchvision.ops.nms(boxes, _lift(scores).to(boxes.dtype), iou_threshold)


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
    box = boxes.detach().float().numpy()
    score = scores.detach().float().numpy().copy()
    sides = box[:, 2:] - box[:, :2] + offset
    area = sides[:, 0] * sides[:, 1]
    order = np.arange(len(box))
    i = 0
    while i < len(order):
        best = i + int(np.argmax(score[order[i:]]))
        order[[i, best]] = order[[best, i]]
        top, rest = order[i], order[i + 1 :]
        low_right = np.minimum(box[top, 2:], box[rest, 2:])
        inner = np.maximum(low_right - np.maximum(box[top, :2], box[rest, :2]) + offset, 0)
        inter = inner[:, 0] * inner[:, 1]
        union = area[top] + area[rest] - inter
        iou = np.divide(inter, union, out=np.zeros_like(inter), where=union != 0)
        if method == 2:
            weight = np.exp(-(iou * iou) / np.float32(sigma))
        else:
            weight = np.where(iou >= np.float32(iou_threshold), (1 - iou) if method == 1 else 0, 1)
        score[rest] *= weight.astype(np.float32)
        order = np.concatenate([order[: i + 1], _compacted(rest, score[rest] >= np.float32(min_score))])
        i += 1
    keep = torch.from_numpy(order.astype(np.int64))
    dets[: len(keep), :4] = boxes[keep]
    dets[: len(keep), 4] = torch.from_numpy(score)[keep].to(dets.dtype)
    return keep


def _compacted(indices: np.ndarray, stays: np.ndarray) -> np.ndarray:
    """Those that stay, in the order of mmcv's loop: a discarded one's place is taken by the last one that stays."""
    count = int(stays.sum())
    kept = indices[:count].copy()
    kept[~stays[:count]] = indices[count:][stays[count:]][::-1]
    return kept


def _channels_first(x: Tensor, pixels: int = 512) -> Tensor:
    """x (B, C, H, W) contiguous, as torchvision's kernel would make it; on the CPU by parts, several times as fast."""
    if x.is_cuda or x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
        return x
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    for source, target in zip(x.permute(0, 2, 3, 1).flatten(1, 2), out.flatten(2)):
        for start in range(0, len(source), pixels):
            target[:, start : start + pixels].copy_(source[start : start + pixels].t())
    return out


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """input (B, C, H, W), rois (K, 5) as (batch index, x1, y1, x2, y2) in image pixels -> output (K, C, h, w)."""
    if pool_mode == 0:
        raise NotImplementedError("roi_align with pool_mode='max' needs mmcv with compiled operators; use 'avg'")
    x = _channels_first(_lift(input.detach()))
    arguments = (aligned_height, aligned_width), spatial_scale, sampling_ratio, aligned

    def part(rois: Tensor) -> Tensor:
        return torchvision.ops.roi_align(x, rois, *arguments)

    rois, threads = rois.detach().to(x.dtype), 1 if x.is_cuda else torch.get_num_threads()
    if threads == 1 or len(rois) < PART_ROIS * threads:
        output.copy_(part(rois))
        return
    with ThreadPoolExecutor(threads) as pool:  # torchvision's kernel keeps to one core
        torch.cat(list(pool.map(part, rois.chunk(threads))), out=output)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    grad = _lift(grad_output)
    size = (aligned_height, aligned_width)
    roi_backward = torch.ops.torchvision._roi_align_backward
    grad_input += roi_backward(grad, rois.to(grad.dtype), spatial_scale, *size, *grad_input.shape, sampling_ratio, aligned)


def _focal(input: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float) -> Tensor:
    """Focal loss (arXiv 1708.02002), element-wise. input (N, C) logits, target (N,) with C for background."""
    classes = input.shape[1]
    one_hot = torch.nn.functional.one_hot(target, classes + 1)[:, :classes].to(input.dtype)
    loss = torchvision.ops.sigmoid_focal_loss(input, one_hot, alpha, gamma, reduction='none')
    if weight.numel():  # (C,) by target class; background counts once
        loss = loss * torch.cat([weight, weight.new_ones(1)])[target, None]
    return loss


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    output.copy_(_focal(input.float() if input.dtype != torch.float64 else input, target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    with torch.enable_grad():
        logits = (input.float() if input.dtype != torch.float64 else input).detach().requires_grad_()
        (grad,) = torch.autograd.grad(_focal(logits, target, weight, gamma, alpha).sum(), logits)
    grad_input.copy_(grad)


def _deform_forward(
    input: Tensor, weight: Tensor, bias: Tensor | None, offset: Tensor, mask: Tensor | None, geometry: tuple[int, ...]
) -> Tensor:
    """`geometry`: stride, padding and dilation as (h, w) each, then groups and offset groups."""
    x = _lift(input)
    bias = x.new_zeros(weight.shape[0]) if bias is None else bias.to(x.dtype)
    masks = x.new_zeros((len(x), 1)) if mask is None else mask.to(x.dtype)
    return torch.ops.torchvision.deform_conv2d(
        x, weight.to(x.dtype), offset.to(x.dtype), masks, bias, *geometry, mask is not None
    )


def _deform_backward(
    grad: Tensor, input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, geometry: tuple[int, ...]
) -> tuple[Tensor, ...]:
    """Gradients of (input, weight, offset, mask, bias)."""
    g = _lift(grad)
    masks = g.new_zeros((len(g), 1)) if mask is None else mask.to(g.dtype)
    return torch.ops.torchvision._deform_conv2d_backward(
        g,
        input.to(g.dtype),
        weight.to(g.dtype),
        offset.to(g.dtype),
        masks,
        g.new_zeros(weight.shape[0]),
        *geometry,
        mask is not None,
    )


def _geometry_v1(k: dict[str, int]) -> tuple[int, ...]:
    return (k['dH'], k['dW'], k['padH'], k['padW'], k['dilationH'], k['dilationW'], k['group'], k['deformable_group'])


def _geometry_v2(k: dict[str, int]) -> tuple[int, ...]:
    pairs = ('stride_h', 'stride_w', 'pad_h', 'pad_w', 'dilation_h', 'dilation_w', 'group', 'deformable_group')
    return tuple(k[name] for name in pairs)


def deform_conv_forward(
    input: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns: Tensor, ones: Tensor, **k: int
) -> None:
    output.copy_(_deform_forward(input, weight, None, offset, None, _geometry_v1(k)))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **k: int,
) -> None:
    d_input, _, d_offset, _, _ = _deform_backward(grad_output, input, weight, offset, None, _geometry_v1(k))
    grad_input.copy_(d_input)
    grad_offset.copy_(d_offset)


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    scale: float = 1,
    **k: int,
) -> None:
    # Only the weight's shape matters to its own gradient, and mmcv does not hand the weight over.
    _, d_weight, _, _, _ = _deform_backward(grad_output, input, grad_weight, offset, None, _geometry_v1(k))
    grad_weight += scale * d_weight


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    with_bias: bool,
    **k: int,
) -> None:
    output.copy_(_deform_forward(input, weight, bias if with_bias else None, offset, mask, _geometry_v2(k)))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    with_bias: bool,
    **k: int,
) -> None:
    grads = _deform_backward(grad_output, input, weight, offset, mask, _geometry_v2(k))
    for into, grad in zip((grad_input, grad_weight, grad_offset, grad_mask), grads):
        into.copy_(grad)
    if with_bias:
        grad_bias.copy_(grads[4])


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
    """
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    values, locations, weights = (_lift(part) for part in (value, sampling_locations, attention_weights))
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


OPERATORS: dict[str, Callable[..., Any]] = {
    f.__name__: f
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

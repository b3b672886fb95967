"""CARAFE, content-aware reassembly of features (arXiv 1905.02188): upsampling by a kernel that each output pixel brings along.

Legend: B images, C channels in G groups, H W input map, s scale, k kernel size, P patches of a band of rows.

An output pixel is the product of a mask (k * k) with the patch around the input pixel that it lies in, so that the s * s pixels
of one input pixel are a matrix product of (s * s, k * k) with (k * k, C): that, batched, is what is done here. mmcv's masks are
(B, G * k * k, s * H, s * W).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from convnext_dense.errors import InputError
from convnext_dense.mmcv_ext.operands import check_floats, check_precision, check_shape, lift

VALUES = 1 << 22  # of patches that are held at once


def carafe_forward(
    features: Tensor,
    masks: Tensor,
    rfeatures: Tensor,
    routput: Tensor,
    rmasks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """features (B, C, H, W), masks (B, G * k * k, s * H, s * W) -> output (B, C, s * H, s * W).

    `rfeatures` becomes the features as (B, H, W, C), which mmcv hands to the backward; the other buffers are not needed.
    """
    _check('carafe_forward', features, masks, kernel_size, group_size, scale_factor)
    check_floats('carafe_forward', features=features, output=output)
    last = features.permute(0, 2, 3, 1)
    rfeatures.resize_(last.shape).copy_(last)
    _forward(last, masks, output, kernel_size, group_size, scale_factor)


def carafe_backward(
    top_grad: Tensor,
    rfeatures: Tensor,
    masks: Tensor,
    rtop_grad: Tensor,
    rbottom_grad_hs: Tensor,
    rbottom_grad: Tensor,
    rmask_grad: Tensor,
    bottom_grad: Tensor,
    mask_grad: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """top_grad (B, C, s * H, s * W), rfeatures (B, H, W, C) -> bottom_grad (B, C, H, W) and mask_grad, shaped as masks."""
    _check('carafe_backward', rfeatures.permute(0, 3, 1, 2), masks, kernel_size, group_size, scale_factor)
    check_floats('carafe_backward', top_grad=top_grad, rfeatures=rfeatures)
    _backward(top_grad, rfeatures, masks, bottom_grad, mask_grad, kernel_size, group_size, scale_factor)


def carafe_naive_forward(
    features: Tensor, masks: Tensor, output: Tensor, kernel_size: int, group_size: int, scale_factor: int
) -> None:
    """The same numbers as `carafe_forward`, without its buffers."""
    _check('carafe_naive_forward', features, masks, kernel_size, group_size, scale_factor)
    check_floats('carafe_naive_forward', features=features, output=output)
    _forward(features.permute(0, 2, 3, 1), masks, output, kernel_size, group_size, scale_factor)


def carafe_naive_backward(
    top_grad: Tensor,
    features: Tensor,
    masks: Tensor,
    bottom_grad: Tensor,
    mask_grad: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """As `carafe_backward`, from features (B, C, H, W), and added to the gradients that are there."""
    _check('carafe_naive_backward', features, masks, kernel_size, group_size, scale_factor)
    check_floats('carafe_naive_backward', top_grad=top_grad, features=features)
    to_features, to_masks = torch.zeros_like(bottom_grad), torch.zeros_like(mask_grad)
    last = features.permute(0, 2, 3, 1)
    _backward(top_grad, last, masks, to_features, to_masks, kernel_size, group_size, scale_factor)
    bottom_grad += to_features
    mask_grad += to_masks


def _check(name: str, features: Tensor, masks: Tensor, kernel: int, groups: int, scale: int) -> None:
    check_floats(name, features=features, masks=masks)
    check_precision(name, features=features, masks=masks)
    check_shape(name, 'features', features, 'B', 'C', 'H', 'W')
    batch, channels, height, width = features.shape
    if kernel < 1 or kernel % 2 == 0 or scale < 1 or groups < 1 or channels % groups:
        raise InputError(
            f'{name}: expected an odd kernel_size, a scale_factor from 1 up and a group_size that divides {channels} channels, '
            f'got {kernel}, {scale} and {groups}'
        )
    check_shape(name, 'masks', masks, batch, groups * kernel * kernel, height * scale, width * scale)


def _forward(last: Tensor, masks: Tensor, output: Tensor, kernel: int, groups: int, scale: int) -> None:
    """last (B, H, W, C) -> output (B, C, s * H, s * W)."""
    batch, height, width, channels = last.shape
    check_shape('carafe', 'output', output, batch, channels, height * scale, width * scale)
    pixels, weights = _by_pixel(output, groups, scale), _by_pixel(masks, groups, scale)
    for rows, patches in _patches(_padded(last, kernel), kernel, groups):
        values = torch.matmul(_matrices(weights, rows), patches)  # (P, G, s * s, C / G)
        pixels[:, rows] = values.view(pixels[:, rows].shape).to(output.dtype)


def _backward(
    top_grad: Tensor, last: Tensor, masks: Tensor, to_features: Tensor, to_masks: Tensor, kernel: int, groups: int, scale: int
) -> None:
    """The gradients of last (B, H, W, C) in to_features (B, C, H, W), and of masks in to_masks."""
    batch, height, width, channels = last.shape
    check_shape('carafe', 'top_grad', top_grad, batch, channels, height * scale, width * scale)
    pixels, weights, into_masks = (_by_pixel(tensor, groups, scale) for tensor in (top_grad, masks, to_masks))
    padded = _padded(last, kernel)
    into = torch.zeros_like(padded)
    for rows, patches in _patches(padded, kernel, groups):
        grad = _matrices(pixels, rows)  # (P, G, s * s, C / G)
        to_weights = torch.matmul(grad, patches.transpose(2, 3))  # (P, G, s * s, k * k)
        into_masks[:, rows] = to_weights.view(into_masks[:, rows].shape).to(to_masks.dtype)
        to_patches = torch.matmul(_matrices(weights, rows).transpose(2, 3), grad)  # (P, G, k * k, C / G)
        taps = to_patches.transpose(1, 2).reshape(batch, -1, width, kernel * kernel, channels)
        for tap in range(kernel * kernel):
            y, x = rows.start + tap // kernel, tap % kernel
            into[:, y : y + taps.shape[1], x : x + width] += taps[:, :, :, tap]
    edge = kernel // 2
    to_features.copy_(into[:, edge : edge + height, edge : edge + width].permute(0, 3, 1, 2))


def _by_pixel(tensor: Tensor, groups: int, scale: int) -> Tensor:
    """A view of (B, G * n, s * H, s * W) as (B, H, W, G, s, s, n)."""
    _, channels, height, width = tensor.shape
    parts = tensor.unflatten(3, (width // scale, scale)).unflatten(2, (height // scale, scale))
    return parts.unflatten(1, (groups, channels // groups)).permute(0, 3, 5, 1, 4, 6, 2)


def _matrices(pixels: Tensor, rows: slice) -> Tensor:
    """Rows of such a view as (P, G, s * s, n), contiguous."""
    return lift(pixels[:, rows]).flatten(4, 5).flatten(0, 2).contiguous()


def _padded(last: Tensor, kernel: int) -> Tensor:
    edge = kernel // 2
    return F.pad(lift(last), (0, 0, edge, edge, edge, edge))


def _patches(padded: Tensor, kernel: int, groups: int) -> Iterator[tuple[slice, Tensor]]:
    """Bands of rows, and the patches (P, G, k * k, C / G) around their pixels."""
    windows = padded.unfold(1, kernel, 1).unfold(2, kernel, 1).permute(0, 1, 2, 4, 5, 3)  # (B, H, W, k, k, C)
    batch, height, width, _, _, channels = windows.shape
    if windows.numel() == 0:
        return
    step = max(1, VALUES // (batch * width * kernel * kernel * channels))
    for start in range(0, height, step):
        rows = slice(start, min(start + step, height))
        patches = windows[:, rows].reshape(-1, kernel * kernel, groups, channels // groups)
        yield rows, patches.transpose(1, 2)

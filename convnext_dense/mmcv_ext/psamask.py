"""Point-wise spatial attention (PSANet, Zhao et al., ECCV 2018): mmcv's psa_mask.

Each pixel predicts a mask of its surroundings, centred on itself; the operator lays the masks out over the whole map.
Legend: B images, H W map, (h, w) a pixel of the map that predicts, (y, x) one that is attended to, M N mask height and width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from convnext_dense.errors import InputError
from convnext_dense.mmcv_ext.operands import check_floats, check_shape

VALUES = 1 << 22  # of the output that are worked on at once
COLLECT, DISTRIBUTE = 0, 1


def psamask_forward(
    input: Tensor,
    output: Tensor,
    psa_type: int,
    num_: int,
    h_feature: int,
    w_feature: int,
    h_mask: int,
    w_mask: int,
    half_h_mask: int,
    half_w_mask: int,
) -> None:
    """input (B, M * N, H, W) -> output (B, H * W, H, W), zero where a mask does not reach.

    Collecting, output[:, (y, x), h, w] is the mask of (h, w) at (y, x); distributing, output[:, (h, w), y, x] is.
    """
    name = 'psamask_forward'
    spread = _by_pixel(name, output, psa_type, num_, h_feature, w_feature)
    check_floats(name, input=input, output=output)
    check_shape(name, 'input', input, num_, h_mask * w_mask, h_feature, w_feature)
    # Attended (y, x) is at (y - h + half_h_mask, x - w + half_w_mask) of the mask of (h, w).
    _copy(input.unflatten(1, (h_mask, w_mask)), spread, (half_h_mask, half_w_mask), -1)


def psamask_backward(
    grad_output: Tensor,
    grad_input: Tensor,
    psa_type: int,
    num_: int,
    h_feature: int,
    w_feature: int,
    h_mask: int,
    w_mask: int,
    half_h_mask: int,
    half_w_mask: int,
) -> None:
    """grad_output (B, H * W, H, W) -> grad_input (B, M * N, H, W): each value goes back to where it came from."""
    name = 'psamask_backward'
    spread = _by_pixel(name, grad_output, psa_type, num_, h_feature, w_feature)
    check_floats(name, grad_output=grad_output, grad_input=grad_input)
    check_shape(name, 'grad_input', grad_input, num_, h_mask * w_mask, h_feature, w_feature)
    _copy(spread, grad_input.unflatten(1, (h_mask, w_mask)), (-half_h_mask, -half_w_mask), 1)


def _by_pixel(name: str, tensor: Tensor, psa_type: int, images: int, height: int, width: int) -> Tensor:
    """A view of it as (B, y, x, h, w) of either type."""
    check_shape(name, 'the map of masks', tensor, images, height * width, height, width)
    if psa_type not in (COLLECT, DISTRIBUTE):
        raise InputError(f'{name}: expected psa_type {COLLECT} (collect) or {DISTRIBUTE} (distribute), got {psa_type}')
    pixels = tensor.unflatten(1, (height, width))
    return pixels if psa_type == COLLECT else pixels.permute(0, 3, 4, 1, 2)


def _copy(source: Tensor, target: Tensor, shift: tuple[int, int], sign: int) -> None:
    """target[:, a, b, h, w] = source[:, a + sign * h + shift[0], b + sign * w + shift[1], h, w], zero outside."""
    if 0 in (*target.shape, *source.shape):
        target.zero_()
        return
    rows, columns = source.shape[1:3]
    _, bands, across, height, width = target.shape
    device = target.device
    flat = source.flatten(1, 2)
    column = torch.arange(across, device=device)[:, None] + sign * torch.arange(width, device=device) + shift[1]
    column = column[None, :, None, :]  # (1, across, 1, W)
    step = max(1, VALUES // (across * height * width))
    for start in range(0, bands, step):
        a = torch.arange(start, min(start + step, bands), device=device)
        row = (a[:, None] + sign * torch.arange(height, device=device) + shift[0])[:, None, :, None]  # (step, 1, H, 1)
        within = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        place = row.clamp(0, rows - 1) * columns + column.clamp(0, columns - 1)
        for image, into in zip(flat, target):
            values = image.gather(0, place.flatten(0, 1)).unflatten(0, (len(a), across))
            into[start : start + step] = torch.where(within, values, 0)

"""A convolution at chosen places alone, as guided anchoring predicts (arXiv 1901.03278): mmcv's masked_conv2d.

mmcv multiplies the weight with a matrix of patches and puts the products back. Both functions write into its tensors.
"""

from __future__ import annotations

import torch
from torch import Tensor

from convnext_dense.errors import InputError
from convnext_dense.mmcv_ext.operands import check_device, check_floats, check_indices, check_shape


def masked_im2col_forward(
    im: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    col: Tensor,
    kernel_h: int,
    kernel_w: int,
    pad_h: int,
    pad_w: int,
) -> None:
    """im (1, C, H, W), places (M,) as row and column of the output -> their patches in col (C * kernel_h * kernel_w, M)."""
    name = 'masked_im2col_forward'
    check_floats(name, im=im, col=col)
    check_indices(name, mask_h_idx=mask_h_idx, mask_w_idx=mask_w_idx)
    check_device(name, im=im, mask_h_idx=mask_h_idx, mask_w_idx=mask_w_idx)
    check_shape(name, 'im', im, 1, 'C', 'H', 'W')
    _, channels, height, width = im.shape
    count = len(mask_h_idx)
    check_shape(name, 'mask_w_idx', mask_w_idx, count)
    check_shape(name, 'col', col, channels * kernel_h * kernel_w, count)
    pixels = im.reshape(channels, height * width)
    patches = col.view(channels, kernel_h * kernel_w, count)
    if 0 in (count, height, width):
        col.zero_()
        return
    for point in range(kernel_h * kernel_w):
        y = mask_h_idx - pad_h + point // kernel_w
        x = mask_w_idx - pad_w + point % kernel_w
        within = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        place = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
        patches[:, point] = torch.where(within, pixels[:, place], 0)


def masked_col2im_forward(
    col: Tensor, mask_h_idx: Tensor, mask_w_idx: Tensor, im: Tensor, height: int, width: int, channels: int
) -> None:
    """Write col (C, M) to the places (M,) of im (1, C, H, W); the others keep what they have."""
    name = 'masked_col2im_forward'
    check_floats(name, col=col, im=im)
    check_indices(name, mask_h_idx=mask_h_idx, mask_w_idx=mask_w_idx)
    check_device(name, col=col, mask_h_idx=mask_h_idx, mask_w_idx=mask_w_idx)
    check_shape(name, 'col', col, channels, len(mask_h_idx))
    check_shape(name, 'mask_w_idx', mask_w_idx, len(mask_h_idx))
    check_shape(name, 'im', im, 1, channels, height, width)
    outside = (mask_h_idx < 0) | (mask_h_idx >= height) | (mask_w_idx < 0) | (mask_w_idx >= width)
    if outside.any():
        at = int(outside.nonzero()[0])
        place = f'{int(mask_h_idx[at])}, {int(mask_w_idx[at])}'
        raise InputError(f'{name}: expected places within {height} x {width}, got ({place}); pad by half of the kernel size')
    im[0, :, mask_h_idx, mask_w_idx] = col.to(im.dtype)

"""What the operators ask of the tensors that they are given, and the precision that they compute in."""

from __future__ import annotations

import torch
from torch import Tensor

from convnext_dense.errors import InputError


def lift(tensor: Tensor) -> Tensor:
    """Float32 in place of a reduced precision, else the tensor itself."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def lift_for_torchvision(tensor: Tensor) -> Tensor:
    """Float32 where torchvision has no kernel for the dtype: bfloat16 anywhere, float16 on the CPU."""
    return tensor if tensor.dtype == torch.float16 and tensor.is_cuda else lift(tensor)


def check_floats(operator: str, **operands: Tensor) -> None:
    """Raise InputError unless all are of a floating-point dtype and on one device."""
    for name, tensor in operands.items():
        if not tensor.is_floating_point():
            raise InputError(f'{operator}: expected floating-point numbers in {name}, got {tensor.dtype}')
    check_device(operator, **operands)


def check_precision(operator: str, **operands: Tensor) -> None:
    """Raise InputError where some are in float64 and some are not: a product of both has no dtype to be in."""
    if len({tensor.dtype == torch.float64 for tensor in operands.values()}) > 1:
        dtypes = ', '.join(f'{name} of {tensor.dtype}' for name, tensor in operands.items())
        raise InputError(f'{operator}: expected float64 in all tensors or in none, got {dtypes}')


def check_indices(operator: str, **operands: Tensor) -> None:
    """Raise InputError unless all are int64, as mmcv's kernels read them."""
    for name, tensor in operands.items():
        if tensor.dtype != torch.int64:
            raise InputError(f'{operator}: expected int64 in {name}, got {tensor.dtype}')


def check_device(operator: str, **operands: Tensor) -> None:
    """Raise InputError unless all are on one device."""
    if len({tensor.device for tensor in operands.values()}) > 1:
        places = ', '.join(f'{name} on {tensor.device}' for name, tensor in operands.items())
        raise InputError(f'{operator}: expected all tensors on one device, got {places}')


def check_shape(operator: str, name: str, tensor: Tensor, *shape: int | str) -> None:
    """Raise InputError unless the tensor has this shape; a letter stands for a length that is not fixed."""
    sizes = tuple(tensor.shape)
    fits = len(sizes) == len(shape) and all(isinstance(want, str) or want == size for want, size in zip(shape, sizes))
    if not fits:
        want, got = (', '.join(map(str, lengths)) for lengths in (shape, sizes))
        raise InputError(f'{operator}: expected {name} of shape ({want}), got ({got})')


def check_finite(operator: str, name: str, boxes: Tensor) -> None:
    """Raise InputError where a box (K, n) has NaN or infinity: IoU and sampling have no answer to it."""
    bad = ~boxes.isfinite().all(dim=1)
    if bad.any():
        at = int(bad.nonzero()[0])
        raise InputError(f'{operator}: expected finite numbers in {name}, got {_numbers(boxes[at])} in row {at}')


def check_boxes(operator: str, columns: int, **boxes: Tensor) -> None:
    """Raise InputError unless each is finite and of shape (N, columns)."""
    for name, tensor in boxes.items():
        check_shape(operator, name, tensor, 'N', columns)
        check_finite(operator, name, tensor)


def check_rois(operator: str, input: Tensor, rois: Tensor, columns: int, finite: bool = True) -> None:
    """Raise InputError unless input is (B, C, H, W) and each RoI (K, columns) of an image that is there, and finite.

    Those that are not finite pass where `finite` is False.
    """
    check_floats(operator, input=input, rois=rois)
    check_shape(operator, 'input', input, 'B', 'C', 'H', 'W')
    check_shape(operator, 'rois', rois, 'K', columns)
    if finite:
        check_finite(operator, 'rois', rois)
    absent = (rois[:, 0] < 0) | (rois[:, 0] >= len(input))
    if absent.any():
        at = int(absent.nonzero()[0])
        images = f'from 0 to {len(input) - 1}' if len(input) else 'of no image at all'
        raise InputError(f'{operator}: expected batch indices {images}, got {float(rois[at, 0]):g} in row {at} of rois')


def _numbers(row: Tensor) -> str:
    return ' '.join(f'{number:g}' for number in row.tolist())

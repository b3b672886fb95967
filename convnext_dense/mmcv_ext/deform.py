"""Deformable convolution, v1 (arXiv 1703.06211) and modulated (arXiv 1811.11168), by torchvision's kernel.

Where mmcv's kernels differ from torchvision's, mmcv's are followed: an offset has no gradient where its position lies outside
the map, and where the output is smaller than the map of the offsets (DyHead, arXiv 2106.08322), the offsets are the first
values of each image.
"""

from __future__ import annotations

import weakref
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from convnext_dense.errors import InputError
from convnext_dense.mmcv_ext.operands import check_floats, check_shape, lift_for_torchvision

MODULATED = 'modulated_deform_conv'
FAR = 1 << 24  # pixels: beyond every map, and an int holds it


class Geometry(NamedTuple):
    """What torchvision's kernel takes after the tensors, in its order."""

    stride_h: int
    stride_w: int
    pad_h: int
    pad_w: int
    dilation_h: int
    dilation_w: int
    groups: int
    offset_groups: int

    @staticmethod
    def v1(k: dict[str, int]) -> Geometry:
        """Of the arguments of deform_conv_*."""
        names = ('dH', 'dW', 'padH', 'padW', 'dilationH', 'dilationW', 'group', 'deformable_group')
        return Geometry(*(k[name] for name in names))

    @staticmethod
    def v2(k: dict[str, int]) -> Geometry:
        """Of the arguments of modulated_deform_conv_*."""
        names = ('stride_h', 'stride_w', 'pad_h', 'pad_w', 'dilation_h', 'dilation_w', 'group', 'deformable_group')
        return Geometry(*(k[name] for name in names))

    def output(self, input: Tensor, weight: Tensor) -> tuple[int, int]:
        """Height and width of the output for input (B, C, H, W) and weight (O, C / groups, kH, kW)."""
        (height, width), (down, across) = input.shape[2:], weight.shape[2:]
        return (
            (height + 2 * self.pad_h - self.dilation_h * (down - 1) - 1) // self.stride_h + 1,
            (width + 2 * self.pad_w - self.dilation_w * (across - 1) - 1) // self.stride_w + 1,
        )


def _checked(
    operator: str, input: Tensor, weight: Tensor, geometry: Geometry, bias: Tensor | None = None, **given: Tensor
) -> None:
    """Stop at offsets and masks of another number of channels, images or dtype, and at channels that do not fit.

    Raises:
        InputError: with mmcv's name of the operator.
    """
    check_floats(operator, input=input, weight=weight, **given, **({} if bias is None else {'bias': bias}))
    check_shape(operator, 'input', input, 'B', 'C', 'H', 'W')
    check_shape(operator, 'weight', weight, 'O', 'C / groups', 'kH', 'kW')
    batch, channels = input.shape[:2]
    outputs, groups, offset_groups = weight.shape[0], geometry.groups, geometry.offset_groups
    of_groups = weight.shape[1] * groups
    if channels != of_groups:
        raise InputError(f'{operator}: expected input of {of_groups} channels for the weight and groups, got {channels}')
    if groups < 1 or outputs % groups:
        raise InputError(f'{operator}: expected groups that divide the {outputs} channels of the output, got {groups}')
    if offset_groups < 1 or channels % offset_groups:
        raise InputError(f'{operator}: expected deform_groups that divide the {channels} channels, got {offset_groups}')
    if bias is not None:
        check_shape(operator, 'bias', bias, outputs)
    points = offset_groups * weight.shape[2] * weight.shape[3]
    for name, values in given.items():
        expected = (batch, points * (2 if name == 'offset' else 1))
        if values.ndim != 4 or values.shape[:2] != expected:
            size = 'x'.join(map(str, values.shape))
            raise InputError(f'{operator}: expected {name} of {expected[0]}x{expected[1]} maps, got {size}')


def _read(operator: str, name: str, values: Tensor, size: tuple[int, int]) -> Tensor:
    """The values (B, C, H, W) as mmcv's kernel reads them for an output of `size`: of each image the first C * h * w.

    Raises:
        InputError: where there are fewer.
    """
    if values.shape[2:] == size:
        return values
    flat, needed = values.flatten(1), values.shape[1] * size[0] * size[1]
    if flat.shape[1] < needed:
        height, width = values.shape[2:]
        raise InputError(
            f'{operator}: expected {name} of at least the size of the output, {size[0]}x{size[1]}, got {height}x{width}'
        )
    return flat[:, :needed].reshape(-1, values.shape[1], *size)


def _unread(grad: Tensor, like: Tensor) -> Tensor:
    """`_read` backwards: the gradient at the place that was read, nothing elsewhere."""
    if grad.shape == like.shape:
        return grad
    out = grad.new_zeros(like.shape)
    out.flatten(1)[:, : grad[0].numel()] = grad.flatten(1)
    return out


def _outside(input: Tensor, weight: Tensor, offset: Tensor, geometry: Geometry) -> Tensor:
    """Whether a position lies at -1 or before, or at the map's side or beyond, where the padding is; (B, 2 * G * K, h, w).

    G offset groups, K points of the kernel. At -1 itself torchvision has the derivative towards the map, mmcv none: zero
    offsets with padding are there.
    """
    (height, width), (down, across) = input.shape[2:], weight.shape[2:]
    h, w = offset.shape[2:]

    def numbers(end: int) -> Tensor:
        return torch.arange(end, dtype=offset.dtype, device=offset.device)

    y = numbers(h) * geometry.stride_h - geometry.pad_h
    x = numbers(w) * geometry.stride_w - geometry.pad_w
    y = numbers(down).mul(geometry.dilation_h)[:, None, None, None] + y[:, None]
    x = numbers(across).mul(geometry.dilation_w)[:, None, None] + x
    parts = offset.unflatten(1, (geometry.offset_groups, down, across, 2))
    y, x = parts[:, :, :, :, 0] + y, parts[:, :, :, :, 1] + x
    out = (y <= -1) | (y >= height) | (x <= -1) | (x >= width)
    return out[:, :, :, :, None].expand_as(parts).reshape(offset.shape)


def _within_reach(offset: Tensor) -> tuple[Tensor, Tensor | None]:
    """The offset (B, C, h, w) with nothing in it that the kernel dies at, and at which places (B, 1, h, w) it was not finite.

    NaN passes torchvision's test of whether a position is outside the map, and what is read is then anywhere. What is not
    finite, and what an int does not hold, goes outside.
    """
    if not offset.numel():
        return offset, None
    far = min(FAR, torch.finfo(offset.dtype).max / 2)
    low, high = offset.aminmax()  # NaN where there is one
    if (low > -far) & (high < far):
        return offset, None
    bad = ~offset.isfinite()
    return offset.masked_fill(bad, -far).clamp(-far, far), bad.any(dim=1, keepdim=True)


def _forward(
    input: Tensor, weight: Tensor, bias: Tensor | None, offset: Tensor, mask: Tensor | None, geometry: Geometry
) -> Tensor:
    x = lift_for_torchvision(input)
    bias = x.new_zeros(weight.shape[0]) if bias is None else bias.to(x.dtype)
    masks = x.new_zeros((len(x), 1)) if mask is None else mask.to(x.dtype)
    offset, bad = _within_reach(offset.to(x.dtype))
    out = torch.ops.torchvision.deform_conv2d(x, weight.to(x.dtype), offset, masks, bias, *geometry, mask is not None)
    return out if bad is None else out.masked_fill(bad, torch.nan)  # so that the loss shows it


def _backward(
    grad: Tensor, input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, geometry: Geometry
) -> tuple[Tensor, ...]:
    """Gradients of (input, weight, offset, mask, bias)."""
    g = lift_for_torchvision(grad)
    x, weight, offset = (part.to(g.dtype) for part in (input, weight, offset))
    offset, _ = _within_reach(offset)
    masks = g.new_zeros((len(g), 1)) if mask is None else mask.to(g.dtype)
    grads = torch.ops.torchvision._deform_conv2d_backward(
        g, x, weight, offset, masks, g.new_zeros(weight.shape[0]), *geometry, mask is not None
    )
    return *grads[:2], grads[2].masked_fill(_outside(x, weight, offset, geometry), 0), *grads[3:]


class _Kept(NamedTuple):
    """The weight's gradient of a call of `deform_conv_backward_input`, and what it was called with."""

    gradient: Tensor
    geometry: Geometry
    given: tuple[weakref.ref[Tensor], ...]
    versions: tuple[int, ...]

    @staticmethod
    def of(gradient: Tensor, geometry: Geometry, *given: Tensor) -> _Kept:
        return _Kept(gradient, geometry, tuple(map(weakref.ref, given)), tuple(tensor._version for tensor in given))

    def fits(self, shape: torch.Size, geometry: Geometry, *given: Tensor) -> bool:
        """Whether it is of a weight of this shape and of these tensors, unchanged."""
        same = all(kept() is tensor for kept, tensor in zip(self.given, given))
        unchanged = self.versions == tuple(tensor._version for tensor in given)
        return same and unchanged and self.geometry == geometry and self.gradient.shape == shape


# By grad_output, and gone with it or once it is asked for: torchvision has all gradients at once, mmcv asks twice.
_KEPT = WeakTensorKeyDictionary()


def deform_conv_forward(
    input: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns: Tensor, ones: Tensor, **k: int
) -> None:
    """input (B, C, H, W), weight (O, C / groups, kH, kW), offset (B, 2 * G * kH * kW, h, w) -> output (B, O, h, w).

    The outputs of a place with an offset that is not finite are NaN, so that the loss of a model that diverges says so.

    Raises:
        InputError: where these do not fit each other.
    """
    geometry = Geometry.v1(k)
    _checked('deform_conv', input, weight, geometry, offset=offset)
    size = geometry.output(input, weight)
    if offset.shape[2:] != size:
        height, width = offset.shape[2:]
        raise InputError(f'deform_conv: expected offset of the size of the output, {size[0]}x{size[1]}, got {height}x{width}')
    output.copy_(_forward(input, weight, None, offset, None, geometry))


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
    geometry = Geometry.v1(k)
    d_input, d_weight, d_offset, _, _ = _backward(grad_output, input, weight, offset, None, geometry)
    _KEPT[grad_output] = _Kept.of(d_weight, geometry, grad_output, input, offset)
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
    geometry = Geometry.v1(k)
    kept: _Kept | None = _KEPT.pop(grad_output, None)
    if kept is not None and kept.fits(grad_weight.shape, geometry, grad_output, input, offset):
        d_weight = kept.gradient
    else:
        # Only the weight's shape matters to its own gradient, and mmcv does not hand the weight over.
        _, d_weight, _, _, _ = _backward(grad_output, input, grad_weight, offset, None, geometry)
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
    """As `deform_conv_forward`, with mask (B, G * kH * kW, h, w); offset and mask may be larger than the output.

    Raises:
        InputError: where they are smaller, or do not fit in another way.
    """
    geometry = Geometry.v2(k)
    _checked(MODULATED, input, weight, geometry, bias if with_bias else None, offset=offset, mask=mask)
    size = geometry.output(input, weight)
    offset, mask = _read(MODULATED, 'offset', offset, size), _read(MODULATED, 'mask', mask, size)
    output.copy_(_forward(input, weight, bias if with_bias else None, offset, mask, geometry))


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
    geometry = Geometry.v2(k)
    size = geometry.output(input, weight)
    read = _read(MODULATED, 'offset', offset, size), _read(MODULATED, 'mask', mask, size)
    d_input, d_weight, d_offset, d_mask, d_bias = _backward(grad_output, input, weight, *read, geometry)
    grads = d_input, d_weight, _unread(d_offset, offset), _unread(d_mask, mask)
    for into, grad in zip((grad_input, grad_weight, grad_offset, grad_mask), grads):
        into.copy_(grad)
    if with_bias:
        grad_bias.copy_(d_bias)

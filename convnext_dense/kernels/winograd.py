"""3x3 convolutions of large maps by Winograd's minimal filtering F(2x2, 3x3): 16 products for 4 outputs instead of 36.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (arXiv 1509.09308, section 4.1). Its transforms add and
halve only: in float32 the result is as near to the exact one as a direct convolution's. 16-bit types take the direct one.

Legend: B images, C channels in, O out, H W height and width, T tiles of 2x2 outputs of a strip.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from convnext_dense.kernels.onednn import linear, linear_add

MIN_PIXELS, MIN_CHANNELS = 4096, 256  # below, the transforms cost what the products save (measured on the CPU)
STRIP_VALUES = 4_000_000  # of the transformed tiles of a strip: about 16 MB in float32 (measured)


def conv3x3(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """F.conv2d of (B, C, H, W) by (O, C, 3, 3) with zero padding 1, channels last."""
    # What does not fit is left to F.conv2d, which says so.
    if x.ndim == 4 and x.shape[1] == weight.shape[1] and x.dtype == weight.dtype and is_faster(x, weight):
        return _Winograd.apply(x, weight, bias)
    return F.conv2d(x, weight, bias, padding=1)


def is_faster(x: Tensor, weight: Tensor) -> bool:
    """Whether it is the faster way. On CUDA, cuDNN chooses its own."""
    pixels = x.shape[0] * x.shape[2] * x.shape[3]
    wide = min(weight.shape[:2]) >= MIN_CHANNELS
    return x.device.type == 'cpu' and x.dtype in (torch.float32, torch.float64) and wide and pixels >= MIN_PIXELS


def is_3x3(conv: nn.Conv2d) -> bool:
    """Whether it is what `conv3x3` computes."""
    usual = (conv.kernel_size, conv.stride, conv.padding, conv.dilation) == ((3, 3), (1, 1), (1, 1), (1, 1))
    return usual and conv.groups == 1 and conv.padding_mode == 'zeros'


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _convolve(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad_x = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_x = _convolve(grad, weight.flip(2, 3).transpose(0, 1), None)
        if ctx.needs_input_grad[1]:
            grad_weight = _weight_grad(x, grad)
        if ctx.needs_input_grad[2]:
            grad_bias = grad.sum((0, 2, 3))
        return grad_x, grad_weight, grad_bias


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(B, C, H, W) by (O, C, 3, 3) -> (B, O, H, W), channels last."""
    (batch, _, height, width), channels = x.shape, len(weight)
    size = (batch, channels, height, width)
    result = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    x, out = x.permute(0, 2, 3, 1), result.permute(0, 2, 3, 1)
    kernels, room = _transformed(weight), Room(x)
    whole = height % 2 == 0 and width % 2 == 0
    for images, top, rows in _strips(x, channels):
        tiles = _tiles_of(x[images], top, rows, room)
        into = out[images, top : top + 2 * rows]
        if whole:
            _outputs(tiles, kernels, bias, rows, into)
        else:
            padded = room('outputs', len(into), 2 * rows, width + width % 2, channels)
            _outputs(tiles, kernels, bias, rows, padded)
            into.copy_(padded[:, : into.shape[1], :width])
    return result


class Room:
    """Memory that every strip uses again: fresh pages would cost more than what is computed in them."""

    def __init__(self, like: Tensor) -> None:
        self.like = like
        self.held: dict[str, Tensor] = {}

    def __call__(self, name: str, *shape: int) -> Tensor:
        size = prod(shape)
        if name not in self.held or len(self.held[name]) < size:
            self.held[name] = self.like.new_empty(size)
        return self.held[name][:size].view(shape)


def _weight_grad(x: Tensor, grad: Tensor) -> Tensor:
    """(O, C, 3, 3), from the input and the output's gradient."""
    x, grad = (t.permute(0, 2, 3, 1) for t in (x, grad))
    total, room = x.new_zeros(16, grad.shape[3], x.shape[3]), Room(x)
    for images, top, rows in _strips(x, grad.shape[3]):
        spread = _spread(grad[images], top, rows, room)
        total.baddbmm_(spread.transpose(1, 2), _tiles_of(x[images], top, rows, room))
    matrix = _kernel_matrix(x.dtype)
    return (matrix.t() @ total.flatten(1)).view(3, 3, *total.shape[1:]).permute(2, 3, 0, 1)


def _strips(x: Tensor, channels: int) -> Iterator[tuple[slice, int, int]]:
    """(images, first row, rows of tiles) of (B, H, W, C): a part of one image, or as many whole ones as a strip holds."""
    batch, height, width, own = x.shape
    count, across = -(-height // 2), -(-width // 2)
    step = max(STRIP_VALUES // (16 * across * max(channels, own)), 1)
    together = max(step // count, 1)
    for image in range(0, batch, together):
        for first in range(0, count, step):
            yield slice(image, image + together), 2 * first, min(step, count - first)


def _tiles_of(x: Tensor, top: int, rows: int, room: Room) -> Tensor:
    """B'dB of the paper for the overlapping 4x4 tiles of a strip of (N, H, W, C): (16, T, C)."""
    batch, height, width, channels = x.shape
    across = -(-width // 2)
    padded = room('padded', batch, 2 * rows + 2, 2 * across + 2, channels)
    first, last = max(top - 1, 0), min(top + 2 * rows + 1, height)
    low, high = first - (top - 1), last - (top - 1)
    padded[:, low:high, 1 : width + 1] = x[:, first:last]
    padded[:, :low], padded[:, high:] = 0, 0
    padded[:, :, 0], padded[:, :, width + 1 :] = 0, 0
    d = [padded[:, i : i + 2 * rows - 1 : 2] for i in range(4)]
    half = room('half', 4, *d[0].shape)
    _combine(d, half)
    out = room('tiles', 4, 4, batch, rows, across, channels)
    _combine([half[:, :, :, i : i + 2 * across - 1 : 2] for i in range(4)], out.transpose(0, 1))
    return out.view(16, -1, channels)


def _combine(d: list[Tensor], out: Tensor) -> None:
    torch.sub(d[0], d[2], out=out[0])
    torch.add(d[1], d[2], out=out[1])
    torch.sub(d[2], d[1], out=out[2])
    torch.sub(d[1], d[3], out=out[3])


def _outputs(tiles: Tensor, kernels: Tensor, bias: Tensor | None, rows: int, out: Tensor) -> None:
    """A'(U * V)A of the paper: tiles V (16, T, C), kernels U (16, O, C), to `out` (N, 2 rows, W, O)."""
    v, u = tiles.unbind(), kernels.unbind()
    upper, lower = [], []  # outputs of a tile's two rows, before the columns are combined
    for i in range(4):
        second = linear(v[4 + i], u[4 + i], bias if i == 1 else None)  # this one goes into all four outputs, as its bias does
        both = linear_add(v[8 + i], u[8 + i], second)
        upper.append(linear_add(v[i], u[i], both))
        lower.append(linear_add(v[12 + i], u[12 + i], torch.lerp(both, second, 2)))  # 2 second - both
    out = out.unflatten(2, (-1, 2)).unflatten(1, (rows, 2)).permute(2, 4, 0, 1, 3, 5)  # (down, across, N, rows, tiles, O)
    for m, (left, right) in zip((upper, lower), out):
        m = [t.view(left.shape) for t in m]
        torch.sub(m[1] - m[2], m[3], out=right)
        torch.add(m[0], m[1].add_(m[2]), out=left)


def _spread(grad: Tensor, top: int, rows: int, room: Room) -> Tensor:
    """AgA' for the 2x2 tiles of a strip of (N, H, W, O): (16, T, O)."""
    grad = grad[:, top : top + 2 * rows]
    height, width, channels = grad.shape[1:]
    if height < 2 * rows or width % 2:
        grad = F.pad(grad, (0, 0, 0, width % 2, 0, 2 * rows - height))
    g = grad.unflatten(2, (-1, 2)).unflatten(1, (rows, 2)).permute(2, 4, 0, 1, 3, 5)  # (down, across, N, rows, tiles, O)
    half = room('gradient half', 4, *g.shape[1:])
    _expand(g, half, 1)
    out = room('gradient tiles', 4, 4, *g.shape[2:])
    _expand(half.transpose(0, 1), out.transpose(0, 1), -1)
    return out.view(16, -1, channels)


def _expand(g: Tensor, out: Tensor, last: int) -> None:
    out[0] = g[0]
    torch.add(g[0], g[1], out=out[1])
    torch.sub(g[0], g[1], out=out[2])
    torch.mul(g[1], last, out=out[3])


def _transformed(weight: Tensor) -> Tensor:
    """GgG' of the paper: (O, C, 3, 3) -> (16, O, C)."""
    flat = weight.permute(2, 3, 0, 1).reshape(9, -1)
    return (_kernel_matrix(weight.dtype) @ flat).view(16, *weight.shape[:2])


@lru_cache(maxsize=4)
def _kernel_matrix(dtype: torch.dtype) -> Tensor:
    """The kernel's transform of both axes as one matrix, (16, 9).

    Down the rows its last line is negated, and A's -1 there is 1, which leaves the product as it is: what the last row of tiles
    gives is then added, by the epilogue of its matrix product, and never subtracted.
    """
    with torch.inference_mode(False):  # a cached tensor of inference mode would be refused in training
        across = torch.tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], dtype=dtype, device='cpu')
        down = across * torch.tensor([1, 1, 1, -1], dtype=dtype, device='cpu')[:, None]
        return torch.kron(down, across)

"""3x3 convolutions of many channels as a graph of standard operators, with a quarter of the products.

Minimal filtering F(4x4, 3x3) of Lavin and Gray (arXiv 1509.09308, section 4.1): 36 products for 16 outputs in place of 144. Its
transforms are convolutions of one channel, its products one batched matrix product, so that every runtime has them.
`kernels.winograd` has F(2x2, 3x3), which multiplies by no constants: a runtime's result is compared within bounds, and this one
is within 2e-5 of the largest output.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

OUT, TILE = 4, 6  # outputs and inputs of a tile, an axis
LEAST_CHANNELS = 256  # below, the transforms cost what the products save

# The paper's B', G and A' for the points 0, 1, -1, 2, -2 and infinity.
INPUT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
KERNEL = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
OUTPUT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))


def conv3x3(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """F.conv2d of (B, C, H, W) by (O, C, 3, 3) with zero padding 1."""
    channels, own, height, width = *weight.shape[:2], *x.shape[2:]
    down, across = (height + OUT - 1) // OUT, (width + OUT - 1) // OUT
    x = F.pad(x, (1, OUT * across + 1 - width, 1, OUT * down + 1 - height))
    parts = _both_axes(INPUT, x).reshape(-1, 1, TILE, TILE)
    tiles = F.conv2d(x.reshape(-1, 1, *x.shape[2:]), parts, stride=OUT)  # (B C, 36, down, across)
    tiles = tiles.reshape(-1, own, TILE**2, down * across).transpose(1, 2)
    products = _kernels(weight) @ tiles  # (B, 36, O, tiles)
    products = products.transpose(1, 2).reshape(-1, TILE**2, down, across)
    sums = _both_axes(OUTPUT, x).reshape(OUT**2, TILE**2, 1, 1)
    y = F.pixel_shuffle(F.conv2d(products, sums), OUT)
    y = y.reshape(-1, channels, OUT * down, OUT * across)[:, :, :height, :width]
    return y if bias is None else y + bias[:, None, None]


def _kernels(weight: Tensor) -> Tensor:
    """(36, O, C). ONNX Runtime and OpenVINO compute it once, when they read the file; PyTorch's forms at every call."""
    channels, own = weight.shape[:2]
    return (_both_axes(KERNEL, weight) @ weight.reshape(-1, 9).t()).reshape(-1, channels, own)


def _both_axes(matrix: tuple[tuple[float, ...], ...], like: Tensor) -> Tensor:
    """The matrix's Kronecker product with itself: what it does to both axes of a tile."""
    one = torch.tensor(matrix, dtype=torch.float64)
    return torch.kron(one, one).to(like)

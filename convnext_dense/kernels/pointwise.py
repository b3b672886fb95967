"""The block's pointwise half (LayerNorm, 1x1 to 4C, GELU, GRN in V2, 1x1 to C, layer scale, drop path, residual) in tiles.

Equal to `Block.plain`, with less memory. At inference the 4C hidden map never exists whole: V1 runs in tiles of pixels that fit
the cache, V2, whose GRN looks at a whole map, image by image. Training keeps the depthwise output and the hidden map before
GELU (5C a pixel) or the depthwise output alone (`recompute_hidden`), and computes LayerNorm and GELU again.

Neither the second product's output nor GRN's is kept. With G = GELU's output, out = shortcut + s * gamma * (W2 (G * a + beta)
+ b2) and g the gradient of out, every gradient of s, gamma, W2, b2, a and beta follows from g'G (C x 4C) and the sum of g, in
exact algebra.

Legend: B images, P pixels of a tile, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from convnext_dense.kernels.onednn import linear, linear_gelu

GRN_EPS = 1e-6
TILE = {'cpu': 1_600_000, 'cuda': 64_000_000}  # hidden values of a tile: about 6 MB in float32 on the CPU (measured)

# LayerNorm's weight and bias, W1, b1, W2, b2, layer scale or None, GRN's gamma and beta (4C) or None.
Parameters = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]


def pointwise_mlp(
    shortcut: Tensor,
    y: Tensor,
    parameters: Parameters,
    eps: float,
    keep: Tensor | None = None,
    recompute_hidden: bool = False,
) -> Tensor:
    """shortcut and y, the depthwise output, both (B, H, W, C), to the block's output (B, H, W, C); differentiable once.

    `keep` (B,) multiplies each image's branch: 0 for a dropped one, which is then not computed on the CPU. The matrix products
    run in y's dtype, LayerNorm's and GRN's sums in float32.
    """
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (shortcut, y, *parameters)):
        return _PointwiseMLP.apply(shortcut, y, eps, keep, recompute_hidden, *parameters)
    return _forward(shortcut, y, parameters, eps, keep, None)


def _forward(
    shortcut: Tensor, y: Tensor, parameters: Parameters, eps: float, keep: Tensor | None, hidden: list[Tensor] | None
) -> Tensor:
    """`hidden`, where given, gets the first product of each computed tile, (P, 4C)."""
    norm_weight, norm_bias, w1, b1, w2, b2, gamma, grn_gamma, grn_beta = parameters
    w1, b1, w2, b2 = (t.to(y.dtype) for t in (w1, b1, w2, b2))
    width = y.shape[-1]
    rows, short = y.reshape(-1, width), shortcut.reshape(-1, width)
    kind = torch.promote_types(shortcut.dtype, y.dtype if gamma is None else gamma.dtype)
    out = torch.empty(short.shape, dtype=kind, device=y.device)
    act: Tensor | None = None
    for image, part in _tiles(y, w1, grn_gamma is not None, keep):
        if _dropped(keep, image):
            out[part] = short[part]
            continue
        x = _normalise(rows[part], norm_weight, norm_bias, eps)
        if hidden is None:
            x = linear_gelu(x, w1, b1)
        else:
            hidden.append(linear(x, w1, b1))
            x = act = _gelu(hidden[-1], act)
        weight, bias = w2, b2
        if grn_gamma is not None:
            share, _ = _response(x)
            weight, bias = (w2 * (1 + grn_gamma * share)).to(y.dtype), b2 + (w2 @ grn_beta.to(y.dtype))
        x = linear(x, weight, bias)
        factor = _factor(gamma, keep, image)
        if factor is None:
            torch.add(short[part], x, out=out[part])
        else:
            torch.addcmul(short[part].to(kind), x.to(kind), factor.to(kind), out=out[part])
    return out.view(y.shape)


class _PointwiseMLP(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, shortcut: Tensor, y: Tensor, eps: float, keep: Tensor | None, recompute_hidden: bool, *parameters: Tensor
    ) -> Tensor:
        hidden: list[Tensor] | None = None if recompute_hidden else []
        out = _forward(shortcut, y, parameters, eps, keep, hidden)
        ctx.save_for_backward(y, keep, *parameters, *(hidden or []))
        ctx.eps, ctx.shortcut_dtype = eps, shortcut.dtype
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        y, keep, *rest = ctx.saved_tensors
        parameters, hidden = rest[:9], rest[9:]
        with torch.autocast(y.device.type, enabled=False):
            grad_y, grads = _backward(grad, y, hidden, keep, parameters, ctx.eps)
        return grad.to(ctx.shortcut_dtype), grad_y, None, None, None, *grads


def _backward(
    grad: Tensor, y: Tensor, hidden: list[Tensor], keep: Tensor | None, parameters: list[Tensor], eps: float
) -> tuple[Tensor, list[Tensor | None]]:
    norm_weight, norm_bias, w1, b1, w2, b2, gamma, grn_gamma, grn_beta = parameters
    kind, width = y.dtype, y.shape[-1]
    wide = torch.promote_types(kind, torch.float32)  # sums over pixels
    w1_cast, b1_cast, w2_cast = (t.to(kind) for t in (w1, b1, w2))
    rows, grad = y.reshape(-1, width), grad.reshape(-1, width)
    normal, mean, rstd = _normalise_again(rows, norm_weight, norm_bias, eps)
    d_normal = torch.empty_like(normal)
    # Many pixels: the work on weights is small, the work on pixels large. Few: the other way round.
    many = len(rows) > 4 * len(w1)
    d_w1 = d_w2 = None  # the second one without the layer scale, at first
    d_b1, d_b2 = (torch.zeros(t.shape, dtype=wide, device=y.device) for t in (b1, b2))
    w2_scaled = w2_cast if gamma is None or not many else (gamma[:, None] * w2).to(kind)
    d_grn = [torch.zeros(t.shape, dtype=wide, device=y.device) for t in (grn_gamma, grn_beta) if t is not None]
    act: Tensor | None = None
    for image, part in _tiles(y, w1, grn_gamma is not None, keep):
        if _dropped(keep, image):
            d_normal[part] = 0
            continue
        x = normal[part]
        pre = hidden.pop(0) if hidden else linear(x, w1_cast, b1_cast)
        act = _gelu(pre, act)
        g = grad[part] if keep is None else grad[part] * keep[image].to(grad.dtype)
        d_out = (g if gamma is None or many else g * gamma).to(kind)
        g = g.to(kind)
        if grn_gamma is None:
            d_w2 = _plus(d_w2, g, act, wide, many)
            d_b2 += g.sum(0, dtype=wide)
            d_act = linear(d_out, w2_scaled.t())
        else:
            # An image at a time, so that the sums end here.
            share, norm = _response(act)
            scale = 1 + grn_gamma * share
            product, total = (g.t() @ act).to(wide), g.sum(0, dtype=wide)
            part_w2 = product * scale + torch.outer(total, grn_beta.to(wide))
            d_w2 = part_w2 if d_w2 is None else d_w2.add_(part_w2)
            d_b2 += total
            weighted = w2.to(wide) if gamma is None else w2.to(wide) * gamma[:, None].to(wide)
            d_scale = (weighted * product).sum(0)
            d_grn[0] += d_scale * share
            d_grn[1] += total @ weighted
            d_norm = _response_backward(d_scale * grn_gamma.to(wide), norm)
            d_act = linear(d_out, (w2_scaled * scale.to(kind)).t())
            d_act = torch.addcmul(d_act, act, (d_norm / norm.clamp_min(torch.finfo(wide).tiny)).to(kind))
        d_pre = torch.ops.aten.gelu_backward.grad_input(d_act, pre, grad_input=d_act)
        d_w1 = _plus(d_w1, d_pre, x, wide)
        d_b1 += d_pre.sum(0, dtype=wide)
        d_normal[part] = linear(d_pre, w1_cast.t())
    grad_y, *d_norms = _normalise_backward(d_normal, rows, mean, rstd, norm_weight, norm_bias)
    if d_w1 is None or d_w2 is None:  # every image was dropped
        d_w1, d_w2 = torch.zeros_like(w1, dtype=wide), torch.zeros_like(w2, dtype=wide)
    d_gamma = None
    if gamma is not None:
        d_gamma = (d_w2 * w2).sum(1) + d_b2 * b2
        d_w2, d_b2 = d_w2.mul_(gamma[:, None]), d_b2 * gamma
    grads = [*d_norms, d_w1, d_b1, d_w2, d_b2, d_gamma, *(d_grn or (None, None))]
    typed = [None if g is None else g.to(p.dtype).view(p.shape) for g, p in zip(grads, parameters)]
    return grad_y.to(kind).view(y.shape), typed


def _tiles(y: Tensor, w1: Tensor, whole_images: bool, keep: Tensor | None) -> Iterator[tuple[int, slice]]:
    """(image, rows) of the flattened map: whole images, parts of one, or parts of all of them where images need not be told."""
    batch, pixels = len(y), y.shape[1] * y.shape[2]
    if keep is None and not whole_images:
        batch, pixels = 1, batch * pixels
    if batch * pixels == 0:
        return
    most = pixels if whole_images else max(TILE.get(y.device.type, TILE['cuda']) // len(w1), 1)
    count = -(-pixels // most)
    size = -(-pixels // count)
    for image in range(batch):
        for start in range(image * pixels, (image + 1) * pixels, size):
            yield image, slice(start, min(start + size, (image + 1) * pixels))


def _dropped(keep: Tensor | None, image: int) -> bool:
    """Whether an image's branch is dropped. Only asked of the CPU: elsewhere the answer would wait for the device."""
    return keep is not None and not keep.is_cuda and keep[image].item() == 0


def _factor(gamma: Tensor | None, keep: Tensor | None, image: int) -> Tensor | None:
    if keep is None:
        return gamma
    return keep[image] if gamma is None else gamma * keep[image]


def _response(x: Tensor) -> tuple[Tensor, Tensor]:
    """GRN's channel norms of one image (P, 4C), relative to the mean one and as they are, (4C,) each, in float32."""
    norm = torch.linalg.vector_norm(x, dim=0, dtype=torch.promote_types(x.dtype, torch.float32))
    return norm / (norm.mean() + GRN_EPS), norm


def _response_backward(d_share: Tensor, norm: Tensor) -> Tensor:
    """Gradient of the norms from that of norm / (mean norm + eps)."""
    level = norm.mean() + GRN_EPS
    return d_share / level - (d_share @ norm) / (level**2 * len(norm))


def _normalise(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return _normalise_again(x, weight, bias, eps)[0]


def _normalise_again(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """LayerNorm of (P, C) in x's dtype, with mean and reciprocal deviation in float32."""
    if x.dtype == weight.dtype or not x.is_cuda:  # the CPU's kernel takes 16-bit values with float32 weights
        return torch.native_layer_norm(x, x.shape[-1:], weight, bias, eps)
    out, mean, rstd = torch.native_layer_norm(x.to(weight.dtype), x.shape[-1:], weight, bias, eps)
    return out.to(x.dtype), mean, rstd


def _normalise_backward(
    grad: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    if x.dtype != weight.dtype and x.is_cuda:
        grad, x = grad.to(weight.dtype), x.to(weight.dtype)
    return torch.ops.aten.native_layer_norm_backward.default(grad, x, x.shape[-1:], mean, rstd, weight, bias, [True] * 3)


def _gelu(x: Tensor, used: Tensor | None) -> Tensor:
    """F.gelu of (P, 4C), into the memory of the tile before where it holds as much: fresh pages cost more than GELU does."""
    if used is None or used.shape[0] < x.shape[0]:
        return F.gelu(x)
    return torch.ops.aten.gelu.out(x, out=used[: len(x)])


def _plus(total: Tensor | None, a: Tensor, b: Tensor, kind: torch.dtype, transposed: bool = False) -> Tensor:
    """total + a' b, in place where there is a total. Kept transposed, a wide result takes a tenth less time (measured)."""
    if total is not None and a.dtype == kind:
        return total.addmm_(a.t(), b)
    product = ((b.t() @ a).t() if transposed else a.t() @ b).to(kind)
    return product if total is None else total.add_(product)

"""The block's pointwise half (LayerNorm, 1x1 to 4C, GELU, GRN in V2, 1x1 to C, layer scale, drop path, residual) in tiles.

Equal to `Block.plain`, with less memory. At inference the 4C hidden map never exists whole: V1 runs in tiles of pixels that fit
the cache, V2, whose GRN looks at a whole map, image by image. Training keeps the depthwise output and the hidden map before
GELU (5C a pixel) or the depthwise output alone (`recompute_hidden`), and computes LayerNorm and GELU again. The algebra of the
gradients is in docs/kernels.md, sections 1 and 2, with the same names.

Legend: B images, P pixels of a tile, C channels; `d_x` is the gradient of x.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from convnext_dense.kernels.onednn import linear, linear_gelu

GRN_EPS = 1e-6
TILE = {'cpu': 1_600_000, 'cuda': 64_000_000}  # hidden values of a tile: about 6 MB in float32 on the CPU (measured)


class Parameters(NamedTuple):
    """What the pointwise half of a block learns: layer scale in V1 (or none), GRN in V2."""

    norm_weight: Tensor  # (C,)
    norm_bias: Tensor
    w1: Tensor  # (4C, C)
    b1: Tensor
    w2: Tensor  # (C, 4C)
    b2: Tensor
    gamma: Tensor | None = None  # layer scale, (C,)
    grn_gamma: Tensor | None = None  # (4C,)
    grn_beta: Tensor | None = None

    @property
    def has_grn(self) -> bool:
        return self.grn_gamma is not None


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
    return _forward(shortcut, y, parameters, eps, keep, keep_hidden=False)[0]


class _PointwiseMLP(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, shortcut: Tensor, y: Tensor, eps: float, keep: Tensor | None, recompute_hidden: bool, *parameters: Tensor
    ) -> Tensor:
        out, hidden = _forward(shortcut, y, Parameters(*parameters), eps, keep, not recompute_hidden)
        ctx.save_for_backward(y, keep, *parameters, *hidden)
        ctx.eps, ctx.shortcut_dtype = eps, shortcut.dtype
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        y, keep, *rest = ctx.saved_tensors
        count = len(Parameters._fields)
        with torch.autocast(y.device.type, enabled=False):
            d_y, grads = _backward(grad, y, rest[count:], keep, Parameters(*rest[:count]), ctx.eps)
        return grad.to(ctx.shortcut_dtype), d_y, None, None, None, *grads


def _forward(
    shortcut: Tensor, y: Tensor, p: Parameters, eps: float, keep: Tensor | None, keep_hidden: bool
) -> tuple[Tensor, list[Tensor]]:
    """The block's output, and where they are kept the hidden maps before GELU, (P, 4C) for each tile that was computed."""
    w1, b1, w2, b2 = (t.to(y.dtype) for t in (p.w1, p.b1, p.w2, p.b2))
    width = y.shape[-1]
    rows, short = y.reshape(-1, width), shortcut.reshape(-1, width)
    out_dtype = torch.promote_types(shortcut.dtype, y.dtype if p.gamma is None else p.gamma.dtype)
    out = torch.empty(short.shape, dtype=out_dtype, device=y.device)
    hidden: list[Tensor] = []
    act: Tensor | None = None
    for image, part in _tiles(y, p, keep):
        if _dropped(keep, image):
            out[part] = short[part]
            continue
        x = _normalise(rows[part], p.norm_weight, p.norm_bias, eps)[0]
        if keep_hidden:
            hidden.append(linear(x, w1, b1))
            x = act = _gelu(hidden[-1], act)
        else:
            x = linear_gelu(x, w1, b1)
        weight, bias = _with_grn(x, w2, b2, p) if p.has_grn else (w2, b2)
        x = linear(x, weight, bias)
        factor = _factor(p.gamma, keep, image)
        if factor is None:
            torch.add(short[part], x, out=out[part])
        else:
            torch.addcmul(short[part].to(out_dtype), x.to(out_dtype), factor.to(out_dtype), out=out[part])
    return out.view(y.shape), hidden


def _with_grn(act: Tensor, w2: Tensor, b2: Tensor, p: Parameters) -> tuple[Tensor, Tensor]:
    """The second product's weight and bias with GRN of this image folded in: GRN scales and shifts the product's inputs."""
    assert p.grn_gamma is not None and p.grn_beta is not None
    share, _ = _response(act)
    return (w2 * (1 + p.grn_gamma * share)).to(w2.dtype), b2 + w2 @ p.grn_beta.to(w2.dtype)


@dataclass
class _Sums:
    """Gradients of the weights, to which each tile adds; in float32 or wider. Those of w2 and b2 lack the layer scale."""

    dtype: torch.dtype
    b1: Tensor
    b2: Tensor
    w1: Tensor | None = None  # None until a tile is added
    w2: Tensor | None = None
    grn_gamma: Tensor | None = None
    grn_beta: Tensor | None = None

    @classmethod
    def zeros(cls, p: Parameters, dtype: torch.dtype) -> _Sums:
        vectors = dict(b1=p.b1, b2=p.b2, grn_gamma=p.grn_gamma, grn_beta=p.grn_beta)
        return cls(dtype, **{name: torch.zeros_like(t, dtype=dtype) for name, t in vectors.items() if t is not None})

    def grads(self, p: Parameters, d_norm_weight: Tensor, d_norm_bias: Tensor) -> list[Tensor | None]:
        """Those of all parameters, in order and of their types."""
        d_w1 = torch.zeros_like(p.w1) if self.w1 is None else self.w1  # every image was dropped
        d_w2 = torch.zeros_like(p.w2, dtype=self.dtype) if self.w2 is None else self.w2
        d_b2, d_gamma = self.b2, None
        if p.gamma is not None:
            d_gamma = (d_w2 * p.w2).sum(1) + d_b2 * p.b2
            d_w2, d_b2 = d_w2.mul_(p.gamma[:, None]), d_b2 * p.gamma
        grads = Parameters(d_norm_weight, d_norm_bias, d_w1, self.b1, d_w2, d_b2, d_gamma, self.grn_gamma, self.grn_beta)
        return [None if g is None or t is None else g.to(t.dtype).view(t.shape) for g, t in zip(grads, p)]


def _backward(
    grad: Tensor, y: Tensor, hidden: list[Tensor], keep: Tensor | None, p: Parameters, eps: float
) -> tuple[Tensor, list[Tensor | None]]:
    """Gradients of y and of the parameters. `hidden` is used up; where it is empty, it is computed again."""
    dtype, width = y.dtype, y.shape[-1]
    w1, b1, w2 = (t.to(dtype) for t in (p.w1, p.b1, p.w2))
    rows, grad = y.reshape(-1, width), grad.reshape(-1, width)
    normal, mean, rstd = _normalise(rows, p.norm_weight, p.norm_bias, eps)
    d_normal = torch.empty_like(normal)
    # The layer scale goes into the weight where pixels are many, into the gradient where they are few: less is multiplied.
    many = len(rows) > 4 * len(w1)
    if p.gamma is not None and many:
        w2 = (p.gamma[:, None] * p.w2).to(dtype)
    sums = _Sums.zeros(p, torch.promote_types(dtype, torch.float32))
    act: Tensor | None = None
    for image, part in _tiles(y, p, keep):
        if _dropped(keep, image):
            d_normal[part] = 0
            continue
        x = normal[part]
        pre = hidden.pop(0) if hidden else linear(x, w1, b1)
        act = _gelu(pre, act)
        g = grad[part] if keep is None else grad[part] * keep[image].to(grad.dtype)
        d_out = (g if p.gamma is None or many else g * p.gamma).to(dtype)
        g = g.to(dtype)
        if p.has_grn:
            d_act = _grn_backward(g, d_out, act, w2, p, sums)
        else:
            d_act = _second_product_backward(g, d_out, act, w2, sums, many)
        d_pre = torch.ops.aten.gelu_backward.grad_input(d_act, pre, grad_input=d_act)
        sums.w1 = _plus(sums.w1, d_pre, x, sums.dtype)
        sums.b1 += d_pre.sum(0, dtype=sums.dtype)
        d_normal[part] = linear(d_pre, w1.t())
    d_y, *d_norms = _normalise_backward(d_normal, rows, mean, rstd, p.norm_weight, p.norm_bias)
    return d_y.to(dtype).view(y.shape), sums.grads(p, *d_norms)


def _second_product_backward(g: Tensor, d_out: Tensor, act: Tensor, w2: Tensor, sums: _Sums, many: bool) -> Tensor:
    """V1: gradient (P, 4C) of GELU's output of a tile; those of w2 and b2 are added.

    `g` is the gradient without the layer scale. It is in `d_out`, or in `w2`.
    """
    sums.w2 = _plus(sums.w2, g, act, sums.dtype, transposed=many)
    sums.b2 += g.sum(0, dtype=sums.dtype)
    return linear(d_out, w2.t())


def _grn_backward(g: Tensor, d_out: Tensor, act: Tensor, w2: Tensor, p: Parameters, sums: _Sums) -> Tensor:
    """V2: gradient (P, 4C) of GELU's output of an image; those of w2, b2 and GRN are added. `g`, `d_out`, `w2` as in V1.

    An image at a time, because GRN's scale and its gradient are sums over the image. All follow from g'G and the sum of g.
    """
    assert p.grn_gamma is not None and p.grn_beta is not None and sums.grn_gamma is not None and sums.grn_beta is not None
    share, norm = _response(act)
    scale = 1 + p.grn_gamma * share
    product, total = (g.t() @ act).to(sums.dtype), g.sum(0, dtype=sums.dtype)  # g'G (C, 4C), sum of g (C,)
    d_w2 = product * scale + torch.outer(total, p.grn_beta.to(sums.dtype))
    sums.w2 = d_w2 if sums.w2 is None else sums.w2.add_(d_w2)
    sums.b2 += total
    scaled = p.w2.to(sums.dtype) if p.gamma is None else p.w2.to(sums.dtype) * p.gamma[:, None].to(sums.dtype)
    d_scale = (scaled * product).sum(0)
    sums.grn_gamma += d_scale * share
    sums.grn_beta += total @ scaled
    d_norm = _response_backward(d_scale * p.grn_gamma.to(sums.dtype), norm)
    d_act = linear(d_out, (w2 * scale.to(w2.dtype)).t())
    return torch.addcmul(d_act, act, (d_norm / norm.clamp_min(torch.finfo(sums.dtype).tiny)).to(act.dtype))


def _tiles(y: Tensor, p: Parameters, keep: Tensor | None) -> Iterator[tuple[int, slice]]:
    """(image, rows) of the flattened map: whole images, parts of one, or parts of all of them where images need not be told."""
    batch, pixels = len(y), y.shape[1] * y.shape[2]
    if keep is None and not p.has_grn:
        batch, pixels = 1, batch * pixels
    if batch * pixels == 0:
        return
    most = pixels if p.has_grn else max(TILE.get(y.device.type, TILE['cuda']) // len(p.w1), 1)
    count = -(-pixels // most)
    size = -(-pixels // count)
    for image in range(batch):
        for start in range(image * pixels, (image + 1) * pixels, size):
            yield image, slice(start, min(start + size, (image + 1) * pixels))


def _dropped(keep: Tensor | None, image: int) -> bool:
    """Whether an image's branch is dropped. Only asked of the CPU: elsewhere the answer would wait for the device."""
    return keep is not None and keep.device.type == 'cpu' and keep[image].item() == 0


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


def _normalise(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """LayerNorm of (P, C) in x's dtype, with mean and reciprocal deviation in float32."""
    if x.dtype == weight.dtype or x.device.type == 'cpu':  # its kernel takes 16-bit values with float32 weights
        return torch.native_layer_norm(x, x.shape[-1:], weight, bias, eps)
    out, mean, rstd = torch.native_layer_norm(x.to(weight.dtype), x.shape[-1:], weight, bias, eps)
    return out.to(x.dtype), mean, rstd


def _normalise_backward(
    grad: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    if x.dtype != weight.dtype and x.device.type != 'cpu':
        grad, x = grad.to(weight.dtype), x.to(weight.dtype)
    return torch.ops.aten.native_layer_norm_backward.default(grad, x, x.shape[-1:], mean, rstd, weight, bias, [True] * 3)


def _gelu(x: Tensor, used: Tensor | None) -> Tensor:
    """F.gelu of (P, 4C), into the memory of the tile before where it holds as much: fresh pages cost more than GELU does."""
    if used is None or used.shape[0] < x.shape[0]:
        return F.gelu(x)
    return torch.ops.aten.gelu.out(x, out=used[: len(x)])


def _plus(total: Tensor | None, a: Tensor, b: Tensor, dtype: torch.dtype, transposed: bool = False) -> Tensor:
    """total + a' b, in place where there is a total. Kept transposed, a wide result takes a tenth less time (measured)."""
    if total is not None and a.dtype == dtype:
        return total.addmm_(a.t(), b)
    product = ((b.t() @ a).t() if transposed else a.t() @ b).to(dtype)
    return product if total is None else total.add_(product)

"""Linear layers on the CPU by oneDNN's operator with what follows them folded in: GELU, or another map that is added.

PyTorch's own compiler emits the same operators. They are outside autograd; where oneDNN has none for the type or the processor,
the plain layers answer.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor


@cache
def onednn_computes(dtype: torch.dtype) -> bool:
    """Whether oneDNN's linear layer with its epilogues works in this type on this processor: tried once, on small products.

    It is the operator that PyTorch's own compiler emits on the CPU. Built in, it still refuses bfloat16 on processors without
    AVX-512, so that asking for it is the one sure answer.
    """
    if dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():
        return False
    generator = torch.Generator().manual_seed(0)
    x, weight, other = (torch.randn(*shape, generator=generator).to(dtype) for shape in ((24, 32), (16, 32), (24, 16)))
    try:
        with torch.no_grad(), torch.autocast('cpu', enabled=False):
            plain = F.linear(x, weight)
            ours = _onednn_linear(x, weight), _onednn_linear(x, weight, act='gelu'), _onednn_linear_add(x, weight, other)
            # Values of about 5, rounded to the type twice.
            pairs = zip(ours, (plain, F.gelu(plain), other + plain))
            return all(torch.allclose(a, b, rtol=0, atol=32 * torch.finfo(dtype).eps) for a, b in pairs)
    except (RuntimeError, AttributeError):  # no kernel for the processor; an operator of another name or signature
        return False


def _fused(x: Tensor) -> bool:
    return x.device.type == 'cpu' and onednn_computes(x.dtype)


def _onednn_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, act: str = 'none') -> Tensor:
    return torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, act, [], 'none' if act == 'gelu' else '')


def _onednn_linear_add(x: Tensor, weight: Tensor, other: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise.binary(x, other, weight, None, 'add')


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """F.linear of (P, in) outside autograd."""
    if _fused(x):
        return _onednn_linear(x, weight, bias)
    return F.linear(x, weight, bias)


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """F.gelu of F.linear of (P, in) outside autograd."""
    if _fused(x):
        return _onednn_linear(x, weight, bias, 'gelu')
    return F.gelu(F.linear(x, weight, bias))


def linear_add(x: Tensor, weight: Tensor, other: Tensor) -> Tensor:
    """other + F.linear of (P, in) outside autograd."""
    if _fused(x):
        return _onednn_linear_add(x, weight, other)
    return other + F.linear(x, weight)

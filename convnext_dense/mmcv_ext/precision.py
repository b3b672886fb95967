"""What precision torchvision's kernels are given."""

from __future__ import annotations

import torch
from torch import Tensor


def lift(tensor: Tensor) -> Tensor:
    """Float32 where torchvision has no kernel for the dtype (bfloat16 anywhere, float16 on the CPU)."""
    reduced = tensor.dtype == torch.bfloat16 or (tensor.dtype == torch.float16 and not tensor.is_cuda)
    return tensor.float() if reduced else tensor

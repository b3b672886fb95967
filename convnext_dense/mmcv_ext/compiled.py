"""mmcv's compiled operators, given the maps as they read them.

Most of their kernels take the pointer of a tensor and read it as contiguous (N, C, H, W), without a look at the strides: a
channels-last map gives other numbers, and no error. Here each call gets contiguous tensors, and what the kernel wrote goes back
into the caller's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

# Names of mmcv/ops/csrc/pytorch/pybind.cpp that no operator writes into; others are compared with what they were.
READ = {'input', 'grad_output', 'rois', 'offset', 'mask', 'weight', 'bias', 'features', 'masks', 'boxes', 'scores', 'value'}


def make_safe(module: ModuleType) -> None:
    """Let every function of a compiled `mmcv._ext` take tensors of any strides. Again: nothing changes."""
    for name, function in list(vars(module).items()):
        if callable(function) and not name.startswith('__') and not hasattr(function, '__wrapped__'):
            setattr(module, name, contiguous(function))


def contiguous(function: Callable[..., Any]) -> Callable[..., Any]:
    """The operator with contiguous copies in place of other tensors; what it writes into a copy is written into the tensor."""
    names = re.findall(r'(\w+): ', (function.__doc__ or '').split('\n')[0])  # pybind11 writes the signature there

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = [*zip(names + [''] * len(args), args), *kwargs.items()]
        strided = [(name, x) for name, x in given if isinstance(x, Tensor) and not x.is_contiguous()]
        if not strided:
            return function(*args, **kwargs)
        copies = {id(x): x.contiguous() for _, x in strided}
        result = function(*(copies.get(id(x), x) for x in args), **{key: copies.get(id(x), x) for key, x in kwargs.items()})
        with torch.no_grad():
            for name, x in strided:
                copy = copies[id(x)]
                if x.shape != copy.shape:  # CARAFE's buffers, which its kernel resizes
                    x.resize_(copy.shape).copy_(copy)
                # An input stays untouched, so that autograd does not take it for changed.
                elif name not in READ and not _same_bits(x, copy):
                    x.copy_(copy)
        return result

    return call


def _same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of a shape hold the same values; NaN is the same as itself."""
    return bool(((a == b) | ((a != a) & (b != b))).all())

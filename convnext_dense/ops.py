"""mmcv's compiled operators from torchvision's kernels, only where mmcv has none.

`mmcv.ops` looks its kernels up in the module `mmcv._ext`. mmcv-lite ships without it, and mmcv's sources do not compile
against current PyTorch. `install()` appends a finder (see `autoload`) to `sys.meta_path` that answers `mmcv._ext` after every
other finder has passed, so a compiled `_ext` always wins and is left untouched. Nothing else is patched.

Answered (`kernels.py`), forward and backward, on CPU and CUDA: nms, soft-nms, roi_align (average), sigmoid focal loss,
deformable convolution v1 and v2, multi-scale deformable attention. Every other operator raises NotImplementedError when called.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from convnext_dense import autoload
from convnext_dense.autoload import EXT
from convnext_dense.kernels import KERNELS


def install() -> None:
    """Let `mmcv._ext` be answered here where mmcv has no compiled one. Calling it again changes nothing."""
    autoload.install()


def ext_spec() -> ModuleSpec:
    """What the finder of `convnext_dense.autoload` answers with."""
    return ModuleSpec(EXT, _Loader())


def backend() -> str:
    """'mmcv' where mmcv's compiled operators are in use, 'torchvision' where this module answers for them."""
    module = sys.modules.get(EXT)
    spec = module.__spec__ if module is not None else importlib.util.find_spec(EXT)
    return 'torchvision' if spec is not None and isinstance(spec.loader, _Loader) else 'mmcv'


class _Loader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Ext(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__.update(KERNELS)


class _Ext(ModuleType):
    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith('__'):
            raise AttributeError(name)

        def missing(*args: Any, **kwargs: Any) -> None:
            raise NotImplementedError(
                f'mmcv operator {name!r} has no torchvision counterpart: it needs mmcv with compiled operators '
                f'(this is mmcv-lite; convnext_dense.ops answers {", ".join(sorted(KERNELS))})'
            )

        return missing

"""mmcv's compiled operators from torchvision's kernels, only where mmcv has none.

`mmcv.ops` looks its kernels up in the module `mmcv._ext`. mmcv-lite ships without it, and mmcv's sources do not compile
against current PyTorch. `install()` appends a finder to `sys.meta_path` that answers `mmcv._ext` after every other finder
has passed, so a compiled `_ext` always wins and is left untouched. Nothing else is patched.

The entry scripts of MMDetection and MMSegmentation import `mmcv.ops` before they read a config's `custom_imports`. Installing
the package therefore puts `convnext_dense_autoload.pth` into site-packages: one line, which appends such a finder when Python
starts. It opens no file and imports nothing until somebody asks for `mmcv._ext` and nobody else has it; then it imports this
module. CONVNEXT_DENSE_AUTOLOAD=0 in the environment switches it off. From a clone that is not installed:
`python -m convnext_dense SCRIPT ARGUMENTS`.

Answered (`kernels.py`), forward and backward, on CPU and CUDA: nms, soft-nms, roi_align (average), sigmoid focal loss,
deformable convolution v1 and v2, multi-scale deformable attention. Every other operator raises NotImplementedError when called.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from convnext_dense.kernels import KERNELS

EXT = 'mmcv._ext'


def install() -> None:
    """Let `mmcv._ext` be answered here where mmcv has no compiled one. Calling it again changes nothing."""
    if not any(getattr(finder, 'answers', None) == EXT for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


def ext_spec() -> ModuleSpec:
    """What a finder answers `mmcv._ext` with; the .pth line calls it too."""
    return ModuleSpec(EXT, _Loader())


def backend() -> str:
    """'mmcv' where mmcv's compiled operators are in use, 'torchvision' where this module answers for them."""
    module = sys.modules.get(EXT)
    spec = module.__spec__ if module is not None else importlib.util.find_spec(EXT)
    return 'torchvision' if spec is not None and isinstance(spec.loader, _Loader) else 'mmcv'


class _Finder(MetaPathFinder):
    answers = EXT

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ext_spec() if fullname == EXT else None


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

"""The finder that answers `mmcv._ext` after every other finder has passed, and the module that it answers with."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from convnext_dense.mmcv_ext.operators import OPERATORS

EXT = 'mmcv._ext'


def install() -> None:
    """Let `mmcv._ext` be answered here where mmcv has no compiled one. Calling it again changes nothing."""
    if not any(getattr(finder, 'answers', None) == EXT for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


def ext_spec() -> ModuleSpec:
    """What a finder answers `mmcv._ext` with; the .pth line calls it too."""
    return ModuleSpec(EXT, _Loader())


def backend() -> str:
    """'mmcv' where mmcv's compiled operators are in use, 'torchvision' where this package answers for them."""
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
        module.__dict__.update(OPERATORS)


class _Ext(ModuleType):
    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith('__'):
            raise AttributeError(name)

        def missing(*args: Any, **kwargs: Any) -> None:
            raise NotImplementedError(
                f'mmcv operator {name!r} has no torchvision counterpart: it needs mmcv with compiled operators '
                f'(this is mmcv-lite; convnext_dense.ops answers {", ".join(sorted(OPERATORS))})'
            )

        return missing

"""The finder that answers `mmcv._ext`: mmcv's compiled operators, guarded, and this package's where there are none."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from itertools import takewhile
from types import ModuleType
from typing import Any

from convnext_dense.errors import reason
from convnext_dense.mmcv_ext.compiled import make_safe
from convnext_dense.mmcv_ext.operators import OPERATORS

EXT = 'mmcv._ext'


def install() -> None:
    """Answer `mmcv._ext` from here, and guard a compiled one that is imported already. Calling it again changes nothing."""
    first = takewhile(lambda finder: finder is not PathFinder, sys.meta_path)
    if not any(getattr(finder, 'answers', None) == EXT for finder in first):
        sys.meta_path.insert(0, _Finder())
    module = sys.modules.get(EXT)
    if module is not None and not isinstance(module, _Ext):
        make_safe(module)


def ext_spec(path: Any = None) -> ModuleSpec:
    """What a finder answers `mmcv._ext` with, `path` being mmcv's; the .pth line calls it too."""
    for finder in sys.meta_path:
        if getattr(finder, 'answers', None) != EXT and hasattr(finder, 'find_spec'):
            found = finder.find_spec(EXT, path)
            if found is not None and found.loader is not None:
                found.loader = _Guarded(found.loader)
                return found
    return ModuleSpec(EXT, _Loader())


def backend() -> str:
    """'mmcv' where mmcv's compiled operators are in use, 'torchvision' where this package answers for them."""
    import mmcv._ext as module

    return 'torchvision' if isinstance(module, _Ext) else 'mmcv'


class _Finder(MetaPathFinder):
    answers = EXT

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ext_spec(path) if fullname == EXT else None


class _Loader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Ext(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__.update(OPERATORS)


class _Guarded(Loader):
    """Loads a compiled `mmcv._ext`, or, where it was compiled for another PyTorch, this package's."""

    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        try:
            return self.compiled.create_module(spec)
        except (ImportError, OSError) as error:
            import torch

            warnings.warn(
                f'{spec.origin} does not load with PyTorch {torch.__version__} ({reason(error)}): the operators of '
                'convnext_dense answer in its place; install mmcv-lite, or an mmcv that was compiled for this PyTorch',
                stacklevel=2,
            )
            return _Ext(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        if isinstance(module, _Ext):
            module.__dict__.update(OPERATORS)
            return
        self.compiled.exec_module(module)
        make_safe(module)


class _Ext(ModuleType):
    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith('__'):
            raise AttributeError(name)

        def missing(*args: Any, **kwargs: Any) -> None:
            raise NotImplementedError(
                f'mmcv operator {name!r} is not among those that convnext_dense answers: it needs mmcv with compiled operators '
                'for this PyTorch; convnext_dense.ops.missing(model) names all that a model lacks'
            )

        return missing

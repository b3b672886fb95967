"""Which of mmcv's operators a model will call, read off its classes before it runs."""

from __future__ import annotations

import dis
import inspect
import sys
from collections.abc import Iterator
from itertools import pairwise
from types import CodeType, FunctionType, ModuleType
from typing import Any

from torch import nn
from torch.autograd import Function

OPERATORS, EXT_MODULE = 'mmcv.ops', 'ext_module'  # the package, and what its files call `mmcv._ext`
FRAMEWORKS = {'mmcv', 'mmdet', 'mmseg', 'mmrotate', 'mmpretrain', 'convnext_dense'}  # whose functions are followed
PLAIN = {'torch', 'torchvision', 'mmengine', 'timm', 'transformers', *sys.stdlib_module_names}  # which call none of them


def needed(model: nn.Module) -> dict[str, str]:
    """Names of `mmcv._ext`'s functions, each with the class in the model that leads to it.

    Followed are the classes of the model's parts (modules, and the samplers, assigners and coders that they hold), those
    of the user's own packages, too, the functions that these name, and mmcv's wrappers. What is chosen by a string or
    imported while it runs is not seen.
    """
    found: dict[str, str] = {}
    packages = FRAMEWORKS | {_package(cls) for module in model.modules() for cls in type(module).__mro__} - PLAIN
    for cls in sorted(_classes(model, packages), key=lambda cls: f'{cls.__module__}.{cls.__qualname__}'):
        for name in sorted(_reached(cls, packages)):
            found.setdefault(name, f'{cls.__module__}.{cls.__qualname__}')
    return found


def _package(thing: Any) -> str:
    return str(getattr(thing, '__module__', '')).partition('.')[0]


def _classes(model: nn.Module, packages: set[str]) -> set[type]:
    """Of the modules, and of the objects of these packages among their attributes, to any depth."""
    found: set[type] = set()
    seen: set[int] = set()
    left: list[Any] = list(model.modules())
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        found.add(type(one))
        for value in vars(one).values():
            value = list(value.values()) if isinstance(value, dict) else value
            for part in value if isinstance(value, (list, tuple)) else [value]:
                if hasattr(part, '__dict__') and not isinstance(part, type) and _package(type(part)) in packages:
                    left.append(part)
    return {cls for cls in found if _package(cls) in packages}


def _reached(cls: type, packages: set[str]) -> set[str]:
    """Operators that the methods of a class lead to."""
    found: set[str] = set()
    seen: set[Any] = set()
    left: list[Any] = [cls]
    while left:
        thing = left.pop()
        if thing in seen:
            continue
        seen.add(thing)
        if isinstance(thing, type):
            left += [value for base in thing.__mro__ if _package(base) in packages for value in _functions(base)]
            continue
        code = list(_instructions(thing.__code__))
        found |= {after for name, after in pairwise(code) if name == EXT_MODULE and _in_operators(thing)}
        values = [thing.__globals__.get(name) for name in {*code}]
        values += [getattr(thing.__globals__.get(name), after, None) for name, after in pairwise(code) if _module(thing, name)]
        left += [other for value in values for other in _followed_from(value, packages)]
    return found


def _functions(cls: type) -> Iterator[FunctionType]:
    """Of a class, its own methods without their decorators."""
    for value in vars(cls).values():
        value = value.fget if isinstance(value, property) else getattr(value, '__func__', value)
        if isinstance(value := inspect.unwrap(value) if callable(value) else value, FunctionType):
            yield value


def _instructions(code: CodeType) -> Iterator[str]:
    """Names in the order in which they are loaded, of inner functions, too."""
    for instruction in dis.get_instructions(code):
        if instruction.opname.startswith('LOAD_') and isinstance(instruction.argval, str):
            yield instruction.argval
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from _instructions(part)


def _module(function: FunctionType, name: str) -> bool:
    """Whether a function calls a module by this name."""
    return isinstance(function.__globals__.get(name), ModuleType)


def _followed_from(value: Any, packages: set[str]) -> list[Any]:
    """A function of these packages, or mmcv's autograd function that a name stands for."""
    owner = getattr(value, '__self__', value)  # `apply` of an autograd function
    if isinstance(owner, type) and issubclass(owner, Function) and _in_operators(owner):
        return [owner]
    value = inspect.unwrap(value) if callable(value) else value
    return [value] if isinstance(value, FunctionType) and _package(value) in packages else []


def _in_operators(thing: Any) -> bool:
    return str(thing.__module__).startswith(OPERATORS)

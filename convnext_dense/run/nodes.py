"""Walking through a config: its entries, the class behind each `type`, and what the runner reads of it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import root as registries
from mmengine.registry.registry import Registry
from mmengine.runner import Runner

TOP_LEVEL = (  # read by the tools, or by mmengine's runner from the whole config
    'auto_scale_lr',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'custom_imports',
    'tta_model',
    'tta_pipeline',
    'activation_checkpointing',
    'efficient_conv_bn_eval',
    'compile',
)


def top_level() -> set[str]:
    """The entries that the runner and the tools read."""
    return set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'} | set(TOP_LEVEL)


def leaves(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every entry of a config, those that hold others included."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, value in items:
        inner = f'{path}.{key}' if path else str(key)
        yield inner, value
        yield from leaves(value, inner)


def component(cls: Any, scope: str | None = None) -> Any:
    """The class behind a config's `type`, from whichever registry of `scope` or mmengine has it; None if there is none."""
    if not isinstance(cls, str):
        return cls
    if not re.fullmatch(r'\w+(\.\w+)*', cls):  # a registry would take what is before a dot for a package
        return None
    if scope is not None:
        import_module(f'{scope}.registry')
    for root in vars(registries).values():
        if isinstance(root, Registry):
            found = root.children.get(scope, root).get(cls)
            if found is not None:
                return found
    return None


def parameters(cls: type) -> set[str]:
    """Names that a class's `__init__` and those of the classes above it take, `self` and the like included."""
    makers = [vars(base)['__init__'] for base in cls.__mro__ if '__init__' in vars(base)]
    return {name for make in makers for name in inspect.signature(make).parameters}


def dicts(node: Any) -> Iterator[ConfigDict]:
    """Every dict in a config, outermost first."""
    if isinstance(node, Config):
        node = node._cfg_dict
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from dicts(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from dicts(value)

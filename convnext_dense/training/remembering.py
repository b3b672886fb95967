"""What keeps something of earlier samples, so that a run cannot go on exactly: it is named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

# Transforms with a cache of samples or a generator of their own; batch augmentations that keep the size they drew.
NAMES = ('CachedMosaic', 'CachedMixUp', 'Albu', 'BatchSyncRandomResize')


def remembering(dataset: Any, model: nn.Module) -> list[str]:
    """Names of the steps of the data set's pipelines and of the model's preprocessors that are among `NAMES`."""
    found = {type(step).__name__ for step in _steps(dataset)}
    for module in model.modules():
        found |= {type(one).__name__ for one in getattr(module, 'batch_augments', None) or ()}
    return sorted(found & {*NAMES})


def _steps(node: Any) -> Iterator[Any]:
    """The transforms of a data set, of those in it and of those in them."""
    for name in ('pipeline', 'transforms', 'dataset', '_dataset', 'datasets'):
        inner = vars(node).get(name) if hasattr(node, '__dict__') else None
        for one in inner if isinstance(inner, (list, tuple)) else [inner]:
            if one is not None and not isinstance(one, (dict, str)):
                yield one
                yield from _steps(one)

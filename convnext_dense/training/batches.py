"""What a batch of any data loader holds: its data samples, the paths and the sizes of its pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.structures import BaseDataElement
from torch import Tensor

from convnext_dense.text import listed

FEW = 4  # pictures that a line names


def parts_of(node: Any) -> Iterator[Any]:
    """Every part of nested dicts and sequences that is neither, and every dict."""
    if isinstance(node, Mapping):
        yield node
        for value in node.values():
            yield from parts_of(value)
    elif isinstance(node, Sequence) and not isinstance(node, (str, bytes)):
        for value in node:
            yield from parts_of(value)
    else:
        yield node


def samples_of(batch: Any) -> list[BaseDataElement]:
    """The data samples of a batch, of its branches, too; none of a batch without."""
    return [part for part in parts_of(batch) if isinstance(part, BaseDataElement)]


def pictures_of(batch: Any) -> list[str]:
    """Paths of a batch's pictures, as far as its data samples or its dicts have an `img_path`."""
    found: list[str] = []
    for part in parts_of(batch):
        path = part.get('img_path') if isinstance(part, (Mapping, BaseDataElement)) else None
        found += [path] if isinstance(path, str) else [one for one in parts_of(path) if isinstance(one, str)]
    return found


def shapes_of(batch: Any) -> list[tuple[int, ...]]:
    """Of each picture of a batch, (C, H, W): those under `inputs`, or where there are none, every tensor of three dimensions or
    more. Pictures that are stacked count one by one."""
    inputs = batch.get('inputs', batch) if isinstance(batch, Mapping) else batch
    found: list[tuple[int, ...]] = []
    for part in parts_of(inputs):
        if isinstance(part, Tensor) and part.ndim >= 3:
            found += [tuple(part.shape)] if part.ndim == 3 else [tuple(part.shape[1:])] * len(part)
    return found


def named_pictures(batch: Any) -> str:
    """A batch's pictures for a message, a few by path and the others as a number."""
    return listed(pictures_of(batch), FEW) or 'unknown'

"""A copy in memory of what a checkpoint will hold, so that training may change everything while it is written."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def snapshot(content: dict[str, Any], copied: bool = True) -> dict[str, Any]:
    """`content` apart from the run: tensors copied to the CPU, everything else copied as `copy.deepcopy` does.

    Containers keep their classes, and state dicts their `_metadata`. Tensors that shared all of a storage share one again; a
    view of a part gets a storage of its own size. The same archive is written of it with `copied` and without.

    Args:
        content: of a checkpoint.
        copied: False to leave tensors where they are, but for views of a part of a storage.
    """
    memo: dict[int, Any] = {}
    storages: dict[Any, Tensor] = {}
    for tensor in _tensors(content):
        if id(tensor) not in memo:
            memo[id(tensor)] = _taken(tensor, copied, storages)
    return copy.deepcopy(content, memo)


def _taken(tensor: Tensor, copied: bool, storages: dict[Any, Tensor]) -> Tensor:
    """A tensor on the CPU whose storage is its own, or that of others which shared all of it before."""
    tensor = tensor.detach()
    values, rest = divmod(tensor.untyped_storage().nbytes(), tensor.element_size())
    if rest or values != tensor.numel():
        return tensor.clone().cpu()
    key = _key(tensor)
    if key not in storages:
        storages[key] = tensor.as_strided((values,), (1,), 0).to('cpu', copy=copied)
    return storages[key].as_strided(tensor.size(), tensor.stride(), 0)


def _key(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.device, tensor.untyped_storage().data_ptr(), tensor.dtype


def size_of(content: Mapping[str, Any]) -> int:
    """Bytes of all tensors; a storage counts once."""
    return sum({_key(tensor): tensor.numel() * tensor.element_size() for tensor in _tensors(content)}.values())


def _tensors(node: Any) -> Iterator[Tensor]:
    """The plain tensors in dicts, lists and tuples; sparse ones and subclasses copy themselves."""
    if type(node) in (Tensor, nn.Parameter) and node.layout == torch.strided and not node.is_quantized:
        yield node
    elif isinstance(node, Mapping):
        for value in node.values():
            yield from _tensors(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _tensors(value)


def available_memory(proc: str = '/proc', cgroups: str = '/sys/fs/cgroup') -> int:
    """Bytes that this process may still take: of the machine, and of its control group where that has a limit; 0 if unknown."""
    found = []
    with suppress(OSError, ValueError):
        words = dict(line.split(':', 1) for line in Path(proc, 'meminfo').read_text().splitlines())
        found.append(int(words['MemAvailable'].split()[0]) * 1024)
    with suppress(OSError, ValueError):
        for line in Path(proc, 'self/cgroup').read_text().splitlines():
            _, names, inner = line.split(':', 2)
            if names == '':
                found += _left(Path(cgroups), inner, 'memory.max', 'memory.current', 'inactive_file')
            elif 'memory' in names.split(','):
                usage = 'memory.usage_in_bytes'
                found += _left(Path(cgroups, 'memory'), inner, 'memory.limit_in_bytes', usage, 'total_inactive_file')
    return max(min(found, default=0), 0)


def _left(root: Path, inner: str, limit: str, usage: str, cache: str) -> Iterator[int]:
    """What a control group and those around it leave; pages of files that can be dropped are not in use."""
    group = Path(inner.lstrip('/'))
    for folder in (root / part for part in (group, *group.parents)):
        with suppress(OSError, ValueError):
            most = int((folder / limit).read_text())
            rows = dict(line.split() for line in (folder / 'memory.stat').read_text().splitlines())
            yield most - int((folder / usage).read_text()) + int(rows.get(cache, 0))

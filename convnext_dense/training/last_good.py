"""The checkpoint that a run goes on from: the one that `last_checkpoint` names if it is whole, else the newest whole one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from convnext_dense.training.checkpoint_file import POINTER, opened
from convnext_dense.weights.checkpoint_types import allow_checkpoint_types
from convnext_dense.weights.open import kind_of_path, reason, shown


def last_good(folder: str | os.PathLike[str]) -> tuple[str | None, list[str]]:
    """The path of the training checkpoint in `folder` to go on from, or None; and lines on what was passed over, and why.

    The newest is that of the highest iteration, by its content: clocks and names are not asked. Every candidate is verified.
    """
    named, why = _pointed(Path(folder))
    if named is not None:
        problem = training_problem(named)
        if problem is None:
            return str(named), []
        why = problem
    lines = [f'{shown(named or Path(folder, POINTER))} is passed over: {why}']
    newest, more = newest_good(folder, without=named)
    if newest is None and named is None and not more:
        return None, []  # nothing has been saved there
    return newest, lines + more


def newest_good(folder: str | os.PathLike[str], without: Path | None = None) -> tuple[str | None, list[str]]:
    """The whole training checkpoint of the highest iteration among the *.pth of `folder`; lines as those of `last_good`."""
    lines, found = [], []
    for path in sorted(Path(folder).glob('*.pth')):
        if (without is not None and path.name == without.name) or kind_of_path(path) != 'file':
            continue
        where, why = _progress(path)
        if why is None:
            found.append((where, path))
        else:
            lines.append(f'{shown(path)} is passed over: {why}')
    for _, path in sorted(found, reverse=True):
        why = training_problem(path)
        if why is None:
            return str(path), lines
        lines.append(f'{shown(path)} is passed over: {why}')
    return None, lines


def training_problem(path: str | os.PathLike[str]) -> str | None:
    """Why a run cannot go on from the checkpoint, in a few words; None if it can."""
    content, why = opened(path)
    return why if why is not None else _progress_of(content)[1]


def _pointed(folder: Path) -> tuple[Path | None, str]:
    """The file that `last_checkpoint` names, in this folder or, as seen from where training was started, elsewhere."""
    pointer = folder / POINTER
    try:
        text = pointer.read_text().strip()
    except FileNotFoundError:
        return None, 'it is not there'
    except (OSError, ValueError) as error:
        return None, f'it cannot be read ({reason(error)})'
    if not text or '\0' in text:
        return None, 'it is empty' if not text else 'it holds no path'
    here = folder / os.path.basename(text)
    found = here if kind_of_path(here) == 'file' else Path(text)
    if kind_of_path(found) != 'file':
        return None, f'it names {shown(text)}, which is not there'
    return found, ''


def _progress(path: Path) -> tuple[tuple[int, int], str | None]:
    """(iteration, epoch) of a checkpoint, without reading its tensors; or why it has none."""
    try:
        allow_checkpoint_types()
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            content = torch.load(path, map_location='cpu', weights_only=True, mmap=True)
    except Exception as error:  # a broken file can raise anything
        return (0, 0), opened(path)[1] or reason(error)
    return _progress_of(content)


def _progress_of(content: Any) -> tuple[tuple[int, int], str | None]:
    meta = content.get('meta') if isinstance(content, Mapping) else None
    numbers = [meta.get(key) if isinstance(meta, Mapping) else None for key in ('iter', 'epoch')]
    if not all(isinstance(number, int) for number in numbers) or 'optimizer' not in content:
        return (0, 0), 'it is no training checkpoint, which has an optimizer and an iteration'
    return (numbers[0], numbers[1]), None  # type: ignore[return-value]

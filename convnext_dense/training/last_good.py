"""The checkpoint that a run goes on from: the one that `last_checkpoint` names if it is whole, else the newest whole one."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from convnext_dense.errors import reason
from convnext_dense.training.checkpoint_file import POINTER, opened
from convnext_dense.training.run_id import of_another_run, run_of
from convnext_dense.weights.checkpoint_types import allow_checkpoint_types
from convnext_dense.weights.open import kind_of_path, shown

OF_TRAINING = re.compile(r'(iter|epoch)_\d+\.pth')  # names that checkpoints of training have
FOREIGN = 'it is of another run'


@dataclass
class Found:
    """The training checkpoint to go on from.

    Attributes:
        path: of it, or None.
        lines: on what was passed over, and why.
        lost: those of them that were written by training and cannot be gone on from.
    """

    path: str | None = None
    lines: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def pass_over(self, path: Path, why: str, pointed: bool = False) -> None:
        self.lines.append(f'{shown(path)} is passed over: {why}')
        if why != FOREIGN and (pointed or OF_TRAINING.fullmatch(path.name)):
            self.lost.append(str(path))


def last_good(folder: str | os.PathLike[str], beside: str | os.PathLike[str] | None = None) -> Found:
    """The training checkpoint to go on from of the run that trained last in the work directory `folder`.

    The newest is that of the highest iteration, by its content: clocks and names are not asked. Every candidate is verified.
    They are in `folder`, where its `last_checkpoint` says, and in `beside`, a folder of checkpoints that it may be without.
    """
    folder = Path(folder)
    named, why = _pointed(folder)
    there = named is not None and kind_of_path(named) == 'file'
    if named is not None and there:
        problem = training_problem(named, run_of(folder))
        if problem is None:
            return Found(str(named))
        why = problem
    found = Found()
    if named is not None and there:
        found.pass_over(named, why, pointed=True)
    else:
        found.pass_over(folder / POINTER, why, pointed=named is not None)
    others = [*([named.parent] if named and named.parent.name else []), *([beside] if beside else [])]
    newest = newest_good(folder, *others, without=named)
    if newest.path is None and named is None and not newest.lines:
        return Found()  # nothing has been saved there
    return Found(newest.path, found.lines + newest.lines, found.lost + newest.lost)


def newest_good(folder: str | os.PathLike[str], *others: str | os.PathLike[str], without: Path | None = None) -> Found:
    """The whole training checkpoint of the highest iteration among the *.pth of `folder`, of the run that trained last there.

    `others` are folders that are searched, too; `without` is a file that is not.
    """
    found, candidates, run = Found(), [], run_of(folder)
    leave = None if without is None else os.path.realpath(without)
    for one in {os.path.realpath(each): Path(each) for each in reversed((folder, *others))}.values():
        for path in sorted(one.glob('*.pth')):
            if os.path.realpath(path) == leave or kind_of_path(path) != 'file':
                continue
            where, why = _progress(path, run)
            if why is None:
                candidates.append((where, path))
            else:
                found.pass_over(path, why)
    for _, path in sorted(candidates, reverse=True):
        why = training_problem(path)
        if why is None:
            found.path = str(path)
            break
        found.pass_over(path, why)
    return found


def training_problem(path: str | os.PathLike[str], run: str | None = None) -> str | None:
    """Why `run`, or any, cannot go on from the checkpoint, in a few words; None if it can."""
    content, why = opened(path)
    return why if why is not None else _progress_of(content, run)[1]


def glance(path: str | os.PathLike[str]) -> tuple[Mapping[str, Any], str | None]:
    """The content of a checkpoint, without reading its tensors or comparing checksums; or why it has none."""
    try:
        allow_checkpoint_types()
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            content = torch.load(path, map_location='cpu', weights_only=True, mmap=True)
    except Exception as error:  # a broken file can raise anything
        return {}, opened(path)[1] or reason(error)
    return content if isinstance(content, Mapping) else {}, None


def meta_of(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """The entry `meta` of a checkpoint; empty where there is none to read."""
    meta = glance(path)[0].get('meta')
    return meta if isinstance(meta, Mapping) else {}


def _pointed(folder: Path) -> tuple[Path | None, str]:
    """The file that `last_checkpoint` names, in this folder or, as seen from where training was started, elsewhere.

    And what is wrong with it, where it is not there.
    """
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
    return found, f'it names {shown(text)}, which is not there'


def _progress(path: Path, run: str | None) -> tuple[tuple[int, int], str | None]:
    """(iteration, epoch) of a checkpoint of `run`, without reading its tensors; or why it has none."""
    content, why = glance(path)
    return ((0, 0), why) if why is not None else _progress_of(content, run)


def _progress_of(content: Any, run: str | None) -> tuple[tuple[int, int], str | None]:
    meta = content.get('meta') if isinstance(content, Mapping) else None
    numbers = [meta.get(key) if isinstance(meta, Mapping) else None for key in ('iter', 'epoch')]
    if not all(isinstance(number, int) for number in numbers) or 'optimizer' not in content:
        return (0, 0), 'it is no training checkpoint, which has an optimizer and an iteration'
    if of_another_run(meta, run):  # type: ignore[arg-type]
        return (0, 0), FOREIGN
    return (numbers[0], numbers[1]), None  # type: ignore[return-value]

"""From any layout into another, bit for bit, and what a file is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from convnext_dense.errors import InputError, reason
from convnext_dense.files import partial_file
from convnext_dense.text import listed
from convnext_dense.weights.fetch import open_resolved
from convnext_dense.weights.layouts import LAYOUTS, Found, StateDict, from_official, recognise, to_official
from convnext_dense.weights.match import OUTPUT_NORMS, arch_of, check_pairs, check_values, match_itself, misfit, not_known
from convnext_dense.weights.open import about, shown, state_dict_of
from convnext_dense.weights.stats import expected_stats
from convnext_dense.weights.whole import from_whole, model_type_of, to_whole

TARGETS = ('official', 'timm', 'torchvision', 'transformers', 'openmmlab')
WHOLE_TARGETS = ('official', 'openmmlab', 'transformers')  # that have names for segmentors; detectors: the first two
V1_ONLY = ('torchvision',)
SUFFIXES = ('.safetensors', '.pth', '.pt', '.bin')


@dataclass(frozen=True)
class Converted:
    """The weights in the target's layout, the names of what it has no place for, and what they were."""

    state: StateDict
    left_out: list[str]
    source: str
    size: str


def convert(state: Mapping[str, Tensor], to: str) -> Converted:
    """A state dict of any layout in the layout `to`, one of `TARGETS`; whole models where the target has them.

    Raises:
        InputError: if it is of no known layout, its backbone is not whole, or the target has no such model.
    """
    if to not in TARGETS:
        raise InputError(f'--to: expected one of {", ".join(TARGETS)}, got {to!r}')
    state = state_dict_of(state)
    found = check_whole(state)
    if found.grn and to in V1_ONLY:
        raise InputError(f'--to {to}: expected V1 weights, got V2, which {to} does not have')
    whole = to_whole(state)
    if whole is not None:
        detector = whole.model_type != 'a segmentor'
        if to not in WHOLE_TARGETS or (detector and to == 'transformers'):
            why = f'expected a backbone, got {whole.model_type}, which {to} does not have'
            raise InputError(f'--to {to}: {why}; convert it to official or openmmlab')
        check_pairs(whole.state)
        check_values(whole.state)
        converted, left_out = from_whole(whole, to)
        return Converted(converted, left_out, found.layout.name, size_of(found))
    official, rest = to_official(state, found)
    theirs, no_place = from_official(official, LAYOUTS[to], found.depths, found.grn)
    prefix = {'transformers': 'convnextv2.' if found.grn else 'convnext.'}.get(to, '')
    if prefix and 'head.weight' in official:  # a classifier: the backbone has a prefix, its head has none
        theirs = {name if name.startswith('classifier.') else prefix + name: value for name, value in theirs.items()}
    return Converted(theirs, sorted([*rest, *no_place]), found.layout.name, size_of(found))


def check_whole(state: Mapping[str, Tensor]) -> Found:
    """What a state dict was recognised as, if nothing of its backbone, output norms and classification head is wrong.

    Raises:
        InputError: if something is missing, unexpected, of another shape than its depths and widths say, or no finite float.
    """
    match = match_itself(state)
    if not match.fits:
        size = f'depths {match.found.depths}, dims {match.found.dims}, {match.found.version}, layout {match.found.layout.name}'
        raise InputError(f'expected a whole backbone of {size}; got {misfit(match)}; take the whole file')
    check_values(match.tensors)
    return match.found


def size_of(found: Found) -> str:
    """The size and version in a few words."""
    name = arch_of(found) or f'of no published size: depths {found.depths}, dims {found.dims}'
    return f'{name}, {found.version}'


def check_target(path: str | os.PathLike[str]) -> Path:
    """Where weights can be written: a new file in an existing folder."""
    try:
        out = Path(path)
        out.lstat()  # a link into nothing is there, too
        there = True
    except FileNotFoundError:
        there = False
    except (OSError, TypeError, ValueError) as error:
        raise InputError(f'OUT: expected the path of a new file, got {shown(path)}: {reason(error)}') from error
    if out.suffix not in SUFFIXES or there or not out.parent.is_dir():
        raise InputError(f'OUT: expected a new file in an existing folder, ending in {", ".join(SUFFIXES)}; got {shown(out)}')
    return out


def write(state: StateDict, path: str | os.PathLike[str]) -> None:
    """Write weights as .safetensors, or as .pth under `state_dict`, in one move; where that fails, nothing is left.

    Raises:
        InputError: if the file is there, its folder is not, or it cannot be written.
    """
    path = check_target(path)
    wrong = state if not isinstance(state, Mapping) else [v for v in state.values() if not isinstance(v, Tensor)]
    if not isinstance(state, Mapping) or wrong:
        got = type(state).__name__ if not isinstance(state, Mapping) else f'one that holds {type(wrong[0]).__name__}'
        raise InputError(f'weights to write: expected a dict of tensors, got {got}; take a state dict')
    state = {name: value.contiguous().clone() for name, value in state.items()}
    try:
        with partial_file(path) as partial:
            if path.suffix == '.safetensors':
                from safetensors.torch import save_file

                save_file(state, partial, metadata={'format': 'pt'})
            else:
                with open(partial, 'wb') as file:  # given a path, PyTorch would write its name into the file
                    torch.save({'state_dict': state}, file)
    except Exception as error:  # each library has its own for a full disk
        why = f'cannot be written ({reason(error)}); check the space and the permissions of {shown(path.parent.resolve())}'
        raise InputError(f'OUT: {shown(path)} {why}') from error


def inspect(checkpoint: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """What a file is, as rows of a name and a value."""
    path, content = open_resolved(checkpoint)
    with about(path):
        state = state_dict_of(content)
        found = recognise(state)
        if found is None:
            raise InputError(not_known(state))
    try:
        check_whole(state)
        verdict = 'yes'
    except InputError as error:
        verdict = f'no: {error}'
    official, rest = to_official(state, found)
    model_type = model_type_of(state)
    norms = sorted({name.split('.')[0] for name in official if name.startswith(OUTPUT_NORMS)})
    heads = sorted({name.split('.')[0] for name in rest} | {'head' for name in official if name.startswith('head.')})
    stats = expected_stats(path, state, found)
    size = sum(value.numel() for value in state.values())
    classifier = ' with a classification head' if 'head.weight' in official else ''
    return [
        ('layout', f'{found.layout.name} ({found.layout.title})'),
        ('arch', size_of(found)),
        ('model', model_type or f'a backbone{classifier}'),
        ('whole', verdict),
        ('prefix', found.prefix or 'none'),
        ('tensors', f'{len(state)}, {size / 1e6:.3f} M numbers, {listed(sorted({str(v.dtype) for v in state.values()}))}'),
        ('output norms', listed(norms) or 'none'),
        ('beside the backbone', listed(heads) or 'nothing'),
        ('image mean and std', f'{stats[0]}, {stats[1]}' if stats else 'not told by the file'),
    ]

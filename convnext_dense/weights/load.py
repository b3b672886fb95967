"""Load published weights into a backbone or a whole model: recognised, complete, reported as "loaded N of N", or not at all.

Anything missing but output norms, any shape that differs and any name that is neither the backbone's nor a known head's stops
the run with a list. Output norms that a file lacks stay as initialised and are named; heads are left out and named.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from convnext_dense.errors import InputError
from convnext_dense.models.convnext import ARCHS, ConvNeXt
from convnext_dense.text import listed
from convnext_dense.weights.layouts import LAYOUTS, Found, StateDict, recognise, to_official
from convnext_dense.weights.open import open_checkpoint, resolve, state_dict_of
from convnext_dense.weights.whole import CLASS_LAYERS, HEADS, kind_of, to_whole

LEFT_OUT = ('norm.', 'head.')  # the classification head, under its official name
OUTPUT_NORMS = ('norm0.', 'norm1.', 'norm2.', 'norm3.')


@dataclass(frozen=True)
class Match:
    """How a state dict fits a model."""

    tensors: StateDict
    missing: list[str]
    unexpected: list[str]
    shapes: list[str]
    left_out: list[str]
    total: int
    found: Found | None = None

    @property
    def fits(self) -> bool:
        return not (self.missing or self.unexpected or self.shapes)


def not_known(state: Mapping[str, Tensor]) -> str:
    """What is said of a state dict in no known layout."""
    known = ', '.join(LAYOUTS)
    return f'expected ConvNeXt weights in one of the layouts {known}; got tensors named {listed(state, 4) or "(none)"}'


def match_backbone(state: Mapping[str, Tensor], backbone: ConvNeXt) -> Match:
    """Sort a state dict's entries by what becomes of them in `backbone`. Nothing is loaded.

    Raises:
        InputError: if it is of no known layout, or of the other version.
    """
    found = recognise(state)
    if found is None:
        raise InputError(not_known(state))
    if found.grn != backbone.use_grn:
        raise InputError(
            f'expected V{1 + backbone.use_grn} weights, got {found.version}; set use_grn={found.grn} in the backbone'
        )
    official, rest = to_official(state, found)
    own = backbone.state_dict()
    wanted = {name for name in own if not name.startswith(OUTPUT_NORMS)}
    # A backbone with fewer out_indices has fewer output norms: the file's others are left out.
    left_out = [name for name in official if name not in own and name.startswith((*LEFT_OUT, *OUTPUT_NORMS))]
    known = (*HEADS, *found.layout.beyond, *(found.prefix + name for name in found.layout.beyond))
    left_out += [name for name in rest if name.startswith(known)]
    unexpected = [name for name in official if name not in own and name not in left_out]
    unexpected += [name for name in rest if not name.startswith(known)]
    tensors = {name: value for name, value in official.items() if name in own}
    return Match(
        tensors, sorted(wanted - set(official)), unexpected, _other_shapes(own, official), left_out, len(wanted), found
    )


def _other_shapes(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    return [
        f'{name} is {tuple(given[name].shape)}, expected {tuple(own[name].shape)}'
        for name in own
        if name in given and own[name].shape != given[name].shape
    ]


def arch_of(found: Found) -> str | None:
    """The name in `ARCHS` that the weights were made from."""
    size = (found.depths, found.dims)
    return next((name for name, arch in ARCHS.items() if (arch.depths, arch.dims) == size), None)


@dataclass(frozen=True)
class Pretrained:
    """A pre-trained file that fits: how, and its local path."""

    match: Match
    path: str
    state: Mapping[str, Tensor]


def match_or_stop(backbone: ConvNeXt, checkpoint: str, prefix: str = '') -> Pretrained:
    """How a pre-trained file fits the backbone; `prefix` keeps the names that begin with it, and is cut from them.

    Raises:
        InputError: if anything but output norms is missing, a shape differs, a name is no known head, or a value is not finite.
    """
    path = resolve(checkpoint)
    state = state_dict_of(open_checkpoint(path))
    state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    try:
        match = match_backbone(state, backbone)
    except InputError as error:
        raise InputError(f'pre-trained weights {path}: {error}') from error
    if not match.fits:
        name = arch_of(match.found)
        hint = f"; the file fits arch='{name}'" if name and ARCHS[name] != backbone.arch else ''
        raise InputError(
            f'pre-trained weights {path} (layout: {match.found.layout.name}) do not fit {_describe(backbone)}: '
            f'{_misfit(match)}{hint}'
        )
    check_finite(path, match.tensors)
    return Pretrained(match, path, state)


def check_finite(path: str | os.PathLike[str], state: Mapping[str, Tensor]) -> None:
    """Stop at weights that are not numbers."""
    for name, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            bad = int((~torch.isfinite(value)).sum())
            raise InputError(
                f'checkpoint {path}: expected finite weights, got NaN or infinity in {name} ({bad} of {value.numel()})'
            )


def load_pretrained(backbone: ConvNeXt, checkpoint: str, prefix: str = '') -> None:
    """Load pre-trained weights into the backbone, all of them or none, and log "loaded N of N (layout: …)".

    Raises:
        InputError: as `match_or_stop`.
    """
    pretrained = match_or_stop(backbone, checkpoint, prefix)
    match = pretrained.match
    backbone.load_state_dict(match.tensors, strict=False)
    norms = sorted({name.split('.')[0] for name in backbone.state_dict() if name.startswith(OUTPUT_NORMS)})
    fresh = [norm for norm in norms if f'{norm}.weight' not in match.tensors]
    loaded = sum(not name.startswith(OUTPUT_NORMS) for name in match.tensors)
    parts = [f'backbone: loaded {loaded} of {match.total} (layout: {match.found.layout.name}) from {pretrained.path}']
    if fresh:
        parts.append(f'initialised: {", ".join(fresh)}')
    if match.left_out:
        parts.append(f'left out: {listed(sorted({name.split(".")[0] for name in match.left_out}))}')
    print_log('; '.join(parts), logger='current')


def whole_state(content: Mapping[str, object]) -> StateDict:
    """The state dict of a whole model, of this project or of a published layout, under this project's names."""
    state = state_dict_of(content)
    whole = to_whole(state)
    return whole.state if whole is not None else state


def check_whole_model(
    path: str | os.PathLike[str], model: nn.Module, classes: Sequence[str] | None = None, new_heads: bool = False
) -> list[str]:
    """Stop where a checkpoint of a whole model does not fit `model` in every tensor.

    With `classes`, those that the checkpoint says it was trained on must be the same, in the same order. With `new_heads`,
    layers whose size is that of the classes may differ: their names are returned, and they stay as initialised.

    Raises:
        InputError: with what is missing, unexpected and of another shape, or with both lists of classes.
    """
    content = open_checkpoint(path)
    state = whole_state(content)
    own = model.state_dict()
    fresh = []
    if new_heads:
        fresh = [name for name in own if name in state and own[name].shape != state[name].shape and CLASS_LAYERS.search(name)]
        state = {name: value for name, value in state.items() if name not in fresh}
    missing = sorted(set(own) - set(state) - set(fresh))
    match = Match({}, missing, sorted(set(state) - set(own)), _other_shapes(own, state), [], len(own))
    if not match.fits:
        others = [line for line in match.shapes if not CLASS_LAYERS.search(line.split(' ')[0])]
        hint = 'use the config that it was trained with'
        if match.shapes and not (missing or match.unexpected or others):
            hint = '--new-heads starts these layers anew for the classes of the data'
        kind = kind_of(state) or 'no segmentor or detector'
        raise InputError(f'checkpoint {path}, {kind}, does not fit this {type(model).__name__}: {_misfit(match)}; {hint}')
    check_finite(path, state)
    meta = content.get('meta')
    trained = (meta.get('dataset_meta') or {}).get('classes') if isinstance(meta, dict) else None
    if classes and trained and list(trained) != list(classes):
        raise InputError(
            f'checkpoint {path} was trained on other classes than the data has: expected {listed(classes)}; got '
            f'{listed(trained)}; take the data that it was trained on, or its weights alone with --load-from in training'
        )
    return fresh


def _describe(backbone: ConvNeXt) -> str:
    name = next((name for name, arch in ARCHS.items() if arch == backbone.arch), None)
    return f"ConvNeXt(arch='{name}')" if name else f'ConvNeXt({backbone.arch})'


def _misfit(match: Match) -> str:
    rows = (('missing', match.missing), ('unexpected', match.unexpected), ('of another shape', match.shapes))
    parts = []
    for what, names in rows:
        if names:
            parts.append(f'{len(names)} {what}: {listed(names)}')
    return '; '.join(parts)

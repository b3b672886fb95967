"""How weights fit a backbone: what is missing, unexpected, of another shape, or no finite number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from convnext_dense.errors import InputError
from convnext_dense.models.archs import ARCHS
from convnext_dense.models.convnext import ConvNeXt
from convnext_dense.text import listed
from convnext_dense.weights.layouts import BOTH, LAYOUTS, Found, StateDict, recognise, to_official
from convnext_dense.weights.whole import HEADS

LEFT_OUT = ('norm.', 'head.')  # the classification head, under its official name
OUTPUT_NORMS = ('norm0.', 'norm1.', 'norm2.', 'norm3.')
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8)


@dataclass(frozen=True)
class Match:
    """How a state dict fits a model."""

    tensors: StateDict
    missing: list[str]
    unexpected: list[str]
    shapes: list[str]
    left_out: list[str]
    total: int

    @property
    def fits(self) -> bool:
        return not (self.missing or self.unexpected or self.shapes)


@dataclass(frozen=True)
class BackboneMatch(Match):
    """How weights fit a backbone, what they were recognised as, and how the stem was changed, if it was."""

    found: Found
    spread: str = ''


def not_known(state: Mapping[str, Tensor]) -> str:
    """What is said of a state dict in no known layout."""
    known = ', '.join(LAYOUTS)
    return f'expected ConvNeXt weights in one of the layouts {known}; got tensors named {listed(state, 4) or "(none)"}'


def match_backbone(state: Mapping[str, Tensor], backbone: ConvNeXt) -> BackboneMatch:
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
    return _sorted_out(state, found, backbone.state_dict())


def match_itself(state: Mapping[str, Tensor]) -> BackboneMatch:
    """How a state dict fits the backbone that it describes: every block up to the last, every width the same throughout.

    Raises:
        InputError: if it is of no known layout, or has a stage without blocks.
    """
    found = recognise(state)
    if found is None:
        raise InputError(not_known(state))
    if 0 in (*found.depths, *found.dims):
        raise InputError(f'expected blocks in each of the four stages, got depths {found.depths}, dims {found.dims}')
    stem = state[f'{found.prefix}{found.layout.stem[0]}.weight']
    channels = stem.shape[1] if stem.ndim == 4 and stem.shape[1] else 3
    official, _ = to_official(state, found)
    return _sorted_out(state, found, described(found.depths, found.dims, found.grn, channels) | _head(official, found.dims[3]))


@lru_cache(maxsize=4)
def described(depths: tuple[int, ...], dims: tuple[int, ...], grn: bool, channels: int) -> StateDict:
    """Names and shapes of a backbone, without values."""
    with torch.device('meta'):
        return ConvNeXt(dict(depths=depths, dims=dims), in_channels=channels, use_grn=grn).state_dict()


def _head(official: Mapping[str, Tensor], width: int) -> StateDict:
    """The classification head that a file has, both its halves, without values."""
    classes = next(
        (len(official[name]) for name in ('head.bias', 'head.weight') if name in official and official[name].ndim), 1
    )
    shapes = {'norm.weight': (width,), 'norm.bias': (width,), 'head.weight': (classes, width), 'head.bias': (classes,)}
    parts = {name.split('.')[0] for name in official}
    return {name: torch.empty(shape, device='meta') for name, shape in shapes.items() if name.split('.')[0] in parts}


def _sorted_out(state: Mapping[str, Tensor], found: Found, own: Mapping[str, Tensor]) -> BackboneMatch:
    official, rest = to_official(state, found)
    halves = {name.rpartition('.')[0] for name in official if name.startswith(OUTPUT_NORMS)}
    wanted = {name for name in own if not name.startswith(OUTPUT_NORMS)}
    # A backbone with fewer out_indices has fewer output norms: the file's others are left out.
    left_out = [name for name in official if name not in own and name.startswith((*LEFT_OUT, *OUTPUT_NORMS))]
    known = (*HEADS, *found.layout.beyond, *(found.prefix + name for name in found.layout.beyond))
    left_out += [name for name in rest if name.startswith(known)]
    unexpected = [name for name in official if name not in own and name not in left_out]
    unexpected += [name for name in rest if not name.startswith(known)]
    tensors = {name: value for name, value in official.items() if name in own}
    missing = wanted | {f'{norm}.{part}' for norm in halves for part in BOTH if f'{norm}.{part}' in own}
    missing -= set(official)
    return BackboneMatch(tensors, sorted(missing), unexpected, other_shapes(own, official), left_out, len(wanted), found)


def other_shapes(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    return [
        f'{name} is {tuple(given[name].shape)}, expected {tuple(own[name].shape)}'
        for name in own
        if name in given and own[name].shape != given[name].shape
    ]


def arch_of(found: Found) -> str | None:
    """The name in `ARCHS` that the weights were made from."""
    size = (found.depths, found.dims)
    return next((name for name, arch in ARCHS.items() if (arch.depths, arch.dims) == size), None)


def check_values(state: Mapping[str, Tensor], own: Mapping[str, Tensor] | None = None) -> None:
    """Stop at a weight that is not a finite float32 number, at a variance below zero and at a counter that is no integer.

    `own`: the model's tensors, where it may have others that are not floats.
    """
    for name, value in state.items():
        wanted: tuple[torch.dtype, ...] = INTEGERS if name.endswith('num_batches_tracked') else FLOATS
        if own is not None and own[name].dtype not in wanted:
            wanted = (own[name].dtype,)
        if value.dtype not in wanted:
            accepted = ', '.join(str(dtype).removeprefix('torch.') for dtype in wanted)
            raise InputError(
                f'{name}: expected one of {accepted}, got {str(value.dtype).removeprefix("torch.")}; save it as one of them'
            )
        if value.is_floating_point() and not (finite := torch.isfinite(value.float())).all():
            bad = int((~finite).sum())
            raise InputError(f'expected finite weights, got NaN or infinity in {name} ({bad} of {value.numel()})')
        if name.endswith('running_var') and (value < 0).any():
            raise InputError(f'{name}: expected variances of 0 or more, got {value.min():g}')


def check_pairs(state: Mapping[str, Tensor]) -> None:
    """Stop at a bias or statistic of a head that does not go with its weight."""
    for name, value in state.items():
        module, _, part = name.rpartition('.')
        weight = state.get(f'{module}.weight')
        if part not in ('bias', 'running_mean', 'running_var') or weight is None:
            continue
        channels = weight.shape[:2] if part == 'bias' else weight.shape[:1]  # a transposed convolution has its outputs second
        if value.ndim != 1 or len(value) not in channels:
            raise InputError(
                f'{name}: expected one number per channel of its weight {tuple(weight.shape)}, got shape {tuple(value.shape)}'
            )


def misfit(match: Match) -> str:
    rows = (('missing', match.missing), ('unexpected', match.unexpected), ('of another shape', match.shapes))
    parts = []
    for what, names in rows:
        if names:
            parts.append(f'{len(names)} {what}: {listed(names)}')
    return '; '.join(parts)

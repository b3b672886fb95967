"""Load published weights into a backbone or a whole model: recognised, complete, reported as "loaded N of N", or not at all.

Anything missing but output norms, any shape that differs and any name that is neither the backbone's nor a known head's stops
the run with a list. Output norms that a file lacks stay as initialised and are named; heads are left out and named. A stem for
three colours is spread over the backbone's channels (`weights.stem`), and that is said.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from convnext_dense.errors import InputError
from convnext_dense.models.archs import ARCHS
from convnext_dense.models.convnext import ConvNeXt
from convnext_dense.models.roadmap import RoadmapNet
from convnext_dense.text import listed
from convnext_dense.weights.by_name import PREFIX, step_hint
from convnext_dense.weights.fetch import downloaded, resolve
from convnext_dense.weights.layouts import StateDict, recognise
from convnext_dense.weights.match import (
    OUTPUT_NORMS,
    BackboneMatch,
    Match,
    arch_of,
    check_values,
    match_backbone,
    misfit,
    other_shapes,
)
from convnext_dense.weights.open import about, open_checkpoint, shown, state_dict_of
from convnext_dense.weights.read_once import keep, stamp_of, take
from convnext_dense.weights.stem import spread_stem
from convnext_dense.weights.whole import CLASS_LAYERS, model_type_of, to_whole


@dataclass(frozen=True)
class Pretrained:
    """A pre-trained file that fits: how, and its local path."""

    match: BackboneMatch
    path: str
    stamp: tuple[int, ...]  # of the file, before it was read
    state: Mapping[str, Tensor]


def match_or_stop(backbone: ConvNeXt, checkpoint: Any = None, prefix: str = '', **unknown: Any) -> Pretrained:
    """How a pre-trained file fits the backbone; `prefix` keeps the names that begin with it, and is cut from them.

    Raises:
        InputError: if anything but output norms is missing, a shape differs, a name is no known head, or a value is not finite.
    """
    if unknown or checkpoint is None:
        given = sorted({'type', *unknown, *(['checkpoint'] if checkpoint is not None else [])})
        raise InputError(f'init_cfg: expected type, checkpoint and optionally prefix, got {given}')
    if not isinstance(prefix, str):
        raise InputError(f"init_cfg: expected prefix to be the beginning of names, such as 'backbone.', got {prefix!r}")
    if not isinstance(backbone, ConvNeXt):
        raise InputError(f'backbone: expected a ConvNeXt, got {type(backbone).__name__}; give the backbone of the model')
    path = resolve(checkpoint)
    stamp = stamp_of(path)
    with downloaded(checkpoint):
        content = open_checkpoint(path)
    try:
        whole = state_dict_of(content)
        state = {name.removeprefix(prefix): value for name, value in whole.items() if name.startswith(prefix)}
        if prefix and not state:
            raise InputError(f'prefix: expected the beginning of names, got {prefix!r}; the names are {listed(whole, 4)}')
        match = spread_stem(match_backbone(state, backbone), backbone.state_dict())
    except InputError as error:
        raise InputError(f'pre-trained weights {shown(path)}: {error}') from error
    if not match.fits:
        name = arch_of(match.found)
        hint = f"; the file fits arch='{name}'" if name and ARCHS[name] != backbone.arch else ''
        raise InputError(
            f'pre-trained weights {shown(path)} (layout: {match.found.layout.name}) do not fit {_describe(backbone)}: '
            f'{misfit(match)}{hint}'
        )
    with about(path):
        check_values(match.tensors)
    return Pretrained(match, path, stamp, state)


def check_pretrained(backbone: ConvNeXt, checkpoint: Any = None, prefix: str = '', **unknown: Any) -> Pretrained:
    """`match_or_stop`, kept for the `load_pretrained` to come."""
    pretrained = match_or_stop(backbone, checkpoint, prefix, **unknown)
    keep(_key(backbone, checkpoint, prefix), pretrained.path, pretrained.stamp, pretrained)
    return pretrained


def _key(backbone: nn.Module, checkpoint: Any, prefix: Any) -> tuple[Any, ...]:
    return str(checkpoint), prefix, *((name, value.shape) for name, value in backbone.state_dict().items())


def load_pretrained(backbone: ConvNeXt, checkpoint: Any = None, prefix: str = '', **unknown: Any) -> None:
    """Load pre-trained weights into the backbone, all of them or none, and log "loaded N of N (layout: …)".

    Raises:
        InputError: as `match_or_stop`.
    """
    checked = None if unknown else take(_key(backbone, checkpoint, prefix))
    pretrained = checked or match_or_stop(backbone, checkpoint, prefix, **unknown)
    match = pretrained.match
    backbone.load_state_dict(match.tensors, strict=False)
    norms = sorted({name.split('.')[0] for name in backbone.state_dict() if name.startswith(OUTPUT_NORMS)})
    fresh = [norm for norm in norms if f'{norm}.weight' not in match.tensors]
    loaded = sum(not name.startswith(OUTPUT_NORMS) for name in match.tensors)
    parts = [f'backbone: loaded {loaded} of {match.total} (layout: {match.found.layout.name}) from {pretrained.path}']
    if match.spread:
        parts.append(match.spread)
    if fresh:
        parts.append(f'initialised: {", ".join(fresh)}')
    if match.left_out:
        parts.append(f'left out: {listed(sorted({name.split(".")[0] for name in match.left_out}))}')
    print_log('; '.join(parts), logger='current')


@dataclass(frozen=True)
class WholeModel:
    """A checkpoint of a whole model: all that the file holds, and its weights under this project's names."""

    content: dict[str, Any]
    state: StateDict
    stamp: tuple[int, ...]  # of the file, before it was read


def open_whole_model(path: str | os.PathLike[str]) -> WholeModel:
    """A checkpoint of this project or of a published layout; what `check_whole_model` has read is not read again."""
    return take(_whole_key(path)) or _read_whole_model(path)


def look_at_whole_model(path: str | os.PathLike[str]) -> dict[str, Any]:
    """All that the file holds which `check_whole_model` has read, and the run will."""
    whole = open_whole_model(path)
    keep(_whole_key(path), path, whole.stamp, whole)
    return whole.content


def _whole_key(path: str | os.PathLike[str]) -> tuple[str, str]:
    return 'whole model', str(path)


def _read_whole_model(path: str | os.PathLike[str]) -> WholeModel:
    stamp, content = stamp_of(path), open_checkpoint(path)
    with about(path):
        return WholeModel(content, whole_state(content), stamp)


def whole_state(content: Mapping[str, object]) -> StateDict:
    """The state dict of a whole model, of this project or of a published layout, under this project's names."""
    state = state_dict_of(content)
    whole = to_whole(state)
    return whole.state if whole is not None else state


def check_whole_model(
    path: str | os.PathLike[str],
    model: nn.Module,
    classes: Sequence[str] | None = None,
    new_heads: bool = False,
    source: object = None,
) -> list[str]:
    """Stop where a checkpoint of a whole model does not fit `model` in every tensor; else keep it for `open_whole_model`.

    With `classes`, those that the checkpoint says it was trained on must be the same, in the same order. With `new_heads`,
    layers whose size is that of the classes may differ: their names are returned, and they stay as initialised. `source` is
    where the file was downloaded from, if it was.

    Raises:
        InputError: with what is missing, unexpected and of another shape, or with both lists of classes.
    """
    with downloaded(source):
        read = open_whole_model(path)
    content, state = read.content, read.state
    own = model.state_dict()
    others = [name for name in own if name in state and own[name].shape != state[name].shape]
    by_classes = [name for name in others if CLASS_LAYERS.search(name) and _same_but_rows(own[name], state[name])]
    fresh = by_classes if new_heads else []
    state = {name: value for name, value in state.items() if name not in fresh}
    missing = sorted(set(own) - set(state) - set(fresh))
    match = Match({}, missing, sorted(set(state) - set(own)), other_shapes(own, state), [], len(own))
    if not match.fits:
        hint = 'use the config that it was trained with'
        if not missing and not match.unexpected and others == by_classes:
            hint = '--new-heads starts these layers anew for the classes of the data'
        model_type = model_type_of(state) or 'no segmentor or detector'
        if model_type_of(state) is None and recognise(state) is not None:
            hint = 'it holds a backbone alone, which training takes as --pretrained FILE'
        backbone = getattr(model, 'backbone', None)
        if isinstance(backbone, RoadmapNet):
            hint += step_hint(
                backbone, {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}
            )
        raise InputError(
            f'checkpoint {shown(path)}, {model_type}, does not fit this {type(model).__name__}: {misfit(match)}; {hint}'
        )
    with about(path):
        check_values(state, own)
        trained = _trained_on(content) if classes else None
    if trained and classes and list(trained) != list(classes):
        raise InputError(
            f'checkpoint {shown(path)} was trained on other classes than the data has: expected {listed(classes)}; got '
            f'{listed(trained)}; take the data that it was trained on, or its weights alone with --load-from in training'
        )
    keep(_whole_key(path), path, read.stamp, read)
    return fresh


def trained_classes(path: str) -> Sequence[str] | None:
    """The classes that a checkpoint, a file or a URL, says it was trained on; None where it says nothing."""
    local = resolve(path)
    with about(local):
        return _trained_on(open_whole_model(local).content)


def _same_but_rows(one: Tensor, other: Tensor) -> bool:
    return one.ndim == other.ndim and one.shape[1:] == other.shape[1:]


def _trained_on(content: Mapping[str, object]) -> Sequence[str] | None:
    """The classes that a checkpoint says it was trained on; None where it says nothing."""
    node: Any = content
    for key in ('meta', 'dataset_meta'):
        node = node.get(key)
        if node is None:
            return None
        if not isinstance(node, Mapping):
            raise InputError(f'{key}: expected a dict, got {type(node).__name__}')
    classes = node.get('classes')
    if classes is None:
        return None
    if not isinstance(classes, (list, tuple)) or not all(isinstance(name, str) for name in classes):
        raise InputError(f'meta.dataset_meta.classes: expected a list of names, got {str(classes)[:80]!r}')
    return classes


def _describe(backbone: ConvNeXt) -> str:
    name = next((name for name, arch in ARCHS.items() if arch == backbone.arch), None)
    return f"ConvNeXt(arch='{name}')" if name else f'ConvNeXt({backbone.arch})'

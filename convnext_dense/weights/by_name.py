"""Strict loading for the backbones that have no table of layouts: their own names, and those of a published file that fits.

Of a network of the walk from ResNet to ConvNeXt (`models.roadmap`), a checkpoint of another step is told by which ones it fits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor

from convnext_dense.errors import InputError
from convnext_dense.models.pyramid import Pretrainable
from convnext_dense.models.roadmap import RoadmapNet
from convnext_dense.models.roadmap_steps import SIZES, STEPS, design_of
from convnext_dense.text import listed
from convnext_dense.weights.fetch import downloaded, resolve
from convnext_dense.weights.match import LEFT_OUT, OUTPUT_NORMS, Match, check_values, misfit, other_shapes
from convnext_dense.weights.open import about, open_checkpoint, shown, state_dict_of

PREFIX = 'backbone.'  # of a whole model
CLASSIFIERS = ('fc.', *LEFT_OUT)
COUNTER = 'num_batches_tracked'  # older files of torchvision's lack them

# torchvision's ResNet -> a name of `models.roadmap`.
RESNET = (
    (re.compile(r'^conv1\.'), 'downsample_layers.0.0.'),
    (re.compile(r'^bn1\.'), 'downsample_layers.0.1.'),
    (re.compile(r'^layer(\d)\.(\d+)\.downsample\.'), lambda m: f'stages.{int(m[1]) - 1}.{m[2]}.shortcut.'),
    (re.compile(r'^layer(\d)\.(\d+)\.bn(\d)\.'), lambda m: f'stages.{int(m[1]) - 1}.{m[2]}.norm{m[3]}.'),
    (re.compile(r'^layer(\d)\.(\d+)\.conv(\d)\.'), lambda m: f'stages.{int(m[1]) - 1}.{m[2]}.conv{m[3]}.'),
)


def own_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of torchvision's ResNet under the names of `RoadmapNet`; another one as it is."""
    found = {}
    for name, value in state.items():
        for pattern, replacement in RESNET:
            name = pattern.sub(replacement, name)  # type: ignore[arg-type]
        found[name] = value
    return found


def match_by_name(backbone: Pretrainable, state: Mapping[str, Tensor]) -> Match:
    """How a state dict fits the backbone. A classification head, and output norms of no map of the backbone, are left out."""
    own, given = backbone.state_dict(), own_names(state)
    left_out = [name for name in given if name not in own and name.startswith((*CLASSIFIERS, *OUTPUT_NORMS))]
    tensors = {name: value for name, value in given.items() if name in own}
    wanted = [name for name in own if not name.startswith((*OUTPUT_NORMS, 'norm.')) and not name.endswith(COUNTER)]
    norms = {name.partition('.')[0] for name in tensors if name.startswith((*OUTPUT_NORMS, 'norm.'))}  # whole, or not there
    wanted += [name for name in own if name.partition('.')[0] in norms]
    missing = sorted(set(wanted) - set(tensors))
    unexpected = sorted(set(given) - set(own) - set(left_out))
    return Match(tensors, missing, unexpected, other_shapes(own, given), left_out, len(wanted))


@lru_cache(maxsize=1)
def _shapes_of_steps() -> dict[tuple[str, str], dict[str, torch.Size]]:
    """By step and size."""
    found = {}
    for size in SIZES:
        for step in STEPS:
            with torch.device('meta'):
                found[step, size] = _shapes(RoadmapNet(step, size).state_dict())
    return found


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """By which steps are told apart: all but output norms, counters and a classifier."""
    others = (*CLASSIFIERS, *OUTPUT_NORMS)
    return {name: value.shape for name, value in state.items() if not name.startswith(others) and not name.endswith(COUNTER)}


def steps_that_fit(state: Mapping[str, Tensor]) -> list[tuple[str, str]]:
    """The steps and sizes whose network has the tensors of a state dict."""
    given = _shapes(own_names(state))
    return [name for name, own in _shapes_of_steps().items() if own == given]


def step_hint(backbone: RoadmapNet, state: Mapping[str, Tensor]) -> str:
    """'; the file fits …' of the tensors of another step's backbone, or nothing."""
    fitting = steps_that_fit(state)
    if any(backbone.design == design_of(*found) for found in fitting):  # it is not the step that does not fit
        return ''
    names = [f"step='{step}', size='{size}'" for step, size in fitting]
    return f'; the file fits {" or ".join(names)}' if names else ''


def read_by_name(backbone: Pretrainable, checkpoint: Any = None, prefix: str = '', **unknown: Any) -> tuple[Match, str]:
    """How a file fits the backbone, and its local path; nothing is loaded.

    Raises:
        InputError: if anything but output norms is missing, a shape differs, a name is unknown, or a value is not finite.
    """
    if unknown or checkpoint is None or not isinstance(prefix, str):
        given = sorted({'type', *unknown, *(['checkpoint'] if checkpoint is not None else [])})
        raise InputError(f'init_cfg: expected type, checkpoint and optionally prefix, a text; got {given}')
    path = resolve(checkpoint)
    with downloaded(checkpoint):
        content = open_checkpoint(path)
    with about(path):
        whole = state_dict_of(content)
    start = prefix or (PREFIX if any(name.startswith(PREFIX) for name in whole) else '')
    state = {name.removeprefix(start): value for name, value in whole.items() if name.startswith(start)}
    if not state:
        raise InputError(f'prefix: expected the beginning of names, got {prefix!r}; the names are {listed(whole, 4)}')
    match = match_by_name(backbone, state)
    if not match.fits:
        hint = step_hint(backbone, state) if isinstance(backbone, RoadmapNet) else ''
        raise InputError(f'pre-trained weights {shown(path)} do not fit {described(backbone)}: {misfit(match)}{hint}')
    with about(path):
        check_values(match.tensors)
    return match, path


def load_by_name(backbone: Pretrainable, **options: Any) -> None:
    """Load a file into the backbone, whole or not at all, and log "loaded N of N".

    Raises:
        InputError: as `read_by_name`.
    """
    match, path = read_by_name(backbone, **options)
    backbone.load_state_dict(match.tensors, strict=False)
    parts = [f'backbone: loaded {match.total} of {match.total} from {path}']
    fresh = {name.partition('.')[0] for name in backbone.state_dict() if name.startswith((*OUTPUT_NORMS, 'norm.'))}
    fresh -= {name.partition('.')[0] for name in match.tensors}
    if fresh:
        parts.append(f'initialised: {", ".join(sorted(fresh))}')
    if match.left_out:
        parts.append(f'left out: {listed(sorted({name.split(".")[0] for name in match.left_out}))}')
    print_log('; '.join(parts), logger='current')


def described(backbone: Pretrainable) -> str:
    name = type(backbone).__name__
    return f"{name}(step='{backbone.step}', size='{backbone.size}')" if isinstance(backbone, RoadmapNet) else name

"""Whole segmentors and detectors: every weight of a published model under the names of this one, heads too.

OpenMMLab's and the official downstream files have MMSegmentation's and MMDetection's own head names; those of transformers'
UperNet are in the table below. The backbone goes through `layouts.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from convnext_dense.errors import InputError
from convnext_dense.text import listed
from convnext_dense.weights.layouts import LAYOUTS, Found, StateDict, from_official, recognise, to_official

HEADS = ('decode_head.', 'auxiliary_head.', 'neck.', 'rpn_head.', 'roi_head.', 'bbox_head.', 'mask_head.', 'panoptic_head.')
# Layers whose size follows from the number of classes.
CLASS_LAYERS = re.compile(r'\.(conv_seg|fc_cls|fc_reg|conv_logits)\.(weight|bias)$')
# transformers' UperNetForSemanticSegmentation: its head's names, and MMSegmentation's.
UPERNET = (('.batch_norm.', '.bn.'), ('_head.classifier.', '_head.conv_seg.'))


@dataclass(frozen=True)
class Whole:
    """A whole model's weights under this project's names, what they were recognised as, and the type of the model."""

    state: StateDict
    found: Found
    model_type: str


def model_type_of(state: Mapping[str, Tensor]) -> str | None:
    """What a state dict holds beyond a backbone, in a word; None for a backbone alone."""
    parts = {name.split('.')[0] for name in state}
    types = (('decode_head', 'a segmentor'), ('roi_head', 'a detector with RoI heads'), ('bbox_head', 'a detector'))
    return next((model_type for part, model_type in types if part in parts), None)


def to_whole(state: Mapping[str, Tensor]) -> Whole | None:
    """A published whole model under this project's names; None if it is none with a ConvNeXt in it."""
    model_type, found = model_type_of(state), recognise(state)
    if model_type is None or found is None:
        return None
    backbone, rest = to_official(state, found)
    heads = {name: state[name] for name in rest}
    if found.layout.name == 'transformers':
        heads = {_renamed(name, UPERNET): value for name, value in heads.items()}
    ours = {f'backbone.{name}': value for name, value in backbone.items()}
    twice = sorted(set(ours) & set(heads))
    if twice or len(heads) < len(rest):
        raise InputError(f'expected each weight once, got two of the same meaning: {listed(twice or rest)}')
    return Whole(ours | heads, found, model_type)


def from_whole(whole: Whole, to: str) -> tuple[StateDict, list[str]]:
    """The way out, to `official`, `openmmlab` or `transformers`; and the names without a place there."""
    backbone = {name.removeprefix('backbone.'): value for name, value in whole.state.items() if name.startswith('backbone.')}
    theirs, rest = from_official(backbone, LAYOUTS[to], whole.found.depths, whole.found.grn)
    heads = {name: value for name, value in whole.state.items() if not name.startswith('backbone.')}
    if to == 'transformers':
        heads = {_renamed(name, [(ours, hf) for hf, ours in UPERNET]): value for name, value in heads.items()}
    return {f'backbone.{name}': value for name, value in theirs.items()} | heads, [f'backbone.{name}' for name in rest]


def _renamed(name: str, table: Iterable[tuple[str, str]]) -> str:
    for old, new in table:
        name = name.replace(old, new)
    return name

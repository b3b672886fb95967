"""Input channels of heads and necks that a config leaves to its backbone: `in_channels='backbone'`."""

from __future__ import annotations

import copy
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from convnext_dense.errors import InputError
from convnext_dense.models.pyramid import Pretrainable
from convnext_dense.run.nodes import dicts
from convnext_dense.run.settle import BACKBONE

FROM_BACKBONE = 'backbone'


def settle_heads(cfg: Config) -> None:
    """Write the channels of the backbone's maps where a part of the model asks for them; a neck's output goes by its own.

    A part with a list under `in_index` is given a list, one with a number a number, and one without all of them.

    Raises:
        InputError: for a backbone that is not ours, an index of no map, and a wrong argument of the backbone.
    """
    model: Any = cfg.get('model')
    asking = [node for node in dicts(model or {}) if node.get('in_channels') == FROM_BACKBONE]
    if not asking:
        return
    backbone = model.get('backbone')
    if not isinstance(backbone, dict) or backbone.get('type') not in BACKBONE:
        own = ', '.join(name for name in BACKBONE if '.' not in name)
        got = backbone.get('type') if isinstance(backbone, dict) else backbone
        raise InputError(f"in_channels='{FROM_BACKBONE}': expected a backbone of {own}, got {got!r}; write the channels")
    try:
        with torch.device('meta'):
            built: Pretrainable = MODELS.build(copy.deepcopy(dict(backbone, init_cfg=None)))
    except InputError:
        raise
    except Exception:  # of any class; building the model says it
        return
    channels = list(built.out_channels)
    for node in asking:
        index = node.get('in_index', list(range(len(channels))))
        whole = isinstance(index, (list, tuple))
        places = list(index) if whole else [index]
        if not all(isinstance(i, int) and 0 <= i < len(channels) for i in places):
            raise InputError(
                f'in_index: expected indices from 0 to {len(channels) - 1}, of the maps of the backbone; got {index}'
            )
        found = [channels[i] for i in places]
        node['in_channels'] = found if whole else found[0]

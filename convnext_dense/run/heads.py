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
        InputError: the backbone's own, of a wrong argument.
    """
    model: Any = cfg.get('model')
    asking = [node for node in dicts(model or {}) if node.get('in_channels') == FROM_BACKBONE]
    backbone = model.get('backbone') if isinstance(model, dict) else None
    if not asking or not isinstance(backbone, dict) or backbone.get('type') not in BACKBONE:
        return
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
        places = [i for i in (index if whole else [index]) if isinstance(i, int) and i < len(channels)]
        found = [channels[i] for i in places]
        node['in_channels'] = found if whole else (found or channels)[0]

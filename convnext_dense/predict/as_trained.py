"""A model of own data is tested as it was validated: by its checkpoint's scale, windows and channels."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from convnext_dense.predict.config_text import check_types, import_own, parse_config
from convnext_dense.run.fit import Free
from convnext_dense.weights.load import look_at_whole_model

PLACES = ('model.data_preprocessor', 'model.test_cfg', 'test_dataloader.dataset.pipeline', 'tta_pipeline')
CHANNELS = 'model.backbone.in_channels'


def as_trained(cfg: Config, path: str, overrides: Mapping[str, Any]) -> list[str]:
    """Take from the checkpoint's config what testing depends on, but for what `overrides` sets; a line where it differs.

    Raises:
        InputError: for a config in the checkpoint that cannot be read, or names foreign classes.
    """
    carried, free = carried_config(path), Free(overrides)
    others = import_own(carried)
    changed = []
    for place in (*PLACES, CHANNELS):
        value = _at(carried, place)
        if value is None or not free(place) or value == _at(cfg, place):
            continue
        check_types([value], carried.get('default_scope'), others)
        _set(cfg, place, copy.deepcopy(value))
        changed.append(place)
    return [f'as trained, by the checkpoint: {", ".join(changed)}'] if changed else []


def carried_config(path: str) -> Config:
    """The config in a checkpoint, as values; an empty one where it has none.

    Raises:
        InputError: for a text that is no config.
    """
    meta = look_at_whole_model(path).get('meta')
    text = meta.get('cfg') if isinstance(meta, Mapping) else None
    return parse_config(text) if text else Config()


def _at(cfg: Config, place: str) -> Any:
    node: Any = cfg
    for name in place.split('.'):
        if not isinstance(node, (dict, Config)):
            return None
        node = node.get(name)
    return node


def _set(cfg: Config, place: str, value: Any) -> None:
    *above, last = place.split('.')
    node: Any = cfg
    for name in above:
        node = node[name]
    node[last] = value

"""The guards of a training run, for a config that does not name them itself."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

import convnext_dense.training.register  # noqa: F401
from convnext_dense.training.loops import name_of

GUARDS = ('FiniteHook', 'LossSpikeHook', 'BadPicturesHook', 'LoadingTimeHook')


def guard_hooks(cfg: Config) -> list[dict[str, Any]]:
    """The guards that `custom_hooks` does not have; one that is there keeps its arguments."""
    names = {name_of(hook) for hook in cfg.get('custom_hooks') or [] if isinstance(hook, dict)}
    return [dict(type=name) for name in GUARDS if name not in names]

"""A run that goes on exactly: the loop that makes it so."""

from __future__ import annotations

from mmengine.config import Config

import convnext_dense.training.register  # noqa: F401
from convnext_dense.training.loops import RESUMABLE_FOR, resumable_loop


def settle_loop(cfg: Config) -> str | None:
    """mmengine's training loops become the resumable ones; a line where another loop stays."""
    found = resumable_loop(cfg.train_cfg)
    if found is not None:
        cfg.train_cfg.pop('by_epoch', None)
        cfg.train_cfg.type = found
        return None
    if cfg.train_cfg.type in RESUMABLE_FOR.values():
        return None
    return f'train_cfg: {cfg.train_cfg.type} is no loop that a resumed run continues exactly; {" and ".join(RESUMABLE_FOR)} are'

"""Weights & Biases, with the steps that a run gives, and without its code."""

from __future__ import annotations

import inspect
import os
from importlib import import_module
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.visualization import WandbVisBackend

from convnext_dense.training.tracker_kinds import PROJECT, TrackerRun, plain


class WandbRun(TrackerRun, WandbVisBackend):
    """The step is W&B's own, which never falls: an evaluation that is counted in epochs is put at the last iteration."""

    package = module = 'wandb'
    counted = True

    def begin(self, label: str, run: str | None) -> str:
        self._wandb = wandb = import_module(self.module)
        os.makedirs(self._save_dir, exist_ok=True)
        if os.environ.get('WANDB_MODE', 'online') == 'online' and not _has_key(wandb):  # it would ask at the terminal
            raise RuntimeError('no key: set WANDB_API_KEY, call `wandb login`, or set WANDB_MODE=offline')
        given: dict[str, Any] = dict(dir=self._save_dir)
        if run:
            given.update(id=run, resume='allow')
        elif 'WANDB_NAME' not in os.environ:
            given.update(name=label)
        if 'WANDB_PROJECT' not in os.environ:
            given.update(project=PROJECT)
        self._run = wandb.init(**given | dict(self._init_kwargs or {}))
        self._last = int(self._run.step) if run else 0
        self._env_initialized = True
        return str(self._run.id)

    def add_config(self, config: Config, **kwargs: Any) -> None:
        self._run.config.update(plain(config), allow_val_change=True)

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        self._log({name: self._wandb.Image(image)}, step)

    def add_scalars(self, scalar_dict: dict[str, float], step: int = 0, file_path: str | None = None, **kwargs: Any) -> None:
        self._log(scalar_dict, step)

    def _log(self, values: dict[str, Any], step: int) -> None:
        self._last = max(step, self._last)
        self._run.log(values, step=self._last)

    def end(self, finished: bool) -> None:
        self._run.finish(exit_code=int(not finished))


def _has_key(wandb: Any) -> bool:
    if 'prompt' in inspect.signature(wandb.login).parameters:
        return bool(wandb.login(prompt=False))
    return bool(wandb.api.api_key)  # of versions that always ask

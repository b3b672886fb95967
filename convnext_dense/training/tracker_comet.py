"""A backend for Comet, of which MMEngine has none."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmengine.config import Config
from mmengine.registry import VISBACKENDS
from mmengine.visualization import BaseVisBackend

from convnext_dense.training.tracker_kinds import PROJECT, TrackerRun, plain


@VISBACKENDS.register_module()
class CometVisBackend(TrackerRun, BaseVisBackend):
    """Writes to Comet.

    Args:
        save_dir: where an offline run is written (COMET_START_ONLINE=0).
        init_kwargs: arguments of `comet_ml.start` beside those of the environment (COMET_API_KEY, COMET_WORKSPACE, …).
    """

    package = module = 'comet_ml'
    settings: ClassVar = dict(COMET_PROJECT_NAME=PROJECT)
    counted = True

    def __init__(self, save_dir: str, init_kwargs: dict[str, Any] | None = None) -> None:
        super().__init__(save_dir)
        self._init_kwargs = init_kwargs

    @property
    def experiment(self) -> Any:
        """Comet's experiment."""
        return self._experiment

    def _init_env(self) -> None:
        self.load()
        self.begin(Path(self._save_dir).name, None)

    def begin(self, label: str, run: str | None) -> str:
        comet = import_module(self.module)
        os.makedirs(self._save_dir, exist_ok=True)
        config = comet.ExperimentConfig(
            name=None if run else label,
            offline_directory=self._save_dir,
            auto_param_logging=False,  # of the libraries that Comet knows; the run gives its own
            auto_metric_logging=False,
            auto_output_logging=False,
            parse_args=False,
            log_code=False,
        )
        given: dict[str, Any] = dict(experiment_config=config)
        given |= dict(experiment_key=run, mode='get') if run else dict(mode='create')
        self._experiment = comet.start(**given | dict(self._init_kwargs or {}))
        self._env_initialized = True
        return str(self._experiment.get_key())

    def add_config(self, config: Config, **kwargs: Any) -> None:
        self._experiment.log_parameters(plain(config))

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        self._experiment.log_image(image, name=name, step=step)

    def add_scalar(self, name: str, value: float, step: int = 0, **kwargs: Any) -> None:
        self._experiment.log_metric(name, value, step=step)

    def add_scalars(self, scalar_dict: dict[str, float], step: int = 0, file_path: str | None = None, **kwargs: Any) -> None:
        self._experiment.log_metrics(scalar_dict, step=step)

    def close(self) -> None:
        if hasattr(self, '_experiment'):
            self._experiment.end()

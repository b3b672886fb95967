"""MLflow's runs: in a database of the work directory, or on the server of MLFLOW_TRACKING_URI."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmengine.config import Config
from mmengine.visualization import MLflowVisBackend

from convnext_dense.errors import InputError
from convnext_dense.training.tracker_kinds import PROJECT, TrackerRun, plain

LONGEST = 500  # characters of a parameter
PARAMS = 100  # that a server takes at once
OTHER = r'[^A-Za-z0-9_. /-]'  # characters that a metric's name may not have


class MLflowRun(TrackerRun, MLflowVisBackend):
    """By MLflow's client, which needs no active run of a thread."""

    package = module = 'mlflow'
    settings: ClassVar = dict(
        MLFLOW_HTTP_REQUEST_MAX_RETRIES='1',  # by MLflow's own numbers, a server that is away is waited for for minutes
        MLFLOW_HTTP_REQUEST_TIMEOUT='10',  # seconds
        MLFLOW_HTTP_REQUEST_BACKOFF_JITTER='0',  # which is drawn from the generator that the run draws from
        MLFLOW_DISABLE_TELEMETRY='true',
        MLFLOW_LOGGING_LEVEL='WARNING',
    )

    def begin(self, label: str, run: str | None) -> str:
        self._mlflow = mlflow = import_module(self.module)
        store, artifacts = self._store()
        self._client = client = mlflow.MlflowClient(tracking_uri=store)
        self._env_initialized = True
        if run:
            try:
                client.update_run(run, status='RUNNING')
                self._id = run
                return run
            except mlflow.exceptions.MlflowException as error:
                if error.error_code != 'RESOURCE_DOES_NOT_EXIST':
                    raise
        name = self._exp_name or os.environ.get('MLFLOW_EXPERIMENT_NAME', PROJECT)
        experiment = client.get_experiment_by_name(name)
        place = self._artifact_location or artifacts
        key = experiment.experiment_id if experiment else client.create_experiment(name, artifact_location=place)
        made = client.create_run(key, run_name=self._run_name or label, tags=self._tags)
        self._id = str(made.info.run_id)
        return self._id

    def _store(self) -> tuple[str, str | None]:
        """The tracking URI, and where files of a new experiment go; a server knows that itself."""
        uri = self._tracking_uri or os.environ.get('MLFLOW_TRACKING_URI')
        if uri:
            return uri, None
        if find_spec('sqlalchemy') is None:  # as with mlflow-skinny alone; MLflow takes no other local store any more
            raise RuntimeError('no database: pip install sqlalchemy alembic, or name a server by MLFLOW_TRACKING_URI')
        folder = Path(self._save_dir).resolve()
        address = database(folder)
        folder.mkdir(parents=True, exist_ok=True)
        return address, (folder / 'artifacts').as_uri()

    def steps(self) -> Mapping[str, Collection[int]]:
        names = self._client.get_run(self._id).data.metrics
        return {name: {one.step for one in self._client.get_metric_history(self._id, name)} for name in names}

    def named(self, name: str) -> str:
        return re.sub(OTHER, '_', name)

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """The entries as parameters, where the store takes them, and the text as config.py."""
        entity = self._mlflow.entities.Param
        params = [entity(name, value[:LONGEST]) for name, value in flat(plain(config)).items()]
        with suppress(self._mlflow.exceptions.MlflowException):  # its limits differ from version to version
            for start in range(0, len(params), PARAMS):
                self._client.log_batch(self._id, params=params[start : start + PARAMS])
        self._client.log_text(self._id, config.pretty_text, 'config.py')

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        self._client.log_image(self._id, image, f'images/{name}_{step}.png')

    def add_scalar(self, name: str, value: float, step: int = 0, **kwargs: Any) -> None:
        self.add_scalars({name: value}, step)

    def add_scalars(self, scalar_dict: dict[str, float], step: int = 0, file_path: str | None = None, **kwargs: Any) -> None:
        """`at`, in `kwargs`: when it was measured, in seconds since 1970; by it the store knows a second try."""
        entity, at = self._mlflow.entities.Metric, int(1000 * kwargs.get('at', time.time()))
        self._client.log_batch(self._id, metrics=[entity(name, value, at, step) for name, value in scalar_dict.items()])

    def end(self, finished: bool) -> None:
        self._client.set_terminated(self._id, 'FINISHED' if finished else 'KILLED')


def database(folder: Path) -> str:
    """The address of the database in a folder.

    Raises:
        InputError: for a path with what means something in an address. Written as %3F and the like, versions of SQLAlchemy
            read it in different ways, and MLflow makes a folder of that name, too.
    """
    path = folder.resolve()
    wrong = ' and '.join(repr(one) for one in '?#%' if one in str(path))
    if wrong:
        raise InputError(
            f"tracker mlflow: expected a folder without ?, # and % for MLflow's database, got {path} with {wrong}; name "
            'another work directory, or a server by MLFLOW_TRACKING_URI'
        )
    return f'sqlite:///{path}/mlflow.db'


def flat(node: Any, path: str = '') -> dict[str, str]:
    """The entries of a config that hold no others, by dotted key, as text."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if _holds_others(node) else None
    if items is None:
        return {path: str(node)}
    found: dict[str, str] = {}
    for key, value in items:
        found |= flat(value, f'{path}.{key}' if path else str(key))
    return found


def _holds_others(node: Any) -> bool:
    return isinstance(node, list) and any(isinstance(one, (dict, list)) for one in node)

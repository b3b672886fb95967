"""Experiment trackers beside a run, which neither waits for them nor ends by them, and goes on in the same one when resumed.

visualizer = dict(vis_backends=[
    dict(type='LocalVisBackend'),
    dict(type='TrackerBackend', backend=dict(type='MLflowVisBackend'), name='mlflow'),
])
"""

from __future__ import annotations

import atexit
import copy
import logging
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import VISBACKENDS
from mmengine.visualization import BaseVisBackend

from convnext_dense.errors import InputError
from convnext_dense.text import suggest
from convnext_dense.training.tracker_comet import CometVisBackend
from convnext_dense.training.tracker_kinds import AimRun, ClearMLRun, NotInstalledError, TensorboardRun, TrackerRun
from convnext_dense.training.tracker_mlflow import MLflowRun
from convnext_dense.training.tracker_queue import JobQueue, words
from convnext_dense.training.tracker_wandb import WandbRun
from convnext_dense.training.tracker_writer import TrackerWriter, numbers

WAIT = 30.0  # seconds
# MMEngine's backends, and what is taken in the place of each.
KINDS: dict[str, type[TrackerRun]] = dict(
    TensorboardVisBackend=TensorboardRun,
    WandbVisBackend=WandbRun,
    MLflowVisBackend=MLflowRun,
    ClearMLVisBackend=ClearMLRun,
    CometVisBackend=CometVisBackend,
    AimVisBackend=AimRun,
)

_open: weakref.WeakSet[TrackerBackend] = weakref.WeakSet()


@VISBACKENDS.register_module()
class TrackerBackend(BaseVisBackend):
    """One of MMEngine's backends, all of whose calls are made by a thread of its own.

    A tracker that is not installed, does not answer or fails costs one warning. Its files, and what a resumed run needs to
    go on in the tracker's same run, are in WORK_DIR/trackers. Of a scalar at a step that the tracker has, no second value is
    written. A run that is begun anew begins a new one there. The run's config is recorded once; its graph is not.

    Args:
        save_dir: the folder of the run's own log, WORK_DIR/TIMESTAMP/vis_data, which the visualizer gives.
        backend: one of MMEngine's, as a config has it, or any other that is registered; the latter is begun anew each time.
        name: of the tracker's files; by default from the backend's type.
        wait: seconds for which the end of a run waits for it, at most.
    """

    def __init__(self, save_dir: str, backend: Mapping[str, Any], name: str | None = None, wait: float = WAIT) -> None:
        super().__init__(save_dir)
        given = dict(backend)
        kind = given.pop('type', None)
        cls: Any = VISBACKENDS.get(kind) if isinstance(kind, str) else kind
        if not (isinstance(cls, type) and issubclass(cls, BaseVisBackend)) or cls is TrackerBackend:
            expected = 'expected a dict with the type of a backend of a tracker'
            raise InputError(f'TrackerBackend.backend: {expected}, got {kind!r}; {suggest(str(kind), KINDS)}')
        self.cls, self.given = KINDS.get(cls.__name__, cls), given
        self.name = name or cls.__name__.removesuffix('VisBackend').lower()
        self.wait = wait
        self.config: Config | None = None
        self.writer: TrackerWriter | None = None
        self.logger = MMLogger.get_current_instance()
        self.jobs = JobQueue(self._begin, self._end, self._warn)
        self._loaded = self._begun = False

    @property
    def experiment(self) -> Any:
        """The tracker's own object, which is of another thread; None before it has begun."""
        return None if self.writer is None or self.writer.state is None else self.writer.tracker.experiment

    def _init_env(self) -> None:
        """Nothing: the tracker's run begins with its first entry, when it is known which run trains here."""

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Keep the config until the tracker's run begins."""
        self.config = Config(copy.deepcopy(config.to_dict()))
        self._load()

    def add_scalars(self, scalar_dict: Mapping[str, Any], step: int = 0, file_path: str | None = None, **kwargs: Any) -> None:
        """Numbers at a step; the times of an evaluation get names of their own, val/time and val/data_time."""
        values, at = numbers(scalar_dict), time.time()
        if values:
            self._put(lambda writer: writer.add_scalars(values, int(step), at))

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """A number at a step."""
        self.add_scalars({name: value}, step)

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """(H, W, 3) uint8 at a step."""
        image = np.array(image)
        self._put(lambda writer: writer.add_image(name, image, step), image.nbytes)

    def close(self) -> None:
        """The run came to its end. What waits is written, in `wait` seconds at most."""
        self._close(True)

    def _close(self, finished: bool) -> None:
        _open.discard(self)
        self.jobs.close(finished, self.wait)

    def _put(self, job: Callable[[TrackerWriter], None], size: int = 0) -> None:
        if not self._load():
            return
        if not self._begun:
            self._begun = True
            _open.add(self)
            if self.config is not None:
                config = self.config
                self.jobs.put(lambda: self._writer().add_config(config))
        self.jobs.put(lambda: job(self._writer()), size)

    def _load(self) -> bool:
        """Import the package; False where the tracker is given up.

        In the main thread, before loading processes are forked: a fork during an import would leave its lock to them.
        """
        if not self._loaded:
            self._loaded = True
            keep_log_files(self.logger)
            try:
                if issubclass(self.cls, TrackerRun):
                    self.cls.load()
            except Exception as error:
                self.jobs.given_up = True
                self._warn(str(error) if isinstance(error, NotInstalledError) else words(error))
        return not self.jobs.given_up

    def _warn(self, why: str) -> None:
        self.logger.warning(f'tracker {self.name}: {why}; the run goes on without it; the log is in {self._save_dir}')

    def _begin(self) -> None:
        if self.writer is None:
            given = self.config.get('work_dir') if self.config is not None else None
            log = Path(self._save_dir)
            work_dir = Path(given) if given else log.parents[1] if log.name == 'vis_data' else log
            resumed = bool(self.config.get('resume')) if self.config is not None else None

            def tell(line: str) -> None:
                self.logger.info(f'tracker {self.name}: {line}')

            self.writer = TrackerWriter(self.cls, self.given, self.name, work_dir, log, resumed, tell)
        self.writer.begin()

    def _writer(self) -> TrackerWriter:
        assert self.writer is not None  # made by `_begin`, which comes first
        return self.writer

    def _end(self, finished: bool) -> None:
        self._writer().end(finished)


def close_trackers() -> None:
    """End what is still open of this process, each in its time, as of runs that did not come to their end."""
    for backend in list(_open):
        backend._close(False)


atexit.register(close_trackers)


def keep_log_files(logger: logging.Logger) -> None:
    """Let the files of a logger be opened again, at their ends, by whoever writes to them next.

    What configures Python's logging, as MLflow and Alembic do, closes the files of all loggers; one that was opened with the
    mode 'w' then stays closed.
    """
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.mode = 'a'

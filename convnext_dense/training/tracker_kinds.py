"""MMEngine's backends of experiment trackers, each made to go on in the run that it had; some in files of their own.

MMEngine's begin a new run at each start, leave out steps (W&B), copy the work directory and its code to the server (MLflow,
ClearML, W&B), or open a file store that MLflow gave up. What is left to them here is how an entry is written.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Collection, Mapping
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from mmengine.config import Config
from mmengine.visualization import AimVisBackend, ClearMLVisBackend, TensorboardVisBackend

PROJECT = 'convnext-dense'  # where the tracker's own environment variable names none

_own_random: ModuleType | None = None


class NotInstalledError(ImportError):
    """A tracker's package is not there. The message says so."""


class TrackerRun:
    """A backend that goes on in the run that it had. All but `load` and `__init__` is called in a thread of its own.

    Attributes:
        package: what is installed by pip, and `module` what is imported of it.
        settings: of its environment variables, where they are not set.
        counted: whether steps are counted beside the run, since the tracker cannot be asked which ones it has.
    """

    package = module = ''
    settings: ClassVar[dict[str, str]] = {}
    counted = False
    _save_dir: str

    @classmethod
    def load(cls) -> None:
        """Import what it needs.

        Raises:
            NotInstalledError: if its package is not there.
            Exception: whatever the package raises.
        """
        if find_spec(cls.package) is None:
            raise NotInstalledError(f'not installed (pip install {cls.package})')
        for name, value in cls.settings.items():
            os.environ.setdefault(name, value)
        before = random.getstate()
        import_module(cls.module)
        random.setstate(before)
        with_own_random(cls.package)

    def begin(self, label: str, run: str | None) -> str:
        """Begin a run with the name `label`, or go on in `run`; the tracker's id of it."""
        raise NotImplementedError

    def steps(self) -> Mapping[str, Collection[int]]:
        """Of each scalar the steps that the tracker has."""
        return {}

    def named(self, name: str) -> str:
        """A scalar's name in the tracker."""
        return name

    def end(self, finished: bool) -> None:
        """Close the run; `finished`: it came to its end, and will not go on."""
        self.close()  # type: ignore[attr-defined]


class TensorboardRun(TrackerRun, TensorboardVisBackend):
    """A run is a folder of the name YYYYMMDD_HHMMSS; one that goes on adds a file there."""

    package, module = 'tensorboard', 'torch.utils.tensorboard'

    def begin(self, label: str, run: str | None) -> str:
        self._folder = Path(self._save_dir, run) if run else _new_folder(Path(self._save_dir))
        self._folder.mkdir(parents=True, exist_ok=True)
        self._tensorboard = import_module(self.module).SummaryWriter(str(self._folder))
        self._env_initialized = True
        return self._folder.name

    def steps(self) -> Mapping[str, Collection[int]]:
        from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

        found = EventAccumulator(str(self._folder), size_guidance={SCALARS: 0}).Reload()
        return {tag: {event.step for event in found.Scalars(tag)} for tag in found.Tags()['scalars']}

    def add_config(self, config: Config, **kwargs: Any) -> None:
        super().add_config(config)
        self._tensorboard.flush()

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        super().add_image(name, image, step)
        self._tensorboard.flush()

    def add_scalars(self, scalar_dict: dict[str, float], step: int = 0, file_path: str | None = None, **kwargs: Any) -> None:
        """On the disk when it returns: what a killed process had not written would be missing."""
        super().add_scalars(scalar_dict, step)
        self._tensorboard.flush()


class ClearMLRun(TrackerRun, ClearMLVisBackend):
    """The server keeps one value of a (task, scalar, step)."""

    package = module = 'clearml'

    def begin(self, label: str, run: str | None) -> str:
        self._clearml = clearml = import_module(self.module)
        clearml.Task.set_random_seed(None)  # it would seed the generators of the run, in its midst
        given: dict[str, Any] = dict(
            project_name=os.environ.get('CLEARML_PROJECT', PROJECT),  # a variable of ours: ClearML has none
            task_name=label,
            reuse_last_task_id=run or False,
            continue_last_task=0 if run else False,  # 0: steps are counted as they are given
            auto_connect_frameworks=False,  # it would upload each checkpoint
            auto_connect_arg_parser=False,
            auto_connect_streams=False,
            auto_resource_monitoring=False,
        )
        self._task = clearml.Task.init(**given | dict(self._init_kwargs or {}))
        self._logger = self._task.get_logger()
        self._env_initialized = True
        return str(self._task.id)

    def steps(self) -> Mapping[str, Collection[int]]:
        """At most 5,000 of each; nothing where the server does not tell."""
        found = self._task.get_reported_scalars()
        return {title: {int(x) for rows in series.values() for x in rows['x']} for title, series in found.items()}

    def add_config(self, config: Config, **kwargs: Any) -> None:
        self._task.connect_configuration(plain(config), name='config')

    def end(self, finished: bool) -> None:
        self._task.close()


class AimRun(TrackerRun, AimVisBackend):
    """Aim keeps one value of a (run, scalar, step). The repository is `save_dir`, or the `repo` of `init_kwargs`."""

    package = module = 'aim'

    def begin(self, label: str, run: str | None) -> str:
        aim = import_module(self.module)
        os.makedirs(self._save_dir, exist_ok=True)
        given: dict[str, Any] = dict(
            repo=self._save_dir,
            experiment=PROJECT,
            run_hash=run,
            system_tracking_interval=None,
            capture_terminal_logs=False,
        )
        if run:
            given['force_resume'] = True  # a killed process has left its lock
        self._aim_run = aim.Run(**given | dict(self._init_kwargs or {}))
        if not run:
            self._aim_run.name = label
        self._env_initialized = True
        return str(self._aim_run.hash)

    def steps(self) -> Mapping[str, Collection[int]]:
        return {metric.name: set(metric.data.items_list()[0]) for metric in self._aim_run.metrics()}

    def add_config(self, config: Config, **kwargs: Any) -> None:
        self._aim_run['hparams'] = plain(config)


def with_own_random(package: str) -> None:
    """Let the imported modules of a package draw from a generator of their own, where they draw from Python's.

    A run draws from Python's, too, for augmentation: what a tracker's thread takes between would change it.
    """
    global _own_random
    if _own_random is None:
        spec = find_spec('random')
        assert spec is not None and spec.loader is not None
        _own_random = module_from_spec(spec)
        spec.loader.exec_module(_own_random)
    for name, module in sys.modules.copy().items():  # whole, whatever other threads import
        if name.partition('.')[0] == package and vars(module).get('random') is random:
            module.random = _own_random  # type: ignore[attr-defined]


def plain(node: Any) -> Any:
    """A config in the types that JSON has; a class by its name."""
    if isinstance(node, Config):
        node = node.to_dict()
    if isinstance(node, Mapping):
        return {str(key): plain(value) for key, value in node.items()}
    if isinstance(node, (list, tuple, set)):
        return [plain(value) for value in node]
    if isinstance(node, type):
        return f'{node.__module__}.{node.__qualname__}'
    return node if isinstance(node, (str, int, float, bool, type(None))) else str(node)


def _new_folder(parent: Path) -> Path:
    """One that is not there, of the time's name."""
    stamp, count = time.strftime('%Y%m%d_%H%M%S'), 1
    path = parent / stamp
    while path.exists():
        count += 1
        path = parent / f'{stamp}_{count}'
    return path

"""A tracker in memory, and backends of the test's own, for tests of what is done with one."""

from __future__ import annotations

import importlib.util
import sys
from collections import defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

from mmengine.config import Config
from mmengine.registry import VISBACKENDS
from mmengine.visualization import BaseVisBackend

from convnext_dense.training.run_id import NAME
from convnext_dense.training.tracker_kinds import TrackerRun


@VISBACKENDS.register_module()
class Memory(TrackerRun, BaseVisBackend):
    """Runs by their ids: the config, the values of each scalar, and what was called; `served` is the server that has them."""

    package = module = 'json'
    served: dict[str, Memory] = {}  # noqa: RUF012

    def __init__(self, save_dir: str, **given: Any) -> None:
        super().__init__(save_dir)
        self.given, self.key = given, ''

    experiment = property(lambda self: self)

    def _init_env(self) -> None:
        raise AssertionError

    def begin(self, label: str, run: str | None) -> str:
        if run not in self.served:
            self.key = f'{label}_{len(self.served)}'
            self.configs, self.values, self.ends = [], defaultdict(list), []
            self.served[self.key] = self
        else:
            vars(self).update({name: vars(self.served[run])[name] for name in ('key', 'configs', 'values', 'ends')})
        return self.key

    def steps(self) -> dict[str, set[int]]:
        return {name: {step for step, _, _ in rows} for name, rows in self.values.items()}

    def add_config(self, config: Config, **kwargs: Any) -> None:
        self.configs.append(config)

    def add_scalars(self, scalar_dict: dict[str, float], step: int = 0, file_path: str | None = None, **kwargs: Any) -> None:
        for name, value in scalar_dict.items():
            self.values[name].append((step, value, kwargs['at']))

    def end(self, finished: bool) -> None:
        self.ends.append(finished)

    def curve(self, name: str) -> list[tuple[int, float]]:
        return [(step, value) for step, value, _ in self.values[name]]


@VISBACKENDS.register_module()
class Counted(Memory):
    """One that cannot be asked which steps it has."""

    counted = True

    def steps(self) -> dict[str, set[int]]:
        raise AssertionError


def training(work_dir: Path, run: str) -> Path:
    """The work directory, in which a run of that name trains."""
    work_dir.mkdir(exist_ok=True)
    (work_dir / NAME).write_text(run)
    return work_dir


def module(monkeypatch: Any, name: str, **content: Any) -> ModuleType:
    """A package in the place of one that need not be installed."""
    made = ModuleType(name)
    made.__spec__ = importlib.util.spec_from_loader(name, None)
    vars(made).update(content)
    monkeypatch.setitem(sys.modules, name, made)
    return made

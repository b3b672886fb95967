"""A run in a tracker: begun or gone on with, and each step written once. All of it is called in the tracker's thread."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from convnext_dense.files import partial_file
from convnext_dense.training.run_id import run_of
from convnext_dense.training.tracker_kinds import TrackerRun

TIMES = ('time', 'data_time')
FOLDER = 'trackers'  # of a work directory: NAME/ with the tracker's files, NAME.json with the state


@dataclass
class TrackerState:
    """What a work directory keeps of a tracker's run, so that a resumed run goes on in the same one.

    Attributes:
        id: the tracker's own name of it; empty where it did not begin.
        run: the run of the work directory that it is of (`run_id.run_of`); None where that is not known.
        config: whether the config is recorded there.
        steps: the last step of each scalar that the tracker was given.
        logs: the folders of the run's own logs, in the work directory, one for each start.
    """

    id: str
    run: str | None = None
    config: bool = False
    steps: dict[str, int] = field(default_factory=dict)
    logs: list[str] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Whole, or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial_file(path) as partial:
            partial.write_text(json.dumps(asdict(self), indent=1))


def read_state(path: Path) -> TrackerState | None:
    """The state that was written there; None where none can be read. What a killed run left half written is removed."""
    for partial in path.parent.glob(f'{path.name}.*.partial'):
        with suppress(OSError):
            partial.unlink()
    try:
        found = json.loads(path.read_text())
        state = TrackerState(**found)
    except (OSError, ValueError, TypeError):
        return None
    typed = isinstance(state.id, str) and isinstance(state.run, (str, type(None))) and isinstance(state.steps, dict)
    typed = typed and isinstance(state.logs, list) and all(isinstance(log, str) for log in state.logs)
    return state if typed and all(type(step) is int for step in state.steps.values()) else None


class TrackerWriter:
    """Writes what a run logs to a tracker.

    The tracker's run is gone on with where the training run is: it is resumed, and the one that trained last in the work
    directory (`run_id`). A scalar at a step that the tracker has is left out: a killed run logs beyond its last checkpoint,
    and a resumed one computes the same again. What the run's own logs have and the tracker lacks is written when it goes on:
    what was waiting when the run was killed, or when the server was away.

    Args:
        cls: a `TrackerRun`, or any other backend, which begins anew each time.
        given: its arguments.
        name: of its files.
        work_dir: of the run.
        log: the folder of the run's own log.
        resumed: whether the run is; None where that is not known.
        tell: is given a line for the log.
    """

    def __init__(
        self,
        cls: type,
        given: Mapping[str, Any],
        name: str,
        work_dir: Path,
        log: Path,
        resumed: bool | None,
        tell: Callable[[str], None],
    ) -> None:
        folder = work_dir / FOLDER
        self.tracker: Any = cls(**{'save_dir': str(folder / name), **given})
        self.path, self.label = folder / f'{name}.json', work_dir.resolve().name
        self.work_dir, self.log, self.resumed, self.tell = work_dir, os.path.relpath(log, work_dir), resumed, tell
        self.own = isinstance(self.tracker, TrackerRun)
        self.state: TrackerState | None = None
        self.there: Mapping[str, Collection[int]] = {}
        self.begun = self.goes_on = False

    def begin(self) -> None:
        """Begin the tracker's run, or go on with it. Where it failed it may be called again."""
        if not self.own:
            self.tracker._init_env()
            self.tracker._env_initialized = True
            self.state = TrackerState('')
            return
        state = self.state = self.state or self._state()
        if not self.begun:
            state.write(self.path)  # so that a resumed run knows of this log, if it is killed before the tracker begins
            key = self.tracker.begin(self.label, state.id or None)
            self.goes_on = key == state.id
            if not self.goes_on:  # or was deleted there
                state.id, state.config, state.steps = key, False, {}
            state.write(self.path)
            self.begun = True
            self.tell(f'run {key} {"goes on" if self.goes_on else "begins"}')
        if self.goes_on or len(state.logs) > 1:
            self.there = self._steps(state)
            for step, (scalars, at) in logged([self.work_dir / log for log in state.logs[:-1]]).items():
                self.add_scalars(scalars, step, at)
            self.there = self._steps(state)

    def _steps(self, state: TrackerState) -> Mapping[str, Collection[int]]:
        """Of each scalar the steps that are there; up to the last one where the tracker cannot be asked."""
        counted = {name: range(last + 1) for name, last in state.steps.items()}
        return counted if self.tracker.counted else self.tracker.steps()

    def _state(self) -> TrackerState:
        """That of the run which goes on, or a new one."""
        run, before = run_of(self.work_dir), read_state(self.path)
        resumed = run is not None if self.resumed is None else self.resumed
        state = before if before is not None and resumed and before.run == run else TrackerState('', run)
        state.logs = [log for log in state.logs if log != self.log] + [self.log]
        return state

    def add_config(self, config: Config) -> None:
        """Record the config, once in a run."""
        if self.state is not None and not self.state.config:
            self.tracker.add_config(config)
            self.state.config = True
            self._keep()

    def add_image(self, name: str, image: np.ndarray, step: int) -> None:
        """(H, W, 3) uint8."""
        self.tracker.add_image(name, image, step)

    def add_scalars(self, scalars: Mapping[str, float], step: int, at: float) -> None:
        """Those that the tracker does not have; `at`: when they were measured, in seconds since 1970."""
        if not self.own:
            self.tracker.add_scalars(dict(scalars), step)
            return
        named = {self.tracker.named(name): value for name, value in scalars.items()}
        new = {name: value for name, value in named.items() if step not in self.there.get(name, ())}
        if not new:
            return
        self.tracker.add_scalars(new, step, at=at)
        if self.tracker.counted and self.state is not None:
            self.state.steps.update({name: max(step, self.state.steps.get(name, 0)) for name in new})
            self._keep()

    def end(self, finished: bool) -> None:
        """Close the tracker's run; `finished`: the training came to its end."""
        if self.own:
            self.tracker.end(finished)
        else:
            self.tracker.close()

    def _keep(self) -> None:
        if self.own and self.state is not None:
            self.state.write(self.path)


def numbers(scalars: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among what a run logs, as they are now; a tensor or array of one counts.

    The times of an evaluation, which MMEngine calls as those of training, become val/time and val/data_time.
    """
    found: dict[str, float] = {}
    for name, value in scalars.items():
        if isinstance(value, (torch.Tensor, np.ndarray, np.generic)):
            one = np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value)
            value = one.item() if one.size == 1 else None
        if isinstance(value, (int, float)):
            found[f'val/{name}' if name in TIMES and 'iter' not in scalars else name] = float(value)
    return found


def logged(logs: Sequence[Path]) -> dict[int, tuple[dict[str, float], float]]:
    """What MMEngine's LocalVisBackend wrote in these folders: at each step its numbers, and when the file was written.

    Where a run that was killed and one that was resumed logged the same, it is taken once.
    """
    found: dict[int, tuple[dict[str, float], float]] = {}
    for log in logs:
        path = log / 'scalars.json'
        with suppress(OSError):
            at = path.stat().st_mtime
            for line in path.read_text().splitlines():
                with suppress(ValueError, TypeError, KeyError):  # the last one of a killed run may be half a line
                    row = dict(json.loads(line))
                    values = found.setdefault(int(row.pop('step')), ({}, at))[0]
                    values.update({name: value for name, value in numbers(row).items() if name not in values})
    return found

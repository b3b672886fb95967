"""A run's log as it lies in its work directory: of every start that went on where the one before was, as one curve."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convnext_dense.errors import InputError
from convnext_dense.run.finished import NAME as FINISHED
from convnext_dense.training.work_dir_lock import check_free

PICTURES = 'report/validation'  # in the work directory: truth_K.jpg, and ITERATION_K.jpg of each validation
PLACE = 'vis_data/scalars.json'  # of mmengine's LocalVisBackend, in a folder named after the time of the start
NO_METRIC = ('step', 'iter', 'epoch', 'time', 'data_time', 'memory')  # of an evaluation's line
FIGURES = ('mIoU', 'coco/segm_mAP', 'coco/bbox_mAP')  # that a model is known by, the first that is there

Row = dict[str, Any]


@dataclass
class Log:
    """Lines of training and of evaluations, by rising iteration, under `step`; what was left out, in `told`."""

    folder: Path
    train: list[Row] = field(default_factory=list)
    val: list[Row] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)  # of the starts that trained
    starts: list[int] = field(default_factory=list)  # the first iteration that each start after the first logged
    told: list[str] = field(default_factory=list)

    @property
    def iteration(self) -> int:
        """The last that was logged."""
        return max((row['step'] for row in (*self.train[-1:], *self.val[-1:])), default=0)

    @property
    def state(self) -> str:
        """'running', 'finished', 'stopped', or 'unknown' where the file system has no locks and the run is not finished."""
        if (self.folder / FINISHED).is_file():  # removed when a run begins
            return 'finished'
        try:
            return 'stopped' if check_free(self.folder) else 'unknown'
        except InputError:
            return 'running'

    @property
    def metrics(self) -> list[str]:
        """Names of what the evaluations measured, the figure that the model is known by first."""
        names = dict.fromkeys(
            name for row in self.val for name, value in row.items() if name not in NO_METRIC and _number(value)
        )
        return sorted(names, key=lambda name: FIGURES.index(name) if name in FIGURES else len(FIGURES))

    def values(self, name: str, val: bool = False) -> tuple[list[int], list[float]]:
        """Iterations and values under a name, of training or of evaluations; what is not a number is a gap (NaN)."""
        rows = [row for row in (self.val if val else self.train) if _number(row.get(name))]
        return [row['step'] for row in rows], [_finite(row[name]) for row in rows]

    def best(self, name: str) -> tuple[int, float] | None:
        """Iteration and value of the best evaluation by a metric of which more is better."""
        found = [(step, value) for step, value in zip(*self.values(name, val=True)) if not math.isnan(value)]
        return max(found, key=lambda pair: pair[1], default=None)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _finite(value: float) -> float:
    """Drawn as a gap where it is not finite."""
    return float(value) if math.isfinite(value) else math.nan


def read_log(folder: Path | str) -> Log:
    """The log of the run in a work directory.

    A start whose first line is of an iteration that an earlier one had logged, too, replaces the earlier one's lines from there
    on: it went on from a checkpoint, where it may evaluate before it trains, or began anew. Lines that cannot be read, as one
    that was cut when the process was killed, are left out and told.

    Raises:
        InputError: if there is no work directory, or no log of training in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = 'a file' if folder.is_file() else 'not there'
        raise InputError(f'work directory: expected the folder of a run, got {folder} which is {what}; check the path')
    log, files = Log(folder), sorted(folder.glob(f'*/{PLACE}'))
    for file in files:
        rows = _rows(file, log.told)
        train = [row for row in rows if _of_training(row)]
        first = train[0]['step'] if train else math.inf
        before = [row for row in log.train if row['step'] < first]
        val = _evaluations(rows, before)
        evaluated = [row['step'] for row in val]
        end = min([first, *evaluated]) if train else math.inf
        log.val = [row for row in log.val if row['step'] < end and row['step'] not in evaluated] + val
        log.val.sort(key=lambda row: row['step'])
        if not train:
            continue  # of a test, or a start that did not come to its first line: at most it evaluated
        log.folders.append(file.parents[1])
        if log.train:
            log.starts.append(train[0]['step'])
        log.train = before + train
        log.starts = [start for start in log.starts if start <= first and log.train[0]['step'] < start]
    if not log.train:
        known = ', '.join(sorted(path.name for path in folder.iterdir())[:5]) or 'nothing'
        raise InputError(
            f'work directory: expected the log of a training run ({PLACE} in a folder of its start), found none in {folder} '
            f'({"files without a line of training" if files else known}); name the work directory of a run'
        )
    return log


def _rows(file: Path, told: list[str]) -> list[Row]:
    rows: list[Row] = []
    broken = 0
    for line in file.read_bytes().splitlines():
        row = _parsed(line)
        if row is not None:
            rows.append(row)
        else:
            broken += bool(line.strip())
    if broken:
        lines = '1 line that is' if broken == 1 else f'{broken} lines that are'
        told.append(f'{file.parent.parent.name}: {lines} no whole JSON left out, as of a run that was killed while it wrote')
    return rows


def _of_training(row: Row) -> bool:
    return 'iter' in row or 'loss' in row


def _evaluations(rows: Sequence[Row], before: Sequence[Row]) -> list[Row]:
    """Those among the lines of a start, one for each step, under the iteration that they came after.

    Where training is logged by epochs, an evaluation's own step is its epoch: it is put at the last iteration that was logged
    up to that epoch, also by the starts `before`, whose lines of training these are.
    """
    found: dict[int, Row] = {}
    by_epoch = any('epoch' in row for row in (*before[-1:], *filter(_of_training, rows)))
    trained = list(before)
    first = next((row['step'] for row in rows if _of_training(row)), None)
    for row in rows:
        if _of_training(row):
            trained.append(row)
            continue
        if by_epoch:
            steps = [one['step'] for one in trained if one.get('epoch', 0) <= row['step']]
            step = steps[-1] if steps else 0 if first is None else max(first - 1, 0)  # resumed in a new folder: just before
            row = {**row, 'step': step, 'epoch': row['step']}
        found[row['step']] = row
    return [found[step] for step in sorted(found)]


def _parsed(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except ValueError:  # also of bytes that are no text
        return None
    return row if isinstance(row, dict) and isinstance(row.get('step'), int) else None


def losses(logs: Sequence[Log]) -> list[str]:
    """Names of the parts of the loss, such as decode.loss_ce."""
    names = dict.fromkeys(name for log in logs for row in log.train for name in row)
    return [name for name in names if name != 'loss' and 'loss' in name.rpartition('.')[2]]

"""Runs that are killed at random moments and resumed, compared bit by bit with undisturbed ones: `make soak KILLS=100`.

Each run is a process of its own, forked from this one, which has imported the libraries. A kill comes at any time, while a
checkpoint is written, during an evaluation, or as a signal that asks for a checkpoint.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from convnext_dense.commands import train
from convnext_dense.data.shapes import write_shapes
from convnext_dense.run.command import exit_with_line

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 300  # seconds that a run may take
LEAVE = 60  # seconds in which the others end after one of several processes was killed
OWN_TO_A_RUN = ('.time', '.data_time', '.memory', '.eta', '/time', '/data_time', '/memory')
OF_THE_META = ('.meta.cfg', '.meta.experiment_name', '.meta.made_by', '.meta.run', '.meta.mmengine_version')
OF_THE_FOLDER = ('last_ckpt', 'keep_ckpt_ids', 'best_ckpt', '.cfg', 'experiment_name', 'mmengine_version')

COMMON = """
train_dataloader = dict(batch_size=2, num_workers={workers}, persistent_workers={workers} > 0)
val_dataloader = dict(num_workers=0, persistent_workers=False)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(by_epoch=False, interval=3, max_keep_ckpts=2, save_best='{best}'))
"""
AVERAGE = dict(type='EMAHook', momentum=0.05, update_buffers=True)


@dataclass(frozen=True)
class Case:
    """A run: a recipe, what its config adds, options, processes."""

    name: str
    recipe: str
    config: str = ''
    workers: int = 0
    processes: int = 1
    options: tuple[str, ...] = ()
    changing_workers: bool = False  # each start has another number of loading processes

    def text(self) -> str:
        best = 'mIoU' if self.recipe == UPERNET else 'coco/bbox_mAP'
        loop = ITERATIONS if self.recipe == UPERNET else EPOCHS
        return (
            f"_base_ = '{ROOT}/configs/{self.recipe}.py'\n{COMMON.format(workers=self.workers, best=best)}{loop}{self.config}\n"
        )


UPERNET, MASK_RCNN = 'upernet_convnext_atto_shapes', 'mask_rcnn_convnext_atto_shapes'
ITERATIONS = 'train_cfg = dict(max_iters=14, val_interval=5)\n'
EPOCHS = 'train_cfg = dict(max_epochs=3, val_interval=1)\n'
SHORT_UPERNET = """
train_cfg.update(max_iters=8, val_interval=3)
train_pipeline = _base_.train_pipeline
train_pipeline[2].crop_size = (64, 64)
train_dataloader.update(dataset=dict(pipeline=train_pipeline))
model = dict(data_preprocessor=dict(size=(64, 64)))"""
SHORT = {UPERNET: SHORT_UPERNET, MASK_RCNN: 'train_cfg.update(max_epochs=2)'}
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
EMA = f'custom_hooks = [{AVERAGE}]'
STOPS = f"custom_hooks = [{AVERAGE}, dict(type='EarlyStoppingHook', monitor='mIoU', rule='greater', patience=2)]"
BY_EPOCH = "default_hooks['checkpoint'].update(by_epoch=True, interval=1)"
ACCUMULATED = 'optim_wrapper = dict(accumulative_counts=4)'
CASES = [
    Case('upernet', UPERNET),
    Case('upernet, 2 workers', UPERNET, workers=2),
    Case('upernet, AMP', UPERNET, options=('--amp',)),
    Case('upernet, EMA, early stopping', UPERNET, STOPS),
    Case('upernet, accumulation', UPERNET, ACCUMULATED),
    Case('upernet, 2 workers, AMP, EMA, accumulation', UPERNET, f'{EMA}\n{ACCUMULATED}', 2, options=('--amp',)),
    Case('upernet, 2 processes', UPERNET, processes=2),
    Case('upernet, 2 processes, 1 worker each, EMA, accumulation', UPERNET, f'{EMA}\n{ACCUMULATED}', 1, 2),
    Case('upernet, changing workers', UPERNET, changing_workers=True),
    Case('mask r-cnn', MASK_RCNN),
    Case('mask r-cnn, 2 workers, EMA, accumulation', MASK_RCNN, f'{EMA}\n{ACCUMULATED}', 2),
    Case('mask r-cnn, AMP, by epochs', MASK_RCNN, BY_EPOCH, options=('--amp',)),
    Case('mask r-cnn, 2 processes', MASK_RCNN, processes=2),
]


class Run:
    """The processes of one run, forked; `log` is what they write."""

    def __init__(self, case: Case, folder: Path, data: Path, work_dir: Path, resume: bool, workers: int | None = None) -> None:
        config, self.log = folder / 'soak.py', folder / f'{work_dir.name}.log'
        if not config.exists():
            config.write_text(case.text())
        argv = ['tools/train.py', str(config), '--data-root', str(data), '--work-dir', str(work_dir), '--seed', '3']
        argv += ['--check-data', 'off', *case.options, *(['--resume', 'auto'] if resume else [])]
        if workers is not None:
            loading = [f'train_dataloader.num_workers={workers}', f'train_dataloader.persistent_workers={workers > 0}']
            argv += ['--cfg-options', *loading]
        ranks: list[dict[str, str]] = [{}]
        if case.processes > 1:
            argv += ['--launcher', 'pytorch']
            shared = dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(free_port()), WORLD_SIZE=str(case.processes))
            ranks = [shared | dict(RANK=str(i), LOCAL_RANK=str(i)) for i in range(case.processes)]
        self.begun = time.monotonic()
        self.log.write_text('')
        self.pids = [self._fork(argv, env) for env in ranks]
        self.codes: dict[int, int] = {}

    def _fork(self, argv: list[str], env: dict[str, str]) -> int:
        pid = os.fork()
        if pid:
            return pid
        code = 70
        try:
            os.setsid()
            target = os.open(self.log, os.O_WRONLY | os.O_APPEND)
            for stream in (1, 2):
                os.dup2(target, stream)
            os.environ.update(env)
            sys.argv = argv
            signal.signal(signal.SIGINT, signal.default_int_handler)
            exit_with_line(train.main)
            code = 0
        except SystemExit as error:
            code = int(error.code or 0)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            atexit._run_exitfuncs()
            os._exit(code)

    def alive(self) -> bool:
        """Whether a process still runs; the codes of those that ended are kept."""
        for pid in self.pids:
            ended, status = os.waitpid(pid, os.WNOHANG) if pid not in self.codes else (0, 0)
            if ended:
                self.codes[pid] = os.waitstatus_to_exitcode(status)
        return len(self.codes) < len(self.pids)

    def kill(self, number: int = signal.SIGKILL, one: bool = False) -> None:
        """Send a signal to every process and its loading processes, or to one process alone."""
        for pid in self.pids[-1:] if one else self.pids:
            if pid not in self.codes:
                try:
                    os.kill(pid, number) if one or number != signal.SIGKILL else os.killpg(pid, number)
                except ProcessLookupError:
                    continue

    def wait(self, seconds: float) -> bool:
        """Whether every process ended in time."""
        end = time.monotonic() + seconds
        while self.alive() and time.monotonic() < end:
            time.sleep(0.01)
        return not self.alive()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


KINDS = ('any time', 'any time', 'while a checkpoint is written', 'during an evaluation', 'a signal', 'one process alone')


def moment(run: Run, work_dir: Path, rng: random.Random, kind: str, duration: float) -> bool:
    """Wait for a moment of this kind; False where the run ended before."""
    until, seen = run.begun + rng.uniform(0.05, 1.0) * duration, rng.randint(1, 6)
    while run.alive():
        text = run.log.read_text(errors='replace')
        due = dict.fromkeys(KINDS, time.monotonic() >= until)
        due['while a checkpoint is written'] = any(work_dir.glob('*.partial'))
        due['during an evaluation'] = text.count('(val)') >= seen
        due['a signal'] = due['one process alone'] = due['any time'] and '(train)' in text
        if due[kind]:
            return True
        time.sleep(0.002)
    return False


def killed_at_random(case: Case, folder: Path, data: Path, rng: random.Random, kills: int, duration: float) -> Counter[str]:
    """Start again and again with --resume auto, kill `kills` times, and let the last one end; how often it was killed when."""
    done: Counter[str] = Counter()
    kinds = [kind for kind in KINDS if case.processes > 1 or kind != 'one process alone']
    while True:
        workers = rng.choice([0, 1, 2]) if case.changing_workers else None
        run = Run(case, folder, data, folder / 'killed', resume=True, workers=workers)
        kind = rng.choice(kinds)
        if sum(done.values()) < kills and moment(run, folder / 'killed', rng, kind, duration):
            run.kill(rng.choice(SIGNALS) if kind == 'a signal' else signal.SIGKILL, one=kind == 'one process alone')
            if not run.wait(LEAVE):
                run.kill()
                raise SystemExit(f'{case.name}: still there {LEAVE} s after it was killed ({kind}); see {run.log}')
            done[kind] += 1
            continue
        if not run.wait(PATIENCE) or any(run.codes.values()):
            run.kill()
            raise SystemExit(f'{case.name}: ended with {sorted(run.codes.values())}; see {run.log}')
        return done


def flat(node: Any, key: str = '') -> Iterator[tuple[str, Any]]:
    """The leaves of a checkpoint, by dotted key."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from flat(value, f'{key}.{name}')
    elif isinstance(node, (list, tuple)):
        for i, value in enumerate(node):
            yield from flat(value, f'{key}[{i}]')
    else:
        yield key, np.asarray(node._log_history) if isinstance(node, HistoryBuffer) else node


def same(one: Any, other: Any) -> bool:
    """Equal in all bits."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and one.numpy().tobytes() == other.numpy().tobytes()
    if isinstance(one, np.ndarray):
        return one.shape == np.shape(other) and one.tobytes() == other.tobytes()
    return type(one) is type(other) and (one == other or (one != one and other != other))


def differences(one: Path, other: Path) -> tuple[int, list[str]]:
    """Compared entries of two checkpoints, and those that differ. Times of day, durations and paths are left out."""
    first, second = (dict(flat(torch.load(path, weights_only=True))) for path in (one, other))
    keys = [
        k
        for k in first.keys() | second.keys()
        if not k.endswith((*OWN_TO_A_RUN, *OF_THE_FOLDER)) and not k.startswith(OF_THE_META)
    ]
    missing = object()
    return len(keys), sorted(k for k in keys if not same(first.get(k, missing), second.get(k, missing)))


def losses(work_dir: Path) -> dict[tuple[str, int], float]:
    """The last logged value of each loss at each step, and of each metric."""
    found = {}
    for path in sorted(work_dir.glob('*/vis_data/scalars.json'), key=lambda p: p.parent.parent.name):
        for line in path.read_text().splitlines():
            row = json.loads(line) if line.endswith('}') else {}
            found |= {(k, row['step']): v for k, v in row.items() if not k.endswith('time') and k not in ('step', 'memory')}
    return found


def last(work_dir: Path) -> Path:
    return work_dir / Path((work_dir / 'last_checkpoint').read_text().strip()).name


def compare(case: Case, folder: Path) -> int:
    """How many values of checkpoints and logs are equal in all bits.

    Raises:
        SystemExit: where one is not.
    """
    whole, killed = folder / 'whole', folder / 'killed'
    there = [{path.name for path in one.glob('*.pth')} for one in (whole, killed)]
    wanted = {name for name in there[0] if name.startswith('best')} | {last(whole).name}
    if not wanted <= there[1]:
        raise SystemExit(f'{case.name}: expected {sorted(wanted)}, found {sorted(there[1])}; see {folder}')
    compared = 0
    for name in sorted(there[0] & there[1]):  # which older ones are kept depends on signals, which save more often
        count, differ = differences(whole / name, killed / name)
        compared += count
        if differ:
            raise SystemExit(f'{case.name}: {name}: {len(differ)} of {count} entries differ: {differ[:5]}; see {folder}')
    logged, again = losses(whole), losses(killed)
    wrong = [key for key in logged.keys() | again.keys() if again.get(key) != logged.get(key)]
    if wrong:
        raise SystemExit(f'{case.name}: {len(wrong)} of {len(logged)} logged values differ: {wrong[:5]}; see {folder}')
    return compared + len(logged)


def soak(case: Case, kills: int, seed: int, data: Path, folder: Path) -> str:
    """Run a case undisturbed and killed; a line about it.

    Raises:
        SystemExit: where the two differ, or one does not end.
    """
    folder.mkdir()
    rng = random.Random(f'{seed} {case.name}')
    run = Run(case, folder, data, folder / 'whole', resume=False)
    if not run.wait(PATIENCE) or any(run.codes.values()):
        run.kill()
        raise SystemExit(f'{case.name}: the undisturbed run ended with {sorted(run.codes.values())}; see {run.log}')
    duration = time.monotonic() - run.begun
    done: Counter[str] = Counter()
    compared = 0
    while sum(done.values()) < kills:
        done += killed_at_random(case, folder, data, rng, kills - sum(done.values()), duration)
        compared += compare(case, folder)
        shutil.rmtree(folder / 'killed')
    when = ', '.join(f'{count} {kind}' for kind, count in sorted(done.items()))
    equal = f'{compared} values of checkpoints and logs equal'
    return f'{case.name}: {sum(done.values())} kills ({when}); {equal}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--kills', type=int, default=100, help='of all cases together')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--cases', nargs='+', default=[case.name for case in CASES], metavar='NAME')
    parser.add_argument('--short', action='store_true', help='8 iterations of small crops or 2 epochs, in place of 14 or 3')
    args = parser.parse_args()
    cases = [case for case in CASES if case.name in args.cases]
    if args.short:
        cases = [replace(case, config=f'{case.config}\n{SHORT[case.recipe]}') for case in cases]
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix='soak_'))
    write_shapes(folder / 'shapes', train=9, val=3)
    for i, case in enumerate(cases):
        kills = args.kills // len(cases) + (i < args.kills % len(cases))
        print(soak(case, kills, args.seed, folder / 'shapes', folder / str(i)), flush=True)
    shutil.rmtree(folder)
    print(f'{args.kills} kills survived, {len(cases)} runs bit-equal to undisturbed ones')


if __name__ == '__main__':
    main()

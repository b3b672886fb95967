"""Stopping on a signal or before a time limit, with a checkpoint, so that nothing is trained twice."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from mmengine.dist import is_distributed
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from convnext_dense.errors import InputError, Stopped

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
TIME_IS_UP = 75  # exit status; EX_TEMPFAIL of sysexits.h: try again
LEAST_MARGIN = 10.0  # seconds
NOTE = b'\nstopping after this iteration, with a checkpoint; once more ends at once\n'


def _started() -> float:
    """When this process began, on the monotonic clock; now where the system does not tell."""
    try:
        ticks = int(Path('/proc/self/stat').read_text().rpartition(')')[2].split()[19])
        return time.monotonic() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf('SC_CLK_TCK')
    except (OSError, ValueError, AttributeError):
        return time.monotonic()


STARTED = _started()


@HOOKS.register_module()
class StopHook(Hook):
    """Ends training after the iteration in which SIGTERM, SIGINT or SIGUSR1 came, or before a time limit, with a checkpoint.

    In an evaluation it ends at once: a resumed run evaluates first. The run ends with `Stopped`, whose status is 128 plus the
    signal's number, or `TIME_IS_UP`; under torchrun, which takes any other status for a failure and restarts, it is 0. All
    processes stop after the same iteration. A second signal ends the process as if there were no hook.

    Args:
        time_limit: seconds from the start of the process, by a clock that is not set; None for none. Training stops early
            enough for two more iterations and for the checkpoint to be written twice; in an evaluation, also for its metrics.
    """

    priority = 'LOWEST'

    def __init__(self, time_limit: float | None = None) -> None:
        self.time_limit, self.status = time_limit, 0
        self.before: dict[int, Any] = {}
        self.begun, self.common = False, 0
        self.longest = self.last = 0.0
        self.start, self.evaluated = 0, False  # whether a run that is started again gets anywhere
        self.evaluating = self.computing = 0.0  # when the evaluation began; the longest time from its last iteration to its end
        self.group: Any = None

    def before_train(self, runner: Runner) -> None:
        """Listen to the signals; only the main thread can."""
        self.last, self.begun = time.monotonic(), True
        self.start, self.evaluated = runner.iter, False
        if is_distributed() and dist.get_backend() != 'gloo':
            self.group = dist.new_group(backend='gloo')  # a flag on the CPU waits for no kernel
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._asked) for number in SIGNALS}

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if self.status:
            self._listen_no_more()
            os.kill(os.getpid(), number)
            return
        self.status = 128 + number
        os.write(2, NOTE)

    def _listen_no_more(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None) -> None:
        """Stop where any process was asked to, or the time is up."""
        now = time.monotonic()
        self.longest, self.last = max(self.longest, now - self.last), now
        self._look_at_the_clock(runner, now)
        status = self._agreed()
        if status and runner.iter + 1 < runner.max_iters:
            self._stop(runner, status, runner.iter + 1)

    def before_val_epoch(self, runner: Runner) -> None:
        """How many iterations of the evaluation every process has, after which they agree."""
        self.common, self.evaluating = len(runner.val_dataloader), time.monotonic()
        if is_distributed():
            common = torch.tensor(self.common)
            dist.all_reduce(common, dist.ReduceOp.MIN, group=self.group)
            self.common = int(common)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Stop an evaluation that was asked to: it is not of use before its end."""
        self.last = time.monotonic()
        if not self.begun or batch_idx >= self.common:
            return
        self._look_at_the_clock(runner, self.last, self.computing)
        status = self._agreed()
        if status == TIME_IS_UP and runner.iter == self.start and not self.evaluated:
            raise self._too_short(runner, batch_idx + 1)
        if status:
            self._stop(runner, status, runner.iter, evaluating=True)

    def after_val_epoch(self, runner: Runner, metrics: Any = None) -> None:
        """An evaluation is no iteration."""
        now = time.monotonic()
        self.computing, self.last, self.evaluated = max(self.computing, now - self.last), now, True

    def after_train(self, runner: Runner) -> None:
        """Leave the signals to whoever had them."""
        self._listen_no_more()

    def _look_at_the_clock(self, runner: Runner, now: float, margin: float = 0.0) -> None:
        if self.time_limit is None or self.status:
            return
        saving = max((getattr(hook, 'seconds', 0.0) for hook in runner.hooks), default=0.0)
        if now - STARTED + max(LEAST_MARGIN, 2 * self.longest + 2 * saving) + margin >= self.time_limit:
            self.status = TIME_IS_UP

    def _agreed(self) -> int:
        """The status of the process that was asked first, or 0; the same in every process."""
        if not is_distributed():
            return self.status
        flag = torch.tensor(self.status)
        dist.all_reduce(flag, dist.ReduceOp.MAX, group=self.group)
        return int(flag)

    def _too_short(self, runner: Runner, done: int) -> InputError:
        """Started again and again, the run would stop here each time."""
        took, before = time.monotonic() - self.evaluating, self.evaluating - STARTED
        self._listen_no_more()
        return InputError(
            f'time limit: expected time for an evaluation, got {self.time_limit:.0f} s, of which {before:.0f} s went before it '
            f'and {took:.0f} s for {done} of its {len(runner.val_dataloader)} iterations; nothing was trained; give more time, '
            'or evaluate fewer images'
        )

    def _stop(self, runner: Runner, status: int, done: int, evaluating: bool = False) -> None:
        why = 'the time limit' if status == TIME_IS_UP else signal.Signals(status - 128).name
        line = f'stopped by {why} after {done} of {runner.max_iters} iterations'
        save: Callable[..., str] | None = next((hook.save_now for hook in runner.hooks if hasattr(hook, 'save_now')), None)
        try:
            if save is not None:
                save(runner, why, done, evaluating)
        except InputError as error:
            raise InputError(f'{line}, which could not be saved: {error}') from error
        finally:
            self._listen_no_more()
        kept = '' if save is not None else ' without a checkpoint, which SafeCheckpointHook would have saved'
        line = f'{line}{kept}; --resume goes on'
        runner.logger.info(line)
        raise Stopped(line, 0 if 'TORCHELASTIC_RUN_ID' in os.environ else status)

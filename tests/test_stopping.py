"""Training that is asked to stop does, with a checkpoint, and goes on to the same bits."""

import os
import re
import signal
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from tiny_runs import equal, runner, state

from convnext_dense.errors import InputError, Stopped
from convnext_dense.training import stopping
from convnext_dense.training.stopping import SIGNALS, TIME_IS_UP, StopHook

SAFE = dict(checkpoint=dict(type='SafeCheckpointHook', by_epoch=False, interval=100))
EMA = dict(type='EMAHook', momentum=0.1)


class Sends(Hook):
    """Signals to this process, at a training iteration or within an evaluation."""

    def __init__(self, number: int, at: int | None = None, evaluation: int | None = None, times: int = 1) -> None:
        self.number, self.at, self.evaluation, self.times = number, at, evaluation, times

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if runner.iter == self.at:
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if runner.iter == self.evaluation:
            os.kill(os.getpid(), self.number)


def run(work_dir: Path, loop: dict, *hooks: Any, **given: Any):
    made = runner(work_dir, loop, default_hooks=SAFE, custom_hooks=[EMA, StopHook(), *hooks], **given)
    made.train()
    return made


LOOPS = [dict(max_iters=7, val_interval=3), dict(max_epochs=2, val_interval=1)]


@pytest.mark.parametrize('number', SIGNALS)
@pytest.mark.parametrize('loop', LOOPS, ids=['iterations', 'epochs'])
def test_a_signal_ends_it_after_the_iteration(tmp_path, number: int, loop: dict, capfd) -> None:
    before = [signal.getsignal(one) for one in SIGNALS]
    whole = run(tmp_path / 'whole', loop)
    with pytest.raises(Stopped, match=f'^{128 + number}$') as error:
        run(tmp_path / 'stopped', loop, Sends(number, at=1))
    name = signal.Signals(number).name
    assert error.value.message == f'stopped by {name} after 2 of {whole.max_iters} iterations; --resume goes on'
    assert 'stopping after this iteration' in capfd.readouterr().err
    assert [signal.getsignal(one) for one in SIGNALS] == before, 'those that were there before'
    file = tmp_path / 'stopped/iter_2.pth'
    assert (tmp_path / 'stopped/last_checkpoint').read_text() == str(file)
    again = run(tmp_path / 'again', loop, resume=True, load_from=str(file))
    assert equal(state(again), state(whole))


@pytest.mark.parametrize('loop, at', zip(LOOPS, (3, 4)), ids=['iterations', 'epochs'])
def test_an_evaluation_ends_at_once(tmp_path, loop: dict, at: int) -> None:
    """The averaged weights, which are in the model then, are not taken for its own."""
    whole = run(tmp_path / 'whole', loop)
    with pytest.raises(Stopped, match='^143$'):
        run(tmp_path / 'stopped', loop, Sends(signal.SIGTERM, evaluation=at))
    again = run(tmp_path / 'again', loop, resume=True, load_from=str(tmp_path / f'stopped/iter_{at}.pth'))
    assert equal(state(again), state(whole))


def test_a_second_signal_ends_it_as_ever(tmp_path) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, LOOPS[0], Sends(signal.SIGINT, at=1, times=2))
    finally:
        signal.signal(signal.SIGINT, before)
    assert not (tmp_path / 'iter_2.pth').exists()


def test_the_last_iteration_is_not_stopped(tmp_path) -> None:
    assert run(tmp_path, dict(max_iters=3), Sends(signal.SIGTERM, at=2)).iter == 3


def test_before_a_time_limit(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(stopping, 'LEAST_MARGIN', 3.0)
    monkeypatch.setattr(stopping, 'STARTED', time.monotonic())

    class Sleeps(Hook):
        def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
            time.sleep(0.3)

    made = runner(tmp_path, dict(max_iters=50), default_hooks=SAFE, custom_hooks=[StopHook(time_limit=5.0), Sleeps()])
    with pytest.raises(Stopped, match=f'^{TIME_IS_UP}$') as error:
        made.train()
    assert time.monotonic() - stopping.STARTED < 5.0 and 'stopped by the time limit after' in error.value.message
    assert torch.load(next(tmp_path.glob('iter_*.pth')), weights_only=True)['meta']['iter'] > 1


class Slow(Hook):
    """The time is all but up in the second iteration of an evaluation."""

    priority = 'VERY_HIGH'

    def __init__(self, monkeypatch: Any) -> None:
        self.monkeypatch = monkeypatch

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if batch_idx == 1:
            self.monkeypatch.setattr(stopping, 'STARTED', time.monotonic() - 95)


def test_a_limit_that_is_too_short_for_an_evaluation(tmp_path, monkeypatch) -> None:
    """The first time the run stops with what it has trained; the next time it would train nothing."""
    file = str(tmp_path / 'iter_2.pth')
    for given, end in (({}, Stopped), (dict(resume=True, load_from=file), InputError)):
        monkeypatch.setattr(stopping, 'STARTED', time.monotonic())
        hooks = [StopHook(time_limit=100.0), Slow(monkeypatch)]
        made = runner(tmp_path, dict(max_iters=4, val_interval=2), default_hooks=SAFE, custom_hooks=hooks, **given)
        before = [signal.getsignal(number) for number in SIGNALS]
        with pytest.raises(end) as error:
            made.train()
        assert made.iter == 2 and [signal.getsignal(number) for number in SIGNALS] == before
    message = r'expected time for an evaluation, got 100 s, of which \d+ s went before it and \d s for 2 of its 4 iterations'
    assert re.search(message, str(error.value))


class Scored(Hook):
    """The metrics of an evaluation take a while."""

    priority = 'VERY_HIGH'

    def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
        time.sleep(0.2)


def test_the_time_of_the_metrics_is_left(tmp_path, monkeypatch) -> None:
    """40 seconds of 100 are left, of which metrics that took 35 leave less than the least margin."""
    monkeypatch.setattr(stopping, 'STARTED', time.monotonic() - 60)
    for took, after in ((0.0, 3), (35.0, 1)):
        hook = StopHook(time_limit=100.0)
        hook.computing = took
        hooks = [hook, Scored()]
        made = runner(tmp_path, dict(max_iters=3, val_interval=1), default_hooks=SAFE, custom_hooks=hooks)
        with pytest.raises(Stopped, match=f'^{TIME_IS_UP}$') if took else nullcontext():
            made.train()
        assert made.iter == after and max(took, 0.2) <= hook.computing


def test_the_clock_may_be_set(tmp_path, monkeypatch) -> None:
    """A day on by the clock on the wall."""
    monkeypatch.setattr(time, 'time', lambda: 1e10)
    made = runner(tmp_path, dict(max_iters=2), default_hooks=SAFE, custom_hooks=[StopHook(time_limit=3600.0)])
    monkeypatch.setattr(stopping, 'STARTED', time.monotonic())
    made.train()
    assert made.iter == 2


def test_under_torchrun_a_stop_is_no_failure(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'x')
    with pytest.raises(Stopped, match='^0$'):
        run(tmp_path, dict(max_iters=4), Sends(signal.SIGUSR1, at=1))


def test_without_a_hook_that_saves(tmp_path) -> None:
    made = runner(tmp_path, dict(max_iters=4), custom_hooks=[StopHook(), Sends(signal.SIGTERM, at=2)])
    with pytest.raises(Stopped) as error:
        made.train()
    assert 'without a checkpoint, which SafeCheckpointHook would have saved; --resume' in error.value.message


def test_what_could_not_be_saved_is_told(tmp_path) -> None:
    """With the last good one, as an error: --resume goes on from there, not from the iteration at which it stopped."""
    (tmp_path / 'out').touch()
    hook = dict(type='SafeCheckpointHook', by_epoch=False, interval=100, out_dir=str(tmp_path / 'out'))
    before = [signal.getsignal(number) for number in SIGNALS]
    made = runner(
        tmp_path / 'run',
        dict(max_iters=4),
        default_hooks=dict(checkpoint=hook),
        custom_hooks=[StopHook(), Sends(signal.SIGTERM, at=2)],
    )
    with pytest.raises(InputError) as error:
        made.train()
    assert str(error.value).startswith('stopped by SIGTERM after 3 of 4 iterations, which could not be saved: checkpoint: exp')
    assert 'could not write the last one' in str(error.value) and 'there is no good one; mend that' in str(error.value)
    assert [signal.getsignal(number) for number in SIGNALS] == before

"""A loss above its band is told with its pictures, once in a while; ordinary losses are not."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mmengine.logging import HistoryBuffer
from mmengine.structures import BaseDataElement

from convnext_dense import InputError
from convnext_dense.training.spikes import LossSpikeHook, upper_bound


class Run:
    """The losses of a run, one after the other, and what was told."""

    def __init__(self, hook: LossSpikeHook) -> None:
        self.hook, self.lines, self.iter = hook, list[str](), 0
        self.message_hub = SimpleNamespace(log_scalars={})
        self.logger = SimpleNamespace(log=lambda level, line: self.lines.append(line))

    def take(self, *losses: float) -> list[str]:
        batch = dict(data_samples=[BaseDataElement(metainfo=dict(img_path='a.png'))])
        for loss in losses:
            self.message_hub.log_scalars.setdefault('train/loss', HistoryBuffer()).update(float(loss))
            self.hook.after_train_iter(self, self.iter, batch)
            self.iter += 1
        return self.lines


def falling(iterations: int, noise: float, seed: int = 0) -> np.ndarray:
    """Losses as of a training: from 3 towards 0.3, with noise of a gamma distribution, which has a long tail."""
    rng = np.random.default_rng(seed)
    steps = np.arange(iterations)
    return (0.3 + 2.7 * np.exp(-steps / 150)) * rng.gamma(1 / noise**2, noise**2, iterations)


@pytest.mark.parametrize('noise', [0.05, 0.2, 0.4])
def test_ordinary_training_is_not_told(noise: float) -> None:
    for seed in range(3):
        assert Run(LossSpikeHook()).take(*falling(800, noise, seed)) == []


@pytest.mark.parametrize('noise', [0.05, 0.2, 0.4])
def test_a_tenfold_loss_is_told_with_its_pictures(noise: float) -> None:
    run = Run(LossSpikeHook())
    losses = falling(300, noise)
    losses[250] = 10 * np.median(losses[50:250])
    (line,) = run.take(*losses)
    median, bound = upper_bound(losses[50:250], 10.0)
    assert line == (
        f'loss: iteration 251: {losses[250]:.4g} is above its band, up to {bound:.4g} (median {median:.4g} of 200 iterations); '
        'pictures: a.png'
    )


def test_the_bound_by_hand() -> None:
    assert upper_bound(np.array([1.0, 2.0, 3.0, 4.0, 9.0]), 10.0) == (3.0, 3.0 + 14.826)
    assert upper_bound(np.array([2.0, 2.0, 2.0]), 10.0) == (2.0, 4.0)  # without any spread
    assert upper_bound(np.array([-2.0, -2.0]), 10.0) == (-2.0, 0.0)


def test_between_two_lines_spikes_are_counted() -> None:
    run = Run(LossSpikeHook(window=40, least=5, interval=10))
    run.take(*[1.0] * 5, 5.0, 1.0, 5.0, 5.0)
    assert len(run.lines) == 1
    run.take(*[1.0] * 6)
    assert len(run.lines) == 1
    run.take(5.0)
    assert len(run.lines) == 2 and run.lines[1].endswith('; 2 more since iteration 6')
    run.take(1.0, 5.0)
    run.hook.after_train(run)
    assert run.lines[2] == 'loss: it was above its band in 5 iterations in all'


def test_not_before_there_is_a_band_and_not_for_what_is_not_finite() -> None:
    assert Run(LossSpikeHook(least=5)).take(*[1.0] * 4, 100.0) == []
    run = Run(LossSpikeHook(least=5))
    assert run.take(*[1.0] * 5, np.nan, np.inf, *[1.0] * 3) == []
    assert len(run.take(100.0)) == 1
    run.hook.after_train_iter(SimpleNamespace(message_hub=SimpleNamespace(log_scalars={})), 0)  # of a run without losses


def test_it_goes_on_where_the_run_does() -> None:
    """By the history and the count that a checkpoint has: no second line within the interval."""
    one = Run(LossSpikeHook(least=5))
    one.take(*[1.0] * 6, 9.0)
    other, checkpoint = Run(LossSpikeHook(least=5)), dict[str, Any]()
    one.hook.before_save_checkpoint(one, checkpoint)
    other.hook.after_load_checkpoint(SimpleNamespace(_resume=True), checkpoint)
    other.message_hub, other.iter = one.message_hub, one.iter
    assert other.take(9.0) == [] and other.hook.state == dict(told=6, untold=1, total=2)


@pytest.mark.parametrize(
    'given', [dict(window=0), dict(least=-1), dict(interval=1.5), dict(deviations=-1), dict(deviations='x')], ids=str
)
def test_arguments_that_are_none(given: dict) -> None:
    with pytest.raises(InputError, match=f'LossSpikeHook.{next(iter(given))}: expected'):
        LossSpikeHook(**given)

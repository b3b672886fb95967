"""Runs that stop at an iteration and go on to the same bits."""

from pathlib import Path
from typing import Any

import pytest
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop
from tiny_runs import Samples, Worse, equal, runner, state

from convnext_dense import InputError
from convnext_dense.training.loading_processes import loads_on
from convnext_dense.training.loops import resumable_loader, resumable_loop

EMA = dict(type='EMAHook', momentum=0.1, update_buffers=True)


class Notes(Hook):
    """What was called at which iteration."""

    def __init__(self) -> None:
        self.losses: dict[int, float] = {}
        self.validated: list[int] = []
        self.epochs: list[tuple[int, int]] = []

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.losses[runner.iter] = float(outputs['loss'])
        self.epochs.append((runner.epoch, batch_idx))

    def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
        self.validated.append(runner.iter)


def trained(work_dir: Path, loop: dict, resume: str | None = None, **given: Any):
    notes = Notes()
    made = runner(
        work_dir, loop, resume=resume is not None, load_from=resume, custom_hooks=[notes, *given.pop('hooks', [])], **given
    )
    made.train()
    return made, notes


def test_by_iterations_from_each_checkpoint(tmp_path) -> None:
    loop = dict(max_iters=9, val_interval=3)
    whole, notes = trained(tmp_path / 'whole', loop, hooks=[EMA])
    assert sorted(notes.losses) == list(range(9)) and notes.validated == [3, 6, 9]
    for at in (2, 4, 6, 8):
        again, more = trained(
            tmp_path / str(at), loop, str(tmp_path / f'whole/iter_{at}.pth'), hooks=[EMA], randomness=dict(seed=None)
        )
        assert equal(state(again), state(whole)), at
        assert more.losses == {i: loss for i, loss in notes.losses.items() if i >= at}
        assert more.validated == [i for i in notes.validated if i >= at], 'an evaluation that was due comes first'
        seen = again.train_dataloader.dataset.dataset.seen
        assert len(seen) == 2 * (9 - at), 'nothing is read again'


@pytest.mark.parametrize('accumulate', [1, 3])
def test_by_epochs_from_within_an_epoch(tmp_path, accumulate: int) -> None:
    loop = dict(max_epochs=3, val_interval=2)
    every = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1))
    whole, notes = trained(tmp_path / 'whole', loop, default_hooks=every, accumulate=accumulate)
    assert notes.epochs == [(epoch, i) for epoch in range(3) for i in range(4)] and notes.validated == [8, 12]
    for at in range(1, 13):
        again, more = trained(
            tmp_path / str(at), loop, str(tmp_path / f'whole/iter_{at}.pth'), default_hooks=every, accumulate=accumulate
        )
        assert equal(state(again), state(whole)), at
        assert more.epochs == notes.epochs[at:] and more.validated == [i for i in (8, 12) if i >= at]
        assert more.losses == {i: loss for i, loss in notes.losses.items() if i >= at}


def test_by_epochs_from_the_end_of_one(tmp_path) -> None:
    loop = dict(max_epochs=3, val_interval=1)
    whole, _ = trained(tmp_path / 'whole', loop)
    again, more = trained(tmp_path / 'again', loop, str(tmp_path / 'whole/epoch_2.pth'))
    assert equal(state(again), state(whole)) and more.validated == [8, 12] and sorted(more.losses) == [8, 9, 10, 11]
    last, none = trained(tmp_path / 'last', loop, str(tmp_path / 'whole/epoch_3.pth'))
    assert equal(state(last), state(whole)) and none.validated == [12] and not none.losses


def test_a_second_resume_changes_nothing(tmp_path) -> None:
    """As where the data shift by what was skipped twice."""
    loop = dict(max_iters=9)
    whole, notes = trained(tmp_path / 'whole', loop)
    trained(tmp_path / 'a', dict(max_iters=6), str(tmp_path / 'whole/iter_2.pth'))
    trained(tmp_path / 'b', dict(max_iters=8), str(tmp_path / 'a/iter_4.pth'))
    last, more = trained(tmp_path / 'c', loop, str(tmp_path / 'b/iter_8.pth'))
    assert equal(state(last), state(whole)) and more.losses[8] == notes.losses[8]


def test_the_seed_is_the_checkpoint_s(tmp_path) -> None:
    loop = dict(max_iters=6)
    whole, _ = trained(tmp_path / 'drawn', loop, randomness=dict(seed=None))
    assert isinstance(whole.seed, int)
    for given in (dict(seed=None), dict(seed=12345)):
        again, _ = trained(tmp_path / 'again', loop, str(tmp_path / 'drawn/iter_2.pth'), randomness=given)
        assert equal(state(again), state(whole)) and again.seed == whole.seed
    other, _ = trained(tmp_path / 'other', loop, randomness=dict(seed=None))
    assert not equal(state(other), state(whole))


@pytest.mark.parametrize('loop', [dict(max_iters=30, val_interval=2), dict(max_epochs=9, val_interval=1)])
def test_patience_is_not_forgotten(tmp_path, loop: dict) -> None:
    stops = dict(type='EarlyStoppingHook', monitor='score', rule='greater', patience=2, min_delta=0.1)
    whole, notes = trained(tmp_path / 'whole', loop, hooks=[stops])
    assert len(notes.validated) == 3, 'the first, and two that are no better'
    at = sorted((tmp_path / 'whole').glob('*_2.pth'))[0]
    again, more = trained(tmp_path / 'again', loop, str(at), hooks=[stops])
    assert equal(state(again), state(whole)) and notes.validated[-len(more.validated) :] == more.validated
    assert Worse.count


def test_epochs_of_another_length(tmp_path) -> None:
    loop = dict(max_epochs=3)
    every = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1))
    trained(tmp_path / 'whole', loop, default_hooks=every)
    loader = dict(batch_size=4, dataset=dict(type=Samples), sampler=dict(type='DefaultSampler', shuffle=True))
    again, more = trained(tmp_path / 'again', loop, str(tmp_path / 'whole/iter_6.pth'), train_dataloader=loader)
    assert more.epochs == [(1, 0), (1, 1), (2, 0), (2, 1)] and again.iter == 6


def test_which_loops_and_loaders_are_completed() -> None:
    assert resumable_loop(dict(type='IterBasedTrainLoop', max_iters=1)) == 'ResumableIterLoop'
    assert resumable_loop(dict(type=EpochBasedTrainLoop)) == resumable_loop(dict(max_epochs=1)) == 'ResumableEpochLoop'
    assert resumable_loop(dict(by_epoch=False)) == 'ResumableIterLoop'
    assert resumable_loop(dict(type='ResumableIterLoop')) is None is resumable_loop(dict(type='mmdet.TeacherStudentLoop'))
    spec = dict(
        batch_size=2,
        drop_last=True,
        dataset=dict(type='A'),
        sampler=dict(type='DefaultSampler', shuffle=False, round_up=True),
        batch_sampler=dict(type='AspectRatioBatchSampler'),
    )
    made = resumable_loader(spec, endless=True)
    assert made == dict(
        batch_size=2,
        dataset=dict(type='ResumableDataset', dataset=dict(type='A')),
        sampler=dict(type='ResumableSampler', shuffle=False),
        worker_init_fn=dict(type=loads_on),
        batch_sampler=dict(
            type='ResumableBatchSampler', endless=True, batch_sampler=dict(type='AspectRatioBatchSampler'), drop_last=True
        ),
    )
    assert resumable_loader(made, endless=False) == made
    for sampler in (dict(type='mmdet.ClassAwareSampler'), dict(type='DefaultSampler', seed=4)):
        assert resumable_loader(spec | dict(sampler=sampler), endless=False)['sampler'] == sampler


def test_a_loader_of_others_is_refused(tmp_path) -> None:
    made = runner(tmp_path, dict(max_iters=1))
    loader = made.build_dataloader(made._train_dataloader)
    with pytest.raises(InputError, match='a loader with a ResumableBatchSampler, got one with BatchSampler'):
        runner(tmp_path, dict(max_iters=1), train_dataloader=loader).train()

"""What else a run has that must go on exactly: plateaus, scalers, other samplers, pipelines that hooks set, parts of data."""

import copy
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper
from mmengine.registry import DATA_SAMPLERS, OPTIM_WRAPPERS
from test_loops import trained
from tiny_runs import Samples, Tiny, equal, runner, state

from convnext_dense.training.dataset import ResumableDataset, coded, resumable
from convnext_dense.training.resume_hook import ResumeHook

EVERY = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1))


def test_a_rate_that_waits_for_a_plateau(tmp_path) -> None:
    waits = dict(
        type='ReduceOnPlateauLR', monitor='score', rule='greater', factor=0.5, patience=1, begin=0, end=100, threshold=0.1
    )
    loop = dict(max_epochs=6, val_interval=1)
    whole, _ = trained(tmp_path / 'whole', loop, param_scheduler=waits)
    rates = whole.optim_wrapper.get_lr()['lr']
    assert rates[0] < 1e-2
    for at in (2, 3, 5):
        again, _ = trained(tmp_path / str(at), loop, str(tmp_path / f'whole/epoch_{at}.pth'), param_scheduler=waits)
        assert equal(state(again), state(whole)) and again.optim_wrapper.get_lr()['lr'] == rates


@OPTIM_WRAPPERS.register_module(force=True)
class ScaledOnCpu(AmpOptimWrapper):
    """AmpOptimWrapper asks for a GPU; its scaler does not."""

    def __init__(self, optimizer: torch.optim.Optimizer, accumulative_counts: int = 1) -> None:
        super(AmpOptimWrapper, self).__init__(optimizer=optimizer, accumulative_counts=accumulative_counts)
        self._scale_update_param, self.cast_dtype = None, None
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=1024.0, growth_interval=3)

    def optim_context(self, model: Any) -> Any:
        return super(AmpOptimWrapper, self).optim_context(model)


@pytest.mark.parametrize('accumulate', [1, 2])
def test_a_scaler_goes_on(tmp_path, accumulate: int) -> None:
    wrapper = dict(type=ScaledOnCpu, optimizer=dict(type='AdamW', lr=1e-2), accumulative_counts=accumulate)
    given = dict(optim_wrapper=wrapper, default_hooks=EVERY)
    whole, _ = trained(tmp_path / 'whole', dict(max_iters=11), **copy.deepcopy(given))
    scaler = whole.optim_wrapper.loss_scaler.state_dict()
    assert scaler['scale'] > 1024
    for at in (3, 4, 7):
        file = str(tmp_path / f'whole/iter_{at}.pth')
        again, _ = trained(tmp_path / str(at), dict(max_iters=11), file, **copy.deepcopy(given))
        assert equal(state(again), state(whole)) and again.optim_wrapper.loss_scaler.state_dict() == scaler


@DATA_SAMPLERS.register_module(force=True)
class OwnSampler(DefaultSampler):
    """Of another name, so that nothing stands in its place."""


@pytest.mark.parametrize('loop', [dict(max_epochs=3), dict(max_iters=12)], ids=['epochs', 'iterations'])
@pytest.mark.parametrize('sampler', [dict(shuffle=True), dict(shuffle=False), dict(shuffle=True, seed=9)])
def test_a_sampler_of_another_kind(tmp_path, loop: dict, sampler: dict) -> None:
    """With a drawn seed, which the checkpoint brings; and each pass augments anew."""
    loader = dict(batch_size=2, dataset=dict(type=Samples), sampler=dict(type='OwnSampler', **sampler))
    given = dict(train_dataloader=loader, default_hooks=EVERY, randomness=dict(seed=None))
    whole, notes = trained(tmp_path / 'whole', loop, **copy.deepcopy(given))
    for at in (3, 4, 6, 11):
        again, more = trained(tmp_path / str(at), loop, str(tmp_path / f'whole/iter_{at}.pth'), **copy.deepcopy(given))
        assert equal(state(again), state(whole)), at
        assert more.losses == {i: loss for i, loss in notes.losses.items() if i >= at}
    batches: Any = whole.train_dataloader.batch_sampler
    codes = []
    for before in (0, 4):
        batches.start, batches.before = 0, before
        codes += [code for batch in islice(batches, 4) for code in batch]
    assert len(set(codes)) == len(codes)


def test_what_a_hook_sets_is_the_data_set_s() -> None:
    """As MMDetection's PipelineSwitchHook sets another pipeline."""
    inner = Samples()
    dataset = ResumableDataset(inner)
    dataset.pipeline = 'second'
    assert inner.pipeline == 'second' and dataset.pipeline == 'second'  # type: ignore[attr-defined]
    dataset.seed = 3
    assert dataset.seed == 3 and not hasattr(inner, 'seed')


def test_one_in_another_is_one(tmp_path) -> None:
    inner = ResumableDataset(Samples(), on_error='raise')
    outer = ResumableDataset(inner, seed=7)
    assert outer.dataset is inner.dataset and outer.on_error == 'raise'
    draws = [float(outer[coded(number, 1)]['x'][1]) for number in range(3)]
    assert len(set(draws)) == 3


def test_a_part_of_the_data_augments_anew_in_each_pass(tmp_path) -> None:
    loader = dict(
        batch_size=2, num_batch_per_epoch=2, dataset=dict(type=Samples), sampler=dict(type='DefaultSampler', shuffle=True)
    )
    whole, notes = trained(tmp_path / 'whole', dict(max_epochs=3), train_dataloader=loader, default_hooks=EVERY)
    assert notes.epochs == [(epoch, i) for epoch in range(3) for i in range(2)]
    seen = resumable(whole.train_dataloader.dataset).dataset.seen  # type: ignore[arg-type]
    assert sorted(set(seen)) == [0, 1, 2, 3] and len(seen) == 12
    again, _ = trained(
        tmp_path / 'again', dict(max_epochs=3), str(tmp_path / 'whole/iter_3.pth'), train_dataloader=loader, default_hooks=EVERY
    )
    assert equal(state(again), state(whole))


def test_patience_leaves_the_last_weights(tmp_path) -> None:
    stops = dict(type='EarlyStoppingHook', monitor='score', rule='greater', patience=1, min_delta=0.1)
    saves = dict(checkpoint=dict(type='SafeCheckpointHook', by_epoch=False, interval=3))
    loop = dict(max_iters=30, val_interval=2)
    whole, _ = trained(tmp_path / 'whole', loop, hooks=[stops], default_hooks=saves)
    assert whole.iter == 4 and (tmp_path / 'whole/last_checkpoint').read_text().endswith('iter_4.pth')
    again, more = trained(tmp_path / 'again', loop, str(tmp_path / 'whole/iter_4.pth'), hooks=[stops], default_hooks=saves)
    assert equal(state(again), state(whole)) and not more.losses


@pytest.mark.parametrize('accumulate', [1, 3])
def test_a_batch_of_another_size_within_an_accumulation(tmp_path: Path, accumulate: int) -> None:
    trained(tmp_path / 'whole', dict(max_epochs=3), default_hooks=EVERY, accumulate=accumulate)
    loader = dict(batch_size=4, dataset=dict(type=Samples), sampler=dict(type='DefaultSampler', shuffle=True))
    file = str(tmp_path / 'whole/iter_6.pth')
    again, _ = trained(tmp_path / 'again', dict(max_epochs=3), file, train_dataloader=loader, accumulate=accumulate)
    assert again.iter == 6


class Draws(Hook):
    """A number that is drawn at the begin of each evaluation."""

    def __init__(self) -> None:
        self.found: dict[int, float] = {}

    def before_val_epoch(self, runner: Any) -> None:
        self.found[runner.iter] = float(torch.rand(1))


def test_an_evaluation_draws_the_same(tmp_path) -> None:
    loop, first, second = dict(max_iters=6, val_interval=2), Draws(), Draws()
    trained(tmp_path / 'whole', loop, hooks=[first])
    trained(tmp_path / 'again', loop, str(tmp_path / 'whole/iter_4.pth'), hooks=[second])
    assert second.found == {i: draw for i, draw in first.found.items() if i >= 4} and len(set(first.found.values())) == 3


def test_a_data_set_that_grew_is_told(tmp_path, caplog) -> None:
    class More(Samples):
        def __len__(self) -> int:
            return 10

    trained(tmp_path / 'whole', dict(max_iters=4), default_hooks=EVERY)
    loader = dict(batch_size=2, dataset=dict(type=More), sampler=dict(type='DefaultSampler', shuffle=True))
    made = runner(
        tmp_path / 'again',
        dict(max_iters=4),
        resume=True,
        load_from=str(tmp_path / 'whole/iter_2.pth'),
        train_dataloader=loader,
    )
    made.logger.setLevel('WARNING')
    made.logger.addHandler(caplog.handler)
    made.train()
    assert 'the training set had 8 samples and has 10 now' in caplog.text


def test_wrappers_of_several_optimisers(tmp_path) -> None:
    """Whose gradients are there at the end of an iteration."""
    from mmengine.optim import OptimWrapper, OptimWrapperDict

    made = runner(tmp_path, dict(max_iters=1))
    model: Any = Tiny()
    wrappers = OptimWrapperDict(
        a=OptimWrapper(torch.optim.SGD(model.layers[0].parameters(), 0.1)),
        b=OptimWrapper(torch.optim.SGD(model.layers[3].parameters(), 0.1), accumulative_counts=2),
    )
    made.optim_wrapper, made.model = wrappers, model
    hook = ResumeHook()
    hook.collect(made)
    assert hook.accumulated is None
    wrappers['b'].update_params(model(torch.randn(4, 3))['loss'])
    hook.collect(made)
    assert hook.accumulated is not None and 'layers.3.weight' in hook.accumulated[0]['gradients']

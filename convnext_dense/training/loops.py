"""mmengine's training loops, whose runs can be stopped at any iteration and go on to the same bits.

A sample's augmentation follows from (seed, pass, index), what the model draws from (seed, iteration, process), and the order
from (seed, pass): nothing of it is saved, and nothing is read again. A checkpoint of an iteration is of before the evaluation
that follows it, which a resumed run makes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mmengine.dist import get_rank
from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from convnext_dense.errors import InputError
from convnext_dense.training.dataset import resumable
from convnext_dense.training.loading_processes import forget_processes, loading, loads_on
from convnext_dense.training.out_of_memory import step_described
from convnext_dense.training.remembering import remembering
from convnext_dense.training.resume_hook import ResumeHook
from convnext_dense.training.sampler import ResumableBatchSampler
from convnext_dense.training.seeding import seed_generators
from convnext_dense.training.worker_death import batches_of

RESUMABLE_FOR = {'IterBasedTrainLoop': 'ResumableIterLoop', 'EpochBasedTrainLoop': 'ResumableEpochLoop'}
VALIDATION = 1  # what tells the random numbers of an evaluation from those of the iteration that follows
RESUMABLE = tuple(RESUMABLE_FOR.values())
SAMPLERS = ('DefaultSampler', 'InfiniteSampler')  # whose order a ResumableSampler stands for


def resumable_loader(spec: Mapping[str, Any], endless: bool) -> dict[str, Any]:
    """A dataloader's dict with its data set, sampler and batch sampler wrapped by the resumable ones; as it is where they are.

    `endless`, as a loop by iterations takes samples. A sampler that is none of mmengine's stays, and is skipped by drawing.
    """
    grouping: Any = spec.get('batch_sampler')
    sampler: Any = spec.get('sampler')
    if 'dataset' not in spec or name_of(grouping) == 'ResumableBatchSampler':
        return dict(spec)
    found = {key: value for key, value in spec.items() if key != 'drop_last'}
    if name_of(spec['dataset']) != 'ResumableDataset':
        found['dataset'] = dict(type='ResumableDataset', dataset=spec['dataset'])
    if name_of(sampler) in SAMPLERS and 'seed' not in sampler:
        # Every process is given as many samples, whether or not it says so.
        found['sampler'] = {k: v for k, v in sampler.items() if k != 'round_up'} | dict(type='ResumableSampler')
    found.pop('disable_subprocess_warning', None)  # which MMEngine knows with an initialisation of its own alone
    found.setdefault('worker_init_fn', dict(type=loads_on))
    given = {} if grouping is None else dict(batch_sampler=grouping)
    last = dict(drop_last=True) if spec.get('drop_last') else {}
    found['batch_sampler'] = dict(type='ResumableBatchSampler', endless=endless, **given, **last)
    return found


def resumable_loop(spec: Mapping[str, Any]) -> str | None:
    """The type of the resumable loop that stands for a `train_cfg` of one of mmengine's; None for any other loop."""
    if 'type' not in spec:
        return RESUMABLE_FOR['EpochBasedTrainLoop' if spec.get('by_epoch', True) else 'IterBasedTrainLoop']
    return RESUMABLE_FOR.get(name_of(spec))


def name_of(spec: Any) -> str:
    """The name of the class that a dict builds, without its scope."""
    cls = spec.get('type') if isinstance(spec, Mapping) else type(spec)
    return str(getattr(cls, '__name__', cls)).rpartition('.')[2]


class _NotBegun:
    """In a loader's place: mmengine's loop asks for its first samples when it is made, before a checkpoint says which."""

    def __init__(self, loader: DataLoader) -> None:
        self.dataset = loader.dataset

    def __iter__(self) -> Iterator[Any]:
        return iter(())


def _loader(runner: Runner, given: DataLoader | dict[str, Any], endless: bool) -> DataLoader:
    loader: Any = given
    sampler: Any = given.get('sampler') if isinstance(given, Mapping) else None
    if isinstance(given, Mapping):
        diff = runner._randomness_cfg.get('diff_rank_seed', False)
        loader = runner.build_dataloader(resumable_loader(given, endless), seed=base_seed(runner), diff_rank_seed=diff)
    if not isinstance(loader.batch_sampler, ResumableBatchSampler):
        raise InputError(
            f'train_dataloader: expected a dict, or a loader with a ResumableBatchSampler, got one with '
            f'{type(loader.batch_sampler).__name__}'
        )
    loader.batch_sampler.fixed_seed = isinstance(sampler, Mapping) and 'seed' in sampler
    if not any(isinstance(hook, ResumeHook) for hook in runner.hooks):
        runner.register_hook(ResumeHook())
    return loader


def base_seed(runner: Runner) -> int:
    """The run's seed, the same in every process."""
    return runner.seed - (get_rank() if runner._randomness_cfg.get('diff_rank_seed') else 0)


def _save_early_end(loop: Any) -> None:
    """A run that patience ends between two checkpoints leaves its last weights."""
    if loop.stop_training and loop.iter < loop.max_iters:
        for hook in loop.runner.hooks:
            if hasattr(hook, 'save_now'):
                hook.save_now(loop.runner, 'early stopping', loop.iter)


def _begin(runner: Runner, loader: Any, seed: int) -> ResumableBatchSampler:
    """Give the run's seed, which a checkpoint may have brought, to what draws by it."""
    batches = loader.batch_sampler
    resumable(loader.dataset).seed = seed
    if not batches.fixed_seed and hasattr(batches.sampler, 'seed'):
        batches.sampler.seed = seed
    found = remembering(loader.dataset, runner.model)
    if found:
        runner.logger.warning(f'resume: {", ".join(found)} remember earlier samples: a resumed run will not be exact')
    next(hook for hook in runner.hooks if isinstance(hook, ResumeHook)).restore(runner)
    return batches


@contextmanager
def _loading(loop: Any) -> Iterator[None]:
    """The run's loading processes end with it, those of its evaluations as well; a later run of the loop has its own."""
    loaders = [loop.dataloader, getattr(loop.runner.val_loop, 'dataloader', None)]
    try:
        with loading():
            yield
            forget_processes(loaders)  # which lets them end by themselves
    finally:
        forget_processes(loaders)


@LOOPS.register_module()
class ResumableIterLoop(IterBasedTrainLoop):
    """IterBasedTrainLoop that goes on exactly where a checkpoint was written, without drawing what was seen.

    `dataloader` is a dict, which `resumable_loader` completes, or a loader of such a dict.
    """

    def __init__(self, runner: Runner, dataloader: DataLoader | dict[str, Any], *args: Any, **kwargs: Any) -> None:
        loader = _loader(runner, dataloader, endless=True)
        super().__init__(runner, _NotBegun(loader), *args, **kwargs)
        self.dataloader = loader

    def run(self) -> nn.Module:
        """Train from the iteration at which the run is; an evaluation that is due there comes first."""
        with _loading(self):
            return self._run()

    def _run(self) -> nn.Module:
        self.seed = base_seed(self.runner)
        batches = _begin(self.runner, self.dataloader, self.seed)
        batches.start = self._iter
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        self._validate()
        if self._iter < self._max_iters:
            with batches_of(self.dataloader) as samples:
                while self._iter < self._max_iters and not self.stop_training:
                    self.runner.model.train()
                    self.run_iter(next(samples))
                    self._validate()
        _save_early_end(self)
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_iter(self, data_batch: Any) -> None:
        """One iteration, whose random numbers follow from (seed, iteration, process)."""
        seed_generators(self.seed, self._iter, get_rank())
        with step_described(self.runner, data_batch):
            super().run_iter(data_batch)

    def _validate(self) -> None:
        self._decide_current_val_interval()
        due = self._iter % self.val_interval == 0 or self._iter == self._max_iters
        if self.runner.val_loop is not None and self._iter >= max(self.val_begin, 1) and due:
            self.runner.message_hub.update_info('iter', self._iter - 1)  # the last trained, also where a run goes on here
            seed_generators(self.seed, self._iter, get_rank(), VALIDATION)
            self.runner.val_loop.run()


@LOOPS.register_module()
class ResumableEpochLoop(EpochBasedTrainLoop):
    """EpochBasedTrainLoop that goes on exactly where a checkpoint was written, in the middle of an epoch, too.

    `dataloader` is a dict, which `resumable_loader` completes, or a loader of such a dict.
    """

    _iter: int

    def __init__(self, runner: Runner, dataloader: DataLoader | dict[str, Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(runner, _loader(runner, dataloader, endless=False), *args, **kwargs)

    def run(self) -> nn.Module:
        """Train from the iteration at which the run is; an evaluation that is due there comes first."""
        with _loading(self):
            return self._run()

    def _run(self) -> nn.Module:
        self.seed = base_seed(self.runner)
        self.batches = _begin(self.runner, self.dataloader, self.seed)
        length = len(self.dataloader)
        if not 0 <= self._iter - self._epoch * length <= length:
            self.runner.logger.warning(
                f'resume: epochs have {length} iterations now, which iteration {self._iter} of epoch {self._epoch} does not '
                'fit; goes on at the start of that epoch'
            )
            self._iter = self._epoch * length
            self.runner.optim_wrapper.initialize_count_status(self.runner.model, self._iter, self._max_iters)
        self.runner.call_hook('before_train')
        if self._iter == self._epoch * length:
            self._validate()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._validate()
        _save_early_end(self)
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """What is left of the epoch."""
        done = self._iter - self._epoch * len(self.dataloader)
        self.batches.start, self.batches.before = done, self._iter - done
        if hasattr(self.batches.sampler, 'set_epoch'):
            self.batches.sampler.set_epoch(self._epoch)
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        if done < len(self.dataloader):
            with batches_of(self.dataloader) as samples:
                for i, data_batch in enumerate(samples, done):
                    self.run_iter(i, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """One iteration, whose random numbers follow from (seed, iteration, process)."""
        seed_generators(self.seed, self._iter, get_rank())
        with step_described(self.runner, data_batch):
            super().run_iter(idx, data_batch)

    def _validate(self) -> None:
        self._decide_current_val_interval()
        due = self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs
        if self.runner.val_loop is not None and self._epoch >= max(self.val_begin, 1) and due:
            self.runner.message_hub.update_info('iter', self._iter - 1)  # the last trained, also where a run goes on here
            self.runner.message_hub.update_info('epoch', self._epoch - 1)
            seed_generators(self.seed, self._iter, get_rank(), VALIDATION)
            self.runner.val_loop.run()

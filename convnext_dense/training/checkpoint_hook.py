"""mmengine's CheckpointHook, made so that a run is never lost: whole files, on the disk before older ones go, full disks."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch.distributed as dist
from mmengine.dist import get_world_size, is_distributed, is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from convnext_dense.errors import InputError
from convnext_dense.expect import brief, expect_whole, number
from convnext_dense.training.best_found import best_found
from convnext_dense.training.checkpoint_file import remove_partial_files, write_pointer, writing_by
from convnext_dense.training.kept import KeptCheckpoints
from convnext_dense.training.last_good import meta_of
from convnext_dense.training.resume_hook import ResumeHook
from convnext_dense.training.run_id import KEY, begin_run
from convnext_dense.training.saver import Saver, main_decides, main_does
from convnext_dense.training.sharded import gathered

BETWEEN = 'iter_{}.pth'  # names of checkpoints between the planned ones of a run by epochs
IS_BETWEEN = 'between'  # in the meta of one that was not planned


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """Writes the new checkpoint, then `last_checkpoint`, then removes old ones: each whole and on the disk, or not there.

    It takes the options of mmengine's CheckpointHook, with a local folder, and is used as that is. A checkpoint is of before
    the evaluation at its iteration; it is not written again for a new best score, which later ones hold. Checkpoints to keep
    are counted by their names in the folder; of those between the planned ones, which a signal or `save_every_minutes` asks
    for, the newest is kept until the next planned one. A save that fails is told, and tried again at the next interval.

    Args:
        save_every_minutes: save, too, when so many minutes have passed since the last save; named iter_N.pth.
        asynchronous: True copies a checkpoint in memory and writes it beside training; False lets training wait; 'auto' writes
            beside training where twice its size is available in memory. The files are the same.
        max_failures: saves that may fail in a row before the run ends.
    """

    def __init__(
        self,
        *args: Any,
        save_every_minutes: float | None = None,
        asynchronous: bool | str = 'auto',
        max_failures: int = 3,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if save_every_minutes is not None and not (number(save_every_minutes) and save_every_minutes > 0):
            raise InputError(f'save_every_minutes: expected a number above 0, or None, got {brief(save_every_minutes)}')
        if asynchronous not in (True, False, 'auto'):
            raise InputError(f"asynchronous: expected 'auto', True or False, got {brief(asynchronous)}")
        expect_whole('max_failures', max_failures, 1)
        self.save_every_minutes, self.max_failures = save_every_minutes, max_failures
        self.saver = Saver(asynchronous)
        self._last_save = time.monotonic()
        self._resumed: Mapping[str, Any] | None = None  # the meta of the checkpoint that the run goes on from
        self.run: str | None = None
        self._start = 0  # the iteration at which it does

    @property
    def seconds(self) -> float:
        """That the longest save has taken in this process, which a time limit must leave."""
        return self.saver.seconds

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Keep which run it is that goes on."""
        self._resumed = dict(checkpoint.get('meta') or {}) if runner._resume else None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Say which run it is of."""
        if self.run is not None:
            checkpoint['meta'][KEY] = self.run

    def before_train(self, runner: Runner) -> None:
        """As mmengine's; what an earlier process of the run has left is counted, or removed where it is half a file."""
        runner.message_hub.runtime_info.pop('keep_ckpt_ids', None)  # by which mmengine removes files now
        super().before_train(runner)
        if not isinstance(self.file_backend, LocalBackend):
            raise InputError(f'SafeCheckpointHook.out_dir: expected a local folder, got {self.out_dir}; take CheckpointHook')
        _check_start(runner)
        self._last_save = time.monotonic()
        iterations = len(runner.train_dataloader) if self.by_epoch else 1
        self.kept = KeptCheckpoints(self.out_dir, {BETWEEN: 1, self.filename_tmpl: iterations}, self.max_keep_ckpts)
        self._start = runner.iter
        if not is_main_process():
            return
        for folder in {self.out_dir, runner.work_dir}:
            remove_partial_files(folder)
        self.run = begin_run(runner.work_dir, self._resumed, runner.logger)
        if runner.iter:
            self.kept.find(runner.iter, partial(self._was_between, runner))
            if os.path.isfile(str(runner._load_from)):
                self.saver.good, self.saver.good_iter = str(runner._load_from), runner.iter

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """As mmengine's, and a checkpoint where `save_every_minutes` have passed."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if self.save_every_minutes is None or (self.by_epoch and self.end_of_epoch(runner.train_dataloader, batch_idx)):
            return
        if main_decides(time.monotonic() - self._last_save >= 60 * self.save_every_minutes):
            self._save_between(runner, runner.iter + 1)

    def after_train(self, runner: Runner) -> None:
        """Wait for the last checkpoint; then as mmengine's.

        Raises:
            InputError: if the last save has failed.
        """
        main_does(self._settle_all)
        super().after_train(runner)

    def _settle_all(self) -> None:
        self.saver.settle()
        self.saver.check(1)

    def save_now(self, runner: Runner, why: str, done: int | None = None, evaluating: bool = False) -> str:
        """Write a checkpoint of this iteration, and wait until it is on the disk; in every process at the same point.

        Nothing is written where it is there already.

        Args:
            runner: in `after_train_iter` of a hook that comes after this one, or elsewhere with `done` or `evaluating`.
            why: for the log, such as 'SIGTERM'.
            done: iterations that are done: runner.iter + 1 in `after_train_iter`, runner.iter elsewhere.
            evaluating: between `before_val_epoch` and `after_val_epoch`: the checkpoint is of before the evaluation.

        Returns:
            Its path, in every process.

        Raises:
            InputError: if it could not be written.
        """
        if done is None:
            done = runner.iter if evaluating else runner.iter + 1
        main_does(self.saver.settle)
        if not main_decides(self._is_there(done)):
            runner.logger.info(f'checkpoint: saving at iteration {done} ({why})')
            averages = [hook for hook in runner.hooks if evaluating and isinstance(hook, EMAHook)]
            for hook in averages:  # which stand in the model's place in an evaluation
                hook._swap_ema_parameters()
            try:
                self._save_between(runner, done, wait=True)
            finally:
                for hook in averages:
                    hook._swap_ema_parameters()
            main_does(partial(self.saver.check, 1))
        return main_decides(self.saver.good)

    def _is_there(self, done: int) -> bool:
        return self.saver.good_iter == done and os.path.isfile(str(self.saver.good))

    def _save_between(self, runner: Runner, done: int, wait: bool = False) -> None:
        """A checkpoint of `done` iterations, named by them."""
        name = (BETWEEN if self.by_epoch else self.filename_tmpl).format(done)
        meta = dict(epoch=runner.epoch, iter=done)
        if not self._is_planned(runner, name, done):
            meta[IS_BETWEEN] = True
        self._save_training(runner, name, meta, wait)

    def _is_planned(self, runner: Runner, name: str, done: int) -> bool:
        """Whether the run writes a checkpoint of this name, of `done` iterations, without being asked to."""
        if self.by_epoch:
            return name != BETWEEN.format(done)
        since = done - self.save_begin
        due = self.interval > 0 and since >= 0 and since % self.interval == 0
        return due or (self.save_last and done == runner.max_iters)

    def _was_between(self, runner: Runner, name: str, done: int) -> bool:
        """Whether the run has saved this one between planned ones; not by its name alone, since the interval may be another."""
        if self._is_planned(runner, name, done):
            return False
        meta = meta_of(os.path.join(self.out_dir, name))
        return bool(meta.get(IS_BETWEEN)) and meta.get(KEY) == self.run

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        self._save_training(runner, self.filename_tmpl.format(step), meta)

    def _save_training(self, runner: Runner, name: str, meta: dict[str, Any], wait: bool = False) -> None:
        for hook in runner.hooks:
            if isinstance(hook, ResumeHook):
                hook.collect(runner)
        self.last_ckpt = path = os.path.join(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', path)
        self._last_save = time.monotonic()
        done, between = meta['iter'], IS_BETWEEN in meta

        def finish() -> None:
            os.makedirs(runner.work_dir, exist_ok=True)
            write_pointer(runner.work_dir, path)
            self.saver.good, self.saver.good_iter = path, done
            self.kept.add(name, runner.logger, between)

        options = dict(
            save_optimizer=self.save_optimizer, save_param_scheduler=self.save_param_scheduler, meta=meta, **self.args
        )

        def save() -> None:
            self.saver.save(runner.logger, path, partial(_content, runner, path, options), finish, lambda: None, wait)
            self.saver.check(self.max_failures)

        with gathered(runner.model, runner.optim_wrapper if self.save_optimizer else None):
            main_does(save)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        """As mmengine's, but that the previous best is removed when the new one is on the disk."""
        if not self.save_best:
            return
        if 'auto' in self.key_indicators:
            self._init_rule(self.rules, [next(iter(metrics))])
        main_does(self.saver.settle)  # what cannot be written is not the best any more
        for key, rule in zip(self.key_indicators, self.rules):
            suffix = '' if len(self.key_indicators) == 1 else f'_{key}'
            names = f'best_score{suffix}', f'best_ckpt{suffix}'
            before = main_decides(self._best_before(runner, key, names))
            self._set_best(runner, key, before)
            least = self.init_value_map[rule] if before[names[0]] is None else before[names[0]]
            if metrics[key] is not None and self.is_better_than[key](metrics[key], least):
                self._save_one_best(runner, key, names, before, metrics[key])
        self._start = 0

    def _best_before(self, runner: Runner, key: str, names: tuple[str, str]) -> dict[str, Any]:
        """The score and the path of the best one so far; the main process, which writes, knows them."""
        known = {name: runner.message_hub.runtime_info.get(name) for name in names}
        if not self._start or not is_main_process():
            return known
        pattern, better = f'{glob.escape(f"best_{key}_".replace("/", "_"))}*.pth', self.is_better_than[key]
        found = best_found(self.out_dir, pattern, names, self.run, self._start, better)
        score = known[names[0]]
        return found if found is not None and (score is None or better(found[names[0]], score)) else known

    def _set_best(self, runner: Runner, key: str, values: Mapping[str, Any]) -> None:
        """Take `values`, a score and a path by their names, for the best so far."""
        hub = runner.message_hub
        for name, value in values.items():
            hub.runtime_info.pop(name, None) if value is None else hub.update_info(name, value)
        path = list(values.values())[1]
        if len(self.key_indicators) == 1:
            self.best_ckpt_path = path
        else:
            self.best_ckpt_path_dict[key] = path

    def _save_one_best(self, runner: Runner, key: str, names: tuple[str, str], before: dict[str, Any], score: float) -> None:
        step, unit = (runner.epoch, 'epoch') if self.by_epoch else (runner.iter, 'iter')
        path = os.path.join(self.out_dir, f'best_{key}_{self.filename_tmpl.format(step)}'.replace('/', '_'))

        def finish() -> None:
            runner.logger.info(f'The best checkpoint with {score:0.4f} {key} at {step} {unit} is saved to {path}.')
            previous = before[names[1]]
            if previous and previous != path and os.path.isfile(previous):
                os.remove(previous)
                runner.logger.info(f'The previous best checkpoint {previous} is removed')

        self._set_best(runner, key, dict(zip(names, (score, path))))
        options = dict(save_optimizer=False, save_param_scheduler=False, meta=dict(epoch=runner.epoch, iter=runner.iter))
        content, take_back = partial(_content, runner, path, options), partial(self._set_best, runner, key, before)
        with gathered(runner.model):
            main_does(partial(self.saver.save, runner.logger, path, content, finish, take_back))


def _content(runner: Runner, path: str, options: dict[str, Any]) -> dict[str, Any]:
    """What the runner would write to `path`."""
    found: list[dict[str, Any]] = []
    with writing_by(lambda content, _: found.append(content)):
        runner.save_checkpoint(os.path.dirname(path), os.path.basename(path), by_epoch=False, **options)
    if not found:
        raise InputError(f"SafeCheckpointHook: expected mmengine's Runner, got {type(runner).__name__}; take CheckpointHook")
    return found.pop()


def _check_start(runner: Runner) -> None:
    """Stop where processes go on from different iterations, as where a machine has no access to the work directory."""
    if not is_distributed():
        return
    every: list[Any] = [None] * get_world_size()
    dist.all_gather_object(every, runner.iter)
    if len(set(every)) > 1:
        raise InputError(
            f'--resume: expected every process to go on from one iteration, got {", ".join(map(str, every))}; all machines '
            'need the same work directory'
        )

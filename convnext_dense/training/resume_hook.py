"""What an exact resume needs beside MMEngine's checkpoint: patience, and gradients of an unfinished accumulation."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from mmengine.dist import get_dist_info, is_distributed
from mmengine.hooks import EarlyStoppingHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from convnext_dense.errors import InputError
from convnext_dense.training.sharded import ShardedModel, divided_as, whole


@HOOKS.register_module()
class ResumeHook(Hook):
    """Saves and restores what mmengine forgets. The resumable loops add it to a run by themselves.

    A checkpoint gets the entry `resume`: `images` (samples of an iteration in all processes), `samples` (of the data set),
    `early_stopping` (per hook), and in the middle of an accumulation `accumulated`: for each process its gradients and buffers.
    """

    priority = 'VERY_HIGH'  # reads a loaded checkpoint before hooks change it

    def __init__(self) -> None:
        self.loaded: dict[str, Any] = {}
        self.accumulated: list[dict[str, Any]] | None = None

    def collect(self, runner: Runner) -> None:
        """Before a checkpoint is written, in every process: bring each one's unfinished gradients to the first."""
        self.accumulated = None
        if not _unfinished(runner):
            return
        gradients = {name: param.grad for name, param in _plain(runner.model).named_parameters() if param.grad is not None}
        rank, processes = get_dist_info()
        divided = isinstance(runner.model, ShardedModel)  # whose gradients are one mean of all processes
        whole_ones = {name: whole(value.detach()) for name, value in gradients.items()}
        own = dict(
            gradients={} if divided and rank else {k: value.to('cpu', copy=True) for k, value in whole_ones.items()},
            buffers={name: value.detach().to('cpu', copy=True) for name, value in _plain(runner.model).named_buffers()},
        )
        every: list[Any] | None = [None] * processes if rank == 0 else None
        if is_distributed():
            dist.gather_object(own, every)
        self.accumulated = every if is_distributed() else [own]
        for one in self.accumulated or () if divided else ():
            one['gradients'] = own['gradients']

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add the entry `resume`."""
        if not is_distributed():  # whoever writes the checkpoint; several processes are asked before
            self.collect(runner)
        elif self.accumulated is None and 'optimizer' in checkpoint and _unfinished(runner):
            runner.logger.warning(
                f'resume: the gradients of an accumulation that is not complete are not in the checkpoint of iteration '
                f'{checkpoint["meta"]["iter"]}, which SafeCheckpointHook would have collected'
            )
        state: dict[str, Any] = dict(
            images=getattr(runner.train_dataloader.batch_sampler, 'images', None),
            samples=len(runner.train_dataloader.dataset),
            early_stopping=[[hook.wait_count, float(hook.best_score)] for hook in _early_stopping(runner)],
        )
        if self.accumulated is not None and 'optimizer' in checkpoint:
            state['accumulated'] = self.accumulated
        checkpoint['resume'], self.accumulated = state, None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Keep the entry for `restore`, where the run goes on from the checkpoint."""
        self.loaded = checkpoint.get('resume', {}) if runner._resume else {}

    def restore(self, runner: Runner) -> None:
        """When the loop begins, with the optimiser there: put back what the checkpoint had."""
        state, self.loaded = self.loaded, {}
        images = getattr(runner.train_dataloader.batch_sampler, 'images', None)
        if state.get('images') not in (None, images):
            runner.logger.warning(
                f'resume: an iteration took {state["images"]} images (batch_size x processes) and takes {images} now: the '
                'samples that follow are not those of an undisturbed run'
            )
        samples = len(runner.train_dataloader.dataset)
        if state.get('samples') not in (None, samples):
            runner.logger.warning(
                f'resume: the training set had {state["samples"]} samples and has {samples} now: their order is another one'
            )
        for hook, (waited, best) in zip(_early_stopping(runner), state.get('early_stopping', ())):
            hook.wait_count, hook.best_score = waited, best
        if state.get('accumulated'):
            self._restore_gradients(runner, state['accumulated'])

    def _restore_gradients(self, runner: Runner, saved: list[dict[str, Any]]) -> None:
        rank, processes = get_dist_info()
        same = len(saved) == processes and not isinstance(runner.model, ShardedModel)
        own: dict[str, Any] = saved[rank] if len(saved) == processes else saved[0]
        model = _plain(runner.model)
        params = dict(model.named_parameters())
        for name, value in own['gradients'].items():
            if name not in params or params[name].shape != value.shape:
                raise InputError(f'--resume: resume.accumulated: expected gradients of the model, got another one for {name}')
            if not same:  # processes average theirs, so that each may begin with the mean
                every = [one['gradients'][name] for one in saved]
                value = every[0] if all(torch.equal(one, value) for one in every) else torch.stack(every).mean(0)
            params[name].grad = divided_as(value, params[name]).to(params[name])
        buffers = dict(model.named_buffers())
        for name, value in own['buffers'].items():
            buffers[name].copy_(value)
        if hasattr(runner.model, 'require_forward_param_sync'):  # DDP takes buffers from the first process only at an update
            runner.model.require_forward_param_sync = False
        runner.logger.info('resume: the gradients of the accumulation that was not complete are back')


def _unfinished(runner: Runner) -> bool:
    """Whether gradients are there that no update has taken."""
    given: Any = runner.optim_wrapper
    wrappers = list(given.values()) if isinstance(given, OptimWrapperDict) else [given]
    pending = any(wrapper.inner_count % wrapper._accumulative_counts for wrapper in wrappers)
    return pending and any(param.grad is not None for param in runner.model.parameters())


def _plain(model: Any) -> nn.Module:
    return model.module if is_model_wrapper(model) else model


def _early_stopping(runner: Runner) -> list[EarlyStoppingHook]:
    return [hook for hook in runner.hooks if isinstance(hook, EarlyStoppingHook)]

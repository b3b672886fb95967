"""Everything that a run needs, built before its work directory is made: what the libraries refuse is one line, nothing is left.

A runner in a temporary folder builds the loaders, optimiser, schedulers, loops, evaluators and hooks on a model without memory,
and the first images of each split go through their pipeline, the model's preprocessor, its shapes (`trial`), and its heads,
losses and metrics (`first_images`).
"""

from __future__ import annotations

import copy
import inspect
import io
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.hooks import EMAHook
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import Runner, set_random_seed
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import DataLoader

import convnext_dense.training.register  # noqa: F401  # a run's own config names what it makes known
from convnext_dense.errors import InputError
from convnext_dense.run.agreement import (
    check_backend,
    check_custom_keys,
    check_extras,
    check_loop_kind,
    check_monitors,
    check_operators,
)
from convnext_dense.run.first_images import FirstImages
from convnext_dense.run.settle import world_size
from convnext_dense.run.trial import check_box_coders, check_init, check_sample, first_batch, part, try_metrics
from convnext_dense.run.values import (
    check_assigners,
    check_hooks,
    check_loader,
    check_loop,
    check_model,
    check_numbers,
    check_optimizer,
    check_schedule,
)
from convnext_dense.training.dataset import resumable
from convnext_dense.training.loops import RESUMABLE, resumable_loader

NAME = 'rehearsal'
LEVELS = ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL')
TRAINING = ('train_dataloader', 'train_cfg', 'optim_wrapper')
EVALUATION = ('{}_dataloader', '{}_cfg', '{}_evaluator')


class _Rehearsal(Runner):
    """A runner whose model has no memory, so that it is moved to no device, and that says and writes nothing."""

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        return model

    def _log_env(self, env_cfg: dict) -> None:
        pass

    def dump_config(self) -> None:
        pass


def rehearse(cfg: Config, model: nn.Module, splits: Sequence[str]) -> dict[str, Any]:
    """Build all that the run of `splits` ('train', 'val', 'test') will; the data sets that were read, by loader.

    `model` is the config's, on the meta device. Nothing of it is changed but its mode, which is that of evaluation.

    Raises:
        InputError: for what cannot be built, with its part of the config and why; for numbers that no run can use.
    """
    check_model(model)
    check_init(model)
    check_box_coders(model)
    check_assigners(model)
    check_extras(cfg, model)
    check_operators(model)
    plan = copy.deepcopy(cfg)
    with _silent(), tempfile.TemporaryDirectory() as folder:
        plan.merge_from_dict(dict(launcher='none', load_from=None, resume=False, work_dir=folder, experiment_name=NAME))
        try:
            return _build(_runner(plan, model), plan, model, splits)
        finally:
            _forget()


def _loader(runner: Runner, name: str, spec: dict[str, Any]) -> DataLoader:
    try:
        return runner.build_dataloader(spec, seed=runner.seed)
    except ValueError as error:
        if 'need at least one array to concatenate' not in str(error):  # what mmengine says of an empty list
            raise
        raise InputError(
            f'{name}: expected at least one image, got none that the data set keeps; check data_root, and filter_cfg, which '
            'leaves out images without objects and small ones'
        ) from error


def check_parts(cfg: Config, splits: Sequence[str]) -> None:
    """Stop where the config lacks a part that the run needs, or has a number that none can use."""
    needed = ['model'] + [key for split in splits for key in (TRAINING if split == 'train' else _of(split))]
    if 'val' in splits and not any(cfg.get(key) for key in _of('val')):  # training without validation
        needed = [key for key in needed if key not in _of('val')]
    missing = [key for key in needed if not isinstance(cfg.get(key), (dict, list)) or (key != 'train_cfg' and not cfg[key])]
    if missing:
        these = f'{", ".join(missing)} {"are" if len(missing) > 1 else "is"}'
        raise InputError(f'config: expected dicts under {", ".join(needed)}; {these} missing or no dict; see a recipe')
    check_numbers(cfg)


def _of(split: str) -> list[str]:
    return [key.format(split) for key in EVALUATION]


def _build(runner: Runner, cfg: Config, model: nn.Module, splits: Sequence[str]) -> dict[str, Any]:
    datasets, batches, first = {}, {}, FirstImages(cfg, model)
    schedulers: Any = None
    for split in splits:
        name = f'{split}_dataloader'
        spec = cfg.get(name)
        if spec is None:
            continue
        resumed = split == 'train' and cfg.train_cfg.get('type') in RESUMABLE
        with part(name):
            loader: Any = _loader(runner, name, resumable_loader(spec, endless=False) if resumed else spec)
        check_loader(name, loader, world_size() if cfg.get('launcher', 'none') != 'none' else 1)
        datasets[name] = resumable(loader.dataset) if resumed else loader.dataset
        with part(f'{name}.dataset'):
            batches[name] = first_batch(loader)
        check_sample(cfg, name, model, batches[name], training=split == 'train')
        if split == 'train':
            first.check_losses(name, batches[name])
        loader.num_workers = 0  # a loop starts its loading processes when it is made
        setattr(runner, f'_{name}', loader)
    if 'train' in splits:
        with part('train_cfg'):
            loop = runner._train_loop = runner.build_train_loop(runner._train_loop)
        check_loop(loop)
        check_loop_kind('train', loop)
        with part('optim_wrapper'):
            wrapper = runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        check_optimizer(wrapper)
        check_custom_keys(cfg, model)
        if runner.param_schedulers is not None:
            with part('param_scheduler'):
                schedulers = runner.build_param_scheduler(runner.param_schedulers)
                check_schedule(schedulers, wrapper, loop)
    for split in ('val', 'test'):
        if split in splits and getattr(runner, f'_{split}_loop') is not None:
            with part(f'{split}_cfg or {split}_evaluator'):
                loop = getattr(runner, f'build_{split}_loop')(getattr(runner, f'_{split}_loop'))
                name = f'{split}_dataloader'
                check_loop_kind(split, loop)
                names = try_metrics(loop.evaluator, name, batches[name], loop.dataloader.dataset)
            if split == 'val' and names is not None:
                check_monitors(runner.hooks, schedulers if isinstance(schedulers, list) else None, names)
            first.check_predictions(name, batches[name], loop.evaluator)
    check_hooks(runner.hooks)
    for hook in runner.hooks:
        if isinstance(hook, EMAHook):  # builds its averaged model when the run starts
            with part('EMAHook'):
                hook.before_run(runner)
    return datasets


def _runner(cfg: Config, model: nn.Module) -> Runner:
    level = cfg.get('log_level', 'INFO')
    if not isinstance(level, int) and level not in LEVELS:
        raise InputError(f'log_level: expected one of {", ".join(LEVELS)}; got {level!r}')
    with part('log_level'):
        MMLogger.get_instance(f'{NAME}_level', log_level=level)
    with part('randomness'):
        set_random_seed(**cfg.get('randomness', {}))
    with part('visualizer'):
        cfg.visualizer = _without_backends(cfg.get('visualizer'))
    known = inspect.signature(Runner.__init__).parameters
    arguments = {key: cfg.get(key) for key in cfg if key in known}
    with part('env_cfg, default_hooks, custom_hooks or log_processor'):
        return _Rehearsal(**arguments | dict(model=model, cfg=cfg, log_level='ERROR'))


def _without_backends(visualizer: Any) -> dict[str, Any]:
    """The visualizer without its backends, some of which start a run on a server; that they are there is checked."""
    spec = dict(visualizer) if isinstance(visualizer, dict) else dict(type='Visualizer')
    for backend in spec.pop('vis_backends', None) or ():
        check_backend(backend)
    return ConfigDict({**spec, 'name': NAME, 'vis_backends': None})


@contextmanager
def _silent() -> Iterator[None]:
    """Without the words of the libraries, which the run itself says again."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter('ignore')
        yield


def _forget() -> None:
    """Take the rehearsal's logger, message hub, visualizer and scope out of what "current" finds."""
    for cls in (MMLogger, MessageHub, Visualizer, DefaultScope):
        for name in [name for name in cls._instance_dict if name.startswith(NAME)]:
            instance = cls._instance_dict.pop(name)
            for handler in getattr(instance, 'handlers', ()):
                handler.close()

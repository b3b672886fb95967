"""Start-up that train.py and test.py share."""

from __future__ import annotations

import atexit
import os
import platform
import subprocess
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from datetime import timedelta
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from mmengine.config import Config
from mmengine.dist import barrier, master_only
from mmengine.runner import Runner
from torch import nn

import convnext_dense.training.hooks
import convnext_dense.training.precision  # noqa: F401
from convnext_dense.errors import InputError, last_line
from convnext_dense.run.meeting import meet
from convnext_dense.run.overrides import check_once
from convnext_dense.run.settle import settle_norms, settle_workers, world_size
from convnext_dense.training.bad_pictures import ReadableDataset, check_mask_sizes
from convnext_dense.training.checkpoint_file import write_checkpoint, writing_by
from convnext_dense.training.loading_processes import begin_loading, loads_on
from convnext_dense.training.sharded import ShardedModel
from convnext_dense.version import __version__
from convnext_dense.weights.load import open_whole_model

LEAVE = 10  # seconds that a process waits for the others at its end
PACKAGES = ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmcv-lite', 'mmdet', 'mmsegmentation')


def prepare(cfg: Config, args: Namespace) -> list[str]:
    """Settle launcher, seed, norms, workers and hooks in the config; the lines say what was changed."""
    cfg.launcher = args.launcher
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if args.launcher == 'pytorch' and 'RANK' not in os.environ:
        raise InputError(f'--launcher pytorch: expected RANK in the environment; start with {_torchrun()}')
    if args.launcher == 'pytorch':
        _check_ranks()
    if args.launcher == 'none' and world_size() > 1:
        raise InputError(f'expected --launcher pytorch (or slurm, mpi) for {world_size()} processes, got --launcher none')
    randomness = cfg.get('randomness') or {}
    if not isinstance(randomness, dict):
        raise InputError(f'randomness: expected a dict, such as dict(seed=0); got {randomness!r}')
    for key in ('deterministic', 'diff_rank_seed'):
        if not isinstance(randomness.get(key, False), bool):
            raise InputError(f'randomness.{key}: expected true or false, got {randomness[key]!r}')
    if args.seed is not None:
        check_once('--seed', getattr(args, 'cfg_options', None), lambda key: key == 'randomness.seed')
    cfg.randomness = {'seed': None, **randomness} if args.seed is None else {**randomness, 'seed': args.seed}
    processes = world_size() if args.launcher != 'none' else 1
    hooks = [dict(type='ProgressBarHook')]
    if args.launcher != 'none' and not torch.cuda.is_available():
        # mmengine would ask for a GPU: start gloo here, and tell DistributedDataParallel that there is no device.
        if args.launcher != 'pytorch':
            raise InputError(f'--launcher {args.launcher}: expected a GPU in each process; on the CPU use --launcher pytorch')
        cfg.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel',
            device_ids=None,
            broadcast_buffers=True,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        )
        hooks.append(dict(type='BroadcastBuffersHook'))
    given = cfg.get('custom_hooks') or []
    if not isinstance(given, list):
        raise InputError(f'custom_hooks: expected a list of dicts, got {given!r}')
    cfg.custom_hooks = [*given, *hooks]
    lines = [settle_norms(cfg, processes), settle_workers(cfg)]
    return [line for line in lines if line]


def _torchrun() -> str:
    """How this command is started in several processes."""
    script = sys.argv[0]
    return f'torchrun --nproc_per_node N {script if script.endswith(".py") else f"--no-python {script}"} …'


def _check_ranks() -> None:
    """Stop at ranks in the environment that are no numbers, or beyond the number of processes."""
    for name in ('RANK', 'LOCAL_RANK'):
        text, processes = os.environ[name], world_size()
        if not text.isdecimal() or int(text) >= processes:
            raise InputError(
                f'{name} in the environment: expected a number from 0 to {processes - 1}, below WORLD_SIZE, got {text!r}; '
                f'start with {_torchrun()}'
            )


@cache
def made_by() -> dict[str, str]:
    """Versions of what a model is trained with, and the commit of this project's clone, where it is one."""
    found = dict(convnext_dense=__version__, python=platform.python_version())
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    root = Path(__file__).resolve().parents[2]
    if (root / '.git').exists():
        with suppress(OSError, subprocess.SubprocessError):
            command = ['git', '-C', str(root), 'rev-parse', 'HEAD']
            found['commit'] = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    return found


class WholeModelRunner(Runner):
    """A runner whose checkpoints of whole models may be of any published layout; they were checked before it was made."""

    new_heads = False

    def train(self) -> nn.Module:
        """As mmengine's; no process leaves while another still speaks to it."""
        model = super().train()
        barrier()
        return model

    def _init_model_weights(self) -> None:
        if not isinstance(self.model, ShardedModel):  # which did it before it was divided
            super()._init_model_weights()

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """As mmengine's; that of a divided model saves and loads whole state."""
        built = super().build_optim_wrapper(optim_wrapper)
        if isinstance(self.model, ShardedModel) and built is not optim_wrapper:
            self.model.follow(built.optimizer)
        return built

    def test(self) -> dict[str, float]:
        """As mmengine's; no process leaves while another still speaks to it."""
        metrics = super().test()
        barrier()
        return metrics

    def load_checkpoint(
        self,
        filename: str,
        map_location: Any = 'cpu',
        strict: bool = False,
        revise_keys: Sequence[tuple[str, str]] = (),
    ) -> dict[str, Any]:
        """As mmengine's, but opened with weights only, under this project's names, and strict but for `new_heads`."""
        whole = open_whole_model(filename)
        content, state = whole.content, whole.state
        if isinstance(content.get('meta'), dict):
            content['meta'].pop('config', None)  # of old files: mmengine would run it when it resumes
        model = self.model
        while isinstance(getattr(model, 'module', None), nn.Module):  # of several processes, augmentation, tiles
            model = model.module
        own = model.state_dict()
        if self.new_heads:
            state = {name: value for name, value in state.items() if own[name].shape == value.shape}
        content['state_dict'] = state  # where hooks read it, and EMAHook puts other values, whatever the file's layout
        self.call_hook('after_load_checkpoint', checkpoint=content)
        model.load_state_dict(state, strict=not self.new_heads)
        self._has_loaded = True
        self.logger.info(f'model: loaded {len(state)} of {len(own)} tensors from {filename}')
        return content

    @master_only
    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
        """As mmengine's, but whole or not at all, and it says what made it."""
        kwargs['meta'] = dict(kwargs.get('meta') or {}, made_by=made_by())
        remote = '://' in str(out_dir) or kwargs.get('backend_args') or kwargs.get('file_client_args')
        with nullcontext() if remote else writing_by(write_checkpoint):
            super().save_checkpoint(out_dir, filename, *args, **kwargs)


def _leave() -> None:
    """End the process group once all are here: one that leaves while another still speaks to it may abort."""
    with suppress(Exception):  # of one that is gone
        torch.distributed.monitored_barrier(timeout=timedelta(seconds=LEAVE))
    torch.distributed.destroy_process_group()


def _meet(cfg: Config) -> None:
    """Start the process group: gloo on the CPU, where mmengine would ask for a GPU; the config's under torchrun."""
    given: dict[str, Any] = dict(backend='gloo')
    if torch.cuda.is_available():
        if 'TORCHELASTIC_RUN_ID' not in os.environ:
            return  # mmengine does it
        given = dict(backend='nccl') | dict((cfg.get('env_cfg') or {}).get('dist_cfg') or {})
    options = dict(timeout=timedelta(seconds=given['timeout'])) if given.get('timeout') else {}
    try:
        meet(given['backend'], **options)
    except Exception as error:  # the rendezvous reads the environment, and waits for the others
        raise InputError(
            f'--launcher pytorch: expected the environment of torchrun, got one by which the processes do not meet '
            f'({last_line(error)}); start with {_torchrun()}'
        ) from error
    if given['backend'] == 'gloo':
        # Left to the interpreter's end, gloo's threads abort one run in ten ("terminate called without an active exception").
        atexit.register(_leave)


def build_runner(cfg: Config, lines: list[str], datasets: Mapping[str, Any], new_heads: bool = False) -> Runner:
    """The runner, made after every check has passed; `lines` go to its log, the `datasets` that were read to its loaders."""
    if cfg.launcher == 'pytorch':
        _meet(cfg)
    begin_loading()
    runner = WholeModelRunner.from_cfg(cfg)
    runner.new_heads = new_heads
    for name, dataset in datasets.items():
        if name != 'train_dataloader':
            check_mask_sizes(dataset)
            dataset = ReadableDataset(dataset)
            getattr(runner, f'_{name}').setdefault('worker_init_fn', dict(type=loads_on))
        getattr(runner, f'_{name}')['dataset'] = dict(type=lambda dataset=dataset: dataset)
    for line in lines:
        runner.logger.info(line)
    return runner

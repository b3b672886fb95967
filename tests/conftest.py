"""Shared by all tests: the commands as functions and as processes, and a small toy set."""

import contextlib
import gc
import importlib
import io
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import forked
import mmengine.config.config as config_module
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer
from models import write_checkpoint

from convnext_dense import ops
from convnext_dense.data.coco import read_coco
from convnext_dense.data.shapes import CLASSES, write_shapes
from convnext_dense.kernels import cross_entropy, guard, strips, winograd
from convnext_dense.report import watch

ROOT = Path(__file__).resolve().parents[1]
UNFORMATTED = str(ROOT / 'tests/unformatted')
SHAPES = str(ROOT / 'configs/upernet_convnext_atto_shapes.py')
SHAPES_COCO = str(ROOT / 'configs/mask_rcnn_convnext_atto_shapes.py')
# A run of a few seconds, in this process.
QUICK = [
    'train_dataloader.batch_size=2',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'val_dataloader.num_workers=0',
    'val_dataloader.persistent_workers=False',
    'test_dataloader.num_workers=0',
    'test_dataloader.persistent_workers=False',
    'default_hooks.logger.interval=1',
]


# MMEngine formats each config that it writes down or keeps, which takes a second each time.
config_module.FormatCode = lambda text, **_: (text, True)


def rounding(*lengths: int, dtype: torch.dtype = torch.float32) -> float:
    """How far two right ways to add up may lie apart, relative to the largest value: for sums of these lengths, one on another.

    Rounding errors walk at random, by the root of a sum's length; which way they go is the processor's and the library's.
    """
    return 4 * torch.finfo(dtype).eps * sum(length**0.5 for length in lengths)


def image(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    """(B, C, H, W) of normal random numbers, the same at each run, channels last."""
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
    return x.contiguous(memory_format=torch.channels_last)


needs_lite = pytest.mark.skipif(ops.backend() != 'torchvision', reason='mmcv has compiled operators')


def pytest_collection_finish() -> None:
    """mmengine collects garbage for every data set; what was imported until now need not be looked through each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def current_instances() -> Iterator[None]:
    """No test leaves mmengine's scope, logger and the like to the next one: which tests share a process is not fixed."""
    classes = (DefaultScope, MMLogger, MessageHub, Visualizer)
    before = [dict(cls._instance_dict) for cls in classes]
    yield
    for cls, instances in zip(classes, before):
        for name in cls._instance_dict.keys() - instances.keys():
            for handler in getattr(cls._instance_dict[name], 'handlers', ()):
                handler.close()
        cls._instance_dict.clear()
        cls._instance_dict.update(instances)


@pytest.fixture(autouse=True)
def small_work(request, monkeypatch) -> None:
    """Small models and maps take the faster paths by default, as large ones do; but in tests that ask for `real_limits`."""
    if 'real_limits' in request.fixturenames:
        return
    monkeypatch.setattr(guard, 'MIN_WORK', 0)
    monkeypatch.setattr(cross_entropy, 'MIN_CLASSES', 0)


@pytest.fixture(autouse=True)
def undrawn(request, monkeypatch) -> None:
    """Runs draw no page at their validations, which takes a second, but in tests that ask for `drawn`."""
    if 'drawn' not in request.fixturenames:
        monkeypatch.setattr(watch, 'renew', lambda folder: None)


@pytest.fixture
def drawn() -> None:
    """Runs draw curves.png and report.html, as in use."""


@pytest.fixture
def empty_caches() -> None:
    """The kernels' constant tensors are made anew: the first to ask for them may be in inference mode."""
    for name in list(sys.modules):
        if name.startswith('convnext_dense.kernels.'):
            for function in vars(sys.modules[name]).values():
                getattr(function, 'cache_clear', lambda: None)()


@pytest.fixture
def cfg() -> Config:
    """The toy config, at 8 images a step and a rate of 1e-3."""
    from convnext_dense.run.options import load_config

    cfg = load_config(SHAPES)
    cfg.optim_wrapper.optimizer.lr = 1e-3
    cfg.train_dataloader.batch_size = cfg.auto_scale_lr.base_batch_size = 8
    return cfg


@pytest.fixture
def real_limits() -> None:
    """Small work takes the plain layers by default, as in use."""


@pytest.fixture
def always(monkeypatch) -> None:
    """Minimal filtering on maps of every size."""
    monkeypatch.setattr(winograd, 'MIN_PIXELS', 1)
    monkeypatch.setattr(winograd, 'MIN_CHANNELS', 1)


@pytest.fixture
def small_strips(monkeypatch) -> None:
    """Maps in strips of a few rows, small ones too."""
    monkeypatch.setattr(strips, 'VALUES', 2000)


@pytest.fixture(scope='session')
def shapes(tmp_path_factory) -> str:
    """Six training and five validation scenes."""
    folder = tmp_path_factory.mktemp('data') / 'shapes'
    write_shapes(folder, train=6, val=5)
    return str(folder)


@pytest.fixture(scope='session')
def segmentor_file(tmp_path_factory) -> str:
    """A checkpoint of the toy segmentor, with random weights."""
    return str(write_checkpoint(SHAPES, tmp_path_factory.mktemp('segmentor') / 'model.pth', CLASSES))


@pytest.fixture(scope='session')
def detector_file(tmp_path_factory) -> str:
    """A checkpoint of the toy detector, with random weights."""
    return str(write_checkpoint(SHAPES_COCO, tmp_path_factory.mktemp('detector') / 'model.pth', CLASSES[1:]))


@pytest.fixture
def root(shapes: str, tmp_path: Path) -> Path:
    """A copy of the toy set to spoil."""
    read_coco.cache_clear()
    return Path(shutil.copytree(shapes, tmp_path / 'shapes'))


def two_processes(name: str, *args: str) -> subprocess.CompletedProcess:
    """A tool in two processes that speak to each other, at a port that is free."""
    return forked.run([*torchrun(name, '--nproc_per_node', '2'), *args, '--launcher', 'pytorch'])


def torchrun(name: str, *options: str) -> list[str]:
    """The arguments of a forked process that starts a tool in several, forked too."""
    meet = ['--rdzv_backend', 'c10d', '--rdzv_endpoint', 'localhost:0']
    return [*forked.TORCHRUN, *options, *meet, '--no-python', *forked.CLIENT, str(ROOT / 'tools' / f'{name}.py')]


def one_line(status: int, err: str, message: str) -> None:
    """A tool stopped at wrong input as it should: status 2, one line on stderr, and this in it."""
    assert status == 2, err
    lines = err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith('error: '), err
    assert re.search(message, lines[0]), lines[0]


@contextlib.contextmanager
def forgotten() -> Iterator[None]:
    """What mmengine finds as "current" afterwards is what it found before; the log files of a run are closed."""
    kinds = (MMLogger, MessageHub, Visualizer, DefaultScope)
    before = [dict(kind._instance_dict) for kind in kinds]
    try:
        yield
    finally:
        for kind, instances in zip(kinds, before, strict=True):
            for name in set(kind._instance_dict) - set(instances):
                for handler in getattr(kind._instance_dict[name], 'handlers', ()):
                    handler.close()
            kind._instance_dict.clear()
            kind._instance_dict.update(instances)


def call_tool(name: str, *args: str) -> subprocess.CompletedProcess:
    """A command called in this process, which takes none of the seconds that the libraries need to be imported."""
    from convnext_dense.run.command import exit_with_line

    module = importlib.import_module(f'convnext_dense.commands.{name}')
    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
        forgotten(),
        torch.random.fork_rng(devices=[]),  # a seed of the tool's is not the next test's
        patch.dict(os.environ),
    ):
        argv = patch.object(sys, 'argv', [f'convnext-dense {name}', *args])
        with argv, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                exit_with_line(module.main, getattr(module, 'GO_ON', ''))
            except SystemExit as stop:
                status = int(stop.code or 0)
    return subprocess.CompletedProcess([name, *args], status, out.getvalue(), err.getvalue())


@pytest.fixture
def tool() -> Callable[..., tuple[int, str]]:
    """A command called in this process: its exit status and what it wrote on stderr."""

    def call(name: str, *args: str) -> tuple[int, str]:
        done = call_tool(name, *args)
        return done.returncode, done.stderr

    return call


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """The lines that mmengine's logger gets during the test."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)

"""Shared by all tests: the tools as functions and as processes, and a small toy set."""

import importlib.util
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

from convnext_dense import ops
from convnext_dense.data.shapes import write_shapes
from convnext_dense.kernels import cross_entropy, guard, strips, winograd

ROOT = Path(__file__).resolve().parents[1]
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


@pytest.fixture(autouse=True)
def default_scope() -> Iterator[None]:
    """No test leaves mmengine's default scope to the next one: which tests share a process is not fixed."""
    before = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


@pytest.fixture(autouse=True)
def small_work(monkeypatch) -> None:
    """Small models and maps take the faster paths by default, as large ones do."""
    monkeypatch.setattr(guard, 'MIN_WORK', 0)
    monkeypatch.setattr(cross_entropy, 'MIN_CLASSES', 0)


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


def run_tool(name: str, *args: str, launcher: tuple[str, ...] = (), cwd: str | None = None) -> subprocess.CompletedProcess:
    """A tool as its own process, on one thread so that runs can be compared."""
    command = [sys.executable, *launcher, str(ROOT / 'tools' / f'{name}.py'), *args]
    env = {**os.environ, 'OMP_NUM_THREADS': '1'}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, timeout=600)


def one_line(status: int, err: str, message: str) -> None:
    """A tool stopped at wrong input as it should: status 2, one line on stderr, and this in it."""
    assert status == 2, err
    lines = err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith('error: '), err
    assert re.search(message, lines[0]), lines[0]


@pytest.fixture
def tool(monkeypatch, capsys) -> Callable[..., tuple[int, str]]:
    """A tool called in this process: its exit status and what it wrote on stderr."""

    def call(name: str, *args: str) -> tuple[int, str]:
        spec = importlib.util.spec_from_file_location(f'tool_{name}', ROOT / 'tools' / f'{name}.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, 'argv', [f'{name}.py', *args])
        from convnext_dense.run.command import exit_with_line

        capsys.readouterr()
        try:
            exit_with_line(module.main)
        except SystemExit as stop:
            return int(stop.code or 0), capsys.readouterr().err
        return 0, capsys.readouterr().err

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

"""A loading process that is killed or ends: which, how, at which picture, and what to do."""

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import forgotten
from guard_runs import tiny_run
from mmengine.structures import BaseDataElement
from torch.utils.data import DataLoader, Dataset

from convnext_dense import InputError
from convnext_dense.training.dataset import ResumableDataset
from convnext_dense.training.worker_death import batches_of, explained


class Deadly(Dataset):
    """Ends the process that reads sample `at`, by a signal or an exit; others wait for it, so that several are at a sample."""

    def __init__(self, at: int, how: int | None) -> None:
        self.at, self.how = at, how

    def __len__(self) -> int:
        return 8

    def get_data_info(self, index: int) -> dict[str, Any]:
        return dict(img_path=f'{index}.png')

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == self.at and self.how is None:
            os._exit(3)
        if index == self.at:
            os.kill(os.getpid(), self.how)
        time.sleep(0.05)
        return dict(inputs=torch.ones(3, 4, 4), data_samples=BaseDataElement(metainfo=dict(spoilt=False)))


@pytest.mark.parametrize('loop', ['ResumableIterLoop', 'ResumableEpochLoop'])
@pytest.mark.parametrize(
    ('how', 'words'),
    [
        (signal.SIGKILL, 'was killed by SIGKILL while it read 3.png; usually the memory was used up: set fewer num_workers'),
        (signal.SIGBUS, 'was killed by SIGBUS while it read 3.png; usually the shared memory was used up'),
        (None, 'ended with exit code 3 while it read 3.png; load it alone to see why, with num_workers=0'),
    ],
)
def test_the_picture_is_named(tmp_path: Path, loop: str, how: int | None, words: str) -> None:
    length = dict(max_iters=8) if 'Iter' in loop else dict(max_epochs=1)
    with forgotten():
        runner = tiny_run(tmp_path, 8, Deadly(3, how), num_workers=2, train_cfg=dict(type=loop))
        runner._train_loop = dict(type=loop, **length)
        with pytest.raises(InputError) as error:
            runner.train()
    assert f'train_dataloader: expected 2 loading processes to live, but number 1 {words}' in str(error.value)


def test_what_is_no_death_passes() -> None:
    loader = DataLoader(ResumableDataset(Deadly(9, None)), num_workers=0, collate_fn=list)
    with pytest.raises(RuntimeError, match='shape'), batches_of(loader) as batches:
        next(batches)
        raise RuntimeError('shape')
    with batches_of(loader) as batches:
        assert len(list(batches)) == 8


def test_a_process_of_another_loader_is_not_taken_for_one_of_these() -> None:
    error = RuntimeError('DataLoader worker (pid(s) 77, 78) exited unexpectedly')
    worker = SimpleNamespace(pid=5, exitcode=-9, join=lambda timeout: None)
    assert explained(error, SimpleNamespace(_workers=[worker]), None) is None
    assert explained(error, iter([]), None) is None and explained(RuntimeError('pid'), None, None) is None
    worker.is_alive = lambda: True
    assert explained(ConnectionResetError(), SimpleNamespace(_workers=[worker]), None) is None
    assert explained(EOFError(), iter([]), None) is None
    worker.pid = 78
    between = explained(error, SimpleNamespace(_workers=[worker]), SimpleNamespace(reading=torch.full((4,), -1)))
    assert 'number 0 was killed by SIGKILL between two samples' in str(between)
    assert 'between two samples' in str(explained(error, SimpleNamespace(_workers=[worker]), object()))
    worker.exitcode = -64
    assert 'was killed by SIGRTMAX' in str(explained(error, SimpleNamespace(_workers=[worker]), object()))


def test_a_batch_that_is_fetched_in_vain() -> None:
    """From a process that had announced it and is gone: which is known a little later, by itself or from PyTorch."""
    states = iter([True, True, False])
    worker = SimpleNamespace(pid=78, exitcode=-9, join=lambda timeout: None, is_alive=lambda: next(states))
    found = explained(ConnectionResetError(104, 'Connection reset by peer'), SimpleNamespace(_workers=[worker]), None)
    assert 'number 0 was killed by SIGKILL between two samples' in str(found)

    def told() -> bool:
        raise RuntimeError('DataLoader worker (pid 78) is killed by signal: Killed.')

    worker.is_alive = told
    assert 'number 0 was killed by SIGKILL' in str(explained(EOFError(), SimpleNamespace(_workers=[worker]), None))
    loader = DataLoader(ResumableDataset(Deadly(9, None)), num_workers=1, collate_fn=list)
    with pytest.raises(InputError, match='number 0 was killed by SIGKILL'), batches_of(loader) as batches:
        next(batches)
        batches._workers[0].kill()
        raise FileNotFoundError

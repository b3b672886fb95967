"""Loading processes leave signals to their run, end with it whatever holds the loader, and are there for the next one."""

import contextlib
import gc
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from mmengine.hooks import Hook
from tiny_runs import Samples, runner
from torch.utils.data import DataLoader, Dataset

from convnext_dense.training.loading_processes import GRACE, begin_loading, loads_on
from convnext_dense.training.stopping import SIGNALS


class Group(Dataset):
    """Reading the sample 1 sends a signal to the loading process itself, as one to the whole group would."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        if index == 1:
            os.kill(os.getpid(), self.number)
            time.sleep(0.05)
        return index


@pytest.mark.parametrize('number', SIGNALS)
def test_loading_goes_on(number: int) -> None:
    begin_loading()
    loader = DataLoader(Group(number), batch_size=1, num_workers=1, worker_init_fn=loads_on)
    assert [int(batch) for batch in loader] == [0, 1, 2, 3] and GRACE > 30


LOADER = dict(
    batch_size=2,
    num_workers=2,
    persistent_workers=True,
    dataset=dict(type=Samples),
    sampler=dict(type='DefaultSampler', shuffle=True),
)


class Holds(Hook):
    """Keeps the loading processes' iterator; raises in the second iteration where it is to."""

    def __init__(self, error: BaseException | None) -> None:
        self.error, self.held = error, []  # type: ignore[var-annotated]

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.held = [runner.train_dataloader._iterator]
        if runner.iter == 1 and self.error is not None:
            raise self.error


@pytest.fixture
def temporary(monkeypatch) -> Iterator[Path]:
    """A folder of a short name: those of the sockets in it have an end."""
    folder = Path(tempfile.mkdtemp())
    monkeypatch.setattr(tempfile, 'tempdir', str(folder))
    monkeypatch.delitem(multiprocessing.current_process()._config, 'tempdir', raising=False)  # of an earlier test
    yield folder
    folder.rmdir()


@pytest.mark.parametrize('loop', [dict(max_iters=3), dict(max_epochs=1)], ids=['iterations', 'epochs'])
@pytest.mark.parametrize('error', [None, ValueError('wrong'), SystemExit(143)], ids=['end', 'error', 'stop'])
def test_they_end_with_their_run(tmp_path: Path, temporary: Path, monkeypatch, error: BaseException | None, loop: dict) -> None:
    """At once, whatever holds the loader, and though they leave signals to it: nobody waits for one that goes on."""
    hook = Holds(error)
    made = runner(tmp_path, loop, custom_hooks=[hook], train_dataloader=LOADER)
    join, waited = BaseProcess.join, []

    def watched(process: BaseProcess, timeout: float | None = None) -> None:
        waited.append(process.name)
        join(process, timeout)

    monkeypatch.setattr(BaseProcess, 'join', watched)
    try:
        made.train()
    except BaseException as found:
        assert found is error
    else:
        assert error is None
    workers = hook.held[0]._workers
    assert waited == []
    for worker in workers:
        join(worker, timeout=GRACE / 2)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert not list(temporary.iterdir()), 'nothing of theirs is left'
    assert made.train_dataloader._iterator is None
    del hook.held[:], workers, worker
    gc.collect()  # the iterator ends too, and finds nobody to wait for


def test_a_second_run_has_its_own(tmp_path: Path) -> None:
    """Of training and of evaluation."""
    made = runner(
        tmp_path,
        dict(max_iters=4, val_interval=2),
        train_dataloader=LOADER,
        val_dataloader=dict(LOADER, batch_size=1, worker_init_fn=dict(type=loads_on)),
    )
    made.train()
    made.val()
    made.train_loop._iter, made.train_loop._max_iters = 0, 2
    made.train()
    assert made.iter == 2


class Large(Dataset):
    """More bytes a sample than a pipe holds."""

    def __len__(self) -> int:
        return 100

    def __getitem__(self, index: int) -> bytes:
        return bytes(2_000_000)


def late(worker: int) -> None:
    """Begins when its run is gone: PyTorch's own watch takes the process that it is handed to then for its run."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.01)
    loads_on(worker)


@pytest.mark.slow
@pytest.mark.parametrize('begin', [loads_on, late])
def test_they_end_with_a_process_that_was_killed(begin: Callable[[int], None]) -> None:
    """Though they are in the middle of handing on a batch that nobody reads any more, or just begin."""
    read, written = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(read)
            begin_loading()
            left = iter(DataLoader(Large(), batch_size=1, num_workers=2, worker_init_fn=begin, collate_fn=list))
            if begin is loads_on:
                next(left)
            os.write(written, ' '.join(str(worker.pid) for worker in left._workers).encode())  # type: ignore[attr-defined]
            time.sleep(60)
        finally:
            os._exit(1)
    os.close(written)
    workers = [int(number) for number in os.read(read, 100).split()]
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    end = time.monotonic() + 10
    while any(_state(worker) != 'Z' for worker in workers) and time.monotonic() < end:
        time.sleep(0.1)
    alive = [worker for worker in workers if _state(worker) != 'Z']
    for worker in alive:
        os.kill(worker, signal.SIGKILL)
    assert len(workers) == 2 and not alive


def _state(process: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[0]
    return 'Z'

"""A loading process that died, with the sample that it was at."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader

from convnext_dense.errors import InputError
from convnext_dense.training.bad_pictures import path_of

DIED = re.compile(r'DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)')
LATE = 1.0  # seconds within which a process whose socket is gone is known to have died
ADVICE = {
    'SIGKILL': 'usually the memory was used up: set fewer num_workers, or use smaller pictures',
    'SIGBUS': 'usually the shared memory was used up: make /dev/shm larger, or set fewer num_workers',
    'SIGSEGV': 'a library read out of its memory: look at this picture, or take it out',
}


@contextmanager
def batches_of(loader: DataLoader) -> Iterator[Iterator[Any]]:
    """The loader's batches. What happens while they are used and comes of a loading process that died is an InputError.

    PyTorch raises it wherever the main process is at that moment, unless a batch that the process had just announced is
    fetched from it in vain before.
    """
    batches = iter(loader)
    try:
        yield batches
    except (RuntimeError, EOFError, OSError) as error:
        found = explained(error, batches, loader.dataset)
        if found is None:
            raise
        raise found from error


def explained(error: BaseException, batches: Any, dataset: Any) -> InputError | None:
    """What is known of the loading process of `batches` that died; None where `error` is of something else.

    Args:
        dataset: whose `reading` says at which index each process is, as that of ResumableDataset.
    """
    workers = list(getattr(batches, '_workers', ()))
    if not isinstance(error, RuntimeError):
        try:
            for _ in range(round(LATE / 0.02)):
                time.sleep(0.02 if workers else 0)
                dead = [number for number, worker in enumerate(workers) if not worker.is_alive() and worker.exitcode != 0]
                if dead:
                    return _explained(workers, dead[0], dataset)
        except RuntimeError as told:  # by PyTorch, once it is told itself
            error = told
    match = DIED.search(str(error))
    pids = {int(pid) for pid in match[1].split(',')} if match else set()
    for number, worker in enumerate(workers):
        if worker.pid in pids:
            return _explained(workers, number, dataset)
    return None


def _explained(workers: list[Any], number: int, dataset: Any) -> InputError:
    workers[number].join(timeout=1)
    how, name = _end(workers[number].exitcode)
    return InputError(
        f'train_dataloader: expected {len(workers)} loading processes to live, but number {number} {how} '
        f'{_sample(dataset, number)}; {ADVICE.get(name, "load it alone to see why, with num_workers=0")}'
    )


def _end(code: int | None) -> tuple[str, str]:
    """How a process ended, in words, and the signal's name."""
    if code is not None and code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:  # a real-time signal
            name = f'signal {-code}'
        return f'was killed by {name}', name
    return f'ended with exit code {code}', ''


def _sample(dataset: Any, number: int) -> str:
    """What the process was at."""
    reading = getattr(dataset, 'reading', None)
    index = -1 if reading is None else int(reading[number % len(reading)])
    return 'between two samples' if index < 0 else f'while it read {path_of(dataset, index)}'

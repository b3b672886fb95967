"""A loading process that died, with the sample that it was at."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader

from convnext_dense.errors import InputError
from convnext_dense.training.bad_pictures import path_of

DIED = re.compile(r'DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)')
ADVICE = {
    'SIGKILL': 'usually the memory was used up: set fewer num_workers, or use smaller pictures',
    'SIGBUS': 'usually the shared memory was used up: make /dev/shm larger, or set fewer num_workers',
    'SIGSEGV': 'a library read out of its memory: look at this picture, or take it out',
}


@contextmanager
def batches_of(loader: DataLoader) -> Iterator[Iterator[Any]]:
    """The loader's batches. What happens while they are used and comes of a loading process that died is an InputError.

    PyTorch raises it wherever the main process is at that moment.
    """
    batches = iter(loader)
    try:
        yield batches
    except RuntimeError as error:
        found = explained(error, batches, loader.dataset)
        if found is None:
            raise
        raise found from error


def explained(error: BaseException, batches: Any, dataset: Any) -> InputError | None:
    """What is known of the loading process of `batches` that died; None where `error` is of something else.

    Args:
        dataset: whose `reading` says at which index each process is, as that of ResumableDataset.
    """
    match = DIED.search(str(error))
    if match is None:
        return None
    pids = {int(pid) for pid in match[1].split(',')}
    for number, worker in enumerate(getattr(batches, '_workers', ())):
        if worker.pid in pids:
            worker.join(timeout=1)
            how, name = _end(worker.exitcode)
            where = _sample(dataset, number)
            return InputError(
                f'train_dataloader: expected {len(batches._workers)} loading processes to live, but number {number} {how} '
                f'{where}; {ADVICE.get(name, "load it alone to see why, with num_workers=0")}'
            )
    return None


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

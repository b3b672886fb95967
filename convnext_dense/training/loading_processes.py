"""Loading processes that leave it to their run to stop, and end with it at once."""

from __future__ import annotations

import atexit
import mmap
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

GRACE = 60.0  # seconds that a loading process outlives a request to end which was not its run's


class _Ending:
    """Whether a run is ending, told to the loading processes that were forked within it by a page of shared memory."""

    page = mmap.mmap(-1, 1)

    @classmethod
    def begin(cls) -> None:
        """A run begins: with a page of its own, since a process may be a fork of another that trains."""
        cls.page = mmap.mmap(-1, 1)

    @classmethod
    def end(cls) -> None:
        cls.page[0] = 1


atexit.register(_Ending.end)
begin_loading = _Ending.begin


@contextmanager
def loading() -> Iterator[None]:
    """The loading processes that are started within end when it is left, however that is; those of a run around it do not."""
    before = _Ending.page
    _Ending.begin()
    page = _Ending.page
    try:
        yield
    finally:
        page[0], _Ending.page = 1, before


def forget_processes(loaders: Iterable[object]) -> None:
    """Have persistent loading processes, which ended with their run, started anew the next time."""
    for loader in loaders:
        if getattr(loader, '_iterator', None) is not None:
            loader._iterator = None  # type: ignore[attr-defined]


def loads_on(worker: int) -> None:
    """`worker_init_fn`: a loading process leaves it to its run to stop on a signal that went to the whole group.

    It ends with its run; without it, `GRACE` seconds after it was asked to.
    """
    asked: list[float] = []
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(time.monotonic()))
    queue = getattr(sys._getframe(1), 'f_locals', {}).get('data_queue')  # of PyTorch's _worker_loop, which calls this
    arguments = _Ending.page, asked, _temporary(), getattr(queue, '_wlock', None)
    threading.Thread(target=_end_with_run, args=arguments, daemon=True).start()


def _temporary() -> str | None:
    """The folder of the sockets by which a loading process hands on tensors; at its begin that of its parent, or none."""
    return getattr(multiprocessing.current_process(), '_config', {}).get('tempdir')


def _orphaned(parent: int) -> bool:
    """Whether the run is gone. Who was started just before that has another parent from the first on; its pipe tells."""
    run = multiprocessing.parent_process()
    return os.getppid() != parent or (run is not None and not run.is_alive())


def _end_with_run(page: mmap.mmap, asked: list[float], others: str | None, writing: Any) -> None:
    parent = os.getppid()
    while not page[0] and not (asked and time.monotonic() - asked[0] > GRACE) and not _orphaned(parent):
        time.sleep(0.1)
    own = _temporary()
    if own is not None and own != others:
        shutil.rmtree(own, ignore_errors=True)
    # Who reads for pinned memory would wait for the rest of a batch that is being handed on; the lock is given back, for which
    # the others would wait: this process ends before another of its threads can begin with the next batch.
    if writing is not None and writing.acquire(timeout=1):
        writing.release()
    os._exit(0)  # any other status is told to the run as a loading process that died

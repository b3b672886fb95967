"""Work done in threads beside the caller: in order, and a bounded number of steps ahead, so that a source may be endless."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Given = TypeVar('Given')
Made = TypeVar('Made')


def ahead(source: Iterable[Given], function: Callable[[Given], Made], threads: int = 2, depth: int = 4) -> Iterator[Made]:
    """`function` of each item in order, at most `depth` of them before the caller asks; errors reach the caller at their place.

    The source is read in a thread of its own. When the caller stops, so do the threads, after what they have begun.
    """
    waiting: queue.Queue[Future[Any] | None] = queue.Queue(depth)
    stopped = threading.Event()
    pool = ThreadPoolExecutor(threads, thread_name_prefix='ahead')

    def put(future: Future[Any] | None) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(future, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def read() -> None:
        try:
            for item in source:
                if not put(pool.submit(function, item)):
                    break
        except BaseException as error:
            failed: Future[Any] = Future()
            failed.set_exception(error)
            put(failed)
        finally:
            put(None)
            if stopped.is_set() and hasattr(source, 'close'):
                source.close()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while (future := waiting.get()) is not None:
            yield future.result()
    finally:
        stopped.set()
        pool.shutdown(wait=True, cancel_futures=True)
        reader.join(timeout=5)

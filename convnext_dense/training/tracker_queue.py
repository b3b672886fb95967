"""Jobs for a tracker, done one after the other by one thread of its own: whatever they do, the run neither waits nor fails."""

from __future__ import annotations

import errno
import queue
import re
import threading
from collections.abc import Callable
from textwrap import shorten

from convnext_dense.errors import reason

MOST = 4000  # jobs that may wait
MOST_BYTES = 256 << 20  # of pictures among them
PAUSES = (1.0, 5.0, 15.0)  # seconds before a job that failed for the moment is tried again
FAILURES = 3  # in a row, after which a tracker is given up
LASTING = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EFBIG}


class JobQueue:
    """A thread that begins with `begin`, does the jobs that it is given in their order, and ends with `end`.

    Jobs beyond `MOST` that wait are left out. A job that fails for the moment, as where a server does not answer, is tried
    again after `PAUSES`, then the tracker is given up; any other failure leaves out the job, the third in a row the tracker.
    Of all that, the first thing that goes wrong for good is told, in one line.

    Args:
        begin, end: called in the thread; `end` is given whether the run came to its end. Not after a `begin` that failed.
        warn: is given the line.
    """

    def __init__(self, begin: Callable[[], None], end: Callable[[bool], None], warn: Callable[[str], None]) -> None:
        self._begin, self._end, self._warn = begin, end, warn
        self._jobs: queue.Queue[tuple[Callable[[], None] | None, int]] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._waiting, self._bytes = 0, 0  # jobs that are not done, and their pictures
        self.given_up, self.finished, self.told = False, False, False
        self.lost = 0  # jobs that were left out

    def put(self, job: Callable[[], None], size: int = 0) -> None:
        """Take a job that holds `size` bytes of pictures; returns at once."""
        if self.given_up or self._closing.is_set():
            return
        if self._thread is None:
            # A daemon, since a call that never returns must not keep the process: `close` waits for it, no longer than told.
            self._thread = threading.Thread(target=self._work, name='tracker', daemon=True)
            self._thread.start()
        with self._lock:
            if self._waiting >= MOST or (size > 0 and self._bytes + size > MOST_BYTES):
                self.lost += 1
                return
            self._waiting, self._bytes = self._waiting + 1, self._bytes + size
        self._jobs.put((job, size))

    def close(self, finished: bool, wait: float) -> None:
        """Do what waits, and end, in at most `wait` seconds. Nothing is taken any more."""
        if self._thread is None or self._closing.is_set():
            self._closing.set()
            return
        self.finished = finished
        self._closing.set()
        self._jobs.put((None, 0))
        self._thread.join(wait)
        if self._thread.is_alive():
            left = f', and {self._waiting} entries are not there' if self._waiting else ''
            self._tell(f'it has not answered for {wait:g} s{left}')
            self.given_up = True
        elif self.lost:
            self._tell(f'{self.lost} entries are not there: it did not keep up with the run, or refused them')

    def _work(self) -> None:
        error = self._try(self._begin)
        if error is not None:
            self._give_up(error)
            return
        in_a_row = 0
        while not self.given_up:
            job, size = self._jobs.get()
            if job is None:
                break
            error = self._try(job)
            with self._lock:
                self._waiting, self._bytes = self._waiting - 1, self._bytes - size
                self.lost += error is not None
            in_a_row = 0 if error is None else in_a_row + 1
            if error is not None and (in_a_row == FAILURES or for_the_moment(error)):
                self._give_up(error)
        ended = self._try(lambda: self._end(self.finished))
        if ended is not None:
            self._tell(f'it could not be ended: {words(ended)}')

    def _try(self, job: Callable[[], None]) -> BaseException | None:
        """The error that stays, or None."""
        for pause in (*PAUSES, None):
            try:
                job()
                return None
            except BaseException as error:  # some libraries leave by SystemExit
                if pause is None or not for_the_moment(error) or self._closing.wait(pause):
                    return error
        raise AssertionError

    def _give_up(self, error: BaseException) -> None:
        self.given_up = True
        self._jobs = queue.Queue()  # without what it held
        self._tell(words(error))

    def _tell(self, why: str) -> None:
        if not self.told:
            self.told = True
            self._warn(why)


def for_the_moment(error: BaseException) -> bool:
    """Whether the same may succeed later: an error of a connection or a server, or one that was raised because of it."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError):  # the network's, and those of `requests`
            return seen.errno not in LASTING
        seen = seen.__cause__ or seen.__context__
    return False


def words(error: BaseException) -> str:
    """An error in one line, without the password of an address."""
    return shorten(re.sub(r'//[^/@\s]+@', '//', f'{type(error).__name__}: {reason(error)}'), 200, placeholder=' …')

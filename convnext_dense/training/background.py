"""Writing beside training: one thread at a time, whose errors are not lost."""

from __future__ import annotations

import threading
from collections.abc import Callable


class _Job(threading.Thread):
    """Not a daemon: the interpreter waits for it at its end, whatever ended the run."""

    def __init__(self, job: Callable[[], None]) -> None:
        super().__init__(name='checkpoint writer')
        self.job: Callable[[], None] | None = job
        self.error: BaseException | None = None

    def run(self) -> None:
        job, self.job = self.job, None  # what it holds goes when it is done
        try:
            if job is not None:
                job()
        except BaseException as error:
            self.error = error


class Writer:
    """Does one job at a time in a thread."""

    def __init__(self) -> None:
        self._job: _Job | None = None

    def start(self, job: Callable[[], None]) -> None:
        """Start `job` once the one before is done; raises that one's error if nobody has waited for it."""
        error = self.wait()
        if error is not None:
            raise error
        self._job = _Job(job)
        self._job.start()

    def wait(self) -> BaseException | None:
        """Wait for the job that was started; its error, told once, or None."""
        if self._job is None:
            return None
        self._job.join()
        job, self._job = self._job, None
        return job.error


def wait_for_writers() -> None:
    """Wait for every job of this process, whoever started it."""
    for thread in threading.enumerate():
        if isinstance(thread, _Job):
            thread.join()

"""Brings checkpoints to the disk, beside training where memory allows, and counts the saves that fail."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from logging import Logger
from typing import Any

from mmengine.dist import broadcast_object_list, is_distributed, is_main_process

from convnext_dense.errors import InputError, last_line
from convnext_dense.files import os_line
from convnext_dense.training.background import Writer
from convnext_dense.training.checkpoint_file import write_checkpoint
from convnext_dense.training.snapshot import available_memory, size_of, snapshot

SPARE = 2  # sizes of a checkpoint that must be left in memory to write it beside training


class Saver:
    """Writes one checkpoint at a time, in the main process.

    Args:
        asynchronous: as SafeCheckpointHook's.

    Attributes:
        good: path of the last training checkpoint that is on the disk; None before the first.
        good_iter: the iterations that it is of, -1 before the first.
        failures: saves that have failed since the last one that did not.
        seconds: that the longest save has taken, from the first copy to the disk; 0 before the first.
    """

    def __init__(self, asynchronous: bool | str) -> None:
        self.asynchronous = asynchronous
        self.good: str | None = None
        self.good_iter, self.failures, self.seconds = -1, 0, 0.0
        self._writer, self._told_memory, self._refusal = Writer(), False, ''
        self._take_back: Callable[[], None] | None = None  # of the file that is being written

    def save(
        self,
        logger: Logger,
        path: str,
        gather: Callable[[], dict[str, Any]],
        finish: Callable[[], None],
        take_back: Callable[[], None],
        wait: bool = False,
    ) -> None:
        """Write what `gather` gives to `path`, once the file before is done.

        Args:
            logger: is told the seconds, and what fails; training goes on then.
            path: of the file; its folder is made where it is gone.
            gather: the content, which the run may change afterwards.
            finish: called when the file is on the disk, in the writer's thread; what fails there counts, too.
            take_back: called in this thread if it cannot be written, by the time of the next call.
            wait: until it is on the disk.
        """
        self.settle()
        start = time.perf_counter()
        content = gather()
        beside = not wait and self._beside(logger, content)
        content = snapshot(content, copied=beside)
        gathered = time.perf_counter() - start
        self._take_back = take_back
        self._writer.start(functools.partial(self._put, logger, path, content, finish, gathered, beside))
        del content
        if not beside:
            self.settle()

    def _beside(self, logger: Logger, content: dict[str, Any]) -> bool:
        if self.failures or self.asynchronous is False:  # after a failure the next outcome is known at once
            return False
        size, left = size_of(content), available_memory()
        enough = self.asynchronous is True or left >= SPARE * size
        if not enough and not self._told_memory:
            self._told_memory = True
            logger.info(
                f'checkpoint: training waits for the writing: a checkpoint has {size / 1e9:.2f} GB, of which {SPARE} times is '
                f'needed in memory to write it beside training, and {left / 1e9:.2f} GB are available'
            )
        return enough

    def _put(self, logger: Logger, path: str, content: Any, finish: Callable[[], None], gathered: float, beside: bool) -> None:
        """Write the file and what follows; in the writer's thread."""
        start = time.perf_counter()
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_checkpoint(content, path)
            finish()
        except OSError as error:
            kept = f'{self.good} is kept' if self.good else 'there is no earlier one'
            logger.error(
                f'checkpoint: {path} is not written: {os_line(error) or error}; {kept}; training goes on, and the next save '
                'tries again'
            )
            raise
        took = time.perf_counter() - start
        self.seconds = max(self.seconds, gathered + took)
        how = 'beside training' if beside else 'while training waited'
        logger.info(f'checkpoint: {path} is on the disk: {gathered:.2f} s to gather it, {took:.2f} s to write it {how}')

    def settle(self) -> None:
        """Wait for what is being written, and count it if it failed; an error of another kind than the disk's is raised."""
        error, take_back = self._writer.wait(), self._take_back
        self._take_back = None
        if error is not None and not isinstance(error, OSError):
            raise error
        if take_back is None:
            return
        self.failures = 0 if error is None else self.failures + 1
        if error is not None:
            self._refusal = os_line(error) or str(error)
            take_back()

    def trouble(self, most: int) -> str | None:
        """What ends the run where `most` saves have failed in a row."""
        if self.failures < most:
            return None
        times = 'the last one' if self.failures == 1 else f'{self.failures} in a row'
        good = f'the last good one is {self.good}' if self.good else 'there is no good one'
        return (
            f'checkpoint: expected to write checkpoints, could not write {times} ({self._refusal}); {good}; mend that, and '
            'go on with --resume'
        )

    def check(self, most: int) -> None:
        """End the run where `most` saves have failed in a row.

        Raises:
            InputError: then.
        """
        trouble = self.trouble(most)
        if trouble is not None:
            raise InputError(trouble)


def main_decides(value: Any) -> Any:
    """The main process's value, in every process."""
    if not is_distributed():
        return value
    values = [value]
    broadcast_object_list(values)
    return values[0]


def main_does(do: Callable[[], None]) -> None:
    """Let the main process do something; what it raises ends every process, rather than leave the others waiting for it.

    Raises:
        Exception: its own, in the main process.
        InputError: in the others, where it was one.
        RuntimeError: in the others, where it was none.
    """
    caught: Exception | None = None
    if is_main_process():
        try:
            do()
        except Exception as error:
            caught = error
    told = main_decides(None if caught is None else (isinstance(caught, InputError), last_line(caught)))
    if caught is not None:
        raise caught
    if told is not None:
        foreseen, words = told
        raise InputError(words) if foreseen else RuntimeError(f'the main process could not save: {words}')

"""The exceptions for wrong input and for a run that was asked to stop, and a note of what was being done when another came."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """What a person gave cannot be used. The message says: expected, got, how to fix."""


class Stopped(SystemExit):
    """Training was asked to stop and did, with a checkpoint: no error. The message says by what, `code` is the exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(status)
        self.message = message


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Note on an exception that passes what was being done, as 'training'; the innermost note stays."""
    try:
        yield
    except Exception as error:
        if not hasattr(error, 'doing'):
            error.doing = what  # type: ignore[attr-defined]
        raise


def last_line(error: BaseException) -> str:
    """An exception's words in one line: of one that crossed from a loading process, those after its traceback."""
    text = error.args[0] if len(error.args) == 1 and isinstance(error.args[0], str) else str(error)
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if any('Original Traceback' in line for line in lines):
        return lines[-1].partition(': ')[2] or lines[-1]
    if lines:
        return ' '.join(lines)
    frames = traceback.extract_tb(error.__traceback__)
    return f'`{frames[-1].line}` does not hold' if isinstance(error, AssertionError) and frames else type(error).__name__


def reason(error: object) -> str:
    """An error in a few words on one line."""
    words = (isinstance(error, OSError) and error.strerror) or str(error)
    return ' '.join(words.split())[:300] or type(error).__name__

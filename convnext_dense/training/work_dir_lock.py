"""One run in a work directory at a time, by a lock that the kernel gives back when its process is gone, however it went."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from convnext_dense.errors import InputError

NAME = '.lock'
TRIES, PAUSE = 5, 0.2  # seconds: a process that is killed is not gone at once
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)

_held: set[int] = set()


def _let_go() -> None:
    """In a child: what loads data may live longer than its run, and must not hold the lock for it."""
    for handle in _held:
        with suppress(OSError):
            os.close(handle)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


def check_free(folder: str | os.PathLike[str]) -> bool:
    """Stop where another run holds `folder`; nothing is taken, made or left. False: the file system has no locks to ask.

    Raises:
        InputError: who holds it, since when, what to do.
    """
    try:
        handle = os.open(Path(folder, NAME), os.O_RDONLY)
    except OSError as error:
        return isinstance(error, FileNotFoundError)
    try:
        if not _taken(handle, fcntl.LOCK_SH):
            raise _refused(folder, handle)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return False
    finally:
        os.close(handle)
    return True


@contextmanager
def work_dir_lock(folder: str | os.PathLike[str]) -> Iterator[list[str]]:
    """Hold `folder`, which is made where it is not there, for one run. For the main process alone.

    Gives lines for the log: where the file system has no locks, that there is none.

    Raises:
        InputError: if another run holds it: who, since when, what to do.
    """
    os.makedirs(folder, exist_ok=True)
    path = Path(folder, NAME)
    handle, lines = _open(path), []
    try:
        while True:
            if not _taken(handle, fcntl.LOCK_EX):
                raise _refused(folder, handle)
            if _is_at(handle, path):
                break
            _close(handle)  # its holder removed the file just then
            handle = _open(path)
    except OSError as error:
        _close(handle)
        if error.errno not in NO_LOCKS:
            raise
        lines = [f'work directory: {folder} has no locks ({error.strerror}): nothing stops a second run there']
    except BaseException:
        _close(handle)
        raise
    if lines:
        yield lines
        return
    try:
        os.truncate(handle, 0)
        os.write(
            handle, f'process {os.getpid()} on {socket.gethostname()}, since {time.strftime("%Y-%m-%d %H:%M:%S")}'.encode()
        )
        yield []
    finally:
        with suppress(OSError):
            if _is_at(handle, path):
                path.unlink()
        _close(handle)


def _open(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    _held.add(handle)
    return handle


def _close(handle: int) -> None:
    _held.discard(handle)
    os.close(handle)


def _taken(handle: int, kind: int) -> bool:
    for attempt in range(TRIES):
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(PAUSE if attempt + 1 < TRIES else 0)
    return False


def _is_at(handle: int, path: Path) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _refused(folder: str | os.PathLike[str], handle: int) -> InputError:
    with suppress(OSError):
        os.lseek(handle, 0, os.SEEK_SET)
    holder = os.read(handle, 200).decode(errors='replace').strip() or 'another process'
    return InputError(
        f'--work-dir: expected a folder that no other run is writing to, got {os.fspath(folder)}, which {holder}, is training '
        'in; wait for it, stop it, or name another'
    )

"""Checkpoints that are whole or not there: written beside their place, flushed to the disk, and moved there; and checked."""

from __future__ import annotations

import errno
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import mmengine.runner.runner as runner_module
import torch
from mmengine.runner.checkpoint import save_checkpoint

from convnext_dense.errors import InputError
from convnext_dense.weights.open import AGAIN, kind_of_path, open_checkpoint, shown

PARTIAL = '.partial'
POINTER = 'last_checkpoint'


def write_checkpoint(content: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write `content` by torch.save to `path`: when this returns it is on the disk; if it fails, what was there stays.

    Raises:
        OSError: of the operating system, with the path; never PyTorch's own words for it.
    """
    try:
        with _in_place(path) as file:
            torch.save(content, file)
    except Exception as error:
        refusal = _refusal(error)
        if refusal is None:
            raise
        raise OSError(refusal.errno, refusal.strerror, os.fspath(path)) from error


def write_pointer(folder: str | os.PathLike[str], path: str) -> None:
    """Let `last_checkpoint` in `folder` name the checkpoint `path`, as mmengine reads it: whole, and on the disk."""
    with _in_place(Path(folder, POINTER)) as file:
        file.write(path.encode())


@contextmanager
def _in_place(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file that is written beside `path` and moved there when it is on the disk."""
    partial = Path(f'{os.fspath(path)}{PARTIAL}')
    try:
        with open(partial, 'wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        _flush_folder(partial.parent)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def _flush_folder(folder: Path) -> None:
    """A new name is on the disk when its folder is; some network file systems have no such call."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF):
            raise
    finally:
        os.close(handle)


def _refusal(error: BaseException | None) -> OSError | None:
    """The operating system's error behind one of PyTorch's archive writer."""
    while error is not None:
        if isinstance(error, OSError):
            return error
        error = error.__cause__ or error.__context__
    return None


def remove_partial_files(folder: str | os.PathLike[str]) -> None:
    """Remove what a writer that was killed has left. Nobody else may be writing there."""
    for pattern in (f'*.pth*{PARTIAL}', f'{POINTER}{PARTIAL}'):
        for path in Path(folder).glob(pattern):
            with suppress(OSError):
                path.unlink()


def verify(path: str | os.PathLike[str]) -> str | None:
    """Why a checkpoint of torch.save is not whole, in a few words; None if it is.

    Every record is read and compared with its checksum, which PyTorch writes and does not look at; then the file is opened,
    with weights only.
    """
    return opened(path)[1]


def opened(path: str | os.PathLike[str]) -> tuple[dict[str, Any], str | None]:
    """As `verify`, and the content, whose tensors are read from the file when they are used."""
    try:
        if kind_of_path(path) == 'nothing':
            return {}, 'it is not there'
        if kind_of_path(path) == 'file' and not _is_archive(path):
            return {}, 'it is no whole archive of torch.save: cut off, or another file'
        return open_checkpoint(path), None
    except InputError as error:
        return {}, str(error).removeprefix(f'checkpoint {shown(path)}: ').removesuffix(f'; {AGAIN}')


def _is_archive(path: str | os.PathLike[str]) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except Exception:  # of its last record, damaged
        return False


@contextmanager
def writing_by(write: Callable[[dict[str, Any], str], None]) -> Iterator[None]:
    """While it lasts, `Runner.save_checkpoint` hands (content, path) to `write` and writes nothing; the outermost counts.

    mmengine's method gathers a checkpoint and writes it in one; this parts the two, for runners of subclasses, too.
    """
    if runner_module.save_checkpoint is not save_checkpoint:  # one further out is there
        yield
        return
    runner_module.save_checkpoint = lambda checkpoint, filename, **_: write(checkpoint, filename)
    try:
        yield
    finally:
        runner_module.save_checkpoint = save_checkpoint

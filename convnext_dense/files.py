"""Files and folders that a run will write: known to be writable before it starts, and never left half written."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from convnext_dense.errors import InputError

ADVICE = {
    errno.ENOENT: 'check the path',
    errno.EACCES: 'check its permissions, or name another',
    errno.EPERM: 'check its permissions, or name another',
    errno.EROFS: 'the file system is read-only: name another place',
    errno.EISDIR: 'expected a file there, got a folder: name a file',
    errno.ENOTDIR: 'expected a folder on the way, got a file: name another',
    errno.EEXIST: 'name another, or remove it',
    errno.ELOOP: 'its links go round in a circle: name the file itself',
    errno.ENAMETOOLONG: 'name a shorter one',
    errno.ENOSPC: 'the disk is full: free some space',
    errno.EDQUOT: 'the disk quota is used up: free some space',
    errno.EFBIG: 'the limit of file sizes is reached: raise `ulimit -f`, or the file system has one',
    errno.EMFILE: 'too many open files: fewer num_workers, or a higher `ulimit -n`',
}


def os_line(error: OSError) -> str | None:
    """An operating system's refusal in a line: path (or what was being done) and what to do; None where it says too little."""
    if error.errno not in ADVICE:
        return None
    where = error.filename if error.filename is not None else getattr(error, 'doing', 'starting')
    return f'{where}: {os.strerror(error.errno)}; {ADVICE[error.errno]}'


def check_folder(option: str, folder: str) -> None:
    """Stop where a folder to write into cannot be made or written to. It is tried, and nothing is left."""
    path = Path(os.path.abspath(folder))
    above = [part for part in (path, *path.parents) if os.path.lexists(part)]
    if not above[0].is_dir():
        raise InputError(f'{option}: expected a folder, got {folder}, where {above[0]} is {_what(above[0])}; name another')
    try:
        with tempfile.TemporaryDirectory(dir=above[0]) as probe:  # one of its own, since other processes may try too
            Path(probe, path.relative_to(above[0])).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        words = getattr(error, 'strerror', None) or error
        raise InputError(f'{option}: expected a folder to write into, got {folder} ({words}); name another') from error


def check_file(option: str, file: str, suffix: str) -> None:
    """Stop where a file to write cannot be: its folder must be there and take one of its name. Nothing is left.

    One that is there is replaced only where it ends in `suffix`, so that a slip does not cost a checkpoint.
    """
    path = Path(file)
    folder = Path(os.path.abspath(path)).parent
    taken = next((part for part in (folder, *folder.parents) if os.path.lexists(part)), folder)
    if not taken.is_dir() and os.path.lexists(taken):
        raise InputError(f'{option}: expected a file in a folder, got {file}, where {taken} is {_what(taken)}; name another')
    if not folder.is_dir():
        raise InputError(f'{option}: expected a file in an existing folder, got {file}; make {folder} first')
    if os.path.isfile(path) and path.suffix != suffix:
        raise InputError(f'{option}: expected a new file, or one ending in {suffix}, got {file} which is there; name another')
    if os.path.lexists(path) and not os.path.isfile(path):
        raise InputError(f'{option}: expected a file, got {file} which is {_what(path)}; name another')
    try:
        with partial_file(path) as partial:
            partial.touch()
            raise _Untried
    except _Untried:
        pass
    except (OSError, ValueError) as error:
        words = getattr(error, 'strerror', None) or error
        raise InputError(f'{option}: expected a file that can be written, got {file} ({words}); name another') from error


class _Untried(Exception):
    """Ends the try of a file before it is put in place."""


@contextmanager
def partial_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path beside `path` to write to, of a name that nobody else has: moved there when the block ends, else removed."""
    partial = Path(f'{os.fspath(path)}.{secrets.token_hex(4)}.partial')
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError, ValueError):  # never made, or of a name that cannot be
            partial.unlink()
        raise


def _what(path: Path) -> str:
    if path.is_dir():
        return 'a folder'
    return 'a broken link' if path.is_symlink() and not path.exists() else 'a file' if path.is_file() else 'no regular file'


def sha256(path: str | os.PathLike[str]) -> str:
    """Of a file, in hexadecimal digits."""
    found = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()

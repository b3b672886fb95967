"""What the check before a run has read, kept for the run: a file is resolved, opened, recognised and scanned once.

A checkpoint can be gigabytes: what is taken is let go, and a check begins by forgetting what the last one kept.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Hashable
from typing import Any

_kept: dict[Hashable, tuple[str, tuple[int, ...], Any]] = {}


def keep(key: Hashable, path: str | os.PathLike[str], stamp: tuple[int, ...], value: Any) -> None:
    """Keep what was read from the file at `path`, whose `stamp` was taken before; several files are not kept."""
    if stamp:
        _kept[key] = str(path), stamp, value


def take(key: Hashable) -> Any:
    """What was kept, once; None where nothing was, or the file has changed since."""
    path, stamp, value = _kept.pop(key, ('', (), None))
    return value if value is not None and stamp == stamp_of(path) else None


def forget() -> None:
    _kept.clear()


def stamp_of(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """What tells a file from another one in its place; nothing for a folder or an index, whose weights lie in other files."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ()
    if not stat.S_ISREG(found.st_mode) or str(path).endswith('.json'):
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns

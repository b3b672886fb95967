"""What the check before a run has read, kept for the run: a file is resolved, opened, recognised and scanned once.

A checkpoint can be gigabytes: what is taken is let go, and a check begins by forgetting what the last one kept.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from typing import Any

_kept: dict[Hashable, tuple[str, tuple[int, ...], Any]] = {}


def keep(key: Hashable, path: str | os.PathLike[str], value: Any) -> None:
    """Keep what was read from the file or folder at `path`."""
    _kept[key] = str(path), _state_of(path), value


def take(key: Hashable) -> Any:
    """What was kept, once; None where nothing was, or the file has changed since."""
    path, state, value = _kept.pop(key, ('', (), None))
    return value if value is not None and state == _state_of(path) else None


def forget() -> None:
    _kept.clear()


def _state_of(path: str | os.PathLike[str]) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns

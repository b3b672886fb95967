"""JSON files in a folder, told apart by what they hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from convnext_dense.data.layouts.found import folders_in
from convnext_dense.errors import InputError, last_line

LOOKED_AT = 4  # files of a folder with more of them: those of one picture each are alike


def contents(root: Path, sample: bool = False) -> Iterator[tuple[Path, Any]]:
    """JSON files of the folder and of two levels below, with their content; of many in a folder a `sample`, the largest too."""
    for folder in folders(root):
        paths = sorted(folder.glob('*.json'))
        if sample and len(paths) > 3 * LOOKED_AT:
            largest = sorted(paths, key=lambda path: path.stat().st_size)[-LOOKED_AT:]
            paths = list(dict.fromkeys([*paths[:LOOKED_AT], *largest]))
        yield from ((path, read_json(path)) for path in paths)


def folders(root: Path) -> list[Path]:
    """The folder and two levels below."""
    inner = list(folders_in(root))
    return [root, *inner, *(deeper for folder in inner for deeper in folders_in(folder))]


def read_json(path: Path) -> Any:
    """A file's content.

    Raises:
        InputError: for one that cannot be read.
    """
    stat = path.stat()
    return _read(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8)
def _read(path: Path, changed: int, size: int) -> Any:
    try:
        return json.loads(path.read_text(encoding='utf-8-sig'))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f'data: {path} is no JSON ({last_line(error)}); mend it or take it out') from error


def forget() -> None:
    """Drop the contents that were kept for the next reader."""
    _read.cache_clear()

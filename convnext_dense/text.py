"""Small helpers for what people read: suggestions and tables."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table


def suggest(given: str, known: Iterable[str]) -> str:
    """'did you mean …?' with the nearest known name, or the list of them."""
    names = [str(name) for name in known]
    near = get_close_matches(given, names, n=1, cutoff=0.5)
    return f'did you mean {near[0]!r}?' if near else f'expected one of: {", ".join(sorted(names))}'


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """'; did you mean …?' behind a message that lists the known names; '' where none is near."""
    hint = suggest(given, known)
    return f'; {hint}' if hint.startswith('did') else ''


def listed(names: Iterable[object], most: int = 8) -> str:
    """Names for a message on one line, the tail of a long list as a number."""
    shown = [name if name.isprintable() and len(name) < 300 else repr(name[:300]) for name in map(str, names)]
    more = f' and {len(shown) - most} more' if len(shown) > most else ''
    return ', '.join(shown[:most]) + more


def table_text(table: Table) -> str:
    """The table as plain ASCII text, for logs and files."""
    table.box = box.ASCII
    console = Console(file=StringIO(), width=160)
    console.print(table)
    return console.file.getvalue().rstrip()  # type: ignore[attr-defined]

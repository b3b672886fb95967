"""A recipe as one config file that is based on no other."""

from __future__ import annotations

import math
from keyword import iskeyword
from pathlib import Path
from typing import Any

from convnext_dense.recipes import title
from convnext_dense.run.nodes import top_level
from convnext_dense.run.options import load_config
from convnext_dense.version import __version__

HEAD = """\
# {title}.
#
# By `convnext-dense config {name}` of convnext_dense {version}: the recipe and what it is based on.
# It reads no other file, so that it may be edited, and trains from any folder and on any machine that has the package.
"""
WIDTH = 128


def flat_text(path: Path) -> str:
    """The text of a config file that holds what is read of the config at `path` and of the files that it is based on.

    Its variables are in it as far as entries have their values: one place to change them.
    """
    entries = load_config(str(path))._cfg_dict.to_dict()
    writer = _Writer(entries)
    for name in entries:
        if name not in writer.variables:
            writer.write(name)
    head = HEAD.format(title=title(path), name=path.stem, version=__version__)
    return '\n'.join([head, *writer.written.values()])


class _Writer:
    """The lines of entries, in an order in which each stands below the variables that it names."""

    def __init__(self, entries: dict[str, Any]) -> None:
        self.entries = entries
        self.variables = [name for name in entries if name not in top_level()]
        self.written: dict[str, str] = {}

    def write(self, name: str) -> None:
        if name not in self.written:
            value = self.entries[name]
            same = [other for other in self.written if isinstance(value, (dict, list)) and _equal(self.entries[other], value)]
            self.written[name] = f'{name} = {same[0] if same else self._lines(value, 0, len(name) + 3)}'

    def _text(self, key: str, value: Any, indent: int, used: float) -> str:
        """A value within another: the name of a variable, or written out."""
        for name in self.variables:
            if _equal(self.entries[name], value) and (key == name or (isinstance(value, (dict, list, tuple)) and value)):
                self.write(name)
                return name
            if name == 'data_root' and isinstance(value, str) and value.startswith(f'{self.entries[name]}/'):
                self.write(name)
                return f"f'{{{name}}}{value.removeprefix(self.entries[name])}'"
        return self._lines(value, indent, used)

    def _lines(self, value: Any, indent: int, used: float) -> str:
        """In one line where that is short enough; `used` columns are taken on the first one."""
        if not isinstance(value, (dict, list, tuple)) or not value:
            return 'dict()' if value == {} else repr(value)
        start, items, end = _parts(value)
        texts = [before + self._text(key, item, 0, -math.inf) for before, key, item in items]
        line = f'{start}{", ".join(texts)}{"," if start == "(" and len(texts) == 1 else ""}{end}'
        if used + len(line) < WIDTH:
            return line
        inner = indent + 4
        texts = [before + self._text(key, item, inner, inner + len(before)) for before, key, item in items]
        return '\n'.join([start, *(f'{" " * inner}{text},' for text in texts), f'{" " * indent}{end}'])


def _equal(one: Any, other: Any) -> bool:
    """Also in their types: 1 is not True."""
    return repr(one) == repr(other)


def _parts(value: Any) -> tuple[str, list[tuple[str, str, Any]], str]:
    """What a value begins with, (text before, key, item) of each item, what it ends with."""
    if isinstance(value, dict):
        if all(isinstance(key, str) and key.isidentifier() and not iskeyword(key) for key in value):
            return 'dict(', [(f'{key}=', key, item) for key, item in value.items()], ')'
        return '{', [(f'{key!r}: ', str(key), item) for key, item in value.items()], '}'
    start, end = ('[', ']') if isinstance(value, list) else ('(', ')')
    return start, [('', '', item) for item in value], end

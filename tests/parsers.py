"""The command-line parser of each tool, as the tool builds it."""

from __future__ import annotations

import importlib.util
from functools import cache
from types import ModuleType
from unittest import mock

from conftest import ROOT

from convnext_dense.run.command import Parser

TOOLS = sorted(path.stem for path in (ROOT / 'tools').glob('*.py'))


@cache
def module_of(name: str) -> ModuleType:
    """The tool as a module."""
    spec = importlib.util.spec_from_file_location(f'tool_{name}', ROOT / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def parser_of(name: str) -> Parser:
    """The parser whose `parse_args` the tool's `main` calls."""

    class Reached(Exception):
        pass

    def reached(self, *args: object, **kwargs: object) -> None:
        raise Reached(self)

    module = module_of(name)
    with mock.patch.object(Parser, 'parse_args', reached):
        try:
            module.main()
        except Reached as stop:
            return stop.args[0]
    raise AssertionError(f'tools/{name}.py does not parse its command line')

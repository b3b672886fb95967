"""The command-line parser of each command, as the command builds it."""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib import import_module
from types import ModuleType
from unittest import mock

from conftest import ROOT

import convnext_dense_cli
from convnext_dense.run.command import Parser

COMMANDS = list(convnext_dense_cli.commands())
# The command that each file in tools/ runs.
TOOLS = {path.stem: re.search(r"run\('([\w-]+)'\)", path.read_text())[1] for path in sorted((ROOT / 'tools').glob('*.py'))}


def module_of(name: str) -> ModuleType:
    """The command's module."""
    return import_module(f'convnext_dense.commands.{name.replace("-", "_")}')


@cache
def parser_of(name: str, script: str = '') -> Parser:
    """The parser whose `parse_args` the command's `main` calls; `script` is what it is called as."""

    class Reached(Exception):
        pass

    def reached(self, *args: object, **kwargs: object) -> None:
        raise Reached(self)

    module = module_of(name)
    argv = mock.patch.object(sys, 'argv', [script or f'convnext-dense {name}'])
    with argv, mock.patch.object(Parser, 'parse_args', reached):
        try:
            module.main()
        except Reached as stop:
            return stop.args[0]
    raise AssertionError(f'{name} does not parse its command line')

"""What every command does at its edges: options in, one line out where something is wrong.

Exit status 0: done. 1: check found problems. 2: wrong input. 3: predict left pictures out that could not be read. 70: an error
of the program's own, whose traceback is kept in a file. 76: another process of the run ended. 130: stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from convnext_dense.errors import InputError, Stopped, last_line
from convnext_dense.files import os_line

WRONG_INPUT, PARTLY, UNFORESEEN, LEFT_ALONE, INTERRUPTED = 2, 3, 70, 76, 130  # 76: EX_PROTOCOL of sysexits.h
LOST = r'(Connection (?:closed|reset) by peer|Broken pipe|Socket closed|Application timeout|Timed out waiting \d+ms)'


class Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """The description as it is laid out, options wrapped, and the defaults of those that have one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


def as_called(text: str) -> str:
    """Examples of `convnext-dense COMMAND` in the way that the command was called: in a clone, by the path of tools/*.py."""
    script = sys.argv[0]
    if not script.endswith('.py'):
        return text
    text = re.sub('--no-python convnext-dense [a-z-]+', lambda _: script, text)
    return re.sub('convnext-dense [a-z-]+', lambda _: f'python {script}', text)


class Parser(argparse.ArgumentParser):
    """argparse with one line for what is wrong, whole option names alone, a command's docstring as its help, and --debug."""

    def __init__(self, *args: Any, description: str = '', **kwargs: Any) -> None:
        given = {'allow_abbrev': False, 'formatter_class': Help, **kwargs, 'description': as_called(description)}
        super().__init__(*args, **given)
        self.add_argument('--debug', action='store_true', help='show the traceback of an error')

    def parse_args(self, *args: Any, **kwargs: Any) -> argparse.Namespace:  # type: ignore[override]
        """As argparse's; a path's `~` is the home folder, which a shell leaves as it is after `--option=`."""
        found = super().parse_args(*args, **kwargs)
        for name, value in vars(found).items():
            if value == '':
                option = next((action.option_strings[-1:] for action in self._actions if action.dest == name), [])
                raise InputError(f'{"".join(option) or name}: expected a path or a name, got an empty one; name one')
            if isinstance(value, str):
                setattr(found, name, os.path.expanduser(value))
        return found

    def error(self, message: str) -> NoReturn:
        raise InputError(f'{message}; --help lists the options')


@contextmanager
def tidy(go_on: str = '') -> Iterator[None]:
    """SIGTERM ends the command as Ctrl-C does, so that nothing half written is left; `go_on` says how it is continued."""

    def end(number: int, frame: object) -> None:
        raise Stopped(f'stopped by SIGTERM{"; " if go_on else ""}{go_on}', 128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def exit_with_line(main: Callable[[], None], go_on: str = '') -> None:
    """Run a command; whatever ends it ends it with one line on stderr and an exit status that tells the kind.

    `go_on` says how a run that was stopped by Ctrl-C is continued.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # as it is while the libraries are imported
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main()
    except Stopped as stopped:
        print(stopped.message, file=sys.stderr)
        sys.exit(stopped.code)
    except KeyboardInterrupt:
        _stop(f'stopped by Ctrl-C{"; " if go_on else ""}{go_on}', INTERRUPTED)
    except InputError as error:
        _stop(last_line(error), WRONG_INPUT)
    except OSError as error:
        line = os_line(error)
        _stop(line or _unforeseen(error), WRONG_INPUT if line else UNFORESEEN)
    except Exception as error:
        lost = lost_process(error)
        if lost:
            _stop(f'{lost}{"; " if go_on else ""}{go_on}', LEFT_ALONE)
        _stop(_unforeseen(error), UNFORESEEN)


def lost_process(error: BaseException) -> str | None:
    """A line for the error of PyTorch's gloo or NCCL by which a process learns that another is gone; None for any other."""
    name, words = type(error).__name__, str(error)
    found = re.search(LOST, words)
    if name in ('DistBackendError', 'DistNetworkError', 'DistStoreError'):
        why = found[1] if found else last_line(error)[:200]
    elif isinstance(error, RuntimeError) and 'gloo' in words and found:
        why = found[1]
    else:
        return None
    return f'another process of this run ended ({why}); its own last lines say why'


def _stop(line: str, status: int) -> NoReturn:
    if '--debug' in sys.argv:
        traceback.print_exc()
    print(f'error: {" ".join(line.split())}', file=sys.stderr)
    sys.exit(status)


def _unforeseen(error: Exception) -> str:
    """What was being done, the exception's class and words, and where its traceback is."""
    what = f'{type(error).__name__} while {getattr(error, "doing", "starting")}: {last_line(error)}{_advice(error)}'
    try:
        handle, path = tempfile.mkstemp(prefix='convnext_dense_', suffix='.txt')
        with os.fdopen(handle, 'w') as file:
            file.write(''.join(traceback.format_exception(error)))
    except OSError:  # no place for it either
        return f'{what}; --debug shows the traceback'
    return f'{what}; traceback in {path}; --debug shows it'


def _advice(error: Exception) -> str:
    words = str(error)
    if hasattr(error, 'advice'):
        return f'; {error.advice}'
    if isinstance(error, MemoryError) or type(error).__name__ == 'OutOfMemoryError' or "can't allocate memory" in words:
        return '; not enough memory: try a smaller batch, crop or image'
    if 'inline_container' in words or 'iostream error' in words or 'PytorchStreamWriter' in words:
        return '; a file could not be written whole: is the disk full?'
    return ''

"""Whatever ends a command ends it with one line, and an exit status that tells the kind."""

import errno
import inspect
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import ROOT, SHAPES
from parsers import COMMANDS, TOOLS, module_of, parser_of

import convnext_dense.__main__
from convnext_dense import InputError
from convnext_dense.errors import doing, last_line
from convnext_dense.run.command import LEFT_ALONE, Parser, exit_with_line, lost_process

ORIGINAL = 'Original Traceback (most recent call last):'


def ended(capsys, error: BaseException) -> tuple[int, str]:
    def main() -> None:
        with doing('testing'):
            raise error

    with pytest.raises(SystemExit) as stop:
        exit_with_line(main)
    return stop.value.code, capsys.readouterr().err


def test_wrong_input_is_one_line_whatever_its_own_lines(capsys) -> None:
    assert ended(capsys, InputError('expected\n  this, got\tthat')) == (2, 'error: expected this, got that\n')


@pytest.mark.parametrize(
    'number, advice',
    [(errno.ENOSPC, 'the disk is full: free some space'), (errno.EACCES, 'permissions'), (errno.ELOOP, 'in a circle')],
)
def test_the_operating_systems_refusals_name_the_path(capsys, number: int, advice: str) -> None:
    status, err = ended(capsys, OSError(number, 'words', '/some/where'))
    assert status == 2 and err.startswith('error: /some/where: ') and advice in err and err.count('\n') == 1


@pytest.mark.parametrize('error', [RuntimeError('two\nlines'), KeyError('key'), OSError('no number'), AssertionError()])
def test_what_nobody_foresaw_keeps_its_traceback_in_a_file(capsys, error: Exception) -> None:
    status, err = ended(capsys, error)
    assert status == 70 and err.count('\n') == 1
    assert err.startswith(f'error: {type(error).__name__} while testing: ')
    path = Path(re.search(r'traceback in (\S+);', err)[1])
    assert 'Traceback' in path.read_text() and 'in main' in path.read_text()
    path.unlink()


@pytest.mark.parametrize(
    'error, advice',
    [
        (MemoryError(), 'not enough memory: try a smaller batch'),
        (torch.OutOfMemoryError('CUDA out of memory'), 'not enough memory'),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 'not enough memory'),
        (RuntimeError('[enforce fail at inline_container.cc:664] . unexpected pos'), 'is the disk full'),
        (RuntimeError('basic_ios::clear: iostream error'), 'is the disk full'),
        (RuntimeError('PytorchStreamWriter failed writing file data/7'), 'is the disk full'),
        (RuntimeError('shapes'), None),
    ],
)
def test_advice_where_the_cause_is_known(capsys, error: Exception, advice: str | None) -> None:
    status, err = ended(capsys, error)
    assert status == 70 and (advice or 'shapes; traceback') in err
    assert ('memory: try' in err, 'disk full' in err) == ('memory' in (advice or ''), 'disk' in (advice or ''))


def test_without_a_place_for_the_traceback(capsys, monkeypatch) -> None:
    def full(**options) -> None:
        raise OSError(errno.ENOSPC, 'full')

    monkeypatch.setattr('tempfile.mkstemp', full)
    status, err = ended(capsys, RuntimeError('words'))
    assert (status, err) == (70, 'error: RuntimeError while testing: words; --debug shows the traceback\n')


def test_debug_shows_the_traceback(capsys, monkeypatch) -> None:
    monkeypatch.setattr(sys, 'argv', ['train.py', '--debug'])
    status, err = ended(capsys, InputError('words'))
    assert status == 2 and 'Traceback' in err and err.endswith('error: words\n')


def test_ctrl_c(capsys) -> None:
    status, err = ended(capsys, KeyboardInterrupt())
    assert (status, err) == (130, 'error: stopped by Ctrl-C\n')

    def main() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit):
        exit_with_line(main, '--resume goes on')
    assert capsys.readouterr().err == 'error: stopped by Ctrl-C; --resume goes on\n'


def test_the_note_of_what_was_being_done_is_the_innermost(capsys) -> None:
    def main() -> None:
        with doing('building'):
            raise ZeroDivisionError('words')

    with pytest.raises(ZeroDivisionError) as caught, doing('training'):
        main()
    assert caught.value.doing == 'building'


@pytest.mark.parametrize(
    'error, words',
    [
        (
            ValueError('Caught ValueError in worker 0.\nOriginal Traceback (most recent call last):\n  x\nValueError: a: b'),
            'a: b',
        ),
        (ValueError('one\n\n two '), 'one two'),
        (OSError(2, 'No such file', 'x.png'), "[Errno 2] No such file: 'x.png'"),
        (KeyError('name'), 'name'),
        (RuntimeError(), 'RuntimeError'),
        (RuntimeError('', 3), "('', 3)"),
    ],
)
def test_words_of_an_exception_in_one_line(error: Exception, words: str) -> None:
    assert last_line(error) == words


def test_an_assertion_without_words_shows_itself() -> None:
    with pytest.raises(AssertionError) as caught:
        exec(compile('assert 1 > 2', __file__, 'exec'))
    assert 'does not hold' in last_line(caught.value)


@pytest.mark.parametrize('args', [['--sed', '1'], ['--seed'], ['--seed', 'x'], ['more']])
def test_wrong_options_are_wrong_input(args: list[str]) -> None:
    parser = Parser()
    parser.add_argument('--seed', type=int)
    with pytest.raises(InputError, match='--help lists the options'):
        parser.parse_args(args)
    parser.add_argument('--out')
    assert parser.parse_args(['--out=~/a']).out == os.path.expanduser('~/a') != '~/a'
    assert parser.parse_args(['--debug']).debug is True and parser.parse_args([]).debug is False


@pytest.mark.parametrize('command', [['tools/train.py'], ['-m', 'convnext_dense_cli', 'train']], ids=' '.join)
def test_ctrl_c_while_the_libraries_are_imported(command: list[str]) -> None:
    # A shell's background job ignores Ctrl-C, and so do its children: these tests may be one.
    started = subprocess.Popen(
        [sys.executable, *command, SHAPES],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    time.sleep(1)
    started.send_signal(signal.SIGINT)
    _, err = started.communicate(timeout=60)
    assert (started.returncode, err) == (-signal.SIGINT, '')


def test_options_are_named_whole() -> None:
    parser = Parser()
    parser.add_argument('--data-root')
    with pytest.raises(InputError, match='unrecognized arguments: --data-roo'):
        parser.parse_args(['--data-roo', 'a'])


@pytest.mark.parametrize('name', COMMANDS)
def test_help_is_the_commands_docstring(name: str) -> None:
    """With its layout, its examples among it, and every option below."""
    docstring = inspect.getdoc(module_of(name))
    examples = re.findall(rf'^    .*convnext-dense {name}( .*)?$', docstring, re.M)
    shown = parser_of(name).format_help()
    assert len(examples) >= (2 if name in TOOLS.values() else 1)
    assert docstring in shown
    assert shown.startswith(f'usage: convnext-dense {name} [-h]') and '\n  --debug ' in shown


@pytest.mark.parametrize('tool', TOOLS)
def test_help_of_a_tool_has_its_own_name(tool: str) -> None:
    name = TOOLS[tool]
    shown = parser_of(name, f'tools/{tool}.py').format_help()
    assert shown.startswith(f'usage: {tool}.py [-h]') and 'convnext-dense' not in shown
    ours = parser_of(name).format_help()
    assert shown.count(f'    python tools/{tool}.py') == ours.count(f'    convnext-dense {name}')
    if name == 'train':
        assert '\n    torchrun --nproc_per_node 8 tools/train.py CONFIG --launcher pytorch\n' in shown


def test_help_shows_the_defaults_that_there_are(monkeypatch) -> None:
    monkeypatch.setenv('COLUMNS', '80')
    parser = Parser(description='Two\n  lines.')
    parser.add_argument('--count', type=int, default=0, help='a number ' + 30 * 'of words ')
    parser.add_argument('--name', help='a name')
    shown = parser.format_help()
    assert 'Two\n  lines.\n' in shown and '(default: 0)' in ' '.join(shown.split())
    assert shown.count('default') == 1 and max(map(len, shown.splitlines())) <= 80


def test_help_of_the_module(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, 'argv', ['convnext_dense', '--help'])
    with pytest.raises(SystemExit) as stop:
        convnext_dense.__main__.main()
    shown = capsys.readouterr().out
    assert not stop.value.code and shown.startswith('usage: ')
    assert '    PYTHONPATH=CLONE python -m convnext_dense SITE_PACKAGES/' in shown


GLOO = '[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:545] Read error [127.0.0.1]:43674: '


@pytest.mark.parametrize(
    ('error', 'why'),
    [
        (RuntimeError(f'{GLOO}Connection reset by peer. This is typically caused by ...'), 'Connection reset by peer'),
        (RuntimeError('[gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 1800000ms for recv'), 'Timed out waiting'),
        (torch.distributed.DistBackendError('NCCL error: remote process exited'), 'NCCL error: remote process exited'),
        (torch.distributed.DistNetworkError('failed to recv, got 0 bytes'), 'failed to recv, got 0 bytes'),
    ],
)
def test_another_process_that_ended(capsys, error: Exception, why: str) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as stop:
        exit_with_line(main, '--resume goes on')
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == LEFT_ALONE and line.startswith(f'error: another process of this run ended ({why}')
    assert line.endswith('; its own last lines say why; --resume goes on')
    assert lost_process(RuntimeError('Connection reset by peer')) is None, 'of a download'

"""The console command `convnext-dense COMMAND …`, and what starts a command in `tools/*.py`.

It lies beside the package, whose import brings PyTorch and OpenMMLab's libraries: which command is meant, what they are and
what Ctrl-C does meanwhile is settled before. In several processes:

    torchrun --nproc_per_node N --no-python convnext-dense train CONFIG --launcher pytorch
"""

from __future__ import annotations

import ast
import runpy
import signal
import sys
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).resolve().parent / 'convnext_dense'
NAME = 'convnext-dense'
LIGHT = ('configs',)  # commands that need none of the libraries
EXPORTED = ('.onnx', '.xml')  # models that `predict` runs without them
LIBRARIES = ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet', 'mmseg')


def commands() -> dict[str, str]:
    """Each command's name and the first line of its docstring."""
    docs = {path.stem: ast.get_docstring(ast.parse(path.read_bytes())) for path in (PACKAGE / 'commands').glob('[a-z]*.py')}
    return {name.replace('_', '-'): (docs[name] or '').partition('\n')[0] for name in sorted(docs)}


def main() -> None:
    """Run the command that the first argument names, with the arguments after it."""
    given, rest, known = (sys.argv[1:] or [''])[0], sys.argv[2:], commands()
    if given in known:
        sys.argv = [f'{NAME} {given}', *rest]  # which argparse shows
        run(given)
    elif given == '--version' and not rest:
        print(NAME, runpy.run_path(str(PACKAGE / 'version.py'))['__version__'])
    elif given in ('', '-h', '--help') and not rest:
        print(f'usage: {NAME} COMMAND …\n')
        print('\n'.join(f'    {name:<14}{what}' for name, what in known.items()))
        print(f'\n{NAME} COMMAND --help explains a command. {NAME} --version says which version this is.')
        sys.exit(0 if given else 2)
    else:
        near = get_close_matches(given, known, n=1, cutoff=0.5)
        hint = f'did you mean {near[0]!r}?' if near else f'expected one of: {", ".join(known)}'
        got = ' '.join([given, *rest]) if given.startswith('-') else given
        print(f'error: expected a command, got {got!r}; {hint}', file=sys.stderr)
        sys.exit(2)


def run(command: str) -> None:
    """Run a command with the arguments in `sys.argv`."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # while the libraries are imported, Ctrl-C ends it at once
    if _is_light(command) and 'convnext_dense' not in sys.modules:
        package = sys.modules['convnext_dense'] = ModuleType('convnext_dense')  # without its __init__, which imports them
        package.__path__ = [str(PACKAGE)]
    try:
        module = import_module(f'convnext_dense.commands.{command.replace("-", "_")}')
    except ModuleNotFoundError as error:
        if (error.name or '').partition('.')[0] not in LIBRARIES:
            raise
        print(
            f'error: {command}: expected {error.name}, which is not installed; install requirements.txt '
            '(without it, `predict` runs exported files, .onnx and .xml)',
            file=sys.stderr,
        )
        sys.exit(2)
    exit_with_line = import_module('convnext_dense.run.command').exit_with_line
    exit_with_line(module.main, getattr(module, 'GO_ON', ''))


def _is_light(command: str) -> bool:
    """Whether none of the libraries is needed, by the command, --serve, and the first argument that is no option."""
    first = next((argument for argument in sys.argv[1:] if not argument.startswith('-')), '')
    serving = command == 'export' and any(argument.partition('=')[0] == '--serve' for argument in sys.argv[1:])
    return serving or command in LIGHT or (command == 'predict' and first.lower().endswith(EXPORTED))


if __name__ == '__main__':
    main()

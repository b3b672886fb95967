"""Run a stock entry script with the plugin in place, where the package is not installed.

    PYTHONPATH=CLONE python -m convnext_dense SITE_PACKAGES/mmdet/.mim/tools/train.py my_config.py
    python -m convnext_dense COMMAND ARGUMENTS      # as convnext-dense COMMAND, where there is no script of that name

The script gets its arguments and its folder as if Python had started it. Exit status 2: no script; otherwise the script's.
"""

import runpy
import sys
from pathlib import Path
from typing import NoReturn

import convnext_dense_cli

USAGE = 'usage: python -m convnext_dense SCRIPT [ARGUMENTS]'


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ('-h', '--help'):
        print(USAGE if len(sys.argv) < 2 else f'{USAGE}\n\n{__doc__.strip()}')
        sys.exit(0 if len(sys.argv) > 1 else 2)
    script = Path(sys.argv[1])
    if sys.argv[1] in convnext_dense_cli.commands() and not script.exists():
        return convnext_dense_cli.main()
    try:
        compile(script.read_bytes(), str(script), 'exec')
    except FileNotFoundError:
        _stop(f'{script} which is not there')
    except (OSError, ValueError, SyntaxError) as error:
        _stop(f'{script}: {getattr(error, "strerror", None) or error}')
    sys.argv = sys.argv[1:]
    sys.path[0] = str(script.resolve().parent)  # as Python does for a script
    runpy.run_path(str(script), run_name='__main__')


def _stop(got: str) -> NoReturn:
    print(f'error: expected a Python script, got {got}; {USAGE}', file=sys.stderr)
    sys.exit(2)


if __name__ == '__main__':
    main()

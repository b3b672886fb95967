"""Run a stock entry script with the plugin in place, where the package is not installed.

PYTHONPATH=CLONE python -m convnext_dense SITE_PACKAGES/mmdet/.mim/tools/train.py my_config.py
"""

import runpy
import sys
from pathlib import Path

USAGE = 'usage: python -m convnext_dense SCRIPT [ARGUMENTS]'


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ('-h', '--help'):
        print(USAGE)
        sys.exit(0 if len(sys.argv) > 1 else 2)
    script = Path(sys.argv[1])
    if not script.is_file():
        print(f'error: expected a Python script, got {script} which is not there; {USAGE}', file=sys.stderr)
        sys.exit(2)
    sys.argv = sys.argv[1:]
    sys.path[0] = str(script.resolve().parent)  # as Python does for a script
    runpy.run_path(str(script), run_name='__main__')


if __name__ == '__main__':
    main()

"""`convnext-dense report` from a clone: convnext_dense/commands/report.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from convnext_dense_cli import run

if __name__ == '__main__':
    run('report')

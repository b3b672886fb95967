"""Tools tried on wrong input by the hundred: each case in a process of its own, forked from one that has imported everything.

    python tests/fuzz.py --cases 500 --seed 1        # values of every type for every key and option

What is accepted: status 2 with one line on stderr and no work directory, or a run that ends with finite losses and metrics.
"""

from __future__ import annotations

import importlib.util
import math
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 90  # seconds of a case


@dataclass(frozen=True)
class Outcome:
    """How a tool ended: exit status (-signal where one ended it), its output, and whether its work directory is there."""

    status: int
    out: str
    err: str
    left: bool

    @property
    def complaint(self) -> str | None:
        """Why it is no clear line and no right run; None where it is."""
        lines = self.err.strip().splitlines()
        if self.status == 2:
            if len(lines) != 1 or not lines[0].startswith('error: '):
                return f'{len(lines)} lines on stderr: {self.err[-300:]}'
            return 'a work directory was left' if self.left else None
        if self.status != 0:
            return f'exit status {self.status}: {" ".join(lines[-2:])[:600]}'
        losses = [float(value) for value in re.findall(r'\bloss\w*: ([-+\w.]+)', self.out)]
        bad = [value for value in losses if not math.isfinite(value)]
        return f'losses {bad[:3]}' if bad else None


def run(tool: str, args: Sequence[str], work_dir: Path | None = None) -> Outcome:
    """Run a tool in a fork of this process, on one thread."""
    folder = Path(tempfile.mkdtemp())
    child = os.fork()
    if child == 0:
        status = 99
        try:
            for number, name in ((1, 'out'), (2, 'err')):
                os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
            os.chdir(folder)
            os.setsid()
            torch.set_num_threads(1)
            status = _call(tool, args)
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(status)
    end = time.monotonic() + LIMIT
    while (done := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < end:
        time.sleep(0.02)
    if done == (0, 0):
        os.killpg(child, signal.SIGKILL)
        done = os.waitpid(child, 0)
    texts = [(folder / name).read_text(errors='replace') if (folder / name).exists() else '' for name in ('out', 'err')]
    shutil.rmtree(folder)
    left = work_dir is not None and work_dir.exists()
    if left:
        shutil.rmtree(work_dir)
    return Outcome(os.waitstatus_to_exitcode(done[1]), *texts, left)


def _call(tool: str, args: Sequence[str]) -> int:
    from convnext_dense.tooling.command import exit_with_line

    spec = importlib.util.spec_from_file_location(f'tool_{tool}', ROOT / 'tools' / f'{tool}.py')
    module = importlib.util.module_from_spec(spec)
    sys.argv = [f'{tool}.py', *args]
    sys.stdout, sys.stderr = (os.fdopen(number, 'w', buffering=1) for number in (1, 2))
    try:
        spec.loader.exec_module(module)
        exit_with_line(module.main)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0

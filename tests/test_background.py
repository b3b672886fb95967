"""Jobs beside training: one at a time, errors kept, and none is cut off."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from convnext_dense.training.background import Writer, wait_for_writers


def test_one_job_at_a_time() -> None:
    writer, done, gate = Writer(), [], threading.Event()
    writer.start(lambda: (gate.wait(5), done.append(1)))
    assert done == []  # beside this
    threading.Timer(0.05, gate.set).start()
    writer.start(lambda: done.append(2))
    assert done[0] == 1
    assert writer.wait() is None and done == [1, 2] and writer.wait() is None


def test_an_error_is_told_once() -> None:
    writer = Writer()
    writer.start(lambda: 1 / 0)
    assert isinstance(writer.wait(), ZeroDivisionError) and writer.wait() is None
    writer.start(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        writer.start(lambda: None)


def test_what_a_job_holds_goes_with_it() -> None:
    writer, held = Writer(), threading.Event()
    before = sys.getrefcount(held)
    writer.start(held.set)
    held.wait(5)
    wait_for_writers()
    assert sys.getrefcount(held) == before


def test_waiting_for_all() -> None:
    done = []
    for _ in range(2):
        Writer().start(lambda: (time.sleep(0.05), done.append(1)))
    wait_for_writers()
    assert done == [1, 1]


def test_the_end_of_the_process_waits(tmp_path: Path) -> None:
    """However the main thread ends."""
    path = tmp_path / 'done'
    code = (
        'import importlib.util, pathlib, sys, time\n'
        'spec = importlib.util.spec_from_file_location("background", sys.argv[1])\n'
        'module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)\n'
        'module.Writer().start(lambda: (time.sleep(0.3), pathlib.Path(sys.argv[2]).touch()))\n'
        'raise KeyboardInterrupt'
    )
    file = sys.modules['convnext_dense.training.background'].__file__
    done = subprocess.run([sys.executable, '-c', code, str(file), str(path)], capture_output=True)
    assert done.returncode != 0 and path.exists()

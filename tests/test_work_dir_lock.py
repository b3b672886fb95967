"""One run in a work directory; the lock goes with its process, however that ends."""

import errno
import fcntl
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest
from logs import a_run

from convnext_dense.errors import InputError
from convnext_dense.report.log import read_log
from convnext_dense.training import work_dir_lock as module
from convnext_dense.training.work_dir_lock import check_free, work_dir_lock


def run_elsewhere(folder: Path, seconds: float) -> tuple[int, int]:
    """A process that holds the folder for so long, and its child, as one that loads data, which lives longer."""
    reader, writer = os.pipe()
    run = os.fork()
    if run == 0:
        try:
            with work_dir_lock(folder):
                child = os.fork()
                if child == 0:
                    time.sleep(60)
                    os._exit(0)
                os.write(writer, str(child).encode())
                time.sleep(seconds)
        finally:
            os._exit(0)
    child = int(os.read(reader, 20))
    os.close(reader)
    os.close(writer)
    return run, child


@pytest.fixture(autouse=True)
def no_patience(monkeypatch) -> None:
    monkeypatch.setattr(module, 'PAUSE', 0.02)


def test_a_second_run_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / 'a/b'
    check_free(folder)
    with work_dir_lock(folder) as lines:
        assert lines == []
        holder = f'process {os.getpid()} on {re.escape(socket.gethostname())}, since 20[0-9: -]*'
        who = f'{folder}, which {holder}, is training in; wait'
        for refused in (lambda: check_free(folder), lambda: work_dir_lock(folder).__enter__()):
            with pytest.raises(InputError, match=who) as caught:
                refused()
            assert len(str(caught.value).splitlines()) == 1
        assert os.listdir(folder) == ['.lock']
    assert os.listdir(folder) == []
    check_free(folder)
    with work_dir_lock(folder):  # again
        pass


def test_a_file_that_a_killed_run_left_holds_nobody(tmp_path: Path) -> None:
    (tmp_path / '.lock').write_text('process 1 on moon, since long ago, and of a longer name')
    check_free(tmp_path)
    with work_dir_lock(tmp_path):
        assert (tmp_path / '.lock').read_text().startswith(f'process {os.getpid()} on ')
        assert 'longer name' not in (tmp_path / '.lock').read_text()


def test_an_error_in_the_run_gives_it_back(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), work_dir_lock(tmp_path):
        raise RuntimeError
    assert os.listdir(tmp_path) == [] and not module._held


def test_the_file_of_another_run_is_not_removed(tmp_path: Path) -> None:
    """A folder that was moved while it was trained in, and made anew."""
    with work_dir_lock(tmp_path / 'a'):
        (tmp_path / 'a').rename(tmp_path / 'b')
        with work_dir_lock(tmp_path / 'a'):
            assert (tmp_path / 'a/.lock').exists()
        (tmp_path / 'a/.lock').write_text('another')
    assert (tmp_path / 'a/.lock').read_text() == 'another'


def test_a_killed_run_holds_it_no_longer_though_its_children_live(tmp_path: Path) -> None:
    run, child = run_elsewhere(tmp_path, 60)
    try:
        with pytest.raises(InputError, match=f'which process {run} on'):
            check_free(tmp_path)
        os.kill(run, signal.SIGKILL)
        os.waitpid(run, 0)
        os.kill(child, 0)  # it is still there
        with work_dir_lock(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_run_that_is_about_to_end_is_waited_for(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, 'PAUSE', 0.2)
    run, child = run_elsewhere(tmp_path, 0.3)
    with work_dir_lock(tmp_path):
        os.waitpid(run, 0)
    os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize('number', [errno.ENOLCK, errno.ENOTSUP])
def test_without_locks_there_is_a_line(number: int, tmp_path: Path, monkeypatch) -> None:
    def refuse(handle: int, kind: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, 'flock', refuse)  # no file system here is without them
    assert check_free(tmp_path)  # there is no file of a lock
    with work_dir_lock(tmp_path) as lines:
        assert not check_free(tmp_path) and read_log(a_run(tmp_path)).state == 'unknown'
        assert len(lines) == 1 and f'{tmp_path} has no locks' in lines[0]
    monkeypatch.setattr(fcntl, 'flock', lambda handle, kind: (_ for _ in ()).throw(OSError(errno.EIO, 'broken')))
    with pytest.raises(OSError, match='broken'), work_dir_lock(tmp_path):
        pass

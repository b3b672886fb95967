"""Saves beside training: their order, what is told of them, and how failures are counted."""

import errno
import logging
import os
import pickle
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from two_processes import in_two_processes

from convnext_dense.errors import InputError
from convnext_dense.training import saver as module
from convnext_dense.training.checkpoint_file import verify
from convnext_dense.training.saver import Saver, main_decides, main_does

LOGGER = logging.getLogger('test_saver')


@pytest.fixture
def told(caplog) -> list[str]:
    caplog.set_level(logging.INFO)
    return caplog.messages


def nothing() -> None:
    pass


def save(saver: Saver, path: Path, finish=nothing, take_back=nothing, **options) -> torch.Tensor:
    weight = torch.ones(1000)
    saver.save(LOGGER, str(path), lambda: dict(a=weight), finish, take_back, **options)
    return weight


@pytest.mark.parametrize('asynchronous', [True, False, 'auto'])
def test_what_is_written_is_of_the_moment(asynchronous, tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.INFO)
    saver, done = Saver(asynchronous), []
    save(saver, tmp_path / 'new/a.pth', lambda: done.append(verify(tmp_path / 'new/a.pth'))).add_(1)
    saver.settle()
    assert 0 < saver.seconds < 60
    assert done == [None] and torch.equal(torch.load(tmp_path / 'new/a.pth')['a'], torch.ones(1000))
    how = 'while training waited' if asynchronous is False else 'beside training'
    (line,) = caplog.messages
    assert line.startswith(f'checkpoint: {tmp_path / "new/a.pth"} is on the disk: 0.0') and line.endswith(
        f's to write it {how}'
    )


def test_waiting_for_one(tmp_path: Path, caplog) -> None:
    saver = Saver(True)
    save(saver, tmp_path / 'a.pth', wait=True)
    assert verify(tmp_path / 'a.pth') is None and saver._writer._job is None


@pytest.mark.parametrize(('available', 'waits'), [(0, True), (7999, True), (8000, False)])
def test_memory_decides(available: int, waits: bool, tmp_path: Path, monkeypatch, caplog) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(module, 'available_memory', lambda: available)
    saver = Saver('auto')
    for _ in range(2):
        save(saver, tmp_path / 'a.pth')
    saver.settle()
    lines = [line for line in caplog.messages if 'training waits for the writing: a checkpoint has 0.00 GB, of which 2' in line]
    assert len(lines) == waits and ('while training waited' in caplog.text) == waits


@pytest.mark.parametrize('asynchronous', [True, False])
def test_failures_are_counted_until_one_succeeds(asynchronous: bool, tmp_path: Path, caplog) -> None:
    saver, undone = Saver(asynchronous), []
    (tmp_path / 'file').touch()
    assert saver.trouble(1) is None
    for count in (1, 2):
        save(saver, tmp_path / 'file/a.pth', take_back=lambda: undone.append(1))
        if count == 2:  # known at once, so that the run does not train for another interval
            assert saver.failures == 2
        saver.settle()
        assert saver.failures == count == len(undone)
    assert saver.trouble(3) is None and 'could not write 2 in a row' in saver.trouble(2)
    assert 'there is no good one' in saver.trouble(1) and 'File exists; name another' in caplog.text
    save(saver, tmp_path / 'a.pth')
    saver.settle()
    assert saver.failures == 0 and saver.trouble(1) is None


def test_what_follows_the_file_may_fail(tmp_path: Path, caplog) -> None:
    """As the pointer."""
    saver = Saver(True)
    saver.good = 'before.pth'

    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'last_checkpoint')

    save(saver, tmp_path / 'a.pth', full)
    saver.settle()
    assert saver.failures == 1 and 'could not write the last one (last_checkpoint: No space left' in saver.trouble(1)
    assert 'the last good one is before.pth' in saver.trouble(1) and 'before.pth is kept' in caplog.text


def test_what_no_disk_is_to_blame_for_is_raised(tmp_path: Path) -> None:
    saver = Saver(True)
    saver.save(LOGGER, str(tmp_path / 'a.pth'), lambda: dict(a=lambda: 0), nothing, nothing)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        saver.settle()
    saver.settle()


def test_one_process_decides_for_itself() -> None:
    assert main_decides(3) == 3
    done = []
    main_does(lambda: done.append(1))
    assert done == [1]
    with pytest.raises(ZeroDivisionError):
        main_does(lambda: 1 / 0)


def test_failures_are_raised(tmp_path: Path) -> None:
    saver = Saver(False)
    (tmp_path / 'file').touch()
    save(saver, tmp_path / 'file/a.pth')
    saver.check(2)
    with pytest.raises(InputError, match='could not write the last one'):
        saver.check(1)


def fail_in_the_first(rank: int, folder: str) -> None:
    """What each of two processes is told goes into a file."""
    dist.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    told = []

    def fail(error: Exception) -> None:
        assert rank == 0
        raise error

    for error in (InputError('the disk'), ZeroDivisionError('a fault'), None):
        try:
            main_does(partial(fail, error) if error else nothing)
        except Exception as caught:
            told.append(f'{type(caught).__name__}: {caught}')
    Path(folder, str(rank)).write_text('\n'.join(told))
    dist.destroy_process_group()


@pytest.mark.slow
def test_an_error_of_the_first_process_ends_the_others(tmp_path: Path) -> None:
    """Rather than leave them waiting for it."""
    in_two_processes(fail_in_the_first, str(tmp_path))
    first, second = ((tmp_path / str(rank)).read_text().splitlines() for rank in range(2))
    assert first == ['InputError: the disk', 'ZeroDivisionError: a fault']
    assert second == ['InputError: the disk', 'RuntimeError: the main process could not save: a fault']

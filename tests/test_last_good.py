"""Which checkpoint a run goes on from: the named one if it is whole, else the newest whole one by its iteration."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from convnext_dense.training.checkpoint_file import write_checkpoint, write_pointer
from convnext_dense.training.last_good import Found, last_good, newest_good, training_problem


def save(path: Path, iteration: int, epoch: int = 0, optimizer: bool = True, **meta: str) -> Path:
    content = dict(meta=dict(iter=iteration, epoch=epoch, **meta), state_dict=dict(a=torch.arange(500.0)))
    write_checkpoint(content | (dict(optimizer={}) if optimizer else {}), path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of three checkpoints whose clock was set back, and its best one."""
    for number, time in ((5, 3000), (10, 2000), (20, 1000)):
        os.utime(save(tmp_path / f'iter_{number}.pth', number), (time, time))
    save(tmp_path / 'best_mIoU_iter_20.pth', 20, optimizer=False)
    save(tmp_path / 'iter_30.pth', 30).rename(tmp_path / 'iter_30.pth.partial')
    write_pointer(tmp_path, str(tmp_path / 'iter_10.pth'))
    return tmp_path


def test_the_named_one_if_it_is_whole(folder: Path) -> None:
    assert last_good(folder) == Found(str(folder / 'iter_10.pth'))


def test_of_a_folder_that_was_moved(folder: Path) -> None:
    write_pointer(folder, 'work_dirs/gone/iter_5.pth')
    assert last_good(str(folder)) == Found(str(folder / 'iter_5.pth'))


def test_of_checkpoints_that_lie_elsewhere(folder: Path, tmp_path_factory) -> None:
    other = save(tmp_path_factory.mktemp('other') / 'ckpt.pth', 7)
    write_pointer(folder, str(other))
    assert last_good(folder) == Found(str(other))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    at = data.index(torch.arange(500.0).numpy().tobytes()) + 77
    data[at] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize(
    'spoil, named, why',
    [
        (lambda folder: (folder / 'last_checkpoint').unlink(), 'last_checkpoint', 'it is not there'),
        (lambda folder: (folder / 'last_checkpoint').write_text('\n'), 'last_checkpoint', 'it is empty'),
        (lambda folder: (folder / 'last_checkpoint').write_text('a\0b'), 'last_checkpoint', 'it holds no path'),
        (lambda folder: (folder / 'last_checkpoint').write_bytes(b'\xff'), 'last_checkpoint', 'it cannot be read (.*decode.*)'),
        (lambda folder: (folder / 'iter_10.pth').unlink(), 'last_checkpoint', 'it names .*iter_10.pth, which is not there'),
        (lambda folder: cut(folder / 'iter_10.pth'), 'iter_10.pth', 'it is no whole archive .*cut off'),
        (lambda folder: flip(folder / 'iter_10.pth'), 'iter_10.pth', '.*got a damaged record.*'),
        (
            lambda folder: write_pointer(folder, 'best_mIoU_iter_20.pth'),
            'best_mIoU_iter_20.pth',
            'it is no training checkpoint, which has an optimizer',
        ),
    ],
)
def test_else_the_newest_by_iteration(spoil: Callable[[Path], object], named: str, why: str, folder: Path) -> None:
    spoil(folder)
    found = last_good(folder)
    path, lines = found.path, found.lines
    assert path == str(folder / 'iter_20.pth')
    assert re.match(f'{folder / named} is passed over: {why}', lines[0]), lines
    assert all('best_mIoU' in line for line in lines[1:])


def test_damaged_ones_are_passed_over_with_a_line_each(folder: Path) -> None:
    flip(folder / 'iter_10.pth')
    flip(folder / 'iter_20.pth')
    cut(folder / 'best_mIoU_iter_20.pth')
    found = last_good(folder)
    path, lines = found.path, found.lines
    assert path == str(folder / 'iter_5.pth') and len(lines) == 3
    assert [Path(line.split(' is passed')[0]).name for line in lines] == ['iter_10.pth', 'best_mIoU_iter_20.pth', 'iter_20.pth']
    cut(folder / 'iter_5.pth')
    found = last_good(folder)
    path, lines = found.path, found.lines
    assert path is None and len(lines) == 4


def test_the_end_of_an_epoch_comes_after_its_last_iteration(tmp_path: Path) -> None:
    save(tmp_path / 'iter_8.pth', 8, epoch=1)
    save(tmp_path / 'epoch_2.pth', 8, epoch=2)
    assert newest_good(tmp_path) == Found(str(tmp_path / 'epoch_2.pth'))
    assert newest_good(tmp_path, without=tmp_path / 'epoch_2.pth') == Found(str(tmp_path / 'iter_8.pth'))


def test_where_nothing_was_saved(tmp_path: Path) -> None:
    assert last_good(tmp_path) == Found() == last_good(tmp_path / 'gone')
    (tmp_path / 'a.pth').mkdir()
    assert last_good(tmp_path) == Found()


def test_what_a_training_checkpoint_has(tmp_path: Path) -> None:
    assert training_problem(save(tmp_path / 'a.pth', 3)) is None
    for content in (dict(optimizer={}), dict(optimizer={}, meta=[]), dict(meta=dict(iter='3', epoch=0), optimizer={})):
        write_checkpoint(content, tmp_path / 'a.pth')
        assert 'no training checkpoint' in str(training_problem(tmp_path / 'a.pth'))
        assert 'no training checkpoint' in last_good(tmp_path).lines[1]


def test_checkpoints_may_lie_in_another_folder(tmp_path: Path) -> None:
    """That the pointer names, or that the hook writes to where the pointer is lost."""
    run, out = tmp_path / 'run', tmp_path / 'out/run'
    run.mkdir()
    out.mkdir(parents=True)
    for number in (1, 2, 3):
        save(out / f'iter_{number}.pth', number)
    write_pointer(run, str(out / 'iter_3.pth'))
    cut(out / 'iter_3.pth')
    for beside in (None, out):
        found = last_good(run, beside)
        assert found.path == str(out / 'iter_2.pth') and len(found.lines) == 1, 'each file is looked at once'
    (run / 'last_checkpoint').unlink()
    assert last_good(run).path is None and last_good(run, out).path == str(out / 'iter_2.pth')
    assert last_good(tmp_path / 'gone', out).path == str(out / 'iter_2.pth')


def test_of_another_run(tmp_path: Path) -> None:
    """Which trained longer in the folder, before; one that says nothing may be of any."""
    save(tmp_path / 'iter_6.pth', 6, run='old')
    for number in (1, 2):
        save(tmp_path / f'iter_{number}.pth', number, run='new')
    write_pointer(tmp_path, 'iter_2.pth')
    cut(tmp_path / 'iter_2.pth')
    assert last_good(tmp_path).path == str(tmp_path / 'iter_6.pth')
    (tmp_path / '.run').write_text('new')
    found = last_good(tmp_path)
    assert found.path == str(tmp_path / 'iter_1.pth') and found.lost == [str(tmp_path / 'iter_2.pth')]
    assert found.lines[1] == f'{tmp_path / "iter_6.pth"} is passed over: it is of another run'
    write_pointer(tmp_path, 'iter_6.pth')
    assert last_good(tmp_path).path == str(tmp_path / 'iter_1.pth'), 'the pointer may still be of another'
    save(tmp_path / 'iter_4.pth', 4)
    assert last_good(tmp_path).path == str(tmp_path / 'iter_4.pth')


def test_what_is_lost(tmp_path: Path) -> None:
    """Not what is of another run, or no training checkpoint."""
    save(tmp_path / 'iter_6.pth', 6, run='old')
    save(tmp_path / 'best_mIoU_iter_6.pth', 6, optimizer=False)
    (tmp_path / '.run').write_text('new')
    found = last_good(tmp_path)
    assert (found.path, found.lost) == (None, []) and len(found.lines) == 3
    write_pointer(tmp_path, '/gone/model.pth')
    assert last_good(tmp_path).lost == [str(tmp_path / 'last_checkpoint')]
    (tmp_path / 'epoch_2.pth').touch()
    assert last_good(tmp_path).lost == [str(tmp_path / 'last_checkpoint'), str(tmp_path / 'epoch_2.pth')]

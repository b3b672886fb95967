"""The newest checkpoints of a run are kept, those of an earlier process of it among them."""

import logging
import os
from pathlib import Path

from convnext_dense.training.kept import KeptCheckpoints

LOGGER = logging.getLogger('test_kept')
TEMPLATES = {'iter_{}.pth': 1, 'epoch_{}.pth': 4}


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).touch()


def test_the_oldest_go(tmp_path: Path) -> None:
    kept = KeptCheckpoints(str(tmp_path), TEMPLATES, 2)
    for name in ('iter_1.pth', 'iter_2.pth', 'epoch_1.pth', 'iter_5.pth'):
        touch(tmp_path, name)
        kept.add(name, LOGGER)
    assert sorted(os.listdir(tmp_path)) == ['epoch_1.pth', 'iter_5.pth'] == sorted(kept.names)


def test_all_are_kept(tmp_path: Path) -> None:
    kept = KeptCheckpoints(str(tmp_path), TEMPLATES, -1)
    for number in range(5):
        touch(tmp_path, f'iter_{number}.pth')
        kept.add(f'iter_{number}.pth', LOGGER)
    assert len(os.listdir(tmp_path)) == 5


def test_one_that_is_written_again_counts_once_and_is_the_newest(tmp_path: Path) -> None:
    kept = KeptCheckpoints(str(tmp_path), TEMPLATES, 2)
    touch(tmp_path, 'iter_1.pth', 'iter_2.pth', 'iter_3.pth')
    for name in ('iter_1.pth', 'iter_2.pth', 'iter_1.pth', 'iter_3.pth'):
        kept.add(name, LOGGER)
    assert sorted(os.listdir(tmp_path)) == ['iter_1.pth', 'iter_3.pth']


def test_a_resumed_run_counts_by_names(tmp_path: Path) -> None:
    touch(
        tmp_path,
        'iter_10.pth',
        'epoch_2.pth',
        'iter_9.pth',
        'iter_11.pth',
        'best_iter_3.pth',
        'iter_x.pth',
        'iter_4.pth.partial',
    )
    kept = KeptCheckpoints(str(tmp_path), TEMPLATES, 2)
    kept.find(10, lambda name, done: False)
    assert kept.names == ['epoch_2.pth', 'iter_9.pth', 'iter_10.pth']
    touch(tmp_path, 'epoch_3.pth')
    kept.add('epoch_3.pth', LOGGER)
    assert sorted(set(os.listdir(tmp_path)) & {*TEMPLATES, 'iter_9.pth', 'epoch_2.pth'}) == []
    assert kept.names == ['iter_10.pth', 'epoch_3.pth'] and (tmp_path / 'iter_11.pth').exists()
    KeptCheckpoints(str(tmp_path / 'gone'), TEMPLATES, 2).find(3, lambda name, done: False)


def test_one_between_the_planned_ones_does_not_count_among_them(tmp_path: Path) -> None:
    """The newest is kept until a planned one is there."""
    kept = KeptCheckpoints(str(tmp_path), TEMPLATES, 2)
    left = []
    for name in ('epoch_1.pth', 'epoch_2.pth', 'iter_9.pth', 'iter_10.pth', 'epoch_3.pth'):
        touch(tmp_path, name)
        kept.add(name, LOGGER, between=name.startswith('iter'))
        left.append(sorted(os.listdir(tmp_path)))
    assert left[2:] == [
        ['epoch_1.pth', 'epoch_2.pth', 'iter_9.pth'],
        ['epoch_1.pth', 'epoch_2.pth', 'iter_10.pth'],
        ['epoch_2.pth', 'epoch_3.pth'],
    ]


def test_where_all_are_kept_those_between_are_not(tmp_path: Path) -> None:
    kept = KeptCheckpoints(str(tmp_path), TEMPLATES, -1)
    for number in range(1, 8):
        touch(tmp_path, f'iter_{number}.pth')
        kept.add(f'iter_{number}.pth', LOGGER, between=number % 3 != 0)
    assert sorted(os.listdir(tmp_path)) == ['iter_3.pth', 'iter_6.pth', 'iter_7.pth']


def test_a_resumed_run_knows_those_between(tmp_path: Path) -> None:
    touch(tmp_path, 'iter_6.pth', 'iter_7.pth', 'iter_8.pth', 'iter_9.pth')
    kept = KeptCheckpoints(str(tmp_path), TEMPLATES, -1)
    kept.find(8, lambda name, done: done in (7, 8))
    assert (kept.names, kept.between) == (['iter_6.pth'], ['iter_7.pth', 'iter_8.pth'])
    kept.add('iter_9.pth', LOGGER)
    assert sorted(os.listdir(tmp_path)) == ['iter_6.pth', 'iter_9.pth']


def test_what_cannot_be_removed_is_told(tmp_path: Path, caplog) -> None:
    kept = KeptCheckpoints(str(tmp_path), TEMPLATES, 1)
    (tmp_path / 'iter_1.pth').mkdir()
    kept.names = ['iter_0.pth', 'iter_1.pth']  # the first is gone
    with caplog.at_level(logging.WARNING):
        kept.add('iter_2.pth', LOGGER)
    assert [record.message for record in caplog.records] == [
        f'checkpoint: {tmp_path / "iter_1.pth"} cannot be removed: Is a directory'
    ]

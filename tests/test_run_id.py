"""Which run the checkpoints of a folder are of."""

import logging
from pathlib import Path

import pytest

from convnext_dense.training.checkpoint_file import write_pointer
from convnext_dense.training.run_id import NAME, begin_run, of_another_run, run_of

LOGGER = logging.getLogger('test_run_id')


def test_a_run_has_a_name_that_a_resumed_one_carries_on(tmp_path: Path) -> None:
    assert run_of(tmp_path) is None
    first = begin_run(str(tmp_path), None, LOGGER)
    assert run_of(tmp_path) == first and [path.name for path in tmp_path.iterdir()] == [NAME]
    write_pointer(tmp_path, 'iter_1.pth')
    assert begin_run(str(tmp_path), dict(run=first), LOGGER) == first
    assert begin_run(str(tmp_path), {}, LOGGER) == first, 'by a checkpoint that names none'
    assert (tmp_path / 'last_checkpoint').exists()


@pytest.mark.parametrize('resumed', [None, dict(run='c')], ids=['new', 'of another folder'])
def test_the_pointer_of_another_goes(resumed: dict | None, tmp_path: Path, caplog) -> None:
    before = begin_run(str(tmp_path), None, LOGGER)
    write_pointer(tmp_path, 'iter_1.pth')
    run = begin_run(str(tmp_path), resumed, LOGGER)
    assert run == run_of(tmp_path) != before and (resumed is None or run == 'c')
    assert not (tmp_path / 'last_checkpoint').exists() and 'has checkpoints of another run' in caplog.text


def test_where_it_cannot_be_written_the_run_begins(tmp_path: Path, caplog) -> None:
    (tmp_path / 'file').touch()
    assert begin_run(str(tmp_path / 'file'), None, LOGGER) and 'cannot be marked as of this run' in caplog.text
    (tmp_path / NAME).write_bytes(b'\xff')
    assert run_of(tmp_path) is None


@pytest.mark.parametrize(('its', 'run', 'other'), [(None, 'a', False), ('a', 'a', False), ('b', 'a', True), ('b', None, False)])
def test_of_another(its: str | None, run: str | None, other: bool) -> None:
    assert of_another_run({} if its is None else dict(run=its), run) is other

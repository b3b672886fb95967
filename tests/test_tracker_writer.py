"""A tracker's run goes on with the training run that is resumed, and each step is written once."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.visualization import BaseVisBackend
from tracker_sets import Counted, Memory, training

from convnext_dense.training.tracker_writer import TrackerState, TrackerWriter, logged, numbers, read_state


@pytest.fixture(autouse=True)
def served(monkeypatch) -> dict[str, Memory]:
    found: dict[str, Memory] = {}
    monkeypatch.setattr(Memory, 'served', found)
    return found


COUNT = itertools.count()


def writer(work_dir: Path, resumed: bool | None = False, cls: type = Memory, log: str = '', **given) -> TrackerWriter:
    """One that has begun; its log is a folder of its own."""
    lines: list[str] = []
    made = TrackerWriter(cls, given, 'mem', work_dir, work_dir / (log or f'log_{next(COUNT)}'), resumed, lines.append)
    made.lines = lines
    made.begin()
    return made


def write_log(folder: Path, *rows: dict) -> None:
    """As MMEngine's LocalVisBackend does."""
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text(''.join(json.dumps(row) + '\n' for row in rows))


def written(work_dir: Path, resumed: bool | None, steps: range, cls: type = Memory) -> TrackerWriter:
    made = writer(work_dir, resumed, cls)
    for step in steps:
        made.add_scalars(dict(loss=step / 10), step, at=1000.0 + step)
    return made


def test_where_it_writes(tmp_path: Path) -> None:
    made = writer(training(tmp_path / 'work', 'a'), log='x/vis_data', project='x')
    assert made.tracker._save_dir == str(tmp_path / 'work/trackers/mem') and made.tracker.given == dict(project='x')
    state = dict(id='work_0', run='a', config=False, steps={}, logs=['x/vis_data'])
    assert json.loads((tmp_path / 'work/trackers/mem.json').read_text()) == state
    assert made.lines == ['run work_0 begins']


@pytest.mark.parametrize('cls', [Memory, Counted])
def test_a_resumed_run_goes_on_and_each_step_is_there_once(tmp_path: Path, cls: type, served) -> None:
    """It was killed after step 7, and its last checkpoint is of step 4."""
    work_dir = training(tmp_path / 'work', 'a')
    written(work_dir, False, range(1, 8), cls)
    again = written(work_dir, True, range(5, 11), cls)
    assert again.lines == ['run work_0 goes on'] and list(served) == ['work_0']
    assert again.tracker.curve('loss') == [(step, step / 10) for step in range(1, 11)]
    assert {at for _, _, at in again.tracker.values['loss']} == {1000.0 + step for step in range(1, 11)}
    third = written(work_dir, True, range(9, 13), cls)
    assert [step for step, _ in third.tracker.curve('loss')] == list(range(1, 13))


def test_two_starts_within_a_second_have_the_same_log(tmp_path: Path) -> None:
    work_dir = training(tmp_path / 'work', 'a')
    writer(work_dir, False, log='one').add_scalars(dict(loss=1.0), 1, at=0)
    again = writer(work_dir, True, log='one')
    again.add_scalars(dict(loss=1.0), 1, at=0)
    assert again.tracker.curve('loss') == [(1, 1.0)] and again.state.logs == ['one']


def test_a_hole_is_filled_where_the_tracker_can_be_asked(tmp_path: Path) -> None:
    work_dir = training(tmp_path / 'work', 'a')
    written(work_dir, False, range(1, 9, 2))
    again = written(work_dir, True, range(3, 9))
    assert sorted(step for step, _ in again.tracker.curve('loss')) == [1, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize('cls', [Memory, Counted])
def test_what_was_not_written_is_taken_from_the_log(tmp_path: Path, cls: type) -> None:
    """The run was killed while entries waited; its last checkpoint is of step 3."""
    work_dir = training(tmp_path / 'work', 'a')
    made = writer(work_dir, False, cls, log='one')
    for step in (1, 2):
        made.add_scalars(dict(loss=step / 10), step, at=0)
    rows = [dict(loss=step / 10, iter=step, step=step) for step in range(1, 6)]
    write_log(work_dir / 'one', *rows, dict(mIoU=0.5, time=9.0, step=4), dict(words='no', step=4))
    with open(work_dir / 'one/scalars.json', 'a') as file:
        file.write('{"loss": 0.')
    again = writer(work_dir, True, cls, log='two')
    assert again.state.logs == ['one', 'two']
    for step in range(4, 8):
        again.add_scalars(dict(loss=step / 10), step, at=0)
    assert again.tracker.curve('loss') == [(step, step / 10) for step in range(1, 8)]
    assert again.tracker.curve('mIoU') == [(4, 0.5)] and again.tracker.curve('val/time') == [(4, 9.0)]


def test_a_tracker_that_had_not_begun_gets_all(tmp_path: Path, served, monkeypatch) -> None:
    """Killed, or given up, before the server answered."""
    work_dir = training(tmp_path / 'work', 'a')
    with monkeypatch.context() as away:
        away.setattr(Memory, 'begin', lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            writer(work_dir, False, log='one')
    write_log(work_dir / 'one', *(dict(loss=1.0, iter=step, step=step) for step in range(1, 4)))
    again = writer(work_dir, True, log='two')
    write_log(work_dir / 'two', *(dict(loss=2.0, iter=step, step=step) for step in range(3, 6)))
    again.tracker.values.clear()  # of which nothing came through either
    third = writer(work_dir, True, log='three')
    assert third.tracker.curve('loss') == [(1, 1.0), (2, 1.0), (3, 1.0), (4, 2.0), (5, 2.0)]
    assert again.lines == ['run work_0 begins'] and third.lines == ['run work_0 goes on']
    anew = writer(work_dir, False, log='four')
    assert not anew.tracker.values and anew.state.logs == ['four']


def test_each_scalar_has_its_own_steps(tmp_path: Path) -> None:
    work_dir = training(tmp_path / 'work', 'a')
    made = writer(work_dir)
    made.add_scalars(dict(loss=1.0), 5, at=0)
    again = writer(work_dir, True)
    again.add_scalars(dict(loss=9.0, mIoU=2.0), 5, at=0)
    assert again.tracker.curve('loss') == [(5, 1.0)] and again.tracker.curve('mIoU') == [(5, 2.0)]


@pytest.mark.parametrize(
    ('resumed', 'run', 'goes_on'),
    [
        (True, 'a', True),
        (False, 'a', False),  # a hook that names no run has trained since
        (True, 'b', False),  # resumed from a checkpoint of another run
        (False, 'b', False),
        (None, 'a', True),  # of a runner without a config
        (None, 'b', False),
    ],
)
def test_which_runs_go_on(tmp_path: Path, resumed: bool | None, run: str, goes_on: bool, served) -> None:
    written(training(tmp_path / 'work', 'a'), False, range(1, 4))
    again = written(training(tmp_path / 'work', run), resumed, range(1, 3))
    assert len(served) == (1 if goes_on else 2)
    assert len(again.tracker.curve('loss')) == (3 if goes_on else 2)
    state = read_state(tmp_path / 'work/trackers/mem.json')
    assert state.id == again.tracker.key and state.run == run


def test_without_a_name_of_the_run_resuming_decides(tmp_path: Path, served) -> None:
    written(tmp_path, None, range(3))
    written(tmp_path, None, range(3))
    assert len(served) == 2
    written(tmp_path, True, range(3))
    assert len(served) == 2


def test_a_run_that_was_deleted_there_begins_anew(tmp_path: Path, served) -> None:
    work_dir = training(tmp_path / 'work', 'a')
    written(work_dir, False, range(1, 4), Counted)
    del served['work_0']
    served['another'] = Memory('')
    again = written(work_dir, True, range(1, 4), Counted)
    assert again.lines == ['run work_1 begins'] and len(again.tracker.curve('loss')) == 3
    assert read_state(work_dir / 'trackers/mem.json').id == 'work_1'


def test_the_config_is_recorded_once(tmp_path: Path) -> None:
    work_dir = training(tmp_path / 'work', 'a')
    made = writer(work_dir)
    made.add_config(Config(dict(a=1)))
    again = writer(work_dir, True)
    again.add_config(Config(dict(a=2)))
    assert [config.a for config in again.tracker.configs] == [1]
    assert read_state(work_dir / 'trackers/mem.json').config


def test_beginning_may_be_tried_again(tmp_path: Path, served, monkeypatch) -> None:
    """Where the server went away between the two questions, no second run is begun."""
    work_dir = training(tmp_path / 'work', 'a')
    written(work_dir, False, range(1, 4))
    made = TrackerWriter(Memory, {}, 'mem', work_dir, tmp_path, True, lambda line: None)
    with monkeypatch.context() as away:
        away.setattr(Memory, 'steps', lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            made.begin()
    made.begin()
    made.add_scalars(dict(loss=1.0), 3, at=0)
    assert len(served) == 1 and len(made.tracker.curve('loss')) == 3


def test_names_and_end(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Memory, 'named', lambda self, name: name.upper())
    work_dir = training(tmp_path / 'work', 'a')
    written(work_dir, False, range(2))
    again = written(work_dir, True, range(3))
    again.end(False)
    assert again.tracker.curve('LOSS') == [(0, 0.0), (1, 0.1), (2, 0.2)] and again.tracker.ends == [False]


class Plain(BaseVisBackend):
    """A backend that knows nothing of runs."""

    experiment = property(lambda self: self)

    def _init_env(self) -> None:
        self.calls = [self._save_dir]

    def add_scalars(self, scalar_dict, step=0, file_path=None) -> None:
        self.calls.append((scalar_dict, step))

    def add_image(self, name, image, step=0) -> None:
        self.calls.append((name, image.shape, step))

    def close(self) -> None:
        self.calls.append('closed')


def test_any_other_backend_begins_anew(tmp_path: Path) -> None:
    work_dir = training(tmp_path / 'work', 'a')
    for resumed in (False, True):
        made = writer(work_dir, resumed, Plain)
        made.add_config(Config(dict(a=1)))
        made.add_scalars(dict(loss=1.0), 3, at=0)
        made.add_image('a', np.zeros((2, 3, 3), np.uint8), 4)
        made.end(True)
        assert made.tracker.calls == [str(work_dir / 'trackers/mem'), (dict(loss=1.0), 3), ('a', (2, 3, 3), 4), 'closed']
    assert not list(work_dir.glob('trackers/*.json'))


@pytest.mark.parametrize('text', ['', '{', '[]', '{"id": 3}', '{"id": "a", "other": 1}', '{"id": "a", "steps": {"x": "1"}}'])
def test_a_state_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / 'a.json'
    assert read_state(path) is None
    path.write_text(text)
    assert read_state(path) is None


def test_a_state_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / 'trackers/a.json'
    state = TrackerState('x', 'run', True, dict(loss=3), ['log'])
    state.write(path)
    (tmp_path / 'trackers/a.json.0123abcd.partial').write_text('{"id"')
    assert read_state(path) == state and [one.name for one in path.parent.iterdir()] == ['a.json']


def test_numbers() -> None:
    given = dict(a=1, b=np.float32(0.5), c=torch.tensor([2.0]), d=float('inf'))
    assert numbers(dict(given, e='x', f=None, g=np.arange(2), h=torch.ones(3), i=[1])) == dict(given, c=2.0)
    assert numbers(dict(time=1.0, data_time=0.5, iter=3)) == dict(time=1.0, data_time=0.5, iter=3.0)
    assert numbers(dict(time=1.0, data_time=0.5, mIoU=3)) == {'val/time': 1.0, 'val/data_time': 0.5, 'mIoU': 3.0}


def test_logs_that_are_not_there(tmp_path: Path) -> None:
    write_log(tmp_path / 'a', dict(loss=1.0), [], dict(loss=float('nan'), step=3))
    found = logged([tmp_path / 'none', tmp_path / 'a'])
    assert list(found) == [3] and np.isnan(found[3][0]['loss'])

"""MLflow's runs in a database of the work directory, read back; and a server that is not there."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from mmengine.config import Config

from convnext_dense.errors import InputError
from convnext_dense.training.tracker_kinds import PROJECT
from convnext_dense.training.tracker_mlflow import LONGEST, MLflowRun, database, flat
from convnext_dense.training.tracker_queue import for_the_moment

CONFIG = Config(dict(a=1, b=dict(c=[2, 3], d=[dict(e='x' * 9000), dict(e=None)]), empty={}))


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Without what is set here for MLflow, now and afterwards."""
    with patch.dict(os.environ):
        for name in ('MLFLOW_TRACKING_URI', 'MLFLOW_EXPERIMENT_NAME', *MLflowRun.settings):
            os.environ.pop(name, None)
        yield


def begun(folder: Path, run: str | None = None, **given: Any) -> MLflowRun:
    pytest.importorskip('mlflow')
    MLflowRun.load()
    made = MLflowRun(str(folder), **given)
    assert made.begin('work', run) == made._id
    return made


def rows(made: MLflowRun, name: str) -> list[tuple[int, float, int]]:
    return [(one.step, one.value, one.timestamp) for one in made._client.get_metric_history(made._id, name)]


def test_a_run_is_read_back_and_goes_on(tmp_path: Path) -> None:
    """All in one, since a new database takes seconds."""
    folder = tmp_path / 'work dir/trackers/mlflow'
    made = begun(folder)
    made.add_config(CONFIG)
    for step in (1, 2):
        made.add_scalars({'loss': 1 / step, 'lr': 0.1}, step, at=1000.0 + step)
    made.add_scalars({'loss': 0.5}, 2, at=1002.0)  # a second try, of which the first came through
    made.add_scalars({made.named('AP (small)'): 0.6}, 3, at=1003.0)
    made.add_image('scene', np.zeros((6, 9, 3), np.uint8), 4)
    assert rows(made, 'loss') == [(1, 1.0, 1001000), (2, 0.5, 1002000)]
    found = made._client.get_run(made._id)
    assert found.info.run_name == 'work' and found.info.status == 'RUNNING'
    params = found.data.params
    assert params['a'] == '1' and params['b.c'] == '[2, 3]' and params['b.d.1.e'] == 'None'
    assert params['b.d.0.e'] == 'x' * LONGEST
    files = {str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file()}
    place = f'artifacts/{made._id}/artifacts'
    assert files >= {'mlflow.db', f'{place}/config.py', f'{place}/images/scene_4.png'}
    made.end(False)
    assert made._client.get_run(made._id).info.status == 'KILLED'

    again = begun(folder, made._id)
    assert again._client.get_run(made._id).info.status == 'RUNNING'
    assert again.steps()['loss'] == {1, 2}
    again.end(True)
    assert again._client.get_run(made._id).info.status == 'FINISHED'

    other = begun(folder)
    lost = begun(folder, '0' * 32)  # deleted there
    assert len({made._id, other._id, lost._id}) == 3 and other.steps() == lost.steps() == {}
    experiment = other._client.get_experiment(other._client.get_run(other._id).info.experiment_id)
    assert experiment.name == PROJECT
    assert os.listdir(tmp_path) == ['work dir']


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    """It fails for the moment, in seconds, and draws no number from the run's generator."""
    pytest.importorskip('mlflow')
    os.environ['MLFLOW_TRACKING_URI'] = 'http://me:secret@127.0.0.1:9'
    MLflowRun.load()
    before = random.getstate()
    with pytest.raises(Exception, match='Connection refused|Max retries') as error:
        MLflowRun(str(tmp_path / 'a')).begin('work', None)
    assert for_the_moment(error.value) and random.getstate() == before
    assert not (tmp_path / 'a').exists()
    assert os.environ['MLFLOW_HTTP_REQUEST_MAX_RETRIES'] == '1'


def test_where_it_writes(tmp_path: Path, monkeypatch) -> None:
    made = MLflowRun(str(tmp_path / 'a'))
    monkeypatch.setattr('convnext_dense.training.tracker_mlflow.find_spec', lambda name: name)
    assert made._store() == (f'sqlite:///{tmp_path}/a/mlflow.db', f'file://{tmp_path}/a/artifacts')
    assert made._store()[0] == database(tmp_path / 'a')
    monkeypatch.setattr('convnext_dense.training.tracker_mlflow.find_spec', lambda name: None)
    with pytest.raises(RuntimeError, match='no database: pip install sqlalchemy alembic, or name a server'):
        made._store()
    os.environ['MLFLOW_TRACKING_URI'] = 'http://server'
    assert made._store() == ('http://server', None)
    assert MLflowRun(str(tmp_path), tracking_uri='http://own')._store() == ('http://own', None)


@pytest.mark.parametrize('name', ['what?', 'a#b', '50%'])
def test_a_folder_whose_name_means_something_in_an_address(name: str, tmp_path: Path, monkeypatch) -> None:
    """The database would lie elsewhere, and others with it: of `what?a` and of `what?b` in `what`."""
    monkeypatch.setattr('convnext_dense.training.tracker_mlflow.find_spec', lambda name: name)
    made = MLflowRun(str(tmp_path / name / 'trackers/mlflow'))
    with pytest.raises(
        InputError, match=r'^tracker mlflow: expected a folder without \?, # and %.*name another work directory, or'
    ):
        made._store()
    assert not os.listdir(tmp_path)
    os.environ['MLFLOW_TRACKING_URI'] = 'http://server'
    assert made._store() == ('http://server', None)


def test_names_and_entries() -> None:
    assert MLflowRun('').named('coco/bbox_mAP 50 a-b.c') == 'coco/bbox_mAP 50 a-b.c'
    assert MLflowRun('').named('IoU.traffic (light), é') == 'IoU.traffic _light__ _'
    assert flat(dict(a=dict(b=1, c=[]), d=[1, dict(e=2)], f={})) == {'a.b': '1', 'a.c': '[]', 'd.0': '1', 'd.1.e': '2'}

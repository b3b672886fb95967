"""What a file of eight bits costs and gives, beside the one of 32 bits."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from export_models import pictures
from exported_files import description, write
from mmengine.config import Config

from convnext_dense.errors import InputError
from convnext_dense.export import eight_bits
from convnext_dense.export.eight_bits import metrics, quantise, seconds
from convnext_dense.export.metric import Metric
from convnext_dense.export.quantised import Way
from convnext_dense.predict.exported_session import open_session


class Measured:
    """A test set on which a file of eight bits is worse by `drop`."""

    drop = 0.5

    def __init__(self, cfg: Config) -> None:
        pass

    def count(self) -> int:
        return 3

    def metric(self, file: Path) -> Metric:
        return Metric('mIoU', 40.0 - (self.drop if file.stem.endswith('_int8') else 0))


@pytest.mark.parametrize(('drop', 'warned'), [(0.5, False), (1.0, False), (1.2, True)])
def test_files_and_their_table(drop: float, warned: bool, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(eight_bits, 'TestSet', type('Here', (Measured,), dict(drop=drop)))
    monkeypatch.setitem(eight_bits.WAYS, 'onnx', Way((), lambda source, out, inputs: shutil.copy(source, out)))
    file = write(tmp_path / 'model.onnx', description())
    said: list[str] = []
    found = quantise(dict(onnx=file), dict(onnx=file), Config(), [pictures(1, 64, 96)], lambda form, path: [], said.append)
    assert (tmp_path / 'model_int8.onnx').read_bytes() == file.read_bytes()
    assert found['onnx']['file'] == 'model_int8.onnx' and found['onnx']['bytes'] == file.stat().st_size
    assert found['onnx']['metric'] == dict(name='mIoU', float32=40.0, int8=40 - drop)
    assert all(spent > 0 for spent in found['onnx']['seconds_a_picture'].values())
    assert f'mIoU {40 - drop:.2f}' in said[-1] and 'model_int8.onnx' in said[-1]
    assert any(line.startswith('warning: model_int8.onnx loses 1.20 points of mIoU') for line in said) is warned


def test_without_data(tmp_path: Path, monkeypatch) -> None:
    class Missing(Measured):
        def metric(self, file: Path) -> Metric:
            raise InputError('it is not there')

    monkeypatch.setattr(eight_bits, 'TestSet', Missing)
    said: list[str] = []
    assert metrics(Config(), (tmp_path, tmp_path), said.append) == (None, None)
    assert said[-1].startswith('no metric: it is not there; export where its data is, or measure ')


def test_a_file_that_the_runtime_cannot_read(tmp_path: Path, monkeypatch) -> None:
    """Is said and left out; the one of 32 bits stays."""
    monkeypatch.setitem(eight_bits.WAYS, 'onnx', Way((), lambda source, out, inputs: out.write_bytes(b'no model')))
    file = write(tmp_path / 'model.onnx', description())

    def compare(form: str, path: Path) -> list:
        open_session(path)
        return []

    said: list[str] = []
    assert quantise(dict(onnx=file), dict(onnx=file), Config(), [pictures(1, 64, 96)], compare, said.append) == {}
    assert len(said) == 1 and said[0].startswith('onnx: no file of eight bits: ')
    assert [path.name for path in tmp_path.iterdir()] == ['model.onnx']


def test_seconds(tmp_path: Path) -> None:
    file = write(tmp_path / 'model.onnx', description())
    spent = seconds('onnx', (file, file), [np.zeros((1, 64, 96, 3), np.uint8)])
    assert len(spent) == 2 and all(0 < value < 60 for value in spent)

"""The metric of a file is what `test` gives for it."""

import json
from pathlib import Path

import pytest
from conftest import SHAPES, call_tool
from exported_files import description, write

from convnext_dense import InputError
from convnext_dense.export.metric import Metric, TestSet
from convnext_dense.predict.trained import load_trained

TestSet.__test__ = False  # type: ignore[attr-defined]


def test_of_a_segmentor(segmentor_file: str, shapes: str, tmp_path: Path) -> None:
    model = load_trained(segmentor_file, device='cpu')
    file = write(tmp_path / 'toy.onnx', description(classes=list(model.classes), palette=[list(c) for c in model.palette]))
    cfg = model.cfg
    cfg.test_dataloader.dataset.data_root = shapes
    found = TestSet(cfg).metric(file)
    out = tmp_path / 'metrics.json'
    done = call_tool('test', SHAPES, str(file), '--data-root', shapes, '--work-dir', str(tmp_path / 'run'), '--out', str(out))
    assert done.returncode == 0, done.stderr
    assert found.name == 'mIoU' and found.points == pytest.approx(json.loads(out.read_text())['mIoU'], abs=1e-6)
    assert str(found) == f'mIoU {found.points:.2f}' and 0 < found.points < 100


def test_data_that_is_not_there(segmentor_file: str, tmp_path: Path) -> None:
    model = load_trained(segmentor_file, device='cpu')
    file = write(tmp_path / 'toy.onnx', description(classes=list(model.classes), palette=[list(c) for c in model.palette]))
    model.cfg.test_dataloader.dataset.data_root = str(tmp_path / 'no')
    with pytest.raises(InputError, match="the config's test data cannot be read"):
        TestSet(model.cfg).metric(file)


def test_points() -> None:
    assert str(Metric('segm AP', 41.666)) == 'segm AP 41.67'

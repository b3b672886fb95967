"""Files of eight bits: smaller, close to those of 32 bits, and with the same description."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from export_models import exportable, pictures

from convnext_dense import InputError
from convnext_dense.export.graphs import SEGMENTOR, Graph
from convnext_dense.export.names import SUFFIXES
from convnext_dense.export.quantised import WAYS, check_quantised
from convnext_dense.export.runtimes import FORMS, parts
from convnext_dense.export.segmentor_graph import SegmentorGraph
from convnext_dense.predict.exported_session import open_session


@pytest.fixture(scope='module')
def graph() -> Graph:
    return Graph(SegmentorGraph(exportable()).eval(), SEGMENTOR, (64, 96), False, True, None, None)


@pytest.mark.slow
@pytest.mark.parametrize('name', WAYS)
def test_close_and_smaller(name: str, graph: Graph, tmp_path: Path) -> None:
    file, made = (tmp_path / f'{stem}{SUFFIXES[name]}' for stem in ('whole', 'eight'))
    FORMS[name].write(graph, file, dict(format=1))
    inputs = [pictures(1, 64, 96) // (i + 1) for i in range(4)]
    WAYS[name].write(file, made, inputs)
    assert json.loads(open_session(made).text or '') == dict(format=1)
    assert all(part.is_file() for part in parts(name, made))
    whole, eight = (FORMS[name].run(path)(inputs[0]) for path in (file, made))
    apart = np.abs(whole[1] - eight[1]).max() / np.abs(whole[1]).max()
    # Of random weights; a trained model's classes agree in 99.9 % of the pixels.
    assert 1e-5 < apart < 1.5 and (whole[0] == eight[0]).mean() > 0.6, (apart, (whole[0] == eight[0]).mean())
    sizes = [parts(name, path)[0].stat().st_size for path in (file, made)]  # of OpenVINO the weights
    assert name == 'onnx' or sizes[1] < sizes[0] / 2


def test_what_cannot_be_quantised(monkeypatch) -> None:
    check_quantised(['onnx', 'torchscript', 'openvino'])
    with pytest.raises(InputError, match='--int8: expected --to onnx or openvino, got torchscript, torch-export'):
        check_quantised(['torchscript', 'torch-export'])
    monkeypatch.setitem(sys.modules, 'nncf', None)
    check_quantised(['onnx'])
    with pytest.raises(InputError, match='--int8: expected nncf, which cannot be imported .*; pip install nncf'):
        check_quantised(['openvino'])

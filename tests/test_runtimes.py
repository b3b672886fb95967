"""Each form of file is written, carries its description, and gives by its own runtime what the graph gives, at other sizes."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from export_models import exportable, pictures

from convnext_dense import InputError
from convnext_dense.export.runtimes import FORMS, check_installed, example
from convnext_dense.export.segmentor_graph import SegmentorGraph

META = dict(classes=['road', 'sky'])


def described(name: str, path: Path) -> dict:
    """What a file says about itself, read by its own library."""
    if name == 'onnx':
        import onnx

        return json.loads({entry.key: entry.value for entry in onnx.load(path).metadata_props}['convnext_dense'])
    if name == 'openvino':
        import openvino

        return json.loads(openvino.Core().read_model(path).get_rt_info(['convnext_dense']).astype(str))
    found = {'convnext_dense.json': ''}
    load = torch.export.load if name == 'torch-export' else torch.jit.load
    load(path, **{('extra_files' if name == 'torch-export' else '_extra_files'): found})
    return json.loads(found['convnext_dense.json'])


@pytest.mark.slow
@pytest.mark.parametrize('name', FORMS)
def test_any_size(name: str, tmp_path: Path) -> None:
    graph = SegmentorGraph(exportable()).eval()
    path = tmp_path / f'model{FORMS[name].suffix}'
    FORMS[name].write(graph, path, None, META)
    run = FORMS[name].run(path)
    for shape in ((1, 64, 64), (3, 101, 67), (1, 96, 352)):
        image = pictures(*shape)
        with torch.no_grad():
            classes, logits = (x.numpy() for x in graph(torch.from_numpy(image)))
        got, values = run(image)
        assert np.abs(values - logits).max() < 1e-5 * np.abs(logits).max()
        assert got.shape == classes.shape and (got == classes).mean() > 0.9999
    assert described(name, path) == META
    assert not list(tmp_path.glob('*.partial'))


@pytest.mark.slow
def test_one_size(tmp_path: Path) -> None:
    graph, path = SegmentorGraph(exportable()).eval(), tmp_path / 'model.onnx'
    FORMS['onnx'].write(graph, path, (64, 80), META)
    run = FORMS['onnx'].run(path)
    assert run(pictures(1, 64, 80))[0].shape == (1, 64, 80) and example((64, 80)).shape == (1, 64, 80, 3)
    with pytest.raises(Exception, match='dimension'):
        run(pictures(1, 64, 96))


def test_what_is_not_installed(monkeypatch) -> None:
    check_installed(list(FORMS))
    monkeypatch.setitem(sys.modules, 'openvino', None)
    with pytest.raises(InputError, match=r"--to openvino: expected openvino, .*; pip install 'convnext-dense\[export\]'"):
        check_installed(['onnx', 'openvino'])
    check_installed(['onnx'])

"""Each form of file is written, carries its description, and gives by its own runtime what the graph gives, at other sizes."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from export_models import exportable, pictures
from models import photograph
from two_stage import RECIPES, built, expect_same, found, small_config

from convnext_dense import InputError
from convnext_dense.export.detector_graph import DetectorGraph
from convnext_dense.export.graphs import DETECTOR, SEGMENTOR, Graph
from convnext_dense.export.runtimes import FORMS, check_installed
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


def graph_of_segmentor(size=None, resize=None, raw=False) -> Graph:
    module = SegmentorGraph(exportable(), resize=resize, raw=raw).eval()
    return Graph(module, SEGMENTOR, size, raw, True, None, resize)


@pytest.mark.slow
@pytest.mark.parametrize('name', FORMS)
@pytest.mark.parametrize('resize', [None, dict(scale=[150, 100], keep_ratio=True)])
def test_any_size(name: str, resize: dict | None, tmp_path: Path) -> None:
    graph = graph_of_segmentor(resize=resize)
    path = tmp_path / f'model{FORMS[name].suffix}'
    FORMS[name].write(graph, path, META)
    run = FORMS[name].run(path)
    for shape in ((1, 64, 64), (3, 101, 67), (1, 96, 352)):
        image = pictures(*shape)
        with torch.no_grad():
            classes, logits = (x.numpy() for x in graph.module(torch.from_numpy(image)))
        got, values = run(image)
        assert np.abs(values - logits).max() < 1e-5 * np.abs(logits).max()
        assert got.shape == classes.shape and (got == classes).mean() > 0.9999
    assert described(name, path) == META
    assert not list(tmp_path.glob('*.partial'))


@pytest.mark.slow
def test_raw(tmp_path: Path) -> None:
    graph, path = graph_of_segmentor(raw=True), tmp_path / 'model.onnx'
    FORMS['onnx'].write(graph, path, META)
    x = np.random.default_rng(0).normal(size=(2, 3, 101, 67)).astype(np.float32)
    with torch.no_grad():
        classes, logits = (part.numpy() for part in graph.module(torch.from_numpy(x)))
    got, values = FORMS['onnx'].run(path)(x)
    assert np.abs(values - logits).max() < 1e-5 * np.abs(logits).max() and (got == classes).mean() > 0.9999


@pytest.mark.slow
def test_one_size(tmp_path: Path) -> None:
    graph, path = graph_of_segmentor((64, 80)), tmp_path / 'model.onnx'
    FORMS['onnx'].write(graph, path, META)
    run = FORMS['onnx'].run(path)
    assert run(pictures(1, 64, 80))[0].shape == (1, 64, 80)
    with pytest.raises(Exception, match='dimension'):
        run(pictures(1, 64, 96))


@pytest.mark.slow
@pytest.mark.parametrize('kind', RECIPES)
@pytest.mark.parametrize('name', FORMS)
def test_detectors(name: str, kind: str, tmp_path: Path) -> None:
    """Of any size, with the resize and the pasting inside."""
    resize = dict(scale=[200, 130], keep_ratio=True)
    module = DetectorGraph(built(small_config(kind)), resize, full=True)
    graph = Graph(module, DETECTOR | dict(masks='pasted'), None, False, False, 'full', resize)
    path = tmp_path / f'model{FORMS[name].suffix}'
    FORMS[name].write(graph, path, META)
    run = FORMS[name].run(path)
    for height, width in ((128, 160), (131, 97), (65, 300)):
        picture = photograph(height, width, 0)
        with torch.no_grad():
            want = found(module(torch.from_numpy(picture)[None]))
        got = found(tuple(run(picture[None])))
        expect_same(got[:3], want[:3], pixels=0.01)
        assert got[3].shape[1:] == (height, width) and got[3].any()
        assert (got[3].sum(0) != want[3].sum(0)).float().mean() < 1e-3  # whatever the order of equal scores
    assert described(name, path) == META


def test_what_is_not_installed(monkeypatch) -> None:
    check_installed(list(FORMS))
    monkeypatch.setitem(sys.modules, 'openvino', None)
    with pytest.raises(InputError, match=r"--to openvino: expected openvino, .*; pip install 'convnext-dense\[export\]'"):
        check_installed(['onnx', 'openvino'])
    check_installed(['onnx'])

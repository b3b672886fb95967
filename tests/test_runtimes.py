"""Each form of file is written, carries its description, and gives by its own runtime what the graph gives, at other sizes."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from export_models import exportable, pictures
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from models import photograph
from two_stage import built, found, small_config

from convnext_dense import InputError
from convnext_dense.export import segmentor_graph
from convnext_dense.export.detector_graph import DetectorGraph
from convnext_dense.export.graphs import DETECTOR, SEGMENTOR, Graph
from convnext_dense.export.names import SUFFIXES
from convnext_dense.export.parity import Limits, compare_objects
from convnext_dense.export.runtimes import FORMS, check_installed, onnx_program, parts, size_of
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
def test_any_size(tmp_path: Path, monkeypatch) -> None:
    """All forms in one test: most of their time is that of the recording and of ONNX's graph, which they share."""
    monkeypatch.setattr(segmentor_graph, 'LEAST_CHANNELS', 16)  # with minimal filtering, as in a head of the usual width
    graph = graph_of_segmentor(resize=dict(scale=[150, 100], keep_ratio=True))
    for name in FORMS:
        path = tmp_path / name / f'model{SUFFIXES[name]}'
        path.parent.mkdir()
        FORMS[name].write(graph, path, META)
        assert {part.name for part in parts(name, path)} == {part.name for part in path.parent.iterdir()}
        assert size_of(name, path) == sum(part.stat().st_size for part in path.parent.iterdir())
        run = FORMS[name].run(path)
        for shape in ((1, 64, 64), (3, 101, 67), (1, 96, 352)):
            image = pictures(*shape)
            with torch.no_grad():
                classes, logits = (x.numpy() for x in graph.module(torch.from_numpy(image)))
            got, values = run(image)
            assert np.abs(values - logits).max() < 1e-5 * np.abs(logits).max(), name
            assert got.shape == classes.shape and (got == classes).mean() > 0.9999, name
        assert described(name, path) == META
    (image,), (classes, logits) = (getattr(onnx_program(graph).model.graph, kind) for kind in ('inputs', 'outputs'))
    assert [str(dim) for dim in image.shape] == ['batch', 'height', 'width', '3']
    assert [str(dim) for dim in classes.shape] == ['batch', 'height', 'width'] and str(logits.shape[0]) == 'batch'


@pytest.mark.slow
def test_raw(tmp_path: Path) -> None:
    graph, path = graph_of_segmentor(raw=True), tmp_path / 'model.ts'
    FORMS['torchscript'].write(graph, path, META)
    x = np.random.default_rng(0).normal(size=(2, 3, 101, 67)).astype(np.float32)
    with torch.no_grad():
        classes, logits = (part.numpy() for part in graph.module(torch.from_numpy(x)))
    got, values = FORMS['torchscript'].run(path)(x)
    assert np.abs(values - logits).max() < 1e-5 * np.abs(logits).max() and (got == classes).mean() > 0.9999


@pytest.mark.slow
def test_detectors(tmp_path: Path) -> None:
    """Of any size, with the resize and the pasting inside."""
    resize = dict(scale=[200, 130], keep_ratio=True)
    module = DetectorGraph(built(small_config('mask')), resize, full=True)
    graph = Graph(module, DETECTOR | dict(masks='pasted'), None, False, False, 'full', resize)
    expect_the_same(graph, list(FORMS), [(128, 160), (131, 97), (65, 300), (64, 64), (20, 300)], tmp_path)


@pytest.mark.slow
def test_a_cascade(tmp_path: Path) -> None:
    """As it comes, with the masks in their boxes; torch.export's program is what the two are made from."""
    graph = Graph(DetectorGraph(built(small_config('cascade'))), DETECTOR | dict(masks=''), None, False, False, 'crop', None)
    expect_the_same(graph, ['onnx', 'openvino'], [(128, 160), (131, 97), (64, 64), (20, 300)], tmp_path)


def expect_the_same(graph: Graph, names: list[str], sizes: list[tuple[int, int]], folder: Path) -> None:
    """A detector's files find what the graph finds in pictures of these sizes."""
    for name in names:
        path = folder / f'model{SUFFIXES[name]}'
        FORMS[name].write(graph, path, META)
        run = FORMS[name].run(path)
        for height, width in sizes:
            if name == 'torch-export' and min(height, width) < 65:  # see graphs.Graph.dynamic
                continue
            picture = photograph(height, width, 0)
            with torch.no_grad():
                boxes, scores, labels, masks = found(graph.module(torch.from_numpy(picture)[None]))
            if graph.masks == 'crop':
                masks = _do_paste_mask(masks[:, None], boxes, height, width, skip_empty=False)[0] >= 0.5
            theirs = [part.numpy() for part in (boxes, scores, labels, masks.bool())]
            row = compare_objects('one', (height, width), run(picture[None]), theirs, Limits(0.05, 40, 0.5))
            # Scores of an untrained model are nearly equal: rounding may keep the other one of two boxes that overlap.
            assert row.unmatched <= 1 and replace(row, unmatched=0).within and row.objects >= 20, f'{name}: {row}'
            assert theirs[3].any()
        assert described(name, path) == META


def test_what_is_not_installed(monkeypatch) -> None:
    check_installed(list(FORMS))
    monkeypatch.setitem(sys.modules, 'openvino', None)
    with pytest.raises(InputError, match=r"--to openvino: expected openvino, .*; pip install 'convnext-dense\[export\]'"):
        check_installed(['onnx', 'openvino'])
    check_installed(['onnx'])

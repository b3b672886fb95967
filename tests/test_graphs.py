"""What is known of a model's graph before it is written."""

import pytest
import torch
from export_models import pictures

from convnext_dense import InputError, load_model
from convnext_dense.export import segmentor_graph
from convnext_dense.export.detector_graph import DetectorGraph
from convnext_dense.export.graphs import Graph, graph_of
from convnext_dense.export.segmentor_graph import SegmentorGraph

SCALE = dict(scale=[192, 192], keep_ratio=True)


def test_a_segmentors(segmentor_file: str) -> None:
    graph = graph_of(load_model(segmentor_file, device='cpu'), None, False, 'crop')
    assert isinstance(graph.module, SegmentorGraph) and list(graph.outputs) == ['classes', 'logits'] and graph.masks is None
    assert graph.batch and graph.resize is None and graph.example().shape[0] == 2
    assert sorted(graph.dynamic()[0]) == [0, 1, 2]


def test_what_a_file_of_eight_bits_is_made_from(segmentor_file: str, detector_file: str, monkeypatch) -> None:
    for file in (segmentor_file, detector_file):  # of few channels, and without a fused head
        graph = graph_of(load_model(file, device='cpu'), None, False, 'crop')
        assert graph.in_integers() is graph
    monkeypatch.setattr(segmentor_graph, 'LEAST_CHANNELS', 16)
    graph = graph_of(load_model(segmentor_file, device='cpu'), None, False, 'crop')
    direct = graph.in_integers()
    assert graph.module.head.levels and not direct.module.head.levels and direct.module.backbone is graph.module.backbone
    with torch.no_grad():
        image = torch.from_numpy(pictures(1, 64, 96))
        torch.testing.assert_close(direct.module(image)[1], graph.module(image)[1], rtol=0, atol=1e-4)


def test_a_detectors(detector_file: str) -> None:
    model = load_model(detector_file, device='cpu')
    graph = graph_of(model, (100, 120), False, 'full')
    assert isinstance(graph.module, DetectorGraph) and list(graph.outputs) == ['boxes', 'scores', 'labels', 'masks']
    assert graph.masks == 'full' and graph.resize == SCALE and graph.module.picture.scaled is not None
    assert graph.example().shape == (1, 100, 120, 3) and graph.dynamic() is None
    raw = graph_of(model, None, True, 'crop')
    assert raw.resize == SCALE and raw.module.picture.scaled is None and raw.example().shape[:2] == (1, 3)
    assert sorted(raw.dynamic()[0]) == [2, 3] and raw.example().dtype == torch.float32


def test_a_pipeline_of_other_steps(segmentor_file: str) -> None:
    model = load_model(segmentor_file, device='cpu')
    model.cfg.test_dataloader.dataset.pipeline.insert(1, dict(type='Resize', scale_factor=0.5))
    with pytest.raises(InputError, match='--raw'):
        graph_of(model, None, False, 'crop')
    graph = graph_of(model, None, True, 'crop')
    assert isinstance(graph, Graph) and 'scale_factor' in graph.resize['steps']

"""What stands in a file about itself: what `exported_about` reads is what is written."""

import hashlib
import json
from pathlib import Path

import pytest

from convnext_dense import load_model
from convnext_dense.export.about import described
from convnext_dense.export.graphs import graph_of
from convnext_dense.files import sha256
from convnext_dense.predict.exported_about import FORMAT, parsed
from convnext_dense.version import __version__


def test_a_segmentors(segmentor_file: str) -> None:
    model = load_model(segmentor_file, device='cpu')
    found = described(model, segmentor_file, graph_of(model, (64, 96), False, 'crop'))
    assert found['format'] == FORMAT and found['made_by'] == f'convnext_dense {__version__}'
    assert found['checkpoint'] == Path(segmentor_file).name
    assert found['sha256'] == hashlib.sha256(Path(segmentor_file).read_bytes()).hexdigest() == sha256(segmentor_file)
    about = parsed(json.dumps(found))
    assert about.is_segmentor and about.size == (64, 96) and not about.raw and about.resize is None
    assert tuple(about.classes) == model.classes and list(found['outputs']) == ['classes', 'logits']


@pytest.mark.parametrize('raw', [True, False])
def test_a_detectors(raw: bool, detector_file: str) -> None:
    model = load_model(detector_file, device='cpu')
    found = described(model, detector_file, graph_of(model, None, raw, 'full'))
    about = parsed(json.dumps(found))
    assert not about.is_segmentor and about.raw is raw and about.masks == 'full' and about.mask_threshold == 0.5
    assert about.resize is not None and tuple(about.resize.scale) == (192, 192) and about.resize.keep_ratio
    assert list(about.mean) == found['mean'] and list(about.std) == found['std']
    assert found['input']['layout'] == ('BCHW' if raw else 'BHWC') and len(found['mean']) == 3

"""The benchmark of exported files: its ways give the same classes, and its processes answer."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from export_models import exportable, pictures
from exported_files import write

from convnext_dense.benchmark.exports import OURS, PLAIN, PROGRAM, agreement, fresh, torch_step, weight
from convnext_dense.export.segmentor_graph import SegmentorGraph


def test_pytorchs_step() -> None:
    import torch

    model, image = exportable(), pictures(1, 64, 96)
    with torch.no_grad():
        classes = SegmentorGraph(model)(torch.from_numpy(image))[0].numpy()
    assert (torch_step(model, image) == classes).all() and len(np.unique(classes)) > 1


def test_agreement() -> None:
    said: list[str] = []
    agreement(
        {OURS: np.array([1, 2, 3, 4]), PLAIN: np.array([1, 2, 3, 5]), 'file': [np.array([1, 2, 3, 4]), None]}, said.append
    )
    assert said == [f'{PLAIN}: 75.0000% of the pixels as in {OURS}', f'file: 100.0000% of the pixels as in {OURS}']


@pytest.mark.parametrize('suffix', ['.onnx', '.xml'])
def test_a_process_without_pytorch(suffix: str, tmp_path: Path) -> None:
    np.save(tmp_path / 'picture.npy', pictures(1, 64, 96))
    file = write(tmp_path / f'model{suffix}')
    seconds, peak = fresh('file', file, tmp_path)
    assert 0 < seconds < 120 and 20e6 < peak < 4e9
    assert weight(file) >= file.stat().st_size
    hidden = "import sys; sys.modules['torch'] = None\n"
    done = subprocess.run(
        [sys.executable, '-c', hidden + PROGRAM, '0', str(file), str(tmp_path / 'picture.npy')], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (tmp_path / 'broken.onnx').write_bytes(b'no model')
    with pytest.raises(RuntimeError, match='^file: '):
        fresh('file', tmp_path / 'broken.onnx', tmp_path)

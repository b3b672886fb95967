"""What is kept of evaluated models, made by hand: no model predicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from logs import a_run
from models import write_photograph
from test_seg_counts import blobs

from convnext_dense.report.collect import add_to
from convnext_dense.report.evaluated import BINS, FOLDER, MAPS, About, write_about, write_maps

CLASSES = ('sky <b>', 'tree', 'road', 'car')
PALETTE = [[120, 180, 240], [30, 140, 40], [90, 90, 90], [220, 40, 60]]


def spoiled(truth: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Class 2 taken for class 1 in squares, more of them for a larger share."""
    rng = np.random.default_rng(seed)
    grid = rng.random((truth.shape[0] // 10, truth.shape[1] // 10)) < share
    wrong = np.kron(grid, np.ones((10, 10))).astype(bool)
    return np.where(wrong & (truth == 2), 1, truth).astype(np.uint8)


def segmented(work_dir: Path, share: float = 0.3, pictures: int = 12, photos: Path | None = None, **about: object) -> About:
    """A run whose model takes a share of class 2 for class 1, on blobs; the log is that of `a_run`."""
    a_run(work_dir)
    (work_dir / FOLDER / MAPS).mkdir(parents=True)
    photos = photos or work_dir / 'photos'
    bins = np.zeros((BINS, 3))
    files = []
    for index in range(pictures):
        truth = blobs(index)
        truth[:2] = 255
        predicted = spoiled(truth % 255, share, 1000 + index)
        write_maps(work_dir / FOLDER / MAPS, index, truth, predicted)
        confidence = np.where(truth == predicted, 0.9, 0.6)
        add_to(bins, confidence[truth < 255], (truth == predicted)[truth < 255])
        files.append(str(write_photograph(photos / f'{index}.png', 90, 120, seed=index)))
    checkpoint = work_dir / 'iter_100.pth'
    checkpoint.write_bytes(b'x')
    stat = checkpoint.stat()
    found = About('segmentation', str(checkpoint), [stat.st_size, stat.st_mtime_ns], 100, '{}', {'mIoU': 70.0, 'aAcc': 90.0})
    found.classes, found.palette, found.pictures, found.calibration = list(CLASSES), PALETTE, files, bins.tolist()
    for name, value in about.items():
        setattr(found, name, value)
    write_about(work_dir, found)
    return found

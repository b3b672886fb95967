"""Predicting the classes of one photograph with the UperNet-T recipe: time, and the peak memory of a fresh process."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from mmseg.structures import SegDataSample
from rich.table import Table

from convnext_dense.benchmark.contest import DEVICE, OURS, answer_of, peak_bytes
from convnext_dense.benchmark.report import GIB
from convnext_dense.benchmark.rivals import Contender, our_upernet, stock_upernet

PHOTOGRAPH = (1536, 2048)  # height and width in pixels
CASES = {  # the size at which the network sees it, and whether through sliding windows
    'resized as in the recipe, windows of 512': ((512, 683), 'slide'),
    'in full size, windows of 512': (PHOTOGRAPH, 'slide'),
    'in full size, whole': (PHOTOGRAPH, 'whole'),
}
PATHS: dict[str, Callable[[], Contender]] = {OURS: our_upernet, 'mmseg': stock_upernet}


def photograph() -> Table:
    table = Table('photograph of 2048x1536, 150 classes', 'path', 's', 'peak GiB', 'ours / peak')
    for case in CASES:
        found = {path: answer_of('convnext_dense.benchmark.photograph', case, path) for path in PATHS}
        for path, (seconds, peak) in found.items():
            table.add_row(case, path, f'{seconds:.1f}', f'{peak / GIB:.2f}', f'{found[OURS][1] / peak:.2f}')
        table.add_section()
    return table


def predict(case: str, path: str) -> tuple[float, int]:
    """Seconds of one prediction, and the peak memory in bytes."""
    size, mode = CASES[case]
    torch.manual_seed(0)
    model: Any = PATHS[path]().model.eval().to(DEVICE)
    model.test_cfg.mode = mode
    meta = dict(img_shape=size, pad_shape=size, ori_shape=PHOTOGRAPH, padding_size=[0, 0, 0, 0])
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    start = time.perf_counter()
    with torch.no_grad():
        model.predict(image, [SegDataSample(metainfo=meta)])[0].pred_sem_seg.data.cpu()
    return time.perf_counter() - start, peak_bytes()


if __name__ == '__main__':
    import mmseg.utils

    import convnext_dense.segmentation  # noqa: F401

    mmseg.utils.register_all_modules(init_default_scope=False)
    print(json.dumps(predict(*sys.argv[1:3])))

"""Logs of runs as mmengine writes them, without a run."""

from __future__ import annotations

import json
from pathlib import Path


def train_row(step: int, **more: object) -> dict:
    given = dict(base_lr=1e-3, lr=1e-3, data_time=0.01, grad_norm=1.0, loss=10 / step, time=0.2, iter=step, step=step)
    return {**given, 'decode.loss_ce': 7 / step, 'aux.loss_ce': 3 / step, 'memory': 500, **more}


def val_row(step: int, miou: float, **more: object) -> dict:
    return dict(aAcc=90.0, mIoU=miou, mAcc=80.0, data_time=0.01, time=0.1, step=step, **more)


def write_start(work_dir: Path, name: str, rows: list[dict], config: str = 'a = 1\n', rest: str = '') -> Path:
    folder = work_dir / name / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text(''.join(json.dumps(row) + '\n' for row in rows) + rest)
    (folder / 'config.py').write_text(config)
    return folder


def a_run(work_dir: Path, best: float = 80.0) -> Path:
    """100 iterations, validated at 50 and 100; best at 50."""
    rows = [train_row(10 * i) for i in range(1, 6)] + [val_row(50, best)]
    rows += [train_row(10 * i) for i in range(6, 11)] + [val_row(100, best - 5)]
    write_start(work_dir, '20260101_000000', rows)
    return work_dir

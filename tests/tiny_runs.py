"""A run of MMEngine's own runner that takes a fraction of a second: a tiny model on random samples."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import Dataset

import convnext_dense.training.register  # noqa: F401


class Samples(Dataset):
    """Eight samples of three numbers, to which each generator adds; `seen` are those that were read."""

    metainfo: ClassVar = dict(classes=('a',))

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        self.seen.append(index)
        return dict(x=torch.tensor([index + random.random(), np.random.rand(), torch.rand(1).item()]))


class Tiny(BaseModel):
    """A linear layer, a norm with running statistics and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))

    def forward(self, x: Any, mode: str = 'loss') -> Any:
        x = torch.stack(x) if isinstance(x, list) else x
        y = self.layers(x)
        return dict(loss=(y - x.sum(1, keepdim=True)).square().mean()) if mode == 'loss' else [y]


class Worse(BaseMetric):
    """A score that falls from evaluation to evaluation, so that patience runs out."""

    count = 0

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(0)

    def compute_metrics(self, results: list) -> dict[str, float]:
        Worse.count += 1
        return dict(score=1.0)


def runner(work_dir: Path, loop: dict[str, Any], accumulate: int = 1, **given: Any) -> Runner:
    """A runner by iterations where `loop` has max_iters, else by epochs; `given` are other entries of its config."""
    torch.manual_seed(5)
    by_epoch = 'max_epochs' in loop
    every = dict(by_epoch=by_epoch, interval=1) if by_epoch else dict(by_epoch=False, interval=2)
    val = dict(
        val_dataloader=dict(batch_size=2, dataset=Samples(), sampler=dict(type='DefaultSampler', shuffle=False)),
        val_cfg=dict(),
        val_evaluator=dict(type=Worse),
    )
    cfg = dict(
        model=Tiny(),
        work_dir=str(work_dir),
        train_cfg=dict(type='ResumableEpochLoop' if by_epoch else 'ResumableIterLoop') | loop,
        train_dataloader=dict(batch_size=2, dataset=dict(type=Samples), sampler=dict(type='DefaultSampler', shuffle=True)),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-2), accumulative_counts=accumulate),
        param_scheduler=dict(type='CosineAnnealingLR', by_epoch=by_epoch, T_max=9),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook') | every, logger=dict(type='LoggerHook', interval=1)),
        randomness=dict(seed=5),
        log_level='ERROR',
        experiment_name=f'tiny_{random.getrandbits(64):x}',
    )
    return Runner(**cfg | (val if 'val_interval' in loop else {}) | given)  # type: ignore[arg-type]


def state(made: Runner) -> list[Tensor]:
    """Weights, running statistics and the optimiser's state."""
    tensors = [*made.model.state_dict().values()]
    for values in made.optim_wrapper.optimizer.state.values():
        tensors += [value for value in values.values() if isinstance(value, Tensor)]
    return [tensor.clone() for tensor in tensors]


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))

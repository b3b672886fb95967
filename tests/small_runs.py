"""Runs of a few parameters through mmengine's own Runner, for tests of hooks."""

from pathlib import Path
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

import convnext_dense.training.register  # noqa: F401


class Numbers(Dataset):
    """Eight pairs of numbers."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([index, 1.0])


class Line(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(2, 4)

    def forward(self, inputs: list[torch.Tensor], mode: str) -> Any:
        out = self.layer(torch.stack(list(inputs)))
        return dict(loss=out.square().mean()) if mode == 'loss' else out


class Score(BaseMetric):
    """The scores that are given, one after the other."""

    def __init__(self, scores: list[float]) -> None:
        super().__init__()
        self.scores = list(scores)

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(0)

    def compute_metrics(self, results: list) -> dict[str, float]:
        return dict(acc=self.scores.pop(0))


def small_run(
    work_dir: Path, iterations: int = 6, epochs: int = 0, scores: list[float] | None = None, **given: Any
) -> Runner:
    """A runner of `iterations`, or of `epochs` of 4 iterations, whose `checkpoint` hook is given by its options."""
    hook = dict(type='SafeCheckpointHook', by_epoch=bool(epochs), interval=1) | given.pop('checkpoint', {})
    loader = dict(batch_size=2, num_workers=0, dataset=Numbers(), collate_fn=dict(type='pseudo_collate'))
    train = dict(type='EpochBasedTrainLoop', max_epochs=epochs) if epochs else dict(type='IterBasedTrainLoop', max_iters=iterations)
    options: dict[str, Any] = dict(
        model=Line(),
        work_dir=str(work_dir),
        train_dataloader=dict(loader, sampler=dict(type='DefaultSampler' if epochs else 'InfiniteSampler', shuffle=True)),
        train_cfg=train,
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.01)),
        default_hooks=dict(checkpoint=hook),
        randomness=dict(seed=0),
        experiment_name=f'{work_dir.name}_{small_run.count}',
    )
    small_run.count += 1
    if scores is not None:
        train['val_interval'] = given.pop('val_interval', 1)
        options |= dict(
            val_dataloader=dict(loader, sampler=dict(type='DefaultSampler', shuffle=False)),
            val_cfg=dict(),
            val_evaluator=Score(scores),
        )
    return Runner(**(options | given))


small_run.count = 0  # type: ignore[attr-defined]


def names(folder: Path) -> set[str]:
    """Of the files in a folder that checkpoints have to do with."""
    return {path.name for path in folder.iterdir() if path.is_file() and path.suffix != '.py'}

"""Runs of a few parameters and iterations for the guards: a loss, a picture or a gradient can be made not finite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from conftest import forgotten
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.utils.data import Dataset

import convnext_dense.training.register  # noqa: F401


class _Spoilt(torch.autograd.Function):
    """The same value, and a gradient of infinity."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * torch.inf


@DATASETS.register_module()
class TinyPictures(Dataset):
    """`size` pictures of 3 x 4 x 4; those in `nan` hold NaN, those in `spoilt` make the gradient infinite."""

    def __init__(self, size: int = 8, nan: Sequence[int] = (), spoilt: Sequence[int] = ()) -> None:
        self.size, self.nan, self.spoilt = size, nan, spoilt

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, Any]:
        x = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(index))
        if index in self.nan:
            x[0, 0, 0] = torch.nan
        sample = BaseDataElement(metainfo=dict(img_path=f'{index}.png', spoilt=index in self.spoilt))
        return dict(inputs=x, data_samples=sample)


@MODELS.register_module()
class TinyModel(BaseModel):
    """A convolution, a batch norm, a layer, and their mean square."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1)

    def init_weights(self) -> None:
        generator = torch.Generator().manual_seed(0)
        for param in self.parameters():
            param.data = torch.randn(param.shape, generator=generator) * 0.3

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        x = torch.stack(list(inputs)) if isinstance(inputs, (list, tuple)) else inputs
        out = self.head(self.norm(self.conv(x)))
        if any(sample.spoilt for sample in data_samples):
            out = _Spoilt.apply(out)
        return dict(loss_square=out.square().mean())


def tiny_run(folder: Path, iterations: int = 4, dataset: Any = None, wrapper: Any = None, **settings: Any) -> Runner:
    """A runner of one picture an iteration, in order; `settings` are the runner's."""
    loader = dict(
        batch_size=settings.pop('batch_size', 1),
        num_workers=settings.pop('num_workers', 0),
        dataset=dataset if dataset is not None else dict(type='TinyPictures'),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=pseudo_collate,
    )
    logger = dict(type='LoggerHook', interval=1)
    hooks = dict(logger=logger, checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=10**6))
    hooks.update(settings.pop('default_hooks', {}))
    return Runner(
        model=dict(type='TinyModel'),
        work_dir=str(folder),
        train_dataloader=loader,
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.01)) | (wrapper or {}),
        train_cfg=dict(type='ResumableIterLoop', max_iters=iterations) | settings.pop('train_cfg', {}),
        default_hooks=hooks,
        randomness=dict(seed=0),
        experiment_name=f'{folder.parent.name}_{folder.name}',
        default_scope='mmengine',
        **settings,
    )


def state_of(runner: Runner) -> list[Tensor]:
    """Every tensor of the model and of its optimiser, copied."""
    states = runner.optim_wrapper.optimizer.state.values()
    return [x.clone() for x in runner.model.state_dict().values()] + [v.clone() for s in states for v in s.values()]


__all__ = ['forgotten', 'state_of', 'tiny_run']

"""A step that ran out of memory, with what it held and what to change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.runner import Runner

from convnext_dense.text import listed
from convnext_dense.training.batches import samples_of, shapes_of
from convnext_dense.training.precision import Bf16OptimWrapper

WORDS = ("can't allocate memory", 'out of memory')  # of PyTorch's allocators, where they raise a plain RuntimeError


def is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in WORDS)
    )


@contextmanager
def step_described(runner: Runner, batch: Any) -> Iterator[None]:
    """An exception of too little memory leaves with an attribute `advice`: what the step held, and what to change."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error) and not hasattr(error, 'advice'):
            error.advice = f'not enough memory for {step_of(runner, batch)}'  # type: ignore[union-attr]
        raise


def step_of(runner: Runner, batch: Any) -> str:
    """What a training step held: pictures, objects, autocast; and what takes less."""
    wrapper = runner.optim_wrapper
    autocast = isinstance(wrapper, Bf16OptimWrapper) or hasattr(wrapper, 'loss_scaler')
    shapes = shapes_of(batch)
    size = len(shapes) or len(samples_of(batch)) or 1
    steps = getattr(wrapper, '_accumulative_counts', 1)
    words = [f'a step of {size} {"picture" if size == 1 else "pictures"}']
    if shapes:
        words[0] += f' ({listed(("x".join(map(str, shape)) for shape in shapes), 4)})'
    objects = [len(sample.gt_instances) for sample in samples_of(batch) if 'gt_instances' in sample]
    if objects:
        words.append(f'{listed(objects, 8)} objects')
    words.append(f'autocast {"on" if autocast else "off"}')
    changes = []
    if size > 1:
        changes.append(
            f'train_dataloader.batch_size={size // 2} with optim_wrapper.accumulative_counts={steps * -(-size // (size // 2))}'
            + (' for the same update' if size % 2 == 0 else '')
        )
    changes += ['a smaller crop or scale', *([] if autocast else ['--amp']), 'activation_checkpointing']
    return f'{", ".join(words)}: try {", ".join(changes[:-1])} or {changes[-1]}'

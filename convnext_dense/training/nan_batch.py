"""What is said and written of a batch after which a run of steps that are not finite stops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_rank, is_main_process
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from convnext_dense.errors import InputError, last_line
from convnext_dense.files import partial_file
from convnext_dense.training.batches import named_pictures, parts_of, pictures_of
from convnext_dense.training.first_not_finite import all_finite, first_not_finite
from convnext_dense.training.seeding import seed_generators


@dataclass
class Suspect:
    """A batch after which loss or gradients were not finite."""

    iteration: int  # from 0
    batch: Any
    bad: list[str]  # names of losses that are not finite
    losses: dict[str, float]


def stopped(runner: Runner, wrapper: OptimWrapper, suspect: Suspect, in_a_row: int) -> InputError:
    """The error that stops the run: first layer, pictures, and where the batch was written. All processes call it, and all
    are told of the first one that saw something."""
    layer = _search(runner, wrapper, suspect)
    if layer is None and suspect.bad:
        layer = f'none but {", ".join(suspect.bad)}'
    written = f'; {_write(runner, suspect, layer)}' if layer else ''
    spoilt = _spoilt(suspect.batch)
    advice = 'try a lower rate, clip_grad or no autocast, and --resume from a checkpoint of before'
    if spoilt:
        advice = f'repair {spoilt}, which holds values that are not finite'
    what = ', '.join(suspect.bad) or 'the gradient'
    where = layer or 'none, when the batch was run again'
    own = (
        f'last in iteration {suspect.iteration + 1} ({what}); first output or gradient that is not finite: {where}; '
        f'pictures: {named_pictures(suspect.batch)}{written}; {advice}'
    )
    told = next((words for saw, words in all_gather_object((bool(layer), own)) if saw), own)
    return InputError(f'training: expected finite losses and gradients, got {in_a_row} steps in a row without, {told}')


def _search(runner: Runner, wrapper: OptimWrapper, suspect: Suspect) -> str | None:
    """The layer's name, from running the batch again with its random numbers, where the loop's follow from the iteration."""
    seed = getattr(runner.train_loop, 'seed', None)
    if seed is not None:
        seed_generators(seed, suspect.iteration, get_rank())
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    try:
        return first_not_finite(model, wrapper, suspect.batch)
    except Exception as error:  # of a model that trains in a way of its own
        return f'unknown, since the batch could not be run again ({last_line(error)})'


def _inputs(batch: Any) -> list[Tensor]:
    inputs = batch.get('inputs', batch) if isinstance(batch, Mapping) else batch
    return [part.detach().cpu() for part in parts_of(inputs) if isinstance(part, Tensor)]


def _spoilt(batch: Any) -> str:
    """The pictures whose values are not finite as they were loaded."""
    inputs, pictures = _inputs(batch), pictures_of(batch)
    views = inputs if len(inputs) == len(pictures) else list(inputs[0]) if inputs and inputs[0].ndim == 4 else []
    return ', '.join(path for path, view in zip(pictures, views) if not all_finite(view))


def _write(runner: Runner, suspect: Suspect, layer: str | None) -> str:
    """Write the batch down; says where, or why it could not be."""
    rank = get_rank()
    path = Path(runner.work_dir, 'nan_batch.pth' if is_main_process() else f'nan_batch_rank{rank}.pth')
    content = dict(
        iteration=suspect.iteration + 1,
        seed=runner.seed,
        rank=rank,
        layer=layer,
        losses=suspect.losses,
        pictures=pictures_of(suspect.batch),
        inputs=_inputs(suspect.batch),
    )
    try:
        with partial_file(path) as partial:
            torch.save(content, partial)
    except Exception as error:  # a full disk, which is no reason to hide what was found
        return f'{path} could not be written ({last_line(error)})'
    return f'the batch is in {path}'

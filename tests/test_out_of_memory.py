"""A step that runs out of memory says what it held and what to change, and stays the error that it was."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import forgotten
from guard_runs import TinyModel, tiny_run
from mmengine.optim import OptimWrapper
from mmengine.structures import BaseDataElement, InstanceData

from convnext_dense.run.command import _advice
from convnext_dense.training.out_of_memory import is_out_of_memory, step_described, step_of
from convnext_dense.training.precision import Bf16OptimWrapper


def test_what_is_no_lack_of_memory() -> None:
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"))
    assert is_out_of_memory(MemoryError()) and not is_out_of_memory(RuntimeError('shape')) and not is_out_of_memory(KeyError())


def runner(cls: type = OptimWrapper, steps: int = 1) -> Any:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    return SimpleNamespace(optim_wrapper=cls(optimizer, accumulative_counts=steps))


def objects(count: int) -> BaseDataElement:
    return BaseDataElement(gt_instances=InstanceData(labels=torch.zeros(count)))


A, B = torch.zeros(3, 64, 96), torch.zeros(3, 32, 32)


@pytest.mark.parametrize(
    ('run', 'batch', 'words'),
    [
        (
            runner(),
            dict(inputs=[A, B], data_samples=[objects(7), objects(0)]),
            'a step of 2 pictures (3x64x96, 3x32x32), 7, 0 objects, autocast off: try train_dataloader.batch_size=1 with '
            'optim_wrapper.accumulative_counts=2 for the same update, a smaller crop or scale, --amp or '
            'activation_checkpointing',
        ),
        (
            runner(Bf16OptimWrapper, 2),
            dict(inputs=torch.zeros(8, 3, 64, 64)),
            'a step of 8 pictures (3x64x64, 3x64x64, 3x64x64, 3x64x64 and 4 more), autocast on: try '
            'train_dataloader.batch_size=4 with optim_wrapper.accumulative_counts=4 for the same update, a smaller crop or '
            'scale or activation_checkpointing',
        ),
        (
            runner(),
            dict(inputs=[A]),
            'a step of 1 picture (3x64x96), autocast off: try a smaller crop or scale, --amp or',
        ),
        (runner(), [A, A, A], 'try train_dataloader.batch_size=1 with optim_wrapper.accumulative_counts=3, a smaller'),
        (runner(), None, 'a step of 1 picture, autocast off'),
    ],
)
def test_what_a_step_held(run, batch: Any, words: str) -> None:
    assert words in step_of(run, batch)


def test_other_errors_and_the_first_words_stay() -> None:
    with pytest.raises(RuntimeError, match='shape') as error, step_described(runner(), None):
        raise RuntimeError('shape')
    assert not hasattr(error.value, 'advice')
    with pytest.raises(MemoryError) as error, step_described(runner(), None), step_described(runner(), [A]):
        raise MemoryError
    assert '3x64x96' in error.value.advice


@pytest.mark.parametrize('loop', ['ResumableIterLoop', 'ResumableEpochLoop'])
def test_a_run_of_too_much(tmp_path: Path, monkeypatch, loop: str) -> None:
    """The allocator's own refusal, of more than any machine has."""
    monkeypatch.setattr(TinyModel, 'forward', lambda *args, **kwargs: torch.empty(2**60))
    length = dict(max_iters=2) if 'Iter' in loop else dict(max_epochs=1)
    with forgotten():
        run = tiny_run(tmp_path, 2, batch_size=2)
        run._train_loop = dict(type=loop, **length)
        with pytest.raises(RuntimeError, match="can't allocate memory") as error:
            run.train()
    assert _advice(error.value).startswith(
        '; not enough memory for a step of 2 pictures (3x4x4, 3x4x4), autocast off: try train'
    )

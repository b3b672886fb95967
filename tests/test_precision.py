"""bf16 autocast on the CPU: forward passes in 16 bits, weights and their gradients in 32."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from convnext_dense.training.precision import Bf16OptimWrapper


def test_forward_in_bfloat16_and_weights_in_float32() -> None:
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper = OPTIM_WRAPPERS.build(dict(type='Bf16OptimWrapper', optimizer=optimizer, accumulative_counts=2))
    assert type(wrapper) is Bf16OptimWrapper
    before = model.weight.detach().clone()
    for step in range(2):
        with wrapper.optim_context(model):
            out = model(torch.ones(2, 4))
        assert out.dtype == torch.bfloat16 and model(torch.ones(2, 4)).dtype == torch.float32  # within the context alone
        wrapper.update_params(out.float().sum())
        assert torch.equal(model.weight, before) == (step == 0)  # gradients are added up, as the wrapper below does it
    assert model.weight.dtype == torch.float32
    torch.testing.assert_close(model.weight, before - 0.1 * 2)


def test_processes_wait_for_each_other_in_the_last_step_alone() -> None:
    """As the wrapper below has it: gradients that are still added up are not exchanged."""
    model, called = nn.Linear(1, 1), []

    @contextmanager
    def no_sync() -> Iterator[None]:
        called.append(1)
        yield

    model.no_sync = no_sync
    wrapper = Bf16OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), accumulative_counts=2)
    counts = []
    for _ in range(2):
        with wrapper.optim_context(model):
            wrapper.update_params(model(torch.ones(1, 1)).float().sum())
        counts.append(len(called))
    assert counts == [1, 1]


def test_the_context_ends_where_an_error_is_raised() -> None:
    wrapper = Bf16OptimWrapper(torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1))
    try:
        with wrapper.optim_context(nn.Linear(1, 1)):
            raise ZeroDivisionError
    except ZeroDivisionError:
        assert not torch.is_autocast_enabled('cpu')

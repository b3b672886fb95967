"""A step that is left out changes nothing; one that is made is the step of mmengine's wrapper, to the bit."""

import copy

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import nn

from convnext_dense.training.guarded_step import GuardedStep


def scaled(optimizer: torch.optim.Optimizer, scale: float, **settings: object) -> AmpOptimWrapper:
    """mmengine's wrapper with a scaler, which it makes on a GPU alone."""
    wrapper = AmpOptimWrapper.__new__(AmpOptimWrapper)
    OptimWrapper.__init__(wrapper, optimizer, **settings)
    wrapper.loss_scaler = torch.amp.GradScaler('cpu', init_scale=scale)
    wrapper._scale_update_param = wrapper.cast_dtype = None
    return wrapper


CLIPS = [None, dict(max_norm=0.5), dict(max_norm=0.5, norm_type=1), dict(type='value', clip_value=0.1)]


def norms() -> list[float]:
    history = MessageHub.get_current_instance().log_scalars.get('train/grad_norm')
    return [] if history is None else list(history.data[0])


@pytest.fixture(autouse=True)
def hub(forgotten_hub) -> None:
    """Each test has a message hub of its own."""


@pytest.fixture
def forgotten_hub():
    from conftest import forgotten

    with forgotten():
        MessageHub.get_instance('guarded_step')
        yield


@pytest.mark.parametrize('amp', [False, True])
@pytest.mark.parametrize('clip', CLIPS, ids=str)
def test_finite_steps_are_the_wrappers_own(clip, amp: bool) -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    twin = copy.deepcopy(model)
    x = torch.randn(6, 4)
    for one, guard in ((model, True), (twin, False)):
        optimizer = torch.optim.AdamW(one.parameters(), lr=0.1)
        make = (lambda *args, **kw: scaled(*args, 8.0, **kw)) if amp else OptimWrapper
        wrapper = make(optimizer, accumulative_counts=2, clip_grad=copy.deepcopy(clip))
        guarded = GuardedStep(wrapper) if guard else None
        for _ in range(4):
            wrapper.update_params(one(x).square().mean())
        if guarded:
            assert guarded.steps == 2 and guarded.skipped is False
            ours = norms()
            assert len(ours) == 2 and all(norm > 0 for norm in ours)
            guarded.remove()
            assert 'step' not in vars(wrapper) and 'scale_loss' not in vars(wrapper)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters()))
    if clip and 'max_norm' in clip:
        assert norms()[2:] == ours  # of the twin, as mmengine logs it


@pytest.mark.parametrize('clip', CLIPS, ids=str)
@pytest.mark.parametrize('what', ['loss', 'gradient'])
def test_a_step_that_is_not_finite_is_left_out(clip, what: str) -> None:
    model = nn.Linear(4, 3)
    wrapper = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=0.1), clip_grad=copy.deepcopy(clip))
    guarded = GuardedStep(wrapper)
    wrapper.update_params(model(torch.ones(1, 4)).sum())
    before = copy.deepcopy((model.state_dict(), wrapper.optimizer.state_dict()['state']))
    logged = norms()
    if what == 'loss':  # an infinite loss, whose own gradient is finite
        wrapper.update_params(model(torch.ones(1, 4)).sum() + torch.inf)
    else:
        wrapper.update_params(model(torch.full((1, 4), torch.inf)).sum() * 0)
    assert guarded.skipped and guarded.steps == 2
    after = (model.state_dict(), wrapper.optimizer.state_dict()['state'])
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert all(param.grad is None for param in model.parameters()) and norms() == logged
    wrapper.update_params(model(torch.ones(1, 4)).sum())
    assert guarded.skipped is False


@pytest.mark.parametrize('clip', CLIPS, ids=str)
def test_a_scaler_that_looks_for_its_scale_is_no_fault(clip) -> None:
    """The scaled gradient overflows until the scale is small enough: then it is a step."""
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(1.0)
    wrapper = scaled(torch.optim.SGD(model.parameters(), lr=0.1), 2.0**120, clip_grad=copy.deepcopy(clip))
    guarded, seen = GuardedStep(wrapper), []
    for _ in range(4):
        wrapper.update_params(model(torch.full((1, 1), 2.0**9)).sum())
        seen.append(guarded.skipped)
    assert seen[:2] == [None, None] and seen[-1] is False


def test_a_scaler_cannot_mend_a_loss_that_is_nan_nor_go_below_one() -> None:
    model = nn.Linear(1, 1)
    wrapper = scaled(torch.optim.SGD(model.parameters(), lr=0.1), 1024.0)
    guarded = GuardedStep(wrapper)
    wrapper.update_params(model(torch.full((1, 1), torch.nan)).sum())
    assert guarded.skipped and torch.isfinite(model.weight).all() and guarded.losses == []
    wrapper.loss_scaler.update(1.0)
    x = torch.ones(1, 1, requires_grad=True)
    x.register_hook(lambda gradient: gradient)
    model.weight.register_hook(lambda gradient: gradient * torch.inf)
    wrapper.update_params(model(x).sum())
    assert guarded.skipped and torch.isfinite(model.weight).all()

"""The first layer whose output is not finite, in the order of the forward pass; then the first gradient in that backwards."""

from typing import Any

import pytest
import torch
from guard_runs import TinyModel
from mmengine.optim import OptimWrapper
from mmengine.structures import BaseDataElement

from convnext_dense.training.first_not_finite import all_finite, first_not_finite


def batch(spoilt: bool = False, value: float = 1.0) -> dict[str, Any]:
    sample = BaseDataElement(metainfo=dict(img_path='a.png', spoilt=spoilt))
    return dict(inputs=[torch.full((3, 4, 4), value), torch.ones(3, 4, 4)], data_samples=[sample])


@pytest.mark.parametrize(
    ('spoil', 'found'),
    [
        (lambda model: None, None),
        (lambda model: model.conv.weight.data[0].fill_(torch.inf), 'conv (Conv2d)'),
        (lambda model: model.norm.weight.data[0].fill_(torch.nan), 'norm (BatchNorm2d)'),
        (lambda model: model.head.bias.data.fill_(torch.nan), 'head (Conv2d)'),
    ],
)
def test_layers_in_order(spoil, found: str | None) -> None:
    model = TinyModel()
    model.init_weights()
    spoil(model)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    assert first_not_finite(model, wrapper, batch()) == found
    assert not any(module._forward_hooks for module in model.modules())
    assert not any(param._backward_hooks for param in model.parameters())


def test_a_gradient_where_all_layers_are_finite() -> None:
    model = TinyModel()
    model.init_weights()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    assert first_not_finite(model, wrapper, batch(spoilt=True)).startswith('gradient of head.')
    before = [param.clone() for param in model.parameters()]
    first_not_finite(model, wrapper, batch())
    assert all(map(torch.equal, before, model.parameters()))  # no step


def test_hooks_are_gone_after_an_error_too() -> None:
    model = TinyModel()
    with pytest.raises(RuntimeError):
        first_not_finite(model, OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1)), dict(inputs=[torch.ones(7, 4, 4)]))
    assert not any(module._forward_hooks for module in model.modules())


def test_values_in_any_nesting() -> None:
    bad = torch.tensor([1.0, torch.nan])
    assert all_finite(dict(a=[torch.ones(2), (torch.ones(1, dtype=torch.long), 'text')], b=None))
    assert not all_finite(dict(a=[torch.ones(2), (dict(c=bad),)])) and all_finite([])

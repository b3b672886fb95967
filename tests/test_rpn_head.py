"""FastRPNHead's maps and gradients are RPNHead's."""

import pytest
import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope

from convnext_dense.detection.fast_conv import FastConv2d
from convnext_dense.detection.rpn_head import FastRPNHead


def pair(**options) -> list[RPNHead]:
    with DefaultScope.overwrite_default_scope('mmdet'):  # whatever a test before has left
        made = [kind(in_channels=4, feat_channels=8, **options).double() for kind in (FastRPNHead, RPNHead)]
    made[0].load_state_dict(made[1].state_dict(), strict=True)
    return made


def results(head: RPNHead, layout: torch.memory_format = torch.contiguous_format) -> list[torch.Tensor]:
    """Scores and boxes of two maps, and the gradients of maps and weights."""
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, 4, side, 9, dtype=torch.float64, generator=generator) for side in (7, 12)]
    maps = [m.contiguous(memory_format=layout).requires_grad_() for m in maps]
    scores, boxes = head(maps)
    values = [*scores, *boxes]
    grads = torch.autograd.grad(sum(value.square().sum() for value in values), [*maps, *head.parameters()])
    return [value.detach() for value in (*values, *grads)]


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last], ids=['channels first', 'channels last'])
def test_the_maps_and_their_gradients(always, layout: torch.memory_format) -> None:
    fast, plain = pair()
    assert type(fast.rpn_conv) is FastConv2d
    for ours, theirs in zip(results(fast, layout), results(plain), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_training_after_inference_mode(always, empty_caches) -> None:
    fast, plain = pair()
    with torch.inference_mode():
        fast([torch.randn(1, 4, 8, 8, dtype=torch.float64)])
    for ours, theirs in zip(results(fast), results(plain), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_several_convolutions_are_left_as_they_are() -> None:
    assert not any(isinstance(module, FastConv2d) for module in pair(num_convs=2)[0].modules())


def test_found_by_name() -> None:
    assert MODELS.get('FastRPNHead') is FastRPNHead

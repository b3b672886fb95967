"""FastConv2d against nn.Conv2d, and what it leaves to it."""

import pytest
import torch
from conftest import image

from convnext_dense.detection.fast_conv import FastConv2d


@pytest.mark.parametrize('options', [dict(padding=1), dict(padding=0), dict(padding=1, stride=2), dict(padding=1, groups=2)])
def test_the_layer_equals_conv2d(options, always):
    ours, theirs = (kind(4, 6, 3, **options).double() for kind in (FastConv2d, torch.nn.Conv2d))
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = image(3, 4, 14, 14, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-11, atol=1e-11)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert ours.float()(x.float()).dtype == torch.bfloat16


@pytest.mark.parametrize('shape, dtype', [((1, 5, 14, 14), torch.float64), ((1, 4, 14, 14), torch.float32)], ids=str)
def test_what_does_not_fit_is_refused_as_by_conv2d(shape, dtype, always):
    x, words = torch.zeros(shape, dtype=dtype), []
    for kind in (FastConv2d, torch.nn.Conv2d):
        with pytest.raises(RuntimeError) as caught:
            kind(4, 6, 3, padding=1).double()(x)
        words.append(str(caught.value))
    assert words[0] == words[1]
    assert FastConv2d(4, 6, 3, padding=1)(torch.zeros(4, 8, 9)).shape == (6, 8, 9)  # unbatched, as nn.Conv2d takes it


def results(layer: torch.nn.Conv2d, x: torch.Tensor) -> list[torch.Tensor]:
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    out = layer(x)
    return [out.detach(), *torch.autograd.grad(out.square().sum(), [x, *layer.parameters()])]


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last], ids=['channels first', 'channels last'])
@pytest.mark.parametrize('mode', ['training', 'training after inference mode'])
def test_values_and_gradients_equal_conv2d(layout, mode, always, empty_caches):
    ours, theirs = (kind(4, 6, 3, padding=1).double() for kind in (FastConv2d, torch.nn.Conv2d))
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = image(3, 4, 13, 14, dtype=torch.float64).contiguous(memory_format=layout)
    if mode != 'training':
        with torch.inference_mode():
            torch.testing.assert_close(ours(x), theirs(x), rtol=1e-11, atol=1e-11)
    for got, expected in zip(results(ours, x), results(theirs, x), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)

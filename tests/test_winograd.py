"""3x3 convolutions by minimal filtering against F.conv2d."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from convnext_dense.kernels import winograd
from convnext_dense.kernels.winograd import conv3x3


def tensors(batch, channels, out, height, width, dtype=torch.float64, bias=True):
    generator = torch.Generator().manual_seed(0)
    shapes = [(batch, channels, height, width), (out, channels, 3, 3)] + [(out,)] * bias
    made = [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]
    made[0] = made[0].contiguous(memory_format=torch.channels_last)
    return [t.requires_grad_() for t in made]


def results(run, inputs):
    out = run(*inputs)
    return [out.detach(), *torch.autograd.grad(out, inputs, torch.cos(out.detach()))]


def stock(x, weight, bias=None):
    return F.conv2d(x, weight, bias, padding=1)


@pytest.mark.parametrize('size', [(1, 5, 4, 8, 8), (2, 3, 7, 9, 11), (4, 2, 3, 1, 1), (3, 4, 4, 2, 13), (1, 3, 2, 17, 4)])
@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('strip', [1, 500, 10**6], ids=['rows', 'strips', 'whole'])
def test_equals_conv2d(size, bias, strip, always, monkeypatch):
    monkeypatch.setattr(winograd, 'STRIP_VALUES', strip)
    inputs = tensors(*size, bias=bias)
    assert winograd.is_faster(*inputs[:2])
    for ours, theirs in zip(results(conv3x3, inputs), results(stock, inputs)):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


def test_float32_is_as_exact_as_a_direct_convolution():
    inputs = tensors(1, 256, 256, 64, 66, torch.float32)
    assert winograd.is_faster(*inputs[:2])
    exact = results(stock, [t.detach().double().requires_grad_() for t in inputs])
    for value, ours, theirs in zip(exact, results(conv3x3, inputs), results(stock, inputs)):
        error, usual = ((t.double() - value).abs().max() for t in (ours, theirs))
        assert error <= max(2 * usual, 1e-6 * value.abs().max())


def test_gradcheck(always):
    assert gradcheck(conv3x3, tensors(2, 2, 3, 5, 4), fast_mode=True)


def test_small_maps_and_sixteen_bits_are_left_to_pytorch():
    for x, weight in [
        (torch.zeros(1, 512, 16, 16), torch.zeros(512, 512, 3, 3)),
        (torch.zeros(1, 512, 128, 128, dtype=torch.bfloat16), torch.zeros(512, 512, 3, 3, dtype=torch.bfloat16)),
        (torch.zeros(1, 64, 128, 128), torch.zeros(64, 64, 3, 3)),
    ]:
        assert not winograd.is_faster(x, weight)


def test_which_convolutions_it_computes():
    assert winograd.is_3x3(torch.nn.Conv2d(2, 2, 3, padding=1))
    others = [
        dict(padding=0),
        dict(stride=2),
        dict(stride=(2, 1)),
        dict(dilation=2),
        dict(groups=2),
        dict(padding_mode='reflect'),
    ]
    assert not any(winograd.is_3x3(torch.nn.Conv2d(2, 2, 3, **dict(padding=1) | other)) for other in others)
    assert not winograd.is_3x3(torch.nn.Conv2d(2, 2, (3, 1), padding=1))

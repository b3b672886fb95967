"""The depthwise convolution's backward pass against autograd's."""

import pytest
import torch
import torch.nn.functional as F
from conftest import rounding
from torch.autograd import gradcheck

from convnext_dense.kernels import depthwise
from convnext_dense.kernels.depthwise import depthwise_conv, weight_grad_by_parts


def tensors(batch, channels, height, width, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = (batch, channels, height, width), (channels, 1, 7, 7), (channels,)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes]


def gradients(run, inputs):
    out = run(*inputs)
    return [out.detach(), *torch.autograd.grad(out, inputs, torch.cos(out.detach()))]


def stock(x, weight, bias):
    return F.conv2d(x, weight, bias, padding=3, groups=len(weight))


@pytest.mark.parametrize('size', [(1, 3, 8, 12), (2, 2, 9, 7), (4, 1, 1, 1), (1, 2, 3, 30), (3, 2, 5, 6)])
@pytest.mark.parametrize('part', [1, 4, 32])
def test_weight_gradient_equals_autograd(size, part, monkeypatch):
    monkeypatch.setattr(depthwise, 'PART', part)
    x, weight, _ = tensors(*size)
    grad = torch.randn(x.shape, dtype=torch.float64)
    (expected,) = torch.autograd.grad(stock(x, weight, None), weight, grad)
    torch.testing.assert_close(weight_grad_by_parts(x.detach(), grad), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('layout', [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(
    'size', [(1, 5, 64, 64), (2, 12, 45, 31), (1, 2, 7, 7), (2, 820, 11, 12)], ids=['parts', 'odd', 'small', 'wide']
)
def test_equals_autograd(size, layout):
    inputs = tensors(*size, dtype=torch.float32)
    inputs[0] = inputs[0].detach().contiguous(memory_format=layout).requires_grad_()
    for ours, theirs in zip(gradients(depthwise_conv, inputs), gradients(stock, inputs)):
        assert (ours - theirs).abs().max() <= rounding(49, size[0] * size[2] * size[3]) * theirs.abs().max()


def test_bfloat16_is_as_near_to_float32_as_autograd():
    exact = gradients(stock, tensors(2, 16, 70, 70, torch.float32))
    inputs = tensors(2, 16, 70, 70, torch.bfloat16)
    for value, ours, theirs in zip(exact, gradients(depthwise_conv, inputs), gradients(stock, inputs)):
        assert (ours.float() - value).norm() <= 1.5 * (theirs.float() - value).norm() + 2e-3 * value.norm()


def test_gradcheck(monkeypatch):
    for smallest in (1, 1000):  # by parts, and as PyTorch does it
        monkeypatch.setitem(depthwise.MIN_VALUES, torch.float64, smallest)
        assert gradcheck(depthwise_conv, tensors(2, 2, 6, 5), fast_mode=True)


def test_only_what_is_asked_for_gets_a_gradient():
    x, weight, bias = tensors(1, 2, 8, 8)
    depthwise_conv(x.detach(), weight, bias.detach()).sum().backward()
    assert weight.grad is not None and x.grad is None and bias.grad is None

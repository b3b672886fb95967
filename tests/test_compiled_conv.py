"""The convolution that recorded graphs hold."""

import pytest
import torch
from conftest import image
from torch import nn

from convnext_dense.kernels import compiled_conv


@pytest.mark.parametrize(('kernel', 'stride', 'padding', 'groups'), [(4, 4, 0, 1), (2, 2, 0, 1), (7, 1, 3, 8)])
def test_recorded_convolution_is_a_sound_operator(kernel, stride, padding, groups):
    conv = nn.Conv2d(8, 8, kernel, stride, padding, groups=groups)
    x = image(2, 8, 13, 17).contiguous(memory_format=torch.channels_last).requires_grad_()
    torch.library.opcheck(compiled_conv._conv2d, (x, conv.weight, conv.bias, stride, padding, groups))
    grads = []
    for out in (compiled_conv._conv2d(x, conv.weight, conv.bias, stride, padding, groups), conv(x)):
        grads.append(torch.autograd.grad(out, (x, conv.weight, conv.bias), image(*out.shape, seed=1)))
    for ours, theirs in zip(*grads):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4)

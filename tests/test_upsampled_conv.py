"""Convolutions of upsampled maps at the maps' own size, against the convolution of the upsampled map."""

import torch
from torch import nn

from convnext_dense.kernels.upsampled_conv import conv_of_upsampled, fewer_multiplications, shifted_upsampling


def test_the_convolution_alone_and_its_gradients():
    generator = torch.Generator().manual_seed(0)
    for size, own in [((9, 14), (5, 7)), ((8, 8), (2, 8)), ((6, 7), (1, 1)), ((5, 5), (7, 3))]:
        x, weight = (torch.randn(s, generator=generator, dtype=torch.float64) for s in ((2, 3, *own), (4, 3, 3, 3)))
        x.requires_grad_(), weight.requires_grad_()
        base = torch.zeros(2, 4, *size, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
        for align in (False, True):
            high = nn.functional.interpolate(x, size=size, mode='bilinear', align_corners=align)
            expected = nn.functional.conv2d(high, weight, padding=1)
            torch.testing.assert_close(conv_of_upsampled(base.clone(), [x], [weight], align), expected)

            def run(x, weight, align=align, base=base):
                return conv_of_upsampled(base.clone(), [x], [weight], align)

            assert torch.autograd.gradcheck(run, (x, weight), fast_mode=True)


def test_shifted_upsampling_by_hand():
    # Two places to four: 1, 3/4 1/4, 1/4 3/4, 1; read one place before, at, and after.
    before, at, after = shifted_upsampling(4, 2, False, torch.float64, torch.device('cpu'))
    expected = torch.tensor([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]], dtype=torch.float64)
    zero = torch.zeros(1, 2, dtype=torch.float64)
    torch.testing.assert_close(at, expected)
    torch.testing.assert_close(before, torch.cat([zero, expected[:-1]]))
    torch.testing.assert_close(after, torch.cat([expected[1:], zero]))


def test_it_is_used_where_it_is_less_work():
    assert fewer_multiplications((128, 128), (64, 64), 512) and fewer_multiplications((16, 16), (6, 6), 512)
    assert not fewer_multiplications((128, 128), (128, 128), 512) and not fewer_multiplications((16, 16), (14, 16), 512)


def test_a_base_of_the_other_layout_is_added_to_as_well():
    generator = torch.Generator().manual_seed(0)
    base, x, weight = (torch.randn(s, generator=generator) for s in ((2, 4, 9, 14), (2, 3, 5, 7), (4, 3, 3, 3)))
    first, last = (base.clone(memory_format=f) for f in (torch.contiguous_format, torch.channels_last))
    got = conv_of_upsampled(first, [x], [weight], False)
    torch.testing.assert_close(got, conv_of_upsampled(last, [x], [weight], False))
    assert (got - base).abs().max() > 0.1

"""Compiled operators read memory as contiguous NCHW; whoever calls them need not know."""

from types import ModuleType

import pytest
import torch
from torch import Tensor

from convnext_dense.mmcv_ext.compiled import contiguous, make_safe
from convnext_dense.mmcv_ext.operators import OPERATORS


def raw(x: object) -> object:
    """A tensor as a kernel sees it that has its pointer and its shape alone."""
    if not isinstance(x, Tensor):
        return x
    dense = torch.empty(x.shape, device='meta').stride()
    return torch.as_strided(x, x.shape, dense, x.storage_offset())


def compiled(name: str):
    """A stand-in for mmcv's compiled operator: our numbers, read from and written to raw memory."""
    ours = OPERATORS[name]

    def operator(*args, **kwargs):
        return ours(*map(raw, args), **{key: raw(x) for key, x in kwargs.items()})

    operator.__name__ = name
    return operator


@pytest.fixture
def ext() -> ModuleType:
    module = ModuleType('mmcv._ext')
    module.__dict__.update({name: compiled(name) for name in OPERATORS})
    return module


def last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


ROIS = torch.tensor([[0.0, 1, 1, 20, 17], [1, 3, 0, 25, 19]])


def roi_align(ext: ModuleType, x: Tensor, grad: Tensor) -> list[Tensor]:
    """Output and gradient, allocated as mmcv/ops/roi_align.py does."""
    output, empty = x.new_zeros(2, 5, 4, 3), x.new_zeros(0)
    ext.roi_align_forward(
        x, ROIS, output, empty, empty, aligned_height=4, aligned_width=3, spatial_scale=0.5, sampling_ratio=2, pool_mode=1,
        aligned=True,
    )  # fmt: skip
    grad_input = torch.zeros_like(x)
    ext.roi_align_backward(
        grad, ROIS, empty, empty, grad_input, aligned_height=4, aligned_width=3, spatial_scale=0.5, sampling_ratio=2,
        pool_mode=1, aligned=True,
    )  # fmt: skip
    return [output, grad_input]


def deform(ext: ModuleType, x: Tensor, grad: Tensor) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    weight, bias = torch.randn(3, 5, 3, 3, generator=generator), torch.randn(3, generator=generator)
    offset, mask = torch.randn(2, 18, 11, 13, generator=generator), torch.rand(2, 9, 11, 13, generator=generator)
    if not x.is_contiguous():
        offset, mask, weight = last(offset), last(mask), last(weight)
    geometry = dict(
        kernel_h=3, kernel_w=3, stride_h=1, stride_w=1, pad_h=1, pad_w=1, dilation_h=1, dilation_w=1, group=1,
        deformable_group=1, with_bias=True,
    )  # fmt: skip
    output, empty = x.new_zeros(2, 3, 11, 13), x.new_zeros(0)
    ext.modulated_deform_conv_forward(x, weight, bias, empty, offset, mask, output, empty, **geometry)
    grads = [torch.zeros_like(part) for part in (x, weight, bias, offset, mask)]
    ext.modulated_deform_conv_backward(x, weight, bias, empty, offset, mask, empty, *grads, output, **geometry)
    return [output, *grads]


@pytest.mark.parametrize('call', [roi_align, deform])
def test_channels_last_maps_give_the_numbers_of_contiguous_ones(ext: ModuleType, call) -> None:
    torch.manual_seed(0)
    x, grad = torch.randn(2, 5, 11, 13), torch.randn(2, 5, 4, 3)
    expected = call(ext, x, grad)
    wrong = call(ext, last(x), last(grad))
    assert (wrong[0] - expected[0]).abs().max() > 1, 'the stand-in ought to misread channels-last maps'
    make_safe(ext)
    for got, right in zip(call(ext, last(x), last(grad)), expected):
        torch.testing.assert_close(got, right, rtol=1e-5, atol=1e-5)
    for got, right in zip(call(ext, x, grad), expected):
        assert torch.equal(got, right)


def test_an_input_is_not_taken_for_changed_and_an_output_is() -> None:
    """By its version, which autograd looks at; values that are no number are no change either."""
    seen = []

    def operator(points, output):
        seen.append((points.is_contiguous(), output.is_contiguous()))
        output.fill_(3)
        return 'answer'

    call = contiguous(operator)
    points, output = torch.full((3, 4), float('nan')).t(), torch.zeros(3, 4).t()
    before = points._version
    assert call(points, output=output) == 'answer'
    assert seen == [(True, True)]
    assert points._version == before
    assert (output == 3).all() and not output.is_contiguous()


def test_an_output_of_numbers_beside_nan_is_written() -> None:
    output = torch.full((2, 3), float('nan')).t()
    contiguous(lambda out: out.copy_(torch.arange(6).view(3, 2)))(output)
    assert output.tolist() == [[0, 1], [2, 3], [4, 5]]


def test_a_buffer_that_the_kernel_resizes() -> None:
    """As CARAFE's does with what its Python allocates like a map."""

    def carafe_backward(rtop_grad: Tensor, grad: Tensor) -> None:
        rtop_grad.resize_(2, 4, 3, 5).fill_(2)
        grad.fill_(1)

    buffer, grad = last(torch.zeros(2, 5, 4, 3)), last(torch.zeros(2, 5, 4, 3))
    contiguous(carafe_backward)(buffer, grad)
    assert buffer.shape == (2, 4, 3, 5) and (buffer == 2).all() and (grad == 1).all()


def test_functions_are_guarded_once(ext: ModuleType) -> None:
    make_safe(ext)
    guarded = ext.nms
    ext.version = '2.1.0'
    make_safe(ext)
    assert ext.nms is guarded and ext.version == '2.1.0'


def test_names_of_inputs_come_from_the_signature_that_pybind_writes() -> None:
    def operator(*args):
        args[0].fill_(7)

    operator.__doc__ = 'operator(input: torch.Tensor, output: torch.Tensor) -> None\n\nA sentence: more.'
    x, y = torch.zeros(2, 3).t(), torch.zeros(2, 3).t()
    contiguous(operator)(x, y)
    assert (x == 0).all()
    operator.__doc__ = 'operator(output: torch.Tensor, input: torch.Tensor) -> None'
    contiguous(operator)(x, y)
    assert (x == 7).all()

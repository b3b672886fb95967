"""The operators that are no public API of PyTorch or torchvision, as they were when the code that calls them was written."""

import re

import pytest
import torch
import torchvision  # noqa: F401, registers its operators
from conftest import ROOT

SCHEMAS = [
    'mkldnn::_linear_pointwise(Tensor X, Tensor W, Tensor? B, str attr, Scalar?[] scalars, str? algorithm) -> Tensor Y',
    'mkldnn::_linear_pointwise.binary(Tensor X, Tensor other, Tensor W, Tensor? B, str attr) -> Tensor Y',
    'aten::gelu.out(Tensor self, *, str approximate="none", Tensor(a!) out) -> Tensor(a!)',
    'aten::gelu_backward.grad_input(Tensor grad_output, Tensor self, *, str approximate="none", Tensor(a!) grad_input) -> '
    'Tensor(a!)',
    'aten::native_layer_norm_backward(Tensor grad_out, Tensor input, SymInt[] normalized_shape, Tensor mean, Tensor rstd, '
    'Tensor? weight, Tensor? bias, bool[3] output_mask) -> (Tensor, Tensor, Tensor)',
    'aten::convolution_backward(Tensor grad_output, Tensor input, Tensor weight, SymInt[]? bias_sizes, SymInt[] stride, '
    'SymInt[] padding, SymInt[] dilation, bool transposed, SymInt[] output_padding, SymInt groups, bool[3] output_mask) -> '
    '(Tensor, Tensor, Tensor)',
    'aten::upsample_bilinear2d_backward(Tensor grad_output, SymInt[2] output_size, SymInt[4] input_size, bool align_corners, '
    'float? scales_h=None, float? scales_w=None) -> Tensor',
    'torchvision::_roi_align_backward(Tensor grad, Tensor rois, float spatial_scale, SymInt pooled_height, '
    'SymInt pooled_width, SymInt batch_size, SymInt channels, SymInt height, SymInt width, int sampling_ratio, '
    'bool aligned) -> Tensor',
    'torchvision::deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, SymInt stride_h, SymInt '
    'stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w, SymInt groups, SymInt offset_groups, bool '
    'use_mask) -> Tensor',
    'torchvision::_deform_conv2d_backward(Tensor grad, Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, '
    'SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w, SymInt groups, SymInt '
    'offset_groups, bool use_mask) -> (Tensor, Tensor, Tensor, Tensor, Tensor)',
]


@pytest.mark.parametrize('schema', SCHEMAS, ids=lambda schema: schema.split('(')[0])
def test_an_operator_takes_and_returns_what_it_did(schema: str) -> None:
    space, name, overload = re.fullmatch(r'(\w+)::(\w+)(?:\.(\w+))?\(.*', schema).groups()
    if not torch.backends.mkldnn.is_available() and space == 'mkldnn':
        pytest.skip('PyTorch without oneDNN')
    found = str(getattr(getattr(getattr(torch.ops, space), name), overload or 'default')._schema)
    assert found == schema, 'PyTorch or torchvision changed it: look at who calls it'


def test_all_that_are_called_are_listed() -> None:
    text = ''.join(path.read_text() for path in (ROOT / 'convnext_dense').rglob('*.py'))
    called = set(re.findall(r'torch\.ops\.(\w+\.\w+)', text))
    assert called == {re.match(r'(\w+)::(\w+)', schema).expand(r'\1.\2') for schema in SCHEMAS}

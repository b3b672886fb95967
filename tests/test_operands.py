"""What the operators refuse, in one line that names the operator, what was expected and what was given."""

import pytest
import torch

from convnext_dense.errors import InputError
from convnext_dense.mmcv_ext import operands

X = torch.zeros(2, 3, 4, 5)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_reduced_precisions_are_lifted(dtype: torch.dtype) -> None:
    lifted = operands.lift(X.to(dtype))
    assert lifted.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize(
    'check, message',
    [
        (
            lambda: operands.check_floats('op', input=X.long()),
            r'^op: expected floating-point numbers in input, got torch\.int64$',
        ),
        (
            lambda: operands.check_floats('op', input=X, rois=X.to('meta')),
            '^op: expected all tensors on one device, got input on cpu, rois on meta$',
        ),
        (
            lambda: operands.check_precision('op', a=X, b=X.double()),
            r'^op: expected float64 in all tensors or in none, got a of torch\.float32, b of torch\.float64$',
        ),
        (lambda: operands.check_indices('op', target=X), r'^op: expected int64 in target, got torch\.float32$'),
        (
            lambda: operands.check_shape('op', 'rois', torch.zeros(3, 4), 'K', 5),
            r'^op: expected rois of shape \(K, 5\), got \(3, 4\)$',
        ),
        (lambda: operands.check_shape('op', 'rois', torch.zeros(3), 'K', 5), r'got \(3\)$'),
        (
            lambda: operands.check_finite('op', 'boxes', torch.tensor([[0.0, 1], [2, torch.nan]])),
            '^op: expected finite numbers in boxes, got 2 nan in row 1$',
        ),
        (
            lambda: operands.check_rois('op', X, torch.tensor([[1.0, 0, 0, 1, 1], [2, 0, 0, 1, 1]]), 5),
            '^op: expected batch indices from 0 to 1, got 2 in row 1 of rois$',
        ),
        (lambda: operands.check_rois('op', X, torch.tensor([[-1.0, 0, 0, 1, 1]]), 5), 'got -1 in row 0 of rois$'),
        (lambda: operands.check_rois('op', X[:0], torch.zeros(1, 5), 5), 'of no image at all, got 0'),
        (lambda: operands.check_rois('op', X[0], torch.zeros(1, 5), 5), r'expected input of shape \(B, C, H, W\)'),
    ],
)
def test_what_is_refused(check, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check()
    assert '\n' not in str(caught.value)


def test_what_is_taken() -> None:
    operands.check_floats('op', input=X, rois=X.double())
    operands.check_precision('op', a=X, b=X.half(), c=X.bfloat16())
    operands.check_indices('op', target=X.long())
    operands.check_shape('op', 'input', X, 2, 'C', 4, 'W')
    operands.check_rois('op', X, torch.zeros(0, 5), 5)
    operands.check_rois('op', X, torch.tensor([[0.0, 1, 1, 2, 2], [1, 0, 0, 1, 1]]), 5)

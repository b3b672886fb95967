"""A 3x3 convolution by minimal filtering, in operators that every runtime has."""

import pytest
import torch
import torch.nn.functional as F
from conftest import image

from convnext_dense.export.filtered_conv_graph import INPUT, KERNEL, OUTPUT, conv3x3


@pytest.mark.parametrize('size', [(16, 24), (13, 7), (1, 1), (4, 5)])
@pytest.mark.parametrize('biased', [True, False])
def test_it_equals_the_convolution(size: tuple[int, int], biased: bool) -> None:
    x, weight, bias = image(2, 6, *size), image(5, 6, 3, 3, seed=1), torch.linspace(-1, 1, 5) if biased else None
    expected = F.conv2d(x.double(), weight.double(), None if bias is None else bias.double(), padding=1)
    found = conv3x3(x, weight, bias)
    assert found.shape == expected.shape and found.dtype == torch.float32
    assert (found - expected).abs().max() < 2e-5 * expected.abs().max()
    exact = conv3x3(x.double(), weight.double(), None if bias is None else bias.double())
    assert (exact - expected).abs().max() < 1e-12 * expected.abs().max()


def test_the_matrices() -> None:
    """In one dimension: four outputs of three taps over six values, for every unit input and kernel."""
    into, kernel, out = (torch.tensor(matrix, dtype=torch.float64) for matrix in (INPUT, KERNEL, OUTPUT))
    for tap in range(3):
        taps = out @ torch.diag(kernel[:, tap]) @ into  # (4, 6): outputs from inputs
        torch.testing.assert_close(taps, torch.eye(6, dtype=torch.float64)[tap : tap + 4], rtol=0, atol=1e-14)

"""psa_mask of both types, against loops over pixels."""

import pytest
import torch
from torch.autograd import gradcheck

from convnext_dense.errors import InputError
from convnext_dense.mmcv_ext import psamask

psa_mask = pytest.importorskip('mmcv.ops.psa_mask').psa_mask
TYPES = {'collect': 0, 'distribute': 1}
# Feature height and width, mask height and width: smaller than the map, larger, of even sides.
SIZES = [(3, 4, 3, 5), (2, 3, 5, 7), (4, 3, 2, 4), (1, 5, 1, 3)]


def plain(x: torch.Tensor, kind: str, size: tuple[int, int]) -> torch.Tensor:
    batch, _, height, width = x.shape
    out = x.new_zeros(batch, height * width, height, width)
    for h in range(height):
        for w in range(width):
            for i in range(size[0]):
                for j in range(size[1]):
                    y, across = h + i - (size[0] - 1) // 2, w + j - (size[1] - 1) // 2
                    if 0 <= y < height and 0 <= across < width:
                        value = x[:, i * size[1] + j, h, w]
                        if kind == 'collect':
                            out[:, y * width + across, h, w] = value
                        else:
                            out[:, h * width + w, y, across] = value
    return out


@pytest.fixture(params=[None, 7], ids=['whole', 'in bands'])
def bands(request, monkeypatch) -> None:
    if request.param:
        monkeypatch.setattr(psamask, 'VALUES', request.param)


@pytest.mark.usefixtures('bands')
@pytest.mark.parametrize('sizes', SIZES)
@pytest.mark.parametrize('kind', TYPES)
def test_it_equals_a_loop_in_both_directions(kind: str, sizes: tuple[int, int, int, int]) -> None:
    height, width, *size = sizes
    x = torch.randn(2, size[0] * size[1], height, width, dtype=torch.float64)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    out = psa_mask(x, TYPES[kind], tuple(size))
    expected = plain(x, kind, tuple(size))
    assert torch.equal(out, expected)
    seed = torch.randn_like(out).contiguous(memory_format=torch.channels_last)
    assert torch.equal(*(torch.autograd.grad(y, x, seed)[0] for y in (out, expected)))


@pytest.mark.parametrize('kind', TYPES)
def test_gradients(kind: str) -> None:
    x = torch.randn(1, 15, 3, 4, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: psa_mask(x, TYPES[kind], (3, 5)), (x,))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_no_image_and_reduced_precision(dtype: torch.dtype) -> None:
    x = torch.randn(2, 9, 4, 3).to(dtype)
    assert torch.equal(psa_mask(x, 0, (3, 3)), plain(x, 'collect', (3, 3)))
    assert psa_mask(x[:0], 0, (3, 3)).shape == (0, 12, 4, 3)


def test_wrong_input() -> None:
    sizes = dict(num_=1, h_feature=2, w_feature=2, h_mask=3, w_mask=3, half_h_mask=1, half_w_mask=1)
    x, out = torch.zeros(1, 9, 2, 2), torch.zeros(1, 4, 2, 2)
    with pytest.raises(InputError, match=r'psamask_forward: expected psa_type 0 \(collect\) or 1 \(distribute\), got 2'):
        psamask.psamask_forward(x, out, psa_type=2, **sizes)
    with pytest.raises(InputError, match=r'psamask_forward: expected input of shape \(1, 9, 2, 2\), got \(1, 8, 2, 2\)'):
        psamask.psamask_forward(x[:, 1:], out, psa_type=0, **sizes)
    with pytest.raises(InputError, match=r'psamask_forward: expected floating-point numbers in input, got torch\.int64'):
        psamask.psamask_forward(x.long(), out, psa_type=0, **sizes)
    with pytest.raises(InputError, match=r'psamask_backward: expected .* of shape \(1, 4, 2, 2\), got \(1, 3, 2, 2\)'):
        psamask.psamask_backward(out[:, 1:], x, psa_type=0, **sizes)

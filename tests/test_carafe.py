"""CARAFE, against loops over pixels."""

import pytest
import torch
from torch.autograd import gradcheck

from convnext_dense.errors import InputError
from convnext_dense.mmcv_ext import carafe
from convnext_dense.mmcv_ext.carafe import carafe_forward, carafe_naive_backward, carafe_naive_forward

mmcv_ops = pytest.importorskip('mmcv.ops')
# Kernel, groups, scale, height, width.
CASES = [(3, 1, 2, 4, 3), (5, 2, 2, 3, 7), (1, 2, 3, 2, 2), (3, 4, 1, 5, 4)]


def inputs(kernel: int, groups: int, scale: int, height: int, width: int, dtype=torch.float64) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, height, width, dtype=torch.float64, generator=generator).to(dtype)
    shape = (2, groups * kernel**2, height * scale, width * scale)
    masks = torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype)
    return tuple(t.contiguous(memory_format=torch.channels_last) for t in (x, masks))


def plain(x: torch.Tensor, masks: torch.Tensor, kernel: int, groups: int, scale: int) -> torch.Tensor:
    batch, channels, height, width = x.shape
    per, edge = channels // groups, kernel // 2
    rows = []
    for y in range(height * scale):
        row = []
        for across in range(width * scale):
            total = x.new_zeros(batch, groups, per)
            for i in range(kernel):
                for j in range(kernel):
                    at = y // scale + i - edge, across // scale + j - edge
                    if 0 <= at[0] < height and 0 <= at[1] < width:
                        weight = masks[:, i * kernel + j :: kernel**2, y, across]  # (B, G)
                        total = total + weight[..., None] * x[:, :, at[0], at[1]].unflatten(1, (groups, per))
            row.append(total.flatten(1))
        rows.append(torch.stack(row, dim=-1))
    return torch.stack(rows, dim=-2)


@pytest.fixture(params=[None, 7], ids=['whole', 'in bands'])
def bands(request, monkeypatch) -> None:
    if request.param:
        monkeypatch.setattr(carafe, 'VALUES', request.param)


@pytest.mark.usefixtures('bands')
@pytest.mark.parametrize('case', CASES)
def test_it_equals_a_loop_in_both_directions(case: tuple[int, ...]) -> None:
    x, masks = (t.requires_grad_() for t in inputs(*case))
    out, expected = mmcv_ops.carafe(x, masks, *case[:3]), plain(x, masks, *case[:3])
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(mmcv_ops.carafe_naive(x, masks, *case[:3]), expected)
    seed = torch.randn_like(out)
    grads = [torch.autograd.grad(y, (x, masks), seed) for y in (out, expected)]
    torch.testing.assert_close(*grads)
    # mmcv's own wrapper takes the naive backward on a GPU alone.
    naive = [torch.ones_like(t) for t in (x, masks)]
    with torch.no_grad():
        carafe_naive_backward(seed, x, masks, *naive, *case[:3])
    torch.testing.assert_close(tuple(naive), tuple(grad + 1 for grad in grads[1]))


@pytest.mark.parametrize('case', CASES[:3])
def test_gradients(case: tuple[int, ...]) -> None:
    x, masks = (t[:1].requires_grad_() for t in inputs(*case))
    assert gradcheck(lambda *a: mmcv_ops.carafe(*a, *case[:3]), (x, masks), fast_mode=True)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_reduced_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    x, masks = (t.requires_grad_() for t in inputs(*CASES[1], dtype=dtype))
    whole = [t.detach().float().requires_grad_() for t in (x, masks)]
    outs = [mmcv_ops.carafe(*pair, *CASES[1][:3]) for pair in ((x, masks), whole)]
    assert torch.equal(outs[0], outs[1].to(dtype))
    for out in outs:
        out.sum().backward()
    for half, full in zip((x, masks), whole):
        assert torch.equal(half.grad, full.grad.to(dtype))


def test_the_module_and_no_image() -> None:
    x = torch.randn(1, 8, 3, 5, requires_grad=True)
    out = mmcv_ops.CARAFEPack(channels=8, scale_factor=2, compressed_channels=4)(x)
    assert out.shape == (1, 8, 6, 10)
    out.sum().backward()
    assert x.grad.isfinite().all() and x.grad.abs().sum() > 0
    x, masks = (t[:0].requires_grad_() for t in inputs(*CASES[0]))
    out = mmcv_ops.carafe(x, masks, *CASES[0][:3])
    assert out.shape == (0, 4, 8, 6)
    out.sum().backward()


def test_the_backward_reads_what_the_forward_wrote() -> None:
    x, masks = inputs(*CASES[0])
    buffers = [torch.empty(0, dtype=torch.float64) for _ in range(3)]
    carafe_forward(x, masks, *buffers, torch.empty(2, 4, 8, 6, dtype=torch.float64), *CASES[0][:3])
    assert torch.equal(buffers[0], x.permute(0, 2, 3, 1))


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(features=torch.zeros(2, 4, 4, 3).int()), r'expected floating-point numbers in features, got torch\.int32'),
        (dict(features=torch.zeros(2, 4, 4, 4)), r'expected masks of shape \(2, 9, 8, 8\), got \(2, 9, 8, 6\)'),
        (
            dict(masks=torch.zeros(2, 9, 8, 6, device='meta')),
            'expected all tensors on one device, got features on cpu, masks on meta',
        ),
        (dict(masks=torch.zeros(2, 9, 8, 6).double()), 'expected float64 in all .*, got features of .*32, masks of .*64'),
        (dict(kernel_size=2), 'expected an odd kernel_size, .* that divides 4 channels, got 2, 2 and 1'),
        (dict(group_size=3), 'expected an odd kernel_size, .* that divides 4 channels, got 3, 2 and 3'),
        (dict(output=torch.zeros(2, 4, 8, 8)), r'expected output of shape \(2, 4, 8, 6\), got \(2, 4, 8, 8\)'),
    ],
)
def test_wrong_input(change: dict, message: str) -> None:
    x, masks = inputs(*CASES[0], dtype=torch.float32)
    given = dict(features=x, masks=masks, output=torch.zeros(2, 4, 8, 6), kernel_size=3, group_size=1, scale_factor=2)
    with pytest.raises(InputError, match=f'^carafe.*: {message}'):
        carafe_naive_forward(**{**given, **change})

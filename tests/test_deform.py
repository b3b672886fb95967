"""Deformable convolution against plain sampling, and where mmcv's kernels differ from torchvision's."""

import pytest
import torch
import torch.nn.functional as F
from conftest import needs_lite
from torch.autograd import gradcheck

from convnext_dense.errors import InputError
from convnext_dense.mmcv_ext import deform

mmcv_ops = pytest.importorskip('mmcv.ops')
devices = pytest.mark.parametrize(
    'device',
    ['cpu', pytest.param('cuda', marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU'))],
)

GEOMETRY = dict(stride=2, padding=1, dilation=1, groups=2, deform_groups=2)


def deform_inputs(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 7, 6, dtype=torch.float64, generator=generator)
    weight = torch.randn(6, 2, 3, 3, dtype=torch.float64, generator=generator)
    offset = torch.randn(2, 2 * 2 * 9, 4, 3, dtype=torch.float64, generator=generator)
    mask = torch.rand(2, 2 * 9, 4, 3, dtype=torch.float64, generator=generator)
    bias = torch.randn(6, dtype=torch.float64, generator=generator)
    return [t.to(dtype) for t in (x, offset, mask, weight, bias)]


def plain_deform_conv(x, offset, mask, weight, bias):
    """Samples by grid_sample, one kernel point and offset group at a time, then a grouped product."""
    _, channels, height, width = x.shape
    out_h, out_w = offset.shape[2:]
    offset_groups, points = GEOMETRY['deform_groups'], 9
    columns = []
    for group in range(offset_groups):
        part = x[:, group * channels // offset_groups : (group + 1) * channels // offset_groups]
        samples = []
        for point in range(points):
            at = 2 * (group * points + point)
            base_y = torch.arange(out_h, dtype=x.dtype)[:, None] * GEOMETRY['stride'] - GEOMETRY['padding'] + point // 3
            base_x = torch.arange(out_w, dtype=x.dtype)[None, :] * GEOMETRY['stride'] - GEOMETRY['padding'] + point % 3
            py, px = base_y + offset[:, at], base_x + offset[:, at + 1]
            grid = torch.stack([2 * px / (width - 1) - 1, 2 * py / (height - 1) - 1], dim=-1)
            sample = F.grid_sample(part, grid, padding_mode='zeros', align_corners=True)
            samples.append(sample * mask[:, group * points + point, None])
        columns.append(torch.stack(samples, dim=2))  # (B, C / groups, points, h, w)
    unfolded = torch.cat(columns, dim=1)
    per = channels // GEOMETRY['groups']
    out = [
        torch.einsum('bcphw,ocp->bohw', unfolded[:, g * per : (g + 1) * per], weight.flatten(2)[g * 3 : (g + 1) * 3])
        for g in range(GEOMETRY['groups'])
    ]
    return torch.cat(out, dim=1) + bias[None, :, None, None]


@devices
def test_modulated_deform_conv_equals_plain_sampling(device: str) -> None:
    inputs = deform_inputs()
    ours = mmcv_ops.modulated_deform_conv2d(*(t.to(device) for t in inputs), *GEOMETRY.values())
    torch.testing.assert_close(ours.cpu(), plain_deform_conv(*inputs))


@devices
def test_deform_conv_equals_plain_sampling(device: str) -> None:
    x, offset, mask, weight, bias = deform_inputs()
    ours = mmcv_ops.deform_conv2d(x.to(device), offset.to(device), weight.to(device), *GEOMETRY.values())
    torch.testing.assert_close(ours.cpu(), plain_deform_conv(x, offset, torch.ones_like(mask), weight, torch.zeros_like(bias)))


def test_deform_conv_without_offsets_is_a_convolution() -> None:
    x, offset, _, weight, _ = deform_inputs()
    ours = mmcv_ops.deform_conv2d(x, torch.zeros_like(offset), weight, *GEOMETRY.values())
    torch.testing.assert_close(ours, F.conv2d(x, weight, stride=2, padding=1, groups=2))


def test_deform_conv_gradients() -> None:
    x, offset, mask, weight, bias = (t.requires_grad_() for t in deform_inputs())
    assert gradcheck(lambda *a: mmcv_ops.deform_conv2d(*a, *GEOMETRY.values()), (x, offset, weight))
    assert gradcheck(lambda *a: mmcv_ops.modulated_deform_conv2d(*a, *GEOMETRY.values()), (x, offset, mask, weight, bias))


def test_modulated_deform_conv_without_bias() -> None:
    x, offset, mask, weight, bias = (t.requires_grad_() for t in deform_inputs())
    ours = mmcv_ops.modulated_deform_conv2d(x, offset, mask, weight, None, *GEOMETRY.values())
    torch.testing.assert_close(ours, plain_deform_conv(x, offset, mask, weight, torch.zeros_like(bias)))
    ours.sum().backward()
    assert weight.grad.abs().sum() > 0 and bias.grad is None


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_deform_conv_in_reduced_precision(dtype: torch.dtype) -> None:
    inputs = deform_inputs(dtype)
    ours = mmcv_ops.modulated_deform_conv2d(*inputs, *GEOMETRY.values())
    assert ours.dtype == dtype
    torch.testing.assert_close(ours.float(), plain_deform_conv(*(t.float() for t in inputs)), rtol=0.05, atol=0.1)


def test_scale_of_the_weight_gradient_of_deform_conv() -> None:
    x, offset, _, weight, _ = deform_inputs()
    geometry = dict(dH=2, dW=2, padH=1, padW=1, dilationH=1, dilationW=1, group=2, deformable_group=2)
    grads = [torch.full_like(weight, 3.0) for _ in range(3)]
    for grad, scale in zip(grads, ({}, dict(scale=1), dict(scale=2.5))):
        deform.deform_conv_backward_parameters(x, offset, torch.ones(2, 6, 4, 3).double(), grad, x, x, **scale, **geometry)
    torch.testing.assert_close(grads[0], grads[1])
    torch.testing.assert_close(grads[2] - 3, 2.5 * (grads[1] - 3))
    assert (grads[1] != 3).all()  # added to what was there


@needs_lite
def test_the_kernel_of_deform_conv_runs_backwards_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, backward = [], deform._backward
    monkeypatch.setattr(deform, '_backward', lambda *a: calls.append(a) or backward(*a))
    x, offset, _, weight, _ = (t.requires_grad_() for t in deform_inputs())
    out = mmcv_ops.deform_conv2d(x, offset, weight, *GEOMETRY.values())
    every = torch.autograd.grad(out.square().sum(), (x, offset, weight), retain_graph=True)
    assert len(calls) == 1
    calls.clear()
    for tensor, grad in zip((x, offset, weight), every):  # each alone
        assert torch.equal(torch.autograd.grad(out.square().sum(), tensor, retain_graph=True)[0], grad)
    assert not deform._KEPT


def test_the_gradient_of_the_weight_is_of_what_is_given() -> None:
    geometry = dict(dH=2, dW=2, padH=1, padW=1, dilationH=1, dilationW=1, group=2, deformable_group=2)
    x, offset, _, weight, _ = deform_inputs()
    other = dict(input=x + 1, offset=offset + 0.1, geometry=geometry | dict(dilationH=2, padH=2))

    def gradient(grad, input=x, offset=offset, geometry=geometry):
        into = torch.zeros_like(weight)
        deform.deform_conv_backward_parameters(input, offset, grad, into, x, x, **geometry)
        return into

    for name, value in other.items():
        grad = torch.ones(2, 6, 4, 3).double()
        expected = gradient(grad, **{name: value})
        deform.deform_conv_backward_input(x, offset, grad, x.clone(), offset.clone(), weight, x, **geometry)
        assert torch.equal(gradient(grad, **{name: value}), expected), name
        assert not torch.equal(expected, gradient(grad))
    deform.deform_conv_backward_input(x, offset, grad, x.clone(), offset.clone(), weight, x, **geometry)
    assert len(deform._KEPT) == 1
    grad *= 2
    torch.testing.assert_close(gradient(grad), 2 * gradient(grad / 2))
    assert not deform._KEPT
    deform.deform_conv_backward_input(x, offset, grad, x.clone(), offset.clone(), weight, x, **geometry)
    del grad
    assert not deform._KEPT


def position(padding: int, stride: int, dilation: int, out: int, point: int) -> torch.Tensor:
    return torch.arange(out, dtype=torch.float64) * stride - padding + point * dilation


@pytest.mark.parametrize('modulated', [False, True])
def test_an_offset_outside_the_map_has_no_gradient(modulated: bool) -> None:
    """Zero offsets and padding 1: the first row and column lie at -1, the last at the size, where mmcv's gradient is none."""
    torch.manual_seed(0)
    x = torch.randn(2, 4, 6, 5, dtype=torch.float64)
    offset = torch.zeros(2, 18, 6, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 4, 3, 3, dtype=torch.float64)
    if modulated:
        out = mmcv_ops.modulated_deform_conv2d(x, offset, torch.ones(2, 9, 6, 5).double(), weight, None, 1, 1)
    else:
        out = mmcv_ops.deform_conv2d(x, offset, weight, 1, 1)
    (grad,) = torch.autograd.grad(out.square().sum(), offset)
    for point in range(9):
        y = position(1, 1, 1, 6, point // 3)[:, None].expand(6, 5)
        x_at = position(1, 1, 1, 5, point % 3).expand(6, 5)
        outside = (y <= -1) | (y >= 6) | (x_at <= -1) | (x_at >= 5)
        both = grad[:, 2 * point : 2 * point + 2]
        assert (both[..., outside] == 0).all(), point
        assert (both[..., ~outside] != 0).all(), point


def test_offsets_of_several_groups_outside_are_told_apart() -> None:
    """By hand: geometry of stride 2, dilation 2 and two offset groups; each moved offset has its own position."""
    torch.manual_seed(0)
    geometry = deform.Geometry(2, 1, 2, 1, 2, 1, 1, 2)
    x, weight = torch.zeros(1, 4, 7, 6), torch.zeros(2, 4, 3, 2)
    h, w = geometry.output(x, weight)
    offset = torch.randn(1, 2 * 2 * 6, h, w) * 4
    found = deform._outside(x, weight, offset, geometry)
    for group in range(2):
        for point in range(6):
            for row in range(h):
                for column in range(w):
                    at = 2 * (group * 6 + point)
                    y = row * 2 - 2 + point // 2 * 2 + float(offset[0, at, row, column])
                    x_at = column - 1 + point % 2 + float(offset[0, at + 1, row, column])
                    expected = y <= -1 or y >= 7 or x_at <= -1 or x_at >= 6
                    assert found[0, at, row, column] == found[0, at + 1, row, column] == expected


def prefix(values: torch.Tensor, height: int, width: int) -> torch.Tensor:
    return values.flatten(1)[:, : values.shape[1] * height * width].view(-1, values.shape[1], height, width)


@needs_lite
def test_an_output_smaller_than_its_offsets_reads_the_first_of_each_image() -> None:
    """DyHead's: offsets of the middle level on the next one. In both directions as with offsets cut by hand."""
    torch.manual_seed(0)
    x = torch.randn(2, 4, 4, 3, dtype=torch.float64)
    weight = torch.randn(5, 4, 3, 3, dtype=torch.float64)
    offset, mask = torch.randn(2, 18, 7, 6, dtype=torch.float64), torch.rand(2, 9, 7, 6, dtype=torch.float64)
    given = [t.requires_grad_() for t in (x, offset, mask, weight)]
    ours = mmcv_ops.modulated_deform_conv2d(*given, None, 1, 1)
    cut = [x, prefix(offset, 4, 3), prefix(mask, 4, 3), weight]
    theirs = mmcv_ops.modulated_deform_conv2d(*cut, None, 1, 1)
    assert ours.shape == (2, 5, 4, 3)
    assert torch.equal(ours, theirs)
    seed = torch.randn_like(ours)
    for got, expected in zip(torch.autograd.grad(ours, given, seed), torch.autograd.grad(theirs, given, seed)):
        assert torch.equal(got, expected)
    assert gradcheck(lambda *a: mmcv_ops.modulated_deform_conv2d(*a, None, 1, 1), given)


@needs_lite
def test_what_does_not_fit_is_said_with_the_name_of_the_operator() -> None:
    x, offset, mask, weight, _ = deform_inputs()
    call = mmcv_ops.modulated_deform_conv2d
    with pytest.raises(InputError, match='^modulated_deform_conv: expected offset of at least .* output, 4x3, got 2x3$'):
        call(x, offset[:, :, :2], mask, weight, None, *GEOMETRY.values())
    with pytest.raises(InputError, match='^modulated_deform_conv: expected mask of 2x18 maps, got 2x9x4x3$'):
        call(x, offset, mask[:, :9], weight, None, *GEOMETRY.values())
    with pytest.raises(InputError, match='^modulated_deform_conv: expected input of 4 channels .*, got 3$'):
        call(x[:, :3], offset, mask, weight, None, *GEOMETRY.values())
    with pytest.raises(InputError, match='^deform_conv: expected offset of the size of the output, 4x3, got 4x2$'):
        mmcv_ops.deform_conv2d(x, offset[..., :2], weight, *GEOMETRY.values())
    with pytest.raises(InputError, match='^deform_conv: expected offset of 2x36 maps, got 1x36x4x3$'):
        mmcv_ops.deform_conv2d(x, offset[:1], weight, *GEOMETRY.values())


def strange(modulated: bool, value: float, width: int) -> list[torch.Tensor]:
    """x, offset, mask and weight with one strange offset, of the place (2, 2) of the first image."""
    torch.manual_seed(0)
    offset = torch.zeros(2, 18, 9, width)
    offset[0, 0, 2, 2] = value
    x, mask, weight = torch.randn(2, 3, 9, width), torch.rand(2, 9, 9, width), torch.randn(4, 3, 3, 3)
    return [t.requires_grad_() for t in ((x, offset, mask, weight) if modulated else (x, offset, weight))]


@needs_lite
@pytest.mark.parametrize('modulated', [False, True])
@pytest.mark.parametrize('width', [9, 21, 101])
@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_an_offset_that_is_not_finite_gives_nan_at_its_place(modulated: bool, width: int, value: float) -> None:
    """torchvision's kernel reads anywhere, and the process ends."""
    call = mmcv_ops.modulated_deform_conv2d if modulated else mmcv_ops.deform_conv2d
    rest = (None, 1, 1) if modulated else (1, 1)
    given, plain = strange(modulated, value, width), strange(modulated, 0.0, width)
    out, expected = call(*given, *rest), call(*plain, *rest)
    bad = torch.zeros(2, 1, 9, width, dtype=torch.bool)
    bad[0, 0, 2, 2] = True
    assert out.isnan().equal(bad.expand_as(out))
    torch.testing.assert_close(out.masked_fill(bad, 0), expected.masked_fill(bad, 0))
    # Without that place in the loss, nothing of it is in the gradients.
    found = torch.autograd.grad(out.masked_fill(bad, 0).square().sum(), given, retain_graph=True)
    torch.testing.assert_close(found, torch.autograd.grad(expected.masked_fill(bad, 0).square().sum(), plain))
    assert torch.autograd.grad(call(*given, *rest).square().sum(), given)[-1].isnan().all()


@needs_lite
@pytest.mark.parametrize('modulated', [False, True])
@pytest.mark.parametrize('value', [1e30, -1e30, 3e9])
def test_a_huge_offset_samples_nothing(modulated: bool, value: float) -> None:
    call = mmcv_ops.modulated_deform_conv2d if modulated else mmcv_ops.deform_conv2d
    rest = (None, 1, 1) if modulated else (1, 1)
    given, plain = strange(modulated, value, 21), strange(modulated, -100.0, 21)
    outs = call(*given, *rest), call(*plain, *rest)
    torch.testing.assert_close(*outs)
    torch.testing.assert_close(*(torch.autograd.grad(y.square().sum(), t) for y, t in zip(outs, (given, plain))))


def forward(change: dict) -> None:
    names = ('input', 'offset', 'mask', 'weight', 'bias')
    given = dict(zip(names, deform_inputs(torch.float32))) | dict(ones=torch.empty(0), columns=torch.empty(0))
    geometry = dict(kernel_h=3, kernel_w=3, stride_h=2, stride_w=2, pad_h=1, pad_w=1, dilation_h=1, dilation_w=1)
    counts = dict(group=2, deformable_group=2, with_bias=True, output=torch.empty(2, 6, 4, 3))
    deform.modulated_deform_conv_forward(**(given | geometry | counts | change))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(bias=torch.zeros(5)), r'expected bias of shape \(6\), got \(5\)'),
        (dict(weight=torch.zeros(5, 2, 3, 3)), 'expected groups that divide the 5 channels of the output, got 2'),
        (dict(deformable_group=3), 'expected deform_groups that divide the 4 channels, got 3'),
        (dict(deformable_group=0), 'expected deform_groups that divide the 4 channels, got 0'),
        (dict(weight=torch.zeros(6, 2, 3)), r'expected weight of shape \(O, C / groups, kH, kW\), got \(6, 2, 3\)'),
        (dict(input=torch.zeros(4, 7, 6)), r'expected input of shape \(B, C, H, W\), got \(4, 7, 6\)'),
        (dict(weight=torch.zeros(6, 2, 3, 3, device='meta')), 'expected all tensors on one device, .* weight on meta'),
        (dict(weight=torch.zeros(6, 2, 3, 3).int()), r'expected floating-point numbers in weight, got torch\.int32'),
    ],
)
def test_wrong_input_is_one_line(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=f'^modulated_deform_conv: {message}[^\n]*$'):
        forward(change)


def test_the_parts_of_wrong_input_are_right() -> None:
    forward({})

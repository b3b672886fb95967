"""FastUPerHead against mmseg's UPerHead: outputs, every gradient, odd sizes."""

import pytest
import torch
from conftest import rounding
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads import UPerHead
from torch import nn
from torch.nn.utils import prune

from convnext_dense import InputError
from convnext_dense.segmentation import uper_head
from convnext_dense.segmentation.uper_head import FastUPerHead, convolve, fused_conv

IN = [8, 12, 16, 24]
SIZES = {
    'multiples': [(32, 48), (16, 24), (8, 12), (4, 6)],
    'odd image': [(33, 41), (16, 20), (8, 10), (4, 5)],
    'rounded up': [(33, 41), (17, 21), (9, 11), (5, 6)],
    'smallest': [(8, 8), (4, 4), (2, 2), (1, 1)],
    'no pyramid': [(7, 9), (7, 9), (7, 9), (7, 9)],
    'larger later': [(6, 9), (12, 5), (3, 20), (4, 4)],
}


# Lengths of the sums that follow on one another: a lateral, the bottleneck, the fusion, a batch norm's mean.
SUMS = (IN[-1], 9 * (IN[-1] + 4 * 16), 9 * 4 * 16, 4 * 33 * 41)


def head(kind: type, align_corners: bool = False, channels: int = 16, **options) -> UPerHead:
    torch.manual_seed(0)
    usual = dict(in_channels=IN, in_index=[0, 1, 2, 3], pool_scales=(1, 2, 3, 6), channels=channels, num_classes=5)
    made = kind(**usual | dict(norm_cfg=dict(type='BN'), dropout_ratio=0.0, align_corners=align_corners) | options)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean):
                tensor.data = torch.randn_like(tensor)
            module.running_var.uniform_(0.5, 2)
    return made


def pair(**options) -> list[UPerHead]:
    made = [head(kind, **options) for kind in (UPerHead, FastUPerHead)]
    made[1].load_state_dict(made[0].state_dict(), strict=True)
    return made


def pyramid(batch: int, sizes: list[tuple[int, int]], dtype: torch.dtype, channels_last: bool = True) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    maps = [torch.randn(batch, c, *size, generator=generator, dtype=torch.float64) for c, size in zip(IN, sizes)]
    return [m.to(dtype).contiguous(memory_format=layout) for m in maps]


def results(module: UPerHead, maps: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    module.zero_grad()
    inputs = [m.clone().requires_grad_() for m in maps]
    out = module(inputs)
    out.backward(torch.randn(out.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(out.dtype))
    values = {'output': out.detach()}
    values |= {f'map {i}': m.grad for i, m in enumerate(inputs)}
    values |= {name: param.grad for name, param in module.named_parameters() if param.grad is not None}
    values |= {name: buffer.clone() for name, buffer in module.named_buffers() if buffer.is_floating_point()}
    with torch.no_grad():
        return values | {'inference': module(maps)}


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], tolerance: float) -> None:
    assert ours.keys() == theirs.keys()
    # A convolution before a batch norm in training has gradients that are zero but for rounding: hence the floor.
    floor = 1e-3 * max(value.abs().max() for value in theirs.values())
    for name, value in theirs.items():
        difference = (ours[name] - value).abs().max() / value.abs().max().clamp_min(floor)
        assert difference <= tolerance, f'{name}: {difference:.1e}'


@pytest.mark.parametrize('sizes', SIZES.values(), ids=SIZES)
@pytest.mark.parametrize('batch', [1, 2, 3, 4])
@pytest.mark.parametrize('training', [True, False], ids=['training', 'inference'])
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32], ids=['f64', 'f32'])
def test_equals_mmseg(sizes, batch, training, dtype):
    if training and batch == 1:
        pytest.skip('batch norm of one pooled value has no variance')
    if training and batch == 2 and sizes[-1] == (1, 1) and dtype == torch.float32:
        pytest.skip('the gradient through a batch norm of two values is rounding alone')
    theirs, ours = (m.to(dtype).train(training) for m in pair(align_corners=batch % 2 == 0))
    maps = pyramid(batch, sizes, dtype)
    got, expected = results(ours, maps), results(theirs, maps)
    if dtype == torch.float64:
        assert_same(got, expected, 1e-9)
    else:  # gradients in float64 alone: where rounding takes a value over a ReLU's kink, a whole element changes
        assert_same(*({name: values[name] for name in ('output', 'inference')} for values in (got, expected)), rounding(*SUMS))


@pytest.mark.parametrize('training', [True, False], ids=['training', 'inference'])
def test_equals_mmseg_with_minimal_filtering(training, always):
    theirs, ours = (m.double().train(training) for m in pair())
    maps = pyramid(3, SIZES['odd image'], torch.float64)
    assert_same(results(ours, maps), results(theirs, maps), 1e-9)


@pytest.mark.parametrize('training', [True, False], ids=['training', 'inference'])
def test_equals_mmseg_on_channels_first_maps(training, always):
    theirs, ours = (m.double().train(training) for m in pair())
    maps = pyramid(3, SIZES['odd image'], torch.float64, channels_last=False)
    assert_same(results(ours, maps), results(theirs, maps), 1e-9)


def test_training_after_inference_mode(always, empty_caches):
    """What the first call keeps for the next ones can be trained with."""
    theirs, ours = (m.double() for m in pair())
    maps = pyramid(3, SIZES['odd image'], torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(maps), theirs.eval()(maps))
    assert_same(results(ours.train(), maps), results(theirs.train(), maps), 1e-9)


@pytest.mark.parametrize(
    'options', [dict(act_cfg=dict(type='GELU')), dict(act_cfg=None), dict(conv_cfg=dict(type='Conv2dAdaptivePadding'))]
)
def test_other_layers_than_the_usual(options):
    theirs, ours = (m.double().eval() for m in pair(**options))
    maps = pyramid(2, SIZES['multiples'], torch.float64)
    assert_same(results(ours, maps), results(theirs, maps), 1e-9)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=['bf16', 'fp16'])
@pytest.mark.parametrize('options', [{}, dict(norm_cfg=None)], ids=['BN', 'no norm'])
def test_sixteen_bits_are_as_near_to_float32_as_mmseg(dtype, options):
    theirs, ours = (m.eval() for m in pair(**options))
    maps = pyramid(2, SIZES['odd image'], torch.float32)
    with torch.no_grad():
        exact = theirs(maps)
        with torch.autocast('cpu', dtype=dtype):
            error, usual = ((m(maps).float() - exact).norm() for m in (ours, theirs))
    assert error <= 1.5 * usual


@pytest.mark.slow
def test_compiled_and_traced_heads_cut_no_graph():
    ours = head(FastUPerHead).eval()
    maps = pyramid(1, SIZES['multiples'], torch.float32)
    with torch.no_grad():
        expected = ours(maps)
        for other in (torch.compile(ours, backend='eager', fullgraph=True), torch.jit.trace(ours, (maps,))):
            torch.testing.assert_close(other(maps), expected, rtol=0, atol=rounding(*SUMS) * expected.abs().max().item())


def conv_module(**options) -> ConvModule:
    torch.manual_seed(0)
    module = ConvModule(16, 16, 3, padding=1, norm_cfg=dict(type='BN'), **options).eval()
    for tensor in (module.norm.weight, module.norm.bias, module.norm.running_mean):
        tensor.data = torch.randn_like(tensor)
    return module


UNUSUAL = [dict(), dict(order=('norm', 'conv', 'act')), dict(with_spectral_norm=True), dict(padding_mode='reflect')]


@pytest.mark.parametrize('watched', ['no', 'forward hook', 'forward pre-hook'])
@pytest.mark.parametrize('options', UNUSUAL, ids=str)
def test_unusual_convolutions_are_left_to_their_modules(options, watched):
    module, calls = conv_module(**options), []
    if watched == 'forward hook':
        module.conv.register_forward_hook(lambda *_: calls.append(1))
    if watched == 'forward pre-hook':
        module.conv.register_forward_pre_hook(lambda *_: calls.append(1))
    x, low = torch.randn(1, 4, 40, 40), torch.randn(1, 12, 10, 10)
    both = torch.cat([x, nn.functional.interpolate(low, size=(40, 40), mode='bilinear')], dim=1)
    with torch.no_grad():
        expected = module(both)
        for got in (convolve(module, both), fused_conv(module, [x, low], False)):
            torch.testing.assert_close(got, expected, rtol=0, atol=rounding(9 * 16) * expected.abs().max().item())
    assert len(calls) == (0 if watched == 'no' else 3)


def test_small_maps_are_convolved_at_their_own_size(monkeypatch):
    seen = []
    monkeypatch.setattr(uper_head, 'conv_of_upsampled', lambda base, maps, *_: seen.append([m.shape[2] for m in maps]) or base)
    with torch.no_grad():
        fused_conv(conv_module(), [torch.zeros(1, c, s, s) for c, s in ((2, 40), (2, 40), (12, 10))], False)
    assert seen == [[10]]


def test_a_batch_of_no_images():
    maps = [m.requires_grad_() for m in pyramid(0, SIZES['odd image'], torch.float32)]
    out = pair()[1].eval()(maps)
    out.sum().backward()
    assert out.shape == (0, 5, 33, 41) and all(m.grad.shape == m.shape for m in maps)


def test_maps_that_are_not_those_of_the_head():
    ours, maps = pair()[1].eval(), pyramid(1, SIZES['multiples'], torch.float32)
    for wrong, message in (
        (maps[:3], r'expected the maps of in_index=\[0, 1, 2, 3\], got 3 maps'),
        (maps[0], 'got Tensor'),
        ([*maps[:3], maps[0]], r'expected maps .* of in_channels=\[8, 12, 16, 24\], got'),
        ([m[0] for m in maps], 'expected maps'),
    ):
        with pytest.raises(InputError, match=message):
            ours(wrong)


def weight_norm(module: ConvModule) -> None:
    nn.utils.parametrizations.weight_norm(module.conv)
    module.conv.parametrizations.weight.original0.data *= 2


def doubled(module: nn.Module, args: tuple, out: torch.Tensor) -> torch.Tensor:
    return 2 * out


CHANGES = {
    'hook of the module': lambda m: m.register_forward_hook(doubled),
    'hook of the norm': lambda m: m.norm.register_forward_hook(doubled),
    'hook of the activation': lambda m: m.activate.register_forward_hook(doubled),
    'pruning': lambda m: prune.l1_unstructured(m.conv, 'weight', 0.5),
    'weight norm': weight_norm,
    'norm of another class': lambda m: setattr(m, m.norm_name, nn.InstanceNorm2d(16)),
    'another activation': lambda m: setattr(m, 'activate', nn.Softplus()),
    'norm without weights': lambda m: setattr(m, m.norm_name, nn.BatchNorm2d(16, affine=False).eval()),
}


@pytest.mark.parametrize('gradients', [False, True], ids=['inference', 'gradients'])
@pytest.mark.parametrize('change', CHANGES.values(), ids=CHANGES)
def test_what_is_hung_on_a_convolution_counts(change, gradients):
    module = conv_module()
    x, low = torch.randn(1, 4, 40, 40), torch.randn(1, 12, 10, 10)
    both = torch.cat([x, nn.functional.interpolate(low, size=(40, 40), mode='bilinear')], dim=1)
    with torch.set_grad_enabled(gradients):
        before = module(both)
        change(module)
        expected = module(both)
        assert (expected - before).abs().max() > 1e-3
        for got in (convolve(module, both), fused_conv(module, [x, low], False)):
            torch.testing.assert_close(got, expected, rtol=0, atol=rounding(9 * 16) * expected.abs().max().item())


@pytest.mark.parametrize('fused, used', [('auto', True), (True, True), (False, False)])
def test_the_faster_path_is_a_choice(fused, used, monkeypatch):
    calls = []
    whole = uper_head.conv_of_upsampled
    monkeypatch.setattr(uper_head, 'conv_of_upsampled', lambda *args: calls.append(1) or whole(*args))
    made = head(FastUPerHead, fused=fused).eval()
    theirs = head(UPerHead).eval()
    theirs.load_state_dict(made.state_dict(), strict=True)
    maps = pyramid(1, SIZES['multiples'], torch.float64)
    torch.testing.assert_close(made.double()(maps), theirs.double()(maps))
    assert bool(calls) == used
    with pytest.raises(InputError, match="fused: expected 'auto'"):
        head(FastUPerHead, fused='never')

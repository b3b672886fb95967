"""The backbone against timm and torchvision, and its own contract."""

import re

import numpy as np
import pytest
import torch
from conftest import rounding
from torch import nn

from convnext_dense import ARCHS, ConvNeXt, InputError
from convnext_dense.models.convnext import GRN

SMALL = dict(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32))


def to_timm(name: str) -> str:
    """Official name -> timm's."""
    name = re.sub(r'^downsample_layers\.0\.', 'stem.', name)
    name = re.sub(r'^downsample_layers\.(\d)\.', r'stages.\1.downsample.', name)
    name = re.sub(r'^stages\.(\d)\.(\d+)\.', r'stages.\1.blocks.\2.', name)
    return name.replace('dwconv', 'conv_dw').replace('pwconv', 'mlp.fc')


def to_torchvision(name: str) -> str:
    """Official name -> torchvision's."""
    name = re.sub(r'^downsample_layers\.(\d)\.', lambda m: f'features.{2 * int(m[1])}.', name)
    name = re.sub(r'^stages\.(\d)\.(\d+)\.', lambda m: f'features.{2 * int(m[1]) + 1}.{m[2]}.', name)
    for ours, theirs in dict(dwconv='block.0', norm='block.2', pwconv1='block.3', pwconv2='block.5').items():
        name = name.replace(f'.{ours}.', f'.{theirs}.')
    return name.replace('gamma', 'layer_scale')


def randomised(model: nn.Module) -> nn.Module:
    """Every parameter at random, so that an exchanged one shows."""
    generator = torch.Generator().manual_seed(0)
    for param in model.parameters():
        spread = 0.2 if param.ndim == 1 else 1.5 / param[0].numel() ** 0.5
        param.data = spread * torch.randn(param.shape, generator=generator) + (param.ndim == 1) * 0.5
    return model


def copy_weights(ours: nn.Module, theirs: nn.Module, rename) -> None:
    target = theirs.state_dict()
    source = {rename(name): value for name, value in ours.state_dict().items() if not name.startswith('norm')}
    left = {name for name in target if not name.startswith(('head', 'norm', 'classifier'))} - set(source)
    assert not left and not set(source) - set(target)
    theirs.load_state_dict({**target, **{name: value.reshape(target[name].shape) for name, value in source.items()}})


def assert_same_maps(ours: ConvNeXt, theirs: list[torch.Tensor], x: torch.Tensor) -> None:
    """Stage by stage, our output norm applied to their raw maps; within rounding of the values' scale."""
    for i, (mine, raw) in enumerate(zip(ours(x), theirs, strict=True)):
        expected = getattr(ours, f'norm{i}')(raw)
        scale = expected.abs().max()
        assert (mine - expected).abs().max() <= rounding(4 * ours.arch.dims[i]) * scale, f'stage {i}'


@pytest.mark.parametrize('size, fused', [((64, 96), 'auto'), ((65, 97), True), ((32, 47), False)], ids=str)
@pytest.mark.parametrize('arch', ['atto', 'femto', 'pico', 'nano', 'tiny'])
def test_equals_timm(arch: str, size: tuple[int, int], fused: bool | str) -> None:
    timm = pytest.importorskip('timm')
    ours = randomised(ConvNeXt(arch, fused=fused)).eval()
    theirs = timm.create_model(f'convnext_{arch}', conv_mlp=False, num_classes=0).eval()
    copy_weights(ours, theirs, to_timm)
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert_same_maps(ours, theirs.forward_intermediates(x, intermediates_only=True, norm=False), x)


@pytest.mark.parametrize(
    'arch', ['tiny', pytest.param('small', marks=pytest.mark.slow), pytest.param('base', marks=pytest.mark.slow)]
)
def test_equals_torchvision(arch: str) -> None:
    import torchvision

    ours = randomised(ConvNeXt(arch)).eval()
    theirs = getattr(torchvision.models, f'convnext_{arch}')().eval()
    copy_weights(ours, theirs, to_torchvision)
    x = torch.randn(1, 3, 71, 64, generator=torch.Generator().manual_seed(1))
    maps, y = [], x
    with torch.no_grad():
        for i, layer in enumerate(theirs.features):
            y = layer(y)
            if i % 2:
                maps.append(y)
        assert_same_maps(ours, maps, x)


@pytest.mark.parametrize('arch', [arch for arch in ARCHS if arch != 'xxlarge'])
def test_published_parameter_counts(arch: str) -> None:
    """As published for ImageNet, in millions: with a classifier of 1,000 classes and one norm in place of our four."""
    millions = dict(atto=3.7, femto=5.2, pico=9.1, nano=15.6, tiny=28.6, small=50.2, base=88.6, large=197.8, xlarge=350.2)
    millions['huge'] = 660  # of V2
    with torch.device('meta'):
        model = ConvNeXt(arch)
    dims = ARCHS[arch].dims
    own = sum(p.numel() for p in model.parameters()) - 2 * sum(dims)
    classifier = 1001 * dims[3] - dims[3] + 1000 + 2 * dims[3]
    total = (own + classifier) / 1e6
    # V2's small sizes count GRN in place of the layer scale: 4 times 2C instead of C a block.
    assert total == pytest.approx(millions[arch], rel=0.01)


@pytest.mark.parametrize('size', [(32, 32), (33, 63), (101, 40), (37, 224)], ids=str)
def test_sizes_are_floored_step_by_step(size: tuple[int, int]) -> None:
    model = ConvNeXt(SMALL)
    for i, out in enumerate(model(torch.randn(1, 3, *size))):
        height, width = (side // 4 for side in size)
        for _ in range(i):
            height, width = height // 2, width // 2
        assert out.shape == (1, SMALL['dims'][i], height, width)


@pytest.mark.parametrize('size', [(31, 64), (64, 20)], ids=str)
def test_too_small_an_image(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=f'{size[0]}x{size[1]} pixels: expected .* at least 32'):
        ConvNeXt(SMALL)(torch.randn(1, 3, *size))


def test_out_indices_strides_and_channels() -> None:
    model = ConvNeXt(SMALL, out_indices=(-1, 1), in_channels=1)
    assert (model.out_indices, model.out_channels, model.out_strides) == ((1, 3), (16, 32), (8, 32))
    maps = model(torch.randn(1, 1, 64, 64))
    assert [m.shape[2] for m in maps] == [64 // s for s in model.out_strides]
    assert {name for name, _ in model.named_children() if name.startswith('norm')} == {'norm1', 'norm3'}
    assert ConvNeXt(SMALL, out_indices=2).out_indices == (2,)


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(arch='tinny'), r"arch: expected one of atto, .*; got 'tinny'"),
        (dict(arch=dict(depths=(1, 1, 1), dims=(8, 8, 8, 8))), r'four positive integers in depths, got \[1, 1, 1\]'),
        (dict(arch=dict(depths=(1, 1, 1, 1))), 'keys depths and dims'),
        (dict(out_indices=(0, 7)), r'out_indices: expected .* got \(0, 7\)'),
        (dict(out_indices=()), 'out_indices'),
        (dict(out_indices=(3, -1)), 'out_indices: expected different'),
        (dict(frozen_stages=5), 'frozen_stages: expected .* got 5'),
        (dict(drop_path_rate=1.0), 'drop_path_rate'),
        (dict(layer_scale_init_value=-1.0), 'layer_scale_init_value'),
    ],
)
def test_wrong_arguments(wrong: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ConvNeXt(**{'arch': SMALL, **wrong})


def test_unknown_argument() -> None:
    with pytest.raises(TypeError, match='drop_rate'):
        ConvNeXt(SMALL, drop_rate=0.1)


def frozen_names(model: ConvNeXt) -> set[str]:
    return {'.'.join(name.split('.')[:2]) for name, p in model.named_parameters() if not p.requires_grad}


def test_frozen_stages() -> None:
    assert frozen_names(ConvNeXt(SMALL, frozen_stages=-1)) == set()
    assert frozen_names(ConvNeXt(SMALL, frozen_stages=0)) == {'downsample_layers.0'}
    two = {'downsample_layers.0', 'stages.0', 'norm0.weight', 'norm0.bias', 'downsample_layers.1', 'stages.1'}
    assert frozen_names(ConvNeXt(SMALL, frozen_stages=2)) == two | {'norm1.weight', 'norm1.bias'}
    assert all(not p.requires_grad for p in ConvNeXt(SMALL, frozen_stages=4).parameters())


def test_frozen_parts_stay_in_eval_mode() -> None:
    model = ConvNeXt(SMALL, frozen_stages=1, drop_path_rate=0.5).train()
    assert not model.stages[0].training and not model.norm0.training and model.stages[1].training


def test_train_and_eval_return_the_model() -> None:
    model = ConvNeXt(SMALL)
    assert model.eval() is model and model.train() is model


def test_drop_path_is_linear_over_the_blocks_and_off_in_eval() -> None:
    model, never = (randomised(ConvNeXt(SMALL, drop_path_rate=rate)) for rate in (0.4, 0))
    rates = [block.drop_path for stage in model.stages for block in stage]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    x = torch.randn(4, 3, 64, 64)
    assert_same(model.eval()(x), never.eval()(x))
    with pytest.raises(AssertionError):
        assert_same(model.train()(x), never(x))


def test_drop_path_drops_whole_images_and_keeps_the_mean() -> None:
    block = ConvNeXt(SMALL, drop_path_rate=0.4, layer_scale_init_value=1.0).stages[3][0].train()
    x = torch.randn(1, 32, 3, 3).expand(4000, -1, -1, -1)
    with torch.no_grad():
        branch = block(x) - x
        whole = block.eval()(x[:1]) - x[:1]
    dropped = (branch == 0).flatten(1).all(1)
    assert 0.36 < dropped.float().mean() < 0.44
    torch.testing.assert_close(branch[~dropped][0], whole[0] / 0.6, rtol=1e-4, atol=1e-5)


def test_layer_scale_off() -> None:
    """The branch is added as it is: as with a scale of one, in training and in evaluation, and with its gradients."""
    model, scaled = (randomised(ConvNeXt(SMALL, layer_scale_init_value=value)) for value in (0, 0.3))
    assert not any('gamma' in name for name in model.state_dict())
    assert (ConvNeXt(SMALL, layer_scale_init_value=0.3).stages[0][0].gamma == 0.3).all()
    assert scaled.load_state_dict(model.state_dict(), strict=False).unexpected_keys == []
    for stage in scaled.stages:
        for block in stage:
            block.gamma.data.fill_(1)
    x = torch.randn(1, 3, 64, 64)
    for training in (False, True):
        assert_same(model.train(training)(x), scaled.train(training)(x))
    for one in (model, scaled):
        sum(m.square().mean() for m in one(x)).backward()
    own = dict(scaled.named_parameters())
    for name, param in model.named_parameters():
        torch.testing.assert_close(param.grad, own[name].grad, rtol=1e-4, atol=1e-5)


def assert_same(maps, others) -> None:
    for a, b in zip(maps, others, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_with_cp_gives_the_same_gradients() -> None:
    x = torch.randn(2, 3, 64, 64)
    grads = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        model = randomised(ConvNeXt(SMALL, drop_path_rate=0.3, with_cp=with_cp))
        torch.manual_seed(1)  # the same branches are dropped
        sum(m.square().mean() for m in model(x)).backward()
        grads.append([p.grad for p in model.parameters()])
    for plain, recomputed in zip(*grads, strict=True):
        torch.testing.assert_close(plain, recomputed)


def step(model: ConvNeXt, x: torch.Tensor) -> list[torch.Tensor]:
    """Maps of a training step, and every gradient."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    maps = model(x)
    grads = torch.autograd.grad(sum(m.square().mean() for m in maps), [x, *model.parameters()])
    return [m.detach() for m in maps] + list(grads)


@pytest.mark.parametrize('change', ['channels first', 'after inference mode'])
@pytest.mark.parametrize('use_grn', [False, True], ids=['V1', 'V2'])
def test_a_training_step_of_the_faster_path(use_grn: bool, change: str, empty_caches) -> None:
    """The plain layers' maps and gradients, whatever the image's layout, and after predictions too."""
    ours, plain = (randomised(ConvNeXt(SMALL, use_grn=use_grn, fused=fused)).double() for fused in (True, False))
    x = torch.randn(2, 3, 65, 70, dtype=torch.float64)
    if change == 'after inference mode':
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            ours(x)
    for a, b in zip(step(ours, x), step(plain, x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize('channels_last', [False, True])
@pytest.mark.parametrize('fused', [False, True])
def test_maps_lie_in_memory_as_a_resnets_unless_asked(fused: bool, channels_last: bool) -> None:
    model = ConvNeXt(SMALL, fused=fused, channels_last=channels_last)
    for mode in (model.train(), model.eval()):
        for out in mode(torch.randn(2, 3, 65, 70)):
            assert out.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    with pytest.raises(InputError, match='channels_last: expected'):
        ConvNeXt(SMALL, channels_last='yes')


def test_official_state_dict_names() -> None:
    names = set(ConvNeXt(dict(depths=(1, 1, 1, 1), dims=(4, 4, 4, 4))).state_dict())
    expected = {f'downsample_layers.{i}.{j}.{kind}' for i in range(4) for j in range(2) for kind in ('weight', 'bias')}
    layers = ('dwconv', 'norm', 'pwconv1', 'pwconv2')
    expected |= {f'stages.{i}.0.{layer}.{kind}' for i in range(4) for layer in layers for kind in ('weight', 'bias')}
    expected |= {f'stages.{i}.0.gamma' for i in range(4)}
    expected |= {f'norm{i}.{kind}' for i in range(4) for kind in ('weight', 'bias')}
    assert names == expected


def test_norms_stay_finite_in_half_precision() -> None:
    """The official channels-first LayerNorm squares in fp16 and overflows from 256 up."""
    model = ConvNeXt(SMALL).eval()
    x = 300 + 200 * torch.randn(1, 8, 4, 4)
    torch.testing.assert_close(model.norm0.half()(x.half()).float(), model.norm0.float()(x), rtol=0.01, atol=0.02)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_grn_by_hand(dtype: torch.dtype) -> None:
    """Two channels of norms 5 and 1, mean 3: each is multiplied by its share, scaled, shifted, and added to itself."""
    grn = GRN(2).to(dtype)
    grn.gamma.data[..., 0], grn.gamma.data[..., 1] = 2.0, 1.0
    grn.beta.data[..., 1] = 0.5
    x = torch.tensor([[[[3.0, 1.0]], [[4.0, 0.0]]]], dtype=dtype)
    expected = torch.tensor([[[[3 + 2 * 3 * 5 / 3, 1 + 1 / 3 + 0.5]], [[4 + 2 * 4 * 5 / 3, 0.5]]]], dtype=dtype)
    torch.testing.assert_close(grn(x), expected, rtol=1e-6, atol=1e-6)


def test_grn_in_half_precision_does_not_overflow() -> None:
    grn = GRN(4).half()
    torch.nn.init.ones_(grn.gamma)
    x = torch.full((1, 64, 64, 4), 50.0, dtype=torch.float16)  # its squares add up to 10 million
    torch.testing.assert_close(grn(x), torch.full_like(x, 100.0))


def test_v2_has_grn_and_no_layer_scale() -> None:
    model = ConvNeXt(dict(depths=(1, 1, 1, 1), dims=(4, 4, 4, 4)), use_grn=True, layer_scale_init_value=1.0)
    names = set(model.state_dict())
    assert 'stages.0.0.grn.gamma' in names and not any(name.endswith('.0.gamma') for name in names)
    assert model.stages[0][0].grn.gamma.shape == (1, 1, 1, 16)
    assert torch.autograd.gradcheck(
        model.stages[0][0].double(), (torch.randn(1, 4, 3, 3, dtype=torch.float64, requires_grad=True),)
    )


NAN, INF = float('nan'), float('inf')
WRONG = dict(
    drop_path_rate=['a', None, NAN, True, -0.1],
    layer_scale_init_value=[NAN, INF, 'x', None, True],
    in_channels=[0, -1, 2.5, True, '3', None],
    out_indices=[None, '0', 1.0, (True, 2), ((0, 1), 2), 'all'],
    frozen_stages=[True, 1.0, None, '1', -2],
    use_grn=[1, 'yes', None],
    with_cp=[1, None],
    fused=['no', 0],
    recompute_hidden=[0, None],
    compile=['yes', 1, None, dict(backend='nonsense'), dict(mode='nonsense'), dict(nonsense=1)],
    init_cfg=[
        'a.pth',
        3,
        dict(checkpoint='a.pth'),
        dict(type=None),
        dict(type='Nonsense'),
        [dict(type='TruncNormal', layer='Conv2d'), None],
    ],
)


@pytest.mark.parametrize('name, value', [(name, value) for name, values in WRONG.items() for value in values], ids=str)
def test_arguments_of_wrong_types(name: str, value) -> None:
    with pytest.raises(InputError, match=f'{name}: expected .*got') as caught:
        ConvNeXt(SMALL, **{name: value})
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    'x, message',
    [
        (torch.zeros(1, 4, 64, 64), 'got 4 channels .*in_channels=4'),
        (torch.zeros(1, 64, 64, 3), 'got 64 channels .*permute'),
        (torch.zeros(3, 64, 64), r'got \(3, 64, 64\); .*x\[None\]'),
        (torch.zeros(1, 1, 3, 64, 64), 'four dimensions'),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), r'got torch.uint8; .*float.* normalise'),
        (torch.zeros(1, 3, 64, 64, dtype=torch.complex64), 'got torch.complex64'),
        (torch.zeros(1, 3, 64, 64, dtype=torch.float64), 'expected torch.float32, .*got torch.float64'),
        (torch.zeros(1, 3, 64, 64).to_sparse(), 'got a torch.sparse_coo one; call to_dense'),
        (torch.zeros(1, 3, 64, 64, device='meta'), 'expected it on cpu.*got meta'),
        (torch.zeros(1, 3, 0, 64), '0x64 pixels'),
        (np.zeros((1, 3, 64, 64), dtype=np.float32), 'got ndarray'),
        ([[0.0]], 'got list'),
    ],
)
def test_inputs_that_are_no_images(x, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ConvNeXt(SMALL)(x)


@pytest.mark.parametrize('fused', [True, False], ids=['fused', 'plain'])
@pytest.mark.parametrize('options', [{}, dict(use_grn=True), dict(recompute_hidden=True), dict(with_cp=True)], ids=str)
def test_an_empty_batch(options: dict, fused: bool) -> None:
    model = ConvNeXt(SMALL, drop_path_rate=0.5, fused=fused, **options)
    for training in (True, False):
        x = torch.zeros(0, 3, 64, 64, requires_grad=True)
        maps = model.train(training)(x)
        assert [tuple(m.shape) for m in maps] == [(0, dim, 16 // 2**i, 16 // 2**i) for i, dim in enumerate(SMALL['dims'])]
        sum(m.sum() for m in maps).backward()
        assert x.grad.shape == x.shape and all((p.grad == 0).all() for p in model.parameters())

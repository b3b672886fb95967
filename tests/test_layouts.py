"""Every layout against the library that writes it: the same features, the same keys, and back again bit for bit."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import pytest
import torch
from conftest import rounding
from torch import Tensor, nn

from convnext_dense import ARCHS, ConvNeXt, InputError
from convnext_dense.weights.convert import TARGETS, convert
from convnext_dense.weights.layouts import LAYOUTS, from_official, recognise, to_official
from convnext_dense.weights.match import arch_of, match_backbone

SIZES = [(64, 96), (65, 99)]
DEPTHS, DIMS = (2, 2, 6, 2), (40, 80, 160, 320)
V2_SIZES = ('atto', 'femto', 'pico', 'nano', 'tiny', 'base', 'large', 'huge')


def filled(model: nn.Module) -> nn.Module:
    """Random weights of a size that neither vanishes nor explodes, layer scale and GRN included."""
    torch.manual_seed(0)
    for name, param in model.named_parameters():
        std = 0.3 if param.ndim <= 1 else 1.5 / (param.numel() / len(param)) ** 0.5
        std = 0.5 if re.search('gamma|layer_scale|grn', name) else std
        nn.init.normal_(param, 1.0 if 'norm' in name and name.endswith('weight') else 0.0, std)
    return model.eval()


@dataclass
class Peer:
    """A library's model: its layout, the arch, and how to get the maps that ours are compared with."""

    layout: str
    arch: str
    build: Callable[[], nn.Module]
    maps: Callable[[nn.Module, Tensor], list[Tensor]]
    grn: bool = False
    normed: tuple[int, ...] = ()  # stages whose map comes after its output norm


def timm_model(name: str, **options) -> Callable[[], nn.Module]:
    import timm

    return lambda: timm.create_model(name, **options)


def stages(stem: Callable, parts: Callable) -> Callable[[nn.Module, Tensor], list[Tensor]]:
    def maps(model: nn.Module, x: Tensor) -> list[Tensor]:
        x = stem(model)(x)
        found = []
        for stage in parts(model):
            x = stage(x)
            found.append(x)
        return found

    return maps


timm_maps = stages(lambda model: model.stem, lambda model: model.stages)


def hf(kind: str, **options) -> Callable[[], nn.Module]:
    import transformers

    config = getattr(transformers, f'{kind}Config')(hidden_sizes=list(DIMS), depths=list(DEPTHS), **options)
    return lambda: config


def hf_backbone(kind: str) -> Callable[[], nn.Module]:
    import transformers

    config = hf(kind, out_features=[f'stage{i}' for i in range(1, 5)])()
    return lambda: getattr(transformers, f'{kind}Backbone')(config)


def hf_classifier(kind: str) -> Callable[[], nn.Module]:
    import transformers

    return lambda: getattr(transformers, f'{kind}ForImageClassification')(hf(kind, num_labels=7)())


def hf_hidden(model: nn.Module, x: Tensor) -> list[Tensor]:
    return list(model(x, output_hidden_states=True).hidden_states[1:])


def dinov3() -> nn.Module:
    import transformers

    return transformers.DINOv3ConvNextModel(hf('DINOv3ConvNext')())


def dinov3_maps(model: nn.Module, x: Tensor) -> list[Tensor]:
    hidden = model(x, output_hidden_states=True)
    tokens = hidden.last_hidden_state[:, 1:]  # after the pooled one
    height, width = x.shape[2] // 32, x.shape[3] // 32
    return [*hidden.hidden_states[1:4], tokens.transpose(1, 2).unflatten(2, (height, width))]


def torchvision_model() -> nn.Module:
    import torchvision

    return torchvision.models.convnext_tiny(num_classes=7)


def torchvision_maps(model: nn.Module, x: Tensor) -> list[Tensor]:
    found = []
    for index, part in enumerate(model.features):
        x = part(x)
        found += [x] if index % 2 else []
    return found


def open_clip_model() -> nn.Module:
    model = pytest.importorskip('open_clip.model')
    image = model.CLIPVisionCfg(timm_model_name='convnext_atto', image_size=64)
    text = model.CLIPTextCfg(context_length=8, vocab_size=32, width=16, heads=2, layers=1)
    return model.CLIP(embed_dim=16, vision_cfg=image, text_cfg=text)


PEERS = {
    'timm': Peer('timm', 'tiny', timm_model('convnext_tiny', num_classes=7), timm_maps),
    'timm with 1x1 convolutions': Peer('timm', 'atto', timm_model('convnext_atto', num_classes=7), timm_maps),
    'timm V2': Peer('timm', 'atto', timm_model('convnextv2_atto', num_classes=7), timm_maps, grn=True),
    'timm V2, linear layers': Peer('timm', 'tiny', timm_model('convnextv2_tiny', num_classes=0), timm_maps, grn=True),
    'timm features_only': Peer(
        'timm_features', 'atto', timm_model('convnext_atto', features_only=True), lambda model, x: model(x)
    ),
    'timm V2 features_only': Peer(
        'timm_features', 'atto', timm_model('convnextv2_atto', features_only=True), lambda model, x: model(x), grn=True
    ),
    'timm head norm first': Peer('timm', 'tiny', timm_model('convnext_tiny_hnf', num_classes=7), timm_maps),
    'OpenCLIP': Peer('timm', 'atto', open_clip_model, lambda model, x: timm_maps(model.visual.trunk, x)),
    'torchvision': Peer('torchvision', 'tiny', torchvision_model, torchvision_maps),
    'transformers classifier': Peer(
        'transformers', 'atto', hf_classifier('ConvNext'), lambda model, x: hf_hidden(model.convnext, x)
    ),
    'transformers V2 classifier': Peer(
        'transformers', 'atto', hf_classifier('ConvNextV2'), lambda model, x: hf_hidden(model.convnextv2, x), grn=True
    ),
    'transformers backbone': Peer(
        'transformers', 'atto', hf_backbone('ConvNext'), lambda model, x: model(x).feature_maps, normed=(0, 1, 2, 3)
    ),
    'transformers V2 backbone': Peer(
        'transformers', 'atto', hf_backbone('ConvNextV2'), lambda model, x: model(x).feature_maps, True, (0, 1, 2, 3)
    ),
    'transformers DINOv3': Peer('dinov3_transformers', 'atto', dinov3, dinov3_maps, normed=(3,)),
}


@pytest.fixture(scope='module', params=PEERS)
def peer(request) -> Iterator[tuple[Peer, nn.Module]]:
    one = PEERS[request.param]
    yield one, filled(one.build())


@torch.no_grad()
def test_features_equal_the_librarys(peer) -> None:
    """Each stage's map, before its output norm where the library has none, on even and odd sizes."""
    one, theirs = peer
    match = match_backbone(theirs.state_dict(), ConvNeXt(one.arch, use_grn=one.grn))
    assert match.fits and match.found.layout.name == one.layout
    assert arch_of(match.found) == one.arch and len(match.found.depths) == 4
    ours = ConvNeXt(one.arch, use_grn=one.grn).eval()
    ours.load_state_dict(match.tensors, strict=False)
    for i in {0, 1, 2, 3} - set(one.normed):
        setattr(ours, f'norm{i}', nn.Identity())
    for size in SIZES:
        x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
        for got, expected in zip(ours(x), one.maps(theirs, x), strict=True):
            scale = expected.abs().max()
            assert 1e-3 < scale < 1e6 and got.shape == expected.shape
            assert (got - expected).abs().max() < rounding(4 * ours.arch.dims[-1]) * scale


def test_every_tensor_is_accounted_for(peer) -> None:
    """Nothing of the library's file disappears without a name."""
    one, theirs = peer
    state = theirs.state_dict()
    found = recognise(state)
    official, rest = to_official(state, found)
    assert len(official) + len(rest) == len(state)
    match = match_backbone(state, ConvNeXt(one.arch, use_grn=one.grn))
    assert len(match.tensors) + len(match.left_out) == len(state) and match.unexpected == []


def test_the_librarys_names_and_shapes_come_back_bit_for_bit(peer) -> None:
    _, theirs = peer
    state = theirs.state_dict()
    found = recognise(state)
    official, _ = to_official(state, found)
    back, left = from_official(official, found.layout, found.depths, found.grn)
    assert left == []
    for name, value in back.items():
        original = state.get(found.prefix + name, state.get(name))
        # timm's tiny_hnf has 1x1 convolutions, which its other models of that width have not
        torch.testing.assert_close(value.reshape(original.shape), original, rtol=0, atol=0)
        assert value.shape == original.shape or 'mlp.fc' in name


def official_keys(depths: tuple[int, ...], dims: tuple[int, ...], grn: bool, **names: str) -> dict[str, tuple[int, ...]]:
    """An independent list of the backbone's keys and shapes, spelled as the layouts without a package spell them."""
    dw, pw1, pw2, norm, down_norm = (names[key] for key in ('dw', 'pw1', 'pw2', 'norm', 'down_norm'))
    sparse = 'kernel' in names
    weight = 'kernel' if sparse else 'weight'
    row = (lambda c: (1, c)) if sparse else (lambda c: (c,))
    keys = {
        'downsample_layers.0.0.weight': (dims[0], 3, 4, 4),
        'downsample_layers.0.0.bias': (dims[0],),
        'downsample_layers.0.1.weight': (dims[0],),
        'downsample_layers.0.1.bias': (dims[0],),
    }
    for i in (1, 2, 3):
        a, b = dims[i - 1], dims[i]
        keys |= {f'downsample_layers.{i}.{down_norm}.{p}': (a,) for p in ('weight', 'bias')}
        keys[f'downsample_layers.{i}.1.{weight}'] = (4, a, b) if sparse else (b, a, 2, 2)
        keys[f'downsample_layers.{i}.1.bias'] = row(b)
    for i, depth in enumerate(depths):
        c = dims[i]
        for j in range(depth):
            block = f'stages.{i}.{j}'
            keys[f'{block}.{dw}.{weight}'] = (49, c) if sparse else (c, 1, 7, 7)
            keys[f'{block}.{dw}.bias'] = row(c)
            keys |= {f'{block}.{norm}.{p}': (c,) for p in ('weight', 'bias')}
            keys |= {f'{block}.{pw1}.weight': (4 * c, c), f'{block}.{pw1}.bias': (4 * c,)}
            keys |= {f'{block}.{pw2}.weight': (c, 4 * c), f'{block}.{pw2}.bias': (c,)}
            if grn:
                shape = {'sparse': (1, 4 * c), 'flat': (4 * c,)}.get(names.get('grn_shape'), (1, 1, 1, 4 * c))
                keys |= {f'{block}.grn.gamma': shape, f'{block}.grn.beta': shape}
            else:
                keys[f'{block}.gamma'] = (c,)
    return keys


OFFICIAL = dict(dw='dwconv', pw1='pwconv1', pw2='pwconv2', norm='norm', down_norm='0')
MM = dict(OFFICIAL, dw='depthwise_conv', pw1='pointwise_conv1', pw2='pointwise_conv2', grn_shape='flat')
FCMAE = dict(
    dw='dwconv', pw1='pwconv1.linear', pw2='pwconv2.linear', norm='norm.ln', down_norm='0.ln', kernel='yes', grn_shape='sparse'
)
CONTRACTS = [
    *((f'official V1 {arch}', 'official', arch, False, OFFICIAL) for arch in ARCHS),
    *((f'official V2 {arch}', 'official', arch, True, OFFICIAL) for arch in V2_SIZES),
    *((f'fcmae {arch}', 'fcmae', arch, True, FCMAE) for arch in V2_SIZES),
    *((f'openmmlab V1 {arch}', 'openmmlab', arch, False, MM) for arch in ('tiny', 'small', 'base', 'large', 'xlarge')),
    *((f'openmmlab V2 {arch}', 'openmmlab', arch, True, MM) for arch in V2_SIZES),
    *((f'dinov3 {arch}', 'dinov3', arch, False, OFFICIAL) for arch in ('tiny', 'small', 'base', 'large')),
]
HEADS = {  # what each brings beside the backbone: prefix of the backbone, and further names
    'official': ('', ('norm.weight', 'norm.bias', 'head.weight', 'head.bias')),
    'fcmae': ('encoder.', ('mask_token', 'proj.weight', 'proj.bias', 'decoder.0.dwconv.weight', 'pred.weight', 'pred.bias')),
    'openmmlab': ('backbone.', ('backbone.norm3.weight', 'backbone.norm3.bias', 'head.fc.weight', 'head.fc.bias')),
    'dinov3': ('', ('norm.weight', 'norm.bias', 'norms.3.weight', 'norms.3.bias')),
}


@pytest.mark.parametrize('layout, arch, grn, names', [row[1:] for row in CONTRACTS], ids=[row[0] for row in CONTRACTS])
def test_the_full_list_of_keys_and_shapes_loads(layout: str, arch: str, grn: bool, names: dict[str, str]) -> None:
    """Layouts whose code is on no package index: every key of every size, on the meta device."""
    depths, dims = ARCHS[arch].depths, ARCHS[arch].dims
    keys = official_keys(depths, dims, grn, **names)
    prefix, beside = HEADS[layout]
    with torch.device('meta'):
        state = {prefix + name: torch.empty(shape) for name, shape in keys.items()}
        state |= {name: torch.empty(dims[3]) for name in beside}
        backbone = ConvNeXt(arch, use_grn=grn)
    match = match_backbone(state, backbone)
    assert (match.missing, match.unexpected, match.shapes) == ([], [], [])
    assert match.found.layout.name == layout and match.found.prefix == prefix and arch_of(match.found) == arch
    norms = [name for name in match.tensors if name.startswith('norm')]
    assert norms == (['norm3.weight', 'norm3.bias'] if layout == 'dinov3' else [])
    assert len(match.tensors) - len(norms) == match.total == len(keys)
    assert len(match.left_out) == len(beside) - len(norms)
    theirs, _ = from_official({name: match.tensors[name] for name in match.tensors}, LAYOUTS[layout], depths, grn)
    shapes = {name: tuple(value.shape) for name, value in theirs.items() if not name.startswith('norms.')}
    if layout == 'fcmae':  # rows of biases and of GRN come back as vectors or maps of one pixel
        keys, shapes = ({name: tuple(n for n in row if n != 1) for name, row in rows.items()} for rows in (keys, shapes))
    assert shapes == keys


def test_a_sparse_kernel_runs_down_its_columns() -> None:
    """kernel[k, in, out] belongs to row k % size and column k // size (ConvNeXt-V2's remap_checkpoint_keys)."""
    names = official_keys((1, 1, 1, 1), (2, 3, 4, 5), True, **FCMAE)
    state = {f'encoder.{name}': torch.randn(shape) for name, shape in names.items()}
    official, _ = to_official(state, recognise(state))
    kernel, weight = state['encoder.downsample_layers.1.1.kernel'], official['downsample_layers.1.1.weight']
    depthwise, dwconv = state['encoder.stages.2.0.dwconv.kernel'], official['stages.2.0.dwconv.weight']
    for y, x in product(range(2), range(2)):
        torch.testing.assert_close(weight[:, :, y, x], kernel[2 * x + y].T)
    for y, x in product(range(7), range(7)):
        torch.testing.assert_close(dwconv[:, 0, y, x], depthwise[7 * x + y])
    back, _ = from_official(official, LAYOUTS['fcmae'], (1, 1, 1, 1), True)
    torch.testing.assert_close(back['downsample_layers.1.1.kernel'], kernel, rtol=0, atol=0)
    torch.testing.assert_close(back['stages.2.0.dwconv.kernel'], depthwise, rtol=0, atol=0)


def classification(grn: bool) -> dict[str, Tensor]:
    """An official classification file of a tiny size."""
    torch.manual_seed(0)
    model = ConvNeXt(dict(depths=(1, 2, 1, 1), dims=(8, 16, 24, 32)), use_grn=grn)
    state = {name: torch.randn_like(value) for name, value in model.state_dict().items() if not name.startswith('norm')}
    head = {'norm.weight': torch.randn(32), 'norm.bias': torch.randn(32)}
    return {**state, **head, 'head.weight': torch.randn(5, 32), 'head.bias': torch.randn(5)}


@pytest.mark.parametrize('grn', [False, True], ids=['V1', 'V2'])
@pytest.mark.parametrize('target', TARGETS)
def test_there_and_back_again(target: str, grn: bool) -> None:
    state = classification(grn)
    if target == 'torchvision' and grn:
        with pytest.raises(InputError, match='expected V1 weights, got V2, which torchvision does not have'):
            convert(state, target)
        return
    there = convert(state, target)
    assert there.left_out == [] and recognise(there.state).layout.name == target
    back = convert(there.state, 'official')
    assert back.source == target and set(back.state) == set(state)
    for name, value in state.items():
        torch.testing.assert_close(back.state[name], value, rtol=0, atol=0)


@pytest.mark.parametrize('grn, prefix', [(False, 'convnext.'), (True, 'convnextv2.')], ids=['V1', 'V2'])
def test_a_classifier_of_transformers_has_its_prefix(grn: bool, prefix: str) -> None:
    names = set(convert(classification(grn), 'transformers').state)
    assert {name for name in names if not name.startswith(prefix)} == {'classifier.weight', 'classifier.bias'}
    bare = {name: v for name, v in classification(grn).items() if not name.startswith(('norm', 'head'))}
    assert not any(name.startswith(prefix) for name in convert(bare, 'transformers').state)


def test_what_a_target_has_no_place_for_is_named() -> None:
    state = ConvNeXt('atto').state_dict()
    assert convert(state, 'timm').left_out == sorted(name for name in state if name.startswith('norm'))
    assert convert(state, 'transformers').left_out == convert(state, 'openmmlab').left_out == []


@pytest.mark.slow
def test_converted_weights_load_in_the_library() -> None:
    import timm
    import torchvision
    import transformers

    tiny, atto = (filled(ConvNeXt(arch)).state_dict() for arch in ('tiny', 'atto'))
    rest = timm.create_model('convnext_atto', num_classes=0).load_state_dict(convert(atto, 'timm').state, strict=False)
    assert rest.unexpected_keys == [] and set(rest.missing_keys) == {'head.norm.weight', 'head.norm.bias'}
    rest = torchvision.models.convnext_tiny().load_state_dict(convert(tiny, 'torchvision').state, strict=False)
    assert rest.unexpected_keys == [] and all(name.startswith('classifier') for name in rest.missing_keys)
    config = hf('ConvNext', out_features=[f'stage{i}' for i in range(1, 5)])()
    assert transformers.ConvNextBackbone(config).load_state_dict(convert(atto, 'transformers').state).missing_keys == []


def test_a_stem_under_a_strange_name_is_none() -> None:
    stem = {f'downsample_layers.0.0.{name}': torch.zeros(4) for name in ('weight', 'bias')}
    assert recognise(stem) is not None and recognise({f'backbone.{name}': value for name, value in stem.items()}) is not None
    assert recognise({f'neck.{name}': value for name, value in stem.items()}) is None


@pytest.mark.parametrize('width, ndim', [(95, 4), (96, 2)])
def test_timms_pointwise_layers_are_linear_from_a_width_of_96(width: int, ndim: int) -> None:
    state = ConvNeXt(dict(depths=[1] * 4, dims=[width] * 4)).state_dict()
    theirs, _ = from_official(state, LAYOUTS['timm'], (1, 1, 1, 1), grn=False)
    assert theirs['stages.0.blocks.0.mlp.fc1.weight'].ndim == ndim


def test_a_block_without_its_grn_is_v2_all_the_same() -> None:
    state = classification(grn=True)
    del state['stages.1.0.grn.gamma']
    assert recognise(state).grn


def test_output_norms_of_the_last_stages_alone() -> None:
    """OpenMMLab's norm3 is the norm before the classifier in a file without other norms, and an output norm beside one."""
    backbone = ConvNeXt(dict(depths=(1, 2, 1, 1), dims=(8, 16, 24, 32)), out_indices=(2, 3))
    state, _ = from_official(backbone.state_dict(), LAYOUTS['openmmlab'], (1, 2, 1, 1), False)
    official, rest = to_official(state, recognise(state))
    assert {'norm2.weight', 'norm3.weight'} <= set(official) and 'norm.weight' not in official and rest == []

"""Learning-rate groups against the published rule, written here a second time and independently."""

import math

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from convnext_dense import ARCHS, ConvNeXt, InputError, IsotropicConvNeXt, LayerDecayOptimWrapperConstructor, RoadmapNet
from convnext_dense.training.layer_decay import last_layer, layer_id

SMALL = dict(depths=(1, 1, 4, 1), dims=(8, 8, 8, 8))
BASE = dict(lr=1e-3, weight_decay=0.05)


def published_layer_wise(name: str, num_layers: int) -> int:
    """The official rule, by name, for nine and twenty-seven blocks in the third stage."""
    parts = name.split('.')
    if parts[0] == 'downsample_layers':
        return {0: 0, 1: 2, 2: 3, 3: num_layers}[int(parts[1])]
    if parts[0] == 'stages':
        stage, block = int(parts[1]), int(parts[2])
        return {0: 1, 1: 2, 2: 3 + block // 3, 3: num_layers}[stage]
    return num_layers + 1


def published_stage_wise(name: str, num_layers: int) -> int:
    parts = name.split('.')
    return {'downsample_layers': 0, 'stages': int(parts[1]) + 1 if parts[0] == 'stages' else 0}.get(parts[0], num_layers + 1)


@pytest.mark.parametrize('rule', [published_layer_wise, published_stage_wise])
@pytest.mark.parametrize('arch', ARCHS)
def test_every_parameter_of_every_size(arch: str, rule) -> None:
    depths = ARCHS[arch].depths
    num_layers = 3 + math.ceil(depths[2] / 3)  # 6 for nine blocks, 12 for twenty-seven
    assert last_layer(depths) == num_layers + 1
    with torch.device('meta'):
        model = ConvNeXt(arch)
    decay_type = rule.__name__.removeprefix('published_')
    for name, _ in model.named_parameters():
        assert layer_id(name, depths, decay_type) == rule(name, num_layers), name


@pytest.mark.parametrize('blocks, last', [(9, 7), (27, 13), (6, 6), (8, 7), (1, 5)])
def test_last_layer(blocks: int, last: int) -> None:
    assert last_layer((3, 3, blocks, 3)) == last


@pytest.mark.parametrize('name', ['patch_embed.proj.weight', 'stages.7.0.gamma', 'downsample_layers', 'norm4.weight'])
def test_an_unknown_name_is_an_error(name: str) -> None:
    with pytest.raises(InputError, match=f"'{name}' is unknown"):
        layer_id(name, (3, 3, 9, 3))


class Segmentor(nn.Module):
    def __init__(self, attribute: str = 'backbone') -> None:
        super().__init__()
        self.add_module(attribute, ConvNeXt(SMALL))
        self.decode_head = nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))


def build(model: nn.Module, **paramwise_cfg):
    cfg = dict(optimizer=dict(type='AdamW', **BASE), constructor='LayerDecayOptimWrapperConstructor')
    return build_optim_wrapper(model, dict(cfg, paramwise_cfg=dict(decay_rate=0.5, **paramwise_cfg)))


def settings(model: nn.Module, optimizer) -> dict[str, tuple[float, float]]:
    """(rate, weight decay) of each parameter by name."""
    names = {param: name for name, param in model.named_parameters()}
    groups = [(names[p], (g['lr'], g['weight_decay'])) for g in optimizer.param_groups for p in g['params']]
    assert len(dict(groups)) == len(groups), 'a parameter is in two groups'
    return dict(groups)


@pytest.mark.parametrize('decay_type', ['layer_wise', 'stage_wise'])
def test_rates_and_decays(decay_type: str) -> None:
    model = Segmentor()
    found = settings(model, build(model, decay_type=decay_type).optimizer)
    assert set(found) == {name for name, _ in model.named_parameters()}
    for name, (lr, decay) in found.items():
        own = name.removeprefix('backbone.')
        layer = layer_id(own, SMALL['depths'], decay_type) if own != name else 6
        assert lr == pytest.approx(1e-3 * 0.5 ** (6 - layer)), name
        flat = name.endswith(('bias', 'gamma')) or 'norm' in name or name.startswith('decode_head.1') or '0.1.weight' in name
        flat = flat or ('downsample_layers' in name and name.endswith('.0.weight') and '.0.0.' not in name)
        assert decay == (0.0 if flat else 0.05), name


@pytest.mark.parametrize('attribute', ['backbone', 'image_encoder', 'trunk'])
def test_any_attribute_name_and_wrappers(attribute: str) -> None:
    model = Segmentor(attribute)
    wrapped = nn.Module()
    wrapped.module = nn.Module()
    wrapped.module.detector = model
    found = settings(wrapped.module, build(wrapped, decay_type='layer_wise').optimizer)
    assert found[f'detector.{attribute}.downsample_layers.0.0.weight'] == pytest.approx((1e-3 * 0.5**6, 0.05))
    assert found['detector.decode_head.0.weight'] == (1e-3, 0.05)


def test_a_backbone_alone_and_two_backbones() -> None:
    alone = ConvNeXt(SMALL)
    assert settings(alone, build(alone).optimizer)['downsample_layers.0.0.weight'][0] == pytest.approx(1e-3 * 0.5**6)
    two = nn.ModuleDict(dict(rgb=ConvNeXt(SMALL), depth=ConvNeXt('atto')))
    found = settings(two, build(two).optimizer)
    assert found['rgb.norm3.weight'][0] == found['depth.norm3.weight'][0] == 1e-3
    assert found['rgb.stages.3.0.dwconv.weight'][0] == found['depth.stages.3.0.dwconv.weight'][0] == 5e-4


def test_custom_keys_multiply_the_layer_rate_and_replace_the_decay() -> None:
    model = Segmentor()
    keys = {'decode_head': dict(lr_mult=10), 'decode_head.0': dict(decay_mult=2), 'stages.0': dict(lr_mult=0.1, decay_mult=0.5)}
    found = settings(model, build(model, custom_keys=keys).optimizer)
    assert found['decode_head.1.weight'] == pytest.approx((1e-2, 0.0))
    assert found['decode_head.0.weight'] == pytest.approx((1e-3, 0.1))  # the longest key counts
    assert found['backbone.stages.0.0.gamma'] == pytest.approx((1e-4 * 0.5**5, 0.025))


def test_norm_bias_and_flat_decay_mult() -> None:
    model = Segmentor()
    found = settings(model, build(model, norm_decay_mult=1.0, bias_decay_mult=0.5, flat_decay_mult=0.25).optimizer)
    assert found['decode_head.1.bias'][1] == 0.05
    assert found['backbone.norm0.weight'][1] == 0.05
    assert found['decode_head.0.bias'][1] == 0.025
    assert found['backbone.stages.0.0.gamma'][1] == 0.0125


def test_grn_has_no_weight_decay() -> None:
    model = Segmentor()
    block = model.backbone.stages[1][0]
    block.grn = nn.Module()
    block.grn.gamma = nn.Parameter(torch.zeros(1, 1, 1, 32))
    found = settings(model, build(model).optimizer)
    assert found['backbone.stages.1.0.grn.gamma'][1] == 0.0


def test_frozen_parameters_are_left_out() -> None:
    model = Segmentor()
    model.decode_head.requires_grad_(False)
    assert not any(name.startswith('decode_head') for name in settings(model, build(model).optimizer))


@pytest.mark.parametrize(
    'paramwise, message',
    [
        (dict(num_layers=6), 'num_layers.*follows from the depths'),
        (dict(decay_typ='layer_wise'), "did you mean 'decay_type'"),
        (dict(decay_type='block_wise'), 'block_wise'),
        (dict(custom_keys={'decode_haed': dict(lr_mult=2)}), 'decode_haed.*match no parameter'),
        (dict(custom_keys={'decode_head': dict(lr=2)}), "unknown option 'lr'"),
    ],
)
def test_wrong_options(paramwise: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(Segmentor(), **paramwise)


@pytest.mark.parametrize('rate', [0, 1.5])
def test_wrong_rate(rate: float) -> None:
    with pytest.raises(InputError, match='decay_rate'):
        LayerDecayOptimWrapperConstructor(dict(optimizer=dict(type='AdamW', **BASE)), dict(decay_rate=rate))


def test_a_model_without_convnext() -> None:
    with pytest.raises(InputError, match='found none in Linear'):
        build(nn.Linear(2, 2))


@pytest.mark.parametrize('decay_type', ['layer_wise', 'stage_wise'])
@pytest.mark.parametrize('step', ['original', 'gelu', 'downsample'])
def test_a_network_of_the_walk(step: str, decay_type: str) -> None:
    net = RoadmapNet(step, frozen_stages=0)
    groups = LayerDecayOptimWrapperConstructor(
        dict(optimizer=dict(type='AdamW', **BASE)), dict(decay_rate=0.5, decay_type=decay_type)
    ).groups(net)
    trained = [param for param in net.parameters() if param.requires_grad]
    assert sum(len(group.params) for group in groups) == len(trained)
    layers = {id(param): group.layer for group in groups for param in group.params}
    last_block = net.stages[3][2]
    found = [layers[id(p)] for p in (next(net.stages[0].parameters()), next(last_block.parameters()))]
    assert found == [1, 4 if decay_type == 'stage_wise' else last_layer(net.depths) - 1]
    kernel = next(group for group in groups for p in group.params if p is next(last_block.parameters()))
    assert kernel.weight_decay == BASE['weight_decay'] and {group.weight_decay for group in groups} == {
        0.0,
        BASE['weight_decay'],
    }


def test_an_isotropic_network() -> None:
    net = IsotropicConvNeXt()
    ids = {name: layer_id(name, net.depths) for name, _ in net.named_parameters()}
    assert (ids['stem.weight'], ids['blocks.0.norm.bias'], ids['blocks.17.dwconv.weight'], ids['norm.weight']) == (0, 1, 18, 19)
    assert {layer_id(name, net.depths, 'stage_wise') for name in ids} == {0, 1, 19}
    for name in ('blocks.18.norm.weight', 'blocks.x', 'blocks', 'stages.0.0.norm.weight', 'head.weight'):
        with pytest.raises(InputError, match='is unknown to the learning-rate groups'):
            layer_id(name, net.depths)


def test_an_unknown_parameter_in_the_backbone() -> None:
    model = Segmentor()
    model.backbone.pos_embed = nn.Parameter(torch.zeros(3))
    with pytest.raises(InputError, match="'pos_embed' is unknown"):
        build(model)


def test_the_table_goes_to_the_log(logged) -> None:
    build(Segmentor())
    (table,) = [line for line in logged if line.startswith('learning-rate groups')]
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in table.splitlines() if line.startswith('|')]
    assert rows[0] == ['layer', 'lr', 'weight decay', 'tensors', 'parameters']
    assert sum(int(row[4].replace(',', '')) for row in rows[2:]) == sum(p.numel() for p in Segmentor().parameters())


NAN, INF = float('nan'), float('inf')
AMOUNTS = [NAN, INF, -1.0, 'x', True, None, [1]]


@pytest.mark.parametrize(
    'paramwise, message',
    [
        *((dict(decay_rate=value), 'decay_rate: expected') for value in (2, 0, -0.5, NAN, 'x', True, None)),
        *(({f'{kind}_decay_mult': v}, f'{kind}_decay_mult: expected') for kind in ('norm', 'bias', 'flat') for v in AMOUNTS),
        *((dict(custom_keys={'head': {kind: v}}), f'{kind}: expected') for kind in ('lr_mult', 'decay_mult') for v in AMOUNTS),
        (dict(custom_keys=[]), r'custom_keys: expected a dict, got \[\]'),
        (dict(custom_keys={'head': 2}), r"custom_keys\['head'\]: expected a dict, got 2"),
        (dict(custom_keys={3: dict(lr_mult=1)}), 'custom_keys: expected parts of parameter names as keys, got 3'),
        (dict(custom_keys={'': dict(lr_mult=1)}), 'custom_keys: expected parts'),
        (['decay_rate'], 'paramwise_cfg: expected a dict'),
        ({1: 2}, 'unknown option 1'),
        (dict(decay_type=[]), 'decay_type: expected'),
    ],
)
def test_options_of_wrong_types(paramwise, message: str) -> None:
    with pytest.raises(InputError, match=message):
        LayerDecayOptimWrapperConstructor(dict(optimizer=dict(type='AdamW', **BASE)), paramwise)


@pytest.mark.parametrize('value', AMOUNTS)
@pytest.mark.parametrize('name', ['lr', 'weight_decay'])
def test_wrong_rates_and_decays(name: str, value) -> None:
    with pytest.raises(InputError, match='weight_decay in its config' if value is None else f'optimizer.{name}: expected'):
        LayerDecayOptimWrapperConstructor(dict(optimizer=dict(type='AdamW', **BASE) | {name: value}))


@pytest.mark.parametrize('given', [None, [], {}, dict(optimizer='AdamW'), dict(optimizer=None)], ids=str)
def test_a_wrapper_without_an_optimizer(given) -> None:
    with pytest.raises(InputError, match='optim_wrapper: expected a dict with a dict optimizer'):
        LayerDecayOptimWrapperConstructor(given)


@pytest.mark.parametrize(
    'wrong', [dict(type='AdamV'), dict(betas=(2, 2)), dict(eps=-1), dict(momentum=0.9), dict(type=None)], ids=str
)
def test_what_the_optimizer_refuses_is_one_line(wrong: dict) -> None:
    constructor = LayerDecayOptimWrapperConstructor(dict(optimizer=dict(type='AdamW', **BASE) | wrong))
    with pytest.raises(
        InputError, match='optim_wrapper: expected an optimizer of a known type with its arguments, got'
    ) as caught:
        constructor(Segmentor())
    assert '\n' not in str(caught.value)
    assert ('add _delete_=True' in str(caught.value)) == ('momentum' in wrong)


def test_a_name_that_begins_like_the_backbone() -> None:
    model = Segmentor()
    model.backbone2 = nn.Linear(8, 8)
    assert settings(model, build(model).optimizer)['backbone2.weight'] == (1e-3, 0.05)


def test_without_a_decay_rate_all_learn_at_the_same_rate() -> None:
    model = Segmentor()
    wrapper = dict(optimizer=dict(type='AdamW', **BASE), constructor='LayerDecayOptimWrapperConstructor')
    assert {lr for lr, _ in settings(model, build_optim_wrapper(model, wrapper).optimizer).values()} == {1e-3}


def test_names_and_types_that_are_none() -> None:
    with pytest.raises(InputError, match="decay_type: expected 'layer_wise' or 'stage_wise', got 'nonsense'"):
        layer_id('stages.0.0.gamma', (3, 3, 9, 3), 'nonsense')
    for name in ('stages.2.x.y', 'stages.2', 'stages.2.9.gamma', 'stages.x.0', 'stages', 'downsample_layers'):
        for decay_type in ('layer_wise', 'stage_wise'):
            with pytest.raises(InputError, match=f"parameter '{name}' is unknown"):
                layer_id(name, (3, 3, 9, 3), decay_type)

"""Layer-wise and stage-wise learning rates for ConvNeXt (arXiv 2201.03545, appendix A.3; the rule is that of BEiT).

A parameter of layer id k trains at `lr * decay_rate ** (last - k)`, where `last` belongs to the output norms, the neck and the
heads. The ids follow from the backbone's depths, so there is no `num_layers` to get wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from rich.table import Table
from torch import nn

from convnext_dense.errors import InputError, last_line
from convnext_dense.expect import brief, expect_number, number
from convnext_dense.models.pyramid import Pretrainable
from convnext_dense.text import suggest, table_text

BLOCKS_PER_LAYER = 3  # of the third stage: three blocks share a rate
DECAY_TYPES = ('layer_wise', 'stage_wise')
DECAYS = ('norm_decay_mult', 'bias_decay_mult', 'flat_decay_mult')
OPTIONS = ('decay_rate', 'decay_type', *DECAYS, 'custom_keys')
CUSTOM_OPTIONS = ('lr_mult', 'decay_mult')


def last_layer(depths: Sequence[int]) -> int:
    """The id of all that comes after the stages: 7 for nine blocks in the third stage, 13 for twenty-seven.

    Of an isotropic network, whose blocks have an id each as in BEiT, one more than its blocks.
    """
    if len(depths) == 1:
        return depths[0] + 1
    return 4 + ceil(depths[2] / BLOCKS_PER_LAYER)


def layer_id(name: str, depths: Sequence[int], decay_type: str = 'layer_wise') -> int:
    """The layer id of a backbone parameter, 0 (slowest) to `last_layer(depths)`.

    layer_wise: stem 0; stages 1 and 2, with the second's downsampling, 1 and 2; the third downsampling 3, then an id for every
    three blocks; the fourth downsampling and stage; output norms last.
    stage_wise: every downsampling 0; the blocks of stage s (1 to 4) s; output norms last.
    Isotropic networks (one number in `depths`): stem 0, block i 1 + i; stage-wise all blocks 1; the norm last.

    Raises:
        InputError: if the name is not one of the backbone's.
    """
    if decay_type not in DECAY_TYPES:
        raise InputError(f'decay_type: expected {" or ".join(map(repr, DECAY_TYPES))}, got {brief(decay_type)}')
    last = last_layer(depths)
    part, *rest = name.split('.')
    if len(depths) == 1:
        ends = dict(stem=0, norm=last)
        if part in ends:
            return ends[part]
        if part == 'blocks' and rest and rest[0].isdecimal() and int(rest[0]) < depths[0]:
            return 1 if decay_type == 'stage_wise' else 1 + int(rest[0])
    if part in ('norm0', 'norm1', 'norm2', 'norm3'):
        return last
    stage = int(rest[0]) if rest and rest[0] in ('0', '1', '2', '3') else None
    block = int(rest[1]) if len(rest) > 1 and rest[1].isdecimal() else None
    if part == 'downsample_layers' and len(depths) > 1 and stage is not None:
        return 0 if decay_type == 'stage_wise' else (0, 2, 3, last - 1)[stage]
    if part == 'stages' and len(depths) > 1 and stage is not None and block is not None and block < depths[stage]:
        return stage + 1 if decay_type == 'stage_wise' else (1, 2, 3 + block // BLOCKS_PER_LAYER, last - 1)[stage]
    raise InputError(
        f'parameter {name!r} is unknown to the learning-rate groups: expected downsample_layers.*, stages.* or norm0 to norm3; '
        'name new backbone parameters in convnext_dense/training/layer_decay.py'
    )


@dataclass
class Group:
    """Parameters with the same layer id, rate and weight decay."""

    layer: int
    lr: float
    weight_decay: float
    params: list[nn.Parameter] = field(default_factory=list)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Builds an optimiser whose groups follow the layers of every ConvNeXt in the model, wherever it sits.

    `paramwise_cfg`:
        decay_rate: rate of a layer relative to the next one, in (0, 1].
        decay_type: 'layer_wise' or 'stage_wise'.
        norm_decay_mult, bias_decay_mult, flat_decay_mult: weight decay of norms, biases and other 1-D parameters (layer scale,
            GRN) relative to the optimiser's. Default 0.
        custom_keys: `{part of a name: dict(lr_mult=..., decay_mult=...)}`; the longest match counts. `lr_mult` multiplies the
            layer's rate, `decay_mult` replaces the three above. A key that matches nothing is an error.

    Raises:
        InputError: for an unknown option, a model without ConvNeXt, or a backbone parameter with an unknown name.
    """

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None) -> None:
        if not isinstance(optim_wrapper_cfg, dict) or not isinstance(optim_wrapper_cfg.get('optimizer'), dict):
            raise InputError(f'optim_wrapper: expected a dict with a dict optimizer, got {brief(optim_wrapper_cfg)}')
        super().__init__(optim_wrapper_cfg, paramwise_cfg)

    def _validate_cfg(self) -> None:
        cfg = self.paramwise_cfg
        _expect_dict('paramwise_cfg', cfg, OPTIONS)
        if self.base_lr is None or self.base_wd is None:
            raise InputError('optimizer: expected lr and weight_decay in its config, since the groups derive theirs from them')
        expect_number('optim_wrapper.optimizer.lr', self.base_lr, 0)
        expect_number('optim_wrapper.optimizer.weight_decay', self.base_wd, 0)
        rate = cfg.get('decay_rate', 1.0)
        if not (number(rate) and 0 < rate <= 1):
            raise InputError(f'paramwise_cfg.decay_rate: expected a number in (0, 1], got {brief(rate)}')
        if cfg.get('decay_type', 'layer_wise') not in DECAY_TYPES:
            given = brief(cfg['decay_type'])
            raise InputError(f"paramwise_cfg.decay_type: expected 'layer_wise' or 'stage_wise', got {given}")
        for option in DECAYS:
            expect_number(f'paramwise_cfg.{option}', cfg.get(option, 0.0), 0)
        custom_keys = cfg.get('custom_keys', {})
        _expect_dict('custom_keys', custom_keys)
        for key, values in custom_keys.items():
            if not isinstance(key, str) or not key:
                raise InputError(f'custom_keys: expected parts of parameter names as keys, got {brief(key)}')
            _expect_dict(f'custom_keys[{key!r}]', values, CUSTOM_OPTIONS)
            for option, value in values.items():
                expect_number(f'custom_keys[{key!r}].{option}', value, 0)

    def groups(self, model: nn.Module) -> list[Group]:
        """The model's trainable parameters, each once, by (layer id, rate, weight decay)."""
        cfg = self.paramwise_cfg
        keys = sorted(cfg.get('custom_keys', {}), key=lambda key: (-len(key), key))
        unmatched = set(keys)
        groups: dict[tuple[int, float, float], Group] = {}
        for name, module, param, layers_below_last, layer in _walk(model, cfg.get('decay_type', 'layer_wise')):
            key = next((key for key in keys if key in name), None)
            custom = cfg['custom_keys'][key] if key is not None else {}
            unmatched.discard(key)
            if not param.requires_grad:
                continue
            lr = self.base_lr * cfg.get('decay_rate', 1.0) ** layers_below_last * custom.get('lr_mult', 1.0)
            decay = self.base_wd * custom.get('decay_mult', self._decay_mult(name, module, param))
            group = groups.setdefault((layer, lr, decay), Group(layer, lr, decay))
            group.params.append(param)
        if unmatched:
            raise InputError(f'custom_keys: {sorted(unmatched)} match no parameter of {type(model).__name__}')
        return [groups[key] for key in sorted(groups)]

    def _decay_mult(self, name: str, module: nn.Module, param: nn.Parameter) -> float:
        if isinstance(module, (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)):
            return self.paramwise_cfg.get('norm_decay_mult', 0.0)
        if name.endswith('.bias') or name == 'bias':
            return self.paramwise_cfg.get('bias_decay_mult', 0.0)
        if param.ndim <= 1 or '.grn.' in f'.{name}':  # GRN's are (1, 1, 1, C) in official files
            return self.paramwise_cfg.get('flat_decay_mult', 0.0)
        return 1.0

    def __call__(self, model: nn.Module) -> Any:
        model = getattr(model, 'module', model)
        groups = self.groups(model)
        print_log(f'learning-rate groups\n{table_text(groups_table(groups))}', logger='current')
        params = [dict(params=g.params, lr=g.lr, weight_decay=g.weight_decay, param_group=f'layer_{g.layer}') for g in groups]
        try:
            optimizer = OPTIMIZERS.build({**self.optimizer_cfg, 'params': params})
        except (TypeError, KeyError, ValueError, AssertionError) as error:
            given, why = brief(dict(self.optimizer_cfg)), last_line(error)
            if 'unexpected keyword' in why:
                why += '; where it comes from the base config, add _delete_=True to optimizer to drop what stands there'
            raise InputError(
                f'optim_wrapper: expected an optimizer of a known type with its arguments, got {given}: {why}'
            ) from error
        wrapper = {'type': 'OptimWrapper', **self.optim_wrapper_cfg}
        return OPTIM_WRAPPERS.build(wrapper, default_args=dict(optimizer=optimizer))


def _expect_dict(name: str, given: Any, options: Sequence[str] | None = None) -> None:
    """Stop at what is no dict, and at a key that is none of the options."""
    if not isinstance(given, dict):
        raise InputError(f'{name}: expected a dict, got {brief(given)}')
    for option in given:
        if options is not None and option not in options:
            why = 'it follows from the depths, remove it' if option == 'num_layers' else suggest(str(option), options)
            raise InputError(f'{name}: unknown option {option!r}; {why}')


def _walk(model: nn.Module, decay_type: str) -> Iterator[tuple[str, nn.Module, nn.Parameter, int, int]]:
    """Every parameter once: full name, its module, the parameter, layers below the last, layer id."""
    backbones = {prefix: m for prefix, m in model.named_modules() if isinstance(m, Pretrainable)}
    if not backbones:
        raise InputError(f'expected a ConvNeXt somewhere in the model, found none in {type(model).__name__}')
    last_of_all = max(last_layer(backbone.depths) for backbone in backbones.values())
    seen: set[int] = set()
    for module_name, module in model.named_modules():
        for name, param in module.named_parameters(prefix=module_name, recurse=False):
            if id(param) in seen:
                continue
            seen.add(id(param))
            below, layer = 0, last_of_all
            for prefix, backbone in backbones.items():
                if prefix == '' or name.startswith(f'{prefix}.'):
                    depths = backbone.depths
                    layer = layer_id(name.removeprefix(prefix).lstrip('.'), depths, decay_type)
                    below = last_layer(depths) - layer
            yield name, module, param, below, layer


def groups_table(groups: Sequence[Group]) -> Table:
    """The groups as the log shows them: id, rate, decay, how many parameters."""
    table = Table('layer', 'lr', 'weight decay', 'tensors', 'parameters')
    for g in groups:
        count = sum(param.numel() for param in g.params)
        table.add_row(str(g.layer), f'{g.lr:.4g}', f'{g.weight_decay:g}', str(len(g.params)), f'{count:,}')
    return table

"""Numbers that a library takes and no run can use: not finite, of another type than its argument, or out of range.

They are looked for in what was built, so that it does not matter which entry of a config they came from.
"""

from __future__ import annotations

import inspect
import math
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import mmcv.ops
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import IterBasedTrainLoop
from torch import nn
from torch.utils.data import DataLoader

from convnext_dense.errors import InputError
from convnext_dense.expect import number, whole
from convnext_dense.run.nodes import component, leaves

SIMULATED = 2000  # steps of a schedule that are looked at
RISE = 1000  # no schedule lifts a rate that far on purpose
LARGEST = 2**31 - 1
# In the free dicts train_cfg and test_cfg, which no class checks.
SHARES = re.compile(
    r'model\.(.*\.)?(iou_threshold|score_thr|pos_iou_thr|neg_iou_thr|min_pos_iou|ignore_iof_thr|pos_fraction|mask_thr_binary)'
)
COUNTS = re.compile(r'model\.(.*\.)?(sampler\.num|max_per_img|nms_pre|mask_size|roi_feat_size)')
WITHOUT = ('ignore_iof_thr', 'score_thr', 'mask_thr_binary', 'max_per_img', 'nms_pre')  # whose -1 means "none" or "all"
ANCHORS = re.compile(
    r'model\.(.*\.)?anchor_generator\.(scales|ratios|strides|base_sizes|octave_base_scale|scales_per_octave)(\.\d+)*'
)
LOOSE = ('loss_scale', 'scale_factor', 'val_interval')  # annotated with fewer types than the libraries' own configs give
PLAIN = (bool, int, float, str, type(None))
# Of an optimiser's groups. Rates above the last are slips of an exponent; with an epsilon of 0 a gradient of 0 becomes NaN.
RANGES = {
    'lr': (0, 1000, ' from 0 to 1000'),
    'weight_decay': (0, math.inf, ' from 0 up'),
    'eps': (math.ulp(0), math.inf, ' above 0'),
    'momentum': (-1, 1 - 1e-9, ' below 1'),
}


def check_numbers(cfg: Config) -> None:
    """Stop at a number that is none, and at an argument of another type than its component says.

    Raises:
        InputError: with the entry's dotted key.
    """
    for key, value in leaves(cfg._cfg_dict):
        if isinstance(value, float) and not (math.isfinite(value) or (math.isinf(value) and key.endswith('norm_type'))):
            raise InputError(f'{key}: expected a finite number, got {value}')
        if isinstance(value, int) and abs(value) > LARGEST and not key.endswith('seed'):
            raise InputError(f'{key}: expected a number of at most {LARGEST}, got {value}')
        if isinstance(value, (int, float)) and not (value == -1 and key.endswith(WITHOUT)):
            if SHARES.fullmatch(key) and not 0 <= value <= 1:
                raise InputError(f'{key}: expected a share from 0 to 1, got {value}')
            if key.endswith('.pos_fraction') and not value > 0:
                raise InputError(f'{key}: expected a share above 0, got {value}: no object would be learnt from')
            if COUNTS.fullmatch(key) and not whole(value, 1):
                raise InputError(f'{key}: expected a whole number from 1 up, got {value}')
            if ANCHORS.fullmatch(key) and not value > 0:
                raise InputError(f'{key}: expected a number above 0, got {value}')
        if key.endswith('nms.type') and not ('nms' in str(value) and hasattr(mmcv.ops, str(value))):
            raise InputError(f"{key}: expected a function of mmcv.ops, as 'nms' or 'soft_nms'; got {value!r}")
        if isinstance(value, Mapping) and isinstance(value.get('type'), (str, type)):
            _check_types(key, value, component(value['type'], cfg.get('default_scope')))


def _check_types(key: str, node: Mapping[str, Any], cls: Any) -> None:
    declared = dict(_declared(cls)) if inspect.isclass(cls) else {}
    for name, value in node.items():
        if name in declared and isinstance(value, PLAIN) and name not in LOOSE:
            allowed, default = declared[name]
            types = (*allowed, type(default))  # an argument that says int may have 3.0 for its default
            if not any(_is(value, one) for one in types):
                words = ' or '.join('None' if one is type(None) else one.__name__ for one in allowed)
                raise InputError(f'{key}.{name}: expected {words}, as {cls.__name__} takes it; got {value!r}')


def _declared(cls: type) -> Iterator[tuple[str, tuple[tuple[type, ...], Any]]]:
    """Arguments of a class that are annotated with plain types alone: name, (types, default). Its own come last."""
    for base in reversed(cls.__mro__):
        if '__init__' not in vars(base):
            continue
        try:
            hints = typing.get_type_hints(vars(base)['__init__'])
        except Exception:  # a name that is not there at run time
            continue
        for name, parameter in inspect.signature(vars(base)['__init__']).parameters.items():
            hint = hints.get(name)
            united = typing.get_origin(hint) in (typing.Union, types.UnionType)
            allowed = typing.get_args(hint) if united else (hint,)
            if all(one in PLAIN for one in allowed):
                yield name, (allowed, parameter.default)


def _is(value: Any, cls: type) -> bool:
    if cls in (int, float):
        return isinstance(value, (int, cls)) and not isinstance(value, bool)
    return isinstance(value, cls)


def check_loader(name: str, loader: DataLoader, processes: int) -> None:
    """Stop at numbers of a loader that PyTorch takes and cannot use. The data are shared by `processes`."""
    dataset: Any = loader.dataset
    if len(dataset) == 0:
        raise InputError(f'{name}.dataset: expected at least one image, got none; check its files, filter_cfg and times')
    if not whole(loader.num_workers, 0):
        raise InputError(f'{name}.num_workers: expected a whole number from 0 up, got {loader.num_workers!r}')
    size = getattr(loader.batch_sampler, 'batch_size', loader.batch_size)
    if size is not None and not whole(size, 1):
        raise InputError(f'{name}.batch_size: expected a whole number from 1 up, got {size!r}')
    if getattr(loader.batch_sampler, 'drop_last', loader.drop_last) and size and len(dataset) // processes < size:
        raise InputError(
            f'{name}: expected at least one batch a process, got {len(dataset)} images for {processes} at {size} a '
            'batch with drop_last; set a smaller batch_size or drop_last=False'
        )


def check_loop(loop: Any) -> None:
    """Stop at a training loop that would do nothing, or never evaluate when it is meant to."""
    for name, least in (('max_epochs', 1), ('max_iters', 1), ('val_interval', 1), ('val_begin', 0)):
        value = getattr(loop, name, least)
        if not whole(int(value) if isinstance(value, float) and value.is_integer() else value, least):
            raise InputError(f'train_cfg.{name}: expected a whole number from {least} up, got {value!r}')


def check_optimizer(wrapper: OptimWrapper | OptimWrapperDict) -> None:
    """Stop at rates, decays, accumulation and clipping that are no finite numbers in their range."""
    for one in wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]:
        groups = one.optimizer.param_groups
        for group in groups:
            for name, value in group.items():
                least, most, words = RANGES.get(name, (-math.inf, math.inf, ''))
                for item in value if isinstance(value, (list, tuple)) and name != 'params' else [value]:
                    numeric = isinstance(item, (int, float)) and not isinstance(item, bool)
                    if numeric and not (number(item, least) and item <= most):
                        raise InputError(f'optim_wrapper.optimizer.{name}: expected a finite number{words}, got {item}')
        if not any(group['lr'] > 0 for group in groups):
            raise InputError('optim_wrapper.optimizer.lr: expected more than 0, got 0 for every parameter: nothing would train')
        if not whole(one._accumulative_counts, 1):
            given = one._accumulative_counts
            raise InputError(f'optim_wrapper.accumulative_counts: expected a whole number from 1 up, got {given!r}')
        for name, value in (getattr(one, 'clip_grad_kwargs', None) or {}).items():
            if name in ('max_norm', 'clip_value') and not (number(value) and value > 0):
                raise InputError(f'optim_wrapper.clip_grad.{name}: expected a finite number above 0, got {value!r}')


def check_schedule(schedulers: Any, wrapper: Any, loop: Any) -> None:
    """Stop at a schedule whose rates, step by step for the first `SIMULATED`, leave the sound range."""
    if isinstance(schedulers, dict):
        for name, some in schedulers.items():
            check_schedule(some, wrapper[name], loop)
        return
    first_rate = max(group.get('initial_lr', group['lr']) for group in wrapper.param_groups)
    for one in schedulers:
        schedule = type(one).__name__
        if one.by_epoch and isinstance(loop, IterBasedTrainLoop):
            raise InputError(
                f'param_scheduler: expected by_epoch=False in {schedule}, as {type(loop).__name__} has no epochs; got True'
            )
        lowest = getattr(one, 'eta_min', None) or 0
        if not (number(lowest, 0) and lowest <= first_rate):
            raise InputError(
                f"param_scheduler: expected eta_min from 0 to the optimiser's {first_rate:g} in {schedule}, got {one.eta_min}"
            )
        if not getattr(one, 'power', 1) > 0:
            raise InputError(f'param_scheduler: expected a power above 0 in {schedule}, got {one.power}')
    for by_epoch, steps in ((False, loop.max_iters), (True, loop.max_epochs)):
        some = [one for one in schedulers if one.by_epoch == by_epoch]
        for step in range(2, min(steps, SIMULATED) + 1 if some else 0):  # the first one's rate is set already
            for scheduler in some:
                scheduler.step()
            rates = [(float(group['lr']), group.get('initial_lr', group['lr'])) for group in wrapper.param_groups]
            if step < steps and all(rate == 0 for rate, _ in rates):
                unit = 'epoch' if by_epoch else 'iteration'
                raise InputError(
                    f'param_scheduler: expected rates above 0 up to the last {unit}, {steps}; got 0 from {unit} {step} on; '
                    'check end, or eta_min'
                )
            wrong = [rate for rate, first in rates if not (number(rate, -1e-12) and rate <= RISE * first)]
            if wrong:
                when = f'{"epoch" if by_epoch else "iteration"} {step}'
                names = ', '.join(type(one).__name__ for one in some)
                raise InputError(
                    f"param_scheduler: expected rates from 0 to {RISE} times the optimiser's, got {wrong[0]:g} at {when}; "
                    f'check {names}'
                )


def check_model(model: nn.Module) -> None:
    """Stop at weights of losses and constants of norms that no training can use."""
    for name, parameter in model.named_parameters():
        if parameter.numel() == 0:
            raise InputError(f'model.{name}: expected weights, got none, of shape {tuple(parameter.shape)}; check its layer')
    for name, module in model.named_modules():
        weight = getattr(module, 'loss_weight', None)
        if weight is not None and not isinstance(weight, (list, tuple)) and not number(weight, 0):
            raise InputError(f'model.{name}.loss_weight: expected a finite number from 0 up, got {weight!r}')
        eps = getattr(module, 'eps', None)
        if isinstance(module, (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)) and not (number(eps) and eps > 0):
            raise InputError(f'model.{name}.eps: expected a finite number above 0, got {eps!r}')
        if isinstance(module, nn.modules.batchnorm._NormBase):
            momentum = module.momentum
            if momentum is not None and not (number(momentum, 0) and momentum <= 1):
                raise InputError(f'model.{name}.momentum: expected a number from 0 to 1, got {momentum!r}')


def check_hooks(hooks: Iterable[Hook]) -> None:
    """Stop at a hook that never acts, or keeps no checkpoint, but for -1, by which mmengine says "never" and "all"."""
    for hook in hooks:
        for key, meaning in (('interval', 'never'), ('max_keep_ckpts', 'all')):
            value = getattr(hook, key, -1)
            if value != -1 and not whole(value, 1):
                name = type(hook).__name__
                raise InputError(f'{name}.{key}: expected a whole number from 1 up, or -1 for {meaning}; got {value!r}')


def check_assigners(model: nn.Module) -> None:
    """Stop at boxes that would be of an object and of the background at once."""
    for name, module in model.named_modules():
        given = getattr(module, 'assigner', None) or getattr(module, 'bbox_assigner', None)
        for one in given if isinstance(given, (list, tuple)) else [given]:
            above, below = getattr(one, 'pos_iou_thr', None), getattr(one, 'neg_iou_thr', None)
            if number(above) and number(below) and above < below:
                raise InputError(
                    f'model.train_cfg: expected pos_iou_thr of at least neg_iou_thr in the assigner of {name}, got '
                    f'{above} and {below}'
                )

"""What a checkpoint must hold so that training goes on from it, checked before the run."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import HOOKS, PARAM_SCHEDULERS, DefaultScope
from torch import Tensor, nn

from convnext_dense.errors import InputError, reason
from convnext_dense.text import listed
from convnext_dense.weights.open import check_plain

PARTS = ('meta', 'message_hub', 'optimizer')
INSTEAD = 'take a checkpoint of the same recipe, or its weights alone with --load-from'
MAX_SEED = 2**32
COUNTS = ('last_step', '_global_step')  # of a scheduler
PROGRESS = ('best', 'num_bad_epochs', 'cooldown_counter')  # of one that waits for a metric
RATES = ('base_values', '_last_value')  # of a scheduler, by group


def check_resume(content: Mapping[str, Any], cfg: Config, model: nn.Module) -> list[str]:
    """Stop where a checkpoint's training state is not that of `cfg` and `model`.

    Lines for the log: where nothing is left to train, and where a schedule stays the checkpoint's.

    Raises:
        InputError: if a part is missing, of another type, or of another optimizer, schedule or model.
    """
    schedulers = _schedulers(cfg)
    lacking = [part for part in (*PARTS, *(['param_schedulers'] if schedulers else [])) if part not in content]
    if lacking:
        raise InputError(f'--resume: expected a training checkpoint, got one without {", ".join(lacking)}; {INSTEAD}')
    meta, hub = content['meta'], content['message_hub']
    for key in ('iter', 'epoch'):
        _expect(_is_count(_get(meta, key)), f'meta.{key}', 'an integer of 0 or more', _get(meta, key))
    seed = _get(meta, 'seed')
    _expect(seed is None or (_is_count(seed) and seed < MAX_SEED), 'meta.seed', f'an integer below {MAX_SEED}', seed)
    for key in ('log_scalars', 'runtime_info', 'resumed_keys'):
        _expect(isinstance(_get(hub, key), Mapping), f'message_hub.{key}', 'a dict', _get(hub, key))
    wrapper = _wrapper(cfg, model)
    _check_optimizer(content['optimizer'], wrapper.optimizer)
    lines = _check_schedulers(content.get('param_schedulers'), schedulers, wrapper)
    for key, done in (('max_iters', meta['iter']), ('max_epochs', meta['epoch'])):
        last = _get(cfg.get('train_cfg'), key)
        if not _is_count(last) or done < last:
            continue
        higher = f'set train_cfg.{key} higher to go on'
        if done > last:
            part = 'iter' if key == 'max_iters' else 'epoch'
            raise InputError(f'--resume: meta.{part}: expected up to {last}, as train_cfg.{key} says, got {done}; {higher}')
        lines.append(f'resume: the run is finished, nothing is left to train: {key}={last} is reached; {higher}')
    _check_average(content, cfg, model)
    return lines


def _check_average(content: Mapping[str, Any], cfg: Config, model: nn.Module) -> None:
    """Stop where the averaged weights, which mmengine's EMAHook reads, are not those of the model."""
    given = cfg.get('custom_hooks') or []
    nodes = [*given, *(cfg.get('default_hooks') or {}).values()] if isinstance(given, list) else []
    classes = [node.get('type') for node in nodes if isinstance(node, dict)]
    classes = [HOOKS.get(cls) if isinstance(cls, str) else cls for cls in classes]
    if 'ema_state_dict' not in content or not any(inspect.isclass(cls) and issubclass(cls, EMAHook) for cls in classes):
        return
    average, own = content['ema_state_dict'], {f'module.{name}': value for name, value in model.state_dict().items()}
    _expect(isinstance(average, Mapping), 'ema_state_dict', 'a dict', average)
    theirs = {name for name in average if not isinstance(name, str) or name.startswith('module.')}
    differ = listed(sorted(map(str, theirs ^ set(own))))
    _expect(not differ, 'ema_state_dict', f'the {len(own)} weights of the model', f'others ({differ})')
    for name, param in own.items():
        value = average[name]
        got = str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
        shape = tuple(param.shape)
        _expect(got == str(shape), f'ema_state_dict: {name}', f'a tensor of shape {shape}', got)
        check_plain(f'--resume: ema_state_dict: {name}', value)
        _expect(bool(torch.isfinite(value.float()).all()), f'ema_state_dict: {name}', 'finite numbers', 'NaN or infinity')
    steps = average.get('steps', torch.tensor(0))
    whole = isinstance(steps, Tensor) and steps.ndim == 0 and not steps.is_floating_point() and steps >= 0
    _expect(bool(whole), 'ema_state_dict: steps', 'a whole number of 0 or more', str(steps))


def _get(node: Any, key: str) -> Any:
    return node.get(key) if isinstance(node, Mapping) else None


def _is_count(value: Any, least: int = 0) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) >= least


def _expect(holds: bool, what: str, expected: str, got: Any) -> None:
    if not holds:
        told = repr(got)[:80] if got is None or isinstance(got, (str, float, int)) else type(got).__name__
        raise InputError(f'--resume: {what}: expected {expected}, got {told}; {INSTEAD}')


def _schedulers(cfg: Config) -> list[Any]:
    given = cfg.get('param_scheduler') or []
    return list(given) if isinstance(given, (list, tuple)) else [given]


def _wrapper(cfg: Config, model: nn.Module) -> OptimWrapper:
    """The optimizer of this run, built in silence: the run says its groups."""
    logger = MMLogger.get_current_instance()
    logger.disabled = True
    try:
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
            return build_optim_wrapper(model, copy.deepcopy(cfg.optim_wrapper))
    except InputError:
        raise
    except Exception as error:  # of any library's optimizer
        raise InputError(f'optim_wrapper: cannot be built from this config: {reason(error)}') from error
    finally:
        logger.disabled = False


def _check_optimizer(saved: Any, optimizer: torch.optim.Optimizer) -> None:
    groups, states = _get(saved, 'param_groups'), _get(saved, 'state')
    whole = isinstance(groups, list) and all(isinstance(_get(group, 'params'), list) for group in groups)
    _expect(whole, 'optimizer.param_groups', 'a list of dicts with params', groups)
    _expect(isinstance(states, Mapping), 'optimizer.state', 'a dict', states)
    settings = saved.get('base_param_settings')  # where mmengine keeps the rate by which it schedules
    _expect(settings is None or isinstance(settings, Mapping), 'optimizer.base_param_settings', 'a dict', settings)
    names = [name for group in groups for name in group['params']]
    params = [param for group in optimizer.param_groups for param in group['params']]
    _expect(all(map(_is_count, names)), 'optimizer.param_groups: params', 'numbers of parameters', names)
    sizes, wanted = ([len(group['params']) for group in rows] for rows in (groups, optimizer.param_groups))
    if sizes != wanted:
        expected, got = (f'{len(rows)} groups of {listed(rows, 20)} parameters' for rows in (wanted, sizes))
        raise InputError(f'--resume: optimizer: expected {expected}, got {got}; {INSTEAD}')
    for group in groups:
        for key, value in optimizer.defaults.items():
            if _is_setting(value):
                _expect(_is_setting(group.get(key)), f'optimizer: {key} of a group', f'such as {value}', group.get(key))
    kept = _kept_by(optimizer)
    for name, param in zip(names, params):
        state = states.get(name)
        if state is None:
            continue  # a parameter that has had no gradient
        given = sorted(map(str, state)) if isinstance(state, Mapping) else []
        of = f'{listed(kept)} of {type(optimizer).__name__}'
        _expect(set(kept) <= set(given), f'optimizer.state[{name}]', of, listed(given) or 'none')
        for key, like_param in kept.items():
            what = f'optimizer.state[{name}].{key}'
            if not like_param:
                number = state[key].item() if isinstance(state[key], Tensor) and state[key].ndim == 0 else state[key]
                _expect(number is None or _is_setting(number), what, 'a number', number)
                continue
            value = state[key] if isinstance(state[key], Tensor) else torch.empty(0)
            _expect(value.shape == param.shape, what, f'a tensor of shape {tuple(param.shape)}', str(tuple(value.shape)))
            check_plain(f'--resume: {what}', value)
            _expect(bool(torch.isfinite(value.float()).all()), what, 'finite numbers', 'NaN or infinity')


def _is_setting(value: Any) -> bool:
    rows = value if isinstance(value, (list, tuple)) else [value]
    return all(isinstance(x, (int, float)) and not isinstance(x, bool) and abs(x) < math.inf for x in rows)


def _kept_by(optimizer: torch.optim.Optimizer) -> dict[str, bool]:
    """What an optimizer keeps of a parameter, and whether in its shape: seen from one step on a small one."""
    param = nn.Parameter(torch.ones(2, 3))
    param.grad = torch.ones(2, 3)
    known = set(inspect.signature(type(optimizer)).parameters) - {'capturable', 'fused'}  # which are for other devices
    try:
        small = type(optimizer)([param], **{key: value for key, value in optimizer.defaults.items() if key in known})
        small.step()
    except Exception:  # an optimizer that does not step on its own, such as LBFGS
        return {}
    return {key: isinstance(value, Tensor) and value.shape == param.shape for key, value in small.state[param].items()}


def _check_schedulers(saved: Any, schedulers: list[Any], wrapper: OptimWrapper) -> list[str]:
    saved = [] if saved is None else saved
    _expect(isinstance(saved, (list, tuple)), 'param_schedulers', 'a list', saved)
    if len(saved) != len(schedulers):
        raise InputError(
            f'--resume: param_schedulers: expected {len(schedulers)}, as in the config, got {len(saved)}; {INSTEAD}'
        )
    lines = []
    for i, (state, node) in enumerate(zip(saved, schedulers)):
        what = f'param_schedulers[{i}]'
        _expect(isinstance(state, Mapping), what, 'a dict', state)
        try:
            given = {key: value for key, value in node.items() if key != 'convert_to_iter_based'}
            known = PARAM_SCHEDULERS.build(given, default_args=dict(optimizer=wrapper)).state_dict()
        except Exception as error:  # of any library's scheduler
            raise InputError(f'param_scheduler[{i}]: cannot be built from this config: {reason(error)}') from error
        if set(known) != set(state):
            differ = listed(sorted(map(str, set(known) ^ set(state))))
            raise InputError(f'--resume: {what}: expected those of {node.get("type")}, got others ({differ}); {INSTEAD}')
        for key in [key for key in COUNTS if key in known]:
            _expect(_is_count(state[key], -1), f'{what}.{key}', 'an integer of -1 or more', state[key])  # -1: not begun
        for key in [key for key in RATES if key in known]:
            rows, groups = state[key], len(wrapper.param_groups)
            fits = isinstance(rows, list) and len(rows) == groups and _is_setting(rows)
            _expect(fits, f'{what}.{key}', f'{groups} numbers, one for each group', rows)
        for key, value in known.items():
            if key in (*COUNTS, *RATES, *PROGRESS):
                continue
            _expect(
                type(state[key]) is type(value) or _is_setting([value, state[key]]),
                f'{what}.{key}',
                f'such as {value}',
                state[key],
            )
            if state[key] != value and 'convert_to_iter_based' not in node:
                lines.append(f"resume: {what}.{key} stays the checkpoint's {state[key]}; the config has {value}")
    return lines

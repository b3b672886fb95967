"""Overrides of config entries: a key must be one that something reads, and its value of the sort that stood there."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from torch.utils.data import DataLoader

from convnext_dense.errors import InputError
from convnext_dense.kernels.guard import expect_fused
from convnext_dense.run.nodes import component, leaves, parameters, top_level
from convnext_dense.text import listed, suggest
from convnext_dense.training.layer_decay import OPTIONS as PARAMWISE_OPTIONS

SETTLED = ('num_classes',)  # variables that the tools set everywhere
OPTIONS = dict(  # entries that an option of the tools sets, or that are read with the file
    data_root='use --data-root DIR',
    resume='use --resume [auto|FILE]',
    load_from='use --load-from FILE',
    launcher='use --launcher NAME',
    custom_imports='set it in the config file',
)
FREE = ('custom_keys', 'metainfo')  # dicts whose keys the user chooses
MISSING = object()
LOADER_KEYS = ('dataset', 'sampler', 'batch_sampler', 'collate_fn')


def check_overrides(cfg: Config, overrides: dict[str, Any]) -> None:
    """Stop at an override whose key neither the config has nor the component at that place takes, or of another sort."""
    for dotted, value in overrides.items():
        _check_override(cfg, dotted, value)


def check_once(option: str, overrides: Mapping[str, Any] | None, same: Callable[[str], bool]) -> None:
    """Stop at an override of what `option`, which was given too, would replace."""
    for key in filter(same, overrides or {}):
        raise InputError(f'{option} and --cfg-options {key}: expected one of the two, got both; leave out one of them')


def _check_override(cfg: Config, dotted: str, value: Any) -> None:
    _check_head(cfg, dotted)
    found = _walk(cfg, dotted)
    if found is not MISSING:
        _check_value(dotted, found, value)


def _check_head(cfg: Config, dotted: str) -> None:
    """Stop at what an option of the tools sets, and at a variable of the config file."""
    node, head = cfg._cfg_dict, dotted.partition('.')[0]
    if head in OPTIONS:
        raise InputError(f'--cfg-options {dotted}: {head} is set before it is read; {OPTIONS[head]}')
    if head in node and head not in top_level() | set(SETTLED):
        value_of = node[head]
        same = [path for path, other in leaves(node) if other == value_of and path.split('.')[0] in top_level()]
        same = [] if value_of is None else same  # which says nothing of where it went
        where = f'; set {listed(same, 4)}' if same else '; set it in the config file'
        why = 'is a variable of the config file, which went into other entries when it was read'
        raise InputError(f'--cfg-options {dotted}: {head} {why}{where}')


def _walk(cfg: Config, dotted: str) -> Any:
    """What stands under the dotted key; MISSING where nothing does and the component there takes it."""
    node: Any = cfg._cfg_dict
    names = dotted.split('.')
    for depth, name in enumerate(names):
        above = '.'.join(names[:depth])
        if isinstance(node, (list, tuple)):
            if not name.isdigit() or int(name) >= len(node):
                raise InputError(f'--cfg-options {dotted}: {above} is a list of {len(node)}; expected an index below that')
            node = node[int(name)]
        elif not isinstance(node, dict):
            raise InputError(f'--cfg-options {dotted}: {above} is the value {node!r}, it has no keys')
        elif name in node:
            node = node[name]
        else:
            _check_new_key(cfg, node, names, depth)
            return MISSING
    return node


def _check_new_key(cfg: Config, node: dict[str, Any], names: list[str], depth: int) -> None:
    """Stop at a key, the one at `depth`, that `node` does not have and nothing would read."""
    dotted, above, name = '.'.join(names), '.'.join(names[:depth]), names[depth]
    if names[depth + 1 : depth + 2] and names[depth + 1].isdigit():
        raise InputError(
            f'--cfg-options {dotted}: expected a list under {name} of {above or "the config"}, which has none; '
            'write the list into the config file'
        )
    known = _accepted(node, names[depth - 1] if depth else None, cfg.get('default_scope'))
    known = known | set(node) if depth else known - set(OPTIONS)
    if name not in known and not (depth and names[depth - 1] in FREE):
        raise InputError(f'--cfg-options {dotted}: {above or "the config"} has no key {name!r}; {suggest(name, known)}')


def _check_value(dotted: str, stood: Any, value: Any) -> None:
    """Stop at a value of another sort than the one that stood there."""
    if dotted.endswith('.fused'):  # a text or a truth
        expect_fused(value)
        return
    expected = _sort_of(stood)
    if value is not None and expected is not None and not expected.takes(stood, value):
        raise InputError(f'--cfg-options {dotted}: expected {expected.words.format(stood)}; got {value!r}')
    if isinstance(stood, dict) and value is not None and not isinstance(value, dict):
        raise InputError(f'--cfg-options {dotted}: expected one of its keys ({", ".join(stood)}), got {value!r} for the whole')


@dataclass(frozen=True)
class _Sort:
    """What may take the place of a value, and how it is said."""

    takes: Callable[[Any, Any], bool]
    words: str


_TRUTH = _Sort(lambda stood, new: isinstance(new, bool), 'true or false, as {}')
# An integer of 0 or less often means "none" where a share or a threshold may stand, as in pos_weight=-1.
_COUNT = _Sort(lambda stood, new: isinstance(new, int) and not isinstance(new, bool), 'a whole number, as {}')
_NUMBER = _Sort(lambda stood, new: isinstance(new, (int, float)) and not isinstance(new, bool), 'a number, as {}')
_NUMBERS = _Sort(lambda stood, new: all(_NUMBER.takes(None, item) for item in _flat(new)), 'numbers, as {}')
_TEXT = _Sort(lambda stood, new: isinstance(new, (str, list, tuple)), 'text, as {!r}')
_PARTS = _Sort(lambda stood, new: new == [], 'one of its entries by index, or [] for none')


def _flat(value: Any) -> list[Any]:
    return [inner for item in value for inner in _flat(item)] if isinstance(value, (list, tuple)) else [value]


def _sort_of(stood: Any) -> _Sort | None:
    if isinstance(stood, bool):
        return _TRUTH
    if isinstance(stood, int) and stood > 0:
        return _COUNT
    if isinstance(stood, (int, float)):
        return _NUMBER
    if isinstance(stood, str):
        return _TEXT
    if isinstance(stood, (list, tuple)) and stood and all(_NUMBER.takes(None, item) for item in stood):
        return _NUMBERS
    return _PARTS if isinstance(stood, list) and any(isinstance(item, dict) for item in stood) else None


def _accepted(node: dict[str, Any], name: str | None, scope: str | None) -> set[str]:
    """Keys that the component described by `node`, found under `name`, would take."""
    if name is None:
        return top_level()
    if name.endswith('_dataloader'):
        return set(inspect.signature(DataLoader.__init__).parameters) - {'self'} | set(LOADER_KEYS)
    if name == 'paramwise_cfg':
        return set(PARAMWISE_OPTIONS)
    cls = component(node.get('type'), scope)
    keys = {'constructor', 'paramwise_cfg', 'optimizer'} if name == 'optim_wrapper' else set()
    if inspect.isclass(cls):
        keys |= parameters(cls)
    return keys - {'self', 'args', 'kwargs'}

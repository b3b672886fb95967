"""What differs between a run's config and the one of the run that it resumes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from convnext_dense.errors import InputError
from convnext_dense.expect import brief
from convnext_dense.text import listed
from convnext_dense.training.loops import RESUMABLE_FOR

# Of where and how a run is started, not of what it trains; the seed is the checkpoint's.
LEFT_OUT = ('work_dir', 'load_from', 'resume', 'launcher', 'experiment_name', 'model_wrapper_cfg', 'randomness', 'log_level')
# Of the model, what changes no number of its training: how it is computed, tested, and where its first weights are from.
FREE = ('fused', 'compile', 'recompute_hidden', 'with_cp', 'init_cfg', 'pretrained', 'test_cfg')
KEPT = ('optim_wrapper.optimizer.', 'optim_wrapper.paramwise_cfg.', 'param_scheduler.')  # of which a checkpoint brings its own
SHOWN = 12  # differences that are told in full
NOTHING = object()


def check_differences(before: Config, cfg: Config) -> list[str]:
    """A line for each entry in which `cfg` differs from `before`, the config in the checkpoint that is resumed.

    Raises:
        InputError: where the model differs.
    """
    if not before:
        return []
    old, new = _entries(before._cfg_dict), _entries(cfg._cfg_dict)
    lines, model = [], []
    for key in dict.fromkeys((*old, *new)):
        was, now = old.get(key, NOTHING), new.get(key, NOTHING)
        if was == now:
            continue
        names = key.split('.')
        if names[0] == 'model' and not any(name in FREE for name in names):
            model.append(f'{key}: expected {_told(was)}, got {_told(now)}')
        elif key.startswith(KEPT):
            lines.append(f"resume: {key} stays the checkpoint's {_told(was)}; the config has {_told(now)}")
        else:
            lines.append(f'resume: {key} is {_told(now)}; the run that is resumed had {_told(was)}')
    if model:
        raise InputError(
            f'--resume: expected the model of the run that is resumed; {listed(model, 3)}; give the same config, or start '
            'a new run from its weights with --load-from'
        )
    more = len(lines) - SHOWN
    return lines[:SHOWN] + ([f'resume: {more} more entries differ from the resumed run'] if more > 0 else [])


def _told(value: Any) -> str:
    return 'nothing' if value is NOTHING else brief(value)


def _entries(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves by dotted key, in a form that a config has before and after it was written as text."""
    found: dict[str, Any] = {}

    def visit(key: str, node: Any) -> None:
        if isinstance(node, Mapping) and node:
            for name, value in node.items():
                visit(f'{key}.{name}' if key else str(name), value)
        elif key == 'custom_hooks' and isinstance(node, (list, tuple)):  # whose order and number say little
            for hook in node:
                visit(f'{key}.{_type(hook["type"])}' if isinstance(hook, Mapping) and 'type' in hook else key, hook)
        elif isinstance(node, (list, tuple)) and any(isinstance(one, (Mapping, list, tuple)) for one in node):
            for i, value in enumerate(node):
                visit(f'{key}.{i}', value)
        elif key.split('.')[0] not in LEFT_OUT:
            found[key] = _type(node) if key.endswith('.type') else list(node) if isinstance(node, tuple) else node

    visit('', cfg)
    return found


def _type(cls: Any) -> Any:
    """The name of a class, however a config names it; of a loop, that of the one that stands for it."""
    if inspect.isclass(cls):
        cls = cls.__name__
    name = cls.rpartition('.')[2] if isinstance(cls, str) else cls
    return RESUMABLE_FOR.get(name, name)

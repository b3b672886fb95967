"""Whether two runs are of one recipe: what differs is then not what a recipe does, but what a seed does."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from convnext_dense.report.evaluate import run_config
from convnext_dense.report.log import Log

PLACES = ('work_dir', 'data_root')  # where a run lies, and its data


def seed_alone(first: Log, second: Log) -> bool:
    """Whether the configs of two runs differ in their seed, and in nothing else but places."""
    one, other = (Config.fromfile(run_config(log)).to_dict() for log in (first, second))
    seeds = [(cfg.pop('randomness', None) or {}).get('seed') for cfg in (one, other)]
    return seeds[0] != seeds[1] and _placeless(one) == _placeless(other)


def _placeless(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _placeless(value) for key, value in node.items() if key not in PLACES}
    return [_placeless(value) for value in node] if isinstance(node, (list, tuple)) else node

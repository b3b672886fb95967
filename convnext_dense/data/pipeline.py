"""What a data pipeline in a config says, without building it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

RESIZES = ('Resize', 'RandomResize', 'RandomChoiceResize')  # of mmcv's kind, by scale, scales or scale_factor


def steps(node: Any) -> Iterator[dict[str, Any]]:
    """Every dict in this part of a config, outermost first."""
    if isinstance(node, dict):
        yield node
    if isinstance(node, (dict, list, tuple)):
        for value in node.values() if isinstance(node, dict) else node:
            yield from steps(value)


def says(node: Any, key: str) -> bool:
    """Whether a dict anywhere in this part of a config has a true value under `key`."""
    return any(step.get(key) for step in steps(node))


def smallest_side(size: tuple[int, int], pipeline: Any) -> int:
    """The shorter side in pixels of the smallest picture that one resizing step makes of one of this size."""
    sides = [
        _shorter(size, scale, step.get('keep_ratio', False))
        for step in steps(pipeline)
        if str(step.get('type')).rpartition('.')[2] in RESIZES
        for scale in _scales(step)
    ]
    return min(sides, default=min(size))


def _scales(step: dict[str, Any]) -> Iterator[Any]:
    """The scales of a resizing step: (long, short) in pixels, or a factor; the smallest of a range."""
    given = step.get('scales') or step.get('scale') or step.get('scale_factor')
    several = isinstance(given, (list, tuple)) and given and isinstance(given[0], (list, tuple))
    least = min(step.get('ratio_range') or (1,))
    for scale in given if several else [given]:
        if isinstance(scale, (list, tuple)) and len(scale) == 2:
            yield tuple(int(side * least) for side in scale)
        elif isinstance(scale, (int, float)):
            yield scale


def _shorter(size: tuple[int, int], scale: Any, keep_ratio: bool) -> int:
    """As mmcv.rescale_size rounds it."""
    if isinstance(scale, tuple):
        if not keep_ratio:
            return min(scale)
        scale = min(max(scale) / max(size), min(scale) / min(size))
    return int(min(size) * scale + 0.5)

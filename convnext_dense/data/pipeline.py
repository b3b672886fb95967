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
    resizes = [step for step in steps(pipeline) if str(step.get('type')).rpartition('.')[2] in RESIZES]
    return min((side for step in resizes for side in _sides(size, step)), default=min(size))


def _sides(size: tuple[int, int], step: dict[str, Any]) -> list[int]:
    """The shorter side for each scale of a resizing step; none for scales that the step's own class will refuse."""
    try:
        return [_shorter(size, scale, step.get('keep_ratio', False)) for scale in _scales(size, step)]
    except (TypeError, ValueError, ArithmeticError):
        return []


def _scales(size: tuple[int, int], step: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """The scales of a resizing step, two sides in pixels each; the smallest of a range."""
    given = step.get('scales') or step.get('scale')
    if not given:
        factor = step['scale_factor'] if step.get('scale_factor') else 1.0
        factors = factor if isinstance(factor, (list, tuple)) else (factor, factor)
        given = [tuple(int(side * by + 0.5) for side, by in zip(size, factors, strict=True))]
    several = isinstance(given, (list, tuple)) and ('scales' in step or isinstance(given[0], (list, tuple)))
    least = min(step.get('ratio_range') or (1,))
    for scale in given if several else [given]:
        one, other = (scale, scale) if isinstance(scale, int) else scale
        yield int(one * least), int(other * least)


def _shorter(size: tuple[int, int], scale: tuple[int, int], keep_ratio: bool) -> int:
    """As mmcv.rescale_size rounds it."""
    if not keep_ratio:
        return min(scale)
    return int(min(size) * min(max(scale) / max(size), min(scale) / min(size)) + 0.5)

"""What a data pipeline in a config says, without building it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from convnext_dense.errors import InputError
from convnext_dense.expect import brief

RESIZES = ('Resize', 'RandomResize', 'RandomChoiceResize')  # of mmcv's kind, by scale, scales or scale_factor
SCALES = ('scale', 'scales', 'scale_factor', 'ratio_range')


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


def _places(node: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """As `steps`, each with its place."""
    if isinstance(node, dict):
        yield where, node
        for key, value in node.items():
            yield from _places(value, f'{where}.{key}')
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _places(value, f'{where}[{index}]')


def _least(value: Any) -> Any:
    """The least number in a scale, or in several of them."""
    if isinstance(value, (list, tuple)):
        return min((number for number in map(_least, value) if number is not None), default=None)
    return value if type(value) in (int, float) else None


def check_resizes(where: str, pipeline: Any) -> None:
    """Stop at a resizing step that would leave no pixel of any picture.

    Raises:
        InputError: with the step's place and what it says.
    """
    for place, step in _places(pipeline, where):
        if _is_resize(step):
            for key in SCALES:
                least = _least(step.get(key))
                if least is not None and least <= 0:
                    raise InputError(f'{place}: expected numbers above 0 in {key} of {step["type"]}, got {brief(step[key])}')


def _is_resize(step: dict[str, Any]) -> bool:
    return str(step.get('type')).rpartition('.')[2] in RESIZES


def smallest_side(size: tuple[int, int], pipeline: Any) -> int:
    """The shorter side in pixels of the smallest picture that one resizing step makes of one of this size."""
    resizes = [step for step in steps(pipeline) if _is_resize(step)]
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

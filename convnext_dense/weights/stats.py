"""The image mean and standard deviation that weights were trained with, where the file or its layout tells."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from torch import Tensor

from convnext_dense.weights.layouts import TEXT_TOWER, Found
from convnext_dense.weights.open import kind_of_path

Stats = tuple[tuple[float, ...], tuple[float, ...]]

# In [0, 1], by channel in RGB order.
IMAGENET: Stats = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP: Stats = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


def expected_stats(path: str, state: Mapping[str, Tensor], found: Found) -> Stats | None:
    """What images should be normalised with; None where nothing tells.

    Looked up in this order: preprocessor_config.json (transformers) and config.json (timm) beside the file, then the layout:
    OpenCLIP's text tower, DINOv3.
    """
    folder = Path(path) if kind_of_path(path) == 'folder' else Path(path).parent
    for name, keys in (('preprocessor_config.json', ('image_mean', 'image_std')), ('config.json', ('mean', 'std'))):
        content = _json(folder / name)
        inner = content.get('pretrained_cfg')
        mean, std = ((inner if isinstance(inner, dict) else content).get(key) for key in keys)
        if _are_numbers(mean) and _are_numbers(std) and len(mean) == len(std) and min(std) > 0:
            return tuple(map(float, mean)), tuple(map(float, std))
    if any(name.startswith(TEXT_TOWER) for name in state) or 'visual.trunk.' in found.prefix:
        return CLIP
    return IMAGENET if found.layout.name.startswith('dinov3') else None


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text()) if path.is_file() else {}
    except (OSError, ValueError, RecursionError):  # a file that merely stands beside the weights
        content = {}
    return content if isinstance(content, dict) else {}


def _are_numbers(row: Any) -> TypeGuard[list[float]]:
    return isinstance(row, list) and bool(row) and all(type(x) in (int, float) and abs(x) < 1e6 for x in row)


def differs(expected: Stats, mean: Sequence[float], std: Sequence[float]) -> str | None:
    """A line where a config's mean and std, in [0, 255], are not the expected ones; None where they are."""
    wanted = [[round(255 * value, 3) for value in row] for row in expected]
    given = [list(mean), list(std)]
    same_length = all(len(want) == len(got) for want, got in zip(wanted, given))
    if same_length and all(abs(a - b) < 0.1 for want, got in zip(wanted, given) for a, b in zip(want, got)):
        return None
    return (
        f'images: these weights were trained with mean={wanted[0]}, std={wanted[1]}; the config has mean={given[0]}, '
        f'std={given[1]}; set them in model.data_preprocessor'
    )

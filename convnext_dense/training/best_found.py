"""The best checkpoint of a run, by its own content: it may be of an evaluation that no training checkpoint knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from convnext_dense.training.last_good import glance
from convnext_dense.training.run_id import KEY


def best_found(
    folder: str, pattern: str, names: tuple[str, str], run: str | None, iteration: int, better: Callable[[Any, Any], bool]
) -> dict[str, Any] | None:
    """The entries `names` (score, path) of the best checkpoint in `folder` that `run` has written up to `iteration`, or None.

    A checkpoint is of before the evaluation at its iteration; so after the last one of training, which is made wherever it
    falls, the best may be known to its own file alone, from which a longer run goes on. `better` compares two scores.
    """
    best: dict[str, Any] | None = None
    for path in sorted(Path(folder).glob(pattern)):
        content, _ = glance(path)
        meta, info = content.get('meta') or {}, (content.get('message_hub') or {}).get('runtime_info') or {}
        score, its_path = (info.get(name) for name in names)
        own = run is not None and meta.get(KEY) == run and meta.get('iter', iteration + 1) <= iteration
        if not own or score is None or Path(str(its_path)).name != path.name:
            continue
        if best is None or better(score, best[names[0]]):
            best = {names[0]: score, names[1]: str(path)}
    return best

"""The file `finished` in a work directory: a run there came to its end, and a restart loop has nothing left to do."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from convnext_dense.files import partial_file

NAME = 'finished'
LENGTHS = ('max_iters', 'max_epochs')


def mark_finished(runner: Runner, cfg: Config) -> None:
    """Say that training and its last evaluation are done: after how many iterations, of the length that the config gives."""
    if not is_main_process():
        return
    content = dict(iterations=runner.iter, epochs=runner.epoch, **_length(cfg))
    with partial_file(Path(cfg.work_dir, NAME)) as partial:
        partial.write_text(json.dumps(content) + '\n')


def unmark(work_dir: str) -> None:
    """A run begins."""
    Path(work_dir, NAME).unlink(missing_ok=True)


def finished(cfg: Config, content: dict[str, Any]) -> str | None:
    """A line where the run in the work directory is done, by its file and by the checkpoint that would be resumed.

    A longer run that is asked for now goes on from the checkpoint.
    """
    marked: Any = None
    with suppress(OSError, ValueError):
        marked = json.loads(Path(cfg.work_dir, NAME).read_text())
    meta: Any = content.get('meta')
    if not isinstance(marked, dict) or not isinstance(meta, dict):
        return None
    same = all(marked.get(key) == value for key, value in _length(cfg).items())
    if not same or marked.get('iterations') != meta.get('iter'):
        return None
    longer = ' or '.join(f'train_cfg.{key}' for key in _length(cfg))
    done = f'is finished after {meta["iter"]} iterations'
    return f'the run in {cfg.work_dir} {done}: nothing is left to do; a higher {longer} goes on'


def _length(cfg: Config) -> dict[str, Any]:
    return {key: cfg.train_cfg[key] for key in LENGTHS if key in cfg.train_cfg}

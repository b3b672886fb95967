"""Tiny runs that save by SafeCheckpointHook, and are given the scores of their evaluations."""

from pathlib import Path
from typing import Any

import torch
from mmengine.runner import Runner
from tiny_runs import Worse, runner

HOOK = 'SafeCheckpointHook'


class Score(Worse):
    """The scores that are given, one after the other."""

    def __init__(self, scores: list[float]) -> None:
        super().__init__()
        self.scores = scores

    def compute_metrics(self, results: list) -> dict[str, float]:
        return dict(score=self.scores.pop(0))


def small_run(work_dir: Path, loop: dict[str, Any], scores: list[float] | None = None, **hook: Any) -> Runner:
    """A runner whose hook saves at each iteration, or epoch where `loop` has max_epochs, but for the options `hook`.

    `loop` may have `resume`, the path of a checkpoint to go on from, and `hooks`, custom ones.
    """
    loop = dict(loop)
    resume, hooks = loop.pop('resume', None), loop.pop('hooks', [])
    if scores is not None:
        loop.setdefault('val_interval', 1)
    options = dict(type=HOOK, interval=1, by_epoch='max_epochs' in loop) | hook
    given = dict(val_evaluator=dict(type=Score, scores=scores)) if scores is not None else {}
    torch.manual_seed(0)  # of the weights, which are drawn before the runner seeds
    made = runner(
        work_dir,
        loop,
        default_hooks=dict(checkpoint=options, logger=dict(type='LoggerHook', interval=1)),
        custom_hooks=hooks,
        load_from=None if resume is None else str(resume),
        resume=resume is not None,
        log_level='INFO',
        **given,
    )
    made.saving = next(one for one in made.hooks if type(one).__name__ == HOOK)
    return made


def names(folder: Path) -> set[str]:
    """Of the files in a folder, but for the lock, dumped configs and the like."""
    return {path.name for path in folder.iterdir() if path.is_file() and path.suffix != '.py' and path.name[0] != '.'}

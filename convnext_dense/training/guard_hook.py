"""What guards of a run share: their state goes on with the run, and their warnings are seen from every process."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from convnext_dense.errors import InputError
from convnext_dense.expect import brief, number


class GuardHook(Hook):
    """A hook whose `state` a checkpoint keeps, in the entry `guards` under the class's name.

    Attributes:
        state: plain numbers, strings, lists and dicts.
    """

    state: dict[str, Any]

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add the state to the entry `guards`."""
        checkpoint.setdefault('guards', {})[type(self).__name__] = dict(self.state)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Take the state where the run goes on from the checkpoint."""
        saved = (checkpoint.get('guards') or {}).get(type(self).__name__) if runner._resume else None
        if isinstance(saved, dict):
            self.state = {key: saved.get(key, value) for key, value in self.state.items()}


def warn(runner: Runner, line: str) -> None:
    """A warning in the log; as an error from other processes than the main one, whose warnings mmengine does not show."""
    runner.logger.log(logging.WARNING if is_main_process() else logging.ERROR, line)


def expect_share(name: str, value: Any) -> None:
    """Stop at what is no number from 0 to 1."""
    if not number(value, 0) or value > 1:
        raise InputError(f'{name}: expected a share from 0 to 1, got {brief(value)}')

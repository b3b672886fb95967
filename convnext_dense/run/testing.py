"""From a settled config to a runner that tests: what `test` and `report` share."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

from convnext_dense.errors import doing
from convnext_dense.run.launch import build_runner
from convnext_dense.run.rehearsal import rehearse

TRAINING = ('train_', 'val_', 'optim_', 'param_')  # beginnings of entries that a test has no use for


def build_test_runner(cfg: Config, model: nn.Module, lines: Sequence[str]) -> Runner:
    """The runner of a test, once all that it needs has been built on trial; `model` is the config's, on the meta device.

    Raises:
        InputError: for what cannot be built.
    """
    for key in [key for key in cfg if key.startswith(TRAINING)]:
        cfg.pop(key)  # the runner takes all of training's, or none
    with doing('building the run'):
        datasets = rehearse(cfg, model, ('test',))
    return build_runner(cfg, list(lines), datasets)

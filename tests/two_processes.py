"""A function in two processes, which are forked from one that has imported the libraries: that takes as long as all else."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

import torch.multiprocessing as mp

IMPORTED = ['torch.distributed', 'mmengine.runner', 'convnext_dense.training.register', 'convnext_dense.run.launch']


def in_two_processes(function: Callable[..., None], *args: Any) -> None:
    """`function(rank, *args)` of ranks 0 and 1; it and the arguments are pickled. An error in one of them is one here."""
    multiprocessing.set_forkserver_preload(IMPORTED)
    mp.start_processes(function, args, nprocs=2, start_method='forkserver')

"""A function in two processes, which are forked from one that has imported the libraries: that takes as long as all else."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from typing import Any

from forked import PATIENCE, Forked


def in_two_processes(function: Callable[..., None], *args: Any) -> None:
    """`function(rank, *args)` of ranks 0 and 1; it and the arguments are pickled. An error in one of them is one here."""
    with tempfile.TemporaryFile('w+') as log:
        processes = [Forked(stdout=log.fileno(), stderr=log.fileno(), call=(function, rank, *args)) for rank in (0, 1)]
        end = time.monotonic() + PATIENCE
        while None in (codes := [one.poll() for one in processes]) and not any(codes) and time.monotonic() < end:
            time.sleep(0.01)
        for one in processes:
            one.kill()
        log.seek(0)
        assert codes == [0, 0], f'the processes ended with {codes}: {log.read()[-5000:]}'

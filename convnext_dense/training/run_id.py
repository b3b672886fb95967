"""Which run a checkpoint is of: a work directory may hold those of several, of which only the last goes on."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from logging import Logger
from pathlib import Path
from typing import Any

from convnext_dense.files import partial_file
from convnext_dense.training.checkpoint_file import POINTER

NAME = '.run'  # the file of the work directory with the name of the run that trained there last
KEY = 'run'  # of a checkpoint's meta


def run_of(folder: str | os.PathLike[str]) -> str | None:
    """The run that trained last in the work directory; None where that is not known."""
    try:
        return Path(folder, NAME).read_text().strip() or None
    except (OSError, ValueError):
        return None


def of_another_run(meta: Mapping[str, Any], run: str | None) -> bool:
    """Whether a checkpoint is of another run than `run`; one that names none may be of any."""
    return run is not None and meta.get(KEY) not in (None, run)


def begin_run(folder: str, resumed: Mapping[str, Any] | None, logger: Logger) -> str:
    """The name of the run that begins in the work directory, or goes on there by a checkpoint with the meta `resumed`.

    From now on `last_checkpoint` of another run is not gone on from: it is removed, with a line.
    """
    before = run_of(folder)
    run = (resumed.get(KEY) or before if resumed is not None else None) or secrets.token_hex(8)
    pointer = Path(folder, POINTER)
    try:
        if run != before:
            with partial_file(Path(folder, NAME)) as partial:
                partial.write_text(run)
        if pointer.exists() and (resumed is None or before not in (None, run)):
            pointer.unlink()
            logger.warning(
                f'checkpoint: {folder} has checkpoints of another run, from which --resume auto does not go on any more; '
                '--resume FILE does'
            )
    except OSError as error:
        logger.warning(f'checkpoint: {folder} cannot be marked as of this run: {error}')
    return run

"""Which checkpoints of a run are kept: the newest ones, counted by their names in the folder."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from logging import Logger


class KeptCheckpoints:
    """The training checkpoints of a run, oldest first.

    Args:
        folder: where they are.
        templates: of their names, with {} for a number, and the iterations that this number counts: 1, or those of an epoch.
        most: how many are kept; all where it is not above 0.
    """

    def __init__(self, folder: str, templates: Mapping[str, int], most: int) -> None:
        self.folder, self.templates, self.most = folder, templates, most
        self.names: list[str] = []

    def find(self, iteration: int) -> None:
        """Count what the run has written up to `iteration`, where it goes on; later ones are written again."""
        found = []
        with suppress(OSError):
            for name in os.listdir(self.folder):
                done = self._iterations(name)
                if done is not None and done <= iteration:
                    found.append((done, name))
        self.names = [name for _, name in sorted(found)]

    def _iterations(self, name: str) -> int | None:
        """The iterations that a checkpoint of this name is of; None if it is not one of the run's."""
        for template, iterations in self.templates.items():
            before, _, after = template.partition('{}')
            match = re.fullmatch(f'{re.escape(before)}([0-9]+){re.escape(after)}', name)
            if match:
                return int(match[1]) * iterations
        return None

    def add(self, name: str, logger: Logger) -> None:
        """Count the one that is now on the disk, which `last_checkpoint` names, and remove the oldest beyond `most`."""
        self.names = [*(one for one in self.names if one != name), name]
        while 0 < self.most < len(self.names):
            oldest = self.names.pop(0)
            try:
                os.remove(os.path.join(self.folder, oldest))
            except FileNotFoundError:
                pass
            except OSError as error:
                logger.warning(f'checkpoint: {os.path.join(self.folder, oldest)} cannot be removed: {error.strerror}')

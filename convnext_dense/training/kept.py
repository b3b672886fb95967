"""Which checkpoints of a run are kept: the newest planned ones, and one that was saved between them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from logging import Logger


class KeptCheckpoints:
    """The training checkpoints of a run, oldest first.

    Those between the planned ones, as of a signal or every few minutes, do not count among them: the newest is kept until a
    planned one is on the disk.

    Args:
        folder: where they are.
        templates: of their names, with {} for a number, and the iterations that this number counts: 1, or those of an epoch.
        most: how many planned ones are kept; all where it is not above 0.

    Attributes:
        names: of the planned ones.
        between: of the others.
    """

    def __init__(self, folder: str, templates: Mapping[str, int], most: int) -> None:
        self.folder, self.templates, self.most = folder, templates, most
        self.names: list[str] = []
        self.between: list[str] = []

    def find(self, iteration: int, is_between: Callable[[str, int], bool]) -> None:
        """Count what the run has written up to `iteration`, where it goes on; later ones are written again.

        `is_between` tells by name and iterations whether one was saved between the planned ones.
        """
        found = []
        with suppress(OSError):
            for name in os.listdir(self.folder):
                done = self._iterations(name)
                if done is not None and done <= iteration:
                    found.append((done, name))
        self.between = [name for done, name in sorted(found) if is_between(name, done)]
        self.names = [name for _, name in sorted(found) if name not in self.between]

    def _iterations(self, name: str) -> int | None:
        """The iterations that a checkpoint of this name is of; None if it is not one of the run's."""
        for template, iterations in self.templates.items():
            before, _, after = template.partition('{}')
            match = re.fullmatch(f'{re.escape(before)}([0-9]+){re.escape(after)}', name)
            if match:
                return int(match[1]) * iterations
        return None

    def add(self, name: str, logger: Logger, between: bool = False) -> None:
        """Count the one that is now on the disk, which `last_checkpoint` names, and remove those that it makes superfluous."""
        self.names = [one for one in self.names if one != name]
        superfluous = [one for one in self.between if one != name]
        self.between = [name] if between else []
        if not between:
            self.names.append(name)
        while 0 < self.most < len(self.names):
            superfluous.append(self.names.pop(0))
        for one in superfluous:
            self._remove(one, logger)

    def _remove(self, name: str, logger: Logger) -> None:
        path = os.path.join(self.folder, name)
        try:
            os.remove(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            logger.warning(f'checkpoint: {path} cannot be removed: {error.strerror}')

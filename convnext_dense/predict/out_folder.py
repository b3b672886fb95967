"""A folder of predictions: files for each picture, a journal of what is done, and the files of all pictures at the end.

The journal has a line for each picture, added when its files are in their places, so that a run that is killed goes on after
the last whole line. A line holds what the files of all pictures are made of.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from convnext_dense.errors import InputError
from convnext_dense.files import check_folder, partial_file
from convnext_dense.predict.inputs import Item
from convnext_dense.predict.result import Result, nothing_of
from convnext_dense.predict.writers import DRAWN, WRITERS, Writer

JOURNAL = 'journal.jsonl'
PARTIAL = re.compile(r'.*\.[0-9a-f]{8}\.partial$')


class OutFolder:
    """Where predictions are written. Nothing is made before the first picture is.

    Args:
        folder: where to write.
        formats: of `convnext_dense.predict.writers.FORMATS`.
        pictures: whether predictions are drawn, too.
        settings: what the files depend on; a run that is resumed must have the same.
        resume: go on after what is there.
    """

    def __init__(
        self, folder: str, formats: Sequence[str], pictures: bool, settings: dict[str, Any], resume: bool = False
    ) -> None:
        check_folder('--out', folder)
        self.folder = Path(folder)
        self.formats = formats
        self.writers: list[Writer] = [*([DRAWN] if pictures else []), *(WRITERS[f] for f in formats if f in WRITERS)]
        self.settings = json.loads(json.dumps(settings | dict(formats=sorted(formats), pictures=pictures)))
        self.journal = self.folder / JOURNAL
        self.counts: Counter[str] = Counter()
        self.done: set[str] = set()
        if self.journal.exists() and not resume:
            raise InputError(
                f'--out: expected a new folder, got {folder} with predictions in it; --resume goes on, or name another'
            )
        if self.journal.exists():
            self._read_journal()

    def _read_journal(self) -> None:
        """What is done; a line that was cut off is not, and neither are half-written files kept."""
        whole = 0
        with open(self.journal, 'rb') as file:
            for number, line in enumerate(file):
                if not line.endswith(b'\n'):
                    break
                whole += len(line)
                try:
                    entry = json.loads(line)
                    if number:
                        self.done.add(entry['name'])
                        self.counts.update(entry['counts'])
                    elif entry['settings'] != self.settings:
                        raise InputError(self._differs(entry['settings']))
                except (ValueError, KeyError, TypeError) as error:
                    if isinstance(error, InputError):
                        raise
                    raise InputError(
                        f'--resume: {self.journal} is damaged in line {number + 1}; name another folder'
                    ) from error
        if whole < self.journal.stat().st_size:
            os.truncate(self.journal, whole)
        for writer in self.writers:
            for path in (self.folder / writer.folder).rglob('*.partial'):
                if PARTIAL.match(path.name):
                    path.unlink()

    def _differs(self, before: dict[str, Any]) -> str:
        parts = [f'{key} {before.get(key)!r}' for key in self.settings if before.get(key) != self.settings[key]]
        return f'--resume: expected the options of the run that began {self.folder}: {", ".join(parts)}; name another folder'

    def left(self, items: Iterable[Item]) -> Iterator[Item]:
        """The pictures that are not done; a name that was there before gets the file's suffix or a number."""
        used: set[str] = set()
        for item in items:
            name, number = item.name, 1
            if name in used and isinstance(item.given, str):
                name = f'{name}_{Path(item.given).suffix[1:]}'
            while name in used:
                number += 1
                name = f'{item.name}_{number}'
            used.add(name)
            if name not in self.done:
                yield replace(item, name=name)

    def write(self, result: Result) -> dict[str, Any]:
        """Write a picture's files, each in one move; its line for the journal."""
        for writer in self.writers:
            path = self.folder / writer.folder / f'{result.name}{writer.suffix}'
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial_file(path) as partial:
                writer.write(result, partial)
        entry: dict[str, Any] = dict(name=result.name, file=result.file, size=result.size, counts=result.counts())
        if 'coco' in self.formats:
            entry['annotations'] = result.to_coco()
        if 'csv' in self.formats:
            entry['rows'] = result.rows()
        return entry

    def record(self, entry: dict[str, Any]) -> None:
        """Note that a picture is done."""
        self.folder.mkdir(parents=True, exist_ok=True)
        new = not self.journal.exists() or not self.journal.stat().st_size
        with open(self.journal, 'a') as file:
            lines = [dict(settings=self.settings)] * new + [entry]
            file.write(''.join(json.dumps(line) + '\n' for line in lines))
        self.done.add(entry['name'])
        self.counts.update(entry['counts'])

    def finish(self, classes: Sequence[str], palette: Sequence[Sequence[int]], columns: Sequence[str]) -> None:
        """The files of all pictures, a line of the journal at a time."""
        if 'png' in self.formats:
            nothing = nothing_of(len(classes))
            with partial_file(self.folder / 'classes.json') as partial:
                partial.write_text(json.dumps(dict(classes=classes, palette=palette, nothing=nothing), indent=2) + '\n')
        if 'coco' in self.formats:
            with partial_file(self.folder / 'coco.json') as partial, open(partial, 'w') as file:
                for part in self._coco(classes):
                    file.write(part)
        if 'csv' in self.formats:
            with partial_file(self.folder / 'predictions.csv') as partial, open(partial, 'w', newline='') as file:
                table = csv.DictWriter(file, columns)
                table.writeheader()
                for entry in self._entries():
                    table.writerows(entry['rows'])

    def _entries(self) -> Iterator[dict[str, Any]]:
        with open(self.journal) as file:
            next(file)
            for line in file:
                yield json.loads(line)

    def _coco(self, classes: Sequence[str]) -> Iterator[str]:
        """COCO's layout in parts: images, then annotations, both counted from 1."""
        categories = [dict(id=i + 1, name=name) for i, name in enumerate(classes)]
        yield '{"categories": ' + json.dumps(categories) + ',\n"images": ['
        for i, entry in enumerate(self._entries()):
            height, width = entry['size']
            image = dict(id=i + 1, file_name=entry['file'], height=height, width=width)
            yield ('' if i == 0 else ',\n') + json.dumps(image)
        yield '],\n"annotations": ['
        written = 0
        for i, entry in enumerate(self._entries()):
            for annotation in entry['annotations']:
                yield ('' if written == 0 else ',\n') + json.dumps({**annotation, 'id': written + 1, 'image_id': i + 1})
                written += 1
        yield ']}\n'

"""Lists of classes beside mask files: names alone, in the order of the values, or with the values or colours they have."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convnext_dense.data.pictures import is_file
from convnext_dense.errors import InputError, last_line

FILES = (  # CVAT's, ours, CamVid's, Roboflow's, Label Studio's and LabelImg's
    'labelmap.txt',
    'classes.json',
    'classes.txt',
    'label_colors.txt',
    'class_dict.csv',
    '_classes.csv',
    'classes.csv',
    'labels.txt',
    'class_names.txt',
)
VOC_BORDER = (224 << 16) | (224 << 8) | 192  # the colour of VOC's void


@dataclass(frozen=True)
class ClassList:
    """Names, with their values or packed colours where the file gives them."""

    source: Path
    names: tuple[str, ...]
    numbers: tuple[int, ...] | None = None
    colours: tuple[int, ...] | None = None

    def values(self, packed_colours: bool) -> dict[int, str]:
        """The name of each value, or colour."""
        given = self.colours if packed_colours else self.numbers or (None if self.colours else range(len(self.names)))
        given = range(len(self.names)) if given is None and not packed_colours else given
        return dict(zip(given or (), self.names))


def read_class_list(root: Path) -> ClassList | None:
    """The first list that lies in the folder or beside it.

    Raises:
        InputError: for one that cannot be read.
    """
    for folder in (root, *sorted(p for p in root.iterdir() if p.is_dir()), root.parent if _part(root) else root):
        for name in FILES:
            path = folder / name
            if is_file(path):
                return parse(path)
    return None


def _part(root: Path) -> bool:
    return root.name in ('images', 'masks', 'train', 'val')


def parse(path: Path) -> ClassList:
    """A list of classes.

    Raises:
        InputError: with the line that is none.
    """
    try:
        text = path.read_text(encoding='utf-8-sig')
        rows = _from_json(json.loads(text)) if path.suffix == '.json' else _from_lines(text, path)
    except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
        raise InputError(
            f'data: {path}: expected a class a line, "name" or "name: red, green, blue", got what cannot be read '
            f'({last_line(error)}); mend it'
        ) from error
    names = [name for name, _ in rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise InputError(f'data: {path}: expected classes of different names, got {", ".join(twice) or "none"}; mend it')
    given = [value for _, value in rows]
    if all(isinstance(value, tuple) for value in given):
        packed = tuple((r << 16) | (g << 8) | b for r, g, b in given)  # type: ignore[misc]
        return ClassList(path, tuple(names), colours=packed)
    if all(isinstance(value, int) for value in given):
        return ClassList(path, tuple(names), numbers=tuple(given))  # type: ignore[arg-type]
    return ClassList(path, tuple(names))


Row = tuple[str, Any]  # a name with nothing, a value, or three of a colour


def _from_json(content: Any) -> list[Row]:
    """A list of names or of dicts, names by number, or a value or colour by name; ours has them under `classes`."""
    if isinstance(content, dict) and isinstance(content.get('classes'), (list, dict)):
        content = content['classes']
    if isinstance(content, dict):
        if all(key.isdecimal() for key in content):
            return [(str(content[key]), int(key)) for key in sorted(content, key=int)]
        return [(name, _value(value)) for name, value in content.items()]
    if content and all(isinstance(row, dict) for row in content):
        return [
            (str(row['name']), _value(row.get('color', row.get('colour', row.get('id', row.get('value')))))) for row in content
        ]
    return [(str(name), None) for name in content]


def _value(given: Any) -> Any:
    if isinstance(given, str) and re.fullmatch('#[0-9a-fA-F]{6}', given):
        return tuple(int(given[i : i + 2], 16) for i in (1, 3, 5))
    if isinstance(given, (list, tuple)) and len(given) >= 3:
        return tuple(int(v) for v in given[:3])
    return given if type(given) is int else None


def _from_lines(text: str, path: Path) -> list[Row]:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith('#')]
    if path.suffix == '.csv':
        return _from_csv(lines)
    return [_row(line) for line in lines]


def _from_csv(lines: list[str]) -> list[Row]:
    """Roboflow's `Pixel Value, Class`, or `name,r,g,b` with a heading."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines)]
    if not rows[0][-1].isdecimal() and len(rows) > 1 and any(cell.isdecimal() for cell in rows[1]):
        rows = rows[1:]
    found: list[Row] = []
    for row in rows:
        numbers = [int(cell) for cell in row if cell.isdecimal()]
        (name, *_) = [cell for cell in row if not cell.isdecimal()]
        found.append((name, tuple(numbers[:3]) if len(numbers) >= 3 else numbers[0] if numbers else None))
    return found


def _row(line: str) -> Row:
    """`name`, `name:r,g,b:parts:actions` of CVAT, `r g b name` of CamVid, `name r g b`, `0: name`, `0 name`."""
    cvat = re.fullmatch(r'([^:]+):\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*(?::.*)?', line)
    first = re.fullmatch(r'(\d+)[\s,]+(\d+)[\s,]+(\d+)[\s,]+(.*\D.*)', line)
    last = re.fullmatch(r'(.*?\D.*?)[\s,:]+(\d+)[\s,]+(\d+)[\s,]+(\d+)', line)
    number = re.fullmatch(r'(\d+)\s*[:,\t ]\s*(\D.*)', line)
    if cvat or last:
        match = cvat or last
        assert match is not None
        return match[1].strip(), (int(match[2]), int(match[3]), int(match[4]))
    if first:
        return first[4].strip(), (int(first[1]), int(first[2]), int(first[3]))
    if number:
        return number[2].strip(), int(number[1])
    return line, None

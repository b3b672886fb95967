"""Label Studio's JSON export: a list of tasks, coordinates in percent of the picture's sides (labelstud.io/guide/export)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from convnext_dense.data.layouts.cvat import turned
from convnext_dense.data.layouts.found import (
    DIGITS,
    Found,
    Object,
    Picture,
    below,
    box_of,
    by_name,
    picture_size,
    pictures_in,
    split_of,
)
from convnext_dense.data.layouts.json_files import contents
from convnext_dense.data.pictures import Size
from convnext_dense.errors import InputError

AREAS = ('rectanglelabels', 'polygonlabels')
COUNTED = dict(brushlabels='brush strokes (export them as masks)', keypointlabels='key points', ellipselabels='ellipses')


def _is(content: Any) -> bool:
    return (
        isinstance(content, list)
        and bool(content)
        and isinstance(content[0], dict)
        and isinstance(content[0].get('data'), dict)
        and ('annotations' in content[0] or 'completions' in content[0])
    )


def looks(root: Path) -> str:
    return next((below(path, root) for path, content in contents(root, sample=True) if _is(content)), '')


def read(root: Path) -> Found:
    """The pictures of all tasks. Of several annotations of a task the first that was not cancelled counts.

    Raises:
        InputError: for a picture that is not there, and results that are none.
    """
    inside = by_name(pictures_in(root))
    left_out: Counter[str] = Counter()
    rows: list[tuple[Path, list[dict[str, Any]]]] = []
    for path, content in contents(root):
        if not _is(content):
            continue
        for task in content:
            done = [one for one in task.get('annotations') or task.get('completions') or [] if not one.get('was_cancelled')]
            left_out['further annotations of a picture'] += max(0, len(done) - 1)
            rows.append((_picture(task, path, inside), done[0].get('result', []) if done else []))
    names = sorted({name for _, results in rows for result in results for name in _names(result)})
    pictures = []
    for path, results in rows:
        size = picture_size(path)
        objects = [one for result in results for one in _objects(result, names, size, path, left_out)]
        name = below(path, root)
        pictures.append(Picture(path, name, size, objects, split=split_of(*Path(name).parts[:-1])))
    notes = [f'{count} {kind} are left out' for kind, count in left_out.items() if count]
    return Found('Label Studio JSON', looks(root), root, tuple(names), sorted(pictures, key=lambda one: one.name), notes=notes)


def _picture(task: dict[str, Any], source: Path, inside: dict[str, list[Path]]) -> Path:
    """The picture of a task: of its URL's name, which an upload begins with a code and a dash."""
    given = next((str(v) for k, v in task['data'].items() if k in ('image', 'img', 'picture') or '/' in str(v)), '')
    url = urlparse(given)
    name = Path(unquote(url.query.partition('d=')[2] or url.path)).name
    for wanted in (name, name.partition('-')[2]):
        same = inside.get(wanted, [])
        if len(same) == 1:
            return same[0]
    raise InputError(f'data: {source} names {given or "no picture"}, which is not in the folder; add the picture {name}')


def _names(result: dict[str, Any]) -> list[str]:
    return list(result.get('value', {}).get(result.get('type'), [])) if result.get('type') in AREAS else []


def _objects(result: dict[str, Any], names: list[str], size: Size, path: Path, left_out: Counter[str]) -> list[Object]:
    kind = result.get('type')
    if kind not in AREAS:
        left_out[COUNTED.get(str(kind), f'results of the type {kind}')] += 1
        return []
    value = result['value']
    try:
        if kind == 'polygonlabels':
            points = [round(v * size[i] / 100, DIGITS) for point in value['points'] for i, v in enumerate(point)]
            if len(points) < 6:
                left_out['polygons of less than three points'] += 1
                return []
            box, outline = box_of([points]), [points]
        else:
            box, outline = _box(value, size)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f'data: {path}: a result of the type {kind} cannot be read ({type(error).__name__}); mend it'
        ) from error
    labels = _names(result)
    return [Object(names.index(labels[0]), box, outline)] if labels else []


def _box(value: dict[str, Any], size: Size) -> tuple[Any, Any]:
    """A box; one that is turned, clockwise around its upper left corner, has its corners as outline."""
    x, y, w, h = (round(value[key] * size[i] / 100, DIGITS) for key, i in (('x', 0), ('y', 1), ('width', 0), ('height', 1)))
    turn = value.get('rotation') or 0
    if not turn:
        return (x, y, x + w, y + h), None
    corners = turned((x - w, y - h, x + w, y + h), turn)[4:6]  # of a box whose centre is the corner: where w, h leads
    right, down = turned((x - w, y, x + w, y), turn)[2:4], turned((x, y - h, x, y + h), turn)[4:6]
    polygon = [x, y, *right, *corners, *down]
    return box_of([polygon]), [polygon]

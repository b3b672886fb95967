"""A folder of any layout written anew as COCO, YOLO or class masks, its pictures copied."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from convnext_dense.data.layouts.class_masks import ClassMasks
from convnext_dense.data.layouts.found import IGNORE, SPLITS, Found, Object, Picture
from convnext_dense.data.layouts.index import content, drawn
from convnext_dense.data.layouts.masks import IMAGES
from convnext_dense.data.rings import polygons
from convnext_dense.errors import InputError
from convnext_dense.files import check_folder

KINDS = ('coco', 'yolo', 'masks')


def check_out(out: Path, given: str) -> None:
    """Stop at a folder to write that holds something, or lies in the one that is read."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f'OUT: expected a new or empty folder, got {out}; name another')
    if Path(given).resolve() in (out.resolve(), *out.resolve().parents):
        raise InputError(f'OUT: expected a folder outside of {given}, got {out}; name another')
    check_folder('OUT', str(out))


def convert(found: Found, parts: dict[str, list[Picture]], out: Path, kind: str) -> list[str]:
    """Write the splits into `out`, which must be empty or new; lines say what could not be kept exactly.

    Raises:
        InputError: for annotations that the layout has no place for.
    """
    if kind == 'masks' and found.values is None and not found.outlined:
        raise InputError(f'--to masks: expected outlines or masks, got boxes in {found.root}; --to coco or yolo keeps boxes')
    if kind != 'masks' and not any(picture.objects for picture in found.pictures):
        raise InputError(
            f'--to {kind}: expected objects, got none in {found.root} ({found.layout}); --to masks keeps class masks'
        )
    parts = _named_anew(parts)
    write = dict(coco=_coco, yolo=_yolo, masks=_masks)[kind]
    notes = []
    for split, pictures in parts.items():
        if pictures:
            for picture in pictures:
                target = out / 'images' / split / picture.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(picture.path, target)
            notes += write(found, pictures, out, split)
    if kind == 'yolo':
        _data_yaml(found, parts, out)
    if kind == 'masks':
        (out / 'classes.txt').write_text(''.join(f'{name}\n' for name in found.classes), encoding='utf-8')
    return list(dict.fromkeys(notes))


def _named_anew(parts: dict[str, list[Picture]]) -> dict[str, list[Picture]]:
    """Names without the folders that say split or kind, as long as they stay different."""
    for generic in ((*IMAGES, *SPLITS), ()):
        made = {split: [replace(one, name=_plain(one.name, generic)) for one in several] for split, several in parts.items()}
        if all(len({_stem(one) for one in several}) == len(several) for several in made.values()):
            return made
    several = next(several for several in made.values() if len({_stem(one) for one in several}) < len(several))
    twice = [one.name for one in several if sum(_stem(other) == _stem(one) for other in several) > 1]
    raise InputError(f'data: expected one picture of each name, got {twice[0]} and {twice[1]}; rename one')


def _stem(picture: Picture) -> str:
    return str(PurePosixPath(picture.name).with_suffix(''))


def _plain(name: str, generic: Sequence[str]) -> str:
    *folders, last = (part for part in name.split('/') if part not in ('', '..'))
    return '/'.join([*(one for one in folders if one.lower() not in generic), last])


def _coco(found: Found, pictures: Sequence[Picture], out: Path, split: str) -> list[str]:
    path = out / 'annotations' / f'instances_{split}.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = content(found, pictures)
    whole.pop('values', None)
    whole['info'] = dict(description=whole['info']['description'])  # or it would pass for the record of a run
    for image in whole['images']:
        image.pop('mask_file', None)
    path.write_text(json.dumps(whole, ensure_ascii=False), encoding='utf-8')
    return []


def _yolo(found: Found, pictures: Sequence[Picture], out: Path, split: str) -> list[str]:
    crowds = 0
    for picture in pictures:
        rows = []
        for one in picture.objects:
            crowds += one.crowd
            if one.crowd:
                continue
            rows.append(_row(one, picture))
        path = (out / 'labels' / split / picture.name).with_suffix('.txt')
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(''.join(f'{row}\n' for row in rows))
    return [f'{crowds} crowds, which YOLO does not know, are left out'] if crowds else []


def _row(one: Object, picture: Picture) -> str:
    width, height = picture.size
    if one.outline is None:
        x1, y1, x2, y2 = one.box
        values: Sequence[float] = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
    else:
        polygon = joined(one.outline if isinstance(one.outline, list) else _polygons(drawn(one.outline, picture.size)))
        values = [min(1.0, max(0.0, v / (width, height)[i % 2])) for i, v in enumerate(polygon)]
    return ' '.join([str(one.label), *(f'{v:.10g}' for v in values)])


def joined(outlines: Sequence[Sequence[float]]) -> list[float]:
    """Several polygons as one: each is left and come back to by the same line, which has no area."""
    first, *rest = outlines
    path = list(first)
    for polygon in rest:
        path += [*first[:2], *polygon, *polygon[:2]]
    return path + list(first[:2]) if rest else path


def _polygons(mask: np.ndarray) -> list[list[float]]:
    """Along the edges of the pixels, holes too: what is drawn of them is the mask."""
    return [[float(v) for point in ring[:-1] for v in point] for region in polygons(mask) for ring in region]


def _data_yaml(found: Found, parts: dict[str, list[Picture]], out: Path) -> None:
    lines = ['path: .', *(f'{split}: images/{split}' for split, pictures in parts.items() if pictures), 'names:']
    lines += [f'  {index}: {json.dumps(name, ensure_ascii=False)}' for index, name in enumerate(found.classes)]
    (out / 'data.yaml').write_text('\n'.join(lines) + '\n', encoding='utf-8')


def _masks(found: Found, pictures: Sequence[Picture], out: Path, split: str) -> list[str]:
    class_mask = ClassMasks(found)
    for picture in pictures:
        mask = class_mask(picture)
        if mask is None:
            continue
        path = (out / 'masks' / split / picture.name).with_suffix('.png')
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
    return [f'pixels of no class have the value {IGNORE}']

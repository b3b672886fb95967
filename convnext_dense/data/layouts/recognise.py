"""Which layout lies in a folder, and what is in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from convnext_dense.data.coco import read_coco
from convnext_dense.data.layouts import coco_json, cvat, label_studio, labelme, masks, voc, yolo
from convnext_dense.data.layouts.found import Faults, Found, pictures_in, split_of
from convnext_dense.data.layouts.json_files import forget
from convnext_dense.data.layouts.mask_values import Told
from convnext_dense.data.pictures import is_folder
from convnext_dense.errors import InputError
from convnext_dense.text import listed


class Layout(NamedTuple):
    """`looks` says by what files a folder is taken for the layout, or ''; `read` reads it."""

    looks: Callable[[Path], str]
    read: Callable[..., Found]


LAYOUTS = {
    'coco': Layout(coco_json.looks, coco_json.read),
    'yolo': Layout(yolo.looks, yolo.read),
    'voc': Layout(voc.looks, voc.read),
    'labelme': Layout(labelme.looks, labelme.read),
    'cvat': Layout(cvat.looks, cvat.read),
    'label-studio': Layout(label_studio.looks, label_studio.read),
    'masks': Layout(masks.looks, masks.read),
}
FAR = 10  # times the longer side, from which on a coordinate is none
EXPECTED = (
    'COCO JSON, YOLO with data.yaml, Pascal VOC, LabelMe, CVAT XML, Label Studio JSON, or images/ and masks/ of the same names'
)


def read_folder(folder: str, layout: str | None = None, told: Told | None = None, faults: Faults | None = None) -> Found:
    """What an annotated folder holds.

    Args:
        layout: a name of LAYOUTS, where more than one could be meant.
        told: is told how many masks were read.
        faults: what to do about wrong masks.

    Raises:
        InputError: for a folder that is not there, is empty, has none of the layouts or several, and for what is wrong in it.
    """
    root = Path(os.path.realpath(folder))
    if not is_folder(root):
        what = 'a file' if root.exists() else 'not there'
        raise InputError(
            f'--data: expected a folder with pictures and annotations, got {folder} which is {what}; check the path'
        )
    root = _unwrapped(root)
    chosen = layout or _the_one(root, folder)
    if layout is not None and not LAYOUTS[layout].looks(root):
        raise InputError(f'--layout {layout}: expected its files in {folder}, found none; leave it out to have them looked for')
    found = LAYOUTS[chosen].read(root, told, faults) if chosen in ('masks', 'voc') else LAYOUTS[chosen].read(root)
    forget()  # a large file is not to stay in memory
    read_coco.cache_clear()
    if not found.pictures:
        raise InputError(f'--data: expected pictures in {folder}, a folder of {found.layout}, got none; check the export')
    if not found.classes:
        raise InputError(
            f'--data: expected classes in {folder}, a folder of {found.layout}, got none; are there polygons or boxes?'
        )
    _check(found, folder)
    return found


def _unwrapped(root: Path) -> Path:
    """The folder in it, where it holds that alone, as an archive unpacks."""
    inside = [path for path in root.iterdir() if not path.name.startswith(('.', '__MACOSX'))]
    alone = inside[0] if len(inside) == 1 and inside[0].is_dir() and inside[0].name.lower() not in masks.IMAGES else None
    alone = None if alone is not None and split_of(alone.name) else alone
    return root if alone is None else _unwrapped(alone)


def _check(found: Found, folder: str) -> None:
    """Stop where nothing is annotated, classes have one name, or a coordinate is none of its picture."""
    twice = sorted({name for name in found.classes if found.classes.count(name) > 1})
    if twice:
        raise InputError(
            f'--data: expected classes of different names in {folder}, got {listed(twice)} more than once; rename one'
        )
    if found.values is None and not any(picture.objects for picture in found.pictures):
        raise InputError(f'--data: expected annotations in {folder}, a folder of {found.layout}, got none in any picture')
    for picture in found.pictures:
        limit = FAR * max(picture.size)
        for one in picture.objects:
            if not all(-limit <= v <= limit for v in one.box):
                raise InputError(
                    f'data: {picture.name}: expected coordinates in a picture of {picture.size[0]}x{picture.size[1]}, got a '
                    f'{found.classes[one.label]} at {", ".join(f"{v:g}" for v in one.box)}; mend it'
                )


def _the_one(root: Path, folder: str) -> str:
    looks = {name: LAYOUTS[name].looks(root) for name in LAYOUTS}
    there = [name for name, why in looks.items() if why]
    if 'voc' in there and 'masks' in there:  # JPEGImages and SegmentationClass are VOC's
        there.remove('masks')
    if len(there) == 1:
        return there[0]
    if there:
        several = ' and '.join(f'{name} ({looks[name]})' for name in there)
        raise InputError(f'--data: expected one layout in {folder}, got {several}; --layout chooses one')
    if not any(root.iterdir()):
        raise InputError(f'--data: expected pictures and annotations in {folder}, which is empty; check the path')
    pictures = len(pictures_in(root))
    raise InputError(
        f'--data: expected {EXPECTED}; got {folder} with {pictures} pictures and none of these; export it as one of them'
    )

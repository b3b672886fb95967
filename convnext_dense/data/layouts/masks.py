"""Folders of pictures and masks: the same names in images/ and masks/ and their like, ADE20K's tree, Cityscapes' tree.

A mask's value is a class by the list that lies beside it, else by what the values are; every decision is a note.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from convnext_dense.data.check_names import LOSSLESS, LOSSY, common_ending
from convnext_dense.data.layouts.class_lists import read_class_list
from convnext_dense.data.layouts.found import (
    PICTURES,
    Faults,
    Found,
    Picture,
    below,
    folders_in,
    picture_size,
    pictures_in,
    split_of,
)
from convnext_dense.data.layouts.mask_values import Pair, Told, look, meaning_of, of_ade20k, of_cityscapes
from convnext_dense.data.pictures import is_file
from convnext_dense.errors import InputError

IMAGES = ('images', 'image', 'imgs', 'img', 'jpegimages', 'photos', 'pictures', 'leftimg8bit', 'img_dir')
MASKS = (
    'masks', 'mask', 'labels', 'label', 'annotations', 'annotation', 'annots', 'annot', 'ann', 'ann_dir', 'segmentationclass',
    'segmentation', 'segmentations', 'seg', 'gt', 'gtfine', 'ground_truth', 'groundtruth',
)  # fmt: skip
CITYSCAPES = ('_gtFine_labelTrainIds.png', '_gtFine_labelIds.png')


class Folders(NamedTuple):
    images: Path
    masks: Path


def folders(root: Path) -> list[Folders]:
    """Folders of pictures with the folders of their masks: side by side, in each split, or with the splits below."""
    found = []
    for folder in (root, *folders_in(root), *(deeper for inner in folders_in(root) for deeper in folders_in(inner))):
        inner = {path.name.lower(): path for path in folders_in(folder)}
        images = next((inner[name] for name in IMAGES if name in inner), None)
        masks = [inner[name] for name in MASKS if name in inner and _has_masks(inner[name])]
        if images is not None and masks:
            found.append(Folders(images, masks[0]))
        elif images is None:
            found += [Folders(inner[a], inner[b]) for a in inner for b in _mask_names(a) if b in inner and _has_masks(inner[b])]
    return found


def _mask_names(images: str) -> list[str]:
    """What a folder of masks is called beside one of pictures: train and train_labels, train_images and train_masks."""
    base = images.removesuffix('images').removesuffix('imgs')
    if base != images:
        return [f'{base}masks', f'{base}labels', f'{base}annotations']
    return [f'{images}{between}{name}' for between in '_- ' for name in ('masks', 'mask', 'labels', 'gt')] + [f'{images}annot']


def _has_masks(folder: Path) -> bool:
    return any(p.suffix.lower() in (*LOSSLESS, *LOSSY) for p in _first(folder.rglob('*.*'), 50))


def _first(paths: Iterable[Path], count: int) -> list[Path]:
    return [path for path, _ in zip(paths, range(count))]


def _beside(root: Path) -> str:
    """The ending of masks that lie beside their pictures, as of Roboflow's a.jpg and a_mask.png; '' where there are none."""
    for folder in (root, *folders_in(root)):
        names = [path.name for path in pictures_in(folder, recursive=False)]
        for ending in ('_mask.png', '_seg.png', '_label.png'):
            if sum(name.endswith(ending) for name in names) >= max(1, len(names) // 3):
                return ending
        photographs = {Path(name).stem for name in names if Path(name).suffix.lower() in LOSSY}
        if photographs and photographs == {Path(name).stem for name in names if name.endswith('.png')}:
            return '.png'
    return ''


def looks(root: Path) -> str:
    found = folders(root)
    if found:
        return f'{below(found[0].images, root)}/ and {below(found[0].masks, root)}/'
    ending = _beside(root)
    return f'pictures and *{ending}' if ending else ''


def read(root: Path, told: Told | None = None, faults: Faults | None = None) -> Found:
    """All pairs of pictures and masks; each mask is read once for its values. `faults`: what to do about wrong ones.

    Raises:
        InputError: for masks that do not fit their pictures, JPEG masks, values or colours that no class has.
    """
    kind, pairs, notes = _pairs(root)
    listed_classes = read_class_list(root)
    if not pairs:
        raise InputError(f'data: expected masks with the names of the pictures in {root}, got none; rename them')
    faults = faults or Faults()
    seen, examples, colourful = look(pairs, told, faults)
    if kind == 'ADE20K':
        classes, values, more = of_ade20k(seen, listed_classes, examples, colourful, faults)
    elif kind == 'Cityscapes':
        classes, values, more = of_cityscapes(pairs[0].mask.name.endswith(CITYSCAPES[0]))
    else:
        classes, values, more = meaning_of(seen, listed_classes, examples, colourful, faults)
    pictures = [
        Picture(pair.image, below(pair.image, root), picture_size(pair.image), mask=pair.mask, split=_split(pair.image, root))
        for pair in pairs
    ]
    values.seen = frozenset(seen)
    return Found(kind, looks(root), root, classes, pictures, values, [*notes, *more], faults.found)


def _split(path: Path, root: Path) -> str:
    return split_of(*path.relative_to(root).parts[:-1][::-1]) if path.is_relative_to(root) else ''


def _pairs(root: Path) -> tuple[str, list[Pair], list[str]]:
    found: list[Pair] = []
    notes: list[str] = []
    places = folders(root)
    for place in places:
        if place.images.name.lower() == 'leftimg8bit' and place.masks.name.lower() == 'gtfine':
            pairs, alone = _cityscapes_pairs(place)
            return 'Cityscapes', pairs, ([f'{alone} pictures without a mask are left out'] if alone else [])
        more, said = _matched(place)
        found += more
        notes += said
    kind = 'images and masks'
    if len(places) == 1 and places[0].masks.name == 'annotations' and (places[0].images / 'training').is_dir():
        kind = 'ADE20K'
    if not places:
        ending = _beside(root)
        inside = pictures_in(root)
        masks = {path.with_name(path.name.removesuffix(ending)): path for path in inside if path.name.endswith(ending)}
        images = [path for path in inside if not path.name.endswith(ending)]
        found = [Pair(path, masks[path.with_suffix('')]) for path in images if path.with_suffix('') in masks]
        alone = len(images) - len(found)
        notes += [f'{alone} pictures without a mask are left out'] if alone else []
    return kind, sorted(found), notes


def _matched(place: Folders) -> tuple[list[Pair], list[str]]:
    """Pictures and masks of the same names, up to an ending that the masks share.

    Raises:
        InputError: where fewer than half of the pictures have a mask, or names differ in case alone.
    """
    images = pictures_in(place.images)
    masks = sorted([*pictures_in(place.masks), *(p for p in place.masks.rglob('*.gif') if is_file(p))])
    keys = {path: below(path.with_suffix(''), place.images) for path in images}
    names = [below(path, place.masks) for path in masks]
    ending = common_ending(list(keys.values()), [n for n in names if Path(n).suffix.lower() in LOSSLESS])
    lossy = common_ending(list(keys.values()), [n for n in names if Path(n).suffix.lower() in LOSSY])
    if ending is None and lossy is not None:
        raise InputError(
            f'data: {place.masks}/{names[0]} is a JPEG, whose compression changes the values at every border; save masks as PNG'
        )
    stem_ending = Path(f'x{ending}').stem[1:] if ending else ''
    by_key = {_key(name, stem_ending): path for name, path in zip(names, masks)}
    found = [Pair(path, by_key[key]) for path, key in keys.items() if key in by_key]
    alone = [path for path, key in keys.items() if key not in by_key]
    notes = []
    lower = {key.lower() for key in by_key}
    case = [path for path in alone if keys[path].lower() in lower]
    if case:
        raise InputError(
            f'data: {case[0]} and a mask in {place.masks} have names that differ in case alone ({len(case)} pictures); '
            'rename one of each'
        )
    if not images:
        raise InputError(f'data: expected pictures ({", ".join(PICTURES)}) in {place.images}, found none; check the folder')
    if 2 * len(found) < len(images):
        what = f'{len(found)} of {len(images)} pictures in {place.images} have a mask in {place.masks}'
        example = f', {alone[0].name} has none' if alone else ''
        raise InputError(f'data: {what}{example}; expected masks of the same names: add them or take the pictures out')
    if alone:
        notes.append(f'{len(alone)} pictures without a mask are left out, such as {alone[0].name}')
    used = {pair.mask for pair in found}
    rest = [path for path in masks if path not in used]
    if rest:
        notes.append(f'{len(rest)} masks without a picture are left out, such as {rest[0].name}')
    return found, notes


def _key(name: str, stem_ending: str) -> str:
    return str(Path(name).with_suffix('').as_posix()).removesuffix(stem_ending)


def _cityscapes_pairs(place: Folders) -> tuple[list[Pair], int]:
    for ending in CITYSCAPES:
        masks = {path.name.removesuffix(ending): path for path in sorted(place.masks.rglob(f'*{ending}'))}
        if masks:
            images = sorted(place.images.rglob('*_leftImg8bit.*'))
            keys = {path: path.stem.removesuffix('_leftImg8bit') for path in images}
            pairs = [Pair(path, masks[key]) for path, key in keys.items() if key in masks]
            return pairs, len(images) - len(pairs)
    raise InputError(f'data: expected masks *{CITYSCAPES[1]} in {place.masks}, found none; write them by cityscapesScripts')

"""What is wrong with the images and masks of a segmentation data set? Found before training, named with file and value."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from convnext_dense.data.channels import size_reader
from convnext_dense.data.check_coco import spread
from convnext_dense.data.check_names import PICTURES, image_hint, mask_hint, names_below, stems
from convnext_dense.data.pictures import Size, UnreadableError, is_file, is_folder, mask_values, values_of
from convnext_dense.data.pipeline import smallest_side, steps
from convnext_dense.errors import InputError
from convnext_dense.expect import brief
from convnext_dense.text import listed

ADE20K_SOURCE = 'https://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip'
IGNORED = 255  # by mmseg's losses and metrics
EMBEDDED = ('ShapesDataset',)
HOW_TO_GET = {
    'ADE20KDataset': f'ADE20K is at {ADE20K_SOURCE}',
    'ShapesDataset': 'write it with: convnext-dense shapes DIR',
}


def find_folders(name: str, dataset: Any) -> dict[str, Path]:
    """The folders of images and masks of a data set of mmseg's.

    Raises:
        InputError: if one is not there, with the expected tree, or the data set names no classes.
    """
    dataset_type = type(dataset).__name__
    folders = {key: dataset.data_prefix.get(key) for key in ('img_path', 'seg_map_path')}
    for key, folder in folders.items():
        if not isinstance(folder, str):
            raise InputError(f'data ({name}): expected data_prefix.{key}, a folder, in the data set; got {brief(folder)}')
    folders = {key: Path(folder) for key, folder in folders.items()}
    for key, folder in folders.items():
        if not is_folder(folder):
            root = Path(dataset.data_root or folder)
            hint = (
                ''
                if dataset_type not in HOW_TO_GET or (dataset_type in EMBEDDED and root.exists())
                else f'; {HOW_TO_GET[dataset_type]}'
            )
            raise InputError(
                f'data ({name}): expected {_tree(dataset, folders)}; got no folder {folder}; pass --data-root DIR, '
                f'or set {name}.dataset.data_prefix.{key}{hint}'
            )
    for key, suffix in (('img_suffix', dataset.img_suffix), ('seg_map_suffix', dataset.seg_map_suffix)):
        if not isinstance(suffix, str) or not suffix:
            raise InputError(f"data ({name}): expected {key} as text, such as '.png', in the data set; got {brief(suffix)}")
    if not isinstance(dataset.ann_file, str):
        raise InputError(f'data ({name}): expected ann_file, the path of a list, or none; got {brief(dataset.ann_file)}')
    reduced = dataset.reduce_zero_label
    if not isinstance(reduced, int) or reduced not in (0, 1):
        raise InputError(f'data ({name}): expected reduce_zero_label to be True or False, got {brief(reduced)}')
    if not dataset.metainfo.get('classes'):
        raise InputError(f'data ({name}): expected classes, got none from {dataset_type}; set metainfo=dict(classes=[...])')
    return folders


def seg_problems(
    name: str, dataset: Any, folders: dict[str, Path], pipeline: Any, smallest: int, sample: int | None
) -> list[str]:
    """Problems of images and masks, each a line; `sample` pairs are read, spread evenly, or all for None.

    Raises:
        InputError: if there is no image, or no mask at all.
    """
    pairs = image_pairs(name, dataset, folders)
    problems = _strays(folders, dataset, {image for image, _ in pairs})
    problems += [f'{image} is missing (in the list {dataset.ann_file})' for image, _ in pairs if not is_file(image)]
    problems += [f'{image} has no mask {mask}' for image, mask in pairs if not is_file(mask)]
    whole = [pair for pair in pairs if all(map(is_file, pair))]
    rules = _Rules(dataset, pipeline, smallest)
    seen: set[float] = set()
    for image, mask in spread(whole, sample):
        problems += _check_pair(image, mask, rules, seen)
    if not problems:
        problems += _nothing_learnt(folders['seg_map_path'], (mask for _, mask in whole), rules, seen)
    return problems


def _tree(dataset: Any, folders: dict[str, Path]) -> str:
    return ', '.join(f'{folder}/*{_suffix(dataset, key)}' for key, folder in folders.items())


def _suffix(dataset: Any, key: str) -> str:
    return dataset.img_suffix if key == 'img_path' else dataset.seg_map_suffix


def image_pairs(name: str, dataset: Any, folders: dict[str, Path]) -> list[tuple[Path, Path]]:
    """The images and their masks, of which there are some."""
    try:
        pairs = [(Path(item['img_path']), Path(item['seg_map_path'])) for item in dataset.load_data_list()]
    except (OSError, AssertionError, TypeError, ValueError) as error:
        raise InputError(f'data ({name}): the list of images cannot be read ({error}); check data_root and ann_file') from error
    for key, missing in (
        ('img_path', not pairs or not any(is_file(image) for image, _ in pairs)),
        ('seg_map_path', not any(is_file(mask) for _, mask in pairs)),
    ):
        if missing:
            what, option = ('image', 'img_suffix') if key == 'img_path' else ('mask', 'seg_map_suffix')
            images, masks = (names_below(folder, _files(folder)) for folder in folders.values())
            if key == 'img_path':
                hint = image_hint(f'{name}.dataset.{option}', dataset.img_suffix, images, stems(masks, dataset.seg_map_suffix))
            else:
                read = names_below(folders['img_path'], (image for image, _ in pairs))
                hint = mask_hint(f'{name}.dataset.{option}', masks, stems(read, dataset.img_suffix), tuple(folders.values()))
            tree = _tree(dataset, folders)
            raise InputError(f'data ({name}): expected {tree}; got no {what} in {folders[key]}, {hint} pass --data-root DIR')
    return pairs


def _files(folder: Path) -> Iterator[Path]:
    """Everything in the folder and below that is no folder, but for hidden files."""
    for place, _, names in os.walk(folder, followlinks=True):
        yield from (Path(place, name) for name in sorted(names) if not name.startswith('.'))


def _strays(folders: dict[str, Path], dataset: Any, images: set[Path]) -> list[str]:
    """What is meant as an image of the data set, since it looks like one or has a mask, but mmseg passes over in silence."""
    if dataset.ann_file:  # a list names the images
        return []
    suffix = dataset.img_suffix
    problems = []
    for place, below, names in os.walk(folders['img_path']):
        masks = folders['seg_map_path'] / Path(place).relative_to(folders['img_path'])
        problems += [f'{Path(place, name)} is a folder; expected a picture' for name in below if name.endswith(suffix)]
        for path in (Path(place, name) for name in names):
            if path in images or path.name.startswith('.'):
                continue
            if path.name.endswith(suffix):
                problems.append(f'{path} is a broken link' if path.is_symlink() else f'{path} is no file')
            elif path.suffix.lower() == suffix.lower() or (
                path.suffix.lower() in PICTURES
                and masks / path.name != path
                and is_file(masks / (path.stem + dataset.seg_map_suffix))
            ):
                problems.append(f'{path} has another suffix than the {suffix} that is read; rename it')
    return problems


class _Rules:
    """What a data set takes: values that name a class, the loader of its masks, and the least side of a picture."""

    def __init__(self, dataset: Any, pipeline: Any, smallest: int) -> None:
        self.pipeline, self.smallest, self.read_size = pipeline, smallest, size_reader(pipeline)
        self.classes = len(dataset.metainfo['classes'])
        self.reduced = int(dataset.reduce_zero_label)
        self.dropped = dataset.label_map or {}
        # With a part of its classes, the masks of a data set have the numbers of all.
        total = len(type(dataset).METAINFO.get('classes') or dataset.metainfo['classes'])
        self.allowed = range(total + self.reduced)  # with reduce_zero_label 0 is unlabelled; 255 is always ignored
        loaders = [step for step in steps(pipeline) if str(step.get('type')).endswith('LoadAnnotations')]
        self.backend = loaders[0].get('imdecode_backend', 'pillow') if loaders else 'pillow'

    def is_class(self, value: float) -> bool:
        """Whether a pixel of this value counts in the loss."""
        index = value - self.reduced
        return value != IGNORED and index >= 0 and self.dropped.get(index, index) != IGNORED


def _check_pair(image: Path, mask: Path, rules: _Rules, seen: set[float]) -> Iterator[str]:
    """Problems of an image and its mask, whose values are added to `seen`."""
    image_size_read = values = None
    try:
        image_size_read, _ = rules.read_size(image)
    except UnreadableError as error:
        yield f'{image} {error}'
    try:
        values = mask_values(mask, rules.backend)
    except UnreadableError as error:
        yield f'{mask} {error}'
    if image_size_read is None or values is None:
        return
    size = values.shape[1], values.shape[0]
    if image_size_read != size:
        yield f'{image} is {_text(image_size_read)} but {mask} is {_text(size)} (width x height)'
    if min(size) < 2:
        yield f'{mask} is {_text(size)}; expected at least 2 pixels a side, a mask of one row is read as a line'
    after = smallest_side(image_size_read, rules.pipeline)
    if after < rules.smallest:
        resized = '' if after == min(image_size_read) else f', and {after} pixels a side after the Resize in the pipeline'
        yield f'{image} is {_text(image_size_read)}{resized}; expected at least {rules.smallest} pixels a side'
    found = values_of(values)
    seen |= found
    wrong = sorted(value for value in found if value not in rules.allowed and value != IGNORED)
    if wrong:
        shown = ', '.join(f'{value:g}' for value in wrong[:5])
        yield f'{mask} has value {shown}; expected 0 to {rules.allowed[-1]}, or 255 to ignore'


def _text(size: Size) -> str:
    return f'{size[0]}x{size[1]}'


def _nothing_learnt(folder: Path, masks: Iterable[Path], rules: _Rules, seen: set[float]) -> Iterator[str]:
    """A line where no mask has a class to learn; where those looked at have none, the others are looked at, up to the first."""

    def nothing(values: set[float]) -> bool:
        learnt = {value for value in values if rules.is_class(value)}
        return not learnt or (rules.classes > 1 and learnt == {0})

    if not nothing(seen):
        return
    for mask in masks:
        try:
            seen |= values_of(mask_values(mask, rules.backend))
        except UnreadableError:
            continue
        if not nothing(seen):
            return
    numbers = [value for value in rules.allowed if not nothing({value})]
    example = f'{numbers[0]} to {numbers[-1]}' if len(numbers) == numbers[-1] - numbers[0] + 1 > 2 else listed(numbers)
    where = 'in place of 255' if IGNORED in seen else 'where an object is'
    where += ', by the class of each object' if len(numbers) > 1 else ''
    ignored = '0 and 255 are' if rules.reduced else '255 is'
    yield (
        f'{folder}: no mask has any other value than {", ".join(f"{value:g}" for value in sorted(seen))}: nothing to learn; '
        f'expected class numbers from 0 to {rules.allowed[-1]}, where {ignored} ignored: write {example} {where}'
    )

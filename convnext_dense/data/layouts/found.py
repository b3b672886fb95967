"""What a folder of annotated pictures holds, whatever its layout."""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from convnext_dense.data.channels import ARRAYS, TIFFS, header_size
from convnext_dense.data.pictures import EXIF_ORIENTATION, TURNED, Size, UnreadableError, is_file, opened
from convnext_dense.errors import InputError, last_line
from convnext_dense.text import listed

PICTURES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.npy')
IGNORE = 255  # of a mask: no class, by mmseg's losses and metrics
BACKGROUND = 'background'
GROUND = -1  # of a mask: a pixel of no object, the class 'background' or none as the run wants it
DIGITS = 4  # of coordinates in pixels: shares of a width are rounded to them, so that every layout gives the same number
SPLITS = dict(train='train', training='train', val='val', valid='val', validation='val', dev='val', test='test', testing='test')

# Words beside that of a split in a name: train_station is no split.
BESIDE = (
    'images', 'image', 'imgs', 'img', 'labels', 'masks', 'annotations', 'annotation', 'annot', 'instances', 'set', 'data',
    'coco', 'obj', 'split', 'dataset', 'person', 'keypoints', 'json',
)  # fmt: skip

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels
Outline = list[list[float]] | dict[str, Any]  # polygons of x, y, x, y, …; or a mask in run lengths, as pycocotools takes them


@dataclass(slots=True)
class Object:
    """An object of a picture. `label` counts from 0 in the classes; without an outline it is a box alone."""

    label: int
    box: Box
    outline: Outline | None = None
    crowd: bool = False


@dataclass(slots=True)
class Picture:
    """A picture with its objects, or a file with a class for each pixel, or both.

    `name` is its path below the folder. `split` is 'train', 'val' or 'test' where the folder says so, else ''.
    """

    path: Path
    name: str
    size: Size  # width, height
    objects: list[Object] = field(default_factory=list)
    mask: Path | None = None
    split: str = ''


@dataclass(slots=True)
class Values:
    """What the values of mask files mean: a class, GROUND or IGNORE. Colours are packed: red * 65536 + green * 256 + blue."""

    classes: dict[int, int]
    colours: bool = False
    seen: frozenset[int] = frozenset()  # of them, those in the masks


class Wrong(NamedTuple):
    """A fault in the annotations of a picture that a check lists where training stops."""

    picture: Path
    text: str


class Faults:
    """What to do about faults in masks: stop at the first; or, to list them all, `collect` them. Some values are `ignored`."""

    def __init__(self, collect: bool = False, ignored: frozenset[str] = frozenset()) -> None:
        self.collect, self.ignored = collect, ignored
        self.found: list[Wrong] = []

    def add(self, picture: Path, text: str, advice: str) -> None:
        """Stop, or note it.

        Raises:
            InputError: unless they are collected.
        """
        if not self.collect:
            raise InputError(f'data: {text}; {advice}')
        self.found.append(Wrong(picture, text))


@dataclass(slots=True)
class Found:
    """An annotated folder: its layout by name, why it was taken for that, classes, pictures, and what is worth a line."""

    layout: str
    why: str
    root: Path
    classes: tuple[str, ...]
    pictures: list[Picture]
    values: Values | None = None
    notes: list[str] = field(default_factory=list)
    wrong: list[Wrong] = field(default_factory=list)

    @property
    def ground(self) -> int:
        """The class of pixels of no object: the background's, or IGNORE where it is not learnt."""
        return next((index for index, name in enumerate(self.classes) if name.lower() == BACKGROUND), IGNORE)

    @property
    def outlined(self) -> bool:
        """Whether every object has an outline."""
        return all(one.outline is not None for picture in self.pictures for one in picture.objects)


class _Asked:
    """How many channels the pictures are read with, in all threads; None for photographs."""

    channels: int | None = None


@contextmanager
def of_channels(channels: int | None) -> Iterator[None]:
    """Inside, `picture_size` reads files of so many channels."""
    before, _Asked.channels = _Asked.channels, channels
    try:
        yield
    finally:
        _Asked.channels = before


def picture_size(path: Path) -> Size:
    """Width and height as training reads the picture, from its first bytes alone.

    Raises:
        InputError: for what is no picture.
    """
    try:
        suffix = path.suffix.lower()
        if suffix in ARRAYS or (suffix in TIFFS and find_spec('tifffile')):  # of many bands, which Pillow does not read
            return header_size(path, _Asked.channels)
        with opened(path) as image:
            return oriented(image)
    except UnreadableError as error:
        raise InputError(f'data: {path} {error}; mend it or take it out') from error


def oriented(image: Image.Image) -> Size:
    """The size after the turn that its EXIF orientation asks for."""
    width, height = image.size
    return (height, width) if image.getexif().get(EXIF_ORIENTATION, 1) in TURNED else (width, height)


def pictures_in(folder: Path, recursive: bool = True) -> list[Path]:
    """The pictures in a folder, links followed, hidden files and folders left out, sorted."""
    found = []
    for top, inner, names in os.walk(folder, followlinks=True):
        inner[:] = [name for name in inner if recursive and not name.startswith('.')]
        found += [Path(top, name) for name in names if not name.startswith('.') and Path(name).suffix.lower() in PICTURES]
    return sorted(path for path in found if is_file(path))


def by_stem(paths: list[Path]) -> dict[str, Path]:
    """Paths by their names without the suffix.

    Raises:
        InputError: for two of one stem, of which a label would name neither.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if path.stem in found:
            raise InputError(
                f'data: expected one picture for each label, got {found[path.stem]} and {path} for {path.stem}; rename one'
            )
        found[path.stem] = path
    return found


def by_name(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Paths by the last part of them."""
    found: dict[str, list[Path]] = {}
    for path in paths:
        found.setdefault(path.name, []).append(path)
    return found


def split_of(*names: str) -> str:
    """The split that one of the names means, such as 'valid', 'train_images' or 'instances_train2017'; '' for none."""
    for name in names:
        words = _words(name)
        splits = [SPLITS[word] for word in words if word in SPLITS]
        if splits and all(word in SPLITS or word in BESIDE or not word for word in words):
            return splits[0]
    return ''


def split_in(stem: str) -> str:
    """The split that a word in the name of an annotation file means, such as 'nuts_train'."""
    return next((SPLITS[word] for word in _words(stem) if word in SPLITS), '')


def _words(name: str) -> list[str]:
    return [word.rstrip('0123456789') for word in re.split(r'[-_. ]', name.lower())]


def label_of(name: str, classes: list[str] | tuple[str, ...], where: object) -> int:
    """The index of a class.

    Raises:
        InputError: for a name that the list does not have.
    """
    try:
        return classes.index(name)
    except ValueError:
        raise InputError(f'data: {where}: expected one of the classes {listed(classes)}, got {name!r}; mend it') from None


def box_of(polygons: list[list[float]]) -> Box:
    """The box around polygons."""
    xs, ys = [x for p in polygons for x in p[::2]], [y for p in polygons for y in p[1::2]]
    return min(xs), min(ys), max(xs), max(ys)


def whole_polygons(polygons: list[list[float]]) -> list[list[float]]:
    """Those of three points or more."""
    return [p for p in polygons if len(p) >= 6 and len(p) % 2 == 0]


def read_xml(path: Path) -> ET.Element:
    """The root of an XML file.

    Raises:
        InputError: for one that cannot be read.
    """
    try:
        return ET.parse(path).getroot()
    except (ET.ParseError, OSError) as error:
        raise InputError(f'data: {path} is no XML ({last_line(error)}); mend it or take it out') from error


def below(path: Path, root: Path) -> str:
    """A path from the root on, as a name."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def folders_in(root: Path) -> Iterator[Path]:
    """The folders of a folder, hidden ones left out, sorted."""
    return (p for p in sorted(root.iterdir()) if p.is_dir() and not p.name.startswith('.'))

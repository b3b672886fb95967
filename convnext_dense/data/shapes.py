"""The embedded toy set: drawn scenes of textured shapes with exact masks.

Each class has an outline, a texture and a range of hues; contrast, angle, period, size, place and light are drawn independently
of the class, and the ground is greyish. Each scene has its own size. One scene gives both an ADE20K-layout mask (1 = ground,
2.. = shapes) and COCO instances; what a later shape covers belongs to the later shape in both.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from convnext_dense.errors import InputError

SHAPES = ('disc', 'square', 'triangle', 'star', 'ring')
CLASSES = ('ground', *SHAPES)
PALETTE = ((90, 90, 90), (230, 60, 60), (60, 140, 230), (60, 190, 90), (240, 190, 40), (170, 80, 200))
TEXTURES = dict(ground='clouds', disc='dots', square='checks', triangle='stripes', star='clouds', ring='speckles')
SPLITS = ('training', 'validation')
SIDES = (128, 193)  # smallest side in pixels, and one more than the largest
RADII = (18, 40)
HUE_SPREAD = 6  # standard deviation in half degrees; the classes' own hues are 36 apart
CELL = 96  # side in pixels of a scene in a grid
MOST_GRID = 32
MOST_SCENES = 100_000  # what five digits in a name number
MAX_COVERED = 0.3  # share of an earlier shape that a later one may cover

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    """A drawn scene: BGR image (H, W, 3), label map (H, W) as in ADE20K, and (class index in SHAPES, mask) per instance."""

    image: Image
    labels: Image
    instances: list[tuple[int, Image]]


def draw_scene(seed: int, split: str, index: int) -> Scene:
    """Scene number `index` of a split. The same arguments give the same scene."""
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    height, width = rng.integers(*SIDES, size=2)
    grey = rng.uniform(40, 200)
    image = _texture(rng, height, width, 'ground', colour=grey + rng.uniform(-12, 12, 3), contrast=0.25)
    owner = np.zeros((height, width), np.uint8)  # 0 ground, k the k-th placed shape
    shapes: list[int] = []
    full_area: list[int] = []
    for _ in range(int(rng.integers(3, 7))):
        shape = int(rng.integers(len(SHAPES)))
        mask = _outline(rng, shape, height, width)
        covered = np.bincount(owner[mask > 0], minlength=len(shapes) + 1)[1:]
        if any(part > MAX_COVERED * whole for part, whole in zip(covered, full_area)):
            continue
        shapes.append(shape)
        full_area.append(int(mask.sum()))
        owner[mask > 0] = len(shapes)
        texture = _texture(rng, height, width, SHAPES[shape], colour=_vivid(rng, shape), contrast=rng.uniform(0.35, 0.65))
        image = np.where(mask[..., None] > 0, texture, image)
    left, right = rng.uniform(0.75, 1.15, 2)
    image = image * np.linspace(left, right, width)[None, :, None]  # light from one side
    image = cv2.GaussianBlur(image, (3, 3), 0.6) + rng.normal(0, 6, image.shape)
    instances = [(shape, (owner == k).astype(np.uint8)) for k, shape in enumerate(shapes, 1)]
    instances = [(shape, mask) for shape, mask in instances if mask.any()]
    labels = np.ones((height, width), np.uint8)
    for shape, mask in instances:
        labels[mask > 0] = shape + 2
    return Scene(np.clip(image, 0, 255).astype(np.uint8), labels, instances)


def draw_grid(seed: int, split: str, index: int, grid: int) -> Scene:
    """Picture number `index` of grid x grid scenes, each brought to CELL pixels a side: many objects, most of them small."""
    image = np.empty((grid * CELL, grid * CELL, 3), np.uint8)
    labels = np.empty(image.shape[:2], np.uint8)
    instances = []
    for k in range(grid * grid):
        scene = draw_scene(seed, split, index * grid * grid + k)
        at = np.s_[k // grid * CELL : (k // grid + 1) * CELL, k % grid * CELL : (k % grid + 1) * CELL]
        image[at] = cv2.resize(scene.image, (CELL, CELL), interpolation=cv2.INTER_AREA)
        labels[at] = cv2.resize(scene.labels, (CELL, CELL), interpolation=cv2.INTER_NEAREST)
        for shape, mask in scene.instances:
            whole = np.zeros(labels.shape, np.uint8)
            whole[at] = cv2.resize(mask, (CELL, CELL), interpolation=cv2.INTER_NEAREST)
            if whole.any():
                instances.append((shape, whole))
    return Scene(image, labels, instances)


def _outline(rng: np.random.Generator, shape: int, height: int, width: int) -> Image:
    """A mask of 0 and 1 (H, W) with one shape at a random place, size and angle."""
    mask = np.zeros((height, width), np.uint8)
    radius = rng.uniform(*RADII)
    centre = np.array([rng.uniform(0.6 * radius, width - 0.6 * radius), rng.uniform(0.6 * radius, height - 0.6 * radius)])
    if SHAPES[shape] in ('disc', 'ring'):
        at = tuple(int(v) for v in centre.round())
        cv2.circle(mask, at, round(radius), 1, -1)
        if SHAPES[shape] == 'ring':
            cv2.circle(mask, at, round(radius * rng.uniform(0.45, 0.6)), 0, -1)
        return mask
    corners = {'square': 4, 'triangle': 3, 'star': 10}[SHAPES[shape]]
    angles = rng.uniform(0, 2 * np.pi) + np.arange(corners) * 2 * np.pi / corners
    radii = np.full(corners, radius)
    if SHAPES[shape] == 'star':
        radii[1::2] *= 0.45
    points = centre + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    cv2.fillPoly(mask, [points.round().astype(np.int32)], 1)
    return mask


def _vivid(rng: np.random.Generator, shape: int) -> NDArray[np.float64]:
    """A saturated colour, its hue drawn around that of the class."""
    hue = int(shape * 180 / len(SHAPES) + rng.normal(0, HUE_SPREAD)) % 180  # in OpenCV's half degrees
    hsv = np.array([[[hue, rng.integers(150, 256), rng.integers(110, 256)]]], np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0].astype(np.float64)


def _texture(
    rng: np.random.Generator, height: int, width: int, name: str, colour: NDArray[np.float64], contrast: float
) -> NDArray[np.float64]:
    """A (H, W, 3) field of `colour` and a darker one, by the share `contrast`, mixed by the texture of the class `name`."""
    other = colour * (1 - contrast)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    angle, period = rng.uniform(0, np.pi), rng.uniform(6, 12)
    u = (x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period
    v = (y * np.cos(angle) - x * np.sin(angle)) * 2 * np.pi / period
    if TEXTURES[name] == 'stripes':
        mix = 0.5 + 0.5 * np.sin(u)
    elif TEXTURES[name] == 'checks':
        mix = (np.sin(u) * np.sin(v) > 0).astype(np.float64)
    elif TEXTURES[name] == 'dots':
        mix = (np.cos(u) + np.cos(v) > 0.8).astype(np.float64)
    else:  # coarse noise is clouds, fine noise is speckles
        grain = 12 if TEXTURES[name] == 'clouds' else 3
        noise = rng.uniform(0, 1, (max(2, height // grain), max(2, width // grain)))
        mix = np.clip(cv2.resize(noise, (int(width), int(height)), interpolation=cv2.INTER_CUBIC), 0, 1)
    return colour + mix[..., None] * (other - colour)


def write_shapes(folder: str | os.PathLike[str], train: int, val: int, seed: int = 0, grid: int = 1) -> None:
    """Write the set in both layouts, a scene or a `grid` of scenes in each picture:

        folder/images/{training,validation}/scene_00000.jpg
        folder/annotations/{training,validation}/scene_00000.png
        folder/instances_{training,validation}.json

    It is written beside `folder` first and moved there when it is whole.

    Raises:
        InputError: if `folder` exists, cannot be written (nothing of it is left then), or for wrong numbers.
    """
    target = Path(folder)
    if os.path.lexists(target):
        raise InputError(f'{target}: expected a folder that is not there yet; remove it or name another')
    if not all(type(count) is int and 1 <= count <= MOST_SCENES for count in (train, val)):
        raise InputError(
            f'expected at least one scene in each split and at most {MOST_SCENES}, got {train} training and {val} validation'
        )
    if type(seed) is not int or seed < 0:
        raise InputError(f'seed: expected an integer of 0 or more, got {seed!r}')
    if type(grid) is not int or not 1 <= grid <= MOST_GRID:
        raise InputError(f'grid: expected an integer from 1 to {MOST_GRID}, got {grid!r}')
    partial = target.with_name(target.name + '.partial')
    if os.path.lexists(partial):
        raise InputError(f'{partial}: expected no such folder, which is what another run writes to; remove it or name another')
    missing = [path for path in target.parents if not os.path.lexists(path)]
    try:
        for split, count in zip(SPLITS, (train, val)):
            _write_split(partial, split, count, seed, grid)
        os.replace(partial, target)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        for path in missing:  # innermost first; a folder that holds anything else stays
            with contextlib.suppress(OSError):
                path.rmdir()
        if isinstance(error, (OSError, ValueError)):
            raise InputError(f'{target}: expected a place to write the set to ({error}); name another folder') from error
        raise


def _write_split(root: Path, split: str, count: int, seed: int, grid: int) -> None:
    images, masks = root / 'images' / split, root / 'annotations' / split
    images.mkdir(parents=True)
    masks.mkdir(parents=True)

    def written() -> Iterator[Scene]:
        for index in range(count):
            scene = draw_scene(seed, split, index) if grid == 1 else draw_grid(seed, split, index, grid)
            _write_picture(images / f'{_name(index)}.jpg', scene.image, cv2.IMWRITE_JPEG_QUALITY, 95)
            _write_picture(masks / f'{_name(index)}.png', scene.labels)
            yield scene

    (root / f'instances_{split}.json').write_text(json.dumps(coco_of(written(), f'drawn shapes, seed {seed}')))


def _write_picture(path: Path, pixels: Image, *options: int) -> None:
    """As cv2.imwrite, which is silent about a full disk."""
    path.write_bytes(cv2.imencode(path.suffix, pixels, options)[1].tobytes())


def _name(index: int) -> str:
    return f'scene_{index:05d}'


def coco_of(scenes: Iterable[Scene], description: str = 'drawn shapes') -> dict[str, Any]:
    """The scenes' instances as the content of a COCO annotation file."""
    coco: dict[str, Any] = {
        'info': {'description': description},
        'images': [],
        'annotations': [],
        'categories': [{'id': i, 'name': name} for i, name in enumerate(SHAPES, 1)],
    }
    for index, scene in enumerate(scenes):
        height, width = scene.labels.shape
        coco['images'].append({'id': index + 1, 'file_name': f'{_name(index)}.jpg', 'width': width, 'height': height})
        coco['annotations'] += [
            {'id': len(coco['annotations']) + 1 + k, 'image_id': index + 1, 'category_id': shape + 1, **_coco_fields(mask)}
            for k, (shape, mask) in enumerate(scene.instances)
        ]
    return coco


def noisy_detections(truth: dict[str, Any], per_object: int, seed: int = 0) -> list[dict[str, Any]]:
    """Detections around the objects of `coco_of`: masks shifted by some pixels, a fifth with a random class, random scores."""
    rng = np.random.default_rng(seed)
    rows = []
    for item in truth['annotations']:
        mask = coco_mask.decode(item['segmentation'])
        for _ in range(per_object):
            shifted = np.roll(mask, tuple(rng.integers(-6, 7, 2)), axis=(0, 1))
            label = item['category_id'] if rng.random() < 0.8 else int(rng.integers(1, len(SHAPES) + 1))
            fields = {key: value for key, value in _coco_fields(shifted).items() if key in ('segmentation', 'bbox')}
            rows.append({'image_id': item['image_id'], 'category_id': label, 'score': float(rng.random()), **fields})
    return rows


def _coco_fields(mask: Image) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(mask))
    return {
        'segmentation': {'size': rle['size'], 'counts': rle['counts'].decode()},
        'bbox': coco_mask.toBbox(rle).tolist(),
        'area': int(coco_mask.area(rle)),
        'iscrowd': 0,
    }

"""Annotated folders in every layout, written as the tools write them, from the same pictures and objects."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image
from pycocotools import mask as run_lengths

CLASSES = ('date', 'fig', 'hazelnut')
SPLITS = ('train', 'val')


class One(NamedTuple):
    """A picture with its polygons, each of a class."""

    path: Path
    size: tuple[int, int]
    polygons: tuple[tuple[int, list[float]], ...]


Parts = dict[str, list[One]]


def toy(folder: Path, count: int = 6, size: tuple[int, int] = (80, 60), seed: int = 0) -> Parts:
    """Pictures of noise with triangles and boxes that lie apart, the last third for validation."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    ones = []
    for number in range(count):
        path = folder / f'p{number}.jpg'
        pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        polygons = []
        for index in range(len(CLASSES)):
            x, y = 4.0 + 24 * index, float(random.integers(4, 20))
            w, h = float(random.integers(12, 20)), float(random.integers(15, 30))
            corners = [x, y, x + w, y + 1, x + w - 2, y + h] + ([x + 1, y + h - 3] if index % 2 else [])
            polygons.append((index, [v + 0.25 for v in corners]))
            pixels[int(y) : int(y + h), int(x) : int(x + w)] = 60 * index + 40
        Image.fromarray(pixels).save(path, quality=95)
        ones.append(One(path, size, tuple(polygons)))
    cut = count - count // 3
    return dict(train=ones[:cut], val=ones[cut:])


def from_coco(files: dict[str, Path], images: Path) -> Parts:
    """Pictures of COCO files, with their first polygon of each object."""
    parts: Parts = {}
    for split, path in files.items():
        content = json.loads(path.read_text())
        labels = {item['id']: index for index, item in enumerate(content['categories'])}
        objects: dict[int, list[tuple[int, list[float]]]] = {image['id']: [] for image in content['images']}
        for item in content['annotations']:
            objects[item['image_id']].append((labels[item['category_id']], [round(v, 4) for v in item['segmentation'][0]]))
        rows = sorted(content['images'], key=lambda image: image['file_name'])
        parts[split] = [
            One(images / image['file_name'], (image['width'], image['height']), tuple(objects[image['id']])) for image in rows
        ]
    return parts


def box(polygon: Sequence[float]) -> tuple[float, float, float, float]:
    return min(polygon[::2]), min(polygon[1::2]), max(polygon[::2]), max(polygon[1::2])


def copy(one: One, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(one.path, folder))


def coco_content(ones: Sequence[One], names: Sequence[str] = CLASSES, above: str = '') -> dict:
    """COCO's JSON; with `above`, as Roboflow writes it, with a category of that name before the others."""
    images, annotations = [], []
    for number, one in enumerate(ones):
        images.append(dict(id=number, file_name=one.path.name, width=one.size[0], height=one.size[1]))
        for label, polygon in one.polygons:
            x1, y1, x2, y2 = box(polygon)
            annotations.append(
                dict(
                    id=len(annotations),
                    image_id=number,
                    category_id=label + 1,
                    bbox=[x1, y1, x2 - x1, y2 - y1],
                    area=(x2 - x1) * (y2 - y1),
                    iscrowd=0,
                    segmentation=[polygon],
                )
            )
    categories = [dict(id=0, name=above, supercategory='none')] if above else []
    categories += [dict(id=index + 1, name=name, supercategory=above or 'none') for index, name in enumerate(names)]
    return dict(images=images, annotations=annotations, categories=categories)


def write_coco(root: Path, parts: Parts) -> None:
    for split, ones in parts.items():
        for one in ones:
            copy(one, root / 'images')
        (root / f'{split}.json').write_text(json.dumps(coco_content(ones)))


def write_roboflow(root: Path, parts: Parts) -> None:
    for split, ones in parts.items():
        folder = root / ('valid' if split == 'val' else split)
        for one in ones:
            copy(one, folder)
        (folder / '_annotations.coco.json').write_text(json.dumps(coco_content(ones, above='nuts')))


def yolo_row(label: int, polygon: Sequence[float], size: tuple[int, int]) -> str:
    return ' '.join([str(label), *(f'{v / size[i % 2]:.8f}' for i, v in enumerate(polygon))])


def write_yolo(root: Path, parts: Parts) -> None:
    """Ultralytics' layout, with Roboflow's paths in data.yaml."""
    for split, ones in parts.items():
        for one in ones:
            copy(one, root / split / 'images')
            labels = root / split / 'labels'
            labels.mkdir(exist_ok=True)
            rows = [yolo_row(label, polygon, one.size) for label, polygon in one.polygons]
            (labels / f'{one.path.stem}.txt').write_text('\n'.join(rows))
    names = ', '.join(f"'{name}'" for name in CLASSES)
    (root / 'data.yaml').write_text(f'train: ../train/images\nval: ../val/images\n\nnc: {len(CLASSES)}\nnames: [{names}]\n')


def write_labelme(root: Path, parts: Parts) -> None:
    for split, ones in parts.items():
        for one in ones:
            picture = copy(one, root / split)
            shapes = [
                dict(
                    label=CLASSES[label],
                    points=[list(pair) for pair in zip(polygon[::2], polygon[1::2])],
                    group_id=None,
                    shape_type='polygon',
                    flags={},
                )
                for label, polygon in one.polygons
            ]
            content = dict(
                version='5.4.1',
                flags={},
                shapes=shapes,
                imagePath=picture.name,
                imageData=None,
                imageHeight=one.size[1],
                imageWidth=one.size[0],
            )
            picture.with_suffix('.json').write_text(json.dumps(content))


def write_cvat(root: Path, parts: Parts) -> None:
    rows = []
    for split, ones in parts.items():
        for one in ones:
            copy(one, root / 'images' / split)
            shapes = ''.join(
                f'<polygon label="{escape(CLASSES[label])}" source="manual" occluded="0" z_order="0" points="'
                + ';'.join(f'{x},{y}' for x, y in zip(polygon[::2], polygon[1::2]))
                + '"></polygon>'
                for label, polygon in one.polygons
            )
            name = f'{split}/{one.path.name}'
            rows.append(f'<image id="{len(rows)}" name="{name}" width="{one.size[0]}" height="{one.size[1]}">{shapes}</image>')
    labels = ''.join(f'<label><name>{name}</name><color>#ff00ff</color><type>any</type></label>' for name in CLASSES)
    meta = f'<meta><task><id>1</id><labels>{labels}</labels></task></meta>'
    text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{meta}{"".join(rows)}</annotations>'
    (root / 'annotations.xml').write_text(text)


def write_label_studio(root: Path, parts: Parts) -> None:
    """One JSON, of local files in folders, the last of the names that an upload gets."""
    tasks = []
    for split, ones in parts.items():
        for one in ones:
            picture = copy(one, root / split)
            result = [
                dict(
                    type='polygonlabels',
                    original_width=one.size[0],
                    original_height=one.size[1],
                    value=dict(
                        points=[[100 * x / one.size[0], 100 * y / one.size[1]] for x, y in zip(polygon[::2], polygon[1::2])],
                        polygonlabels=[CLASSES[label]],
                    ),
                )
                for label, polygon in one.polygons
            ]
            uploaded, local = f'/data/upload/1/0a1b2c3d-{picture.name}', f'/data/local-files/?d=nuts/{split}/{picture.name}'
            data = dict(image=uploaded if one is ones[-1] else local)
            tasks.append(dict(id=len(tasks), data=data, annotations=[dict(was_cancelled=False, result=result)]))
    (root / 'project-1.json').write_text(json.dumps(tasks))


def drawn(polygon: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    return run_lengths.decode(run_lengths.merge(run_lengths.frPyObjects([list(polygon)], size[1], size[0]))).astype(bool)


def write_voc(root: Path, parts: Parts) -> None:
    """Boxes between pixels, as CVAT writes them, and the objects' masks."""
    for folder in ('Annotations', 'SegmentationObject', 'ImageSets/Main'):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for split, ones in parts.items():
        for one in ones:
            copy(one, root / 'JPEGImages')
            rows, mask = '', np.zeros(one.size[::-1], np.uint8)
            for number, (label, polygon) in enumerate(one.polygons, 1):
                mask[drawn(polygon, one.size)] = number
                corners = ''.join(f'<{key}>{v}</{key}>' for key, v in zip(('xmin', 'ymin', 'xmax', 'ymax'), box(polygon)))
                rows += f'<object><name>{CLASSES[label]}</name><difficult>0</difficult><bndbox>{corners}</bndbox></object>'
            size = f'<size><width>{one.size[0]}</width><height>{one.size[1]}</height><depth>3</depth></size>'
            text = f'<annotation><filename>{one.path.name}</filename>{size}{rows}</annotation>'
            (root / f'Annotations/{one.path.stem}.xml').write_text(text)
            Image.fromarray(mask).save(root / f'SegmentationObject/{one.path.stem}.png')
        (root / f'ImageSets/Main/{split}.txt').write_text(''.join(f'{one.path.stem}\n' for one in ones))


OBJECTS: dict[str, Callable[[Path, Parts], None]] = dict(
    coco=write_coco,
    roboflow=write_roboflow,
    yolo=write_yolo,
    labelme=write_labelme,
    cvat=write_cvat,
    label_studio=write_label_studio,
    voc=write_voc,
)


class Painted(NamedTuple):
    """A picture and its classes by pixel, counted from 1; 0 is none."""

    path: Path
    mask: np.ndarray


Scenes = dict[str, list[Painted]]
COLOURS = [(0, 0, 0), (200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (200, 30, 200), (30, 200, 200),
           (90, 40, 10), (10, 90, 40), (40, 10, 90), (128, 128, 128)]  # fmt: skip


def painted(parts: Parts) -> Scenes:
    """The toy objects as class masks."""
    scenes: Scenes = {}
    for split, ones in parts.items():
        scenes[split] = []
        for one in ones:
            mask = np.zeros(one.size[::-1], np.uint8)
            for label, polygon in one.polygons:
                mask[drawn(polygon, one.size)] = label + 1
            scenes[split].append(Painted(one.path, mask))
    return scenes


def _place(root: Path, images: str, masks: str, one: Painted) -> Path:
    (root / images).mkdir(parents=True, exist_ok=True)
    (root / masks).mkdir(parents=True, exist_ok=True)
    shutil.copy(one.path, root / images)
    return root / masks / f'{one.path.stem}.png'


def write_indices(root: Path, scenes: Scenes, names: Sequence[str]) -> None:
    """images/train and masks/train, values from 1, classes.txt."""
    for split, ones in scenes.items():
        for one in ones:
            Image.fromarray(one.mask).save(_place(root, f'images/{split}', f'masks/{split}', one))
    (root / 'classes.txt').write_text(''.join(f'{name}\n' for name in names))


def write_palette(root: Path, scenes: Scenes, names: Sequence[str]) -> None:
    """Palette PNGs in each split's own folders; classes.json from number to name."""
    for split, ones in scenes.items():
        for one in ones:
            image = Image.fromarray(one.mask).convert('P')
            image.putpalette([v for colour in COLOURS for v in colour])
            image.putdata(one.mask.reshape(-1).tolist())
            image.save(_place(root / split, 'images', 'masks', one))
    numbered = {str(index): name for index, name in enumerate(names, 1)} | {'0': 'unlabelled'}
    (root / 'classes.json').write_text(json.dumps(numbered))


def _coloured(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(np.array(COLOURS, np.uint8)[mask])


def write_colours(root: Path, scenes: Scenes, names: Sequence[str]) -> None:
    """RGB masks named picture_mask.png; classes.txt with colours."""
    for split, ones in scenes.items():
        for one in ones:
            path = _place(root, f'{split}/images', f'{split}/masks', one)
            _coloured(one.mask).save(path.with_name(f'{one.path.stem}_mask.png'))
    rows = [f'{name}: {", ".join(map(str, colour))}\n' for name, colour in zip(('unlabelled', *names), COLOURS)]
    (root / 'classes.txt').write_text(''.join(rows))


def write_cvat_masks(root: Path, scenes: Scenes, names: Sequence[str]) -> None:
    """CVAT's "Segmentation mask 1.1": VOC's folders with labelmap.txt."""
    (root / 'ImageSets/Segmentation').mkdir(parents=True)
    for split, ones in scenes.items():
        for one in ones:
            _coloured(one.mask).save(_place(root, 'JPEGImages', 'SegmentationClass', one))
        (root / f'ImageSets/Segmentation/{split}.txt').write_text(''.join(f'{one.path.stem}\n' for one in ones))
    rows = [f'{name}:{",".join(map(str, colour))}::\n' for name, colour in zip(('background', *names), COLOURS)]
    (root / 'labelmap.txt').write_text('# label:color_rgb:parts:actions\n' + ''.join(rows))


def write_roboflow_masks(root: Path, scenes: Scenes, names: Sequence[str]) -> None:
    """Masks beside their pictures, with _classes.csv in each split."""
    for split, ones in scenes.items():
        folder = root / ('valid' if split == 'val' else split)
        folder.mkdir(parents=True)
        for one in ones:
            shutil.copy(one.path, folder)
            Image.fromarray(one.mask).save(folder / f'{one.path.stem}_mask.png')
        rows = ''.join(f'{index}, {name}\n' for index, name in enumerate(('unlabelled', *names)))
        (folder / '_classes.csv').write_text(f'Pixel Value, Class\n{rows}')


def write_ade20k(root: Path, scenes: Scenes, names: Sequence[str]) -> None:
    """ADE20K's tree, each class by its number among the 150."""
    from mmseg.datasets import ADE20KDataset

    numbers = np.array([0, *(ADE20KDataset.METAINFO['classes'].index(name) + 1 for name in names)], np.uint8)
    for split, ones in scenes.items():
        folder = dict(train='training', val='validation')[split]
        for one in ones:
            Image.fromarray(numbers[one.mask]).save(_place(root, f'images/{folder}', f'annotations/{folder}', one))


def write_coco_masks(root: Path, scenes: Scenes, names: Sequence[str]) -> None:
    """COCO's JSON with a run-length mask of each class."""
    for split, ones in scenes.items():
        parts: list[One] = []
        for one in ones:
            (root / split).mkdir(parents=True, exist_ok=True)
            shutil.copy(one.path, root / split)
            parts.append(One(one.path, one.mask.shape[::-1], ()))
        content = coco_content(parts, names)
        for number, one in enumerate(ones):
            for value in np.unique(one.mask[one.mask > 0]).tolist():
                runs = run_lengths.encode(np.asfortranarray(one.mask == value, np.uint8))
                content['annotations'].append(
                    dict(
                        id=len(content['annotations']),
                        image_id=number,
                        category_id=value,
                        bbox=run_lengths.toBbox(runs).tolist(),
                        area=int(run_lengths.area(runs)),
                        iscrowd=0,
                        segmentation=dict(size=runs['size'], counts=runs['counts'].decode()),
                    )
                )
        (root / f'instances_{split}.json').write_text(json.dumps(content))


MASKS: dict[str, Callable[[Path, Scenes, Sequence[str]], None]] = dict(
    indices=write_indices,
    palette=write_palette,
    colours=write_colours,
    cvat_masks=write_cvat_masks,
    roboflow_masks=write_roboflow_masks,
    ade20k=write_ade20k,
    coco_masks=write_coco_masks,
)
IGNORED = dict.fromkeys(('palette', 'colours', 'roboflow_masks'), 'unlabelled')
IGNORED |= dict.fromkeys(('cvat_masks', 'coco_masks'), 'background')

"""The data sets of a config as what a folder of annotated pictures holds, for the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from convnext_dense.data.check import build_data_set, data_sets
from convnext_dense.data.check_seg import find_folders, image_pairs
from convnext_dense.data.coco import coco_files, is_coco_class, read_coco
from convnext_dense.data.layouts.coco_json import pictures_of
from convnext_dense.data.layouts.found import IGNORE, Found, Picture, Values, below, picture_size
from convnext_dense.data.pictures import is_file
from convnext_dense.errors import InputError


def found_in_config(cfg: Config, names: Sequence[str]) -> tuple[Found, dict[str, list[Picture]]]:
    """All that the loaders under `names` read; of segmentation, masks by the data set's own numbers.

    Raises:
        InputError: for data sets of another kind than COCO's or a pair of folders.
    """
    parts: dict[str, list[Picture]] = {}
    whole: Found | None = None
    for name in names:
        for where, spec in data_sets(cfg, name):
            dataset = build_data_set(where, spec, cfg.get('default_scope'))
            classes = tuple(dataset.metainfo.get('classes') or ())
            values = None
            if is_coco_class(type(dataset)):
                files = coco_files(spec)
                content = read_coco(files.annotations)
                categories = [item for item in content['categories'] if item['name'] in classes]
                root = Path(spec.get('data_root') or files.images)
                pictures, _ = pictures_of(content, categories, files.images, root, '')
            elif hasattr(dataset, 'reduce_zero_label'):
                folders = find_folders(name, dataset)
                root = Path(dataset.data_root or folders['img_path'])
                pairs = [
                    (image, mask) for image, mask in image_pairs(name, dataset, folders) if is_file(image) and is_file(mask)
                ]
                pictures = [Picture(image, below(image, root), picture_size(image), mask=mask) for image, mask in pairs]
                first = int(bool(dataset.reduce_zero_label))
                values = Values({index + first: index for index in range(len(classes))} | {IGNORE: IGNORE})
                values.classes |= {0: IGNORE} if first else {}
            else:
                raise InputError(
                    f"{where}: expected COCO's or a pair of folders for a page, got {type(dataset).__name__}; leave --out out"
                )
            whole = whole or Found(type(dataset).__name__, 'the config', root, classes, [], values)
            parts.setdefault(name.removesuffix('_dataloader'), []).extend(pictures)
    assert whole is not None
    whole.pictures = [picture for several in parts.values() for picture in several]
    return whole, parts

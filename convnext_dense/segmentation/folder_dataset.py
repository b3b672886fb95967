"""A folder of any layout as an MMSegmentation data set: class masks from files of any values, or drawn from outlines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmcv.transforms import BaseTransform
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, TRANSFORMS

from convnext_dense.data.layouts.class_masks import Lookup, draw
from convnext_dense.data.layouts.found import IGNORE


@DATASETS.register_module()
class FolderDataset(BaseSegDataset):
    """The pictures of `ann_file`, a record as `convnext_dense.data.layouts.index` writes it, below `data_root`."""

    def load_data_list(self) -> list[dict[str, Any]]:
        content = json.loads(Path(self.ann_file).read_text(encoding='utf-8'))
        outlines: dict[int, list[tuple[int, Any]]] = {}
        for one in content['annotations']:
            if one.get('segmentation') and not one['iscrowd']:
                outlines.setdefault(one['image_id'], []).append((one['category_id'] - 1, one['segmentation']))
        return [
            dict(
                img_path=str(Path(self.data_root or '', image['file_name'])),
                seg_map_path=image.get('mask_file'),
                outlines=outlines.get(image['id'], []),
                label_map=None,
                reduce_zero_label=False,
                seg_fields=[],
            )
            for image in content['images']
        ]


@TRANSFORMS.register_module()
class LoadFolderAnnotations(BaseTransform):
    """`gt_seg_map` (H, W), bytes: a class for each pixel, 255 for none.

    Args:
        values: pairs of a mask file's value, or packed colour, and its class; None: masks are drawn from outlines, the
            large ones first, so that a small object on a large one is seen.
        colours: whether the files have colours.
        background: the class of pixels without an outline.
    """

    def __init__(self, values: Sequence[Sequence[int]] | None = None, colours: bool = False, background: int = IGNORE) -> None:
        self.lookup = None if values is None else Lookup(values, colours)
        self.background = background

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        if self.lookup is not None:
            mask = self.lookup(Path(results['seg_map_path']))
        else:
            height, width = results['ori_shape'][:2]
            mask = draw(results['outlines'], (width, height), self.background)
        results['gt_seg_map'] = mask
        results['seg_fields'].append('gt_seg_map')
        return results

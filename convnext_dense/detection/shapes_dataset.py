"""The toy set as an MMDetection dataset."""

from typing import ClassVar

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS

from convnext_dense.data.shapes import PALETTE, SHAPES


@DATASETS.register_module()
class ShapesCocoDataset(CocoDataset):
    """Instances of the drawn shapes; the ground has none."""

    METAINFO: ClassVar[dict] = dict(classes=SHAPES, palette=list(PALETTE[1:]))

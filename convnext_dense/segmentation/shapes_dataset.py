"""The toy set as an MMSegmentation dataset. Imported by its config alone, since it needs mmseg."""

from typing import ClassVar

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from convnext_dense.data.shapes import CLASSES, PALETTE


@DATASETS.register_module()
class ShapesDataset(BaseSegDataset):
    """Masks as ADE20K's: 0 unlabelled, k the k-th class."""

    METAINFO: ClassVar[dict] = dict(classes=CLASSES, palette=[list(colour) for colour in PALETTE])

    def __init__(self, reduce_zero_label: bool = True, **kwargs) -> None:
        super().__init__(reduce_zero_label=reduce_zero_label, **kwargs)

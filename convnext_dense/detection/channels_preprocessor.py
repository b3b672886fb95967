"""Normalising pictures of any number of channels for a detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmengine.registry import MODELS


@MODELS.register_module()
class ChannelsDetDataPreprocessor(DetDataPreprocessor):
    """DetDataPreprocessor with a mean and a std for each of any number of channels; mmengine's takes 1 or 3."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], **options: Any) -> None:
        super().__init__(**options)
        self._enable_normalize = True
        self.register_buffer('mean', torch.tensor(mean).view(-1, 1, 1), False)
        self.register_buffer('std', torch.tensor(std).view(-1, 1, 1), False)

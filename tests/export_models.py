"""A small segmentor to export, and pictures."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmseg.models.data_preprocessor import SegDataPreProcessor
from segmentors import segmentor


def exportable(lean: bool = True, **settings: Any) -> Any:
    """With statistics of its norms, as after training."""
    model = segmentor(lean)
    settings = dict(mean=[123.0, 116.0, 103.0], std=[58.0, 57.0, 56.0], bgr_to_rgb=True, size=(64, 64)) | settings
    model.data_preprocessor = SegDataPreProcessor(**settings)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def by_torch(model: Any, image: np.ndarray) -> list[np.ndarray]:
    """Classes (B, H, W) and logits of pictures (B, H, W, 3) in RGB, by the model's own preprocessor and layers."""
    bgr = torch.from_numpy(image[..., ::-1].copy()).permute(0, 3, 1, 2)
    with torch.no_grad():
        inputs = model.data_preprocessor(dict(inputs=list(bgr)))['inputs']
        inputs = torch.stack(inputs) if isinstance(inputs, list) else inputs
        logits = model.decode_head(model.extract_feat(inputs))
        large = F.interpolate(logits, image.shape[1:3], mode='bilinear', align_corners=model.align_corners)
    if model.out_channels == 1:
        return [(large[:, 0].sigmoid() > model.decode_head.threshold).numpy(), logits.numpy()]
    return [large.argmax(1).numpy(), logits.numpy()]


def pictures(*shape: int) -> np.ndarray:
    """(B, H, W, 3) of bytes."""
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)

"""Results for tests, made by hand."""

import numpy as np
from models import photograph

from convnext_dense.predict.result import Result

CLASSES = ('cat', 'dog', 'hen')
PALETTE = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
COMMON = dict(name='a', source='dir/a.jpg', file='a.jpg', bgr=photograph(20, 30)[..., ::-1], classes=CLASSES, palette=PALETTE)


def segmented(**changes) -> Result:
    """A class in each of three rectangles, and a hole of another class in the first."""
    mask = np.zeros((20, 30), np.uint8)
    mask[:, 15:] = 2
    mask[5:10, 4:9] = 2
    return Result(**COMMON | dict(mask=mask) | changes)


def detected(masks: bool = True, **changes) -> Result:
    """A dog with a hole in it, and a cat that it covers in part."""
    shapes = np.zeros((2, 20, 30), bool)
    shapes[0, 2:12, 3:13] = True
    shapes[0, 5:8, 5:8] = False
    shapes[1, 8:16, 10:25] = True
    boxes = np.array([[3, 2, 13, 12], [10, 8, 25, 16]], np.float32)
    found = dict(
        boxes=boxes, scores=np.array([0.9, 0.5], np.float32), labels=np.array([1, 0]), mask_data=shapes if masks else None
    )
    return Result(**COMMON | found | changes)

"""A picture with a mask, as a folder of them."""

from pathlib import Path

import numpy as np
from models import write_photograph
from PIL import Image


def write(root: Path, *values: int, stem: str = 'a', folder: str = 'masks', shape: tuple[int, int] = (40, 60)) -> Path:
    """A picture, and a mask of stripes of these values."""
    write_photograph(root / f'images/{stem}.png', 40, 60)
    (root / folder).mkdir(exist_ok=True)
    mask = np.resize(np.array(values, np.uint8), shape[1])[None].repeat(shape[0], 0)
    Image.fromarray(mask).save(root / folder / f'{stem}.png')
    return root


def colour(root: Path, *colours: tuple[int, int, int], mode: str = 'RGB') -> Path:
    write(root, 0)
    mask = np.resize(np.array(colours, np.uint8), (40, 60, 3))
    Image.fromarray(mask).convert(mode).save(root / 'masks/a.png')
    return root

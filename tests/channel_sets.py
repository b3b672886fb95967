"""Pictures of other than three channels, and the toy set rewritten with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import tifffile
from mmengine.config import Config

from convnext_dense.data.channel_stats import channel_stats
from convnext_dense.run.channels import settle_channels


def picture(channels: int, dtype: type = np.uint16, height: int = 20, width: int = 30, seed: int = 0) -> np.ndarray:
    """(H, W, N) of random numbers of the type."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == 'f':
        return rng.normal(0, 3, (height, width, channels)).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype=dtype, endpoint=True)


def write_tiff(path: Path, values: np.ndarray) -> None:
    if values.shape[2] == 1:
        tifffile.imwrite(path, values[..., 0], photometric='minisblack')
    else:
        tifffile.imwrite(path, values, photometric='minisblack', planarconfig='contig')


def rewrite(root: Path, channels: int, suffix: str = '.tif', write: Callable[[Path, np.ndarray], None] = write_tiff) -> Path:
    """A toy set's JPEGs as pictures of 16 bits with so many channels, mixtures of the colours."""
    mix = np.random.default_rng(0).uniform(0, 80, (3, channels))
    for path in sorted((root / 'images').rglob('*.jpg')):
        write(path.with_suffix(suffix), (cv2.imread(str(path)) @ mix).astype(np.uint16))
        path.unlink()
    for file in root.glob('instances_*.json'):
        content = json.loads(file.read_text())
        for image in content['images']:
            image['file_name'] = str(Path(image['file_name']).with_suffix(suffix))
        file.write_text(json.dumps(content))
    return root


def settled(cfg: Config, root: Path, channels: int, file: Path) -> str:
    """`cfg` for the rewritten set, settled by its statistics and written to `file`; the line of it."""
    paths = sorted((root / 'images/training').iterdir())
    stats = channel_stats(paths, channels)
    line = settle_channels(cfg, channels, stats.mean, stats.std)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        if cfg.default_scope == 'mmseg':
            loader.dataset.img_suffix = paths[0].suffix
    cfg.dump(str(file))
    return line

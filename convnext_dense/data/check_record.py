"""What is wrong with the pictures of a folder whose annotations were read: broken ones, and those of another size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from convnext_dense.data.channels import ARRAYS, TIFFS, channels_of, size_reader
from convnext_dense.data.check_coco import spread
from convnext_dense.data.pictures import UnreadableError
from convnext_dense.data.pipeline import smallest_side


def record_problems(dataset: Any, pipeline: Any, smallest: int, sample: int | None) -> list[str]:
    """Problems of the pictures in `dataset.ann_file`, each a line; `sample` of them are read, or all for None."""
    content = json.loads(Path(dataset.ann_file).read_text(encoding='utf-8'))
    found: list[str] = []
    for image in spread(content['images'], sample):
        found += _problems(Path(dataset.data_root or '', image['file_name']), image, pipeline, smallest)
    return found


def _problems(path: Path, image: dict[str, Any], pipeline: Any, smallest: int) -> Iterator[str]:
    photograph = channels_of(pipeline) is None
    try:
        size, _ = size_reader(pipeline)(path)
    except (UnreadableError, OSError) as error:
        other = photograph and path.suffix.lower() in (*TIFFS, *ARRAYS)
        hint = '; --channels N reads other than photographs' if other else ''
        yield f'{path} {error if isinstance(error, UnreadableError) else "is missing"}{hint}'
        return
    said = (image['width'], image['height'])
    if size != said:
        yield f'{path} has {size[0]}x{size[1]} pixels, where its annotation says {said[0]}x{said[1]}'
    elif smallest_side(size, pipeline) < smallest:
        yield f'{path} has {size[0]}x{size[1]} pixels; expected at least {smallest} pixels a side'

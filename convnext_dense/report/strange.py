"""The pictures that are least like the others, and in what."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from convnext_dense.data.layouts.found import Picture
from convnext_dense.report.survey import Seen

FAR = 3.5  # robust deviations from the median from which on a picture is strange (Iglewicz and Hoaglin 1993)


class Strange(NamedTuple):
    picture: Picture
    why: str
    far: float


def strangest(pictures: Sequence[Picture], seen: Mapping[str, Seen], most: int) -> list[Strange]:
    """The pictures furthest from the median in one of their features, the furthest first."""
    rows = [picture for picture in pictures if not seen[picture.name].why]
    if len(rows) < 3:
        return []
    features = [_features(picture, seen[picture.name]) for picture in rows]
    best: list[Strange] = [Strange(picture, '', 0.0) for picture in rows]
    for name in features[0]:
        values = np.array([one[name] for one in features])
        middle = float(np.median(values))
        spread = 1.4826 * float(np.median(np.abs(values - middle))) or float(values.std())
        for index, value in enumerate(values):
            far = abs(value - middle) / spread if spread > 1e-9 else 0.0
            if far > best[index].far:
                more = 'more' if value > middle else 'less'
                best[index] = Strange(rows[index], f'{more} {name} than others ({far:.1f} deviations)', float(far))
    return sorted((one for one in best if one.far >= FAR), key=lambda one: -one.far)[:most]


def _features(picture: Picture, seen: Seen) -> dict[str, float]:
    width, height = seen.size
    found = {
        'width for its height': math.log(width / height),
        'pixels': math.log(width * height),
        'brightness': float(np.mean(seen.mean)),
        'contrast': float(np.mean(seen.std)),
        'colour': float(np.ptp(seen.mean)),
        'objects': math.log1p(len(picture.objects)),
    }
    if seen.pixels is not None and seen.pixels.sum():
        shares = seen.pixels / seen.pixels.sum()
        found['mixture of classes'] = float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())
    return found

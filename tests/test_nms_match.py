"""nms_match, against a loop over pairs of boxes."""

import numpy as np
import pytest
import torch

from convnext_dense.errors import InputError
from convnext_dense.mmcv_ext.nms_match import nms_match

mmcv_ops = pytest.importorskip('mmcv.ops')


def boxes(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 30
    side = torch.rand(count, 2, generator=generator) * 30 + 1
    return torch.cat([corner, corner + side, torch.rand(count, 1, generator=generator)], dim=1)


def plain_iou(a: torch.Tensor, b: torch.Tensor) -> float:
    wide, tall = (torch.minimum(a[2:4], b[2:4]) - torch.maximum(a[:2], b[:2])).clamp(min=0).tolist()
    area = [float((box[2] - box[0]) * (box[3] - box[1])) for box in (a, b)]
    return wide * tall / (sum(area) - wide * tall)


@pytest.mark.parametrize('threshold', [0.2, 0.6])
def test_it_equals_a_loop(threshold: float) -> None:
    dets = boxes(40)
    groups, seen = [], set()
    order = dets[:, 4].argsort(descending=True).tolist()
    for at, i in enumerate(order):
        if i not in seen:
            group = [j for j in order[at + 1 :] if j not in seen and plain_iou(dets[i], dets[j]) >= threshold]
            groups.append([i, *group])
            seen.update(group)
    found = mmcv_ops.nms_match(dets, threshold)
    assert [group.tolist() for group in found] == groups
    assert sorted(torch.cat(found).tolist()) == list(range(40)) and any(len(group) > 1 for group in groups)


def test_by_hand() -> None:
    # IoU 1/3 of the first two; the third is far; the last has no area, nor an IoU.
    dets = torch.tensor([[0.0, 0, 2, 1, 0.5], [1, 0, 3, 1, 0.9], [9, 9, 10, 10, 0.7], [9, 9, 9, 9, 0.1]])
    assert nms_match(dets, 0.33) == [[1, 0], [2], [3]]
    assert nms_match(dets, 0.34) == [[1], [2], [0], [3]]
    assert nms_match(dets.double(), 0.33) == [[1, 0], [2], [3]]
    assert nms_match(dets.t().contiguous().t(), 0.33) == [[1, 0], [2], [3]]
    assert nms_match(torch.tensor([[1.0, 1, 1, 1, 0.5], [1, 1, 1, 1, 0.4]]), 0.0) == [[0], [1]]
    half = torch.tensor([[0.0, 0, 2, 1, 0.5], [0, 0, 1, 1, 0.4]])  # an IoU of 1/2, which suppresses at that threshold
    assert nms_match(half, 0.5) == [[0, 1]] and nms_match(half, 0.51) == [[0], [1]]


def test_no_box_numpy_and_reduced_precision() -> None:
    assert mmcv_ops.nms_match(boxes(0), 0.5) == [] and nms_match(boxes(0), 0.5) == []
    (one,) = mmcv_ops.nms_match(boxes(1).numpy(), 0.5)
    assert isinstance(one, np.ndarray) and one.tolist() == [0]
    half = boxes(30).half()
    assert nms_match(half, 0.5) == nms_match(half.float(), 0.5)


@pytest.mark.parametrize(
    'dets, message',
    [
        (torch.zeros(2, 5).long(), 'expected floating-point numbers in dets, got torch.int64'),
        (torch.zeros(2, 4), r'expected dets of shape \(N, 5\), got \(2, 4\)'),
        (torch.tensor([[0.0, 0, 1, torch.nan, 0.5]]), 'expected finite numbers in dets, got 0 0 1 nan 0.5 in row 0'),
    ],
)
def test_wrong_input(dets: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=f'^nms_match: {message}'):
        nms_match(dets, 0.5)

"""IoU and NMS of rotated boxes, against polygons that are clipped edge by edge."""

import math

import pytest
import torch
from torch import Tensor

from convnext_dense.errors import InputError
from convnext_dense.mmcv_ext import rotated_iou

mmcv_ops = pytest.importorskip('mmcv.ops')


def boxes(count: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.rand(count, 5, dtype=torch.float64, generator=generator)
    return (numbers * torch.tensor([40, 40, 30, 20, 6.3]) + torch.tensor([0, 0, 1, 1, -3.1])).to(dtype)


def polygon(box: Tensor) -> list[tuple[float, float]]:
    x, y, width, height, angle = box.tolist()
    turn = [(u * width / 2, v * height / 2) for u, v in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    return [(x + u * math.cos(angle) - v * math.sin(angle), y + u * math.sin(angle) + v * math.cos(angle)) for u, v in turn]


def clipped(subject: list, clip: list) -> list:
    """Sutherland and Hodgman: what of a polygon is left of each edge of a convex one."""
    for (ax, ay), (bx, by) in zip(clip, [*clip[1:], clip[0]]):
        given, subject = subject, []
        side = [(bx - ax) * (y - ay) - (by - ay) * (x - ax) for x, y in given]
        for i, (x, y) in enumerate(given):
            (px, py), before = given[i - 1], side[i - 1]
            if (before >= 0) != (side[i] >= 0):
                at = before / (before - side[i])
                subject.append((px + at * (x - px), py + at * (y - py)))
            if side[i] >= 0:
                subject.append((x, y))
    return subject


def plain_iou(a: Tensor, b: Tensor, mode: str = 'iou') -> float:
    points = clipped(polygon(a), polygon(b))
    shared = sum(x * v - u * y for (x, y), (u, v) in zip(points, [*points[1:], *points[:1]])) / 2
    area = float(a[2] * a[3]), float(b[2] * b[3])
    return shared / (sum(area) - shared if mode == 'iou' else area[0])


@pytest.fixture(params=[None, 3], ids=['whole', 'in parts'])
def parts(request, monkeypatch) -> None:
    if request.param:
        for name in ('PAIRS', 'DISTANCES', 'BLOCK'):
            monkeypatch.setattr(rotated_iou, name, request.param)


@pytest.mark.usefixtures('parts')
@pytest.mark.parametrize('mode', ['iou', 'iof'])
def test_it_equals_clipped_polygons(mode: str) -> None:
    some, others = boxes(12), boxes(9, seed=1)
    expected = torch.tensor([[plain_iou(a, b, mode) for b in others] for a in some], dtype=torch.float64)
    torch.testing.assert_close(mmcv_ops.box_iou_rotated(some, others, mode), expected)
    pairs = mmcv_ops.box_iou_rotated(some[:9], others, mode, aligned=True)
    torch.testing.assert_close(pairs, expected[:9].diagonal())
    assert 0.1 < (expected > 0).double().mean() < 0.9


def test_the_other_direction_of_rotation() -> None:
    some, others = boxes(6), boxes(6, seed=1)
    flip = torch.tensor([1, 1, 1, 1, -1.0])
    ours = mmcv_ops.box_iou_rotated(some, others, clockwise=False)
    torch.testing.assert_close(ours, mmcv_ops.box_iou_rotated(some * flip, others * flip))


@pytest.mark.parametrize('same', [slice(0, 0), slice(0, 2), slice(2, 4), slice(4, 5)])
@pytest.mark.parametrize('dtype, jitter', [(torch.float32, 1e-6), (torch.float32, 1e-5), (torch.float64, 1e-13)])
def test_boxes_that_are_nearly_the_same(dtype: torch.dtype, jitter: float, same: slice) -> None:
    some = boxes(2000, dtype=dtype)
    others = some + jitter * torch.randn(some.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(dtype)
    others[:, same] = some[:, same]
    ious = mmcv_ops.box_iou_rotated(some, others, aligned=True)
    expected = torch.tensor([plain_iou(*pair) for pair in zip(some[:200].double(), others[:200].double())])
    torch.testing.assert_close(ious[:200], expected.to(dtype), rtol=0, atol=3e-4)
    assert ious.min() > 0.999 and ious.max() < 1.001


@pytest.mark.parametrize(
    'a, b, iou',
    [
        ([0, 0, 2, 2, 0], [0, 0, 2, 2, 0], 1.0),
        ([5, 5, 4, 2, 0.7], [5, 5, 4, 2, 0.7], 1.0),
        ([0, 0, 2, 2, 0], [0, 0, 2, 2, math.pi / 2], 1.0),
        ([0, 0, 2, 2, 0], [1, 0, 2, 2, 0], 1 / 3),
        ([0, 0, 2, 2, 0], [0, 0, 2, 2, math.pi / 4], 1 / math.sqrt(2)),  # an octagon
        ([0, 0, 2, 2, 0], [2, 0, 2, 2, 0], 0.0),  # an edge in common
        ([0, 0, 4, 4, 0], [0, 0, 2, 2, 0.3], 0.25),  # one in the other
        ([0, 0, 2, 2, 0], [0, 0, 0, 2, 0], 0.0),  # no area
        ([0, 0, 2, 2, 0], [9, 9, 2, 2, 1], 0.0),
        ([1e4, 1e4, 20, 10, 0], [1e4 + 10, 1e4, 20, 10, 0], 1 / 3),  # far from the origin
    ],
)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_by_hand(dtype: torch.dtype, a: list, b: list, iou: float) -> None:
    first, second = (torch.tensor([box], dtype=dtype) for box in (a, b))
    assert float(mmcv_ops.box_iou_rotated(first, second)) == pytest.approx(iou, abs=1e-5)
    assert float(mmcv_ops.box_iou_rotated(second, first)) == pytest.approx(iou, abs=1e-5)


@pytest.mark.usefixtures('parts')
@pytest.mark.parametrize('threshold', [0.1, 0.25])
def test_nms_equals_a_loop(threshold: float) -> None:
    dets = boxes(30)
    scores = torch.rand(30, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    kept: list[int] = []
    for i in scores.argsort(descending=True).tolist():
        if all(plain_iou(dets[k], dets[i]) < threshold for k in kept):
            kept.append(i)
    found, inds = mmcv_ops.nms_rotated(dets, scores, threshold)
    assert inds.tolist() == kept and 1 < len(kept) < 30
    assert torch.equal(found, torch.cat([dets[kept], scores[kept, None]], dim=1))
    labels = torch.arange(30.0, dtype=torch.float64)
    assert mmcv_ops.nms_rotated(dets, scores, threshold, labels=labels)[1].tolist() == kept


def test_a_box_at_the_threshold_goes() -> None:
    dets = torch.tensor([[0.0, 0, 4, 4, 0], [0, 0, 4, 2, 0]])  # IoU a half
    assert mmcv_ops.nms_rotated(dets, torch.tensor([0.4, 0.8]), 0.5)[1].tolist() == [1]
    assert mmcv_ops.nms_rotated(dets, torch.tensor([0.4, 0.8]), 0.51)[1].tolist() == [1, 0]


def test_no_boxes_strides_and_reduced_precision() -> None:
    none, some = boxes(0), boxes(5)
    assert mmcv_ops.box_iou_rotated(none, some).shape == (0, 5) and mmcv_ops.box_iou_rotated(some, none).shape == (5, 0)
    assert mmcv_ops.box_iou_rotated(none, none, aligned=True).shape == (0,)
    empty = torch.zeros(0, dtype=torch.long)
    assert rotated_iou.nms_rotated(none, none[:, 0], empty, none, empty, 0.5, False).tolist() == []
    strided = some.t().contiguous().t()
    ious = torch.zeros(25, dtype=torch.float64)
    rotated_iou.box_iou_rotated(strided, strided, ious, 0, False)
    torch.testing.assert_close(ious.view(5, 5), mmcv_ops.box_iou_rotated(some, some))
    for dtype in (torch.float16, torch.bfloat16):
        half = boxes(8, dtype=dtype)
        ours = mmcv_ops.box_iou_rotated(half, half)
        assert torch.equal(ours, mmcv_ops.box_iou_rotated(half.float(), half.float()).to(dtype))
        scores = torch.linspace(1, 0, 8).to(dtype)
        assert (
            mmcv_ops.nms_rotated(half, scores, 0.3)[1].tolist() == mmcv_ops.nms_rotated(half.float(), scores, 0.3)[1].tolist()
        )


BOX, NAN = torch.ones(1, 5), torch.tensor([[0.0, 0, 1, torch.nan, 0]])


@pytest.mark.parametrize(
    'first, second, message',
    [
        (BOX.long(), BOX.long(), r'box_iou_rotated: expected floating-point numbers in boxes1, got torch\.int64'),
        (NAN, BOX, 'box_iou_rotated: expected finite numbers in boxes1, got 0 0 1 nan 0 in row 0'),
        (BOX, BOX[:, :4], r'box_iou_rotated: expected boxes2 of shape \(N, 5\), got \(1, 4\)'),
        (BOX, BOX.to('meta'), 'box_iou_rotated: expected all tensors on one device, got boxes1 on cpu, boxes2 on meta'),
    ],
)
def test_wrong_input(first: Tensor, second: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=f'^{message}'):
        mmcv_ops.box_iou_rotated(first, second)


def test_wrong_input_of_nms() -> None:
    with pytest.raises(InputError, match='^nms_rotated: expected finite numbers in dets, got 0 0 1 nan 0 in row 0'):
        mmcv_ops.nms_rotated(NAN, torch.ones(1), 0.5)
    with pytest.raises(InputError, match='^nms_rotated: expected finite numbers in scores'):
        mmcv_ops.nms_rotated(BOX, torch.tensor([torch.nan]), 0.5)
    with pytest.raises(InputError, match=r'^nms_rotated: expected scores of shape \(1\), got \(2\)'):
        rotated_iou.nms_rotated(BOX, torch.ones(2), torch.arange(2), BOX, torch.ones(0), 0.5, False)

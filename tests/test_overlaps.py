"""bbox_overlaps, against hand-computed values and a loop over pairs."""

import pytest
import torch
from torch import Tensor

from convnext_dense.errors import InputError
from convnext_dense.mmcv_ext import overlaps

mmcv_ops = pytest.importorskip('mmcv.ops')


def boxes(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, dtype=torch.float64, generator=generator) * 20
    return torch.cat([corner, corner + torch.rand(count, 2, dtype=torch.float64, generator=generator) * 20 + 1], dim=1)


def plain(a: Tensor, b: Tensor, mode: str, offset: int) -> float:
    wide, tall = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2]) + offset).clamp(min=0).tolist()
    area = [float((box[2] - box[0] + offset) * (box[3] - box[1] + offset)) for box in (a, b)]
    return wide * tall / (sum(area) - wide * tall if mode == 'iou' else area[0])


@pytest.mark.parametrize('pairs', [1 << 20, 3], ids=['whole', 'in parts'])
@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('mode', ['iou', 'iof'])
def test_it_equals_a_loop(mode: str, offset: int, pairs: int, monkeypatch) -> None:
    monkeypatch.setattr(overlaps, 'PAIRS', pairs)
    some, others = boxes(7), boxes(5, seed=1)
    expected = torch.tensor([[plain(a, b, mode, offset) for b in others] for a in some], dtype=torch.float64)
    torch.testing.assert_close(mmcv_ops.bbox_overlaps(some, others, mode, False, offset), expected)
    aligned = mmcv_ops.bbox_overlaps(some[:5].t().contiguous().t(), others, mode, True, offset)
    torch.testing.assert_close(aligned, expected[:5].diagonal())
    assert (expected == 0).any() and (expected > 0).any()


def test_by_hand() -> None:
    a, b = torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([[0.5, 0, 1.5, 1], [0, 0, 2, 1], [5, 5, 6, 6]])
    torch.testing.assert_close(mmcv_ops.bbox_overlaps(a, b), torch.tensor([[1 / 3, 0.5, 0]]))
    torch.testing.assert_close(mmcv_ops.bbox_overlaps(a, b, 'iof'), torch.tensor([[0.5, 1, 0]]))
    torch.testing.assert_close(mmcv_ops.bbox_overlaps(a, b[:1], offset=1), torch.tensor([[0.6]]))


def test_no_boxes_no_area_and_reduced_precision() -> None:
    none, some = boxes(0), boxes(3)
    assert mmcv_ops.bbox_overlaps(none, some).shape == (0, 3) and mmcv_ops.bbox_overlaps(some, none).shape == (3, 0)
    overlaps.bbox_overlaps(none, some, torch.zeros(0, 3), 0, False, 0)
    overlaps.bbox_overlaps(some, none, torch.zeros(3, 0), 0, False, 0)
    flat = torch.tensor([[1.0, 1, 1, 1]])
    assert mmcv_ops.bbox_overlaps(flat, flat).isnan().all()  # as mmcv's own
    for dtype in (torch.float16, torch.bfloat16):
        half = boxes(6).to(dtype)
        ours = mmcv_ops.bbox_overlaps(half, half)
        assert torch.equal(ours, mmcv_ops.bbox_overlaps(half.float(), half.float()).to(dtype))


BOX, OUT = torch.tensor([[0.0, 0, 1, 1]]), torch.zeros(1, 1)


@pytest.mark.parametrize(
    'arguments, message',
    [
        ((BOX.long(), BOX.long(), OUT, 0, False, 0), r'expected floating-point numbers in bboxes1, got torch\.int64'),
        ((BOX, BOX * torch.nan, OUT, 0, False, 0), 'expected finite numbers in bboxes2, got nan nan nan nan in row 0'),
        ((BOX, BOX[:, :3], OUT, 0, False, 0), r'expected bboxes2 of shape \(N, 4\), got \(1, 3\)'),
        ((BOX, BOX.to('meta'), OUT, 0, False, 0), 'expected all tensors on one device, got bboxes1 on cpu, bboxes2 on meta'),
        ((BOX, boxes(2), OUT, 0, True, 0), r'expected bboxes2 of shape \(1, 4\), got \(2, 4\)'),
        ((BOX, BOX, OUT, 2, False, 0), r'expected mode 0 \(iou\) or 1 \(iof\), got 2'),
        ((BOX, BOX, OUT, 0, False, 2), 'expected offset 0 or 1, got 2'),
    ],
)
def test_wrong_input(arguments: tuple, message: str) -> None:
    with pytest.raises(InputError, match=f'^bbox_overlaps: {message}'):
        overlaps.bbox_overlaps(*arguments)

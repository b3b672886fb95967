"""mmcv.ops on torchvision's kernels, against hand-computed values and plain PyTorch."""

import pytest
import torch
from torch.autograd import gradcheck

from convnext_dense.errors import InputError
from convnext_dense.mmcv_ext import operators

mmcv_ops = pytest.importorskip('mmcv.ops')
devices = pytest.mark.parametrize(
    'device',
    ['cpu', pytest.param('cuda', marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU'))],
)


def random_boxes(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 60
    size = torch.rand(count, 2, generator=generator) * 40 + 1
    return torch.cat([corner, corner + size], dim=1), torch.rand(count, generator=generator)


def plain_iou(a: torch.Tensor, b: torch.Tensor, offset: int) -> float:
    wh = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2]) + offset).clamp(min=0)
    inter = wh[0] * wh[1]
    area = [(box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (a, b)]
    return float(inter / (area[0] + area[1] - inter))


@devices
@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('threshold', [0.3, 0.6])
def test_nms_equals_a_plain_loop(device: str, offset: int, threshold: float) -> None:
    boxes, scores = random_boxes(60)
    kept: list[int] = []
    for i in scores.argsort(descending=True).tolist():
        if all(plain_iou(boxes[i], boxes[k], offset) <= threshold for k in kept):
            kept.append(i)
    dets, inds = mmcv_ops.nms(boxes.to(device), scores.to(device), threshold, offset=offset)
    assert inds.tolist() == kept
    torch.testing.assert_close(dets.cpu(), torch.cat([boxes[kept], scores[kept, None]], dim=1))


def test_nms_offset_decides_by_hand() -> None:
    # Widths 1 and heights 1 overlap in half: IoU 1/3 without the offset, (1.5 * 2) / (4 + 4 - 3) = 0.6 with it.
    boxes = torch.tensor([[0.0, 0, 1, 1], [0.5, 0, 1.5, 1]])
    scores = torch.tensor([0.9, 0.8])
    assert mmcv_ops.nms(boxes, scores, 0.5, offset=0)[1].tolist() == [0, 1]
    assert mmcv_ops.nms(boxes, scores, 0.5, offset=1)[1].tolist() == [0]


@pytest.mark.parametrize('count', [0, 1])
@pytest.mark.parametrize('op', ['nms', 'soft_nms'])
def test_nms_of_no_box_and_one_box(op: str, count: int) -> None:
    boxes, scores = random_boxes(count)
    dets, inds = getattr(mmcv_ops, op)(boxes, scores, iou_threshold=0.5)
    assert dets.shape == (count, 5)
    assert inds.tolist() == list(range(count))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_nms_in_reduced_precision(dtype: torch.dtype) -> None:
    boxes, scores = random_boxes(30)
    boxes, scores = boxes.to(dtype), scores.to(dtype)
    _, inds = mmcv_ops.nms(boxes, scores, 0.5)
    assert inds.tolist() == mmcv_ops.nms(boxes.float(), scores.float(), 0.5)[1].tolist()


def plain_soft_nms(boxes, scores, threshold, sigma, min_score, method, offset):
    """The paper's loop on Python floats: take the best, decay the rest, drop what is below `min_score`."""
    left = list(range(len(boxes)))
    score = scores.clone()
    kept, rescored = [], []
    while left:
        best = max(left, key=lambda i: float(score[i]))
        kept.append(best)
        rescored.append(float(score[best]))
        left.remove(best)
        for i in list(left):
            iou = plain_iou(boxes[best], boxes[i], offset)
            if method == 'gaussian':
                score[i] *= float(torch.exp(torch.tensor(-iou * iou / sigma)))
            elif iou >= threshold:
                score[i] *= (1 - iou) if method == 'linear' else 0
            if score[i] < min_score:
                left.remove(i)
    return kept, rescored


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
def test_soft_nms_equals_a_plain_loop(method: str, offset: int) -> None:
    boxes, scores = random_boxes(40, seed=1)
    kept, rescored = plain_soft_nms(boxes, scores, 0.3, 0.5, 0.05, method, offset)
    dets, inds = mmcv_ops.soft_nms(boxes, scores, 0.3, 0.5, 0.05, method, offset)
    assert inds.tolist() == kept
    torch.testing.assert_close(dets[:, :4], boxes[kept])
    torch.testing.assert_close(dets[:, 4], torch.tensor(rescored))


def test_soft_nms_by_hand() -> None:
    # IoU of the two boxes is 1/3: linear decay leaves 0.6 * (1 - 1/3) = 0.4; the far box keeps its score.
    boxes = torch.tensor([[0.0, 0, 2, 1], [1, 0, 3, 1], [9, 9, 10, 10]])
    dets, inds = mmcv_ops.soft_nms(boxes, torch.tensor([0.9, 0.6, 0.5]), iou_threshold=0.3)
    assert inds.tolist() == [0, 2, 1]
    torch.testing.assert_close(dets[:, 4], torch.tensor([0.9, 0.5, 0.4]))


def test_soft_nms_fills_gaps_from_the_end() -> None:
    # Equal scores: mmcv's loop puts the last box into a discarded one's place, and its order decides the ties.
    boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9]])
    _, inds = mmcv_ops.soft_nms(boxes, torch.tensor([0.9, 0.5, 0.5, 0.5]), iou_threshold=0.5, method='naive')
    assert inds.tolist() == [0, 3, 2]


def plain_focal(logits, target, gamma, alpha, weight=None):
    total = torch.zeros_like(logits)
    p = logits.sigmoid()
    for n, t in enumerate(target.tolist()):
        for c in range(logits.shape[1]):
            if t == c:
                total[n, c] = -alpha * (1 - p[n, c]) ** gamma * p[n, c].log()
            else:
                total[n, c] = -(1 - alpha) * p[n, c] ** gamma * (1 - p[n, c]).log()
            if weight is not None and t < logits.shape[1]:
                total[n, c] *= weight[t]
    return total


@devices
@pytest.mark.parametrize('weighted', [False, True])
def test_sigmoid_focal_loss_equals_its_formula(device: str, weighted: bool) -> None:
    logits = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([0, 1, 2, 3, 4, 4])  # 4 is background
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64) if weighted else None
    on = [None if t is None else t.to(device) for t in (logits, target, weight)]
    ours = mmcv_ops.sigmoid_focal_loss(on[0], on[1], 2.0, 0.25, on[2], 'none')
    torch.testing.assert_close(ours.cpu(), plain_focal(logits, target, 2.0, 0.25, weight))


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_sigmoid_focal_loss_gradients(reduction: str) -> None:
    logits = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 1, 2, 3, 3])
    assert gradcheck(lambda x: mmcv_ops.sigmoid_focal_loss(x, target, 2.0, 0.25, None, reduction), (logits,))


def test_sigmoid_focal_loss_without_targets_and_in_half() -> None:
    empty = mmcv_ops.sigmoid_focal_loss(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), 2.0, 0.25, None, 'sum')
    assert float(empty) == 0
    logits, target = torch.randn(4, 3), torch.tensor([0, 1, 2, 3])
    half = mmcv_ops.sigmoid_focal_loss(logits.half(), target, 2.0, 0.25, None, 'none')
    whole = mmcv_ops.sigmoid_focal_loss(logits.half().float(), target, 2.0, 0.25, None, 'none')
    torch.testing.assert_close(half.float(), whole, rtol=2e-3, atol=1e-3)


@devices
def test_deformable_attention_is_the_pytorch_form_in_both_directions(device: str) -> None:
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction, multi_scale_deformable_attn_pytorch

    torch.manual_seed(0)
    shapes = torch.tensor([[6, 5], [3, 4]], device=device)
    start = torch.tensor([0, 30], device=device)
    value = torch.randn(2, 42, 3, 4, dtype=torch.float64, device=device, requires_grad=True)
    where = torch.rand(2, 7, 3, 2, 5, 2, dtype=torch.float64, device=device, requires_grad=True)
    weights = torch.rand(2, 7, 3, 2, 5, dtype=torch.float64, device=device, requires_grad=True)
    ours = MultiScaleDeformableAttnFunction.apply(value, shapes, start, where, weights, 64)
    theirs = multi_scale_deformable_attn_pytorch(value, shapes, where, weights)
    torch.testing.assert_close(ours, theirs)
    seed = torch.randn_like(ours)
    for got, expected in zip(
        torch.autograd.grad(ours, (value, where, weights), seed), torch.autograd.grad(theirs, (value, where, weights), seed)
    ):
        torch.testing.assert_close(got, expected)
    half = MultiScaleDeformableAttnFunction.apply(
        *(t.bfloat16() if t.is_floating_point() else t for t in (value, shapes, start, where, weights)), 64
    )
    assert half.dtype == torch.bfloat16 and half.isfinite().all()


@pytest.mark.parametrize('op', ['nms', 'soft_nms'])
@pytest.mark.parametrize(
    ('boxes', 'scores', 'message'),
    [
        (torch.ones(2, 5), torch.ones(2), 'nms: expected boxes of shape .N, 4., got .2, 5.'),
        (torch.ones(2, 4).long(), torch.ones(2), 'nms: expected floating-point numbers in boxes, got torch.int64'),
        (torch.ones(2, 4), torch.ones(3), 'nms: expected scores of shape .2., got .3.'),
    ],
)
def test_wrong_boxes_are_one_line(op: str, boxes: torch.Tensor, scores: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        if op == 'nms':
            operators.nms(boxes, scores, 0.5, 0)
        else:
            operators.softnms(boxes, scores, torch.empty(2, 5), 0.5, 0.5, 0.0, 1, 0)


@pytest.mark.parametrize('target', [torch.tensor([0, 4]), torch.tensor([-1, 0]), torch.tensor([0.0, 1.0])])
def test_labels_that_are_none_are_one_line(target: torch.Tensor) -> None:
    with pytest.raises(InputError, match='^sigmoid_focal_loss: expected whole numbers from 0 to 3 in target'):
        operators.sigmoid_focal_loss_forward(torch.zeros(2, 3), target, torch.zeros(0), torch.zeros(2, 3), 2.0, 0.25)

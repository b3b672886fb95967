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


@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
def test_soft_nms_drops_no_good_box_for_a_score_that_is_nan(method: str) -> None:
    # By mmcv's loop: no box is larger than NaN, NaN is larger than none, and no less than the least score.
    nan = float('nan')
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 9, 10], [20, 20, 30, 30]])
    dets, inds = mmcv_ops.soft_nms(boxes, torch.tensor([0.9, nan, 0.8]), 0.3, 0.5, 0.1, method)
    assert inds.tolist() == [0, 1, 2]
    torch.testing.assert_close(dets[:, 4], torch.tensor([0.9, nan, 0.8]), equal_nan=True)
    _, inds = mmcv_ops.soft_nms(boxes.flip(0), torch.tensor([0.8, 0.9, nan]), 0.3, 0.5, 0.1, method)
    assert inds.tolist() == [1, 0, 2]


def test_soft_nms_of_boxes_without_area_and_of_no_width() -> None:
    # The union of two points is 0, and 0 / 0 neither a reason to rescore nor a gaussian weight.
    points, scores = torch.tensor([[1.0, 1, 1, 1], [2, 2, 2, 2]]), torch.tensor([0.9, 0.8])
    for method, second in (('naive', 0.8), ('linear', 0.8), ('gaussian', float('nan'))):
        dets, inds = mmcv_ops.soft_nms(points, scores, 0.0, 0.5, 0.1, method)
        assert inds.tolist() == [0, 1]
        torch.testing.assert_close(dets[:, 4], torch.tensor([0.9, second]), equal_nan=True)
    # With sigma 0 what overlaps goes, and what does not is 0 / 0 again.
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 9, 10], [20, 20, 30, 30]])
    dets, inds = mmcv_ops.soft_nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.3, 0.0, 0.1, 'gaussian')
    assert inds.tolist() == [0, 2] and dets[1, 4].isnan()


def test_a_method_of_soft_nms_that_is_none_is_one_line() -> None:
    boxes, scores = random_boxes(3)
    with pytest.raises(InputError, match=r'^softnms: expected method 0 .naive., 1 .linear. or 2 .gaussian., got 3$'):
        operators.softnms(boxes, scores, torch.empty(3, 5), 0.5, 0.5, 0.0, 3, 0)


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


@pytest.mark.parametrize('target', [torch.tensor([0, 4]), torch.tensor([-1, 0])])
def test_labels_that_are_none_are_one_line(target: torch.Tensor) -> None:
    with pytest.raises(InputError, match='^sigmoid_focal_loss: expected whole numbers from 0 to 3 in target'):
        operators.sigmoid_focal_loss_forward(torch.zeros(2, 3), target, torch.zeros(0), torch.zeros(2, 3), 2.0, 0.25)


@pytest.mark.parametrize('backward', [False, True])
@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(target=torch.tensor([0.0, 1.0])), r'expected int64 in target, got torch\.float32'),
        (dict(target=torch.tensor([0, 1], dtype=torch.int32)), r'expected int64 in target, got torch\.int32'),
        (dict(target=torch.tensor([True, False])), r'expected int64 in target, got torch\.bool'),
        (dict(target=torch.tensor([0, 1, 2])), r'expected target of shape \(2\), got \(3\)'),
        (dict(weight=torch.ones(5)), r'expected weight of shape \(3\), got \(5\)'),
        (dict(weight=torch.ones(2)), r'expected weight of shape \(3\), got \(2\)'),
        (dict(input=torch.zeros(2, 3).int()), r'expected floating-point numbers in input, got torch\.int32'),
    ],
)
def test_wrong_input_of_the_focal_loss_is_one_line(change: dict, message: str, backward: bool) -> None:
    given = dict(input=torch.zeros(2, 3), target=torch.tensor([0, 3]), weight=torch.ones(3)) | change
    call = operators.sigmoid_focal_loss_backward if backward else operators.sigmoid_focal_loss_forward
    with pytest.raises(InputError, match=f'^sigmoid_focal_loss: {message}$'):
        call(*given.values(), torch.zeros(2, 3), 2.0, 0.25)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            dict(value=torch.zeros(2, 42, 3, 4).double()),
            'expected float64 in all tensors or in none, got value of torch.float64, sampling_locations of torch.float32, .*',
        ),
        (dict(value=torch.zeros(2, 41, 3, 4)), 'expected as many keys in value as spatial_shapes has pixels, 42, got 41'),
        (dict(value=torch.zeros(42, 3, 4)), r'expected value of shape \(B, keys, heads, C\), got \(42, 3, 4\)'),
        (dict(where=torch.zeros(2, 7, 1, 2, 5, 2)), r'expected sampling_locations of shape \(2, queries, 3, .*'),
        (dict(weights=torch.zeros(2, 7, 3, 5, 2)), r'expected attention_weights of shape \(2, 7, 3, 2, 5\), got .*'),
        (dict(shapes=torch.tensor([[6, 5]])), r'expected spatial_shapes of shape \(2, 2\), got \(1, 2\)'),
        (dict(shapes=torch.tensor([[6.0, 5], [3, 4]])), r'expected int64 in spatial_shapes, got torch\.float32'),
    ],
)
def test_wrong_input_of_deformable_attention_is_one_line(change: dict, message: str) -> None:
    shapes, where, weights = torch.tensor([[6, 5], [3, 4]]), torch.zeros(2, 7, 3, 2, 5, 2), torch.zeros(2, 7, 3, 2, 5)
    given = dict(value=torch.zeros(2, 42, 3, 4), shapes=shapes, start=torch.tensor([0, 30]), where=where, weights=weights)
    with pytest.raises(InputError, match=f'^ms_deform_attn_forward: {message}$'):
        operators.ms_deform_attn_forward(*(given | change).values(), 64)

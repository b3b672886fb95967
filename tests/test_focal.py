"""softmax_focal_loss, against its formula."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from convnext_dense.errors import InputError
from convnext_dense.mmcv_ext.focal import softmax_focal_loss_backward, softmax_focal_loss_forward

mmcv_ops = pytest.importorskip('mmcv.ops')
TARGET = torch.tensor([0, 3, 1, -1, 2])
WEIGHT = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)


def logits(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(dtype)


def plain(x: Tensor, target: Tensor, gamma: float, alpha: float, weight: Tensor | None) -> Tensor:
    out = []
    for row, t in zip(x.softmax(dim=1), target.tolist()):
        loss = -alpha * (1 - row[t]) ** gamma * row[t].log() if t >= 0 else row.sum() * 0
        out.append(loss if weight is None or t < 0 else loss * weight[t])
    return torch.stack(out)


@pytest.mark.parametrize('gamma', [2.0, 0.5, 0.0])
@pytest.mark.parametrize('weighted', [False, True])
def test_it_equals_its_formula_in_both_directions(weighted: bool, gamma: float) -> None:
    weight = WEIGHT if weighted else None
    x = logits().requires_grad_()
    ours = mmcv_ops.softmax_focal_loss(x, TARGET, gamma, 0.25, weight, 'none')
    expected = plain(x, TARGET, gamma, 0.25, weight)
    torch.testing.assert_close(ours, expected)
    # mmcv scales the gradient of a sum or a mean by one number.
    total = mmcv_ops.softmax_focal_loss(x, TARGET, gamma, 0.25, weight, 'sum')
    torch.testing.assert_close(*(torch.autograd.grad(y, x)[0] for y in (total, expected.sum())))


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_gradients(reduction: str) -> None:
    x = logits().t().contiguous().t().requires_grad_()
    assert gradcheck(lambda x: mmcv_ops.softmax_focal_loss(x, TARGET, 2.0, 0.25, WEIGHT, reduction), (x,))


@pytest.mark.parametrize('gamma', [2.0, 0.5, 0.0])
def test_a_certain_class_has_no_loss_and_no_gradient(gamma: float) -> None:
    sure, none = torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.zeros(0)
    output, buff, grad = torch.ones(2), torch.ones(2), torch.ones(2, 2)
    softmax_focal_loss_forward(sure, torch.tensor([1, 1]), none, output, gamma, 0.5)
    softmax_focal_loss_backward(sure, torch.tensor([1, 1]), none, buff, grad, gamma, 0.5)
    assert output[0] == 0 and (grad[0] == 0).all()
    assert output[1] == pytest.approx(0.5 * 87.336, rel=1e-4)  # the logarithm stops at the smallest float32
    assert buff[1] == -0.5 and grad[1].tolist() == [0.5, -0.5]


def test_no_samples_and_reduced_precision() -> None:
    x = torch.zeros(0, 3, requires_grad=True)
    loss = mmcv_ops.softmax_focal_loss(x, torch.zeros(0, dtype=torch.long), 2.0, 0.25, None, 'sum')
    loss.backward()
    assert float(loss) == 0 and x.grad.shape == (0, 3)
    for dtype in (torch.float16, torch.bfloat16):
        probabilities = logits(dtype).softmax(dim=1)
        ours, whole = torch.zeros(5, dtype=dtype), torch.zeros(5)
        softmax_focal_loss_forward(probabilities, TARGET, WEIGHT.to(dtype), ours, 2.0, 0.25)
        softmax_focal_loss_forward(probabilities.float(), TARGET, WEIGHT.float(), whole, 2.0, 0.25)
        assert torch.equal(ours, whole.to(dtype))
        assert mmcv_ops.softmax_focal_loss(logits(dtype), TARGET, 2.0, 0.25, None, 'none').dtype == dtype


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(target=torch.tensor([0, 4])), 'expected targets below 4, the number of classes, got 4'),
        (dict(target=torch.tensor([0.0, 1])), r'expected int64 in target, got torch\.float32'),
        (dict(input=torch.ones(2, 4).long()), r'expected floating-point numbers in input, got torch\.int64'),
        (dict(weight=torch.ones(3)), r'expected weight of shape \(4\), got \(3\)'),
        (dict(target=torch.tensor([0])), r'expected target of shape \(2\), got \(1\)'),
        (
            dict(target=torch.zeros(2, dtype=torch.long, device='meta')),
            'expected all tensors on one device, got .* target on meta',
        ),
    ],
)
def test_wrong_input(change: dict, message: str) -> None:
    given = dict(input=torch.ones(2, 4), target=torch.tensor([0, 1]), weight=torch.zeros(0), output=torch.zeros(2))
    with pytest.raises(InputError, match=f'^softmax_focal_loss_forward: {message}'):
        softmax_focal_loss_forward(**{**given, **change}, gamma=2.0, alpha=0.25)

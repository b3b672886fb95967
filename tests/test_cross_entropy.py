"""Cross entropy of upsampled logits in strips, against PyTorch's."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from convnext_dense import InputError
from convnext_dense.kernels.cross_entropy import upsampled_cross_entropy

CLASSES = 7

pytestmark = pytest.mark.usefixtures('small_strips')


@pytest.mark.parametrize('align', [False, True])
def test_equals_the_loss_of_the_upsampled_map(align):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, CLASSES, 9, 13, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(CLASSES, (2, 33, 41), generator=generator)
    labels[0, :7] = 255
    total, correct = upsampled_cross_entropy(logits, labels, 255, align)
    whole = F.interpolate(logits, labels.shape[1:], mode='bilinear', align_corners=align)
    expected = F.cross_entropy(whole, labels, ignore_index=255, reduction='sum')
    torch.testing.assert_close(total, expected)
    assert correct == (whole.argmax(1) == labels).sum()
    torch.testing.assert_close(torch.autograd.grad(total, logits), torch.autograd.grad(expected, logits))


@pytest.mark.parametrize('label', [-1, CLASSES, 254])
def test_a_label_outside_the_classes(label):
    logits, labels = torch.zeros(1, CLASSES, 4, 4), torch.full((1, 4, 4), 255)
    labels[0, 2, 1] = label
    with pytest.raises(InputError, match=f'labels: expected classes 0 to 6, or 255 .* got {label}'):
        upsampled_cross_entropy(logits, labels)


def test_loss_of_no_images():
    logits = torch.zeros(0, CLASSES, 4, 4, requires_grad=True)
    total, _ = upsampled_cross_entropy(logits, torch.zeros(0, 8, 8, dtype=torch.long))
    total.backward()
    assert total == 0 and logits.grad.shape == logits.shape


def test_gradcheck_of_the_loss():
    logits = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 255])[torch.randint(4, (2, 9, 11))]
    for align in (False, True):
        assert gradcheck(lambda x, a=align: upsampled_cross_entropy(x, labels, 255, a)[0], (logits,))

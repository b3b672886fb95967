"""The loss in strips against mmseg's, and what it leaves to mmseg."""

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import OHEMPixelSampler, SegDataSample
from mmseg.utils import register_all_modules
from segmentors import CLASSES, image, pair

from convnext_dense import InputError
from convnext_dense.kernels import cross_entropy
from convnext_dense.segmentation import FastFCNHead


@pytest.fixture(autouse=True)
def scope(small_strips) -> None:
    register_all_modules(init_default_scope=True)


@pytest.mark.parametrize('loss', [{}, dict(avg_non_ignore=True), dict(loss_weight=0.4)])
@pytest.mark.parametrize('ignored', ['some', 'all', 'none'])
def test_loss_equals_mmseg(loss, ignored):
    theirs, ours = (m.double() for m in pair())
    labels = torch.randint(CLASSES, (2, 1, 70, 96), generator=torch.Generator().manual_seed(1))
    labels[{'some': (0, 0, slice(20)), 'all': slice(None), 'none': slice(0)}[ignored]] = 255
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    results = []
    for model in (theirs, ours):
        for head in (model.decode_head, model.auxiliary_head):
            head.loss_decode = MODELS.build(dict(type='CrossEntropyLoss') | loss)
        losses = model.loss(image(70, 96, batch=2).double(), samples)
        sum(value.sum() for name, value in losses.items() if 'loss' in name).backward()
        results.append((losses, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}))
    (expected, grads), (got, our_grads) = results
    assert set(got) == set(expected) == {'decode.loss_ce', 'decode.acc_seg', 'aux.loss_ce', 'aux.acc_seg'}
    for name, value in expected.items():
        assert got[name].shape == value.shape
        tolerance = 1e-6 if 'acc' in name else 1e-9  # the accuracy is a float32
        torch.testing.assert_close(got[name], value, rtol=tolerance, atol=tolerance)
    for name, grad in grads.items():
        torch.testing.assert_close(our_grads[name], grad, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last], ids=['channels first', 'channels last'])
@pytest.mark.parametrize('before', ['nothing', 'inference mode'])
def test_logits_of_either_layout(layout, before, empty_caches):
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(CLASSES, (2, 1, 70, 96), generator=generator)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    logits = torch.randn(2, CLASSES, 18, 24, dtype=torch.float64, generator=generator)
    results = []
    for model, form in zip(pair(), (torch.contiguous_format, layout)):
        x = logits.contiguous(memory_format=form).requires_grad_()
        if before == 'inference mode':
            with torch.inference_mode():
                model.decode_head.loss_by_feat(x, samples)
        losses = model.decode_head.loss_by_feat(x, samples)
        results.append((losses['loss_ce'].detach(), *torch.autograd.grad(losses['loss_ce'], x)))
    for ours, theirs in zip(results[1], results[0]):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_other_losses_are_left_to_mmseg():
    theirs, ours = pair()
    labels = torch.randint(CLASSES, (1, 64, 64), generator=torch.Generator().manual_seed(1))
    samples = [SegDataSample(gt_sem_seg=PixelData(data=labels))]
    for loss in (dict(type='DiceLoss'), dict(type='CrossEntropyLoss', class_weight=[1.0] * CLASSES)):
        values = []
        for model in (theirs, ours):
            model.decode_head.loss_decode = MODELS.build(loss)
            values.append(model.loss(image(64, 64), samples))
        torch.testing.assert_close(values[1], values[0], rtol=1e-4, atol=1e-4)


def test_a_sampler_is_left_to_mmseg():
    theirs, ours = pair()
    labels = torch.randint(CLASSES, (1, 64, 64), generator=torch.Generator().manual_seed(1))
    samples = [SegDataSample(gt_sem_seg=PixelData(data=labels))]
    values = []
    for model in (theirs, ours):
        model.decode_head.sampler = OHEMPixelSampler(context=model.decode_head, thresh=None, min_kept=100)
        values.append(model.loss(image(64, 64), samples))
    torch.testing.assert_close(values[1], values[0], rtol=1e-4, atol=1e-4)
    plain = pair()[1].loss(image(64, 64), samples)
    assert (plain['decode.loss_ce'] - values[1]['decode.loss_ce']).abs() > 0.01


@pytest.mark.parametrize('fused', ['auto', False])
def test_a_watched_loss_is_left_to_mmseg(fused):
    model, calls = pair()[1], []
    model.decode_head.fused = fused
    labels = torch.randint(CLASSES, (1, 64, 64), generator=torch.Generator().manual_seed(1))
    samples = [SegDataSample(gt_sem_seg=PixelData(data=labels))]
    expected = model.loss(image(64, 64), samples)['decode.loss_ce']
    model.decode_head.loss_decode.register_forward_hook(lambda module, args, out: calls.append(1) or 2 * out)
    torch.testing.assert_close(model.loss(image(64, 64), samples)['decode.loss_ce'], 2 * expected, rtol=1e-4, atol=1e-4)
    assert calls == [1]


@pytest.mark.parametrize(
    'fused, classes, strips', [('auto', 15, False), ('auto', 16, True), (True, 2, True), (False, 16, False)]
)
def test_few_classes_take_the_plain_loss_by_default(fused, classes: int, strips: bool, monkeypatch, real_limits) -> None:
    called, original = [], cross_entropy.upsampled_cross_entropy
    monkeypatch.setattr(cross_entropy, 'upsampled_cross_entropy', lambda *args: called.append(1) or original(*args))
    head = FastFCNHead(in_channels=4, channels=4, num_classes=classes, norm_cfg=None, fused=fused)
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, 8, 8, dtype=torch.long)))
    head.loss_by_feat(torch.zeros(1, classes, 2, 2), [sample])
    assert bool(called) is strips


@pytest.mark.parametrize('fused', ['auto', True, False])
def test_a_label_that_is_no_class_is_told(fused, real_limits) -> None:
    head = FastFCNHead(in_channels=4, channels=4, num_classes=4, norm_cfg=None, fused=fused)
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.full((1, 8, 8), 9)))
    with pytest.raises(InputError, match='expected classes 0 to 3, .*got 9'):
        head.loss_by_feat(torch.zeros(1, 4, 2, 2), [sample])


def test_of_equal_logits_one_class_is_right() -> None:
    labels = torch.arange(20).repeat(20)[None].view(1, 20, 20)
    _, correct = cross_entropy.upsampled_cross_entropy(torch.zeros(1, 20, 5, 5), labels)
    assert correct == 20


def test_a_compiled_loss_is_one_graph() -> None:
    head = FastFCNHead(in_channels=4, channels=4, num_classes=4, norm_cfg=None)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=torch.arange(64).view(1, 8, 8) % 4))]
    logits = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    compiled = torch.compile(lambda x: head.loss_by_feat(x, samples)['loss_ce'], backend='eager', fullgraph=True)
    torch.testing.assert_close(compiled(logits), head.loss_by_feat(logits, samples)['loss_ce'])


@pytest.mark.parametrize('ignored', [False, True])
def test_class_weights(ignored: bool) -> None:
    """Where nothing is ignored as mmseg, which stops at an ignored pixel; there as PyTorch's own weighted mean."""
    weights = [0.5, 2.0, 1.0, 3.0, 0.1, 1.0, 7.0]
    labels = torch.randint(CLASSES, (2, 1, 70, 96), generator=torch.Generator().manual_seed(1))
    if ignored:
        labels[0, 0, :20] = 255
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    x = image(18, 24, batch=2)[:, :1].expand(-1, CLASSES, -1, -1) * torch.linspace(-1, 1, CLASSES)[:, None, None]
    results = []
    for model in pair():
        head = model.decode_head
        head.loss_decode = MODELS.build(dict(type='CrossEntropyLoss', class_weight=weights, loss_weight=0.4))
        logits = x.clone().requires_grad_()
        if ignored and not results:
            with pytest.raises(IndexError):
                head.loss_by_feat(logits, samples)
            full = torch.nn.functional.interpolate(logits, size=(70, 96), mode='bilinear', align_corners=False)
            loss = torch.nn.functional.cross_entropy(full, labels[:, 0], torch.tensor(weights), ignore_index=255)
            losses = dict(loss_ce=0.4 * loss)
        else:
            losses = head.loss_by_feat(logits, samples)
        results.append((losses['loss_ce'], *torch.autograd.grad(losses['loss_ce'], logits)))
    for ours, theirs in zip(results[1], results[0]):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-8)


def test_class_weights_where_all_is_ignored() -> None:
    head = pair()[1].decode_head
    head.loss_decode = MODELS.build(dict(type='CrossEntropyLoss', class_weight=[1.0] * CLASSES))
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.full((1, 70, 96), 255)))
    assert head.loss_by_feat(torch.randn(1, CLASSES, 18, 24), [sample])['loss_ce'] == 0

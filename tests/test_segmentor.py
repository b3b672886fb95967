"""Predictions and loss of the lean segmentor against mmseg's, and the strips that they are made of."""

import pytest
import torch
import torch.nn.functional as F
from conftest import rounding
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import OHEMPixelSampler, SegDataSample
from mmseg.utils import register_all_modules
from torch.autograd import gradcheck

import convnext_dense.segmentation  # noqa: F401
from convnext_dense import InputError
from convnext_dense.models import pixel_loss, rows
from convnext_dense.models.pixel_loss import upsampled_cross_entropy
from convnext_dense.models.rows import Resized, WholeMap, strips
from convnext_dense.models.segmentor import checked_test_cfg, places

CLASSES = 7
LENGTH = 9 * 4 * 16  # of the longest sums, those of the fusion's convolution


@pytest.fixture(autouse=True)
def small_strips(monkeypatch):
    register_all_modules(init_default_scope=True)
    for module in (rows, pixel_loss):
        monkeypatch.setattr(module, 'strips', lambda size, channels: strips(size, channels, 5 * size[1] * channels))


def segmentor(lean: bool, **test_cfg):
    torch.manual_seed(0)
    head = dict(num_classes=CLASSES, norm_cfg=dict(type='BN'), align_corners=False, dropout_ratio=0.0)
    uper = dict(type='FastUPerHead' if lean else 'UPerHead', in_index=[0, 1, 2, 3], in_channels=[8, 16, 24, 32], channels=16)
    fcn = dict(type='FastFCNHead' if lean else 'FCNHead', in_index=2, in_channels=24, channels=8, num_convs=1)
    model = dict(
        type='LeanEncoderDecoder' if lean else 'EncoderDecoder',
        backbone=dict(type='ConvNeXt', arch=dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)), layer_scale_init_value=1.0),
        decode_head=head | uper,
        auxiliary_head=head | fcn | dict(concat_input=False),
        test_cfg=test_cfg,
    )
    built = MODELS.build(ConfigDict(model)).eval()
    for module in built.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight.data *= 3
    return built


def pair(**test_cfg):
    stock = {key: value for key, value in test_cfg.items() if key not in ('batch_size', 'keep_logits')}
    theirs, ours = segmentor(False, **stock), segmentor(True, **test_cfg)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def sample(size, ori_shape, **meta) -> SegDataSample:
    meta = dict(img_shape=size, pad_shape=size, ori_shape=ori_shape, padding_size=[0, 0, 0, 0]) | meta
    return SegDataSample(metainfo=meta)


def image(*size: int, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(0))


def assert_same_classes(ours: SegDataSample, theirs: SegDataSample) -> None:
    assert 'seg_logits' not in ours
    a, b = ours.pred_sem_seg.data, theirs.pred_sem_seg.data
    assert a.dtype == b.dtype and a.shape == b.shape
    # Where they differ, the two classes' logits are equal within rounding.
    logits = theirs.seg_logits.data
    gap = (logits.gather(0, a) - logits.gather(0, b)).abs().max()
    assert gap <= rounding(LENGTH) * logits.abs().max()
    assert len(b.unique()) > 1


@pytest.mark.parametrize('batch_size', [1, 2, 5])
@pytest.mark.parametrize('size', [(64, 96), (70, 131), (48, 40), (200, 64)])
@pytest.mark.parametrize('ori', [None, (97, 201), (31, 33)], ids=['same size', 'larger', 'smaller'])
def test_slide_predicts_as_mmseg(size, ori, batch_size):
    theirs, ours = pair(mode='slide', crop_size=(64, 64), stride=(43, 43), batch_size=batch_size, keep_logits=False)
    with torch.no_grad():
        (expected,), (got,) = (m.predict(image(*size), [sample(size, ori or size)]) for m in (theirs, ours))
    assert_same_classes(got, expected)


@pytest.mark.parametrize('meta', [{}, dict(padding_size=[3, 2, 1, 7]), dict(img_padding_size=[0, 9, 0, 4])])
def test_whole_predicts_as_mmseg(meta):
    theirs, ours = pair(mode='whole', keep_logits=False)
    size = (77, 130)
    batches = [m.predict(image(*size, batch=2), [sample(size, (91, 100), **meta) for _ in range(2)]) for m in (theirs, ours)]
    for expected, got in zip(*batches):
        assert_same_classes(got, expected)


def test_predictions_without_data_samples():
    theirs, ours = pair(mode='whole', keep_logits=False)
    with torch.no_grad():
        (expected,), (got,) = (m.predict(image(64, 64)) for m in (theirs, ours))
    assert_same_classes(got, expected)


def test_logits_are_kept_by_default_and_for_flipped_views():
    with torch.no_grad():
        for options, meta in ((dict(), {}), (dict(keep_logits=False), dict(flip=True, flip_direction='horizontal'))):
            theirs, ours = pair(mode='whole', **options)
            (expected,), (got,) = (m.predict(image(64, 64), [sample((64, 64), (64, 64), **meta)]) for m in (theirs, ours))
            difference = (got.seg_logits.data - expected.seg_logits.data).abs().max()
            assert difference <= rounding(LENGTH) * expected.seg_logits.data.abs().max()


SLIDE = dict(mode='slide', crop_size=(64, 64), stride=(43, 43))


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(mode='nonsense'), "mode: expected 'slide' or 'whole', got 'nonsense'"),
        (dict(batch_size=0), 'batch_size: expected 1 or more windows, got 0'),
        (dict(batch_size=2.5), 'batch_size: .* got 2.5'),
        (dict(batch_size=True), 'batch_size: .* got True'),
        (dict(keep_logits='no'), "keep_logits: expected True or False, got 'no'"),
        (dict(crop_size=None), 'crop_size: expected .* got None'),
        (dict(crop_size=64), 'crop_size: expected .* got 64'),
        (dict(crop_size=(0, 64)), 'crop_size: expected'),
        (dict(stride=(43, -1)), 'stride: expected .*-1'),
        (dict(stride=(43, 43.0)), 'stride: expected .*43.0'),
        (dict(stride='43'), "stride: expected .* got '43'"),
        (dict(stride=(43, 65)), 'stride: expected at most crop_size'),
        (dict(crop_sise=(64, 64)), "unknown entry 'crop_sise'; did you mean 'crop_size'"),
    ],
)
def test_wrong_test_cfg(wrong, message):
    with pytest.raises(InputError, match=message):
        checked_test_cfg(SLIDE | wrong)
    with pytest.raises(InputError, match='test_cfg: expected a dict'):
        checked_test_cfg('whole')


def test_wrong_test_cfg_is_refused_when_the_model_is_built():
    with pytest.raises(InputError, match='test_cfg.mode'):
        segmentor(True, mode='nonsense')


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


def test_no_map_of_all_classes_is_made_in_full_size():
    _, ours = pair(mode='slide', crop_size=(64, 64), stride=(43, 43), batch_size=2, keep_logits=False)
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            out = function(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                largest = max(largest, out.untyped_storage().nbytes())
            return out

    with torch.no_grad(), Watch():
        ours.predict(image(128, 160), [sample((128, 160), (900, 1200))])
    assert largest <= 8 * 900 * 1200  # the classes of the pixels, in 64 bits; the logits would be 28 bytes a pixel


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


def test_gradcheck_of_the_loss():
    logits = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 255])[torch.randint(4, (2, 9, 11))]
    for align in (False, True):
        assert gradcheck(lambda x, a=align: upsampled_cross_entropy(x, labels, 255, a)[0], (logits,))


@pytest.mark.parametrize('align', [False, True])
@pytest.mark.parametrize('size', [(5, 7), (12, 14), (13, 9), (40, 3), (5, 20), (1, 1)])
def test_resized_rows_equal_interpolate(size, align):
    x = torch.randn(3, 5, 7)
    expected = F.interpolate(x[None], size=size, mode='bilinear', align_corners=align)[0].permute(1, 2, 0)
    resized = Resized(WholeMap(x), size, align)
    got = torch.cat([resized.rows(start, min(start + 3, size[0])) for start in range(0, size[0], 3)])
    torch.testing.assert_close(got, expected, rtol=0, atol=rounding(2, 2) * x.abs().max().item())


@pytest.mark.parametrize('meta', [dict(), dict(ori_shape=(91, 100, 3), img_shape=(60, 90, 3))], ids=['sizes', 'with channels'])
def test_without_a_padded_size_the_image_shape_counts(meta):
    """As mmseg's heads take it: logits are resized to `img_shape` before they go to the photograph's size."""
    theirs, ours = pair(mode='whole', keep_logits=False)
    samples = [sample((60, 90), (91, 100)), SegDataSample(metainfo={**sample((60, 90), (91, 100)).metainfo, **meta})]
    for one in samples:
        del one.pad_shape
    with torch.no_grad():
        (expected,), (got,) = theirs.predict(image(64, 96), samples[:1]), ours.predict(image(64, 96), samples[1:])
    assert_same_classes(got, expected)


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


@pytest.mark.parametrize(
    'side, first', [(40, [0]), (64, [0]), (65, [0, 1]), (106, [0, 42]), (107, [0, 43]), (108, [0, 43, 44]), (150, [0, 43, 86])]
)
def test_places_of_windows_by_hand(side, first):
    assert places(side, 64, 43) == first

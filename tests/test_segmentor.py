"""Predictions and loss of the lean segmentor against mmseg's, and the strips that they are made of."""

import pytest
import torch
from conftest import rounding
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from mmseg.utils import register_all_modules
from segmentors import CLASSES, image, pair, sample, segmentor

import convnext_dense.segmentation  # noqa: F401
from convnext_dense import InputError
from convnext_dense.segmentation.segmentor import checked_test_cfg, places

LENGTH = 9 * 4 * 16  # of the longest sums, those of the fusion's convolution


@pytest.fixture(autouse=True)
def scope(small_strips) -> None:
    register_all_modules(init_default_scope=True)


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


@pytest.mark.parametrize('options', [dict(mode='whole'), dict(mode='slide', crop_size=(64, 64), stride=(43, 43))])
def test_confidence_is_the_probability_of_the_chosen_class(options):
    theirs, ours = pair(**options, keep_logits=False, keep_confidence=True)
    size = (77, 130)
    with torch.no_grad():
        (expected,), (got,) = (m.predict(image(*size), [sample(size, (91, 100))]) for m in (theirs, ours))
    assert_same_classes(got, expected)
    probabilities = expected.seg_logits.data.softmax(0).amax(0, keepdim=True)
    assert got.confidence.data.shape == (1, 91, 100)
    torch.testing.assert_close(got.confidence.data, probabilities, rtol=1e-4, atol=1e-5)


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
        (dict(keep_confidence=1), 'keep_confidence: expected True or False, got 1'),
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


def step(model, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Losses of a training step, and every gradient."""
    labels = torch.randint(CLASSES, (len(images), 1, *images.shape[2:]), generator=torch.Generator().manual_seed(1))
    losses = model.train().loss(images, [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels])
    model.zero_grad()
    sum(value.sum() for name, value in losses.items() if 'loss' in name).backward()
    return {**{name: p.grad for name, p in model.named_parameters() if p.grad is not None}, **losses}


@pytest.mark.parametrize('change', ['channels first', 'after inference mode'])
def test_a_training_step_is_mmsegs(change, always, empty_caches):
    theirs, ours = (model.double() for model in pair(mode='whole'))
    images = image(70, 96, batch=2).double()
    if change == 'after inference mode':
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            ours.eval().predict(images, [sample((70, 96), (91, 100))] * 2)
    got, expected = step(ours, images), step(theirs, images)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(got[name].double(), value.double(), rtol=1e-6, atol=1e-6)


def test_wrong_test_cfg_is_refused_when_the_model_is_built():
    with pytest.raises(InputError, match='test_cfg.mode'):
        segmentor(True, mode='nonsense')


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


@pytest.mark.parametrize(
    'side, first', [(40, [0]), (64, [0]), (65, [0, 1]), (106, [0, 42]), (107, [0, 43]), (108, [0, 43, 44]), (150, [0, 43, 86])]
)
def test_places_of_windows_by_hand(side, first):
    assert places(side, 64, 43) == first

"""Trained models that answer: loaded from what there is, with the predictions of tools/test.py."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import QUICK, SHAPES, SHAPES_COCO, call_tool
from models import photograph, write_photograph
from PIL import Image
from pycocotools import mask as run_lengths

import convnext_dense
from convnext_dense.data.coco import read_coco
from convnext_dense.data.shapes import CLASSES
from convnext_dense.errors import InputError
from convnext_dense.predict.loading import load_model
from convnext_dense.predict.model import Model
from convnext_dense.predict.result import NOTHING, Result

TEST = [option for option in QUICK if option.startswith('test_dataloader')]


@pytest.fixture(scope='module')
def segmentor(segmentor_file: str) -> Model:
    return load_model(segmentor_file)


@pytest.fixture(scope='module')
def detector(detector_file: str) -> Model:
    return load_model(detector_file, score=0)


def test_the_three_lines(segmentor_file: str, tmp_path: Path) -> None:
    path = write_photograph(tmp_path / 'street.jpg')
    model = convnext_dense.load_model(segmentor_file)
    result = model(str(path))
    result.save(tmp_path / 'out.png')
    assert result.mask.shape == (60, 80) and result.classes == CLASSES and not model.model.training
    assert repr(model) == 'Model(segmentor of 6 classes on cpu)'
    assert len(result.palette) == 6 and Image.open(tmp_path / 'out.png').size == (80, 60)


@pytest.mark.slow
def test_masks_are_those_of_the_test_tool(segmentor: Model, segmentor_file: str, shapes: str, tmp_path: Path) -> None:
    masks = tmp_path / 'masks'
    options = [f'test_evaluator.output_dir={masks}', 'test_evaluator.format_only=True', *TEST]
    done = call_tool(
        'test', SHAPES, segmentor_file, '--data-root', shapes, '--work-dir', str(tmp_path), '--cfg-options', *options
    )
    assert done.returncode == 0, done.stderr
    found = list(segmentor(f'{shapes}/images/validation'))
    assert len(found) == 5 and len(set.union(*(set(result.pixels) for result in found))) > 1
    for result in found:
        theirs = np.asarray(Image.open(masks / f'{result.name}.png'))  # counted from 1 where masks are, 0 is unlabelled
        assert np.array_equal(result.mask + 1, theirs)


@pytest.mark.slow
def test_objects_are_those_of_the_test_tool(detector: Model, detector_file: str, shapes: str, tmp_path: Path) -> None:
    prefix = tmp_path / 'found'
    options = [f'test_evaluator.outfile_prefix={prefix}', *TEST]
    done = call_tool(
        'test', SHAPES_COCO, detector_file, '--data-root', shapes, '--work-dir', str(tmp_path), '--cfg-options', *options
    )
    assert done.returncode == 0, done.stderr
    boxes, masks = (json.loads(Path(f'{prefix}.{kind}.json').read_text()) for kind in ('bbox', 'segm'))
    ids = {
        Path(image['file_name']).stem: image['id'] for image in read_coco(Path(shapes, 'instances_validation.json'))['images']
    }
    total = 0
    for result in detector(f'{shapes}/images/validation'):
        theirs = [row for row in boxes if row['image_id'] == ids[result.name]]
        ours = result.to_coco()
        assert [row['score'] for row in ours] == [row['score'] for row in theirs]
        assert np.array_equal([row['bbox'] for row in ours], [row['bbox'] for row in theirs])
        segments = [row['segmentation'] for row in masks if row['image_id'] == ids[result.name]]
        assert [row['segmentation']['counts'] for row in ours] == [one['counts'] for one in segments]
        total += len(ours)
    assert total > 50


def test_every_kind_of_input(segmentor: Model, tmp_path: Path) -> None:
    path = write_photograph(tmp_path / 'pictures/a.png')
    rgb = np.asarray(Image.open(path))
    mask = segmentor(path).mask
    for given in (str(path), rgb, Image.open(path), torch.from_numpy(rgb).permute(2, 0, 1), [path], [rgb]):
        found = segmentor(given)
        (result,) = found if isinstance(given, list) else [found]
        assert isinstance(result, Result) and np.array_equal(result.mask, mask)
    for given in (tmp_path / 'pictures', f'{tmp_path}/*/a.*', iter([rgb]), (frame for frame in [rgb])):
        found = segmentor(given)
        assert isinstance(found, Iterator) and np.array_equal(next(found).mask, mask) and next(found, None) is None


def test_pictures_of_several_sizes_in_batches(segmentor_file: str, segmentor: Model) -> None:
    sizes = [(40, 50), (40, 50), (40, 50), (64, 48), (40, 50)]
    pictures = [photograph(*size, seed) for seed, size in enumerate(sizes)]
    calls = []
    model = load_model(segmentor_file, batch_size=2)
    step = model.model.test_step
    model.model.test_step = lambda data: calls.append(len(data['inputs'])) or step(data)
    found = model(pictures)
    assert calls == [2, 1, 1, 1] and [result.size for result in found] == sizes
    for result, picture in zip(found, pictures):
        assert (result.mask != segmentor(picture).mask).mean() < 0.01
        assert np.array_equal(result.image, picture)


def test_a_stream_needs_no_more_than_it_gives(segmentor: Model) -> None:
    read = 0

    def frames() -> Iterator[np.ndarray]:
        nonlocal read
        while True:
            read += 1
            yield photograph(32, 32)

    found = segmentor(frames())
    for _ in range(3):
        next(found)
    assert read < 3 + 12
    found.close()


def test_scores_and_classes(detector_file: str, detector: Model) -> None:
    picture = photograph(96, 96)
    everything = detector(picture)
    limit = float(np.median(everything.scores))
    some = load_model(detector_file, score=limit)(picture)
    assert 0 < len(some.scores) < len(everything.scores) and some.scores.min() >= limit
    assert len(some.masks) == len(some.boxes) == len(some.labels) == len(some.names)
    above = everything.scores >= np.float32(limit)
    assert np.array_equal(some.boxes, everything.boxes[above]) and np.array_equal(some.scores, everything.scores[above])
    assert np.array_equal(some.masks, np.asarray(everything.masks)[above])
    name = everything.names[0]
    one = load_model(detector_file, score=0, classes=[name])(picture)
    assert set(one.names) == {name} and len(one.names) == everything.names.count(name)
    assert run_lengths.area(run_lengths.encode(np.asfortranarray(one.masks[0], np.uint8))) == one.masks[0].sum()


def test_other_classes_of_a_segmentor_are_nothing(segmentor_file: str, segmentor: Model) -> None:
    picture = photograph(64, 64)
    mask = segmentor(picture).mask
    kept = int(np.bincount(mask.ravel()).argmax())
    found = load_model(segmentor_file, classes=[CLASSES[kept]])(picture)
    assert np.array_equal(found.mask, np.where(mask == kept, kept, NOTHING)) and found.names == [CLASSES[kept]]


def test_bfloat16_is_near(segmentor_file: str, segmentor: Model) -> None:
    picture = photograph(64, 64)
    found = load_model(segmentor_file, precision='bfloat16')
    dtypes = set()
    found.model.backbone.stages[0][0].pwconv1.register_forward_hook(lambda module, args, out: dtypes.add(out.dtype))
    assert (found(picture).mask != segmentor(picture).mask).mean() < 0.2 and dtypes == {torch.bfloat16}


def test_test_time_augmentation(segmentor_file: str) -> None:
    model = load_model(segmentor_file, tta=True)
    seen = []
    model.model.module.backbone.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[2:]))
    assert model(photograph(64, 96)).mask.shape == (64, 96) and model.is_segmentor
    assert sorted(map(tuple, seen)) == [(48, 72)] * 2 + [(64, 96)] * 2 + [(80, 120)] * 2


def test_unreadable_pictures(segmentor: Model, tmp_path: Path) -> None:
    write_photograph(tmp_path / 'a.png')
    (tmp_path / 'b.jpg').write_text('a text')
    write_photograph(tmp_path / 'c.png', 5, 5)
    write_photograph(tmp_path / 'd.png', 1, 10_000)
    write_photograph(tmp_path / 'e.png')
    skipped = []
    found = segmentor.stream(tmp_path, lambda item, why: skipped.append((item.name, why)))
    assert [result.name for result in found] == ['a', 'e'] and [name for name, _ in skipped] == ['b', 'c', 'd']
    assert 'cannot be read' in skipped[0][1] and 'is not taken by the model' in skipped[1][1]
    with pytest.raises(InputError, match='b.jpg: cannot be read'):
        list(segmentor(tmp_path))
    with pytest.raises(InputError, match='c.png: is not taken by the model .*32'):
        segmentor(tmp_path / 'c.png')


def test_a_pipeline_that_cannot_take_a_picture(detector: Model) -> None:
    with pytest.raises(InputError, match='has 10000x1 pixels, which the pipeline cannot bring to the model'):
        detector(np.zeros((1, 10_000, 3), np.uint8))

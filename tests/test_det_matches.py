"""What the evaluator matched, and average precision under weights, against pycocotools."""

import copy
import json

import numpy as np
import pytest
from det_sets import by_hand, made_up
from test_coco_metric import REFERENCE

from convnext_dense.detection.coco_metric import coco_stats
from convnext_dense.errors import InputError
from convnext_dense.report import det_matches
from convnext_dense.report.det_matches import CLASSES, Detected, average_precisions, class_matches

NAMES = tuple('abcdefghijkl')  # more than are evaluated at a time
A, B = (0, 0, 20, 20), (40, 20, 30, 30)


def by_class(detected: Detected, iou_type: str) -> tuple[np.ndarray, np.ndarray]:
    """AP and AP50 of each category, of one evaluation of all."""
    _, run = coco_stats(detected.truth, detected.detections[iou_type], iou_type)
    precision = run.eval['precision'][:, :, :, 0, -1]
    precision = np.where(precision < 0, np.nan, precision)
    order = [list(run.params.catIds).index(category['id']) for category in detected.truth['categories']]
    return precision.mean((0, 1))[order], precision[0].mean(0)[order]


def assert_evaluators(detected: Detected, iou_type: str) -> None:
    matches = class_matches(detected, iou_type)
    ap, ap50 = average_precisions(matches, np.ones((2, len(matches.images))))
    for ours, expected in zip((ap, ap50), by_class(detected, iou_type)):
        np.testing.assert_allclose(ours, np.stack([expected] * 2), rtol=0, atol=1e-12)


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
@pytest.mark.parametrize('settings', [{}, dict(digits=1), dict(images=30, names=NAMES), dict(images=3, objects=60)])
def test_weights_of_one_give_the_evaluators_numbers(iou_type: str, settings: dict) -> None:
    detected = made_up(1, **settings)
    assert any(item['iscrowd'] for item in detected.truth['annotations'])
    assert_evaluators(detected, iou_type)


@pytest.mark.skipif(not REFERENCE.is_dir(), reason='no published detections here')
@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
def test_the_published_detections(iou_type: str) -> None:
    truth = json.loads((REFERENCE / 'instances_val2014_100.json').read_text())
    found = json.loads((REFERENCE / f'instances_val2014_fake{iou_type}100_results.json').read_text())
    ids = {item['image_id'] for item in found}
    truth['images'] = [image for image in truth['images'] if image['id'] in ids]
    truth['annotations'] = [item for item in truth['annotations'] if item['image_id'] in ids]
    assert_evaluators(Detected(truth, {iou_type: found}, REFERENCE, {}), iou_type)


def test_classes_evaluated_in_parts_are_the_whole() -> None:
    assert len(NAMES) > CLASSES
    detected = made_up(2, images=20, names=NAMES)
    matches = class_matches(detected, 'bbox')
    _, run = coco_stats(detected.truth, detected.detections['bbox'], 'bbox')
    order = [list(run.params.catIds).index(category['id']) for category in matches.categories]
    np.testing.assert_array_equal(np.nan_to_num(matches.precision, nan=-1), run.eval['precision'][..., -1][:, :, order])
    labels = [item['category_id'] for item in detected.detections['bbox']]
    for category, one in zip(matches.categories, matches.classes):
        assert {labels[row] for row in one.rows} <= {category['id']}
        assert sorted(one.rows) == [row for row, label in enumerate(labels) if label == category['id']]
        assert (np.diff(one.scores) <= 0).all() and one.truths.sum() == len(one.truth_rows)


def test_zeros_leave_pictures_out_and_counts_repeat_them() -> None:
    detected = made_up(3, digits=9)  # no equal scores: which of them comes first would tell
    random = np.random.default_rng(0)
    matches = class_matches(detected, 'bbox')
    weights = random.integers(0, 4, (3, len(matches.images)))
    ap, ap50 = average_precisions(matches, weights)
    for row, counts in enumerate(weights):
        repeated = copy.deepcopy(detected)
        repeated.truth |= dict(images=[], annotations=[])
        repeated.detections['bbox'] = []
        for place, count in enumerate(counts):
            for _ in range(count):
                number = len(repeated.truth['images'])
                repeated.truth['images'].append(dict(detected.truth['images'][place], id=number))
                of = matches.images[place]
                for items, new in (
                    (detected.truth['annotations'], repeated.truth['annotations']),
                    (detected.detections['bbox'], repeated.detections['bbox']),
                ):
                    new += [dict(item, image_id=number) for item in items if item['image_id'] == of]
        expected, expected50 = by_class(repeated, 'bbox')
        np.testing.assert_allclose(ap[row], expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(ap50[row], expected50, rtol=0, atol=1e-12)


def test_many_weights_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    matches = class_matches(made_up(), 'bbox')
    weights = np.random.default_rng(1).poisson(1.0, (50, len(matches.images)))
    whole = average_precisions(matches, weights)
    monkeypatch.setattr(det_matches, 'ELEMENTS', 100)
    np.testing.assert_array_equal(average_precisions(matches, weights), whole)


def test_what_was_matched_with_what() -> None:
    truths = [(0, 0, A), (0, 1, B, 'crowd'), (1, 0, B), (1, 0, A)]
    found = [(1, 0, A, 0.3), (0, 1, B, 0.8), (1, 0, (0, 0, 20, 14), 0.7), (0, 0, B, 0.9)]
    matches = class_matches(by_hand(truths, found, images=3), 'bbox')
    cat, dog = matches.classes
    assert matches.images == [11, 12, 13] and matches.names == ['cat', 'dog']
    assert cat.rows.tolist() == [3, 2, 0] and cat.pictures.tolist() == [0, 1, 1] and cat.scores.tolist() == [0.9, 0.7, 0.3]
    assert cat.true[0].tolist() == [False, True, False] and cat.true[-1].tolist() == [False, False, True]
    assert cat.truths.tolist() == [1, 2, 0] and matches.objects.tolist() == [[1, 2, 0], [0, 0, 0]]
    by_row = dict(zip(cat.truth_rows.tolist(), cat.found[0].tolist()))
    assert by_row[3] == 0.7 and np.isnan([by_row[0], by_row[2]]).all()
    assert dict(zip(cat.truth_rows.tolist(), cat.found[-1].tolist()))[3] == 0.3
    assert dog.ignored[0].tolist() == [True] and not dog.true.any() and not len(dog.truth_rows)
    assert np.isnan(matches.precision[:, :, 1]).all() and not np.isnan(matches.precision[:, :, 0, 0]).any()


def test_nothing_found_and_nothing_there() -> None:
    for detected in (by_hand([], []), by_hand([], [(0, 0, A, 0.5)])):
        values = average_precisions(class_matches(detected, 'bbox'), np.ones((1, 1)))
        assert np.isnan(values).all()
    missed = class_matches(by_hand([(0, 0, A)], []), 'bbox')
    assert average_precisions(missed, np.ones((1, 1)))[0][0, 0] == 0
    assert np.isnan(average_precisions(missed, np.zeros((1, 1)))[0]).all()


def test_weights_of_another_shape() -> None:
    matches = class_matches(by_hand([(0, 0, A)], [], images=2), 'bbox')
    for wrong in (np.ones(2), np.ones((1, 3))):
        with pytest.raises(InputError, match=r'weights: expected shape \(B, 2\), one for each picture, got \('):
            average_precisions(matches, wrong)

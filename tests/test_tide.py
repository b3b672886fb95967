"""TIDE: small cases with figures derived by hand, and the authors' tool on made-up detections."""

import math

import pytest
from det_sets import FIRST, IDS, by_hand, made_up

from convnext_dense.report.det_matches import Detected
from convnext_dense.report.tide import KINDS, tide

A, B, C, D = (0, 0, 10, 10), (50, 50, 10, 10), (20, 60, 10, 10), (80, 10, 10, 10)
NOWHERE = (30, 0, 10, 10)
CAT, DOG = 0, 1


def beside(box: tuple, pixels: int) -> tuple:
    """The box of 10 pixels moved to the right: IoU (10 - pixels) / (10 + pixels)."""
    return (box[0] + pixels, *box[1:])


def costs(detected: Detected) -> dict[str, float]:
    """Those that are not 0."""
    return {kind: cost for kind, cost in tide(detected, 'bbox').costs.items() if cost}


def kinds(detected: Detected) -> list[tuple]:
    return [
        (error.kind, error.detection, error.truth, error.mends) for error in tide(detected, 'bbox').errors if not error.in_crowd
    ]


def test_a_badly_placed_box() -> None:
    """One of two objects is found with precision 1: at 51 of 101 recalls. Mended, both are, before the false alarm."""
    detected = by_hand([(0, CAT, A), (0, CAT, B)], [(0, CAT, NOWHERE, 0.7), (0, CAT, beside(B, 5), 0.8), (0, CAT, A, 0.9)])
    result = tide(detected, 'bbox')
    assert result.ap50 == pytest.approx(51 / 101)
    assert kinds(detected) == [('localisation', 1, 1, True), ('background', 0, None, False)]
    assert result.errors[0].iou == pytest.approx(1 / 3)
    assert costs(detected) == pytest.approx({'localisation': 50 / 101})
    assert result.false_positives == 0 and result.false_negatives == pytest.approx(50 / 101) and result.not_found == 1


def test_a_wrong_class_a_duplicate_and_a_missed_object() -> None:
    """Dogs: false, true, false, false: AP 1/2. Cats: one of three, precision 1: 34 of 101 recalls.

    With its class mended the first one is the best cat: two of three, 67 of 101 recalls, and the dog is first, AP 1.
    Without the missed cat it is one of two, 51 recalls. If no object were missed, cats have AP 1; without false ones, dogs.
    """
    truths = [(0, CAT, A), (0, DOG, B), (0, CAT, C), (0, CAT, D)]
    found = [(0, DOG, A, 0.95), (0, DOG, B, 0.9), (0, DOG, beside(B, 2), 0.8), (0, DOG, NOWHERE, 0.7), (0, CAT, D, 0.5)]
    detected = by_hand(truths, found)
    result = tide(detected, 'bbox')
    assert kinds(detected) == [
        ('classification', 0, 0, True),
        ('duplicate', 2, 1, False),
        ('background', 3, None, False),
        ('missed', None, 2, False),
    ]
    assert result.counts == dict(classification=1, duplicate=1, background=1, missed=1)
    assert result.ap50 == pytest.approx((1 / 2 + 34 / 101) / 2)
    assert costs(detected) == pytest.approx({'classification': (1 / 2 + 33 / 101) / 2, 'missed': 17 / 101 / 2})
    assert result.false_positives == pytest.approx(1 / 4)
    assert result.false_negatives == pytest.approx((1 - 34 / 101) / 2) and result.not_found == 2


def test_of_two_errors_at_an_object_the_best_mends_it_and_the_other_is_dropped() -> None:
    """Mending places drops the cat, as the dog is the one that mends: AP stays 0. Mending classes leaves no dog: AP is 1."""
    detected = by_hand([(0, CAT, A)], [(0, CAT, beside(A, 5), 0.8), (0, DOG, A, 0.9)])
    assert kinds(detected) == [('classification', 1, 0, True), ('localisation', 0, 0, False)]
    assert tide(detected, 'bbox').ap50 == 0 and costs(detected) == {'classification': 1}
    detected = by_hand([(0, CAT, A)], [(0, CAT, beside(A, 5), 0.8), (0, CAT, beside(A, 4), 0.9)])
    assert kinds(detected) == [('localisation', 1, 0, True), ('localisation', 0, 0, False)]
    assert costs(detected) == {'localisation': 1}


def test_false_alarms_before_the_object_cost_half() -> None:
    detected = by_hand([(0, CAT, A)], [(0, CAT, NOWHERE, 0.9), (0, CAT, A, 0.8)])
    assert costs(detected) == {'background': 0.5} and tide(detected, 'bbox').false_positives == 0.5
    duplicate = by_hand([(0, CAT, A), (1, CAT, A)], [(0, CAT, A, 0.9), (0, CAT, A, 0.8), (1, CAT, A, 0.7)], images=2)
    assert costs(duplicate) == pytest.approx({'duplicate': 50 / 101 * (1 - 2 / 3)})


def test_both_wrong_and_the_borders_of_the_kinds() -> None:
    """IoU 5/15 with another class is neither a class nor a place; exactly 0.5 with the own class is a place if it is taken."""
    assert kinds(by_hand([(0, CAT, A)], [(0, DOG, beside(A, 5), 0.9)])) == [
        ('both', 0, 0, False),
        ('missed', None, 0, False),
    ]
    half = (0, 0, 10, 5)
    assert kinds(by_hand([(0, CAT, A)], [(0, CAT, half, 0.9)])) == []
    assert kinds(by_hand([(0, CAT, A)], [(0, CAT, A, 0.9), (0, CAT, half, 0.8)])) == [('localisation', 1, 0, False)]
    assert kinds(by_hand([(0, CAT, A)], [(0, DOG, half, 0.9)])) == [('classification', 0, 0, True)]
    tenth = (0, 0, 10, 1)
    assert kinds(by_hand([(0, CAT, A)], [(0, DOG, tenth, 0.9)]))[0] == ('background', 0, None, False)
    assert kinds(by_hand([(0, CAT, A)], [(0, CAT, tenth, 0.9)]))[0] == ('localisation', 0, 0, True)


def test_a_crowd_takes_detections_of_its_class_alone() -> None:
    crowd = (40, 20, 30, 30)
    detected = by_hand([(0, CAT, A), (0, CAT, crowd, True)], [(0, CAT, (45, 25, 9, 9), 0.9), (0, CAT, A, 0.8)])
    assert kinds(detected) == [] and tide(detected, 'bbox').ap50 == 1
    other = by_hand([(0, CAT, A), (0, CAT, crowd, True)], [(0, DOG, (45, 25, 9, 9), 0.9), (0, CAT, A, 0.8)])
    assert kinds(other) == [('background', 0, None, False)]
    assert tide(other, 'bbox').ap50 == 0.5 and costs(other) == {'background': 0.5}


def test_a_detection_in_a_crowd_may_be_mended() -> None:
    """It is no false positive: without detections AP is 0; in its place, it is the only one."""
    detected = by_hand([(0, CAT, A), (0, CAT, (0, 0, 40, 40), 'crowd')], [(0, CAT, beside(A, 5), 0.9)])
    result = tide(detected, 'bbox')
    (error,) = result.errors
    assert error[:3] == ('localisation', 0, 0) and error.mends and error.in_crowd and not result.counts
    assert result.ap50 == 0 and costs(detected) == {'localisation': 1} and result.not_found == 1


def test_the_100_best_detections_of_a_picture_count() -> None:
    alarms = [(0, DOG, NOWHERE, 0.9 - 0.001 * i) for i in range(100)]
    detected = by_hand([(0, CAT, A)], [*alarms, (0, CAT, A, 0.1)])
    assert len(kinds(detected)) == 101 and kinds(detected)[-1] == ('missed', None, 0, False)
    assert kinds(by_hand([(0, CAT, A)], [*alarms[:99], (0, CAT, A, 0.1)]))[-1][0] == 'background'


def test_nothing_found_and_nothing_there() -> None:
    found = [(0, CAT, NOWHERE, 0.9)]
    missed, alarm, empty = by_hand([(0, CAT, A)], []), by_hand([], found), by_hand([], [])
    assert [tide(one, 'bbox').ap50 for one in (missed, alarm)] == [0, 0] and math.isnan(tide(empty, 'bbox').ap50)
    assert math.isnan(tide(missed, 'bbox').costs['missed']) and tide(missed, 'bbox').costs['background'] == 0
    assert math.isnan(tide(alarm, 'bbox').costs['background']) and tide(alarm, 'bbox').not_found == 0
    assert all(map(math.isnan, tide(empty, 'bbox').costs.values())) and not tide(empty, 'bbox').errors
    assert tide(missed, 'segm').counts == dict(missed=1)


SHORT = dict(zip(('Cls', 'Loc', 'Both', 'Dupe', 'Bkg', 'Miss'), KINDS))


def published(detected: Detected, iou_type: str):
    """The authors' run on the same."""
    pytest.importorskip('tidecv', reason='the package tidecv, or what it plots with, is not installed')
    from pycocotools.coco import COCO
    from tidecv.data import Data
    from tidecv.quantify import TIDE, TIDERun

    masks, sizes = COCO(), {image['id']: image for image in detected.truth['images']}
    masks.imgs = sizes
    truth, found = Data('truth'), Data('found')
    for image in sizes:
        truth.add_image(image, str(image))
    for category in detected.truth['categories']:
        truth.add_class(category['id'], category['name'])
    for item in detected.truth['annotations']:
        mask = masks.annToRLE(item) if iou_type == 'segm' else None
        add = truth.add_ignore_region if item['iscrowd'] else truth.add_ground_truth
        add(item['image_id'], item['category_id'], item['bbox'], mask)
    for item in detected.detections[iou_type]:
        found.add_detection(item['image_id'], item['category_id'], item['score'], item.get('bbox'), item.get('segmentation'))
    return TIDERun(truth, found, 0.5, 0.1, TIDE.BOX if iou_type == 'bbox' else TIDE.MASK, 100)


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
@pytest.mark.parametrize('settings', [{}, dict(digits=1), dict(images=3, objects=80), dict(images=40, names='abcdefghij')])
@pytest.mark.parametrize('seed', range(3))
def test_the_figures_of_the_authors_tool(iou_type: str, settings: dict, seed: int) -> None:
    detected = made_up(seed, **settings)
    run = published(detected, iou_type)
    ours = tide(detected, iou_type)
    assert 100 * ours.ap50 == pytest.approx(run.ap, abs=1e-9)
    main, special = (
        {error.short_name: cost for error, cost in costs.items()} for costs in (run.fix_main_errors(), run.fix_special_errors())
    )
    assert {kind: 100 * cost for kind, cost in ours.costs.items()} == pytest.approx(
        {SHORT[name]: cost for name, cost in main.items()}, abs=1e-9
    )
    assert 100 * ours.false_positives == pytest.approx(special['FalsePos'], abs=1e-9)
    assert 100 * ours.false_negatives == pytest.approx(special['FalseNeg'], abs=1e-9)
    theirs = [
        (SHORT[one.short_name], getattr(one, 'pred', {}).get('_id'), one.gt['_id'] if hasattr(one, 'gt') else None)
        for one in run.errors
    ]
    with_truth = ('classification', 'localisation', 'missed')  # the tool names no object for the others
    assert [(e.kind, e.detection, e.truth if e.kind in with_truth else None) for e in ours.errors] == theirs


def test_the_sets_have_errors_of_every_kind() -> None:
    counts = tide(made_up(0, images=40), 'bbox').counts
    assert set(counts) == set(KINDS) and min(counts.values()) >= 3
    assert made_up().truth['images'][0]['id'] == FIRST and made_up().truth['categories'][0]['id'] == IDS[0]

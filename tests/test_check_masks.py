"""Segmentations in a COCO file: run lengths as pycocotools reads them, and what it would misread is named."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from convnext_dense.data import check_masks
from convnext_dense.data.check_masks import is_number, mask_problems, run_lengths

WIDTH, HEIGHT = 8, 5
NAN, INF = float('nan'), float('inf')
SQUARE = [1, 1, 4, 1, 4, 4, 1, 4]
WHOLE = [0, WIDTH * HEIGHT]


def runs(counts, size=None) -> dict:
    return dict(size=size or [HEIGHT, WIDTH], counts=counts)


def problems(*shapes, area=9) -> list[str]:
    items = [(dict(id=i, segmentation=shape, area=area), (WIDTH, HEIGHT)) for i, shape in enumerate(shapes)]
    return [f'{item["id"]} {problem}' for item, problem in mask_problems(items)]


def counted(mask: np.ndarray) -> list[int]:
    """The run lengths of a mask, column by column, beginning with those of 0: by going through it."""
    lengths, value = [0], 0
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            lengths.append(0)
            value = pixel
        lengths[-1] += 1
    return lengths


@pytest.mark.parametrize('share', [0, 0.02, 0.3, 0.9, 1])
@pytest.mark.parametrize('height, width', [(1, 1), (1, 70), (300, 1), (37, 53), (400, 700)])
def test_compressed_run_lengths_are_read_as_pycocotools_writes_them(height: int, width: int, share: float) -> None:
    rng = np.random.default_rng(height)
    mask = (rng.random((height, width)) < share).astype(np.uint8)
    mask[: height // 3] = 0  # long runs, too: differences of either sign and of several characters
    rle = coco_mask.encode(np.asfortranarray(mask))
    assert run_lengths(rle['counts'].decode()).tolist() == counted(mask)
    listed = coco_mask.frPyObjects(dict(size=[height, width], counts=counted(mask)), height, width)
    assert listed['counts'] == rle['counts'] and run_lengths(counted(mask)).tolist() == counted(mask)


def test_numbers_of_the_greatest_length() -> None:
    lengths = [0, 2**30, 5, 2**30 - 7, 3, 1]
    rle = coco_mask.frPyObjects(dict(size=[2**16, 2**15], counts=lengths), 2**16, 2**15)
    assert run_lengths(rle['counts'].decode()).tolist() == lengths
    assert run_lengths('').size == 0


@pytest.mark.parametrize(
    'counts, words',
    [
        (None, 'counts None'),
        (7, 'counts 7'),
        (dict(), 'counts {}'),
        (b'01', "counts b'01'"),
        ('é0', 'which is no compressed text'),
        ('0 1', 'which is no compressed text'),  # a space is before the first character
        ('0p', 'which is no compressed text'),  # one past the last
        ('00P', 'which is no compressed text'),  # its last number goes on
        ('o' * 6 + '00', None),  # seven characters, the longest
        ('o' * 7 + '0', 'which is no compressed text'),
        ([3, True], 'the length True'),
        ([3, '4'], "the length '4'"),
        ([3, 4.0], 'the length 4.0'),
        ([3, NAN], 'the length nan'),
        ([3, 10**30], 'the length 1000000000000000000'),
        ([3, -(10**30)], 'the length -1000000000000000000'),
        ([[3, 4]], 'the length [3, 4]'),
    ],
)
def test_counts_that_are_none(counts, words: str | None) -> None:
    found = run_lengths(counts)
    assert (words in found) if words else isinstance(found, np.ndarray)


@pytest.mark.parametrize(
    'shape, words',
    [
        ([SQUARE], None),
        ([SQUARE, [5, 1, 7, 1, 7, 4]], None),
        ([[-1, -1, 4, 1, 4, 6]], None),  # over the border, by less than a side
        ([[-WIDTH, -HEIGHT, 2 * WIDTH, 1, 4, 2 * HEIGHT]], None),
        (runs(WHOLE), None),
        (runs([5, 10, 25]), None),
        (runs(coco_mask.encode(np.ones((HEIGHT, WIDTH), np.uint8, order='F'))['counts'].decode()), None),
        (None, 'has no segmentation; expected polygons or a run-length mask'),
        ([], 'has no segmentation'),
        ('polygon', "has segmentation 'polygon'; expected polygons"),
        (5, 'has segmentation 5'),
        (True, 'has segmentation True'),
        (SQUARE, 'has a polygon 1; expected a list [x, y, x, y, ...] of numbers'),
        (['1, 1, 4, 1'], "has a polygon '1, 1, 4, 1'"),
        ([dict(x=1)], "has a polygon {'x': 1}"),
        ([SQUARE, []], 'has a polygon of 0 numbers; expected x, y of three points'),
        ([[1, 1, 4, 1]], 'has a polygon of 4 numbers'),
        ([[*SQUARE, 1]], 'has a polygon of 9 numbers'),
        ([[[1, 1], [4, 1], [4, 4], [1, 4], [1, 3], [1, 2]]], 'has a polygon with [1, 1] in it; expected numbers'),
        ([[SQUARE]], 'has a polygon of 1 numbers'),
        ([[1, 1, 4, '1', 4, 4]], "has a polygon with '1' in it"),
        ([[1, 1, 4, None, 4, 4]], 'has a polygon with None in it'),
        ([[1, 1, 4, True, 4, 4]], 'has a polygon with True in it'),
        ([[1, 1, 4, NAN, 4, 4]], 'has a polygon from x, y = 1, nan to 4, nan; expected finite numbers in its image of 8x5'),
        ([[1, 1, INF, 1, 4, 4]], 'to inf, 4; expected finite'),
        ([[1, 1, 10**400, 1, 4, 4]], 'to inf, 4; expected finite'),
        ([[1, 1, 1e300, 1, 4, 4]], 'to 1e+300, 4; expected finite'),
        ([[-9, 1, 4, 1, 4, 4]], 'from x, y = -9, 1 to 4, 4'),
        ([[1, 1, 17, 1, 4, 4]], 'to 17, 4'),
        ([[1, 1, 4, 11, 4, 4]], 'to 4, 11'),
        ([[-3, 1, -1, 1, -1, 4]], 'from x, y = -3, 1 to -1, 4'),  # beside the image
        ([[-3, 1, 0, 1, 0, 4]], 'to 0, 4'),
        ([[8, 1, 9, 1, 9, 4]], 'from x, y = 8, 1'),
        ([[1, 5, 4, 5, 4, 6]], 'from x, y = 1, 5'),
        ([SQUARE, [90, 1, 91, 1, 91, 4]], 'from x, y = 90, 1 to 91, 4'),
        ([[1, 1, 2, 2, 3, 3]], 'has polygons that enclose no area'),
        ([[1, 2, 2, 3, 3, 4]], 'has polygons that enclose no area'),
        ([[1, 1] * 3], 'has polygons that enclose no area'),
        (dict(), 'has a run-length mask of size None; expected [5, 8]'),
        (runs(WHOLE, [WIDTH, HEIGHT]), 'has a run-length mask of size [8, 5]; expected [5, 8]'),
        (runs(WHOLE, [5.0, 8]), 'of size [5.0, 8]'),
        (runs(WHOLE, '58'), "of size '58'"),
        (runs('garbage'), 'expected lengths of 0 or more whose sum is 40 (8x5)'),
        (runs([5, 10]), 'whose sum is 15; expected lengths of 0 or more whose sum is 40 (8x5)'),
        (runs([5, 10, 26]), 'whose sum is 41'),
        (runs([]), 'whose sum is 0'),
        (runs(''), 'whose sum is 0'),
        (runs([50, -10]), 'with the length -10; expected'),
        (runs([40]), 'has a run-length mask without a pixel'),
        (runs([20, 0, 20]), 'has a run-length mask without a pixel'),
        (runs(None), 'has a run-length mask with counts None'),
    ],
)
def test_what_a_segmentation_may_be(shape, words: str | None) -> None:
    found = problems([SQUARE], shape, [SQUARE])
    assert [line.split()[0] for line in found] == (['1'] if words else []), found
    assert words is None or words in found[0]


def test_an_object_that_says_that_it_is_empty_may_be() -> None:
    assert problems(runs([40]), [[1, 1, 2, 2, 3, 3]], area=0) == []


def test_each_of_many_is_named(monkeypatch) -> None:
    """Also across the parts that are looked at together."""
    shapes = [[SQUARE], [[1, 1, 4, '1', 4, 4]], [[1, 1, 4, NAN, 4, 4]], [SQUARE, SQUARE], [[8, 8, 9, 9, 9, 8]], runs([3]), []]
    wrong = ['1', '2', '4', '5', '6']
    for chunk in (1, 2, 3, 100):
        monkeypatch.setattr(check_masks, 'CHUNK', chunk)
        assert sorted(line.split()[0] for line in problems(*shapes)) == wrong
    assert problems() == []


@pytest.mark.parametrize(
    'value, expected',
    [(0, True), (-3.5, True), (2**31 - 1, True), (2**31, False), (-(2**31), False), (NAN, False), (INF, False)]
    + [(value, False) for value in (True, None, '1', [1], np.float64(1))],
)
def test_what_a_number_is(value, expected: bool) -> None:
    assert is_number(value) is expected

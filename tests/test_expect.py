"""Values of the wrong type or range are refused with expected and got, on one short line."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from convnext_dense import InputError
from convnext_dense.expect import brief, expect_flag, expect_images, expect_number, expect_whole, number, whole


@pytest.mark.parametrize(
    'value, least, expected',
    [(1, 1, True), (0, 1, False), (-1, -1, True), (np.int64(3), 1, True), (True, 0, False), (2.0, 0, False), ('2', 0, False)],
)
def test_whole_numbers(value, least: int, expected: bool) -> None:
    assert whole(value, least) is expected


@pytest.mark.parametrize(
    'value, least, expected',
    [
        (0.5, 0.5, True),
        (0.49, 0.5, False),
        (3, 0, True),
        (np.float32(1), 0, True),
        (Fraction(1, 3), 0, True),
        (-1e300, -math.inf, True),
        (math.nan, 0, False),
        (math.inf, 0, False),
        (False, 0, False),
        ('1', 0, False),
        (None, 0, False),
    ],
)
def test_finite_numbers(value, least: float, expected: bool) -> None:
    assert number(value, least) is expected


def test_what_is_said() -> None:
    for call, words in (
        (lambda: expect_flag('flag', 1), 'flag: expected True or False, got 1'),
        (lambda: expect_whole('n', 2.5, 1), 'n: expected a whole number from 1 up, got 2.5'),
        (lambda: expect_number('x', 'a', 0.5), "x: expected a finite number from 0.5 up, got 'a'"),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert str(caught.value) == words
    expect_flag('flag', False), expect_whole('n', 1, 1), expect_number('x', 0.5, 0.5)


@pytest.mark.parametrize('value', ['x' * 500, list(range(10**4)), {i: i for i in range(10**3)}, [['a\nb'] * 30] * 30, object()])
def test_long_values_are_one_short_line(value) -> None:
    text = brief(value)
    assert len(text) <= 103 and '\n' not in text and text[:2] in repr(value)


def test_images_of_the_weights_type_and_device_pass() -> None:
    weight = torch.zeros(8, 3, 4, 4)
    expect_images(torch.zeros(2, 3, 5, 7), weight)
    expect_images(torch.zeros(0, 3, 5, 7), weight)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        expect_images(torch.zeros(2, 3, 5, 7, dtype=torch.bfloat16), weight)
        with pytest.raises(InputError, match=r'expected torch.float32, .* got torch.float64'):
            expect_images(torch.zeros(2, 3, 5, 7, dtype=torch.float64), weight)
    with pytest.raises(InputError, match='got a nested one'):
        expect_images(torch.nested.nested_tensor([torch.zeros(3, 5, 7)]), weight)


def test_long_values_are_shortened() -> None:
    deep: list = []
    for _ in range(2000):
        deep = [deep]
    for value in (deep, 'x' * 9999, list(range(9999)), b'x' * 9999):
        assert len(brief(value)) < 150
    assert brief('a') == "'a'"

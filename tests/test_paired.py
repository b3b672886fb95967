"""Differences of made-up metrics: none where there is none, one where there is, and its width as theory gives it."""

import numpy as np
import pytest

from convnext_dense.report.paired import Difference, difference

NAN = float('nan')


def means(values: np.ndarray):
    """The mean of values (pictures, classes) as a metric."""
    return lambda weights: weights @ values / weights.sum(1, keepdims=True)


def pictures(seed: int, number: int = 200) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.2, 0.9, (number, 2))


def test_a_run_beside_itself() -> None:
    found = difference('mIoU', ('a', 'b'), means(pictures(0)), means(pictures(0)), (200, 200))
    assert found.mean == 0 and found.span == (0, 0) and (found.spans == 0).all()
    assert found.sentence('A', 'B').startswith('no difference shown: B minus A is +0.0 mIoU, 95 % interval 0.0 to 0.0')


def test_a_small_gain_on_the_same_pictures_is_shown_by_pairing_alone() -> None:
    base = pictures(0)
    better = base + 0.01 + np.random.default_rng(1).normal(0, 0.005, base.shape)
    paired, alone = (
        difference('mIoU', ('a', 'b'), means(base), means(better), (200, 200), apart=apart)
        for apart in ('', 'different pictures')
    )
    assert 0.009 < paired.span[0] < paired.span[1] < 0.011 and alone.span[0] < 0 < alone.span[1]
    assert paired.sentence('A', 'B').startswith('B is better by 1.0 mIoU, 95 % interval ')
    assert alone.sentence('A', 'B').endswith('; different pictures: drawn by themselves')


def test_who_is_better_is_named_first() -> None:
    found = Difference('mIoU', ('a',), -0.02, (-0.03, -0.01), np.array([-0.02]), np.array([[-0.03], [-0.01]]))
    assert found.sentence('A', 'B') == 'A is better by 2.0 mIoU, 95 % interval 1.0 to 3.0'


def test_the_width_is_that_of_theory() -> None:
    base, other = pictures(0, 400)[:, :1], pictures(1, 400)[:, :1]
    found = difference('mIoU', ('a',), means(base), means(other), (400, 400))
    half = 1.96 * (other - base).std() / 20
    assert found.span[1] - found.span[0] == pytest.approx(2 * half, rel=0.1)


def test_a_class_that_no_picture_has() -> None:
    base = pictures(0)
    base[:, 1] = np.nan
    found = difference('mIoU', ('a', 'b'), means(base), means(base + 0.1), (200, 200))
    assert np.isnan(found.by_class[1]) and np.isnan(found.spans[:, 1]).all() and found.mean == pytest.approx(0.1)


@pytest.mark.parametrize(
    ('mean', 'span', 'words'),
    [
        (0.0004, (0.0001, 0.0007), 'B is better by 0.04 mIoU, 95 % interval 0.01 to 0.07'),
        (-0.0004, (-0.02, -0.00002), 'A is better by 0.040 mIoU, 95 % interval 0.002 to 2.000'),
        (
            0.001,
            (-0.004, -0.0001),
            'A is better in nearly all draws, 95 % interval 0.01 to 0.40, but by -0.10 mIoU on all pictures',
        ),
        (0.001, (0.0, 0.004), 'no difference shown: B minus A is +0.1 mIoU, 95 % interval 0.0 to 0.4'),
        (-0.001, (-0.004, 1e-5), 'no difference shown: B minus A is -0.100 mIoU, 95 % interval -0.400 to 0.001'),
        (1e-17, (1e-17, 1e-16), 'no difference shown: B minus A is +0.0 mIoU, 95 % interval 0.0 to 0.0'),
        (0.048, (NAN, NAN), 'no difference shown: B minus A is +4.8 mIoU, no interval of fewer than 5 pictures'),
        (NAN, (NAN, NAN), 'no difference shown: one of A and B has no mIoU'),
    ],
)
def test_the_sentence_says_what_its_numbers_say(mean: float, span: tuple[float, float], words: str) -> None:
    assert Difference('mIoU', ('a',), mean, span, np.array([mean]), np.array([span]).T).sentence('A', 'B') == words


def test_few_pictures_or_few_with_a_class_have_no_interval() -> None:
    base = pictures(0, 4)
    found = difference('mIoU', ('a', 'b'), means(base), means(base + 0.1), (4, 4))
    assert np.isnan(found.span).all() and found.mean == pytest.approx(0.1)
    base = pictures(0)
    found = difference('mIoU', ('a', 'b'), means(base), means(base + 0.1), (200, 200), np.array([1, 5]))
    assert np.isnan(found.spans[:, 0]).all() and (found.spans[:, 1] > 0).all() and found.span[0] > 0

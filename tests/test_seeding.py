"""Seeds that follow from where a run is."""

import random

import numpy as np
import torch

from convnext_dense.training.seeding import seed_generators, seed_of


def draws() -> tuple[float, float, float]:
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_each_number_and_their_order_matter() -> None:
    cases = [(), (0,), (0, 0), (1, 2), (2, 1), (1, 2, 0), (12,), (1, 22), (12, 2), (-1, 2)]
    assert len({seed_of(*case) for case in cases}) == len(cases)
    assert all(0 <= seed_of(*case) < 2**64 for case in cases)


def test_every_generator_is_seeded() -> None:
    seed_generators(3, 5)
    first = draws()
    after = draws()
    seed_generators(3, 5)
    assert draws() == first and draws() == after
    seed_generators(3, 5, devices=False)
    assert draws() == first, 'in a loading process, too'
    seed_generators(3, 6)
    assert all(one != other for one, other in zip(draws(), first))

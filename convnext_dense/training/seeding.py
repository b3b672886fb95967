"""Random numbers that follow from where a run is, so that no generator's state has to be saved to go on exactly."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import torch


def seed_of(*numbers: int) -> int:
    """A seed of 64 bits that depends on each number and on their order."""
    text = ','.join(map(str, numbers)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), 'little')


def seed_generators(*numbers: int, devices: bool = True) -> None:
    """Seed the generators of random, NumPy and PyTorch by `numbers`; those of PyTorch's `devices`, too, or the CPU's alone."""
    seed = seed_of(*numbers)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if devices:
        torch.manual_seed(seed)
    else:  # in a loading process, where a GPU must not be touched
        torch.default_generator.manual_seed(seed)

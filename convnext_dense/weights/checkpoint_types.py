"""What a training checkpoint may hold.

PyTorch 2.6 and later open files with weights only and refuse every other type; mmengine's checkpoints also hold its log
buffers and numpy scalars, so that resuming fails. The answer is to allow exactly those types, never `weights_only=False`.
"""

from __future__ import annotations

from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.logging.history_buffer import HistoryBuffer

try:
    from numpy._core.multiarray import _reconstruct, scalar
except ImportError:  # numpy < 2
    from numpy.core.multiarray import _reconstruct, scalar  # type: ignore[no-redef]

NUMPY_DTYPES = (np.float32, np.float64, np.int32, np.int64, np.bool_)


HISTORY_METHODS = ('min', 'max', 'current', 'mean')


def history_method(owner: Any, name: str) -> Callable[..., Any]:
    """Stands in for the `getattr` by which a pickled HistoryBuffer names its methods; anything else is refused."""
    if owner is not HistoryBuffer or name not in HISTORY_METHODS:
        raise UnpicklingError(f'Unsupported getattr of {owner!r} and {name!r}')
    return getattr(HistoryBuffer, name)


def checkpoint_types() -> list[type | Callable[..., Any] | tuple[Any, str]]:
    """The types in an mmengine checkpoint that torch does not allow by itself."""
    dtypes = {type(np.dtype(dtype)) for dtype in NUMPY_DTYPES}
    # Files written under numpy 1 and numpy 2 name the same functions differently; allow both names.
    aliases = [(f, f'numpy.{core}.multiarray.{f.__name__}') for core in ('core', '_core') for f in (_reconstruct, scalar)]
    return [HistoryBuffer, np.ndarray, np.dtype, *dtypes, *aliases, (history_method, 'builtins.getattr')]


def allow_checkpoint_types() -> None:
    """Let `torch.load` open this project's and mmengine's checkpoints for the rest of the process."""
    torch.serialization.add_safe_globals(checkpoint_types())

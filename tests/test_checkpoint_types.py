"""Training checkpoints open with weights only, by exactly the types that they hold."""

import collections
import fractions
from pickle import UnpicklingError

import numpy as np
import pytest
import torch
from mmengine.logging.history_buffer import HistoryBuffer

from convnext_dense.weights.checkpoint_types import allow_checkpoint_types, checkpoint_types, history_method


def training_checkpoint() -> dict:
    """What mmengine's runner saves, by kind of content."""
    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    buffer.update(np.float64(0.5))
    return dict(
        meta=dict(iter=np.int64(3), dataset_meta=dict(classes=('a', 'b'), palette=[[0, 0, 0]])),
        message_hub=dict(log_scalars=collections.OrderedDict(loss=buffer), runtime_info=dict(lr=np.float32(0.1))),
        state_dict=collections.OrderedDict(weight=torch.ones(2)),
    )


def test_a_training_checkpoint_opens(tmp_path) -> None:
    torch.save(training_checkpoint(), tmp_path / 'a.pth')
    refused = pytest.raises(UnpicklingError, match='Unsupported global: ')
    with refused, torch.serialization.safe_globals([]):
        torch.serialization.clear_safe_globals()
        torch.load(tmp_path / 'a.pth')
    with torch.serialization.safe_globals(checkpoint_types()):
        loaded = torch.load(tmp_path / 'a.pth')
    assert loaded['message_hub']['log_scalars']['loss'].current() == 0.5
    assert loaded['meta']['iter'] == 3


def test_other_types_stay_refused(tmp_path) -> None:
    torch.save(fractions.Fraction(1, 2), tmp_path / 'a.pth')
    refused = pytest.raises(UnpicklingError, match='Unsupported global: .*fractions.Fraction')
    with torch.serialization.safe_globals(checkpoint_types()), refused:
        torch.load(tmp_path / 'a.pth')


class Sneaky:
    """Names `getattr` as a HistoryBuffer does, for something else."""

    def __init__(self, owner, name: str) -> None:
        self.arguments = owner, name

    def __reduce__(self):
        return getattr, self.arguments


@pytest.mark.parametrize('owner, name', [(HistoryBuffer, '__init__'), (np.ndarray, 'tofile'), (HistoryBuffer, '__class__')])
def test_getattr_is_refused_for_anything_else(tmp_path, owner, name: str) -> None:
    torch.save(Sneaky(owner, name), tmp_path / 'a.pth')
    with torch.serialization.safe_globals(checkpoint_types()), pytest.raises(UnpicklingError, match='Unsupported getattr'):
        torch.load(tmp_path / 'a.pth')


@pytest.mark.parametrize('dtype', [np.float32, np.float64, np.int32, np.int64, np.bool_])
def test_numpy_values_open(tmp_path, dtype) -> None:
    content = dict(scalar=dtype(1), row=np.ones(2, dtype))
    torch.save(content, tmp_path / 'a.pth')
    with torch.serialization.safe_globals([]):
        torch.serialization.clear_safe_globals()
        allow_checkpoint_types()
        loaded = torch.load(tmp_path / 'a.pth')
    assert loaded['scalar'].dtype == dtype and (loaded['row'] == content['row']).all()


@pytest.mark.parametrize('name', ['min', 'max', 'current', 'mean'])
def test_a_buffers_methods_come_back(name: str) -> None:
    assert history_method(HistoryBuffer, name) is getattr(HistoryBuffer, name)


def test_both_numpys_names_are_allowed() -> None:
    """Files of numpy 1 say numpy.core, those of numpy 2 numpy._core."""
    aliases = {entry[1] for entry in checkpoint_types() if isinstance(entry, tuple)}
    functions = ('_reconstruct', 'scalar')
    assert aliases == {f'numpy.{core}.multiarray.{f}' for core in ('core', '_core') for f in functions} | {'builtins.getattr'}

"""Training checkpoints open with weights only, by exactly the types that they hold."""

import collections
import fractions

import numpy as np
import pytest
import torch
from mmengine.logging.history_buffer import HistoryBuffer

from convnext_dense.training.checkpoint import checkpoint_types


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
    with pytest.raises(Exception, match='HistoryBuffer|weights_only'), torch.serialization.safe_globals([]):
        torch.serialization.clear_safe_globals()
        torch.load(tmp_path / 'a.pth')
    with torch.serialization.safe_globals(checkpoint_types()):
        loaded = torch.load(tmp_path / 'a.pth')
    assert loaded['message_hub']['log_scalars']['loss'].current() == 0.5
    assert loaded['meta']['iter'] == 3


def test_other_types_stay_refused(tmp_path) -> None:
    torch.save(fractions.Fraction(1, 2), tmp_path / 'a.pth')
    with torch.serialization.safe_globals(checkpoint_types()), pytest.raises(Exception, match='Fraction'):
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
    with torch.serialization.safe_globals(checkpoint_types()), pytest.raises(Exception, match='Unsupported getattr'):
        torch.load(tmp_path / 'a.pth')

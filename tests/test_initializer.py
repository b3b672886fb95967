"""The initialiser that loads published weights is found by its name, and hands its options on."""

import pytest
import torch
from mmengine.model import initialize
from mmengine.registry import WEIGHT_INITIALIZERS

from convnext_dense import ConvNeXt, InputError, StrictPretrainedInit
from convnext_dense.models.init_cfg import STRICT

SMALL = dict(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32))


def test_found_by_its_name() -> None:
    assert WEIGHT_INITIALIZERS.get(STRICT) is StrictPretrainedInit


@pytest.mark.parametrize('prefix', ['', 'encoder.'])
def test_weights_are_loaded_whole_or_not_at_all(tmp_path, prefix: str) -> None:
    state = ConvNeXt(SMALL).state_dict()
    torch.save({f'{prefix}{name}': value + 1 for name, value in state.items()}, tmp_path / 'a.pth')
    model = ConvNeXt(SMALL)
    initialize(model, dict(type=STRICT, checkpoint=str(tmp_path / 'a.pth'), **(dict(prefix=prefix) if prefix else {})))
    assert all(torch.equal(value, state[name] + 1) for name, value in model.state_dict().items())
    with pytest.raises(InputError, match='other'):
        initialize(model, dict(type=STRICT, checkpoint=str(tmp_path / 'a.pth'), prefix='other.'))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state.pop('stages.2.1.pwconv1.weight')
    torch.save(state, tmp_path / 'b.pth')
    with pytest.raises(InputError, match='1 missing: stages.2.1.pwconv1.weight'):
        initialize(model, dict(type=STRICT, checkpoint=str(tmp_path / 'b.pth')))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

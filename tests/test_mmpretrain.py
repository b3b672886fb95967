"""The ConvNeXt configs of MMDetection and MMSegmentation, as these packages ship them."""

from pathlib import Path

import mmdet
import mmseg
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import load_checkpoint, load_state_dict

import convnext_dense
from convnext_dense.errors import InputError
from convnext_dense.weights.convert import convert
from convnext_dense.weights.mmpretrain import SCOPE, register

CONFIGS = {
    path.stem: (scope, path)
    for scope, package in (('mmdet', mmdet), ('mmseg', mmseg))
    for path in sorted(Path(package.__file__).parent.glob('.mim/configs/convnext/*.py'))
}
SMALL = dict(type=f'{SCOPE}.ConvNeXt', arch='atto', out_indices=[0, 1, 2, 3], gap_before_final_norm=False)


def test_they_are_there() -> None:
    assert len(CONFIGS) == 9


@pytest.mark.parametrize('name', CONFIGS)
def test_a_stock_config_builds(name: str) -> None:
    """On the meta device, with the one line that a user adds: the plugin in place of mmpretrain."""
    scope, path = CONFIGS[name]
    cfg = Config.fromfile(path, import_custom_modules=False)
    assert cfg.model.backbone.type == f'{SCOPE}.ConvNeXt'
    init_default_scope(scope)
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    backbone = model.backbone
    assert isinstance(backbone, convnext_dense.ConvNeXt) and type(backbone).__name__ == 'ConvNeXt'
    heads = cfg.model.neck if scope == 'mmdet' else cfg.model.decode_head
    assert list(backbone.out_channels) == heads.in_channels and backbone.out_indices == (0, 1, 2, 3)
    assert backbone.stages[0][0].gamma is not None


def built(**options: object) -> convnext_dense.ConvNeXt:
    init_default_scope('mmengine')
    return MODELS.build({**SMALL, **options})


def openmmlab(backbone: torch.nn.Module) -> dict[str, torch.Tensor]:
    state = convert(backbone.state_dict(), 'openmmlab').state
    assert any('depthwise_conv' in name for name in state)
    return state


class Whole(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = built()
        self.head = torch.nn.Linear(2, 2)


def test_a_checkpoint_of_a_whole_model_loads_by_mmengine(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source, target = Whole(), Whole()
    for param in source.parameters():
        torch.nn.init.normal_(param)
    state = {f'backbone.{name}': value for name, value in openmmlab(source.backbone).items()}
    state |= {f'head.{name}': value for name, value in source.head.state_dict().items()}
    torch.save(dict(state_dict=state, meta={}), tmp_path / 'theirs.pth')
    before = set(state)
    load_state_dict(target, state, strict=True)
    assert set(state) == before
    for (name, value), other in zip(source.state_dict().items(), target.state_dict().values()):
        assert torch.equal(value, other), name
    other = Whole()
    load_checkpoint(other, str(tmp_path / 'theirs.pth'), strict=True)
    assert all(torch.equal(a, b) for a, b in zip(source.state_dict().values(), other.state_dict().values()))
    other.load_state_dict(state)
    other.load_state_dict(source.state_dict())  # its own names go on loading


def test_a_checkpoint_that_lacks_a_part_says_which() -> None:
    state = openmmlab(built())
    del state['stages.1.0.depthwise_conv.weight']
    with pytest.raises(RuntimeError, match=r'stages\.1\.0\.dwconv\.weight'):
        built().load_state_dict(state)


def test_a_published_backbone_loads_by_init_cfg(tmp_path: Path) -> None:
    source = built()
    state = {f'backbone.{name}': value for name, value in openmmlab(source).items()}
    torch.save(dict(state_dict=state), tmp_path / 'theirs.pth')
    target = built(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'theirs.pth'), prefix='backbone.'))
    target.init_weights()
    assert torch.equal(target.stages[2][1].pwconv1.weight, source.stages[2][1].pwconv1.weight)


def test_an_arch_of_channels() -> None:
    arch = dict(depths=[1, 1, 2, 1], channels=[8, 16, 24, 32])
    backbone = built(arch=arch, linear_pw_conv=False, norm_cfg=dict(type='LN2d', eps=1e-6))
    maps = backbone(torch.randn(1, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == [(8, 16, 24), (16, 8, 12), (24, 4, 6), (32, 2, 3)]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(gap_before_final_norm=True), 'expected gap_before_final_norm=False, got True'),
        (dict(stem_patch_size=2), 'expected stem_patch_size=4, got 2'),
        (dict(act_cfg=dict(type='ReLU')), 'expected act_cfg='),
        (dict(norm_cfg=dict(type='BN')), 'expected norm_cfg='),
        (dict(arch=dict(depths=[1], channels=[8])), 'expected four positive integers'),
    ],
)
def test_what_the_backbone_has_not(options: dict, message: str) -> None:
    given = {**SMALL, **options}
    with pytest.raises(InputError, match=message):
        MODELS.get(given.pop('type'))(**given)


def test_it_is_registered_once_and_not_beside_mmpretrain_itself(monkeypatch) -> None:
    registry = MODELS.children[SCOPE]
    register()
    assert MODELS.children[SCOPE] is registry
    monkeypatch.setattr(MODELS, '_children', {key: value for key, value in MODELS.children.items() if key != SCOPE})
    monkeypatch.setattr('convnext_dense.weights.mmpretrain.find_spec', lambda name: object())
    register()
    assert SCOPE not in MODELS.children

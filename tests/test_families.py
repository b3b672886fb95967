"""Other backbones in the same heads."""

import pytest
import torch
from rich.table import Table

from convnext_dense.benchmark import families
from convnext_dense.benchmark.contest import prepare
from convnext_dense.benchmark.families import HEADS, built, config_of, rival_table, upernet
from convnext_dense.text import table_text


@pytest.fixture(scope='module', autouse=True)
def registered() -> None:
    prepare()


@pytest.mark.parametrize('name', ['ResNet-50', 'Swin-T', 'ConvNeXt-T', 'ConvNeXt isotropic S'])
@pytest.mark.parametrize('head', HEADS)
def test_each_backbone_fits_its_heads(head: str, name: str) -> None:
    cfg = config_of(head, families.families()[name])
    wanted = dict(ResNet='ResNet', Swin='SwinTransformer', ConvNeXt='ConvNeXt')[name.partition('-')[0].split()[0]]
    model = built(cfg).eval()
    assert wanted in type(model.backbone).__name__
    owner = 'convnext_dense' if 'ConvNeXt' in name else 'mmseg' if head == 'UperNet' else 'mmdet'
    assert type(model.backbone).__module__.partition('.')[0] == owner
    with torch.no_grad():
        maps = model.extract_feat(torch.zeros(1, 3, 64, 64))
    assert [tuple(x.shape[2:]) for x in maps][:4] == [(16, 16), (8, 8), (4, 4), (2, 2)]
    if head == 'UperNet':
        with torch.no_grad():
            assert model.decode_head(maps).shape == (1, 150, 16, 16)


def test_figures_of_the_paper() -> None:
    """Tables 3 and 4: UperNet's and Cascade Mask R-CNN's parameters in millions and multiply-adds in billions."""
    found = {name: (family.upernet, family.cascade) for name, family in families.families().items()}
    assert found['ConvNeXt-T'] == ((60, 939), (86, 741)) and found['ConvNeXt-B'] == ((122, 1170), (146, 964))
    assert found['Swin-T'] == ((60, 945), (86, 745)) and found['Swin-B'] == ((121, 1188), (145, 982))
    assert found['ResNet-50'] == (None, None)


def test_the_table(monkeypatch) -> None:
    some = {name: family for name, family in families.families().items() if name in ('Swin-T', 'ResNet-50')}
    monkeypatch.setattr(families, 'families', lambda: some)
    monkeypatch.setattr(families, 'built', lambda cfg: cfg)
    monkeypatch.setattr(families, 'count_of', lambda model, height, width: (60_000_000, 950_000_000_000))
    table = rival_table(lambda line: None)
    assert isinstance(table, Table)
    text = table_text(table)
    assert '| UperNet Swin-T               | 512x2048 | 60.0 M | 60 M      | 950.0 G       | 945 G     | +0.53 %' in text
    assert 'Cascade Mask R-CNN ResNet-50 | 1280x800' in text


@pytest.mark.slow
def test_swins_multiply_adds() -> None:
    """Counted at a tenth of the pixels, where its windows are as full: the published grow by the pixels."""
    family = families.families()['Swin-T']
    params, macs = families.count_of(built(config_of('UperNet', family)), 448, 448)
    assert round(params / 1e6) == 60 and macs / (448 * 448) == pytest.approx(945e9 / (512 * 2048), rel=0.02)


def test_a_contender() -> None:
    contender = upernet('ResNet-50')
    contender.model.eval()
    with torch.no_grad():
        assert contender.infer(torch.zeros(1, 3, 64, 64)).shape == (1, 150, 64, 64)

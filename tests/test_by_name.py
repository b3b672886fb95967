"""Strict loading of backbones without a table of layouts."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import resnet50

from convnext_dense import InputError, IsotropicConvNeXt, RoadmapNet
from convnext_dense.weights.by_name import described, load_by_name, read_by_name, step_hint, steps_that_fit
from convnext_dense.weights.load import check_whole_model


@pytest.fixture(scope='module')
def resnet_file(tmp_path_factory) -> Path:
    """As torchvision publishes them."""
    file = tmp_path_factory.mktemp('resnet') / 'resnet50.pth'
    torch.save(resnet50().state_dict(), file)
    return file


def test_torchvisions_file(resnet_file: Path, logged: list[str]) -> None:
    net = RoadmapNet('enhanced', init_cfg=dict(type='Pretrained', checkpoint=str(resnet_file)))
    net.init_weights()
    state = torch.load(resnet_file)
    assert torch.equal(net.stages[2][5].conv2.weight, state['layer3.5.conv2.weight'])
    assert torch.equal(net.stages[1][0].shortcut[1].running_var, state['layer2.0.downsample.1.running_var'])
    (line,) = [line for line in logged if 'loaded' in line]
    assert line.startswith('backbone: loaded 265 of 265 from ') and line.endswith('left out: fc')
    assert len([n for n in net.state_dict() if not n.endswith('num_batches_tracked')]) == 265


def test_older_files_have_no_counters(resnet_file: Path, tmp_path: Path) -> None:
    state = {name: value for name, value in torch.load(resnet_file).items() if not name.endswith('num_batches_tracked')}
    torch.save(state, tmp_path / 'old.pth')
    load_by_name(RoadmapNet('original'), checkpoint=str(tmp_path / 'old.pth'))


def test_a_checkpoint_of_another_step(resnet_file: Path, tmp_path: Path) -> None:
    torch.save(dict(state_dict=RoadmapNet('gelu').state_dict()), tmp_path / 'gelu.pth')
    steps = ' or '.join(f"step='{step}', size='tiny'" for step in ('kernel7', 'gelu', 'one_act'))
    with pytest.raises(InputError) as caught:
        read_by_name(RoadmapNet('width', 'base'), checkpoint=str(tmp_path / 'gelu.pth'))
    assert "do not fit RoadmapNet(step='width', size='base')" in str(caught.value)
    assert str(caught.value).endswith(f'; the file fits {steps}')
    with pytest.raises(InputError, match=r"the file fits step='original', size='tiny' or step='enhanced', size='tiny'$"):
        read_by_name(RoadmapNet('ratio'), checkpoint=str(resnet_file))


def test_which_steps_fit() -> None:
    assert steps_that_fit(RoadmapNet('depthwise', 'base').state_dict()) == [('depthwise', 'base')]
    assert steps_that_fit({}) == [] and step_hint(RoadmapNet(), {'a': torch.zeros(1)}) == ''


def test_what_else_does_not_fit_is_not_the_step(tmp_path: Path) -> None:
    torch.save(RoadmapNet('kernel7').state_dict(), tmp_path / 'kernel7.pth')
    with pytest.raises(InputError, match=r'1 of another shape: downsample_layers.0.0.weight is .*\)$'):
        read_by_name(RoadmapNet('kernel7', in_channels=4), checkpoint=str(tmp_path / 'kernel7.pth'))


def test_half_an_output_norm(tmp_path: Path) -> None:
    state = RoadmapNet().state_dict()
    del state['norm2.bias']
    torch.save(state, tmp_path / 'half.pth')
    with pytest.raises(InputError, match='1 missing: norm2.bias'):
        read_by_name(RoadmapNet(), checkpoint=str(tmp_path / 'half.pth'))
    del state['norm2.weight']
    torch.save(state, tmp_path / 'none.pth')
    read_by_name(RoadmapNet(), checkpoint=str(tmp_path / 'none.pth'))  # which stays as initialised


def test_a_whole_model_of_another_step(tmp_path: Path) -> None:
    state = {f'backbone.{name}': value for name, value in RoadmapNet('patchify').state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'model.pth')
    model = nn.Module()
    model.backbone = RoadmapNet('depthwise')
    with pytest.raises(InputError, match="; the file fits step='patchify', size='tiny'$"):
        check_whole_model(tmp_path / 'model.pth', model)
    load_by_name(RoadmapNet('patchify'), checkpoint=str(tmp_path / 'model.pth'))  # its backbone


def test_an_isotropic_one(tmp_path: Path) -> None:
    """With the official code's head; the output norm comes along."""
    net = IsotropicConvNeXt()
    state = net.state_dict() | {'head.weight': torch.zeros(10, 384), 'head.bias': torch.zeros(10)}
    torch.save(dict(model=state), tmp_path / 'iso.pth')
    other = IsotropicConvNeXt(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'iso.pth')))
    other.init_weights()
    assert all(torch.equal(value, state[name]) for name, value in other.state_dict().items())
    with pytest.raises(InputError, match='do not fit IsotropicConvNeXt: '):
        read_by_name(IsotropicConvNeXt('base'), checkpoint=str(tmp_path / 'iso.pth'))
    assert described(net) == 'IsotropicConvNeXt'


def test_what_is_no_weights(tmp_path: Path) -> None:
    net = RoadmapNet('width')
    torch.save(dict(state_dict={'conv.weight': torch.zeros(3)}), tmp_path / 'other.pth')
    with pytest.raises(InputError, match='1 unexpected: conv.weight'):
        read_by_name(net, checkpoint=str(tmp_path / 'other.pth'))
    with pytest.raises(InputError, match="prefix: expected the beginning of names, got 'x.'; the names are conv.weight"):
        read_by_name(net, checkpoint=str(tmp_path / 'other.pth'), prefix='x.')
    with pytest.raises(InputError, match='init_cfg: expected type, checkpoint and optionally prefix'):
        read_by_name(net, checkpoint=str(tmp_path / 'other.pth'), map_location='cpu')
    state = net.state_dict()
    state['stages.0.0.conv1.weight'][0] = float('nan')
    torch.save(state, tmp_path / 'nan.pth')
    with pytest.raises(InputError, match='expected finite weights, got NaN'):
        read_by_name(net, checkpoint=str(tmp_path / 'nan.pth'))

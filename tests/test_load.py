"""Loading weights: all of them or none, and one clear line otherwise."""

import pytest
import torch
from mmengine.registry import MODELS

from convnext_dense import ConvNeXt, InputError
from convnext_dense.run.preflight import check_weights
from convnext_dense.weights import load

SMALL = dict(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32))


def official(arch=SMALL, **extra) -> dict:
    """A state dict as the official classification files hold it."""
    state = {
        name: torch.randn_like(value) for name, value in ConvNeXt(arch).state_dict().items() if not name.startswith('norm')
    }
    width = state['downsample_layers.3.1.bias'].shape[0]
    head = {'norm.weight': torch.ones(width), 'norm.bias': torch.zeros(width), 'head.weight': torch.ones(5, width)}
    return {**state, **head, 'head.bias': torch.zeros(5), **extra}


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / 'convnext.pth'
    torch.save({'model': official()}, path)
    return path


def build(path, **kwargs) -> ConvNeXt:
    model = MODELS.build(dict(type='ConvNeXt', arch=SMALL, init_cfg=dict(type='Pretrained', checkpoint=str(path)), **kwargs))
    model.init_weights()
    return model


def test_official_file_loads_whole_and_says_so(checkpoint, logged) -> None:
    model = build(checkpoint)
    state = torch.load(checkpoint)['model']
    own = model.state_dict()
    for name, value in state.items():
        if name in own:
            torch.testing.assert_close(own[name], value, rtol=0, atol=0)
    total = sum(not name.startswith('norm') for name in own)
    assert f'loaded {total} of {total} (layout: official)' in (told := logged[-1])
    assert 'initialised: norm0, norm1, norm2, norm3; left out: head, norm' in told
    assert model.is_init


@pytest.mark.parametrize('wrap', [lambda s: s, lambda s: {'state_dict': s}, lambda s: {'model': s, 'epoch': 3}])
def test_wrappers(tmp_path, wrap) -> None:
    torch.save(wrap(official()), tmp_path / 'a.pth')
    build(tmp_path / 'a.pth')


def test_prefix_is_cut(tmp_path) -> None:
    state = {f'backbone.{name}': value for name, value in official().items()}
    torch.save({'state_dict': {**state, 'decode_head.weight': torch.ones(1)}}, tmp_path / 'a.pth')
    model = ConvNeXt(SMALL, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth'), prefix='backbone.'))
    model.init_weights()
    torch.testing.assert_close(model.stages[0][0].gamma.data, state['backbone.stages.0.0.gamma'])


def test_fewer_output_norms_leave_the_others_out(tmp_path, logged) -> None:
    torch.save(ConvNeXt(SMALL).state_dict(), tmp_path / 'a.pth')
    build(tmp_path / 'a.pth', out_indices=(3,))
    assert 'left out: norm0, norm1, norm2' in logged[-1]


@pytest.mark.parametrize(
    'spoil, message',
    [
        (lambda s: s.pop('stages.2.1.gamma'), '1 missing: stages.2.1.gamma'),
        (lambda s: s.update({'stages.2.9.gamma': torch.ones(24)}), '1 unexpected: stages.2.9.gamma'),
        (lambda s: s.update({'stages.0.0.gamma': torch.ones(9)}), r'stages.0.0.gamma is \(9,\), expected \(8,\)'),
    ],
)
def test_a_file_that_does_not_fit_stops(tmp_path, spoil, message) -> None:
    state = official()
    spoil(state)
    torch.save({'model': state}, tmp_path / 'a.pth')
    with pytest.raises(InputError, match=message):
        build(tmp_path / 'a.pth')


def test_another_size_is_named(tmp_path) -> None:
    torch.save({'model': official('atto')}, tmp_path / 'a.pth')
    with pytest.raises(InputError, match="do not fit ConvNeXt.arch='femto'.*the file fits arch='atto'"):
        load.match_or_stop(ConvNeXt('femto'), str(tmp_path / 'a.pth'))


def test_nothing_is_loaded_where_something_is_wrong(tmp_path) -> None:
    state = official()
    state.pop('stages.3.0.gamma')
    torch.save(state, tmp_path / 'a.pth')
    model = ConvNeXt(SMALL, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth')))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InputError, match='1 missing: stages.3.0.gamma'):
        model.init_weights()
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_a_whole_model_is_compared_in_every_tensor(tmp_path) -> None:
    model = ConvNeXt(SMALL)
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, tmp_path / 'a.pth')
    load.check_whole_model(tmp_path / 'a.pth', model)
    with pytest.raises(InputError, match='does not fit this ConvNeXt: .*of another shape'):
        load.check_whole_model(tmp_path / 'a.pth', ConvNeXt(dict(SMALL, dims=(16, 16, 24, 32))))
    with pytest.raises(InputError, match='unexpected: stages.2.1'):
        load.check_whole_model(tmp_path / 'a.pth', ConvNeXt(dict(SMALL, depths=(1, 1, 1, 1))))


def test_weights_that_are_no_numbers(tmp_path) -> None:
    state = official()
    state['stages.1.0.pwconv1.bias'][3] = float('nan')
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(InputError, match=r'finite weights, got NaN or infinity in stages.1.0.pwconv1.bias \(1 of 64\)'):
        build(tmp_path / 'a.pth')
    whole = ConvNeXt(SMALL)
    torch.nn.init.constant_(whole.norm0.bias, float('inf'))
    torch.save(whole.state_dict(), tmp_path / 'b.pth')
    with pytest.raises(InputError, match='infinity in norm0.bias'):
        load.check_whole_model(tmp_path / 'b.pth', ConvNeXt(SMALL))


def test_the_other_version_is_named(tmp_path) -> None:
    torch.save(ConvNeXt(SMALL, use_grn=True).state_dict(), tmp_path / 'v2.pth')
    with pytest.raises(InputError, match='expected V1 weights, got V2; set use_grn=True in the backbone'):
        build(tmp_path / 'v2.pth')
    build(tmp_path / 'v2.pth', use_grn=True)
    torch.save(official(), tmp_path / 'v1.pth')
    with pytest.raises(InputError, match='expected V2 weights, got V1; set use_grn=False'):
        build(tmp_path / 'v1.pth', use_grn=True)


def test_weights_of_something_else(tmp_path) -> None:
    torch.save({'layer1.0.conv1.weight': torch.ones(2)}, tmp_path / 'resnet.pth')
    with pytest.raises(InputError, match='one of the layouts official, .*timm.*; got tensors named layer1.0.conv1.weight'):
        build(tmp_path / 'resnet.pth')


@pytest.mark.parametrize(
    'wrap', [lambda s: {'model_ema': s}, lambda s: {'state_dict_ema': s}, lambda s: {'state_dict': {'model': s}}]
)
def test_more_wrappers_and_prefixes(tmp_path, wrap) -> None:
    torch.save(wrap({f'module.backbone.{name}': value for name, value in official().items()}), tmp_path / 'a.pth')
    build(tmp_path / 'a.pth')


def test_the_backbone_of_a_whole_model(tmp_path, logged) -> None:
    state = {f'backbone.{name}': value for name, value in ConvNeXt(SMALL).state_dict().items()}
    torch.save({'state_dict': {**state, 'decode_head.conv_seg.weight': torch.ones(2, 2, 1, 1)}}, tmp_path / 'a.pth')
    build(tmp_path / 'a.pth')
    assert 'left out: decode_head' in logged[-1] and 'initialised' not in logged[-1]


def test_heads_of_another_number_of_classes(tmp_path) -> None:
    from torch import nn

    def model(classes: int) -> nn.Module:
        whole = nn.Module()
        whole.backbone, whole.decode_head = ConvNeXt(SMALL), nn.Module()
        whole.decode_head.conv_seg = nn.Conv2d(4, classes, 1)
        return whole

    torch.save(model(7).state_dict(), tmp_path / 'a.pth')
    with pytest.raises(InputError, match='2 of another shape: .*conv_seg.*; --new-heads starts these layers anew'):
        load.check_whole_model(tmp_path / 'a.pth', model(3))
    fresh = load.check_whole_model(tmp_path / 'a.pth', model(3), new_heads=True)
    assert fresh == ['decode_head.conv_seg.weight', 'decode_head.conv_seg.bias']
    assert load.check_whole_model(tmp_path / 'a.pth', model(7), new_heads=True) == []


@pytest.mark.parametrize(
    'options, message',
    [
        ({}, r"init_cfg: expected type, checkpoint and optionally prefix, got \['type'\]"),
        (dict(checkpoint=None), 'init_cfg: expected type, checkpoint and optionally prefix'),
        (dict(checkpoint='a.pth', map_location='cpu'), r"got \['checkpoint', 'map_location', 'type'\]"),
        (dict(checkpoint=5), 'checkpoint: expected a path, got 5'),
        (dict(checkpoint='a.pth', prefix=None), 'init_cfg: expected prefix to be the beginning of names, .*got None'),
        (dict(checkpoint='a.pth', prefix='no.'), r"prefix: expected the beginning of names, got 'no.'; the names are down"),
        (dict(checkpoint='a.pth', prefix='stages.'), 'one of the layouts official'),
    ],
)
@pytest.mark.parametrize('through', ['init_weights', 'check_weights'])
def test_an_init_cfg_that_cannot_be(tmp_path, monkeypatch, options: dict, message: str, through: str) -> None:
    from mmengine.config import Config

    monkeypatch.chdir(tmp_path)
    torch.save(official(), 'a.pth')
    model = ConvNeXt(SMALL, init_cfg=dict(type='Pretrained', **options))
    with pytest.raises(InputError, match=message):
        model.init_weights() if through == 'init_weights' else check_weights(Config(dict(model={})), model)
    model.init_cfg = [dict(type='Constant', val=0, layer='Conv2d'), model.init_cfg]
    with pytest.raises(InputError, match=message):
        model.init_weights() if through == 'init_weights' else check_weights(Config(dict(model={})), model)


def test_a_file_without_tensors(tmp_path) -> None:
    torch.save({'epoch': 3}, tmp_path / 'a.pth')
    with pytest.raises(InputError, match=r'one of the layouts .*; got tensors named \(none\)'):
        build(tmp_path / 'a.pth')


def test_a_path_object_is_a_path(tmp_path) -> None:
    torch.save(official(), tmp_path / 'a.pth')
    model = ConvNeXt(SMALL, init_cfg=dict(type='Pretrained', checkpoint=tmp_path / 'a.pth'))
    model.init_weights()


@pytest.mark.parametrize('of_class', [False, True])
def test_a_checkpoint_among_other_initialisers_is_loaded_strictly_and_last(tmp_path, of_class: bool) -> None:
    from mmengine.model import PretrainedInit

    state = official()
    torch.save(state, tmp_path / 'a.pth')
    pretrained = dict(type=PretrainedInit if of_class else 'Pretrained', checkpoint=str(tmp_path / 'a.pth'))
    model = ConvNeXt(SMALL, init_cfg=[pretrained, dict(type='Constant', val=0.5, layer=['Linear', 'LayerNorm2d'])])
    model.init_weights()
    assert model.is_init and model.norm0.weight.eq(0.5).all()  # which the file lacks
    assert torch.equal(model.stages[0][0].pwconv1.weight, state['stages.0.0.pwconv1.weight'])
    del state['stages.0.0.pwconv1.weight']
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(InputError, match='pwconv1'):
        model.init_weights()
    with pytest.raises(InputError, match=r"init_cfg: expected one dict\(type='Pretrained', checkpoint=...\), got 2"):
        ConvNeXt(SMALL, init_cfg=[pretrained, pretrained])


def test_statistics_that_differ_are_a_line_of_the_log(tmp_path) -> None:
    from mmengine.config import Config

    torch.save(official(), tmp_path / 'a.pth')
    (tmp_path / 'config.json').write_text('{"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}')
    model = ConvNeXt(SMALL, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth')))
    for std, lines in ((63.75, 0), (60.0, 1)):
        images = dict(mean=[127.5] * 3, std=[63.75, std, 63.75])
        assert len(check_weights(Config(dict(model=dict(data_preprocessor=images))), model)) == lines
    for images in (None, dict(), dict(mean=[1.0] * 3)):
        assert check_weights(Config(dict(model=dict(data_preprocessor=images))), model) == []


def test_a_module_that_is_no_backbone(checkpoint) -> None:
    with pytest.raises(InputError, match='backbone: expected a ConvNeXt, got Linear'):
        load.load_pretrained(torch.nn.Linear(2, 2), str(checkpoint))


def test_a_backbone_where_a_whole_model_is_expected(checkpoint) -> None:
    with pytest.raises(InputError, match='it holds a backbone alone, which training takes as --pretrained FILE'):
        load.check_whole_model(checkpoint, torch.nn.Sequential(ConvNeXt(SMALL), torch.nn.Linear(2, 2)))

"""Whole published models: every weight, heads too, in both directions, through the tools as well."""

import re
from pathlib import Path

import pytest
import torch
from conftest import QUICK, ROOT, SHAPES, SHAPES_COCO, call_tool, one_line, rounding
from mmengine.registry import MODELS, init_default_scope
from test_layouts import DEPTHS, DIMS, filled

from convnext_dense import ConvNeXt, InputError
from convnext_dense.run.options import load_config
from convnext_dense.run.preflight import build_on_meta
from convnext_dense.run.settle import settle_norms
from convnext_dense.weights.convert import TARGETS, convert
from convnext_dense.weights.layouts import LAYOUTS, from_official
from convnext_dense.weights.load import check_whole_model, whole_state
from convnext_dense.weights.whole import CLASS_LAYERS, model_type_of, to_whole

CLASSES, CHANNELS = 6, 64  # of the toy configuration, with the backbone atto


def build(path: str) -> torch.nn.Module:
    cfg = load_config(path)
    settle_norms(cfg, processes=1)
    init_default_scope(cfg.default_scope)
    return MODELS.build(cfg.model)


def transformers_upernet() -> torch.nn.Module:
    import transformers

    names = [f'stage{i}' for i in range(1, 5)]
    backbone = transformers.ConvNextConfig(hidden_sizes=list(DIMS), depths=list(DEPTHS), out_features=names)
    config = transformers.UperNetConfig(
        backbone_config=backbone, hidden_size=CHANNELS, num_labels=CLASSES, auxiliary_channels=32, auxiliary_in_channels=DIMS[2]
    )
    model = filled(transformers.UperNetForSemanticSegmentation(config))
    for name, buffer in model.named_buffers():
        if name.endswith('running_mean'):
            buffer.normal_()
        elif name.endswith('running_var'):
            buffer.uniform_(0.5, 2)
    return model


@torch.no_grad()
@pytest.mark.parametrize('size', [(64, 96), (128, 160)])
def test_upernet_of_transformers_gives_equal_logits(size: tuple[int, int]) -> None:
    theirs, ours = transformers_upernet(), build(SHAPES).eval()
    ours.load_state_dict(whole_state(theirs.state_dict()))
    x = torch.randn(2, 3, *size)
    expected = theirs(x)
    scale = expected.logits.abs().max()
    logits = ours.decode_head(ours.backbone(x))
    logits = torch.nn.functional.interpolate(logits, size=size, mode='bilinear', align_corners=False)
    assert scale > 0.1 and (logits - expected.logits).abs().max() < rounding(9 * 4 * 64) * scale  # the fusion's sums
    back = convert(ours.state_dict(), 'transformers')
    state = theirs.state_dict()
    assert back.left_out == [] and set(back.state) == set(state)
    assert all(torch.equal(back.state[name], state[name]) for name in state)


def official_names(depths: tuple[int, ...]) -> set[str]:
    """The backbone's names in the official release's files of detectors and segmentors."""
    layers = [f'downsample_layers.{i}.{j}' for i in range(4) for j in range(2)] + [f'norm{i}' for i in range(4)]
    blocks = [f'stages.{i}.{j}' for i, depth in enumerate(depths) for j in range(depth)]
    layers += [f'{block}.{layer}' for block in blocks for layer in ('dwconv', 'norm', 'pwconv1', 'pwconv2')]
    return {f'{layer}.{kind}' for layer in layers for kind in ('weight', 'bias')} | {f'{block}.gamma' for block in blocks}


# Of V2 none was published with its heads, of DINOv3 and the walk neither.
PUBLISHED = [path for path in sorted(ROOT.glob('configs/*.py')) if not re.search('convnextv2|dinov3|roadmap', path.stem)]


@pytest.mark.parametrize('path', PUBLISHED, ids=lambda path: path.stem)
def test_published_downstream_files_fit_in_every_tensor(path: Path, tmp_path, monkeypatch) -> None:
    """The official release's and OpenMMLab's files of each shipped model: their names, every weight, heads too."""
    import convnext_dense.weights.load as load

    cfg = load_config(str(path))
    settle_norms(cfg, processes=1)
    model = build_on_meta(cfg)
    own = dict(model.state_dict())
    for layout in ('official', 'openmmlab'):
        backbone = {name.removeprefix('backbone.'): value for name, value in own.items() if name.startswith('backbone.')}
        theirs, left = from_official(backbone, LAYOUTS[layout], model.backbone.arch.depths, False)
        heads = {name: value for name, value in own.items() if not name.startswith('backbone.')}
        content = dict(state_dict={f'backbone.{name}': value for name, value in theirs.items()} | heads, meta={})
        assert left == []
        if layout == 'openmmlab':
            assert 'backbone.stages.2.8.depthwise_conv.weight' in content['state_dict'] or 'atto' in path.stem
        else:  # whose names are this project's own: said here once more
            assert set(theirs) == official_names(model.backbone.arch.depths)
        monkeypatch.setattr(load, 'open_checkpoint', lambda path, content=content: content)
        monkeypatch.setattr(load, 'check_values', lambda state, own: None)  # there are no values on the meta device
        monkeypatch.setattr('convnext_dense.weights.open.check_plain', lambda name, value: None)
        assert check_whole_model('published.pth', model) == []
        content['state_dict'].popitem()
        with pytest.raises(InputError, match='1 missing'):
            check_whole_model('published.pth', model)


@pytest.mark.parametrize('target', ['official', 'openmmlab', 'timm', 'torchvision', 'transformers'])
def test_detectors_convert_where_the_target_has_them(target: str) -> None:
    state = build(SHAPES_COCO).state_dict()
    if target not in ('official', 'openmmlab'):
        with pytest.raises(InputError, match=f'--to {target}: expected a backbone, got a detector with RoI heads'):
            convert(state, target)
        return
    there = convert(state, target)
    back = whole_state(there.state)
    assert there.left_out == [] and set(back) == set(state)
    assert all(torch.equal(back[name], state[name]) for name in state)


SMALL = dict(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32))


def segmentor(classes: int = 3) -> torch.nn.Module:
    whole = torch.nn.Module()
    whole.backbone, whole.decode_head = ConvNeXt(SMALL), torch.nn.Module()
    whole.decode_head.conv_seg, whole.decode_head.bn = torch.nn.Conv2d(4, classes, 1), torch.nn.BatchNorm2d(4)
    return whole


def checked(folder: Path, state: dict, model: torch.nn.Module, classes: list[str] | None = None, **content) -> list[str]:
    new_heads = content.pop('new_heads', False)
    torch.save({'state_dict': state, **content}, folder / 'a.pth')
    return check_whole_model(folder / 'a.pth', model, classes, new_heads)


W, B, BN = (f'decode_head.{name}' for name in ('conv_seg.weight', 'conv_seg.bias', 'bn'))


@pytest.mark.parametrize(
    'name, change, message',
    [
        (f'{BN}.running_var', -torch.ones(4), f'{BN}.running_var: expected variances of 0 or more, got -1'),
        (f'{BN}.running_mean', torch.full((4,), torch.nan), f'NaN or infinity in {BN}.running_mean'),
        (f'{BN}.num_batches_tracked', torch.tensor(1.0), f'{BN}.num_batches_tracked: expected one of int8'),
        (W, torch.ones(3, 4, 1, 1, dtype=torch.int64), f'{W}: expected one of float16'),
        (W, torch.ones(3, 4, 1, 1).to_sparse(), f'{W}: expected a dense tensor'),
        (B, torch.tensor(1.0), rf'{B}'),
        ('backbone.stages.2.1.gamma', None, 'backbone.stages.2.1.gamma|missing: stages.2.1.gamma'),
        ('backbone.stages.2.5.gamma', torch.ones(24), 'stages.2.5.gamma'),
        ('foo', torch.ones(1), 'foo'),
    ],
)
def test_one_wrong_tensor_of_a_whole_model(tmp_path, name: str, change, message: str) -> None:
    state = {**segmentor().state_dict(), name: change}
    state = {name: value for name, value in state.items() if value is not None}
    for use in (lambda: checked(tmp_path, state, segmentor()), lambda: convert(state, 'openmmlab')):
        with pytest.raises(InputError, match=message) as caught:
            use()
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    'name, value, fresh',
    [
        (W, torch.ones(7, 4, 1, 1), True),
        (B, torch.ones(7), True),
        (W, torch.ones(7, 5, 1, 1), False),  # another width of the head
        (W, torch.ones(7, 4), False),
        (B, torch.tensor(1.0), False),
        (f'{BN}.weight', torch.ones(5), False),  # no layer of the classes
        ('backbone.stages.0.0.gamma', torch.ones(9), False),
    ],
)
def test_new_heads_are_those_of_other_classes_alone(tmp_path, name: str, value: torch.Tensor, fresh: bool) -> None:
    state = {**segmentor().state_dict(), name: value}
    hint = '--new-heads starts these layers anew' if fresh else 'use the config that it was trained with'
    with pytest.raises(InputError, match=rf'1 of another shape: {name} is .*; {hint}'):
        checked(tmp_path, state, segmentor())
    if fresh:
        assert checked(tmp_path, state, segmentor(), new_heads=True) == [name]
        with pytest.raises(InputError, match='1 unexpected: foo; use the config'):
            checked(tmp_path, state | {'foo': value}, segmentor(), new_heads=True)
        with pytest.raises(InputError, match=f'1 missing: {BN}.bias; use the config'):
            checked(tmp_path, {k: v for k, v in state.items() if k != f'{BN}.bias'}, segmentor(), new_heads=True)
    else:
        with pytest.raises(InputError, match=f'1 of another shape: {name}'):
            checked(tmp_path, state, segmentor(), new_heads=True)


@pytest.mark.parametrize('layer', ['conv_seg', 'fc_cls', 'fc_reg', 'conv_logits'])
@pytest.mark.parametrize('part', ['weight', 'bias'])
def test_the_layers_of_the_classes(layer: str, part: str) -> None:
    assert CLASS_LAYERS.search(f'roi_head.0.{layer}.{part}')
    assert not CLASS_LAYERS.search(f'roi_head.{layer}.conv.{part}') and not CLASS_LAYERS.search(f'a.x{layer}.{part}')


ABC = ['a', 'b', 'c']


@pytest.mark.parametrize(
    'meta, message',
    [
        (None, None),
        ({}, None),
        ({'dataset_meta': None}, None),
        ({'dataset_meta': {}}, None),
        ({'dataset_meta': {'classes': None}}, None),
        ({'dataset_meta': {'classes': ()}}, None),
        ({'dataset_meta': {'classes': ('a', 'b', 'c')}}, None),
        ({'dataset_meta': {'classes': ABC}}, None),
        ({'dataset_meta': {'classes': ['a', 'c', 'b']}}, 'expected a, b, c; got a, c, b'),
        ({'dataset_meta': {'classes': ['a', 'b']}}, 'expected a, b, c; got a, b'),
        (5, 'meta: expected a dict, got int'),
        ('text', 'meta: expected a dict, got str'),
        ([], 'meta: expected a dict, got list'),
        ({'dataset_meta': 'text'}, 'dataset_meta: expected a dict, got str'),
        ({'dataset_meta': ['a']}, 'dataset_meta: expected a dict, got list'),
        ({'dataset_meta': {'classes': 'abc'}}, "classes: expected a list of names, got 'abc'"),
        ({'dataset_meta': {'classes': 3}}, 'expected a list of names'),
        ({'dataset_meta': {'classes': {'a': 1}}}, 'expected a list of names'),
        ({'dataset_meta': {'classes': [1, 2, 3]}}, 'expected a list of names'),
    ],
    ids=str,
)
def test_what_a_checkpoint_says_of_its_classes(tmp_path, meta, message: str | None) -> None:
    state = segmentor().state_dict()
    assert checked(tmp_path, state, segmentor(), meta=meta) == []
    if message is None:
        assert checked(tmp_path, state, segmentor(), ABC, meta=meta) == []
    else:
        with pytest.raises(InputError, match=message):
            checked(tmp_path, state, segmentor(), ABC, meta=meta)


def test_a_weight_of_two_names() -> None:
    """One name after the backbone's own, or the heads', are translated."""
    state = {name.replace('backbone.', 'module.backbone.'): v for name, v in segmentor().state_dict().items()}
    with pytest.raises(InputError, match='expected each weight once, got two of the same meaning: backbone.norm0.bias'):
        to_whole(state | {'backbone.norm0.bias': torch.ones(8)})
    theirs = transformers_upernet().state_dict()
    name = next(name for name in theirs if '.batch_norm.' in name)
    with pytest.raises(InputError, match='expected each weight once'):
        to_whole(theirs | {name.replace('.batch_norm.', '.bn.'): theirs[name]})


@pytest.mark.parametrize(
    'head, kind', [('decode_head', 'a segmentor'), ('roi_head', 'a detector with RoI heads'), ('bbox_head', 'a detector')]
)
def test_kinds(head: str, kind: str) -> None:
    state = {name.replace('decode_head', head): value for name, value in segmentor().state_dict().items()}
    assert model_type_of(state) == kind == to_whole(state).model_type
    assert model_type_of({f'x{name}': 1 for name in state}) is None
    for target in TARGETS:
        if target in ('timm', 'torchvision') or (target == 'transformers' and kind != 'a segmentor'):
            with pytest.raises(InputError, match=f'--to {target}: expected a backbone, got {kind}, .*to official or openmmlab'):
                convert(state, target)
        else:
            assert convert(state, target).left_out == []


@pytest.mark.slow
def test_the_tools_take_a_published_model(tool, shapes: str, tmp_path) -> None:
    """transformers' UperNet as --load-from, and tested as it is; heads of other classes start anew when asked to."""
    theirs = transformers_upernet()
    theirs.save_pretrained(tmp_path / 'upernet')
    args = ['--data-root', shapes, '--work-dir', str(tmp_path / 'run'), '--cfg-options', *QUICK]
    tested = call_tool('test', SHAPES, str(tmp_path / 'upernet' / 'model.safetensors'), *args)
    assert tested.returncode == 0, tested.stderr
    assert 'mIoU' in tested.stdout.splitlines()[-1]
    source = str(tmp_path / 'upernet' / 'model.safetensors')
    schedule = ['train_cfg.max_iters=1', 'train_cfg.val_interval=1', 'default_hooks.checkpoint.interval=1']
    trained = call_tool('train', SHAPES, '--load-from', source, *args, *schedule)
    assert trained.returncode == 0, trained.stderr
    total = len(theirs.state_dict())
    assert f'model: loaded {total} of {total} tensors from {source}' in trained.stdout
    torch.save(
        {name: torch.cat([v, v]) if '.classifier.' in name else v for name, v in theirs.state_dict().items()},
        tmp_path / 'a.pth',
    )
    base = ['--data-root', shapes, '--work-dir', str(tmp_path / 'other'), '--load-from', str(tmp_path / 'a.pth')]
    one_line(*tool('train', SHAPES, *base), '4 of another shape: .*conv_seg.*; --new-heads starts these layers anew')
    done = call_tool('train', SHAPES, *base, '--new-heads', '--cfg-options', *QUICK, *schedule)
    assert done.returncode == 0, done.stderr
    assert 'started anew (--new-heads): decode_head.conv_seg.weight, decode_head.conv_seg.bias, auxiliary_head' in done.stdout
    assert f'model: loaded {total - 4} of {total} tensors' in done.stdout
    one_line(*tool('train', SHAPES, '--data-root', shapes, '--new-heads'), '--new-heads: expected --load-from FILE with it')

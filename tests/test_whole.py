"""Whole published models: every weight, heads too, in both directions, through the tools as well."""

from pathlib import Path

import pytest
import torch
from conftest import QUICK, ROOT, SHAPES, SHAPES_COCO, one_line, run_tool
from mmengine.registry import MODELS, init_default_scope
from test_layouts import DEPTHS, DIMS, filled

from convnext_dense import InputError
from convnext_dense.tooling.options import load_config
from convnext_dense.tooling.settle import settle_norms
from convnext_dense.training.guards import build_on_meta
from convnext_dense.weights.convert import convert
from convnext_dense.weights.layouts import LAYOUTS, from_official
from convnext_dense.weights.load import check_whole_model, whole_state

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
    assert scale > 0.1 and (logits - expected.logits).abs().max() < 1e-5 * scale
    back = convert(ours.state_dict(), 'transformers')
    state = theirs.state_dict()
    assert back.left_out == [] and set(back.state) == set(state)
    assert all(torch.equal(back.state[name], state[name]) for name in state)


@pytest.mark.parametrize('path', sorted(ROOT.glob('configs/*.py')), ids=lambda path: path.stem)
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


@pytest.mark.slow
def test_the_tools_take_a_published_model(tool, shapes: str, tmp_path) -> None:
    """transformers' UperNet as --load-from, and tested as it is; heads of other classes start anew when asked to."""
    theirs = transformers_upernet()
    theirs.save_pretrained(tmp_path / 'upernet')
    args = ['--data-root', shapes, '--work-dir', str(tmp_path / 'run'), '--cfg-options', *QUICK]
    tested = run_tool('test', SHAPES, str(tmp_path / 'upernet' / 'model.safetensors'), *args)
    assert tested.returncode == 0, tested.stderr
    assert 'mIoU' in tested.stdout.splitlines()[-1]
    source = str(tmp_path / 'upernet' / 'model.safetensors')
    schedule = ['train_cfg.max_iters=1', 'train_cfg.val_interval=1', 'default_hooks.checkpoint.interval=1']
    trained = run_tool('train', SHAPES, '--load-from', source, *args, *schedule)
    assert trained.returncode == 0, trained.stderr
    total = len(theirs.state_dict())
    assert f'model: loaded {total} of {total} tensors from {source}' in trained.stdout
    torch.save(
        {name: torch.cat([v, v]) if '.classifier.' in name else v for name, v in theirs.state_dict().items()},
        tmp_path / 'a.pth',
    )
    base = ['--data-root', shapes, '--work-dir', str(tmp_path / 'other'), '--load-from', str(tmp_path / 'a.pth')]
    one_line(*tool('train', SHAPES, *base), '4 of another shape: .*conv_seg.*; --new-heads starts these layers anew')
    done = run_tool('train', SHAPES, *base, '--new-heads', '--cfg-options', *QUICK, *schedule)
    assert done.returncode == 0, done.stderr
    assert 'started anew (--new-heads): decode_head.conv_seg.weight, decode_head.conv_seg.bias, auxiliary_head' in done.stdout
    assert f'model: loaded {total - 4} of {total} tensors' in done.stdout
    one_line(*tool('train', SHAPES, '--data-root', shapes, '--new-heads'), '--new-heads: expected --load-from FILE with it')

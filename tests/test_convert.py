"""tools/convert_weights.py: what a file is, and from any layout into another."""

import json
from pathlib import Path

import pytest
import torch
from conftest import one_line
from safetensors.torch import load_file, save_file
from test_layouts import PEERS, classification, filled

from convnext_dense import ConvNeXt
from convnext_dense.weights.convert import TARGETS, inspect
from convnext_dense.weights.stats import CLIP, IMAGENET, differs, expected_stats


def told(path: Path) -> dict[str, str]:
    return dict(inspect(str(path)))


@pytest.mark.parametrize('name', PEERS)
def test_inspect_names_what_each_library_wrote(name: str, tmp_path) -> None:
    peer = PEERS[name]
    model = filled(peer.build())
    if hasattr(model, 'save_pretrained'):
        model.save_pretrained(tmp_path)
        path = tmp_path
    else:
        path = tmp_path / 'weights.pth'
        torch.save(model.state_dict(), path)
    rows = told(path)
    assert rows['layout'].startswith(f'{peer.layout} (')
    assert rows['arch'] == f'{peer.arch}, {"V2" if peer.grn else "V1"}'
    assert rows['tensors'].startswith(f'{len(model.state_dict())}, ')
    expected = {'OpenCLIP': CLIP, 'transformers DINOv3': IMAGENET}.get(name)
    assert rows['image mean and std'] == (f'{expected[0]}, {expected[1]}' if expected else 'not told by the file')


def test_inspect_on_the_command_line(capsys, tool, tmp_path) -> None:
    torch.save({'model': classification(False)}, tmp_path / 'a.pth')
    status, err = tool('convert_weights', str(tmp_path / 'a.pth'), '--inspect')
    assert (status, err) == (0, '')


@pytest.mark.parametrize('suffix', ['safetensors', 'pth'])
@pytest.mark.parametrize('target', TARGETS)
def test_there_and_back_through_files(tool, tmp_path, target: str, suffix: str) -> None:
    state = classification(False)
    torch.save({'model': state}, tmp_path / 'in.pth')
    there, back = tmp_path / f'there.{suffix}', tmp_path / 'back.safetensors'
    assert tool('convert_weights', str(tmp_path / 'in.pth'), str(there), '--to', target) == (0, '')
    assert tool('convert_weights', str(there), str(back), '--to', 'official') == (0, '')
    found = load_file(back)
    assert set(found) == set(state) and all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize(
    'args, message',
    [
        (['in.pth'], 'expected IN OUT --to LAYOUT, or IN --inspect'),
        (['in.pth', 'out.pth'], 'expected IN OUT --to LAYOUT'),
        (['in.pth', 'in.pth', '--to', 'timm'], 'OUT: expected a new file in an existing folder'),
        (['in.pth', 'nowhere/out.pth', '--to', 'timm'], 'OUT: expected a new file in an existing folder'),
        (['in.pth', 'out.onnx', '--to', 'timm'], 'ending in .safetensors, .pth'),
        (['missing.pth', 'out.pth', '--to', 'timm'], 'expected a file, got .*missing.pth which is not there'),
        (['resnet.pth', 'out.pth', '--to', 'timm'], 'resnet.pth: expected ConvNeXt weights in one of the layouts'),
        (['resnet.pth', '--inspect'], 'resnet.pth: expected ConvNeXt weights in one of the layouts'),
        (['v2.pth', 'out.pth', '--to', 'torchvision'], 'expected V1 weights, got V2'),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, list) else '',
)
def test_wrong_arguments(tool, tmp_path, monkeypatch, args: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({'model': classification(False)}, 'in.pth')
    torch.save({'model': classification(True)}, 'v2.pth')
    torch.save({'layer1.0.conv1.weight': torch.ones(3)}, 'resnet.pth')
    before = sorted(path.name for path in tmp_path.iterdir())
    one_line(*tool('convert_weights', *args), message)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_mean_and_std_beside_the_file(tmp_path) -> None:
    state = ConvNeXt('atto').state_dict()
    save_file(state, tmp_path / 'model.safetensors')
    for name, content in (
        ('config.json', dict(pretrained_cfg=dict(mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6]))),
        ('preprocessor_config.json', dict(image_mean=[0.7, 0.7, 0.7], image_std=[0.2, 0.2, 0.2])),
    ):
        (tmp_path / name).write_text(json.dumps(content))
        values = list(content.get('pretrained_cfg', content).values())
        assert told(tmp_path / 'model.safetensors')['image mean and std'] == f'{tuple(values[0])}, {tuple(values[1])}'
    (tmp_path / 'preprocessor_config.json').write_text('no json')
    (tmp_path / 'config.json').unlink()
    from convnext_dense.weights.layouts import recognise

    assert expected_stats(str(tmp_path / 'model.safetensors'), state, recognise(state)) is None


def test_other_statistics_than_the_configs_are_told() -> None:
    ours = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    assert differs(IMAGENET, *ours) is None
    assert 'trained with mean=[122.771, 116.746, 104.094], std=[68.501, 66.632, 70.323]; the config has' in differs(CLIP, *ours)


@pytest.mark.slow
def test_training_starts_from_any_layout_and_says_so(shapes: str, tmp_path) -> None:
    """From timm's file by --pretrained; from OpenCLIP's, whose image statistics differ."""
    from conftest import QUICK, SHAPES, run_tool

    schedule = ['train_cfg.max_iters=1', 'train_cfg.val_interval=1']
    save_file(filled(PEERS['timm with 1x1 convolutions'].build()).state_dict(), tmp_path / 'timm.safetensors')
    torch.save(filled(PEERS['OpenCLIP'].build()).state_dict(), tmp_path / 'clip.bin')
    for name, more in (('timm.safetensors', 'left out: head, norm'), ('clip.bin', 'images: these weights were trained')):
        args = ['--data-root', shapes, '--work-dir', str(tmp_path / 'run' / name), '--pretrained', str(tmp_path / name)]
        done = run_tool('train', SHAPES, *args, '--cfg-options', *QUICK, *schedule)
        assert done.returncode == 0, done.stderr
        assert f'backbone: loaded 124 of 124 (layout: timm) from {tmp_path / name}' in done.stdout
        assert 'initialised: norm0, norm1, norm2, norm3' in done.stdout and more in done.stdout

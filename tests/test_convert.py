"""The command convert: what a file is, and from any layout into another."""

from pathlib import Path

import pytest
import torch
from conftest import QUICK, SHAPES, call_tool, one_line
from safetensors.torch import load_file, save_file
from test_layouts import PEERS, classification, filled

from convnext_dense import ConvNeXt, InputError
from convnext_dense.weights.convert import TARGETS, check_target, convert, inspect, write
from convnext_dense.weights.stats import CLIP, IMAGENET


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


def test_inspect_on_the_command_line(tmp_path) -> None:
    torch.save({'model': classification(False)}, tmp_path / 'a.pth')
    done = call_tool('convert', str(tmp_path / 'a.pth'), '--inspect')
    assert (done.returncode, done.stderr) == (0, '')
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in done.stdout.splitlines()]
    rows = dict(cell for cell in cells if len(cell) == 2)
    assert rows.items() >= told(tmp_path / 'a.pth').items()


@pytest.mark.parametrize('suffix', ['safetensors', 'pth'])
@pytest.mark.parametrize('target', TARGETS)
def test_there_and_back_through_files(tool, tmp_path, target: str, suffix: str) -> None:
    state = classification(False)
    torch.save({'model': state}, tmp_path / 'in.pth')
    there, back = tmp_path / f'there.{suffix}', tmp_path / 'back.safetensors'
    done = call_tool('convert', str(tmp_path / 'in.pth'), str(there), '--to', target)
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.startswith(f'{there}: {len(state)} tensors, official to {target}, of no published size: ')
    assert tool('convert', str(there), str(back), '--to', 'official') == (0, '')
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
        (['in.pth', 'folder.pth', '--to', 'timm'], 'OUT: expected a new file in an existing folder'),
        (['in.pth', 'link.pth', '--to', 'timm'], 'OUT: expected a new file in an existing folder'),
        (['in.pth', 'out.SAFETENSORS', '--to', 'timm'], 'OUT: expected a new file .*ending in .safetensors, .pth, .pt, .bin'),
        (['in.pth', 'in.pth/out.pth', '--to', 'timm'], 'OUT: expected the path of a new file, got in.pth/out.pth: Not a dir'),
        (['in.pth', f'{"x" * 300}.pth', '--to', 'timm'], 'OUT: expected the path of a new file, got x+.pth: .*too long'),
        (['in.pth', f'{"x" * 250}.pth', '--to', 'timm'], 'OUT: x+.pth cannot be written .*too long'),
        (['in.pth', 'out.pth', '--inspect'], '--inspect: expected IN alone'),
        (['in.pth', '--to', 'timm', '--inspect'], '--inspect: expected IN alone'),
        (
            ['half.pth', 'out.pth', '--to', 'official'],
            'half.pth: expected a whole backbone of depths .*1 missing: stages.3.0.gamma',
        ),
        (['int.pth', '--inspect'], 'int.pth: stages.3.0.gamma: expected a tensor, got list'),
        (['ftp://host/in.pth', '--inspect'], 'begins with http://'),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, list) else '',
)
def test_wrong_arguments(tool, tmp_path, monkeypatch, args: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({'model': classification(False)}, 'in.pth')
    torch.save({'model': classification(True)}, 'v2.pth')
    torch.save({'layer1.0.conv1.weight': torch.ones(3)}, 'resnet.pth')
    torch.save({name: v for name, v in classification(False).items() if name != 'stages.3.0.gamma'}, 'half.pth')
    torch.save(classification(False) | {'stages.3.0.gamma': [1.0]}, 'int.pth')
    Path('folder.pth').mkdir()
    Path('link.pth').symlink_to('nothing.pth')
    before = sorted(path.name for path in tmp_path.iterdir())
    one_line(*tool('convert', *args), message)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize('to', [None, 5, 'TIMM', 'dinov3', ['timm']])
def test_other_targets(to) -> None:
    with pytest.raises(InputError, match='--to: expected one of official, timm, torchvision, transformers, openmmlab, got'):
        convert(classification(False), to)


@pytest.mark.parametrize('path', [None, 5, b'a.pth', 'a\0.pth'], ids=repr)
def test_other_outs(path) -> None:
    with pytest.raises(InputError, match='OUT: expected the path of a new file, got'):
        check_target(path)


@pytest.mark.parametrize(
    'error', [OSError(28, 'No space left on device'), RuntimeError('writing failed\nat 5'), KeyboardInterrupt()]
)
@pytest.mark.parametrize('name, writer', [('a.pth', 'torch.save'), ('a.safetensors', 'safetensors.torch.save_file')])
def test_nothing_is_left_where_writing_fails(tmp_path, monkeypatch, name: str, writer: str, error: BaseException) -> None:
    def fail(state, path, **kwargs):
        Path(path if isinstance(path, Path) else path.name).write_text('half')
        raise error

    monkeypatch.setattr(writer, fail)
    expected = type(error) if isinstance(error, KeyboardInterrupt) else InputError
    with pytest.raises(expected) as caught:
        write(classification(False), tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    if expected is InputError:
        assert len(str(caught.value).splitlines()) == 1
        assert str(error.args[-1]).split('\n')[0] in str(caught.value) and str(tmp_path / name) in str(caught.value)


def test_what_is_there_stays(tmp_path) -> None:
    (tmp_path / 'a.pth').write_text('mine')
    (tmp_path / 'b.pth.partial').mkdir()
    with pytest.raises(InputError, match='OUT: .*a.pth'):
        write(classification(False), tmp_path / 'a.pth')
    write(classification(False), tmp_path / 'b.pth')
    write(classification(False), tmp_path / 'c.pth')
    assert (tmp_path / 'a.pth').read_text() == 'mine' and (tmp_path / 'b.pth.partial').is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.pth', 'b.pth', 'b.pth.partial', 'c.pth']
    assert (tmp_path / 'b.pth').read_bytes() == (tmp_path / 'c.pth').read_bytes(), 'whatever its name'


def test_what_was_converted_is_named(tmp_path) -> None:
    bare = {name: v for name, v in ConvNeXt('atto').state_dict().items() if not name.startswith('norm')}
    assert convert(bare, 'timm').size == 'atto, V1'
    assert convert(classification(True), 'timm').size == 'of no published size: depths (1, 2, 1, 1), dims (8, 16, 24, 32), V2'
    rows = dict(inspect_of(bare, tmp_path))
    assert (rows['arch'], rows['whole'], rows['model'], rows['prefix']) == ('atto, V1', 'yes', 'a backbone', 'none')
    assert (rows['output norms'], rows['beside the backbone']) == ('none', 'nothing')
    rows = dict(inspect_of({f'module.backbone.{n}': v.half() for n, v in ConvNeXt('atto').state_dict().items()}, tmp_path))
    assert (rows['prefix'], rows['output norms']) == ('backbone.', 'norm0, norm1, norm2, norm3')
    assert rows['tensors'] == '132, 3.375 M numbers, torch.float16'
    rows = dict(inspect_of(classification(False), tmp_path))
    assert rows['model'] == 'a backbone with a classification head' and rows['beside the backbone'] == 'head'


def inspect_of(state: dict, folder: Path) -> list[tuple[str, str]]:
    torch.save(state, folder / 'a.pth')
    return inspect(str(folder / 'a.pth'))


@pytest.mark.slow
def test_training_starts_from_any_layout_and_says_so(shapes: str, tmp_path) -> None:
    """From timm's file by --pretrained; from OpenCLIP's, whose image statistics differ."""
    schedule = ['train_cfg.max_iters=1', 'train_cfg.val_interval=1']
    save_file(filled(PEERS['timm with 1x1 convolutions'].build()).state_dict(), tmp_path / 'timm.safetensors')
    torch.save(filled(PEERS['OpenCLIP'].build()).state_dict(), tmp_path / 'clip.bin')
    for name, more in (('timm.safetensors', 'left out: head, norm'), ('clip.bin', 'images: these weights were trained')):
        args = ['--data-root', shapes, '--work-dir', str(tmp_path / 'run' / name), '--pretrained', str(tmp_path / name)]
        done = call_tool('train', SHAPES, *args, '--cfg-options', *QUICK, *schedule)
        assert done.returncode == 0, done.stderr
        assert f'backbone: loaded 124 of 124 (layout: timm) from {tmp_path / name}' in done.stdout
        assert 'initialised: norm0, norm1, norm2, norm3' in done.stdout and more in done.stdout


@pytest.mark.parametrize('state, got', [({'a': 3}, 'one that holds int'), ([], 'list'), (None, 'NoneType')])
def test_what_is_no_state_dict_is_not_written(tmp_path, state: object, got: str) -> None:
    with pytest.raises(InputError, match=f'expected a dict of tensors, got {got}'):
        write(state, tmp_path / 'a.pth')
    assert list(tmp_path.iterdir()) == []

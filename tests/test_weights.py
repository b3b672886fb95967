"""Loading weights: all of them or none, safely, and one clear line otherwise."""

import os
import pickle

import pytest
import torch
from mmengine.registry import MODELS

from convnext_dense import ConvNeXt, InputError
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
    with pytest.raises(InputError):
        model.init_weights()
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


class RunsCode:
    def __reduce__(self):
        return os.system, ('touch /tmp/convnext_dense_was_here',)


def write_pickle_that_runs_code(path) -> None:
    torch.save({'model': RunsCode()}, path)


def write_plain_pickle(path) -> None:
    path.write_bytes(pickle.dumps(RunsCode()))


def write_truncated(path) -> None:
    torch.save(official(), path)
    path.write_bytes(path.read_bytes()[:-2000])


@pytest.mark.parametrize(
    'write, message',
    [
        (lambda p: None, 'expected a file, got .* not there'),
        (lambda p: p.write_bytes(b''), 'empty file'),
        (lambda p: p.write_text('these are the weights'), r"something else \(it starts with b'thes'\)"),
        (lambda p: p.write_text('<!DOCTYPE html><html>404</html>'), 'something else'),
        (write_truncated, 'expected a whole PyTorch file|run code or is damaged|something else'),
        (write_pickle_that_runs_code, 'expected tensors and plain values only, got a pickle that would run code'),
        (write_plain_pickle, 'a pickle that would run code'),
        (lambda p: torch.save([torch.ones(1)], p), 'expected a dict of tensors, got list'),
        (lambda p: torch.save({'model': {}}, p), 'missing'),
    ],
    ids=['missing', 'empty', 'text', 'html', 'truncated', 'runs code', 'plain pickle', 'list', 'no tensors'],
)
def test_broken_and_foreign_files(tmp_path, write, message) -> None:
    path = tmp_path / 'weights.pth'
    write(path)
    with pytest.raises(InputError, match=message) as caught:
        build(path)
    assert len(str(caught.value).splitlines()) == 1
    assert not os.path.exists('/tmp/convnext_dense_was_here')


def test_a_download_that_fails_says_what_to_do(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    with pytest.raises(InputError, match=r'could not download http://127.0.0.1:9/w.pth .*--pretrained FILE.*--pretrained none'):
        load.resolve('http://127.0.0.1:9/w.pth')
    assert not list((tmp_path / 'checkpoints').iterdir())


def test_a_downloaded_file_is_taken_from_the_cache(tmp_path, monkeypatch, checkpoint) -> None:
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    (tmp_path / 'checkpoints').mkdir()
    (tmp_path / 'checkpoints' / 'w.pth').write_bytes(checkpoint.read_bytes())
    build('http://127.0.0.1:9/w.pth')


def test_a_whole_model_is_compared_in_every_tensor(tmp_path) -> None:
    model = ConvNeXt(SMALL)
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, tmp_path / 'a.pth')
    load.check_whole_model(tmp_path / 'a.pth', model)
    with pytest.raises(InputError, match='does not fit this ConvNeXt: .*of another shape'):
        load.check_whole_model(tmp_path / 'a.pth', ConvNeXt(dict(SMALL, dims=(16, 16, 24, 32))))
    with pytest.raises(InputError, match='unexpected: stages.2.1'):
        load.check_whole_model(tmp_path / 'a.pth', ConvNeXt(dict(SMALL, depths=(1, 1, 1, 1))))

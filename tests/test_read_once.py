"""A checkpoint is read once: by the check, for the run."""

import os

import pytest
import torch

from convnext_dense import ConvNeXt
from convnext_dense.weights import load, read_once

SMALL = dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32))


@pytest.fixture(autouse=True)
def forgotten():
    read_once.forget()
    yield
    read_once.forget()


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """Paths of the files that are opened."""
    paths: list[str] = []
    original = load.open_checkpoint
    monkeypatch.setattr(load, 'open_checkpoint', lambda path: paths.append(str(path)) or original(path))
    return paths


def test_what_is_kept_is_taken_once(tmp_path) -> None:
    path = tmp_path / 'a'
    path.write_text('1')
    read_once.keep('key', path, read_once.stamp_of(path), 'value')
    assert [read_once.take('key'), read_once.take('key')] == ['value', None]


def test_a_file_that_changed_is_read_again(tmp_path) -> None:
    path = tmp_path / 'a'
    path.write_text('1')
    read_once.keep('key', path, read_once.stamp_of(path), 'value')
    path.write_text('22')
    assert read_once.take('key') is None
    read_once.keep('key', path, read_once.stamp_of(path), 'value')
    os.remove(path)
    assert read_once.take('key') is None


def test_what_is_forgotten_is_gone(tmp_path) -> None:
    path = tmp_path / 'a'
    path.write_text('1')
    read_once.keep('key', path, read_once.stamp_of(path), 'value')
    read_once.forget()
    assert read_once.take('key') is None


def test_pretrained_weights_are_opened_once(tmp_path, opened) -> None:
    source, path = ConvNeXt(SMALL), str(tmp_path / 'a.pth')
    torch.save(source.state_dict(), path)
    with torch.device('meta'):
        load.check_pretrained(ConvNeXt(SMALL), path)
    model = ConvNeXt(SMALL)
    load.load_pretrained(model, path)
    assert opened == [path]
    for ours, theirs in zip(model.state_dict().values(), source.state_dict().values()):
        assert torch.equal(ours, theirs)
    load.load_pretrained(model, path)
    assert opened == [path, path], 'what was taken is let go'


def test_another_backbone_reads_the_file_itself(tmp_path, opened) -> None:
    path = str(tmp_path / 'a.pth')
    torch.save(ConvNeXt(SMALL).state_dict(), path)
    load.check_pretrained(ConvNeXt(SMALL), path)
    with pytest.raises(ValueError, match='do not fit'):
        load.load_pretrained(ConvNeXt(dict(SMALL, dims=(16, 16, 24, 32))), path)
    assert len(opened) == 2


def test_a_whole_model_is_opened_once(tmp_path, opened) -> None:
    model, path = ConvNeXt(SMALL), str(tmp_path / 'a.pth')
    torch.save(dict(state_dict=model.state_dict(), meta=dict(epoch=3)), path)
    load.check_whole_model(path, model)
    assert load.look_at_whole_model(path)['meta'] == dict(epoch=3)
    assert load.open_whole_model(path).state.keys() == model.state_dict().keys()
    assert opened == [path]


def test_a_file_that_is_replaced_while_it_is_checked_is_read_again(tmp_path, monkeypatch) -> None:
    source, path = ConvNeXt(SMALL), tmp_path / 'a.pth'
    torch.save(source.state_dict(), path)
    check = load.check_values
    new = {name: value + 1 for name, value in source.state_dict().items()}
    monkeypatch.setattr(load, 'check_values', lambda tensors: (torch.save(new, path), check(tensors)))
    load.check_pretrained(ConvNeXt(SMALL), str(path))
    monkeypatch.undo()
    model = ConvNeXt(SMALL)
    load.load_pretrained(model, str(path))
    for name, value in model.state_dict().items():
        assert torch.equal(value, new[name])


@pytest.mark.parametrize('name', ['', 'model.safetensors.index.json'], ids=['folder', 'index'])
def test_weights_in_several_files_are_read_again(tmp_path, name: str) -> None:
    """Their files may change where the folder's or the index's own state does not."""
    (tmp_path / 'model.safetensors.index.json').write_text('{}')
    assert read_once.stamp_of(tmp_path / name) == ()
    read_once.keep('key', tmp_path / name, (), 'value')
    assert read_once.take('key') is None

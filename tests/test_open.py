"""Opening files: whatever is in them, no code is run, and one line says what was expected."""

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from convnext_dense import ConvNeXt, InputError
from convnext_dense.weights import open as opening
from convnext_dense.weights.open import open_checkpoint, state_dict_of

SMALL = dict(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32))
PROOF = '/tmp/convnext_dense_was_here'


def weights() -> dict[str, torch.Tensor]:
    return ConvNeXt(SMALL).state_dict()


class RunsCode:
    def __reduce__(self):
        return os.system, (f'touch {PROOF}',)


def truncated(path: Path) -> None:
    torch.save(weights(), path)
    path.write_bytes(path.read_bytes()[:-2000])


def zip_bomb(path: Path) -> None:
    """A PyTorch archive whose storage is 64 MiB of zeros in a few kilobytes."""
    whole = io.BytesIO()
    torch.save({'model': torch.zeros(2**24)}, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))


def broken_zip(path: Path) -> None:
    torch.save(weights(), path)
    content = bytearray(path.read_bytes())
    content[40:400] = bytes(360)
    path.write_bytes(content)


def safetensors_with_a_long_header(path: Path) -> None:
    path.with_suffix('.safetensors').write_bytes((10**12).to_bytes(8, 'little') + b'{"a": 1}')


def safetensors_with_a_wrong_header(path: Path) -> None:
    header = json.dumps({'a': {'dtype': 'F32', 'shape': [1000], 'data_offsets': [0, 4000]}}).encode()
    path.write_bytes(len(header).to_bytes(8, 'little') + header + bytes(8))


@pytest.mark.parametrize(
    'write, message',
    [
        (lambda p: None, 'expected a file, got .* not there'),
        (lambda p: p.write_bytes(b''), 'empty file'),
        (lambda p: p.write_text('these are the weights'), r"something else \(it starts with b'thes'\)"),
        (lambda p: p.write_text('<!DOCTYPE html><html>404</html>'), 'a web page .*download the file itself'),
        (lambda p: p.write_text('\n <html></html>'), 'a web page'),
        (truncated, 'expected a whole PyTorch file|something else'),
        (broken_zip, 'cannot be read'),
        (lambda p: torch.save({'model': RunsCode()}, p), 'got a pickle that would run code'),
        (lambda p: p.write_bytes(pickle.dumps(RunsCode())), 'a plain pickle, which could run code; not opened'),
        (lambda p: torch.save([torch.ones(1)], p), 'expected a dict of tensors, got list'),
        (zip_bomb, r'expected at most [\d,]+ bytes unpacked, got 67,[\d,]+ in a file of [\d,]+; not opened'),
        (safetensors_with_a_wrong_header, 'a whole safetensors file, got one that cannot be read'),
    ],
    ids=[
        'missing',
        'empty',
        'text',
        'html',
        'html after blanks',
        'truncated',
        'broken zip',
        'runs code',
        'plain pickle',
        'list',
        'zip bomb',
        'safetensors header',
    ],
)
@pytest.mark.parametrize('suffix', ['.pth', '.bin'])
def test_broken_and_foreign_files(tmp_path, write, message: str, suffix: str) -> None:
    path = tmp_path / f'weights{suffix}'
    write(path)
    with pytest.raises(InputError, match=message) as caught:
        open_checkpoint(path)
    assert len(str(caught.value).splitlines()) == 1
    assert not os.path.exists(PROOF)


@pytest.mark.parametrize(
    'content, message',
    [
        ((10**12).to_bytes(8, 'little') + b'{"a": 1}', 'header of at most .* got one that says 1000000000000'),
        (b'\x01', 'header of at most'),
        (pickle.dumps(RunsCode()), 'header of at most'),
        (b'', 'empty file'),
    ],
    ids=['long header', 'one byte', 'pickle', 'empty'],
)
def test_broken_safetensors(tmp_path, content: bytes, message: str) -> None:
    (tmp_path / 'a.safetensors').write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_checkpoint(tmp_path / 'a.safetensors')
    assert not os.path.exists(PROOF)


def test_the_limit_on_what_a_file_unpacks_to(tmp_path, monkeypatch) -> None:
    torch.save(weights(), tmp_path / 'a.pth')
    monkeypatch.setattr(opening, 'MAX_BYTES', 1000)
    with pytest.raises(InputError, match='expected at most 1,000 bytes unpacked'):
        open_checkpoint(tmp_path / 'a.pth')


def same(one: dict, other: dict) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_every_kind_of_file(tmp_path) -> None:
    state = weights()
    for name in ('a.pth', 'a.pt', 'a.bin'):
        torch.save(state, tmp_path / name)
        assert same(open_checkpoint(tmp_path / name), state)
    torch.save(state, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    assert same(open_checkpoint(tmp_path / 'old.pth'), state)
    save_file(state, tmp_path / 'a.safetensors')
    assert same(open_checkpoint(tmp_path / 'a.safetensors'), state)
    (tmp_path / 'a.safetensors').rename(tmp_path / 'named_wrongly.pth')
    assert same(open_checkpoint(tmp_path / 'named_wrongly.pth'), state), 'a file goes by its first bytes'


def shards(folder: Path, state: dict) -> None:
    names = list(state)
    files = {name: f'model-0000{1 + (i > len(names) // 2)}-of-00002.safetensors' for i, name in enumerate(names)}
    for file in set(files.values()):
        save_file({name: state[name] for name in names if files[name] == file}, folder / file)
    (folder / 'model.safetensors.index.json').write_text(json.dumps(dict(metadata={}, weight_map=files)))


def test_a_sharded_set_by_its_index_or_folder(tmp_path) -> None:
    state = weights()
    shards(tmp_path, state)
    for path in (tmp_path, tmp_path / 'model.safetensors.index.json'):
        assert same(open_checkpoint(path), state)
    (tmp_path / 'model-00002-of-00002.safetensors').unlink()
    with pytest.raises(InputError, match='model-00002-of-00002.safetensors which is not there'):
        open_checkpoint(tmp_path)
    save_file({'other': torch.ones(1)}, tmp_path / 'model-00002-of-00002.safetensors')
    with pytest.raises(InputError, match='of its tensors are in none of its files'):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    'text, message',
    [
        ('{}', 'expected an index with weight_map'),
        ('not json', 'expected an index with weight_map'),
        ('{"weight_map": {"a": "../../outside.safetensors"}}', 'expected files beside the index'),
    ],
)
def test_a_broken_index(tmp_path, text: str, message: str) -> None:
    (tmp_path / 'model.safetensors.index.json').write_text(text)
    with pytest.raises(InputError, match=message):
        open_checkpoint(tmp_path)


def test_a_folder_without_weights(tmp_path) -> None:
    with pytest.raises(InputError, match=r'a folder with one of model.safetensors, '):
        open_checkpoint(tmp_path)


def test_wrappers_hold_each_other() -> None:
    state = {'module.a': torch.ones(1)}
    assert set(state_dict_of({'state_dict': {'model': state}})) == {'a'}
    assert set(state_dict_of({'model_ema': state, 'epoch': 3})) == {'a'}
    assert state_dict_of({'model': {}, 'epoch': 3}) == {}

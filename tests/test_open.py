"""Opening files: whatever is in them, no code is run, and one line says what was expected."""

import io
import json
import os
import pickle
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from safetensors.torch import save_file

from convnext_dense import ConvNeXt, InputError
from convnext_dense.weights import open as opening
from convnext_dense.weights.open import check_plain, open_checkpoint, state_dict_of

SMALL = dict(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32))
PROOF = os.path.join(tempfile.gettempdir(), f'convnext_dense_was_here_{os.getpid()}')


def weights() -> dict[str, torch.Tensor]:
    return ConvNeXt(SMALL).state_dict()


@pytest.fixture(autouse=True)
def no_proof_of_another_run() -> Iterator[None]:
    Path(PROOF).unlink(missing_ok=True)
    yield
    Path(PROOF).unlink(missing_ok=True)


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


@pytest.mark.parametrize(
    'path, message',
    [
        (None, 'expected a path, got None'),
        (5, 'expected a path, got 5'),
        (b'a.pth', "expected a path, got b'a.pth'"),
        ('', "expected a path, got ''"),
        ('loop', 'expected a file, got loop: .*check the path'),
        ('x' * 300, 'expected a file, got x+: .*too long'),
        ('a\0b', r"got 'a\\x00b': embedded null byte"),
        ('a\nb', r"got 'a\\nb' which is not there"),
        ('a.pth/b', 'which is not there'),
        ('pipe', 'got pipe which is a device or a pipe'),
        (os.devnull, 'which is a device or a pipe'),
        ('folder', 'or a folder with one of model.safetensors'),
    ],
    ids=repr,
)
def test_paths_that_lead_to_no_file(tmp_path, monkeypatch, path, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path('loop').symlink_to('loop')
    Path('folder').mkdir()
    Path('folder', 'model.safetensors').mkdir()
    Path('a.pth').write_text('x')
    os.mkfifo('pipe')
    with pytest.raises(InputError, match=message) as caught:
        open_checkpoint(path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize('name', ['a.pth', 'a.safetensors', 'model.safetensors.index.json'])
def test_a_file_that_cannot_be_read(tmp_path, monkeypatch, name: str) -> None:
    """Closed to this user, or gone after it was looked at."""

    def closed(*args, **kwargs):
        raise PermissionError(13, 'Permission denied', *args[:1])

    (tmp_path / name).write_text('x' * 20)
    monkeypatch.setattr('builtins.open', closed)
    monkeypatch.setattr('io.open', closed)
    what = 'an index .*cannot be read .PermissionError' if name.endswith('json') else 'a file that can be read, got'
    with pytest.raises(InputError, match=f'{name}: expected {what}: Permission denied'):
        open_checkpoint(tmp_path / name)


def test_a_safetensors_header_of_any_length(tmp_path, monkeypatch) -> None:
    """A length of 0x3c20 bytes begins with ' <', as a web page may."""
    for length in (0x3C20, 0x3C0A):
        header = json.dumps({'__metadata__': {'a': ''}, 'w': {'dtype': 'F32', 'shape': [1], 'data_offsets': [0, 4]}})
        header = header.replace('""', f'"{"x" * (length - len(header))}"').encode()
        assert len(header) == length
        (tmp_path / 'a.safetensors').write_bytes(length.to_bytes(8, 'little') + header + bytes(4))
        assert open_checkpoint(tmp_path / 'a.safetensors')['w'] == 0
    path = tmp_path / 'a.safetensors'
    path.write_bytes((8).to_bytes(8, 'little') + b'{}      ')
    assert open_checkpoint(path) == {}, 'a header and nothing behind it'
    path.write_bytes((9).to_bytes(8, 'little') + b'{}      ')
    with pytest.raises(InputError, match='header of at most 16 bytes, got one that says 9'):
        open_checkpoint(path)
    path.write_bytes((8).to_bytes(8, 'little') + b'[]      ')
    with pytest.raises(InputError, match='safetensors header'):
        open_checkpoint(path)
    monkeypatch.setattr(opening, 'MAX_HEADER', 8)
    path.write_bytes((8).to_bytes(8, 'little') + b'{}      ')
    assert open_checkpoint(path) == {}
    monkeypatch.setattr(opening, 'MAX_HEADER', 7)
    with pytest.raises(InputError, match='header of at most 7 bytes, got one that says 8'):
        open_checkpoint(path)
    (tmp_path / 'a.safetensors').write_text('<html>' * 9)
    with pytest.raises(InputError, match='a web page'):
        open_checkpoint(tmp_path / 'a.safetensors')


@pytest.mark.parametrize('packed', ['all', 'one', 'none'])
def test_a_compressed_entry_is_enough_to_be_counted(tmp_path, packed: str) -> None:
    """A bomb may keep its other entries as they are; files of PyTorch are not compressed at all."""
    whole = io.BytesIO()
    torch.save({'model': torch.zeros(2**18)}, whole)
    path = tmp_path / 'a.pth'
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, 'w') as target:
        for name in source.namelist():
            deflated = packed == 'all' or (packed == 'one' and name.endswith('data/0'))
            target.writestr(name, source.read(name), zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED)
    if packed == 'none':
        assert open_checkpoint(path)['model'].numel() == 2**18
        return
    with pytest.raises(InputError, match=r'expected at most [\d,]+ bytes unpacked, got 1,04'):
        open_checkpoint(path)


def test_a_folder_without_weights(tmp_path) -> None:
    with pytest.raises(InputError, match=r'a folder with one of model.safetensors, '):
        open_checkpoint(tmp_path)


def test_wrappers_hold_each_other() -> None:
    state = {'module.a': torch.ones(1)}
    assert set(state_dict_of({'state_dict': {'model': state}})) == {'a'}
    for key in ('model', 'state_dict', 'model_ema', 'state_dict_ema', 'module', 'teacher'):
        assert set(state_dict_of({key: state, 'epoch': 3})) == {'a'}
    assert state_dict_of({'model': {}, 'epoch': 3}) == {}
    assert set(state_dict_of({'model': {}, 'state_dict': state})) == {'a'}, 'an empty one holds nothing'
    endless: dict = {}
    endless['model'] = endless
    assert state_dict_of(endless) == {}


def test_module_is_cut_from_all_names_or_none() -> None:
    state = {'module.a': torch.ones(1), 'a': torch.zeros(1)}
    assert set(state_dict_of(state)) == {'a', 'module.a'}
    assert set(state_dict_of({'module.module.a': torch.ones(1)})) == {'module.a'}


def test_values_beside_the_weights_are_no_weights() -> None:
    content = {'epoch': 3, 'a.weight': torch.ones(1), 'note': 'text', 5: 'five', 'a._extra_state': None}
    assert set(state_dict_of(content)) == {'a.weight'}
    for part in ('weight', 'bias', 'gamma', 'beta', 'running_mean', 'running_var'):
        with pytest.raises(InputError, match=f'b.{part}: expected a tensor, got float'):
            state_dict_of(content | {f'b.{part}': 1.0})


def test_tensors_may_share_memory_but_hold_their_own_values() -> None:
    whole = torch.arange(6.0)
    for value in (whole, whole[2:5], whole.view(2, 3).T, torch.nn.Parameter(whole), torch.ones(()), torch.ones(0)):
        check_plain('a', value)
    with pytest.raises(InputError, match=r'a: expected a dense tensor with its values, got one of shape \(7,\) with 6 values'):
        check_plain('a', whole.as_strided((7,), (0,)))

    class Other(torch.Tensor):
        pass

    with pytest.raises(InputError, match='got a Other'):
        check_plain('a', torch.ones(1).as_subclass(Other))


def test_a_plain_file_holds_too_little(tmp_path) -> None:
    """A storage that is shorter than the tensors say."""
    torch.save({'model': torch.zeros(1000)}, tmp_path / 'a.pth')
    with zipfile.ZipFile(tmp_path / 'a.pth') as source, zipfile.ZipFile(tmp_path / 'b.pth', 'w') as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content[:40] if name.endswith('data/0') else content)
    with pytest.raises(InputError, match='expected a whole PyTorch file, got one that cannot be read'):
        open_checkpoint(tmp_path / 'b.pth')


@pytest.mark.parametrize('words', ['Unsupported global', 'Unsupported class', 'Unsupported getattr', 'Trying to', 'Can only'])
def test_what_torch_refuses_is_told_as_such(words: str) -> None:
    told = opening._why_refused(b'PK', pickle.UnpicklingError(f'Weights only load failed.\n{words} call x. Use another.\nmore'))
    assert told == f'expected tensors and plain values only, got a pickle that would run code ({words} call x); not opened'
    assert 'cannot be read (Weights only' in opening._why_refused(b'PK', pickle.UnpicklingError('Weights only load failed.'))


def test_errors_without_words_are_named_by_their_class() -> None:
    assert opening.reason(MemoryError()) == 'MemoryError' and opening.reason(OSError(28, 'No space')) == 'No space'
    assert 'cannot be read (EOFError)' in opening._why_refused(b'PK', EOFError())
    assert 'cannot be read (Trying to' in opening._why_refused(b'PK', RuntimeError('Trying to resize')), 'no refusal of a type'
    assert 'cannot be read' in opening._why_refused(b'\x80\x02', EOFError('ran out')), 'a broken one of the old format'
    assert 'a plain pickle' in opening._why_refused(b'\x80\x02', pickle.UnpicklingError('Unsupported operand 149'))


def test_the_limit_that_the_readme_names_and_words_of_a_bounded_length() -> None:
    assert f'{opening.MAX_BYTES // 2**30} GiB' in (ROOT / 'README.md').read_text() and opening.MAX_BYTES % 2**30 == 0
    assert len(opening.reason(ValueError('x' * 400))) == 300


def damaged(path: Path, name: str) -> None:
    """Other finite values over a record, whose checksum stays."""
    with zipfile.ZipFile(path) as archive:
        entry = next(entry for entry in archive.infolist() if entry.filename.endswith(name))
        content = archive.read(entry)
    path.write_bytes(path.read_bytes().replace(content, torch.full((len(content) // 4,), 7.0).numpy().tobytes()))


def test_a_record_that_does_not_fit_its_checksum(tmp_path) -> None:
    path = tmp_path / 'a.pth'
    torch.save({'model': torch.randn(64, generator=torch.Generator().manual_seed(0)), 'other': torch.ones(3)}, path)
    damaged(path, 'data/0')
    with pytest.raises(InputError, match=r'expected content that fits its checksums, got a damaged record: a/data/0; copy'):
        open_checkpoint(path)


def test_a_file_written_without_checksums(tmp_path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({'model': torch.ones(64), 'none': torch.empty(0)}, tmp_path / 'a.pth')
    finally:
        torch.serialization.set_crc32_options(True)
    assert open_checkpoint(tmp_path / 'a.pth')['model'].sum() == 64


@pytest.mark.parametrize('content, options', [({'a': torch.ones(3)}, dict(pickle_protocol=4)), ({'a': torch.eye(3)}, {})])
def test_opening_says_nothing_of_its_own(tmp_path, content: dict, options: dict) -> None:
    if not options:
        content = {'a': content['a'].to_sparse_csr(), 'b': torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)}
    torch.save(content, tmp_path / 'a.pth', **options)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        if options:
            with pytest.raises(InputError, match='expected the pickle protocol of torch.save, got another'):
                open_checkpoint(tmp_path / 'a.pth')
        else:
            assert set(open_checkpoint(tmp_path / 'a.pth')) == {'a', 'b'}

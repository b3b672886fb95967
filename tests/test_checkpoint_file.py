"""Checkpoints are whole or not there, whatever the disk does; and damage is seen before it is loaded."""

import errno
import io
import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mmengine.runner.runner as runner_module
import pytest
import torch
from mmengine.logging.history_buffer import HistoryBuffer

from convnext_dense.training.checkpoint_file import (
    opened,
    remove_partial_files,
    verify,
    write_checkpoint,
    write_pointer,
    writing_by,
)


def content() -> dict:
    generator = torch.Generator().manual_seed(0)
    weights = {f'layer{i}.weight': torch.randn(5, 7, generator=generator) for i in range(3)}
    optimizer = dict(state={0: dict(step=torch.tensor(3.0), exp_avg=torch.randn(5, 7, generator=generator))}, param_groups=[])
    hub = dict(log_scalars=dict(loss=HistoryBuffer([1.0, 2.0], [1, 1])))
    return dict(meta=dict(iter=3, epoch=0), state_dict=weights, optimizer=optimizer, message_hub=hub)


def tensors(node: object) -> list[torch.Tensor]:
    if isinstance(node, torch.Tensor):
        return [node]
    return [tensor for value in node.values() for tensor in tensors(value)] if isinstance(node, dict) else []


def same(one: dict, other: dict) -> bool:
    """All bits: names, numbers and tensors."""
    first, second = tensors(one), tensors(other)
    equal = len(first) == len(second) and all(torch.equal(a, b) for a, b in zip(first, second))
    history = one['message_hub']['log_scalars']['loss'].data
    return (
        equal
        and repr(one['meta']) == repr(other['meta'])
        and str(history) == str(other['message_hub']['log_scalars']['loss'].data)
    )


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As a disk that is full: files of this process cannot grow beyond `size` bytes."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_what_is_written_is_read_and_has_equal_bytes(tmp_path: Path) -> None:
    for name in ('a.pth', 'another.pth'):
        write_checkpoint(content(), tmp_path / name)
    assert (tmp_path / 'a.pth').read_bytes() == (tmp_path / 'another.pth').read_bytes()
    assert verify(tmp_path / 'a.pth') is None and same(opened(tmp_path / 'a.pth')[0], content())
    assert sorted(os.listdir(tmp_path)) == ['a.pth', 'another.pth']


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / 'a.pth'
    write_checkpoint(content(), path)
    before = path.read_bytes()
    with largest_file(2000), pytest.raises(OSError) as caught:
        write_checkpoint(content() | dict(more=torch.ones(10000)), path)
    assert caught.value.errno == errno.EFBIG and caught.value.filename == str(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ['a.pth']


def test_what_cannot_be_pickled_is_no_fault_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(Exception, match='pickle') as caught:
        write_checkpoint(dict(a=lambda: 0), tmp_path / 'a.pth')
    assert not isinstance(caught.value, OSError) and os.listdir(tmp_path) == []


def test_a_full_disk(tmp_path: Path) -> None:
    """A real one, of 64 KB."""
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', str(tmp_path)], capture_output=True).returncode:
        pytest.skip('no right to mount')
    try:
        write_checkpoint(content(), tmp_path / 'a.pth')
        before = (tmp_path / 'a.pth').read_bytes()
        with pytest.raises(OSError) as caught:
            write_checkpoint(content() | dict(more=torch.ones(20000)), tmp_path / 'a.pth')
        assert caught.value.errno == errno.ENOSPC
        assert (tmp_path / 'a.pth').read_bytes() == before and os.listdir(tmp_path) == ['a.pth']
    finally:
        subprocess.run(['umount', '-l', str(tmp_path)], check=True)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    for folder, number in (('gone', errno.ENOENT), ('file', errno.ENOTDIR)):
        with pytest.raises(OSError) as caught:
            write_checkpoint(content(), tmp_path / folder / 'a.pth')
        assert caught.value.errno == number


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_writes(tmp_path: Path) -> None:
    """SIGKILL at several moments of a loop of writes: the file is always whole."""
    path, state = tmp_path / 'a.pth', dict(a=torch.ones(100000))
    for moment in range(10):
        read, written = os.pipe()
        child = os.fork()  # a new process would import the libraries first
        if not child:
            try:
                while True:
                    write_checkpoint(state, path)
                    os.write(written, b'.')
            finally:
                os._exit(1)
        os.close(written)
        assert os.read(read, 1) == b'.'
        time.sleep(moment / 5000)
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        os.close(read)
        assert verify(path) is None
    (tmp_path / 'a.pth.partial').touch()
    remove_partial_files(tmp_path)
    assert os.listdir(tmp_path) == ['a.pth']


def test_half_files_are_removed_and_others_stay(tmp_path: Path) -> None:
    for name in ('iter_3.pth.partial', 'iter_3.pth.1a2b.partial', 'last_checkpoint.partial', 'b.json.partial', 'iter_3.pth'):
        (tmp_path / name).touch()
    remove_partial_files(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ['b.json.partial', 'iter_3.pth']
    remove_partial_files(tmp_path / 'gone')


def test_the_pointer(tmp_path: Path) -> None:
    write_pointer(tmp_path, '/runs/ä/iter_3.pth')
    with largest_file(3), pytest.raises(OSError):
        write_pointer(tmp_path, '/runs/ä/iter_4.pth')
    assert (tmp_path / 'last_checkpoint').read_text() == '/runs/ä/iter_3.pth' and os.listdir(tmp_path) == ['last_checkpoint']


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    write_checkpoint(content(), tmp_path / 'a.pth')
    whole, path = (tmp_path / 'a.pth').read_bytes(), tmp_path / 'b.pth'
    for length in range(0, len(whole), max(10, len(whole) // 10 // 60 * 10)):
        path.write_bytes(whole[:length])
        assert verify(path) is not None, length


@pytest.mark.slow
def test_a_file_cut_off_at_every_tenth_byte_is_refused(tmp_path: Path) -> None:
    write_checkpoint(content(), tmp_path / 'a.pth')
    whole, path = (tmp_path / 'a.pth').read_bytes(), tmp_path / 'b.pth'
    for length in [*range(0, len(whole), 10), len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert verify(path) is not None, length


@pytest.mark.parametrize('many', [pytest.param(150, id='some'), pytest.param(1000, id='many', marks=pytest.mark.slow)])
def test_a_flipped_byte_is_refused_or_changes_nothing(many: int, tmp_path: Path) -> None:
    write_checkpoint(content(), tmp_path / 'a.pth')
    whole, path, draw, refused = (tmp_path / 'a.pth').read_bytes(), tmp_path / 'b.pth', random.Random(0), 0
    for i in range(many):
        at = (i * len(whole) + draw.randrange(len(whole))) // many  # one in each of equal parts
        damaged = bytearray(whole)
        damaged[at] ^= draw.randrange(1, 256)
        path.write_bytes(damaged)
        found, why = opened(path)
        refused += why is not None
        assert why is not None or same(found, content()), at
    assert refused > many / 4  # the rest is padding


def test_pytorch_alone_does_not_see_it(tmp_path: Path) -> None:
    """Why a file is verified: torch.load takes a damaged tensor."""
    write_checkpoint(content(), tmp_path / 'a.pth')
    whole = (tmp_path / 'a.pth').read_bytes()
    at = whole.index(content()['state_dict']['layer1.weight'].numpy().tobytes()) + 5
    damaged = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    (tmp_path / 'a.pth').write_bytes(damaged)
    assert not same(torch.load(io.BytesIO(damaged), weights_only=False), content())
    assert 'damaged record' in str(verify(tmp_path / 'a.pth'))


def test_why_a_file_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'page.pth').write_text('<html>')
    torch.save(dict(a=print), tmp_path / 'code.pth')
    assert verify(tmp_path / 'gone.pth') == 'it is not there'
    assert 'cut off, or another file' in str(verify(tmp_path / 'page.pth'))
    assert 'would run code' in str(verify(tmp_path / 'code.pth'))
    assert 'expected' in str(verify(tmp_path / 'folder'))


def test_writing_is_handed_over_and_given_back() -> None:
    own, found = runner_module.save_checkpoint, []
    with writing_by(lambda content, path: found.append((content, path))):
        with writing_by(lambda content, path: found.append('inner')):
            runner_module.save_checkpoint(dict(a=1), 'a.pth', file_client_args=None, backend_args=None)
        runner_module.save_checkpoint(dict(a=2), 'b.pth')
    assert found == [(dict(a=1), 'a.pth'), (dict(a=2), 'b.pth')] and runner_module.save_checkpoint is own
    with pytest.raises(RuntimeError), writing_by(lambda content, path: None):
        raise RuntimeError
    assert runner_module.save_checkpoint is own

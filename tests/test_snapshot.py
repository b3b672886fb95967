"""A snapshot is apart from the run, of the size of its tensors, and is written to the same bytes as what it was taken of."""

import io
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.runner.checkpoint import weights_to_cpu
from torch import nn

from convnext_dense.training.snapshot import available_memory, size_of, snapshot


def written(content: dict) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def content() -> dict:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last), nn.BatchNorm2d(4))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(2, 3, 5, 5)).sum().backward()
    optimizer.step()
    base, shared = torch.arange(1000.0), torch.arange(6.0)
    return dict(
        state_dict=model.state_dict(),
        optimizer=optimizer.state_dict(),
        hub=OrderedDict(loss=HistoryBuffer([1.0], [1]), names=('a', 'b')),
        view=base[3:7],
        column=base.view(100, 10)[:, 2],
        tied=[shared, shared, shared.view(2, 3), shared.view(2, 3).t()],
        wide=torch.ones(1).expand(3),
        empty=[torch.empty(0), torch.empty(0, 3)],
        parameter=nn.Parameter(torch.ones(2)),
    )


def test_nothing_of_it_follows_the_run() -> None:
    """As it would with mmengine's weights_to_cpu, which copies nothing that is on the CPU."""
    model = nn.Linear(2, 2)
    plain, taken = weights_to_cpu(model.state_dict()), snapshot(dict(state_dict=model.state_dict(), log=[1]))
    before = model.weight.detach().clone()
    with torch.no_grad():
        model.weight.add_(1)
    assert not torch.equal(plain['weight'], before) and torch.equal(taken['state_dict']['weight'], before)
    assert type(taken['state_dict']) is OrderedDict and taken['state_dict']._metadata == model.state_dict()._metadata


def test_containers_and_buffers_are_copies() -> None:
    given = content()
    taken = snapshot(given)
    given['hub']['loss'].update(2.0)
    given['optimizer']['param_groups'][0]['lr'] = 5
    assert len(taken['hub']['loss'].data[0]) == 1 and taken['optimizer']['param_groups'][0]['lr'] == 1e-3
    assert isinstance(taken['hub'], OrderedDict) and taken['hub']['names'] == ('a', 'b')


@pytest.mark.parametrize('copied', [True, False])
def test_values_and_strides_stay_and_views_get_small(copied: bool) -> None:
    given = content()
    taken = snapshot(given, copied)
    for key in ('view', 'column', 'wide', 'parameter'):
        torch.testing.assert_close(taken[key], given[key].detach(), rtol=0, atol=0)
        assert taken[key].untyped_storage().nbytes() == given[key].numel() * 4
    weight = given['state_dict']['0.weight']
    assert taken['state_dict']['0.weight'].stride() == weight.stride() and torch.equal(taken['state_dict']['0.weight'], weight)
    first, second, third, fourth = taken['tied']
    assert first is second and first.data_ptr() == third.data_ptr() == fourth.data_ptr()
    assert torch.equal(fourth, given['tied'][3]) and taken['empty'][1].shape == (0, 3)
    assert (first.data_ptr() == given['tied'][0].data_ptr()) != copied


def test_copied_and_not_copied_are_written_to_equal_bytes() -> None:
    given = content()
    assert written(snapshot(given)) == written(snapshot(given, copied=False))


def test_the_size_counts_a_storage_once() -> None:
    shared = torch.ones(10)
    assert size_of(dict(a=shared, b=[shared.view(2, 5)], c=torch.ones(3, dtype=torch.float64), d=1)) == 64


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace('__', '.')).write_text(text)


def test_memory_of_the_machine_and_of_control_groups(tmp_path: Path) -> None:
    proc, groups = tmp_path / 'proc', tmp_path / 'cgroup'
    assert available_memory(str(proc), str(groups)) == 0  # unknown
    write(proc, meminfo='MemTotal: 9 kB\nMemAvailable:    1000 kB\n')
    assert available_memory(str(proc), str(groups)) == 1_024_000
    write(proc / 'self', cgroup='0::/job/step\n')
    write(groups / 'job/step', memory__max='max', memory__current='5', memory__stat='inactive_file 1')
    assert available_memory(str(proc), str(groups)) == 1_024_000
    write(groups / 'job', memory__max='900', memory__current='500', memory__stat='anon 7\ninactive_file 100\n')
    assert available_memory(str(proc), str(groups)) == 500  # of the group around it
    write(proc / 'self', cgroup='3:cpu:/\n4:memory:/old\n')
    write(groups / 'memory/old', **{'memory.limit_in_bytes': '80', 'memory.usage_in_bytes': '90', 'memory.stat': 'x 1'})
    assert available_memory(str(proc), str(groups)) == 0


def test_memory_here() -> None:
    assert available_memory() > 2**20

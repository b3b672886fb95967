"""The benchmark: its rivals compute what they should, memory is counted, and what it prints follows from the figures."""

from dataclasses import replace

import pytest
import torch
from conftest import one_line
from torch import nn

from convnext_dense.benchmark import contest
from convnext_dense.benchmark.contest import BF16, OURS, WORKS, build, kept_bytes, prepare, runner

SMALL = {'backbone': (1, 64, 96), 'upernet': (1, 64, 96), 'mask-rcnn': (1, 96, 128)}


@pytest.fixture(autouse=True)
def registered():
    prepare()


@pytest.mark.parametrize('rival', ['timm', 'torchvision', 'transformers'])
def test_peers_give_maps_of_the_same_sizes(rival):
    work = replace(WORKS['backbone'], size=SMALL['backbone'])
    pytest.importorskip(rival)
    ours, theirs = (runner(work, build(work, name), 'channels first')() for name in (OURS, rival))
    assert [m.shape for m in theirs] == [m.shape for m in ours]


@pytest.mark.slow
@pytest.mark.parametrize('rival', [name for name in WORKS['upernet'].rivals if name != 'mmseg'])
def test_segmentors_train_and_predict(rival):
    work = replace(WORKS['upernet-training'], size=(2, 64, 64))
    try:
        contender = build(work, rival)
    except ImportError as error:
        pytest.skip(str(error))
    assert torch.isfinite(runner(work, contender, 'channels last')())
    assert runner(replace(work, training=False), contender, 'channels first')().shape == (2, 150, 64, 64)


def test_kept_bytes_by_hand():
    class Gelu(nn.Module):
        def forward(self, x):
            return nn.functional.gelu(self.linear(x)).sum()

    model = Gelu()
    model.linear = nn.Linear(4, 8, bias=False)
    x = torch.ones(10, 4)
    # Linear keeps its input, GELU its own; the weight is not counted.
    assert kept_bytes(lambda: model(x), model) == 4 * (10 * 4 + 10 * 8)


def test_a_missing_rival_is_named(monkeypatch):
    def absent():
        raise ImportError("No module named 'absent'")

    work = replace(WORKS['backbone'], rivals={OURS: WORKS['backbone'].rivals[OURS], 'absent': absent}, size=(1, 64, 64))
    monkeypatch.setitem(WORKS, 'upernet-bf16', replace(work, dtype=BF16))
    monkeypatch.setattr(contest, 'in_fresh_process', lambda *_: (1, None))
    found = contest.contest('upernet-bf16', 2, lambda line: None)
    assert list(found.entries) == [OURS] and found.missing == {'absent': "No module named 'absent'"}
    assert len(found.entries[OURS].seconds) == 2


@pytest.mark.slow
def test_memory_is_measured_in_a_fresh_process(monkeypatch):
    ballast = torch.ones(2**28)  # a GiB here, not there
    peak, kept = contest.in_fresh_process('backbone', OURS, 'channels last')
    assert 2**28 < peak < 2**31 and kept is None
    assert ballast.sum() > 0


@pytest.mark.parametrize(
    ('arguments', 'line'),
    [
        ([], 'expected --all, or of backbone, .*; got nothing'),
        (['backbone', 'swin'], 'got swin'),
        (['backbone', '--rounds', '0'], '--rounds: expected 1 or more, got 0'),
        (['backbone', '--threads', '-1'], '--threads: expected 1 or more, got -1'),
        (['backbone', '--out', __file__], '--out: expected a folder'),
    ],
)
def test_wrong_options_end_with_one_line(arguments, line, tool):
    one_line(*tool('benchmark', *arguments), line)

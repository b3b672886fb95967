"""Loading that takes most of the time is told once, with what to set."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import forgotten
from guard_runs import tiny_run
from mmengine.logging import HistoryBuffer

from convnext_dense import InputError
from convnext_dense.training import loading_time
from convnext_dense.training.loading_time import START, LoadingTimeHook, advice


def run(hook: LoadingTimeHook, loading: list[float], whole: float = 1.0) -> list[str]:
    lines: list[str] = []
    scalars = {'train/data_time': HistoryBuffer(), 'train/time': HistoryBuffer()}
    runner = SimpleNamespace(
        message_hub=SimpleNamespace(log_scalars=scalars),
        logger=SimpleNamespace(warning=lines.append),
        train_dataloader=SimpleNamespace(num_workers=1, persistent_workers=False),
    )
    for seconds in loading:
        scalars['train/data_time'].update(seconds)
        scalars['train/time'].update(whole)
        hook.after_train_iter(runner, 0)
    return lines


def test_one_line_after_enough_iterations(monkeypatch) -> None:
    monkeypatch.setattr(loading_time, 'processors', lambda: 8)
    assert run(LoadingTimeHook(least=10), [0.9] * (START + 9)) == []
    (line,) = run(LoadingTimeHook(least=10), [0.75] * 60)
    assert line == (
        'loading: 0.75 s of an iteration of 1 s are spent waiting for data (mean of the last 10); train_dataloader.num_workers '
        'is 1, and there are 8 processors: raise it; persistent_workers=True spares starting them anew for every epoch; else '
        'pictures that are stored smaller, or fewer steps in train_pipeline, take less time'
    )


def test_a_slow_start_and_fast_loading_are_not_told() -> None:
    assert run(LoadingTimeHook(least=10), [0.9] * START + [0.1] * 60) == []
    assert run(LoadingTimeHook(), [0.5] * 100) == []
    assert len(run(LoadingTimeHook(share=0.4), [0.5] * 100)) == 1


def test_what_to_set(monkeypatch) -> None:
    monkeypatch.setattr(loading_time, 'processors', lambda: 2)
    busy = advice(SimpleNamespace(num_workers=2, persistent_workers=True))
    assert busy.startswith('num_workers=2 already keep the 2 processors busy: pictures')
    assert 'persistent' not in advice(SimpleNamespace(num_workers=1, persistent_workers=True))


def test_a_run_without_mmengines_timer() -> None:
    LoadingTimeHook(least=1).after_train_iter(SimpleNamespace(message_hub=SimpleNamespace(log_scalars={})), 0)


class Slow(torch.utils.data.Dataset):
    """Sleeps for every picture."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        time.sleep(0.03)
        return dict(inputs=torch.ones(3, 4, 4), data_samples=SimpleNamespace(spoilt=False))


def test_a_run_that_waits(tmp_path: Path) -> None:
    with forgotten():
        tiny_run(tmp_path, START + 6, Slow(), custom_hooks=[dict(type='LoadingTimeHook', least=5)]).train()
    text = ''.join(path.read_text() for path in tmp_path.glob('*/*.log'))
    assert text.count('are spent waiting for data') == 1 and 'num_workers is 0' in text


@pytest.mark.parametrize('given', [dict(share=2), dict(share='x'), dict(least=0)], ids=str)
def test_arguments_that_are_none(given: dict) -> None:
    with pytest.raises(InputError, match=f'LoadingTimeHook.{next(iter(given))}: expected'):
        LoadingTimeHook(**given)

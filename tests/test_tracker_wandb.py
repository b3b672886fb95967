"""What W&B is asked for, which need not be installed."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mmengine.config import Config
from torch import nn
from tracker_sets import module

from convnext_dense.training.tracker_kinds import PROJECT
from convnext_dense.training.tracker_wandb import WandbRun


class Wandb:
    """As much of W&B as is called; a run that goes on is at step 40."""

    def __init__(self, key: str | None = 'key') -> None:
        self.asked: list[dict[str, Any]] = []
        self.api = SimpleNamespace(api_key=key)
        self.logged: list[tuple[int, dict]] = []
        self.config: dict[str, Any] = {}
        self.ended: int | None = None

    def init(self, **given: Any) -> SimpleNamespace:
        self.asked.append(given)
        made = SimpleNamespace(id=given.get('id') or 'new', step=40)
        made.config = SimpleNamespace(update=lambda new, allow_val_change: self.config.update(new))
        made.log = lambda values, step: self.logged.append((step, values))
        made.finish = lambda exit_code: setattr(self, 'ended', exit_code)
        return made


def wandb(monkeypatch, fake: Wandb, asks: bool = False) -> Wandb:
    for name in ('WANDB_PROJECT', 'WANDB_NAME', 'WANDB_MODE'):
        monkeypatch.delenv(name, raising=False)
    login = (lambda key=None: True) if asks else (lambda prompt=True: bool(fake.api.api_key))
    module(monkeypatch, 'wandb', api=fake.api, init=fake.init, login=login, Image=lambda image: ('image', image.shape))
    return fake


def test_wandb_begins_and_goes_on(tmp_path: Path, monkeypatch) -> None:
    fake, folder = wandb(monkeypatch, Wandb()), str(tmp_path / 'wandb')
    assert WandbRun(folder).begin('work', None) == 'new'
    assert WandbRun(folder, init_kwargs=dict(entity='me', project='own')).begin('work', 'abc') == 'abc'
    monkeypatch.setenv('WANDB_PROJECT', 'given')
    monkeypatch.setenv('WANDB_NAME', 'called')
    WandbRun(folder).begin('work', None)
    assert fake.asked == [
        dict(dir=folder, name='work', project=PROJECT),
        dict(dir=folder, id='abc', resume='allow', entity='me', project='own'),
        dict(dir=folder),
    ]
    assert WandbRun.counted and os.path.isdir(folder)


def test_wandb_is_written_to(tmp_path: Path, monkeypatch) -> None:
    fake = wandb(monkeypatch, Wandb())
    made = WandbRun(str(tmp_path))
    made.begin('work', None)
    made.add_config(Config(dict(a=[nn.Conv2d])))
    made.add_scalars(dict(loss=1.0), 20, at=0.0)
    made.add_scalars(dict(mAP=0.5), 1, at=0.0)  # of the first epoch
    made.add_image('scene', np.zeros((2, 3, 3), np.uint8), 21)
    made.end(False)
    assert fake.config == dict(a=['torch.nn.modules.conv.Conv2d']) and fake.ended == 1
    assert fake.logged == [(20, dict(loss=1.0)), (20, dict(mAP=0.5)), (21, dict(scene=('image', (2, 3, 3))))]
    made.begin('work', 'abc')
    made.add_scalars(dict(loss=1.0), 39, at=0.0)
    made.add_scalars(dict(loss=1.0), 41, at=0.0)
    assert [step for step, _ in fake.logged[3:]] == [40, 41]


@pytest.mark.parametrize('asks', [True, False])
def test_wandb_without_a_key_does_not_ask_for_one(tmp_path: Path, asks: bool, monkeypatch) -> None:
    fake = wandb(monkeypatch, Wandb(key=None), asks)
    with pytest.raises(RuntimeError, match='no key: set WANDB_API_KEY'):
        WandbRun(str(tmp_path)).begin('work', None)
    monkeypatch.setenv('WANDB_MODE', 'offline')
    assert WandbRun(str(tmp_path)).begin('work', None) == 'new' and len(fake.asked) == 1

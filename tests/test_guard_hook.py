"""The state of a guard goes into the checkpoint and back where the run goes on from it."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from convnext_dense import InputError
from convnext_dense.training import guard_hook
from convnext_dense.training.guard_hook import GuardHook, expect_share, warn


class One(GuardHook):
    def __init__(self) -> None:
        self.state = dict(count=0, names=[])


class Other(One):
    pass


def test_state_of_several() -> None:
    one, other, checkpoint = One(), Other(), dict[str, Any]()
    one.state['count'], other.state['names'] = 3, ['a']
    for hook in (one, other):
        hook.before_save_checkpoint(None, checkpoint)
    assert checkpoint['guards'] == dict(One=dict(count=3, names=[]), Other=dict(count=0, names=['a']))
    again, fresh, old = One(), One(), One()
    again.after_load_checkpoint(SimpleNamespace(_resume=True), checkpoint)
    fresh.after_load_checkpoint(SimpleNamespace(_resume=False), checkpoint)
    old.after_load_checkpoint(SimpleNamespace(_resume=True), dict(guards=dict(One=dict(count=2, gone=1))))
    assert again.state == one.state and fresh.state == dict(count=0, names=[]) == One().state
    assert old.state == dict(count=2, names=[])
    old.after_load_checkpoint(SimpleNamespace(_resume=True), dict(guards=dict(One=['no dict'])))
    old.after_load_checkpoint(SimpleNamespace(_resume=True), {})
    assert old.state == dict(count=2, names=[])


@pytest.mark.parametrize('main', [True, False])
def test_a_warning_is_seen_from_every_process(monkeypatch, main: bool) -> None:
    """mmengine shows errors alone of processes other than the main one."""
    monkeypatch.setattr(guard_hook, 'is_main_process', lambda: main)
    told: list[Any] = []
    warn(SimpleNamespace(logger=SimpleNamespace(log=lambda *args: told.append(args))), 'words')
    assert told == [(logging.WARNING if main else logging.ERROR, 'words')]


@pytest.mark.parametrize('given', [-0.1, 1.1, True, 'half', float('nan'), None])
def test_what_is_no_share(given: Any) -> None:
    with pytest.raises(InputError, match='hook.share: expected a share from 0 to 1, got'):
        expect_share('hook.share', given)
    expect_share('hook.share', 0)
    expect_share('hook.share', 1)

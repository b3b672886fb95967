"""The guards that a run has, but for those that the config names itself."""

from mmengine.config import Config
from mmengine.registry import HOOKS

from convnext_dense.run.guarding import GUARDS, guard_hooks
from convnext_dense.training.finite import FiniteHook


def test_all_of_them_and_they_can_be_built() -> None:
    hooks = guard_hooks(Config(dict()))
    assert [hook['type'] for hook in hooks] == list(GUARDS) and all(HOOKS.build(hook) for hook in hooks)
    assert guard_hooks(Config(dict(custom_hooks=None))) == hooks


def test_one_that_the_config_names_keeps_its_arguments() -> None:
    given = [dict(type='FiniteHook', max_skipped=3), dict(type='mmengine.BadPicturesHook'), dict(type='ProgressBarHook')]
    assert [hook['type'] for hook in guard_hooks(Config(dict(custom_hooks=given)))] == ['LossSpikeHook', 'LoadingTimeHook']
    assert 'FiniteHook' not in [hook['type'] for hook in guard_hooks(Config(dict(custom_hooks=[dict(type=FiniteHook)])))]

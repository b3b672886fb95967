"""NaN in a picture or a gradient: the step is left out and nothing is changed; too many stop the run and are written down."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import forgotten
from guard_runs import state_of, tiny_run
from mmengine.hooks import Hook

from convnext_dense import InputError
from convnext_dense.training.finite import LINES, FiniteHook


class Watch(Hook):
    """Notes what the model, its optimiser and its average hold after each iteration, after the hooks above it."""

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self.states: list[list[torch.Tensor]] = []
        self.averages: list[list[torch.Tensor]] = []

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        self.states.append(state_of(runner))
        for hook in runner.hooks:
            if type(hook).__name__ == 'EMAHook':
                self.averages.append([x.clone() for x in hook.ema_model.state_dict().values()])


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


def log(folder: Path) -> str:
    return ''.join(path.read_text() for path in folder.glob('*/*.log'))


@pytest.mark.parametrize('loop', ['ResumableIterLoop', 'IterBasedTrainLoop'])
@pytest.mark.parametrize('fault', ['nan', 'spoilt'])
def test_a_step_that_is_not_finite_changes_nothing(tmp_path: Path, fault: str, loop: str) -> None:
    watch = Watch()
    dataset = dict(type='TinyPictures') | {fault: [2]}
    with forgotten():
        runner = tiny_run(tmp_path, 5, dataset, train_cfg=dict(type=loop), custom_hooks=[dict(type='FiniteHook'), watch])
        runner.train()
        skipped = list(runner.message_hub.get_scalar('train/skipped').data[0])
    one, two, three, four, _ = watch.states
    assert equal(two, three) and not equal(one, two) and not equal(three, four)  # parameters, statistics, optimiser
    assert skipped == [1] and all(torch.isfinite(x).all() for x in watch.states[-1])
    what = 'loss_square' if fault == 'nan' else 'the gradient'
    assert f'finite: iteration 3: {what} is not finite, the step is left out; pictures: 2.png' in log(tmp_path)


def test_in_an_accumulation_the_whole_update_is_left_out_and_averages_take_no_nan(tmp_path: Path) -> None:
    """Statistics are those of before the update; the average also takes in buffers, after each iteration."""
    watch = Watch()
    hooks = [dict(type='FiniteHook'), dict(type='EMAHook', update_buffers=True), watch]
    with forgotten():
        dataset = dict(type='TinyPictures', nan=[3])
        tiny_run(tmp_path, 9, dataset, dict(accumulative_counts=3), custom_hooks=hooks).train()
    assert equal(watch.states[2], watch.states[5]) and not equal(watch.states[5], watch.states[8])
    assert all(torch.isfinite(x).all() for state in watch.averages for x in state) and len(watch.averages) == 9
    assert 'finite: iteration 4: loss_square is not finite' in log(tmp_path)


def test_a_run_without_faults_has_the_same_bits(tmp_path: Path) -> None:
    states = []
    for number, hooks in enumerate(([], [dict(type='FiniteHook')])):
        with forgotten():
            wrapper = dict(clip_grad=dict(max_norm=0.1))
            runner = tiny_run(tmp_path / str(number), 5, None, wrapper, custom_hooks=copy.deepcopy(hooks))
            runner.train()
            states.append(state_of(runner))
    assert equal(*states)
    one, other = (re.findall(r'grad_norm: \S+', log(tmp_path / str(i))) for i in range(2))
    assert one == other and len(one) == 5


@pytest.mark.parametrize('fault', ['nan', 'spoilt'])
def test_too_many_in_a_row_stop_the_run(tmp_path: Path, fault: str) -> None:
    dataset = dict(type='TinyPictures') | {fault: [1, 3, 4, 5]}
    with forgotten():
        runner = tiny_run(tmp_path, 8, dataset, custom_hooks=[dict(type='FiniteHook', max_skipped=3)])
        with pytest.raises(InputError) as stop:
            runner.train()
    where = 'data_preprocessor (BaseDataPreprocessor)' if fault == 'nan' else 'gradient of head.weight'
    assert f'got 3 steps in a row without, last in iteration 6 ({"loss_square" if fault == "nan" else "the gradient"})' in str(
        stop.value
    )
    assert f': {where}; pictures: 5.png; the batch is in {tmp_path}/nan_batch.pth; ' in str(stop.value)
    assert ('repair 5.png' in str(stop.value)) == (fault == 'nan')
    content = torch.load(tmp_path / 'nan_batch.pth', weights_only=True)
    assert content['pictures'] == ['5.png'] and content['iteration'] == 6 and content['seed'] == 0
    assert content['layer'] == where and set(content['losses']) == {'loss', 'loss_square'}
    (picture,) = content['inputs']
    assert picture.shape == (3, 4, 4) and torch.isnan(picture).any() == (fault == 'nan')


def test_the_count_goes_on_where_a_run_does(tmp_path: Path) -> None:
    """Two before the checkpoint and one after it are three in a row; a run of its own begins at none."""
    dataset, hook = dict(type='TinyPictures', nan=[0, 1, 2]), dict(type='FiniteHook', max_skipped=3)
    keep = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1))
    with forgotten():
        tiny_run(tmp_path / 'a', 2, dataset, custom_hooks=[hook], default_hooks=keep).train()
    saved = torch.load(tmp_path / 'a/iter_2.pth', weights_only=False)
    assert saved['guards']['FiniteHook'] == dict(in_a_row=2, total=2)
    again: dict[str, Any] = dict(custom_hooks=[hook], load_from=str(tmp_path / 'a/iter_2.pth'))
    with forgotten(), pytest.raises(InputError, match='got 3 steps in a row'):
        tiny_run(tmp_path / 'b', 4, dataset, **copy.deepcopy(again), resume=True).train()
    with forgotten(), pytest.raises(InputError, match='last in iteration 3'):
        tiny_run(tmp_path / 'c', 4, dataset, **copy.deepcopy(again)).train()


def test_statistics_of_before_an_unfinished_update_are_in_the_checkpoint(tmp_path: Path) -> None:
    """The fault comes after the resume: the run is as one that was not stopped."""
    dataset, wrapper = dict(type='TinyPictures', nan=[5]), dict(accumulative_counts=3)
    keep = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=9))

    def run(name: str, iterations: int, **settings: Any) -> list[torch.Tensor]:
        with forgotten():
            hooks = [dict(type='FiniteHook')]
            runner = tiny_run(tmp_path / name, iterations, dataset, wrapper, custom_hooks=hooks, default_hooks=keep, **settings)
            runner.train()
            return state_of(runner)

    whole = run('a', 6)
    assert 'buffers' in torch.load(tmp_path / 'a/iter_4.pth', weights_only=False)['guards']['FiniteHook']
    assert equal(whole, run('b', 6, load_from=str(tmp_path / 'a/iter_4.pth'), resume=True))


def test_a_few_lines_and_then_the_number(tmp_path: Path) -> None:
    with forgotten():
        dataset = dict(type='TinyPictures', size=20, nan=list(range(0, 20, 2)))
        tiny_run(tmp_path, 20, dataset, custom_hooks=[dict(type='FiniteHook')]).train()
    text = log(tmp_path)
    assert text.count('the step is left out') == LINES and 'finite: 10 steps were left out in all' in text
    assert 'skipped: 10' in text


@pytest.mark.parametrize('given', [0, -1, True, 1.5, '3'])
def test_a_number_that_is_none(given: Any) -> None:
    with pytest.raises(InputError, match='FiniteHook.max_skipped: expected a whole number from 1 up'):
        FiniteHook(max_skipped=given)

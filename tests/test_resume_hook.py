"""What a checkpoint gets for an exact resume, and what of it is put back."""

from pathlib import Path

import pytest
import torch
from tiny_runs import equal, runner, state

from convnext_dense import InputError
from convnext_dense.training.loops import resumable_loader
from convnext_dense.training.resume_hook import ResumeHook

EVERY = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1))


def saved(work_dir: Path, iteration: int, **given) -> dict:
    runner(work_dir, dict(max_iters=6), default_hooks=EVERY, **given).train()
    return torch.load(work_dir / f'iter_{iteration}.pth', weights_only=True)


def test_what_a_checkpoint_gets(tmp_path) -> None:
    stops = dict(type='EarlyStoppingHook', monitor='score', rule='greater')
    assert saved(tmp_path, 2, custom_hooks=[stops])['resume'] == dict(images=2, samples=8, early_stopping=[[0, float('-inf')]])


def test_gradients_are_saved_within_an_accumulation_alone(tmp_path) -> None:
    content = {i: saved(tmp_path, i, accumulate=3)['resume'] for i in (2, 3)}
    assert 'accumulated' not in content[3]
    (own,) = content[2]['accumulated']
    assert set(own['gradients']) == {f'layers.{i}.{name}' for i in (0, 1, 3) for name in ('weight', 'bias')}
    assert set(own['buffers']) == {f'layers.1.{name}' for name in ('running_mean', 'running_var', 'num_batches_tracked')}


def test_gradients_of_more_processes_become_their_mean(tmp_path) -> None:
    """So that an update takes the same gradient; the batches that follow are others."""
    content = saved(tmp_path, 2, accumulate=3)
    (own,) = content['resume']['accumulated']
    twice = dict(own, gradients={name: 3 * value for name, value in own['gradients'].items()})
    content['resume']['accumulated'] = [own, twice]
    made = runner(tmp_path / 'again', dict(max_iters=6), accumulate=3)
    hook = ResumeHook()
    made._resume = True
    hook.after_load_checkpoint(made, content)
    made._train_dataloader = made.build_dataloader(resumable_loader(made._train_dataloader, endless=True))
    hook.restore(made)
    for name, param in made.model.named_parameters():
        assert param.grad is not None and torch.allclose(param.grad, 2 * own['gradients'][name])


def test_gradients_of_another_model_are_refused(tmp_path) -> None:
    content = saved(tmp_path, 2, accumulate=3)
    content['resume']['accumulated'][0]['gradients']['layers.0.weight'] = torch.ones(1)
    torch.save(content, tmp_path / 'spoilt.pth')
    again = runner(tmp_path / 'again', dict(max_iters=6), accumulate=3, resume=True, load_from=str(tmp_path / 'spoilt.pth'))
    with pytest.raises(InputError, match='expected gradients of the model, got another one for layers.0.weight'):
        again.train()


def test_weights_alone_bring_nothing_of_the_run(tmp_path) -> None:
    saved(tmp_path, 2, accumulate=3)
    fresh = runner(tmp_path / 'fresh', dict(max_iters=6), accumulate=3, load_from=str(tmp_path / 'iter_2.pth'))
    fresh.train()
    hook = next(hook for hook in fresh.hooks if isinstance(hook, ResumeHook))
    assert hook.loaded == {} and fresh.iter == 6


def test_checkpoints_of_mmengine_s_own_loops_are_taken(tmp_path) -> None:
    content = saved(tmp_path, 4)
    del content['resume']
    torch.save(content, tmp_path / 'old.pth')
    runs = [tmp_path / 'iter_4.pth', tmp_path / 'old.pth']
    made = [runner(tmp_path / path.stem, dict(max_iters=6), resume=True, load_from=str(path)) for path in runs]
    for one in made:
        one.train()
    assert equal(*map(state, made))


def test_another_number_of_images_is_told(tmp_path, caplog) -> None:
    content = saved(tmp_path, 2)
    content['resume']['images'] = 16
    torch.save(content, tmp_path / 'other.pth')
    again = runner(tmp_path / 'again', dict(max_iters=3), resume=True, load_from=str(tmp_path / 'other.pth'))
    again.logger.setLevel('WARNING')
    again.logger.addHandler(caplog.handler)
    again.train()
    assert 'an iteration took 16 images (batch_size x processes) and takes 2 now' in caplog.text

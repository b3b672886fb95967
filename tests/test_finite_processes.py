"""Two processes, one of which reads NaN: both leave out the same steps, and both stop."""

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from guard_runs import forgotten, state_of, tiny_run
from mmengine.config import Config
from two_processes import in_two_processes

from convnext_dense import InputError


def train(rank: int, folder: str) -> None:
    """One process's run; its end goes into a file."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2')
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    with forgotten():
        runner = tiny_run(
            Path(folder),
            6,
            dict(type='TinyPictures', size=12, nan=[3, 5, 7]),  # of the second process: iterations 2, 3, 4
            dict(clip_grad=dict(max_norm=1.0)),
            launcher='pytorch',
            cfg=Config(dict(model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None))),
            custom_hooks=[dict(type='FiniteHook', max_skipped=3)],
        )
        try:
            runner.train()
            end = 'done'
        except InputError as error:
            end = str(error)
        values = [x.double() for x in state_of(runner)]
        torch.save(
            dict(end=end, state=values, total=runner.message_hub.get_scalar('train/skipped').current()), f'{folder}/{rank}'
        )
    dist.destroy_process_group()


@pytest.mark.slow
def test_both_processes_take_the_same_decision(tmp_path: Path) -> None:
    in_two_processes(train, str(tmp_path))
    one, other = (torch.load(tmp_path / str(rank), weights_only=False) for rank in range(2))
    assert one['total'] == other['total'] == 3
    same = [torch.equal(x, y) for x, y in zip(one['state'], other['state'], strict=True)]
    assert same.count(False) <= 2  # the norm's statistics, which are each one's own
    assert all(torch.isfinite(x).all() for state in (one['state'], other['state']) for x in state)
    text = ''.join(path.read_text() for path in tmp_path.glob('*/*.log'))
    assert 'finite: iteration 2: loss_square is not finite, the step is left out; pictures: 3.png' in text
    assert one['end'] == other['end']  # of the one that saw it
    assert 'data_preprocessor' in other['end'] and 'repair 7.png' in other['end']
    assert not (tmp_path / 'nan_batch.pth').exists()
    assert torch.load(tmp_path / 'nan_batch_rank1.pth', weights_only=True)['rank'] == 1

"""Models divided among two processes, beside DistributedDataParallel: same losses, weights and checkpoints, also resumed."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_runs
import torch
import torch.distributed as dist
from conftest import forgotten
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.utils.data import Subset
from two_processes import in_two_processes

from convnext_dense import InputError
from convnext_dense.models.convnext import ConvNeXt
from convnext_dense.run.launch import WholeModelRunner
from convnext_dense.training.sharded import ShardedModel, blocks_of, check_divisible, divided_as, gathered, whole

DDP, FSDP = dict(type='MMDistributedDataParallel', device_ids=None), dict(type='ShardedModel', least=1)
ACCUMULATED, CLIPPED = dict(accumulate=3), dict(clip=dict(max_norm=0.05))


class Block(nn.Module):
    """A layer, a norm with running statistics, dropout."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.Dropout(0.25))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x).tanh()


class Net(BaseModel):
    """Two blocks and a head, in float64; a parameter of one value, which has no part in the second process."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(Block(3), Block(3))
        self.head, self.scale = nn.Linear(3, 1), nn.Parameter(torch.ones(1))
        self.double()

    def forward(self, x: Any, mode: str = 'loss') -> Any:
        x = (torch.stack(x) if isinstance(x, list) else x).double()
        y = self.head(self.backbone(x)) * self.scale
        return dict(loss=(y - x.sum(1, keepdim=True)).square().mean()) if mode == 'loss' else [y]


def train(
    folder: Path, name: str, wrapper: dict, resume: str | None = None, clip: dict | None = None, accumulate: int = 1
) -> None:
    """Six steps with an evaluation after the fourth, in which the processes have three pictures and two."""
    torch.manual_seed(torch.distributed.get_rank())  # the first process's weights count
    val = dict(batch_size=1, dataset=Subset(tiny_runs.Samples(), range(5)))
    made = tiny_runs.runner(
        folder / name,
        dict(max_iters=6, val_interval=4),
        accumulate,
        model=Net(),
        launcher='pytorch',
        cfg=Config(dict(model_wrapper_cfg=wrapper)),
        val_dataloader=dict(**val, sampler=dict(type='DefaultSampler', shuffle=False, round_up=False)),
        default_hooks=dict(
            checkpoint=dict(type='SafeCheckpointHook', by_epoch=False, interval=1, save_best='score', rule='greater')
        ),
        custom_hooks=[dict(type='FiniteHook'), dict(type='BroadcastBuffersHook')],
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-2), accumulative_counts=accumulate, clip_grad=clip),
        load_from=None if resume is None else str(folder / resume),
        resume=resume is not None,
        experiment_name=name,
    )
    made.train()


def one_process(rank: int, folder: Path) -> None:
    """All runs, one after another."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2')
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    tiny_runs.Runner = WholeModelRunner  # type: ignore[misc]
    with forgotten():
        for name, more in dict(plain={}, accumulated=ACCUMULATED, clipped=CLIPPED).items():
            train(folder, f'ddp_{name}', DDP, **more)
            train(folder, f'fsdp_{name}', FSDP, **more)
        train(folder, 'again', FSDP, 'fsdp_accumulated/iter_4.pth', **ACCUMULATED)  # with an evaluation, and within an update
        train(folder, 'again_plain', FSDP, 'fsdp_plain/iter_3.pth')
        train(folder, 'fsdp_to_ddp', DDP, 'fsdp_accumulated/iter_4.pth', **ACCUMULATED)
        train(folder, 'ddp_to_fsdp', FSDP, 'ddp_accumulated/iter_4.pth', **ACCUMULATED)
    shares(rank)
    dist.destroy_process_group()


def shares(rank: int) -> None:
    """What a process holds, within a run and while a checkpoint is written."""
    model = ShardedModel(Net(), least=1)
    weight = model.module.backbone[0].layers[0].weight
    assert weight.to_local().shape == (2 - rank, 3) and whole(weight).shape == (3, 3)
    value = torch.arange(9.0).view(3, 3).double()
    assert torch.equal(whole(divided_as(value, weight)), value)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    model.follow(wrapper.optimizer)
    model.train_step(dict(x=torch.ones(2, 3)), wrapper)
    model.eval()
    assert all(type(param) is nn.Parameter for param in model.parameters())
    model.val_step(dict(x=torch.ones(2, 3)))
    model.train()
    assert type(model.module.head.weight) is not nn.Parameter
    with gathered(model, wrapper):
        state = [*model.module.state_dict().values(), wrapper.state_dict()['state'][0]['momentum_buffer']]
        assert all((type(one) is Tensor) is (rank == 0) for one in (state[0], state[-1]))
    assert type(model.module.state_dict()['head.weight']) is not Tensor


@pytest.fixture(scope='module')
def runs(tmp_path_factory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp('sharded')
    in_two_processes(one_process, folder)
    yield folder


def tensors(path: Path) -> dict[str, Tensor]:
    """Weights, statistics, optimiser state and what is kept of an accumulation."""
    content = torch.load(path, weights_only=True)
    found = {f'weights.{name}': value for name, value in content['state_dict'].items()}
    for number, state in content['optimizer']['state'].items():
        found |= {f'optimizer.{number}.{name}': value for name, value in state.items()}
    for name, value in content['resume'].get('accumulated', [dict(gradients={})])[0]['gradients'].items():
        found[f'gradients.{name}'] = value
    scalars = content['message_hub']['log_scalars']
    return found | {name: torch.tensor(scalars[name]._log_history) for name in ('train/loss', 'train/grad_norm')}


@pytest.mark.slow
@pytest.mark.parametrize('name', ['plain', 'accumulated', 'clipped'])
def test_as_distributed_data_parallel(runs: Path, name: str) -> None:
    one, other = (tensors(runs / f'{kind}_{name}' / 'iter_6.pth') for kind in ('ddp', 'fsdp'))
    assert list(one) == list(other)
    for key, value in one.items():
        torch.testing.assert_close(other[key], value, rtol=1e-9, atol=1e-12, msg=key)
    best = torch.load(next((runs / f'fsdp_{name}').glob('best*')), weights_only=True)
    assert all(type(value) is Tensor for value in best['state_dict'].values()) and 'optimizer' not in best


@pytest.mark.slow
@pytest.mark.parametrize(('again', 'before'), [('again', 'fsdp_accumulated'), ('again_plain', 'fsdp_plain')])
def test_a_resumed_run_has_the_same_bits(runs: Path, again: str, before: str) -> None:
    one, other = (tensors(runs / name / 'iter_6.pth') for name in (before, again))
    assert list(one) == list(other) and all(torch.equal(other[key], value) for key, value in one.items())


@pytest.mark.slow
@pytest.mark.parametrize('name', ['fsdp_to_ddp', 'ddp_to_fsdp'])
def test_the_other_kind_goes_on_from_a_checkpoint(runs: Path, name: str) -> None:
    one, other = (tensors(runs / folder / 'iter_6.pth') for folder in ('ddp_accumulated', name))
    assert list(one) == list(other)
    for key, value in one.items():
        torch.testing.assert_close(other[key], value, rtol=1e-9, atol=1e-12, msg=key)


@pytest.mark.slow
def test_gradients_of_an_unfinished_update_are_in_the_checkpoint(runs: Path) -> None:
    accumulated = torch.load(runs / 'fsdp_accumulated' / 'iter_4.pth', weights_only=True)['resume']['accumulated']
    assert len(accumulated) == 2 and set(accumulated[0]['gradients']) == {name for name, _ in Net().named_parameters()}


def test_the_blocks_of_a_model() -> None:
    model = nn.Module()
    model.backbone, model.head = ConvNeXt('atto'), nn.Sequential(nn.Linear(400, 400))
    found = blocks_of(model)
    assert [type(one).__name__ for one in found] == ['Block'] * 8  # the third stage's and the fourth's
    assert found[0] is model.backbone.stages[3][1]
    nested = nn.Sequential(nn.Sequential(Block(3), nn.ReLU()), Block(3))
    assert set(blocks_of(nested, least=10)) == {nested[0][0], nested[1]}
    assert blocks_of(nested) == []


def test_what_cannot_be_divided() -> None:
    model = Net()
    model.scale = nn.Parameter(torch.tensor(1.0))
    with pytest.raises(InputError, match='expected parameters with a dimension, which can be divided, got scale of Net'):
        check_divisible(model)
    with pytest.raises(InputError, match='expected a distributed run of 2 or more processes'):
        ShardedModel(Net())

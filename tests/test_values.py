"""Numbers that a library takes and no run can use, in what was built."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn
from torch.utils.data import DataLoader

from convnext_dense import InputError
from convnext_dense.run import values
from convnext_dense.run.values import check_loader, check_loop, check_model, check_numbers, check_optimizer, check_schedule


def wrapper(**groups) -> OptimWrapper:
    optimizer = torch.optim.SGD([dict(params=[nn.Parameter(torch.zeros(1))]) for _ in range(2)], lr=0.1)
    for group in optimizer.param_groups:
        group['initial_lr'] = 0.1
    optimizer.param_groups[0].update(groups)
    return OptimWrapper(optimizer)


@pytest.mark.parametrize(
    'entries',
    [
        dict(a=dict(norm_type=float('inf'))),
        dict(model=dict(test_cfg=dict(score_thr=0.05, max_per_img=100))),
        dict(model=dict(a=dict(pos_iou_thr=0), b=dict(ignore_iof_thr=-1), c=dict(iou_threshold=1))),
        dict(model=dict(neg_iou_thr=(0.1, 0.3))),
        dict(randomness=dict(seed=2**32 - 1), a=2**31 - 1, b=-(2**31) + 1),
        dict(a=dict(type='Linear', out_features=None), b=dict(type=3)),
    ],
)
def test_numbers_that_can_be(entries: dict) -> None:
    check_numbers(Config(entries))


@pytest.mark.parametrize(
    'entries, message',
    [
        (dict(a=dict(b=[1.0, float('nan')])), 'a.b.1: expected a finite number, got nan'),
        (dict(max_norm=float('inf')), 'max_norm: expected a finite number, got inf'),
        (dict(a=dict(norm_type=float('nan'))), 'a.norm_type: expected a finite number, got nan'),
        (dict(a=2**31), 'a: expected a number of at most 2147483647, got 2147483648'),
        (dict(a=-(2**31)), 'a: expected a number of at most 2147483647'),
        (dict(model=dict(test_cfg=dict(score_thr=1.5))), 'score_thr: expected a share from 0 to 1, got 1.5'),
        (dict(model=dict(test_cfg=dict(score_thr=-2))), 'score_thr: expected a share'),
        (dict(model=dict(x=dict(mask_thr_binary=7.0))), 'mask_thr_binary: expected a share from 0 to 1'),
        (
            dict(model=dict(anchor_generator=dict(strides=[4, 0]))),
            'anchor_generator.strides.1: expected a number above 0, got 0',
        ),
        (dict(model=dict(x=dict(max_per_img=0))), 'max_per_img: expected a whole number from 1 up, got 0'),
        (dict(model=dict(x=dict(max_per_img=1.5))), 'max_per_img: expected a whole number'),
        (dict(model=dict(nms=dict(type='eval'))), "nms.type: expected a function of mmcv.ops.*got 'eval'"),
        (dict(model=dict(nms=dict(type='nms_nothing'))), 'nms.type: expected a function of mmcv.ops'),
        (dict(h=dict(type='EMAHook', update_buffers=1), default_scope='mmengine'), ''),
        (dict(h=dict(type='LoggerHook', interval=2.0)), 'h.interval: expected int, as LoggerHook takes it; got 2.0'),
        (dict(h=dict(type='LoggerHook', interval=True)), 'h.interval: expected int'),
        (dict(h=dict(type='LoggerHook', ignore_last='no')), 'h.ignore_last: expected bool'),
        (dict(h=dict(type='LoggerHook', interval=None)), 'h.interval: expected int'),
    ],
)
def test_numbers_that_cannot(entries: dict, message: str) -> None:
    if not message:  # its annotation is of more than plain types, or it takes anything by keyword
        check_numbers(Config(entries))
        return
    with pytest.raises(InputError, match=message):
        check_numbers(Config(entries))


def test_optimisers_that_can_train() -> None:
    check_optimizer(wrapper())
    check_optimizer(wrapper(lr=0))  # a frozen part beside one that trains
    check_optimizer(OptimWrapperDict(one=wrapper(), two=wrapper(momentum=-0.5)))


@pytest.mark.parametrize(
    'groups, message',
    [
        (dict(lr=float('inf')), 'optimizer.lr: expected a finite number from 0 to 1000, got inf'),
        (dict(lr=1e30), 'optimizer.lr: expected a finite number from 0 to 1000, got 1e'),
        (dict(lr=-1e-9), 'optimizer.lr: expected a finite number from 0 to 1000'),
        (dict(weight_decay=float('nan')), 'optimizer.weight_decay: expected a finite number'),
        (dict(eps=-1), 'optimizer.eps: expected a finite number above 0'),
        (dict(eps=0.0), 'optimizer.eps: expected a finite number above 0, got 0'),
        (dict(momentum=5.0), 'optimizer.momentum: expected a finite number below 1, got 5'),
        (dict(betas=(0.9, float('inf'))), 'optimizer.betas: expected a finite number'),
    ],
)
def test_optimisers_that_cannot(groups: dict, message: str) -> None:
    for one in (wrapper(**groups), OptimWrapperDict(fine=wrapper(), wrong=wrapper(**groups))):
        with pytest.raises(InputError, match=message):
            check_optimizer(one)


def test_an_optimiser_that_trains_nothing() -> None:
    one = wrapper()
    for group in one.optimizer.param_groups:
        group['lr'] = 0
    with pytest.raises(InputError, match='lr: expected more than 0, got 0 for every parameter'):
        check_optimizer(one)


class Scheduler:
    """Sets the rate of its n-th step, and counts them."""

    def __init__(self, one: OptimWrapper, rates, by_epoch: bool = False) -> None:
        self.one, self.rates, self.by_epoch, self.steps = one, rates, by_epoch, 0

    def step(self) -> None:
        self.steps += 1
        for group in self.one.optimizer.param_groups:
            group['lr'] = self.rates(self.steps)


@pytest.mark.parametrize('steps, by_epoch', [(1, False), (2, False), (7, True), (10**6, False)])
def test_a_schedule_is_followed_step_by_step(monkeypatch, steps: int, by_epoch: bool) -> None:
    monkeypatch.setattr(values, 'SIMULATED', 50)
    one = wrapper()
    scheduler = Scheduler(one, lambda n: 0.1, by_epoch)
    loop = SimpleNamespace(max_iters=1 if by_epoch else steps, max_epochs=steps if by_epoch else 1)
    check_schedule([scheduler], one, loop)
    assert scheduler.steps == min(steps, 50) - 1


@pytest.mark.parametrize('rate, wrong', [(float('nan'), True), (-0.1, True), (101.0, True), (99.0, False), (0.0, False)])
def test_rates_that_leave_the_range(rate: float, wrong: bool) -> None:
    one = wrapper()
    scheduler, loop = Scheduler(one, lambda n: rate if n == 3 else 0.1), SimpleNamespace(max_iters=9, max_epochs=1)
    if not wrong:
        check_schedule([scheduler], one, loop)
        return
    with pytest.raises(InputError, match=f'got {rate:g} at iteration 4; check Scheduler'):
        check_schedule(dict(one=[scheduler]), dict(one=one), loop)


@pytest.mark.parametrize('name, value', [('max_iters', 0), ('max_epochs', 1.5), ('val_interval', True), ('val_begin', -1)])
def test_loops_that_do_nothing(name: str, value: object) -> None:
    fine = dict(max_iters=1, max_epochs=1, val_interval=1, val_begin=0)
    check_loop(SimpleNamespace(**fine))
    with pytest.raises(InputError, match=f'train_cfg.{name}: expected a whole number from'):
        check_loop(SimpleNamespace(**{**fine, name: value}))


def test_models() -> None:
    loss = nn.Identity()
    loss.loss_weight = 0
    check_model(nn.Sequential(nn.BatchNorm2d(2, momentum=None), nn.BatchNorm2d(2, momentum=1), nn.LayerNorm(2), loss))
    for module, message in (
        (nn.BatchNorm2d(2, eps=0), r'model.1.eps: expected a finite number above 0'),
        (nn.BatchNorm2d(2, momentum=1.1), r'model.1.momentum: expected a number from 0 to 1'),
        (nn.BatchNorm2d(2, momentum=-0.1), r'model.1.momentum: expected a number from 0 to 1'),
        (nn.GroupNorm(1, 2, eps=-1), r'model.1.eps'),
        (nn.LayerNorm(2, eps=float('inf')), r'model.1.eps'),
        (nn.Conv2d(2, 0, 1), r'model.1.weight: expected weights, got none, of shape \(0, 2, 1, 1\)'),
    ):
        with pytest.raises(InputError, match=message):
            check_model(nn.Sequential(nn.Identity(), module))
    loss.loss_weight = [1, 0.5]
    check_model(loss)
    loss.loss_weight = -1
    with pytest.raises(InputError, match='loss_weight: expected a finite number from 0 up'):
        check_model(nn.Sequential(loss))


@pytest.mark.parametrize('images, processes, fits', [(6, 1, True), (5, 1, False), (12, 2, True), (11, 2, False), (0, 1, False)])
def test_a_whole_batch_for_every_process(images: int, processes: int, fits: bool) -> None:
    loader = DataLoader(list(range(images)), batch_size=6, drop_last=True)
    with nullcontext() if fits else pytest.raises(InputError, match='train_dataloader.*expected at least one'):
        check_loader('train_dataloader', loader, processes)

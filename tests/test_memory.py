"""A first step that does not fit: half the batch, twice accumulated, the same images an update, and the run goes on."""

import copy
from pathlib import Path

import pytest
import torch
from conftest import QUICK, SHAPES, call_tool
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from convnext_dense.run.memory import as_halved, train_within_memory
from convnext_dense.run.options import load_config
from convnext_dense.segmentation import LeanEncoderDecoder


class Runner:
    """In place of mmengine's: as many images as fit, or an error, before its first step or later."""

    def __init__(self, cfg: Config, fits: int, done: int = 0) -> None:
        self.cfg, self.fits, self.iter = cfg, fits, done

    def train(self) -> None:
        if self.cfg.train_dataloader.batch_size > self.fits:
            raise torch.OutOfMemoryError('CUDA out of memory.')


@pytest.fixture
def model(cfg: Config):
    with DefaultScope.overwrite_default_scope('mmseg'), torch.device('meta'):
        cfg.model.decode_head.norm_cfg = cfg.model.auxiliary_head.norm_cfg = dict(type='BN')
        cfg.model.backbone.init_cfg = None
        return MODELS.build(cfg.model)


def test_the_batch_is_halved_until_it_fits(cfg: Config, model) -> None:
    told = []
    train_within_memory(cfg, model, 1, lambda lines: told.append(lines) or Runner(cfg, 2))
    assert cfg.train_dataloader.batch_size == 2 and cfg.optim_wrapper.accumulative_counts == 4
    assert [len(lines) for lines in told] == [0, 1, 2]
    assert told[2][1] == (
        'memory: the first step did not fit: 2 images at a time, 4 times accumulated, which makes the same 8 an update'
    )
    assert cfg.train_cfg.max_iters == 8000 and cfg.train_cfg.val_interval == 4000
    warm, decay = cfg.param_scheduler
    assert (warm.end, decay.begin, decay.end) == (200, 200, 8000) and cfg.default_hooks.checkpoint.interval == 4000


@pytest.mark.parametrize(('fits', 'done'), [(1, 0), (2, 3)])
def test_where_it_cannot_be(cfg: Config, model, fits: int, done: int) -> None:
    """One image is too few for the batch norm of a pooled map; a later step is not the first."""
    with pytest.raises(torch.OutOfMemoryError):
        train_within_memory(cfg, model, 1, lambda lines: Runner(cfg, fits, done))


def test_several_processes_do_not_decide_alone(cfg: Config, model) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        train_within_memory(cfg, model, 2, lambda lines: Runner(cfg, 4))
    assert cfg.train_dataloader.batch_size == 8


def test_a_resumed_run_keeps_its_batch(cfg: Config, model) -> None:
    """It has done iterations of this batch, of which there would be twice as many."""
    cfg.resume, cfg.load_from = True, 'iter_3.pth'
    with pytest.raises(torch.OutOfMemoryError):
        train_within_memory(cfg, model, 1, lambda lines: Runner(cfg, 4, 3))
    with pytest.raises(torch.OutOfMemoryError):
        train_within_memory(cfg, model, 1, lambda lines: Runner(cfg, 4, 0))  # before the runner has loaded it
    assert cfg.train_dataloader.batch_size == 8 and cfg.train_cfg.max_iters == 2000


def test_a_resumed_run_is_halved_as_it_began(cfg: Config, model) -> None:
    before = copy.deepcopy(cfg)
    assert as_halved(cfg, model, before) == [] == as_halved(cfg, model, {})
    train_within_memory(before, model, 1, lambda lines: Runner(before, 2))
    (line,) = as_halved(cfg, model, before)
    assert line.startswith('memory: as the run began: 2 images at a time, 4 times accumulated')
    assert cfg.train_cfg.max_iters == before.train_cfg.max_iters == 8000
    assert cfg.train_dataloader.batch_size == 2 and cfg.optim_wrapper.accumulative_counts == 4


@pytest.mark.slow
def test_through_the_command(shapes: str, tmp_path: Path, monkeypatch) -> None:
    step, sizes = LeanEncoderDecoder.train_step, []

    def train_step(self, data, optim_wrapper):
        sizes.append(len(data['inputs']))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError('CUDA out of memory.')
        return step(self, data, optim_wrapper)

    monkeypatch.setattr(LeanEncoderDecoder, 'train_step', train_step)
    options = [
        *QUICK[1:],
        'train_dataloader.batch_size=4',
        'train_cfg.max_iters=2',
        'train_cfg.val_interval=2',
        'param_scheduler=[]',
    ]
    done = call_tool('train', SHAPES, '--data-root', shapes, '--work-dir', str(tmp_path), '--cfg-options', *options)
    assert done.returncode == 0, done.stderr
    assert sizes == [4, 2, 2, 2, 2]
    logs = ''.join(path.read_text() for path in sorted(tmp_path.glob('*/*.log')))
    assert '2 images at a time, 2 times accumulated, which makes the same 4 an update' in logs
    assert load_config(str(next(tmp_path.glob('*.py')))).optim_wrapper.accumulative_counts == 2

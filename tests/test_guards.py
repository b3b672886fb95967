"""Guards through the command line, on the toy set with faults: NaN, files that cannot be read, loading that dies or lasts."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
import torch
from conftest import QUICK, SHAPES, SHAPES_COCO, call_tool, one_line
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS
from PIL import Image
from torch.utils.data import get_worker_info

from convnext_dense.training import loading_time

RUN = [*QUICK, 'train_cfg.max_iters=4', 'train_cfg.val_interval=4', 'param_scheduler=[]']


@TRANSFORMS.register_module()
class Fault(BaseTransform):
    """Does something to pictures of some name, or to all: 'nan', 'kill' (a loading process alone), 'sleep'."""

    def __init__(self, how: str, names: tuple[str, ...] = ()) -> None:
        self.how, self.names = how, names

    def transform(self, results: dict) -> dict:
        if self.names and Path(results['img_path']).stem not in self.names:
            return results
        if self.how == 'nan':
            results['img'] = results['img'].astype('float32')
            results['img'][:] = float('nan')
        elif self.how == 'sleep':
            time.sleep(0.3)
        elif get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return results


def spoilt_config(folder: Path, how: str, names: tuple[str, ...] = (), more: str = '') -> str:
    """The toy recipe with a step that does it."""
    path = folder / 'spoilt.py'
    path.write_text(
        f"_base_ = ['{SHAPES}']\n"
        "load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]\n"
        f'fault = [dict(type="Fault", how="{how}", names={names!r})]\n'
        "rest = [dict(type='RandomCrop', crop_size=(96, 96)), dict(type='PackSegInputs')]\n"
        f'train_dataloader = dict(dataset=dict(pipeline=load + fault + rest))\n{more}\n'
    )
    return str(path)


def train(root: Path, work: Path, config: str = SHAPES, options: list[str] = RUN) -> tuple[int, str, str]:
    """Exit status, stderr without the libraries' words, and the log."""
    args = ('--data-root', str(root), '--work-dir', str(work), '--check-data', 'off', '--seed', '0', '--cfg-options', *options)
    done = call_tool('train', config, *args)
    log = ''.join(path.read_text() for path in work.glob('*/*.log'))
    return done.returncode, '\n'.join(line for line in done.stderr.splitlines() if line.startswith('error:')), log


def halve(path: Path) -> None:
    """Leave the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_nan_in_one_picture_leaves_out_its_steps(root: Path, tmp_path: Path) -> None:
    status, err, log = train(root, tmp_path / 'work', spoilt_config(tmp_path, 'nan', ('scene_00003',)))
    assert status == 0, err
    found = re.findall(r'finite: iteration (\d): .* is not finite, the step is left out; pictures: (.*)', log)
    assert found and all('scene_00003.jpg' in pictures for _, pictures in found)
    state = torch.load(tmp_path / 'work/iter_4.pth', weights_only=False)
    assert state['guards']['FiniteHook']['total'] == len(found) and f'skipped: {len(found)}' in log
    assert all(torch.isfinite(x).all() for x in state['state_dict'].values())


def test_nan_in_every_picture_stops_and_is_written_down(root: Path, tmp_path: Path) -> None:
    """The config's own arguments of a guard stay. What is before the first NaN goes through the checks of the start."""
    names = tuple(f'scene_{i:05}' for i in range(2, 6))
    more = "custom_hooks = [dict(type='FiniteHook', max_skipped=2)]"
    options = [*RUN, 'train_cfg.max_iters=12', 'train_cfg.val_interval=12', 'default_hooks.checkpoint.interval=1']
    status, err, _ = train(root, tmp_path / 'work', spoilt_config(tmp_path, 'nan', names, more), options)
    one_line(status, err, r'got 2 steps in a row without, last in iteration \d+ \(.*loss_ce.*\); first output or gradient that')
    assert 'data_preprocessor (SegDataPreProcessor)' in err and 'repair ' in err
    content = torch.load(tmp_path / 'work/nan_batch.pth', weights_only=True)
    assert any(Path(path).stem in names for path in content['pictures']) and len(content['inputs']) == 2
    last = torch.load((tmp_path / 'work/last_checkpoint').read_text(), weights_only=False)
    assert all(torch.isfinite(x).all() for x in last['state_dict'].values())


@pytest.mark.parametrize('fault', ['picture', 'mask', 'size'])
def test_what_cannot_be_read_is_replaced_and_named(root: Path, tmp_path: Path, fault: str) -> None:
    picture, mask = (root / kind / f'training/scene_00003.{end}' for kind, end in (('images', 'jpg'), ('annotations', 'png')))
    if fault == 'size':
        Image.open(mask).resize((60, 50)).save(mask)
    else:
        halve(picture if fault == 'picture' else mask)
    status, err, log = train(root, tmp_path / 'work')
    assert status == 0, err
    assert len(re.findall('cannot be read, another sample takes its place', log)) == 1
    why = dict(
        picture='failed to load image', mask='image file is truncated', size=f'{mask}: expected a mask of .* got 60 x 50'
    )
    assert re.search(f'{picture} cannot be read, another sample takes its place: .*{why[fault]}', log)


def test_a_picture_of_a_detection_set(root: Path, tmp_path: Path) -> None:
    halve(root / 'images/training/scene_00003.jpg')
    options = [*QUICK, 'train_cfg.max_epochs=1', 'param_scheduler=[]']
    status, err, log = train(root, tmp_path / 'work', SHAPES_COCO, options)
    assert status == 0, err
    assert 'scene_00003.jpg cannot be read, another sample takes its place' in log


def test_too_many_that_cannot_be_read(root: Path, tmp_path: Path) -> None:
    for i in range(1, 4):
        halve(root / f'images/training/scene_{i:05}.jpg')
    config = tmp_path / 'strict.py'
    config.write_text(f"_base_ = ['{SHAPES}']\ncustom_hooks = [dict(type='BadPicturesHook', least=2)]\n")
    status, err, _ = train(root, tmp_path / 'work', str(config))
    one_line(
        status, err, r'training data: expected pictures that can be read.* got 2 bad ones in \d+ samples: .*scene_0000\d.jpg'
    )
    assert not list((tmp_path / 'work').glob('*.pth'))


@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize('kind', ['images', 'annotations'])
def test_in_evaluation_it_is_an_error(root: Path, tmp_path: Path, kind: str, workers: int) -> None:
    path = next((root / kind / 'validation').glob('scene_00003.*'))
    halve(path)
    status, err, _ = train(root, tmp_path / 'work', options=[*RUN, f'val_dataloader.num_workers={workers}'])
    one_line(status, err, f'{root}/images/validation/scene_00003.jpg.*; evaluation needs every picture: repair it')
    assert (tmp_path / 'work/iter_4.pth').is_file()  # of before the evaluation


def test_in_a_test_run_too(root: Path, tmp_path: Path, segmentor_file: str) -> None:
    mask = root / 'annotations/validation/scene_00003.png'
    Image.open(mask).resize((60, 50)).save(mask)
    args = ('--data-root', str(root), '--work-dir', str(tmp_path / 'work'), '--check-data', 'off', '--cfg-options', *QUICK[-3:])
    done = call_tool('test', SHAPES, segmentor_file, *args)
    assert done.returncode == 2
    assert re.search(
        r'error: .*annotations/validation/scene_00003.png: expected a mask of .* got 60 x 50; evaluation', done.stderr
    )


def test_a_loading_process_that_is_killed_names_its_picture(root: Path, tmp_path: Path) -> None:
    options = [*RUN, 'train_dataloader.num_workers=2']
    status, err, _ = train(root, tmp_path / 'work', spoilt_config(tmp_path, 'kill', ('scene_00004',)), options)
    one_line(status, err, r'number [01] was killed by SIGKILL while it read .*scene_00004.jpg; usually the memory was used up')


def test_loading_that_lasts_is_told_once(root: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(loading_time, 'START', 2)
    more = "custom_hooks = [dict(type='LoadingTimeHook', least=3)]"
    options = [*RUN, 'train_cfg.max_iters=7', 'train_cfg.val_interval=7']
    status, err, log = train(root, tmp_path / 'work', spoilt_config(tmp_path, 'sleep', (), more), options)
    assert status == 0, err
    assert log.count('are spent waiting for data') == 1 and 'train_dataloader.num_workers is 0' in log

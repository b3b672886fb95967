"""A model of own data is tested by its checkpoint's scale, windows and channels, whatever the recipe says."""

from pathlib import Path

import pytest
import torch
from conftest import QUICK, SHAPES, call_tool
from layout_sets import MASKS, painted, toy
from mmengine.config import Config

from convnext_dense.errors import InputError
from convnext_dense.predict.as_trained import as_trained
from convnext_dense.run.options import load_config
from convnext_dense.weights.read_once import forget

RECIPE = 'upernet_convnext_t_ade20k'


@pytest.fixture
def trained() -> Config:
    cfg = load_config(RECIPE)
    cfg.model.data_preprocessor.size = cfg.model.test_cfg.crop_size = (288, 288)
    cfg.test_dataloader.dataset.pipeline[1].scale = (1152, 288)
    return cfg


def write(path: Path, cfg: Config) -> str:
    forget()
    torch.save(dict(meta=dict(cfg=cfg.pretty_text), state_dict={'x': torch.zeros(1)}), path)
    return str(path)


def test_what_differs_is_taken(trained: Config, tmp_path: Path) -> None:
    cfg = load_config(RECIPE)
    (line,) = as_trained(cfg, write(tmp_path / 'a.pth', trained), {})
    assert line == ('as trained, by the checkpoint: model.data_preprocessor, model.test_cfg, test_dataloader.dataset.pipeline')
    assert cfg.test_dataloader.dataset.pipeline[1].scale == (1152, 288) and cfg.model.test_cfg.crop_size == (288, 288)
    assert cfg.model.data_preprocessor.size == (288, 288) and cfg.model.decode_head.num_classes == 150
    assert as_trained(cfg, str(tmp_path / 'a.pth'), {}) == []


def test_the_command_line_goes_before(trained: Config, tmp_path: Path) -> None:
    cfg = load_config(RECIPE)
    (line,) = as_trained(cfg, write(tmp_path / 'a.pth', trained), {'model.test_cfg.mode': 'whole'})
    assert 'test_cfg' not in line and cfg.model.test_cfg.crop_size == (512, 512)


def test_foreign_classes_are_refused(trained: Config, tmp_path: Path) -> None:
    trained.test_dataloader.dataset.pipeline[1].type = 'CameraMotionCompensation'
    with pytest.raises(InputError, match="none of the recipes' classes"):
        as_trained(load_config(RECIPE), write(tmp_path / 'a.pth', trained), {})


def test_a_checkpoint_without_a_config(tmp_path: Path) -> None:
    forget()
    torch.save(dict(state_dict={'x': torch.zeros(1)}), tmp_path / 'a.pth')
    assert as_trained(load_config(RECIPE), str(tmp_path / 'a.pth'), {}) == []


@pytest.mark.slow
def test_twelve_channels_through_the_commands(tmp_path: Path) -> None:
    """Trained by --channels, tested by the recipe and --data, used without either; in TIFF files of 16 bits."""
    import numpy as np
    import tifffile

    scenes = painted(toy(tmp_path / 'toy', size=(120, 100)))
    MASKS['indices'](tmp_path / 'data', scenes, ('building', 'sky', 'tree'))
    for number, path in enumerate(sorted((tmp_path / 'data/images').rglob('*.jpg'))):
        values = np.random.default_rng(number).integers(100, 60000, (100, 120, 12), dtype=np.uint16)
        tifffile.imwrite(path.with_suffix('.tif'), values, photometric='minisblack', planarconfig='contig')
        path.unlink()
    data, work = str(tmp_path / 'data'), str(tmp_path / 'work')
    short = [*QUICK, 'train_cfg.max_iters=1', 'train_cfg.val_interval=1', 'param_scheduler=[]']
    done = call_tool(
        'train', SHAPES, '--data', data, '--channels', '12', '--work-dir', work, '--crop', '64', '--cfg-options', *short
    )
    assert done.returncode == 0, done.stderr
    log = next(Path(work).glob('*/*.log')).read_text()
    assert 'mean and deviation of 12 channels over all 4 training pictures' in log
    trained_score = log[log.rindex('mIoU: ') :].split()[1]
    done = call_tool('test', SHAPES, work, '--data', data, '--work-dir', f'{work}_test')
    assert done.returncode == 0 and f'mIoU {float(trained_score):.2f} on 2 images' in done.stdout, done.stderr
    done = call_tool('train', SHAPES, '--data', data, '--channels', '4', '--work-dir', f'{work}4')
    assert done.returncode == 2 and '12' in done.stderr and not Path(f'{work}4').exists(), done.stderr
    done = call_tool('train', SHAPES, '--data', data, '--mean', '1', '--work-dir', f'{work}4')
    assert done.returncode == 2 and '--mean and --std: expected both' in done.stderr


def test_a_few_masks_are_read_as_in_training() -> None:
    """Of classes counted from 1 the last is missing: alone, they would count from 0."""
    from convnext_dense.data.layouts.found import Found, Values
    from convnext_dense.run.own_data import as_in_training

    cfg = load_config(RECIPE)
    values = [[0, 255], [1, 0], [2, 1], [255, 255]]
    cfg.test_dataloader.dataset.pipeline[2] = dict(type='LoadFolderAnnotations', values=values, colours=False)
    found = Found('toy', 'toy', Path(), ('road', 'car'), [], Values({0: 0, 1: 1, 255: 255}, False, frozenset([0, 1])))
    again = as_in_training(found, cfg)
    assert again.values.classes == {0: 255, 1: 0, 2: 1, 255: 255} and again.notes == [
        'the values of the masks mean what they did in training'
    ]
    other = Found('toy', 'toy', Path(), ('road', 'car'), [], Values({0: 0, 7: 1}, False, frozenset([0, 7])))
    assert as_in_training(other, cfg) is other


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--channels', '7'], '--channels: expected 3, of the checkpoint; got 7'),
        (['--channels', '3', '--mean', '1', '--std', '1'], '--mean and --std: expected by training alone'),
    ],
)
def test_options_that_the_checkpoint_decides(words: list[str], message: str, segmentor_file: str, tmp_path: Path) -> None:
    MASKS['indices'](tmp_path / 'data', painted(toy(tmp_path / 'toy')), ('building', 'sky', 'tree'))
    done = call_tool('test', SHAPES, segmentor_file, '--data', str(tmp_path / 'data'), *words)
    assert done.returncode == 2 and message in done.stderr

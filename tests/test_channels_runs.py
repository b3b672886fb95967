"""From pictures of 12, 4 and 1 channels of 16 bits to a trained, tested and predicting model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from channel_sets import rewrite, settled, write_tiff
from conftest import QUICK, SHAPES, SHAPES_COCO, call_tool
from PIL import Image

from convnext_dense import InputError, load_model
from convnext_dense.data.bands import displayed
from convnext_dense.data.channels import read_channels
from convnext_dense.run.command import PARTLY
from convnext_dense.run.options import load_config


def trained(config: str, channels: int, root: Path, folder: Path, *options: str) -> tuple[Path, Path]:
    """A settled config and the work directory of four steps with it."""
    cfg = load_config(config, None, str(root))
    file, work = folder / 'own.py', folder / 'work'
    settled(cfg, rewrite(root, channels), channels, file)
    done = call_tool('train', str(file), '--work-dir', str(work), '--seed', '0', '--cfg-options', *QUICK, *options)
    assert done.returncode == 0, done.stderr
    return file, work


@pytest.mark.slow
def test_a_segmentor_of_12_channels(root: Path, tmp_path: Path) -> None:
    options = ['train_cfg.max_iters=4', 'train_cfg.val_interval=4', 'default_hooks.checkpoint.interval=4']
    file, work = trained(SHAPES, 12, root, tmp_path, *options)
    show = tmp_path / 'show'
    for more in (['--show-dir', str(show)], ['--tta'], ['--tile', '64']):
        done = call_tool('test', str(file), str(work), '--work-dir', str(tmp_path / 'test'), '--cfg-options', *QUICK, *more)
        assert done.returncode == 0 and 'mIoU' in done.stdout, done.stderr
    assert len(list(show.glob('*.png'))) == 5
    pictures, out = root / 'images/validation', tmp_path / 'out'
    done = call_tool('predict', str(work), str(pictures), '--out', str(out), '--format', 'png', '--bands', '12,1,3')
    assert done.returncode == 0, done.stderr
    assert len(list((out / 'pictures').iterdir())) == len(list((out / 'masks').glob('*.png'))) == 5

    path = sorted(pictures.iterdir())[0]
    values = read_channels(path)
    model = load_model(work, bands=(11, 0, 2))
    given = [path, values, torch.from_numpy(values.astype(np.float32)).permute(2, 0, 1)]
    results = model(given)
    assert all(np.array_equal(result.image, displayed(values, (11, 0, 2))) for result in results)
    masks = [result.mask for result in results]
    written = np.asarray(Image.open(out / f'masks/{path.stem}.png'))
    assert all(np.array_equal(mask, written) for mask in masks)
    cut = values[:160, :160]  # of whole strides, so that a tile of its size is the picture
    assert np.array_equal(load_model(work, tile=160)(cut).mask, model(cut).mask)
    assert load_model(work, tile=64)(path).mask.shape == written.shape
    for wrong, line in ((values[..., :3], '3-channel data with --channels 12'), (values[..., 0], '1-channel data')):
        with pytest.raises(InputError, match=line):
            model(wrong)
    write_tiff(pictures / 'wrong.tif', values[..., :3])
    (pictures / 'broken.tif').write_bytes(b'II*')
    done = call_tool('predict', str(work), str(pictures), '--out', str(tmp_path / 'some'))
    assert done.returncode == PARTLY and '5 pictures in ' in done.stdout
    assert f'left out: {pictures}/wrong.tif is 3-channel data' in done.stderr
    assert f'left out: {pictures}/broken.tif cannot be read as a TIFF' in done.stderr
    huge = call_tool('predict', str(work), str(path), '--tile', '64', '--out', str(tmp_path / 'huge.tif'))
    assert huge.returncode == 2 and 'made by windows; got one of 12 channels' in huge.stderr


@pytest.mark.slow
@pytest.mark.parametrize('channels', [4, 1])
def test_a_detector(channels: int, root: Path, tmp_path: Path) -> None:
    options = ['train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'train_dataloader.batch_size=2']
    file, work = trained(SHAPES_COCO, channels, root, tmp_path, *options)
    show = tmp_path / 'show'
    for more in (['--show-dir', str(show)], ['--tile', '96']):
        done = call_tool('test', str(file), str(work), '--work-dir', str(tmp_path / 'test'), '--cfg-options', *QUICK, *more)
        assert done.returncode == 0 and 'AP' in done.stdout, done.stderr
    assert len(list(show.glob('*.png'))) == 5
    pictures, out = root / 'images/validation', tmp_path / 'out'
    done = call_tool('predict', str(work), str(pictures), '--out', str(out), '--format', 'json', '--score', '0')
    assert done.returncode == 0, done.stderr
    path = sorted(pictures.iterdir())[0]
    whole = load_model(work, score=0)(path)
    assert whole.masks.shape[1:] == whole.size == read_channels(path).shape[:2] and len(whole.boxes)
    assert len(load_model(work, score=0, tile=64)(path).boxes)


@pytest.mark.slow
def test_pictures_that_do_not_fit_stop_training_before_it_starts(root: Path, tmp_path: Path) -> None:
    cfg = load_config(SHAPES, None, str(root))
    settled(cfg, rewrite(root, 4), 4, tmp_path / 'own.py')
    path = sorted((root / 'images/training').iterdir())[2]
    write_tiff(path, read_channels(path)[..., :3])
    done = call_tool('train', str(tmp_path / 'own.py'), '--work-dir', str(tmp_path / 'work'), '--cfg-options', *QUICK)
    assert done.returncode == 2 and f'{path} is 3-channel data with --channels 4' in done.stderr
    assert not (tmp_path / 'work').exists()


def test_bands_of_what_has_none(segmentor_file: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match='bands: expected a model of other than three channels of bytes'):
        load_model(segmentor_file, bands=(0, 1, 2))
    for given in ('3,2', '0,1,2', 'red', '1,2,x'):
        done = call_tool('predict', segmentor_file, str(tmp_path), '--out', str(tmp_path / 'out'), '--bands', given)
        assert (
            done.returncode == 2
            and f"--bands: expected one or three numbers of channels, counted from 1, such as 3,2,1; got '{given}'"
            in done.stderr
        )

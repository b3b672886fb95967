"""Models from what there is: work directories, checkpoints, configs; and nothing in them is run."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import QUICK, SHAPES, SHAPES_COCO, call_tool
from models import photograph

from convnext_dense.data.shapes import CLASSES, PALETTE
from convnext_dense.errors import InputError
from convnext_dense.predict.loading import load_model
from convnext_dense.weights import load
from convnext_dense.weights.read_once import forget


def test_from_another_folder_with_data_set_and_config_gone(segmentor_file: str, tmp_path: Path, monkeypatch) -> None:
    """A work directory that was moved, whose last_checkpoint names a path as seen from where training was started."""
    run = tmp_path / 'moved'
    run.mkdir()
    shutil.copy(segmentor_file, run / 'iter_4.pth')
    (run / 'last_checkpoint').write_text('work_dirs/gone/iter_4.pth')
    monkeypatch.chdir(tmp_path)
    assert load_model('moved')(photograph(40, 50)).mask.shape == (40, 50)


def test_a_config_and_a_checkpoint_without_one(segmentor_file: str, tmp_path: Path) -> None:
    content = torch.load(segmentor_file, weights_only=True)
    bare = tmp_path / 'bare.pth'
    torch.save(content['state_dict'], bare)
    picture = photograph(40, 50)
    found = load_model(SHAPES, bare)
    assert np.array_equal(found(picture).mask, load_model(segmentor_file)(picture).mask)
    assert found.classes == CLASSES and found.palette == PALETTE  # of the config's data set
    with pytest.raises(InputError, match=r'bare.pth: expected a checkpoint with its config \(it holds weights alone\)'):
        load_model(bare)


def test_names_and_colours_are_made_where_there_are_none(segmentor_file: str, tmp_path: Path) -> None:
    content = torch.load(segmentor_file, weights_only=True)
    content['meta']['cfg'] = content['meta']['cfg'].replace('ShapesDataset', 'BaseSegDataset')
    content['meta']['dataset_meta'] = dict(classes=['one'])  # not those of the head
    torch.save(content, tmp_path / 'a.pth')
    found = load_model(tmp_path / 'a.pth')
    assert found.classes[:2] == ('class 0', 'class 1') and len(found.classes) == len(set(found.palette)) == 6


def test_names_of_files_before_mmengine(segmentor_file: str, tmp_path: Path) -> None:
    content = torch.load(segmentor_file, weights_only=True)
    meta = content['meta']
    content['meta'] = dict(config=meta['cfg'], CLASSES=tuple('abcdef'), PALETTE=[[i, i, i] for i in range(6)])
    torch.save(content, tmp_path / 'a.pth')
    assert load_model(tmp_path / 'a.pth').classes == tuple('abcdef')


@pytest.mark.parametrize(
    'options, line',
    [
        (dict(score=2), 'score: expected a number from 0 to 1, got 2'),
        (dict(score=-1), 'score'),
        (dict(score=float('nan')), 'score'),
        (dict(batch_size=0), 'batch_size: expected a whole number from 1'),
        (dict(precision='float16'), 'precision: expected one of float32, bfloat16'),
        (dict(device='gpu'), 'device: expected cpu'),
        (dict(device='cuda:99'), 'device: expected cpu'),
        (dict(classes=['disk']), "classes: .* got 'disk'; did you mean 'disc'"),
        (dict(classes='disc'), 'classes: expected a list'),
    ],
)
def test_options_that_cannot_be(segmentor_file: str, options, line: str) -> None:
    with pytest.raises(InputError, match=line):
        load_model(segmentor_file, **options)


def test_models_that_cannot_be(segmentor_file: str, detector_file: str, tmp_path: Path) -> None:
    (tmp_path / 'a.txt').write_text('no weights')
    cases = [
        ((SHAPES,), 'got the config .* alone; give both'),
        ((tmp_path,), 'expected a checkpoint in .*, found none'),
        ((tmp_path / 'gone.pth',), 'gone.pth which is not there'),
        ((tmp_path / 'a.txt',), 'expected a PyTorch or safetensors file'),
        ((SHAPES_COCO, segmentor_file), 'a segmentor, does not fit this MaskRCNN'),
        ((SHAPES, detector_file), 'a detector with RoI heads, does not fit'),
        ((tmp_path / 'gone.py', segmentor_file), 'config: expected a file'),
    ]
    for arguments, line in cases:
        with pytest.raises(InputError, match=line):
            load_model(*arguments)


def test_a_config_in_a_checkpoint_runs_no_code(segmentor_file: str, tmp_path: Path) -> None:
    content = torch.load(segmentor_file, weights_only=True)
    for text in (
        f"__import__('os').mkdir({str(tmp_path / 'ran')!r})\n",
        content['meta']['cfg'].replace("type='FastUPerHead'", "type='os.mkdir'"),
    ):
        torch.save(dict(content, meta=dict(cfg=text)), tmp_path / 'a.pth')
        with pytest.raises(InputError, match='its config'):
            load_model(tmp_path / 'a.pth')
    assert not (tmp_path / 'ran').exists()


@pytest.mark.slow
def test_a_trained_run_says_what_made_it(tmp_path: Path, shapes: str) -> None:
    options = ['train_cfg.max_iters=1', 'train_cfg.val_interval=1', 'default_hooks.checkpoint.interval=1', *QUICK]
    done = call_tool('train', SHAPES, '--data-root', shapes, '--work-dir', str(tmp_path), '--cfg-options', *options)
    assert done.returncode == 0, done.stderr
    meta = torch.load(tmp_path / 'iter_1.pth', weights_only=True)['meta']
    made = meta['made_by']
    assert {'convnext_dense', 'torch', 'mmengine', 'mmdet', 'python'} <= set(made)
    assert not (Path(__file__).parents[1] / '.git').exists() or len(made['commit']) == 40
    model = load_model(tmp_path)
    assert model.classes == CLASSES and model.palette == PALETTE and model.cfg.model.data_preprocessor.mean[0] == 123.675
    assert os.getcwd() != str(tmp_path)


def test_the_checkpoint_is_read_once(segmentor_file: str, monkeypatch) -> None:
    forget()  # what a check before this test may have kept
    reads = []
    read = load.open_checkpoint
    monkeypatch.setattr(load, 'open_checkpoint', lambda path: reads.append(path) or read(path))
    load_model(segmentor_file)
    assert reads == [segmentor_file]

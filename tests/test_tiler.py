"""Models on tiles, in tools/test.py and in prediction."""

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import QUICK, SHAPES, SHAPES_COCO, call_tool, one_line
from models import photograph

from convnext_dense.predict.loading import load_model
from convnext_dense.predict.patch import Patch
from convnext_dense.predict.tile_detector import Objects
from convnext_dense.predict.tiler import instances, use_tiles
from convnext_dense.predict.tiles import Tiling
from convnext_dense.run.options import load_config

TEST = ['--cfg-options', *(option for option in QUICK if option.startswith('test_dataloader'))]
# The random weights find as many objects as they may.
FEW = dict(segmentor=[], detector=['model.test_cfg.rpn.max_per_img=50', 'model.test_cfg.rcnn.max_per_img=20'])


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['segmentor', 'detector'])
def test_the_test_tool_takes_tiles(request, kind: str, shapes: str, tmp_path) -> None:
    config, file = {'segmentor': SHAPES, 'detector': SHAPES_COCO}[kind], request.getfixturevalue(f'{kind}_file')
    options = [config, file, '--data-root', shapes, '--work-dir', str(tmp_path)]
    done = call_tool('test', *options, '--tile', '128', '--overlap', '0.25', *TEST, *FEW[kind])
    assert done.returncode == 0, done.stderr
    what = 'blended' if kind == 'segmentor' else 'merged with each other and the whole picture'
    assert f'tiles of 128 pixels, 25% of them shared with the next, {what}' in done.stdout
    assert 'on 5 images' in done.stdout


@pytest.mark.slow
def test_one_tile_scores_as_the_whole_picture(segmentor_file: str, shapes: str, tmp_path) -> None:
    found = []
    for more in ([], ['--tile', '256']):
        out = tmp_path / f'{len(more)}.json'
        options = [SHAPES, segmentor_file, '--data-root', shapes, '--work-dir', str(tmp_path), '--out', str(out)]
        assert call_tool('test', *options, *more, *TEST).returncode == 0
        found.append(json.loads(out.read_text()))
    assert found[0]['aAcc'] == pytest.approx(found[1]['aAcc'], abs=2)  # sides off the grid are padded


@pytest.mark.parametrize(
    'options, line',
    [
        (['--tile', '10'], '--tile: expected a whole number of pixels from 64 up, got 10'),
        (['--tile', '96', '--overlap', '2'], '--overlap: expected a share'),
        (['--tile', '96', '--tta'], '--tile and --tta: expected one of the two'),
        (['--overlap', '0.5'], '--overlap: expected --tile with it'),
        (['--tile', 'x'], '--tile: invalid int'),
    ],
)
def test_tiles_that_cannot_be(segmentor_file: str, shapes: str, tmp_path, options, line: str) -> None:
    done = call_tool('test', SHAPES, segmentor_file, '--data-root', shapes, '--work-dir', str(tmp_path / 'w'), *options)
    one_line(done.returncode, done.stderr, line)
    assert not (tmp_path / 'w').exists()


def test_pipelines_keep_the_pictures_size() -> None:
    cfg = load_config(SHAPES_COCO)
    use_tiles(cfg, Tiling(96))
    names = [step.type for step in cfg.test_dataloader.dataset.pipeline]
    assert names == ['LoadImageFromFile', 'Resize', 'LoadAnnotations', 'PackDetInputs']
    assert cfg.test_dataloader.dataset.pipeline[1].scale_factor == 1
    assert [step.type for step in cfg.model.rest] == ['Resize', 'PackDetInputs'] and cfg.model.module.type == 'MaskRCNN'


def test_instances_are_as_the_heads_give_them() -> None:
    mask = np.eye(3, dtype=bool)
    objects = Objects(np.ones((1, 4), np.float32), np.ones(1, np.float32), np.array([2]), [Patch(1, 2, mask)])
    found = instances(objects, (6, 7))
    assert found.masks.shape == (1, 6, 7) and np.array_equal(found.masks[0, 1:4, 2:5], mask) and found.masks.sum() == 3
    assert found.bboxes.shape == (1, 4) and 'masks' not in instances(replace(objects, patches=None), (6, 7))


@pytest.mark.parametrize('kind', ['segmentor', 'detector'])
def test_prediction_in_tiles(request, kind: str) -> None:
    file = request.getfixturevalue(f'{kind}_file')
    picture = photograph(150, 260)
    result = load_model(file, tile=96, score=0.1)(picture)
    if kind == 'segmentor':
        assert result.mask.shape == (150, 260) and result.mask.dtype == np.uint8
        auto = load_model(file, tile='auto')(picture)  # too small for tiles
        assert np.array_equal(auto.mask, load_model(file)(picture).mask)
    else:
        assert len(result.boxes) == len(result.masks) == len(result.labels) > 0 and result.masks.shape[1:] == (150, 260)
        assert result.picture().size == (260, 150) and len(result.to_coco()) == len(result.boxes)

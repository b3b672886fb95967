import warnings
from typing import Any

import pytest
import torch
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from models import photograph
from two_stage import RECIPES, built, expect_same, found, predicted, small_config
from zoo_detectors import detector_config

from convnext_dense.export.detector_graph import DetectorGraph

SIZES = [(128, 160), (131, 97), (100, 200)]
KINDS = list(RECIPES)


def image(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(photograph(height, width, seed))[None]


def run(graph: Any, picture: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad():
        return found(graph(picture))


@pytest.fixture(scope='module', params=KINDS)
def graph(request) -> DetectorGraph:
    return DetectorGraph(built(small_config(request.param)))


@pytest.mark.parametrize('size', SIZES)
def test_finds_what_mmdet_finds(graph, size):
    picture = image(*size)
    boxes, scores, labels, masks = run(graph, picture)
    theirs = predicted(graph.model, picture[0].numpy())
    expect_same([boxes, scores, labels], [theirs.bboxes, theirs.scores, theirs.labels], pixels=1e-3)
    pasted = _do_paste_mask(masks[:, None], boxes, *size, skip_empty=False)[0] >= 0.5
    assert pasted.any() and (pasted != theirs.masks).float().mean() < 1e-5


def test_fewer_objects_than_places():
    cfg = small_config('mask')
    cfg.model.test_cfg.rcnn.update(score_thr=0.4, max_per_img=300)
    model = built(cfg)
    picture = image(96, 96)
    with torch.no_grad():
        boxes, scores, labels, masks = DetectorGraph(model)(picture)
    theirs = predicted(model, picture[0].numpy())
    count = len(theirs)
    assert 0 < count < 300 and boxes.shape == (1, 300, 4) and masks.shape == (1, 300, 28, 28)
    assert (labels[0, count:] == -1).all() and not masks[0, count:].any()
    expect_same(found((boxes, scores, labels)), [theirs.bboxes, theirs.scores, theirs.labels], 1e-3, least=1)


def test_no_object():
    cfg = small_config('cascade')
    cfg.model.test_cfg.rcnn.score_thr = 1.0
    boxes, scores, labels, masks = DetectorGraph(built(cfg))(image(65, 70))
    assert not boxes.any() and not scores.any() and (labels == -1).all() and not masks.any()


def test_fewer_proposals_than_places():
    cfg = small_config('mask')
    cfg.model.test_cfg.rpn.update(nms_pre=2000, max_per_img=1000, min_bbox_size=4)
    model = built(cfg)
    picture = image(64, 64)
    theirs = predicted(model, picture[0].numpy())
    expect_same(run(DetectorGraph(model), picture)[:3], [theirs.bboxes, theirs.scores, theirs.labels], pixels=1e-3)


def test_two_images_as_one_by_one(graph):
    pictures = torch.cat([image(96, 128, 3), image(96, 128, 4)])
    with torch.no_grad():
        both = graph(pictures)
    for i in range(2):
        expect_same(found(both, i), run(graph, pictures[i : i + 1]), pixels=1e-3)


def test_without_masks_and_with_boxes_for_all_classes():
    cfg = small_config('mask')
    cfg.model.type = 'FasterRCNN'
    del cfg.model.roi_head.mask_head, cfg.model.roi_head.mask_roi_extractor
    cfg.model.roi_head.bbox_head.reg_class_agnostic = True
    model = built(cfg)
    picture = image(100, 120)
    with torch.no_grad():
        results = DetectorGraph(model)(picture)
    theirs = predicted(model, picture[0].numpy())
    assert len(results) == 3
    expect_same(found(results), [theirs.bboxes, theirs.scores, theirs.labels], pixels=1e-3)


def test_channels_in_the_order_of_the_file_and_no_padding():
    cfg = small_config('mask')
    cfg.model.data_preprocessor.update(bgr_to_rgb=False, pad_size_divisor=1)
    model = built(cfg)
    picture = image(101, 120)
    theirs = predicted(model, picture[0].numpy())
    expect_same(run(DetectorGraph(model), picture)[:3], [theirs.bboxes, theirs.scores, theirs.labels], pixels=1e-3)


@pytest.mark.parametrize('name', ['faster_rcnn', 'mask_rcnn', pytest.param('cascade_rcnn', marks=pytest.mark.slow)])
def test_stock_detectors(name):
    cfg = detector_config(name)
    cfg.model.test_cfg.rpn.update(nms_pre=100, max_per_img=60)
    model = built(cfg)
    picture = image(100, 130)
    theirs = predicted(model, picture[0].numpy())
    expect_same(run(DetectorGraph(model), picture)[:3], [theirs.bboxes, theirs.scores, theirs.labels], pixels=1e-3)


def test_traced_at_one_size_and_run_at_others(graph):
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        traced = torch.jit.trace(graph, image(120, 136), check_trace=False)
    for size in SIZES:
        expect_same(run(traced, image(*size)), run(graph, image(*size)), pixels=1e-3)

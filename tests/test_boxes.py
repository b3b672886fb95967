import pytest
import torch
from mmcv.ops import batched_nms
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmdet.models.task_modules.prior_generators import AnchorGenerator

from convnext_dense.export.boxes import anchors, best_places, class_wise_nms, decode, roi_features, roi_levels

STRIDES = [4, 8, 16, 32]


def random_boxes(count: int, side: float = 500.0) -> torch.Tensor:
    """(count, 4) of all sizes, some of them without area."""
    centre = torch.rand(count, 2) * side
    half = torch.exp(torch.rand(count, 2) * 6)
    return torch.cat([centre - half, centre + half], dim=1).clamp(0, side)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def test_anchors_are_those_of_the_grid():
    generator = AnchorGenerator(strides=[(4, 4), (8, 16)], ratios=[0.5, 1.0, 2.0], scales=[8])
    for level, grid in enumerate(generator.grid_priors([(7, 5), (3, 4)], device='cpu')):
        index = torch.randperm(len(grid))
        assert anchors(generator, level, index, (5, 4)[level]).equal(grid[index])


@pytest.mark.parametrize('clip_border', [True, False])
def test_decode_is_that_of_the_coder(clip_border):
    coder = DeltaXYWHBBoxCoder(target_means=(0.1, 0.0, 0.0, -0.1), target_stds=(0.1, 0.1, 0.2, 0.2), clip_border=clip_border)
    priors, deltas = random_boxes(50), torch.randn(50, 3, 4) * 10
    theirs = coder.decode(priors, deltas.flatten(1), max_shape=(300, 400)).unflatten(1, (3, 4))
    assert decode(priors[:, None], deltas, coder, (300, 400)).equal(theirs)


@pytest.mark.parametrize('count', [1, 30, 400])
def test_keeps_what_mmcv_keeps(count):
    boxes, scores, labels, valid = random_boxes(300), torch.rand(300), torch.randint(0, 4, (300,)), torch.rand(300) < 0.7
    dets, keep = batched_nms(boxes[valid], scores[valid], labels[valid], dict(type='nms', iou_threshold=0.4))
    ours = class_wise_nms(boxes, scores, labels, valid, 0.4, count)
    present = ours.present
    best = min(count, len(keep))
    assert len(ours.boxes) == count and present[:best].all() and not present[best:].any()
    assert torch.cat([ours.boxes, ours.scores[:, None]], dim=1)[present].equal(dets[:count])
    assert ours.labels[present].equal(labels[valid][keep][:count]) and not ours.boxes[~present].any()


def test_nothing_valid():
    ours = class_wise_nms(
        random_boxes(5), torch.rand(5), torch.zeros(5, dtype=torch.long), torch.zeros(5, dtype=torch.bool), 0.5, 3
    )
    assert not ours.present.any() and not ours.boxes.any()


def test_best_places_of_fewer():
    scores, index = best_places(torch.tensor([0.2, 0.0, 0.7]), 5)
    assert scores.equal(torch.tensor([0.7, 0.2, 0.0, -1.0, -1.0])) and index.tolist() == [2, 0, 1, 0, 0]


@pytest.mark.parametrize('sampling_ratio, aligned', [(0, True), (2, False)])
def test_features_are_those_of_the_extractor(sampling_ratio, aligned):
    layer = dict(type='RoIAlign', output_size=7, sampling_ratio=sampling_ratio, aligned=aligned)
    extractor = SingleRoIExtractor(roi_layer=layer, out_channels=6, featmap_strides=STRIDES)
    maps = [torch.randn(2, 6, 512 // stride, 512 // stride) for stride in STRIDES]
    rois = torch.cat([torch.randint(0, 2, (200, 1)).float(), random_boxes(200)], dim=1)
    assert extractor.map_roi_levels(rois, 4).unique().numel() >= 3
    assert roi_features(extractor, maps, rois).equal(extractor(maps, rois))


def test_levels_where_sides_are_powers_of_two():
    extractor = SingleRoIExtractor(dict(type='RoIAlign', output_size=7, sampling_ratio=0), 6, STRIDES)
    sides = torch.tensor([0.0, 56, 111.99, 112, 112.01, 223.9, 224, 447.9, 448, 448.1, 4000])
    rois = torch.stack([torch.zeros_like(sides)] * 3 + [sides] * 2, dim=1)
    levels = roi_levels(rois, 56, 4)
    assert levels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3] and levels.equal(extractor.map_roi_levels(rois, 4))

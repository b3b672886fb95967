"""The zoo's lists are whole, its models have ConvNeXt in them, and its page says what came of them."""

import json
import subprocess
import sys
from pathlib import Path

import mmdet
import mmseg.models.decode_heads as decode_heads
import pytest
import torch
import zoo_table
from conftest import ROOT
from detectors import batch
from pages import page
from torch import nn
from zoo_cases import STEPS, NotLearning, check_losses, check_prediction, loads_masks, number_of_classes
from zoo_configs import stages_of
from zoo_detectors import DETECTORS, NO_FAMILY, TRIED, detector_config, path_of
from zoo_segmentors import HEADS, segmentor_config

from convnext_dense import ConvNeXt, ops

CONFIGS = Path(mmdet.__file__).parent / '.mim/configs'


def test_every_folder_of_configs_is_a_family_or_said_to_be_none() -> None:
    families = {name.split(', ')[0] for name in DETECTORS}
    others = {name for names in NO_FAMILY.values() for name in names.split()}
    assert families | others == {folder.name for folder in CONFIGS.iterdir() if folder.is_dir()} - {'_base_'}
    assert not families & others and set(TRIED.values()) <= set(DETECTORS)


def test_every_head_is_there_by_its_class() -> None:
    heads = {getattr(decode_heads, name) for name in decode_heads.__all__}
    assert {head.__name__ for head in heads} - {'KernelUpdateHead', 'KernelUpdator'} == set(
        HEADS
    )  # parts of IterativeDecodeHead


@pytest.mark.parametrize(
    'family', ['atss', 'centernet', 'cornernet', 'lad', 'ld', 'mask2former', 'soft_teacher', 'ssd', 'yolo']
)
def test_a_detector_s_config(family: str) -> None:
    """Whatever form it has: one map or several, in another order, a teacher, maps that its neck adds."""
    model = detector_config(family).model
    detector = model.get('detector', model)
    stages = dict(centernet=(0, 1, 2, 3), cornernet=(0,), ssd=(1, 2), yolo=(1, 2, 3)).get(family, (0, 1, 2, 3))
    assert detector.backbone == dict(type='ConvNeXt', arch='atto', out_indices=stages)
    taker = detector.get('neck') or detector.get('panoptic_head') or detector.bbox_head
    dims = [(40, 80, 160, 320)[i] for i in stages]
    expected = dict(centernet=320, cornernet=40, yolo=dims[::-1]).get(family, dims)
    assert taker.in_channels == expected
    if family == 'lad':
        assert model.teacher_backbone == model.backbone and model.teacher_neck.in_channels == dims and not model.teacher_ckpt
    if family == 'ld':
        assert model.teacher_config.model.backbone == model.backbone
    if family == 'ssd':
        assert taker.out_channels[:2] == dims and model.bbox_head.in_channels == taker.out_channels
    stock = detector_config(family, stock=True).model
    assert stock.get('detector', stock).backbone.type != 'ConvNeXt'
    assert stages_of(detector_config('retinanet', stock=True).model.backbone) == (0, 1, 2, 3)


@pytest.mark.parametrize('head', ['DepthwiseSeparableASPPHead', 'IterativeDecodeHead', 'OCRHead', 'PointHead', 'VPDDepthHead'])
def test_a_segmentor_s_config(head: str) -> None:
    model = segmentor_config(head).model
    arch, dims = ('femto', [48, 96, 192, 384]) if head == 'VPDDepthHead' else ('atto', [40, 80, 160, 320])
    assert model.backbone == dict(type='ConvNeXt', arch=arch, out_indices=(0, 1, 2, 3))
    decode = model.decode_head
    if head == 'DepthwiseSeparableASPPHead':
        assert (decode.in_channels, decode.c1_in_channels, model.auxiliary_head.in_channels) == (320, 40, 160)
    elif head == 'IterativeDecodeHead':
        assert decode.kernel_generate_head.in_channels == 320
    elif head == 'OCRHead':
        assert [one.in_channels for one in decode] == [dims, dims]
    elif head == 'PointHead':  # they take the neck's
        assert model.neck.in_channels == dims and [one.in_channels for one in decode] == [[256] * 4, [256]]
    else:
        assert decode.in_channels == dims
    assert segmentor_config(head, stock=True).model.backbone.type != 'ConvNeXt'


def test_what_a_model_is_given() -> None:
    cfg = detector_config('crowddet')
    assert number_of_classes(cfg.model) == 1 and number_of_classes({}) == 80
    assert not loads_masks(cfg.train_dataloader.dataset)
    for family in ('htc', 'panoptic_fpn', 'maskformer'):
        assert loads_masks(detector_config(family).train_dataloader.dataset)
    data = batch([(64, 96)], [2], classes=1, seg_stride=8)
    sample = data['data_samples'][0]
    assert sample.gt_sem_seg.sem_seg.shape == (1, 8, 12) and sample.gt_instances.labels.tolist() == [0, 0]


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = nn.Linear(2, 2), nn.Linear(2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(x)).sum()


def test_a_step_that_does_not_train() -> None:
    model, x = Small(), torch.ones(1, 2)
    check_losses(model, model(x), learns=True)
    model.zero_grad()
    with pytest.raises(NotLearning, match='the loss is inf'):
        check_losses(model, model(x) + float('inf'), learns=False)
    with pytest.raises(NotLearning, match='no gradient reaches the backbone'):
        check_losses(model, model.head(x).sum(), learns=True)
    check_losses(model, model.head(x).sum(), learns=False)
    backbone = ConvNeXt(dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)))
    first = backbone.downsample_layers[0].register_forward_hook(lambda module, args, out: out.detach())
    with pytest.raises(NotLearning, match='no gradient reaches the backbone'):  # the stem gets none
        check_losses(backbone, backbone(torch.randn(1, 3, 64, 64))[3].square().sum(), learns=True)
    first.remove()
    check_losses(backbone, backbone(torch.randn(1, 3, 64, 64))[3].square().sum(), learns=True)
    model.zero_grad()
    with pytest.raises(NotLearning, match=r'the gradient of backbone.weight is not finite'):
        check_losses(model, (model(x) * 0).sqrt(), learns=False)


def test_a_prediction_that_is_none() -> None:
    sample = batch([(32, 32)], [1])['data_samples'][0]
    with pytest.raises(NotLearning, match='the prediction is empty'):
        check_prediction(sample)
    sample.pred_instances = sample.gt_instances[:0]
    with pytest.raises(NotLearning, match='no object is predicted'):
        check_prediction(sample)
    check_prediction(sample, objects=False)
    sample.pred_instances = sample.gt_instances
    check_prediction(sample)
    sample.pred_instances.bboxes[0, 0] = float('nan')
    with pytest.raises(NotLearning, match=r'pred_instances\.bboxes is not finite'):
        check_prediction(sample)


WORKS = dict(reached=['built', *STEPS, 'predicts'], seconds=1.0)
FAILS = dict(WORKS, error='ValueError: a | b', where=[])


def test_the_summary() -> None:
    results = {name: WORKS for name in (*DETECTORS, *HEADS) if name != 'ssd'} | dict(atss=FAILS)
    lines = zoo_table.summary(results).splitlines()
    assert lines[0] == f'MMDetection: {len(DETECTORS) - 2} of {len(DETECTORS)} families train and predict'
    assert lines[1] == f'MMSegmentation: {len(HEADS)} of {len(HEADS)} heads train and predict'
    assert lines[2] == 'failing, and no exception: atss' and lines[3].startswith('an exception that works: carafe, mask, ')


@pytest.mark.parametrize(
    ('reached', 'text'),
    [
        ([], 'not built: `E: a`'),
        (['built'], 'not built: `E: a`'),
        (['built', 'objects'], 'no step with objects: `E: a`'),
        (['built', 'objects', 'an image without'], 'no step with an image without: `E: a`'),
        (['built', *STEPS], 'no step without objects: `E: a`'),
        (WORKS['reached'], 'trains; no prediction: `E: a`'),
    ],
)
def test_how_far_it_came(reached: list[str], text: str) -> None:
    assert zoo_table.outcome(dict(reached=reached, error='E: a')) == text


def test_the_page_needs_every_result() -> None:
    ours = dict.fromkeys((*DETECTORS, *HEADS), WORKS) | dict(ssd=FAILS)
    results = dict(
        convnext=ours,
        stock=dict.fromkeys(zoo_table.EXCEPTIONS, FAILS),
        of=dict(torch='2', operators='convnext_dense', code='0'),
    )
    text = zoo_table.page(results)
    assert 'Run with torch 2.' in text and '| ssd |' in text and '| trains; no prediction: `ValueError: a \\| b` |' in text
    assert f'| atss | `{path_of("atss")}` |\n' in text and '36 of 36 heads work' in text
    results['of']['operators'] = 'mmcv'
    with pytest.raises(SystemExit, match='expected results without compiled operators'):
        zoo_table.page(results)
    del ours['atss'], results['stock']['ssd']
    with pytest.raises(SystemExit, match=r'expected a result of every model; atss, ssd with --stock have none'):
        zoo_table.page(results)


def test_the_page_in_the_docs() -> None:
    text = page('zoo').text
    for name in (*DETECTORS, *HEADS):
        assert f'\n| {name} | ' in text, name
    assert 'not run' not in text


def zoo(*args: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, ROOT / 'tests/zoo.py', *args], capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    out = tmp_path / 'zoo.json'
    done = zoo('FCNHead', 'DDRHead', '--out', str(out))
    results = json.loads(out.read_text())
    assert done.returncode == 0, done.stderr[-2000:]  # one works, the other is an exception
    assert results['convnext']['FCNHead']['reached'] == WORKS['reached'] and results['of'][
        'operators'
    ] == ops.backend().replace('torchvision', 'convnext_dense')
    assert 'too many values to unpack' in results['convnext']['DDRHead']['error']
    assert (
        zoo('--markdown', str(tmp_path / 'page.md'), '--out', str(out)).returncode == 1 and not (tmp_path / 'page.md').exists()
    )
    wrong = zoo('atts', '--out', str(out))
    assert wrong.returncode == 2 and 'expected names of atss, ' in wrong.stderr and wrong.stderr.strip().endswith('got atts')

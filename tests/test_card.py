"""The model's card: the hub's library reads its header, and the text says what was measured and what was not."""

import re
from pathlib import Path

import pytest
import yaml
from conftest import SHAPES, SHAPES_COCO
from evaluations import CLASSES, segmented
from models import write_checkpoint

from convnext_dense.data.shapes import CLASSES as SHAPES_CLASSES
from convnext_dense.report.card import Source, model_card
from convnext_dense.run.options import load_config

COMMAND = 'convnext-dense report work --data my_streets'
SOURCE = Source('my streets', 'my streets', 'validation', COMMAND)
CUPS = Source('cups', 'cups', 'test', 'convnext-dense report work')
IOUS = dict(zip(CLASSES, (0.9, 0.5, 0.7, float('nan'))))


def header(card: str) -> dict:
    return yaml.safe_load(card.split('---\n')[1])


def test_a_segmentor(tmp_path: Path) -> None:
    about = segmented(tmp_path)
    write_checkpoint(SHAPES, tmp_path / 'iter_100.pth', SHAPES_CLASSES, made_by=dict(torch='9.9', commit='abc'))
    card = model_card(about, load_config(SHAPES), SOURCE, IOUS, 'me/streets')
    found = header(card)
    assert found['pipeline_tag'] == 'image-segmentation' and {'convnext', 'semantic-segmentation', 'atto'} <= set(found['tags'])
    (model,) = found['model-index']
    assert model['name'] == 'streets' and model['results'][0]['dataset'] == dict(
        name='my streets', type='my-streets', split='validation'
    )
    assert model['results'][0]['metrics'] == [
        dict(type='mean_iou', name='mIoU', value=70.0),
        dict(type='overall_accuracy', name='aAcc', value=90.0),
    ]
    assert "load_model('hf-hub:me/streets')" in card and 'torch 9.9' in card and 'abc' not in card
    assert 'Weakest classes, by IoU: tree 50.0.' in card and 'no test picture has them: car' in card
    assert '123.675, 116.28, 103.53' in card and 'max_iters 2000' in card and '| mIoU | 70 |' in card
    assert re.search(rf'on 12 pictures of my streets \(validation\), by\n\n```sh\n{COMMAND}\n```\n\nafter 100 iterations', card)
    assert 'of the same source as those it was trained on' in card


def test_names_and_classes_that_are_never_right(tmp_path: Path) -> None:
    about = segmented(tmp_path)
    card = model_card(about, load_config(SHAPES), SOURCE, dict(zip(CLASSES, (0.0, 0.5, 0.7, 0.0))))
    assert 'classes: sky &lt;b&gt;, tree' in card and '- Never right, by IoU: sky &lt;b&gt;, car.' in card
    about = segmented(tmp_path / 'other', kind='detection', metrics={'coco/segm_mAP': 0.5, 'coco/bbox_mAP_l': -1.0})
    card = model_card(about, load_config(SHAPES_COCO), CUPS, dict(a_b=0.1, c=0.2))
    assert '| bbox_mAP_l | - |' in card and r'Weakest classes, by AP of masks: a\_b 10.0.' in card


def test_tested_on_other_data(tmp_path: Path) -> None:
    source = Source('my streets', 'other city', 'images', COMMAND)
    card = model_card(segmented(tmp_path), load_config(SHAPES), source, IOUS)
    assert 'trained on my streets.' in card and 'pictures of other city' in card and 'same source' not in card
    assert header(card)['model-index'][0]['results'][0]['dataset']['name'] == 'other city'
    assert header(card)['model-index'][0]['name'] == 'my streets'


def test_detectors(tmp_path: Path) -> None:
    about = segmented(tmp_path, kind='detection', metrics={'coco/bbox_mAP': 0.5, 'coco/segm_mAP': 0.4})
    card = model_card(about, load_config(SHAPES_COCO), CUPS, {}, None)
    assert header(card)['pipeline_tag'] == 'image-segmentation' and 'instance-segmentation' in header(card)['tags']
    assert 'objects as boxes and masks' in card and f'load_model({about.checkpoint!r})' in card
    about.metrics = {'coco/bbox_mAP': 0.5}
    found = header(model_card(about, load_config(SHAPES_COCO), CUPS, {}, None))
    assert found['pipeline_tag'] == 'object-detection'
    assert found['model-index'][0]['results'][0]['metrics'] == [dict(type='bbox_mAP', name='bbox_mAP', value=0.5)]


def test_the_hubs_library_reads_it(tmp_path: Path) -> None:
    hub = pytest.importorskip('huggingface_hub')
    card = model_card(segmented(tmp_path), load_config(SHAPES), SOURCE, IOUS, 'me/streets')
    (result, other) = hub.ModelCard(card).data.eval_results
    assert (result.metric_type, result.metric_value, other.metric_value) == ('mean_iou', 70.0, 90.0)

"""What is ignored is the same in the batches, the losses and the metrics."""

import pytest
from conftest import SHAPES, one_line
from mmengine.config import Config

from convnext_dense import InputError
from convnext_dense.data.check_ignored import check_ignored, heads

NAMES = ('train_dataloader', 'val_dataloader')


def config(padding: dict | None = None, head=None, aux=None, metric=None) -> Config:
    model = dict(data_preprocessor=padding, decode_head=head or dict(num_classes=6), auxiliary_head=aux)
    return Config(dict(model=model, val_evaluator=metric or dict(type='IoUMetric')))


OTHER = dict(num_classes=6, ignore_index=0)


@pytest.mark.parametrize(
    'parts, message',
    [
        ({}, None),
        (dict(padding=dict(type='SegDataPreProcessor')), None),
        (dict(padding=dict(type='SegDataPreProcessor', seg_pad_val=255), aux=[dict(num_classes=6)]), None),
        (
            dict(padding=dict(seg_pad_val=0)),
            'seg_pad_val: expected 255, the ignore_index of model.decode_head, .*; got 0; set it',
        ),
        (dict(padding=dict(seg_pad_val=5)), 'got 5; set it to 255'),
        (dict(padding=dict(seg_pad_val=0), head=OTHER, metric=dict(type='IoUMetric', ignore_index=0)), None),
        (dict(padding=dict(type='mmseg.SegDataPreProcessor'), head=OTHER), 'seg_pad_val: expected 0, .*; got 255'),
        (dict(padding=dict(seg_pad_val=255), aux=[dict(num_classes=6), OTHER]), 'expected 0, the ignore_index of model.aux'),
        (dict(padding=dict(seg_pad_val=0), head=dict(ignore_index=None)), None),
        (dict(head=OTHER), 'val_evaluator: expected ignore_index 0 in IoUMetric, as of model.decode_head; got 255; set both'),
        (dict(metric=[dict(type='mmseg.IoUMetric', ignore_index=0)]), 'expected ignore_index 255 in IoUMetric, .*; got 0'),
        (dict(head=[OTHER, dict(num_classes=6)]), None),
        (dict(head=[dict(num_classes=6), OTHER]), 'expected ignore_index 0'),
        (dict(metric=dict(type='OtherMetric', ignore_index=0)), None),
    ],
)
def test_what_is_ignored(parts: dict, message: str | None) -> None:
    if message is None:
        check_ignored(config(**parts), NAMES)
    else:
        with pytest.raises(InputError, match=message):
            check_ignored(config(**parts), NAMES)


def test_models_without_such_heads() -> None:
    for model in (None, 5, dict(decode_head=None), dict(decode_head='x', data_preprocessor=dict(seg_pad_val=0))):
        cfg = Config(dict(model=model, val_evaluator=dict(type='IoUMetric', ignore_index=0)))
        assert heads(cfg) == [] and check_ignored(cfg, NAMES) is None


def test_the_tools_check_it(shapes: str, tool, tmp_path) -> None:
    for option in ('model.data_preprocessor.seg_pad_val=0', 'val_evaluator.ignore_index=0'):
        args = (SHAPES, '--data-root', shapes, '--cfg-options', option)
        one_line(*tool('check', *args), 'expected .*255.*; got 0; set')
        one_line(*tool('train', *args, '--work-dir', str(tmp_path / 'run')), 'expected .*255.*; got 0; set')
        assert not (tmp_path / 'run').exists()

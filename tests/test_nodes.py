"""Walking through a config, and finding the class behind a `type`."""

import pytest
from mmdet.models import FPN
from mmengine.config import Config
from mmengine.optim import OptimWrapper

from convnext_dense import ConvNeXt
from convnext_dense.run.nodes import component, dicts, leaves, top_level

CFG = dict(a=dict(b=[dict(c=1), 2]), d=(3,))


def test_every_entry_with_its_dotted_key() -> None:
    found = dict(leaves(CFG))
    assert found == {'a': CFG['a'], 'a.b': CFG['a']['b'], 'a.b.0': dict(c=1), 'a.b.0.c': 1, 'a.b.1': 2, 'd': (3,), 'd.0': 3}
    assert list(leaves('text')) == [] and list(leaves({}, 'x')) == []


def test_every_dict_outermost_first() -> None:
    assert [sorted(node) for node in dicts(Config(CFG))] == [['a', 'd'], ['b'], ['c']]
    assert list(dicts(5)) == []


@pytest.mark.parametrize(
    'cls, scope, expected',
    [
        ('ConvNeXt', 'mmdet', ConvNeXt),
        ('ConvNeXt', None, ConvNeXt),
        ('FPN', 'mmdet', FPN),
        ('OptimWrapper', 'mmseg', OptimWrapper),
        (FPN, None, FPN),
        ('NoSuchClass', 'mmdet', None),
        ('../..', 'mmdet', None),
        ('a b', None, None),
        ('', None, None),
    ],
)
def test_the_class_behind_a_type(cls, scope, expected) -> None:
    assert component(cls, scope) is expected


def test_what_the_runner_and_the_tools_read() -> None:
    assert {'model', 'train_dataloader', 'custom_hooks', 'auto_scale_lr', 'tta_pipeline'} <= top_level()
    assert not {'self', 'cfg', 'data_root'} & top_level()

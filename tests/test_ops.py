"""The face of `mmcv_ext` that users know."""

from conftest import needs_lite

from convnext_dense import ops
from convnext_dense.mmcv_ext import finder
from convnext_dense.mmcv_ext.operators import OPERATORS


def test_it_is_the_finders() -> None:
    assert {name: getattr(ops, name) for name in ops.__all__} == {
        'backend': finder.backend,
        'ext_spec': finder.ext_spec,
        'install': finder.install,
        'missing': ops.missing,
    }


@needs_lite
def test_what_a_model_calls_and_nobody_answers(monkeypatch) -> None:
    from mmcv.ops import RoIAlign

    model = RoIAlign((2, 2))
    assert ops.missing(model) == {}
    monkeypatch.delitem(OPERATORS, 'roi_align_backward')
    assert ops.missing(model) == {'roi_align_backward': 'mmcv.ops.roi_align.RoIAlign'}
    monkeypatch.setattr(ops, 'backend', lambda: 'mmcv')
    assert ops.missing(model) == {}


def test_the_spec_is_of_the_operators() -> None:
    module = ops.ext_spec().loader.create_module(ops.ext_spec())
    ops.ext_spec().loader.exec_module(module)
    assert module.__name__ == finder.EXT == 'mmcv._ext'
    assert all(getattr(module, name) is function for name, function in OPERATORS.items())

"""`mmpretrain.ConvNeXt`, which the ConvNeXt configs of MMDetection and MMSegmentation name, where mmpretrain is not installed.

The same backbone under that name, with mmpretrain's arguments; checkpoints of these configs, whose parts have OpenMMLab's
names, load into it, also those of whole models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from mmengine.registry import MODELS, Registry
from torch import Tensor

from convnext_dense.errors import InputError
from convnext_dense.expect import brief
from convnext_dense.models import convnext
from convnext_dense.weights.layouts import recognise, to_official

SCOPE = 'mmpretrain'
# What these arguments have to be, since the backbone has no other; mmpretrain's defaults.
FIXED: dict[str, tuple[Any, ...]] = {
    'stem_patch_size': (4,),
    'norm_cfg': (dict(type='LN2d', eps=1e-6),),
    'act_cfg': (dict(type='GELU'),),
    'linear_pw_conv': (True, False),  # the same numbers either way
    'gap_before_final_norm': (False,),
}


class ConvNeXt(convnext.ConvNeXt):
    """The backbone of dense heads with the arguments of mmpretrain's class of this name.

    Args:
        arch: a name, or a dict of `depths` and `channels`.
        layer_scale_init_value: mmpretrain's 0 and V2's take none.
        gap_before_final_norm: False, since dense heads need maps; mmpretrain's own default is True.
        stem_patch_size, norm_cfg, act_cfg, linear_pw_conv: as they are by default.
        options: as those of `convnext_dense.ConvNeXt`.

    Raises:
        InputError: for another value of what is fixed.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Sequence[int]] = 'tiny',
        gap_before_final_norm: bool = True,
        out_indices: int | Sequence[int] = -1,
        **options: Any,
    ) -> None:
        given = dict(options, gap_before_final_norm=gap_before_final_norm)
        for name, accepted in FIXED.items():
            if name in given and given[name] not in accepted:
                values = ' or '.join(map(str, accepted))
                raise InputError(f'{SCOPE}.ConvNeXt: expected {name}={values}, got {brief(given[name])}')
            options.pop(name, None)
        if isinstance(arch, Mapping) and 'channels' in arch:
            arch = {'dims' if key == 'channels' else key: value for key, value in arch.items()}
        super().__init__(arch, out_indices=out_indices, **options)
        self._register_load_state_dict_pre_hook(_official_names)


def _official_names(state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Rename, in a state dict that is about to be loaded, the backbone's parts from OpenMMLab's names."""
    own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    found = recognise(own)
    if found is None or found.layout.name != 'openmmlab':
        return
    official, rest = to_official(own, found)
    for name in own.keys() - set(rest):
        del state[prefix + name]
    state.update({prefix + name: value for name, value in official.items()})


def register() -> None:
    """Make `mmpretrain.ConvNeXt` known, unless mmpretrain itself can be."""
    if SCOPE not in MODELS.children and find_spec(SCOPE) is None:
        registry = Registry('model', parent=MODELS, scope=SCOPE, locations=[__name__])
        registry.register_module(module=ConvNeXt)

"""A config's test pipeline without its annotations: what brings a picture to the model."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from mmengine.dataset import Compose
from mmengine.registry import TRANSFORMS

from convnext_dense.errors import InputError, last_line
from convnext_dense.expect import brief
from convnext_dense.predict.config_text import GIVE


def build_pipeline(given: Any) -> tuple[Callable[[dict], dict], Callable[[dict], dict]]:
    """The loading step of a test pipeline, and the rest without the steps that load annotations; in the current scope.

    Raises:
        InputError: for a pipeline that does not begin by loading an image, or cannot be built.
    """
    steps = [without_annotations(step) for step in given or [] if not loads_annotations(step)]
    if not steps or 'Load' not in name_of(steps[0]):
        raise InputError(f'its config: expected a pipeline that begins by loading the image, got {brief(given)}; {GIVE}')
    try:
        return TRANSFORMS.build(copy.deepcopy(steps[0])), Compose(copy.deepcopy(steps[1:]))
    except Exception as error:  # of any class
        raise InputError(f'its config: the pipeline cannot be built ({last_line(error)}); {GIVE}') from error


def name_of(step: Any) -> str:
    """A step's class, without its package."""
    cls = step.get('type') if isinstance(step, dict) else None
    return cls.rpartition('.')[2] if isinstance(cls, str) else getattr(cls, '__name__', '')


def loads_annotations(step: Any) -> bool:
    return 'Load' in name_of(step) and name_of(step).endswith('Annotations')


def without_annotations(step: Any) -> Any:
    """A TestTimeAug's groups of steps, without those that load annotations; another step as it is."""
    if not isinstance(step, dict) or not isinstance(step.get('transforms'), (list, tuple)):
        return step
    groups = [
        [one for one in group if not loads_annotations(one)] for group in step['transforms'] if isinstance(group, (list, tuple))
    ]
    return {**step, 'transforms': [group for group in groups if group]}

"""What torch.compile and the exporters need of us."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

_shapes_alone = False


def recording() -> bool:
    """torch.compile, torch.export or the tracer is recording: they fuse the plain layers, and sizes may be symbols."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or _shapes_alone


@contextmanager
def shapes_alone() -> Iterator[None]:
    """Take the plain layers, where tensors have shapes and no values (the meta device): the faster paths look at values."""
    global _shapes_alone
    before, _shapes_alone = _shapes_alone, True
    try:
        yield
    finally:
        _shapes_alone = before


def compile_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """torch.compile's arguments for one graph of all image sizes, with those that are given."""
    arguments = {'backend': 'inductor', 'fullgraph': True, 'dynamic': True, **given}
    if arguments['backend'] != 'inductor':
        return arguments
    import torch._inductor.config as config

    if hasattr(config, 'strict_output_strides'):
        # Without it Inductor fails to order the strides of kept views whose sizes are symbols: pytorch/pytorch issue 185510.
        mode = arguments.pop('mode', None)
        of_mode = torch._inductor.list_mode_options(mode, arguments['dynamic']) if mode else {}
        arguments['options'] = {'strict_output_strides': True, **of_mode, **arguments.get('options', {})}
    return arguments

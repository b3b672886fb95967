"""Whether the layers are run, or recorded by a compiler or an exporter."""

import torch


def recording() -> bool:
    """torch.compile, torch.export or the tracer is recording: they fuse the plain layers, and sizes may be symbols."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()

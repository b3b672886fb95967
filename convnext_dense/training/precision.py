"""bf16 autocast where mmengine's AmpOptimWrapper refuses to work: on the CPU; and where its GradScaler does: --fsdp."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):
    """OptimWrapper whose forward passes run in bfloat16 autocast; bfloat16 has float32's range and needs no loss scaling."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast(get_device(), dtype=torch.bfloat16):
            yield

"""A model whose weights, gradients and optimiser state are divided among the processes (FSDP2), for one that no device holds.

It trains to the numbers of DistributedDataParallel, within rounding, and its checkpoints are those of any other run: the
first process writes whole tensors, under the names and the parameter numbers that they have there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import broadcast, get_world_size, is_distributed, is_main_process
from mmengine.optim import OptimWrapper
from mmengine.registry import MODEL_WRAPPERS
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from convnext_dense.errors import InputError
from convnext_dense.text import listed

LEAST = 100_000  # parameters of a block that is gathered and freed by itself
CONTAINERS = (nn.ModuleList, nn.Sequential)


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that may be divided; in every process at the same point."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def divided_as(value: Tensor, like: Tensor) -> Tensor:
    """`value`, which every process has all of, divided as `like` is; itself where that is whole."""
    if not isinstance(like, DTensor):
        return value
    own = value.detach().to(like.device_mesh.device_type, like.dtype)
    return distribute_tensor(own, like.device_mesh, like.placements, src_data_rank=None)


def blocks_of(model: nn.Module, least: int = LEAST) -> list[nn.Module]:
    """The blocks of the model's backbone (of a model without, its own), innermost first.

    A block is what a ModuleList or Sequential has, is neither of the two, has layers, and `least` parameters or more. All
    else, such as heads, whose layers may run more than once in a step, is gathered with the model.
    """
    root = getattr(model, 'backbone', model)
    found = []
    for module in root.modules():
        children = module.children() if type(module) in CONTAINERS else ()
        found += [child for child in children if not isinstance(child, CONTAINERS) and _has_layers(child, least)]
    return list({id(one): one for one in reversed(found)}.values())


def _has_layers(module: nn.Module, least: int) -> bool:
    return any(True for _ in module.children()) and sum(param.numel() for param in module.parameters()) >= least


def check_divisible(model: nn.Module) -> None:
    """Stop at parameters that FSDP2 cannot divide: those without a dimension.

    Raises:
        InputError: with their names.
    """
    scalars = [name for name, param in model.named_parameters() if param.ndim == 0]
    if scalars:
        raise InputError(
            f'--fsdp: expected parameters with a dimension, which can be divided, got {listed(scalars)} of '
            f'{type(model).__name__}, a single number each; train it without --fsdp'
        )


@MODEL_WRAPPERS.register_module()
class ShardedModel(nn.Module):
    """In the place of MMDistributedDataParallel: initialises the model, and gives each process its share of every parameter.

    A block's weights are gathered when it runs, and freed afterwards, forward and backward; every process begins with those
    of the first. Buffers, such as the statistics of norms, are whole in each, and those of the first at each training step.

    Loading takes whole tensors, into the model and into an optimiser that `follow` knows. Within `gathered`, `state_dict`
    of both gives whole tensors in the first process.

    Args:
        module: the model, on its device; what it was initialised with is drawn anew by its `init_weights`.
        least: parameters of a block that is divided by itself.
    """

    def __init__(self, module: nn.Module, least: int = LEAST) -> None:
        super().__init__()
        if not is_distributed():
            raise InputError('ShardedModel: expected a distributed run of 2 or more processes, got one process; use --launcher')
        check_divisible(module)
        model: Any = module
        if hasattr(model, 'init_weights'):
            model.init_weights()
        for param in module.parameters():
            param.data = param.data.contiguous()
        for value in module.state_dict().values():
            broadcast(value)
        mesh = init_device_mesh(get_device(), (get_world_size(),))
        for block in (*blocks_of(module, least), module):
            fully_shard(block, mesh=mesh, reshard_after_forward=True)
        self.module = model
        self.gathered: dict[str, dict[Any, Any]] | None = None
        self.whole_weights = False
        module.register_state_dict_post_hook(partial(self._give_weights))  # a method can hold no mark
        module.register_load_state_dict_pre_hook(self._divide_weights)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def train(self, mode: bool = True) -> ShardedModel:
        """As every module's. For evaluation the weights are gathered once: processes may have other numbers of pictures."""
        if mode == self.whole_weights:
            blocks = [block for block in self.module.modules() if isinstance(block, FSDPModule)]
            self.module.set_reshard_after_forward(mode)
            for block in blocks:
                block.reshard() if mode else block.unshard()
            self.whole_weights = not mode
        return super().train(mode)

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """As the model's, with the first process's buffers."""
        broadcast_buffers(self.module)
        return self.module.train_step(data, optim_wrapper)

    def val_step(self, data: Any) -> list[Any]:
        return self.module.val_step(data)

    def test_step(self, data: Any) -> list[Any]:
        return self.module.test_step(data)

    def follow(self, optimizer: torch.optim.Optimizer) -> None:
        """Have an optimiser of the divided parameters save and load whole state. Once."""
        optimizer.register_state_dict_post_hook(self._give_state)
        optimizer.register_load_state_dict_pre_hook(_divide_state)

    def gather(self, optimizer: torch.optim.Optimizer | None) -> None:
        """Bring all of the weights, and of the optimiser's state, to the first process's memory; in every process."""
        keep = is_main_process()
        weights = _whole_of(self.module.state_dict(), keep)
        state = _whole_of(optimizer.state_dict()['state'], keep) if optimizer is not None else {}
        self.gathered = dict(weights=weights, state=state) if keep else None

    def _give_weights(self, module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
        if self.gathered is not None:
            state.update(self.gathered['weights'])

    def _give_state(self, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any] | None:
        return None if self.gathered is None else dict(state, state=self.gathered['state'])

    def _divide_weights(self, module: nn.Module, state: dict[str, Any], *args: Any) -> None:
        for name, own in module.state_dict().items():
            if name in state and state[name].shape == own.shape:  # another shape is load_state_dict's to tell
                state[name] = divided_as(state[name], own)


def _whole_of(node: Any, keep: bool) -> Any:
    """Nested dicts with whole tensors on the CPU; those of the divided ones, to be thrown away, where not `keep`."""
    if isinstance(node, Mapping):
        return {key: _whole_of(value, keep) for key, value in node.items()}
    if isinstance(node, DTensor):
        value = whole(node.detach())
        return value.cpu() if keep else None
    return node


def _divide_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """An optimiser's saved state, divided as its parameters are."""
    numbers = [number for group in state['param_groups'] for number in group['params']]
    params = [param for group in optimizer.param_groups for param in group['params']]
    found = dict(state['state'])
    for number, param in zip(numbers, params):
        if number in found:
            found[number] = {
                key: divided_as(value, param) if isinstance(value, Tensor) and value.shape == param.shape else value
                for key, value in found[number].items()
            }
    return dict(state, state=found)


def broadcast_buffers(model: nn.Module) -> None:
    """The first process's buffers in every process, one message for each type."""
    groups: dict[torch.dtype, list[Tensor]] = {}
    for buffer in model.buffers():
        groups.setdefault(buffer.dtype, []).append(buffer)
    for buffers in groups.values():
        flat = torch.cat([buffer.detach().flatten() for buffer in buffers])
        broadcast(flat)
        for buffer, values in zip(buffers, flat.split([buffer.numel() for buffer in buffers])):
            buffer.copy_(values.view_as(buffer))


@contextmanager
def gathered(model: nn.Module, optimizer: Any = None) -> Iterator[None]:
    """While a checkpoint is written: whole state in the first process. In every process; nothing for any other model."""
    if not isinstance(model, ShardedModel):
        yield
        return
    model.gather(getattr(optimizer, 'optimizer', optimizer))
    try:
        yield
    finally:
        model.gathered = None

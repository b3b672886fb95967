"""How the processes of torchrun meet, also those that it has started again.

Its store outlives a restart, and PyTorch 2.14 takes the addresses that it holds for those of the new processes (or waits for
half an hour for an answer from there): what belongs to each meeting gets a name of its own.
"""

from __future__ import annotations

import os
import time
import uuid
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

PAUSE = 0.02  # seconds


def meet(backend: str, **options: Any) -> None:
    """As `init_process_group` by the environment of torchrun. `options` are its own, with `timeout` as a timedelta.

    Raises:
        RuntimeError: PyTorch's, where the processes do not meet.
    """
    if os.environ.get('TORCHELASTIC_USE_AGENT_STORE') != 'True':
        dist.init_process_group(backend, **options)
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ['LOCAL_RANK']))
    store, rank, processes = next(dist.rendezvous('env://'))
    name = agreed_name(store, rank, processes)
    dist.init_process_group(backend, store=dist.PrefixStore(name, store), rank=rank, world_size=processes, **options)


def agreed_name(store: dist.Store, rank: int, processes: int, seconds: float = 300.0) -> str:
    """A name that the processes which are there now have in common, and no earlier ones had.

    Each asks under a name of its own, which the first process answers with the common one, until all have confirmed it. What
    earlier processes have left in the store is asked or confirmed under other names.

    Raises:
        RuntimeError: if not all have come after so many `seconds`.
    """
    own, end = uuid.uuid4().hex, time.monotonic() + seconds
    if rank:
        store.set(f'meeting/asked/{rank}', own)
        store.wait([f'meeting/answer/{own}'], timedelta(seconds=seconds))
        name = store.get(f'meeting/answer/{own}').decode()
        store.set(f'meeting/confirmed/{name}/{rank}', '')
        return name
    missing = set(range(1, processes))
    while missing:
        for one in sorted(missing):
            if store.check([f'meeting/confirmed/{own}/{one}']):
                missing.remove(one)
            elif store.check([f'meeting/asked/{one}']):
                store.set(f'meeting/answer/{store.get(f"meeting/asked/{one}").decode()}', own)
        if time.monotonic() > end:
            raise RuntimeError(f'expected {processes} processes, those of rank {sorted(missing)} did not come')
        time.sleep(PAUSE if missing else 0)
    return own

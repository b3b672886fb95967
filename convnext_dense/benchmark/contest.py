"""One line of the benchmark: the same work by several rivals in turn, each in its faster memory layout."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from convnext_dense.benchmark.families import CONTENDERS
from convnext_dense.benchmark.rivals import BACKBONES, MASK_RCNNS, SAME, UPERNETS, Contender, our_upernet, share_weights
from convnext_dense.benchmark.timing import Timing, interleave

OURS = 'convnext_dense'
MEMORY_FORMATS = {'channels first': torch.contiguous_format, 'channels last': torch.channels_last}
DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'


@dataclass(frozen=True)
class Work:
    """What is done, on images (B, 3, H, W)."""

    title: str
    rivals: Mapping[str, Callable[[], Contender]]
    size: tuple[int, int, int]  # B, H, W
    training: bool = False
    dtype: torch.dtype = torch.float32
    share: int = 1  # of the rounds that are asked for: long work gets fewer


BF16 = torch.bfloat16
FAMILIES = {'convnext_dense': our_upernet, **CONTENDERS}
WORKS = {
    'backbone': Work('backbone T, inference', BACKBONES, (1, 512, 512)),
    'backbone-training': Work('backbone T, training', BACKBONES, (2, 512, 512), training=True),
    'upernet': Work('UperNet-T, inference', UPERNETS, (1, 512, 512)),
    'upernet-training': Work('UperNet-T, training', UPERNETS, (2, 512, 512), training=True, share=2),
    'upernet-bf16': Work('UperNet-T, inference, bf16', UPERNETS, (1, 512, 512), dtype=BF16),
    'upernet-training-bf16': Work('UperNet-T, training, bf16', UPERNETS, (2, 512, 512), True, BF16, share=2),
    'families': Work('UperNet with ConvNeXt-T and others, inference', FAMILIES, (1, 512, 512), share=4),
    'families-training': Work('UperNet with ConvNeXt-T and others, training', FAMILIES, (2, 512, 512), True, share=10),
    'mask-rcnn': Work('Mask R-CNN-T, inference', MASK_RCNNS, (1, 800, 1280), share=2),
}


@dataclass
class Entry(Timing):
    """A rival's figures: seconds of each round, bytes of memory, and how it ran."""

    layout: str
    peak_bytes: int = 0  # of a fresh process (CUDA: of the allocator), libraries and weights included
    kept_bytes: int | None = None  # activations that autograd keeps for the backward pass


@dataclass
class Outcome:
    """The figures of all rivals, what is missing, and the limit where it is measured."""

    work: str
    entries: dict[str, Entry]
    missing: dict[str, str] = field(default_factory=dict)
    differences: dict[str, float] = field(default_factory=dict)  # of outputs, relative to their scale
    flops: int | None = None
    limit: Entry | None = None  # a matrix product of LIMIT_SIDE

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


LIMIT_SIDE = 4096


def finish() -> None:
    """Wait for what was asked of the device, so that it is in the time."""
    if DEVICE == 'cuda':
        torch.cuda.synchronize()


def images_of(work: Work) -> Tensor:
    batch, height, width = work.size
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


def labels_of(work: Work) -> Tensor:
    batch, height, width = work.size
    return torch.randint(150, (batch, height, width), generator=torch.Generator().manual_seed(0)).to(DEVICE)


def build(work: Work, name: str) -> Contender:
    torch.manual_seed(0)
    contender = work.rivals[name]()
    contender.model.train(work.training).to(DEVICE)
    if work.dtype != torch.float32:
        contender.autocast = work.training or not runs_in(work.dtype, contender)
    return contender


def runs_in(dtype: torch.dtype, contender: Contender) -> bool:
    """Turn the model to `dtype` where it runs in it as a whole; Swin's attention masks, for one, stay in float32."""
    contender.model.to(dtype)
    try:
        with torch.no_grad():
            contender.infer(torch.zeros(1, 3, 64, 64, dtype=dtype, device=DEVICE))
    except RuntimeError:
        contender.model.float()
        return False
    return True


def runner(work: Work, contender: Contender, layout: str) -> Callable[[], Any]:
    """What is timed: one forward pass, or forward, loss and backward."""
    dtype = torch.float32 if contender.autocast else work.dtype
    images = images_of(work).to(DEVICE, dtype, memory_format=MEMORY_FORMATS[layout])
    labels, model = labels_of(work), contender.model
    autocast: AbstractContextManager = nullcontext()
    if contender.autocast:
        autocast = torch.autocast(DEVICE, dtype=work.dtype)

    def step() -> Any:
        if work.training:
            assert contender.loss is not None
            model.zero_grad()
            with autocast:
                loss = contender.loss(images, labels)
            loss.backward()
            result = loss.detach()
        else:
            with torch.no_grad(), autocast:
                result = contender.infer(images)
        finish()
        return result

    return step


def faster_layout(work: Work, contender: Contender) -> str:
    """The memory layout in which a rival is faster: each is run once to warm up, unless it takes long, and once more."""
    seconds = {}
    for layout, memory_format in MEMORY_FORMATS.items():
        contender.model.to(memory_format=memory_format)
        step = runner(work, contender, layout)
        if work.share == 1:
            step()
        start = time.perf_counter()
        step()
        seconds[layout] = time.perf_counter() - start
    best = min(seconds, key=seconds.__getitem__)
    contender.model.to(memory_format=MEMORY_FORMATS[best])
    return best


def contest(key: str, rounds: int, say: Callable[[str], None]) -> Outcome:
    """All rivals of a work, interleaved; then each one's memory in a process of its own."""
    work = WORKS[key]
    contenders: dict[str, Contender] = {}
    missing = {}
    for name in work.rivals:
        try:
            contenders[name] = build(work, name)
        except ImportError as error:
            missing[name] = str(error)
    ours = contenders[OURS]
    differences = {}
    for name in set(SAME) & set(contenders):
        share_weights(ours.model, contenders[name].model)
        if work.dtype == torch.float32:
            differences[name] = difference(work, ours, contenders[name])
    layouts = {name: faster_layout(work, contender) for name, contender in contenders.items()}
    steps = {name: runner(work, contender, layouts[name]) for name, contender in contenders.items()}
    limit = None
    if key == 'backbone':
        steps['limit'] = matrix_product()
    say(f'{work.title}: {", ".join(steps)}')
    timings, _ = interleave(steps, max(rounds // work.share, 1))
    if 'limit' in timings:
        limit = Entry(timings.pop('limit').seconds, '')
    entries = {name: Entry(timing.seconds, layouts[name]) for name, timing in timings.items()}
    flops = counted_flops(work) if key == 'backbone' else None
    del contenders, ours, steps
    for name, entry in entries.items():
        entry.peak_bytes, entry.kept_bytes = in_fresh_process(key, name, entry.layout)
    return Outcome(key, entries, missing, differences, flops, limit)


def difference(work: Work, ours: Contender, theirs: Contender) -> float:
    """Largest difference of the outputs, relative to the largest value."""
    ours.model.eval(), theirs.model.eval()
    images = images_of(work).to(DEVICE)
    with torch.no_grad():
        a, b = ((c.compare or c.infer)(images) for c in (ours, theirs))
    ours.model.train(work.training), theirs.model.train(work.training)
    pairs = zip(a, b) if isinstance(a, (list, tuple)) else [(a, b)]
    return max(((x - y).abs().max() / y.abs().max()).item() for x, y in pairs)


def matrix_product() -> Callable[[], Any]:
    """The machine's matrix product in float32: oneDNN's on the CPU, which is the faster one there."""
    from convnext_dense.kernels.onednn import linear

    a, b = (torch.randn(LIMIT_SIDE, LIMIT_SIDE, device=DEVICE) for _ in range(2))

    def step() -> None:
        with torch.no_grad():
            linear(a, b)
        finish()

    return step


def counted_flops(work: Work) -> int:
    """Floating-point operations of the plain layers, two for a multiply-add."""
    from convnext_dense.benchmark.rivals import our_backbone

    model = our_backbone(fused=False).model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(images_of(work))
    return counter.get_total_flops()


# Memory, in a fresh process


def in_fresh_process(key: str, name: str, layout: str) -> tuple[int, int | None]:
    found = answer_of('convnext_dense.benchmark.contest', key, name, layout)
    return found['peak'], found['kept']


def answer_of(module: str, *arguments: str) -> Any:
    """What a module, run as a program of its own, prints last, as JSON."""
    command = [sys.executable, '-m', module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).resolve().parents[2])
    if done.returncode:
        raise RuntimeError(f'{", ".join(arguments)}: {done.stderr.strip().splitlines()[-1]}')
    return json.loads(done.stdout.splitlines()[-1])


def memory(key: str, name: str, layout: str) -> dict[str, int | None]:
    """Peak memory of three steps, and what autograd keeps of one."""
    work = WORKS[key]
    contender = build(work, name)
    contender.model.to(memory_format=MEMORY_FORMATS[layout])
    step = runner(work, contender, layout)
    for _ in range(2):
        step()
    return dict(peak=peak_bytes(), kept=kept_bytes(step, contender.model) if work.training else None)


def peak_bytes() -> int:
    """The device allocator's peak on CUDA, else this process's."""
    if DEVICE == 'cuda':
        return torch.cuda.max_memory_allocated()
    status = Path('/proc/self/status')
    if status.exists():  # getrusage would count what the parent held before this program was started
        return 1024 * int(re.findall(r'VmHWM:\s+(\d+) kB', status.read_text())[0])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def kept_bytes(step: Callable[[], Any], model: nn.Module) -> int:
    """Bytes of the tensors that autograd keeps, each storage once, parameters not counted."""
    storages: dict[int, Any] = {t.untyped_storage().data_ptr(): t for t in (*model.parameters(), *model.buffers())}
    total = 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal total
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in storages:
            storages[storage.data_ptr()] = storage  # held, so that its address is not given to another one
            total += storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        step()
    return total


def prepare() -> None:
    """Register what the rivals are built from."""
    import mmdet.utils
    import mmseg.utils

    import convnext_dense.detection
    import convnext_dense.segmentation  # noqa: F401

    for package in (mmdet, mmseg):
        package.utils.register_all_modules(init_default_scope=False)


if __name__ == '__main__':
    prepare()
    print(json.dumps(memory(*sys.argv[1:4])))

"""The published layouts of ConvNeXt weights: one table each, recognised by their keys.

A layout says under which names it keeps what the official code calls `downsample_layers.i.j` and `stages.i.j.*`. All else
follows from the tables: recognition, the full list of keys of a size, the way in (`to_official`) and the way out
(`from_official`). Shapes may differ by axes of length one, and by the order of a sparse convolution's kernel.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isqrt

from torch import Tensor

StateDict = dict[str, Tensor]

# The parts of a block, with both their parameters, under the official names.
LEAVES = ('dwconv', 'norm', 'pwconv1', 'pwconv2')
BOTH = ('weight', 'bias')


@dataclass(frozen=True)
class Layout:
    """Where a layout keeps the backbone. `{i}` stands for a stage, 0 to 3, `{j}` for a block in it."""

    name: str
    title: str
    stem: tuple[str, str]  # convolution, norm
    down: tuple[str, str]  # norm, convolution before stage i, 1 to 3
    block: str
    leaves: Mapping[str, str]  # official part of a block -> its name
    gamma: str = 'gamma'
    grn: tuple[str, str] = ('grn.gamma', 'grn.beta')
    out_norm: str | None = None  # output norm of stage i
    last_norm: str | None = None  # output norm of the last stage, where it is kept under a name of its own
    head_norm: str | None = None  # of the classification head
    head: str | None = None
    beyond: tuple[str, ...] = ()  # beginnings of what is known to come with the backbone, and is left out
    stage: Callable[[int], int] = field(default=lambda i: i)  # the number in `block` of stage i
    before: Callable[[int], int] = field(default=lambda i: i)  # the number in `down` of stage i
    kernels: bool = False  # sparse convolutions: (k*k, in, out) kernels named `kernel`
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # way out: where they are not the official ones
    conv_mlp_below: int = 0  # way out: pointwise layers are 1x1 convolutions below this width of the stem

    def pairs(self, depths: tuple[int, ...], grn: bool) -> Iterator[tuple[str, str]]:
        """(official name, this layout's name) of every backbone tensor but the output norms."""
        conv = 'kernel' if self.kernels else 'weight'
        for k, part in enumerate(self.stem):
            yield from ((f'downsample_layers.0.{k}.{p}', f'{part}.{p}') for p in BOTH)
        for i in range(1, 4):
            norm, halve = (part.format(i=self.before(i)) for part in self.down)
            yield from ((f'downsample_layers.{i}.0.{p}', f'{norm}.{p}') for p in BOTH)
            yield from zip((f'downsample_layers.{i}.1.{p}' for p in BOTH), (f'{halve}.{conv}', f'{halve}.bias'))
        for i, depth in enumerate(depths):
            for j in range(depth):
                ours, theirs = f'stages.{i}.{j}', self.block.format(i=self.stage(i), j=j)
                for leaf in LEAVES:
                    weight = conv if leaf == 'dwconv' else 'weight'
                    yield f'{ours}.{leaf}.weight', f'{theirs}.{self.leaves[leaf]}.{weight}'
                    yield f'{ours}.{leaf}.bias', f'{theirs}.{self.leaves[leaf]}.bias'
                if grn:
                    yield from ((f'{ours}.grn.{p}', f'{theirs}.{q}') for p, q in zip(('gamma', 'beta'), self.grn))
                else:
                    yield f'{ours}.gamma', f'{theirs}.{self.gamma}'

    def optional_pairs(self) -> Iterator[tuple[str, str]]:
        """(official name, this layout's name) of output norms and the classification head, which a file may lack."""
        if self.out_norm is not None:
            yield from ((f'norm{i}.{p}', f'{self.out_norm.format(i=i, n=i + 1)}.{p}') for i in range(4) for p in BOTH)
        if self.last_norm is not None:
            yield from ((f'norm3.{p}', f'{self.last_norm}.{p}') for p in BOTH)
        if self.head_norm is not None:
            yield from ((f'norm.{p}', f'{self.head_norm}.{p}') for p in BOTH)
        if self.head is not None:
            yield from ((f'head.{p}', f'{self.head}.{p}') for p in BOTH)


SAME = dict(zip(LEAVES, LEAVES))
MM_LEAVES = dict(dwconv='depthwise_conv', norm='norm', pwconv1='pointwise_conv1', pwconv2='pointwise_conv2')
TIMM_LEAVES = dict(dwconv='conv_dw', norm='norm', pwconv1='mlp.fc1', pwconv2='mlp.fc2')
TEXT_TOWER = (
    'transformer.',
    'token_embedding.',
    'positional_embedding',
    'ln_final.',
    'text_projection',
    'text.',
    'logit_scale',
    'logit_bias',
    'attn_mask',
    'visual.head.',
)

LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout(
            name='official',
            title='official release: V1, V2 fine-tuned, and the backbones of its UperNet and Mask R-CNN',
            stem=('downsample_layers.0.0', 'downsample_layers.0.1'),
            down=('downsample_layers.{i}.0', 'downsample_layers.{i}.1'),
            block='stages.{i}.{j}',
            leaves=SAME,
            out_norm='norm{i}',
            head_norm='norm',
            head='head',
        ),
        Layout(
            name='fcmae',
            title='official V2 pre-training (FCMAE), sparse convolutions',
            stem=('downsample_layers.0.0', 'downsample_layers.0.1'),
            down=('downsample_layers.{i}.0.ln', 'downsample_layers.{i}.1'),
            block='stages.{i}.{j}',
            leaves=dict(dwconv='dwconv', norm='norm.ln', pwconv1='pwconv1.linear', pwconv2='pwconv2.linear'),
            kernels=True,
            beyond=('decoder.', 'proj.', 'pred.', 'mask_token'),
        ),
        Layout(
            name='openmmlab',
            title='OpenMMLab: mmcls and mmpretrain, and the backbones of mmseg and mmdet',
            stem=('downsample_layers.0.0', 'downsample_layers.0.1'),
            down=('downsample_layers.{i}.0', 'downsample_layers.{i}.1'),
            block='stages.{i}.{j}',
            leaves=MM_LEAVES,
            out_norm='norm{i}',
            head='head.fc',
            shapes={'grn': (-1,)},
        ),
        Layout(
            name='timm',
            title='timm, and OpenCLIP, which keeps it under visual.trunk',
            stem=('stem.0', 'stem.1'),
            down=('stages.{i}.downsample.0', 'stages.{i}.downsample.1'),
            block='stages.{i}.blocks.{j}',
            leaves=TIMM_LEAVES,
            grn=('mlp.grn.weight', 'mlp.grn.bias'),
            head_norm='head.norm',
            head='head.fc',
            beyond=('head.', 'norm_pre.', *TEXT_TOWER),
            shapes={'grn': (-1,)},
            conv_mlp_below=96,
        ),
        Layout(
            name='timm_features',
            title='timm with features_only',
            stem=('stem_0', 'stem_1'),
            down=('stages_{i}.downsample.0', 'stages_{i}.downsample.1'),
            block='stages_{i}.blocks.{j}',
            leaves=TIMM_LEAVES,
            grn=('mlp.grn.weight', 'mlp.grn.bias'),
            shapes={'grn': (-1,)},
            conv_mlp_below=96,
        ),
        Layout(
            name='torchvision',
            title='torchvision',
            stem=('features.0.0', 'features.0.1'),
            down=('features.{i}.0', 'features.{i}.1'),
            before=lambda i: 2 * i,
            block='features.{i}.{j}',
            stage=lambda i: 2 * i + 1,
            leaves=dict(dwconv='block.0', norm='block.2', pwconv1='block.3', pwconv2='block.5'),
            gamma='layer_scale',
            head_norm='classifier.0',
            head='classifier.2',
            shapes={'gamma': (-1, 1, 1)},
        ),
        Layout(
            name='transformers',
            title='Hugging Face transformers: ConvNext and ConvNextV2',
            stem=('embeddings.patch_embeddings', 'embeddings.layernorm'),
            down=('encoder.stages.{i}.downsampling_layer.0', 'encoder.stages.{i}.downsampling_layer.1'),
            block='encoder.stages.{i}.layers.{j}',
            leaves=dict(dwconv='dwconv', norm='layernorm', pwconv1='pwconv1', pwconv2='pwconv2'),
            gamma='layer_scale_parameter',
            grn=('grn.weight', 'grn.bias'),
            out_norm='hidden_states_norms.stage{n}',
            head_norm='layernorm',
            head='classifier',
        ),
        Layout(
            name='dinov3',
            title="DINOv3's own release",
            stem=('downsample_layers.0.0', 'downsample_layers.0.1'),
            down=('downsample_layers.{i}.0', 'downsample_layers.{i}.1'),
            block='stages.{i}.{j}',
            leaves=SAME,
            last_norm='norms.3',  # the other three are identities
            head_norm='norm',  # the same norm again
        ),
        Layout(
            name='dinov3_transformers',
            title='Hugging Face transformers: DINOv3ConvNext',
            stem=('stages.0.downsample_layers.0', 'stages.0.downsample_layers.1'),
            down=('stages.{i}.downsample_layers.0', 'stages.{i}.downsample_layers.1'),
            block='stages.{i}.layers.{j}',
            leaves=dict(MM_LEAVES, norm='layer_norm'),
            last_norm='layer_norm',
        ),
    )
}

# Names before the layout's own, in any order and number.
PREFIX = re.compile(r'((module|model|backbone|encoder|visual|trunk|convnext|convnextv2|teacher|student|ema)\.)*')


@dataclass(frozen=True)
class Found:
    """What a state dict was recognised as: the backbone lies under `prefix`, in `layout`."""

    layout: Layout
    prefix: str
    depths: tuple[int, ...]
    dims: tuple[int, ...]
    grn: bool
    matched: int

    @property
    def version(self) -> str:
        return 'V2' if self.grn else 'V1'


def recognise(state: Mapping[str, Tensor]) -> Found | None:
    """The layout that explains most keys; None where no key is a ConvNeXt's stem."""
    best: Found | None = None
    for layout in LAYOUTS.values():
        stem = f'{layout.stem[0]}.weight'
        for key in state:
            if not key.endswith(stem) or not PREFIX.fullmatch(key.removesuffix(stem)):
                continue
            found = _measure(layout, key.removesuffix(stem), state)
            if best is None or found.matched > best.matched:
                best = found
    return best


def _measure(layout: Layout, prefix: str, state: Mapping[str, Tensor]) -> Found:
    depths, dims = [], []
    for i in range(4):
        leaf = layout.leaves['dwconv']
        depth = 0
        while any(f'{prefix}{layout.block.format(i=layout.stage(i), j=depth)}.{leaf}.{p}' in state for p in ('bias', 'weight')):
            depth += 1
        depths.append(depth)
        dims.append(_width(layout, prefix, state, i, depth))
    block = f'{prefix}{layout.block.format(i=layout.stage(0), j=0)}'
    grn = f'{block}.{layout.grn[0]}' in state
    names = [theirs for _, theirs in (*layout.pairs(tuple(depths), grn), *layout.optional_pairs())]
    matched = sum(prefix + name in state for name in names)
    return Found(layout, prefix, tuple(depths), tuple(dims), grn, matched)


def _width(layout: Layout, prefix: str, state: Mapping[str, Tensor], i: int, depth: int) -> int:
    """Channels of stage i, as most of its biases say, so that a single wrong one is named and not the others."""
    blocks = (f'{prefix}{layout.block.format(i=layout.stage(i), j=j)}' for j in range(depth))
    names = [f'{block}.{layout.leaves[leaf]}.bias' for block in blocks for leaf in ('dwconv', 'norm', 'pwconv2')]
    sizes = [state[name].numel() for name in names if name in state]
    return Counter(sizes).most_common(1)[0][0] if sizes else 0


def to_official(state: Mapping[str, Tensor], found: Found) -> tuple[StateDict, list[str]]:
    """The backbone under official names and shapes, and the state dict's names that are no part of it."""
    layout, prefix = found.layout, found.prefix
    official: StateDict = {}
    rest = set(state)
    for ours, theirs in layout.pairs(found.depths, found.grn):
        if prefix + theirs in state:
            official[ours] = _official_shape(ours, state[prefix + theirs], layout)
            rest.discard(prefix + theirs)
    for ours, theirs in _optional(layout, any(f'{prefix}norm{i}.weight' in state for i in range(3))):
        # Norms and heads may stand outside the prefix: convnext.… beside classifier.…
        key = next((key for key in (prefix + theirs, theirs) if key in rest), None)
        if key is not None:
            official[ours] = _official_shape(ours, state[key], layout)
            rest.discard(key)
    return official, sorted(rest)


def _optional(layout: Layout, dense: bool) -> list[tuple[str, str]]:
    """Output norms and classification head. OpenMMLab's classification files call the norm before the head norm3."""
    pairs = list(layout.optional_pairs())
    if layout.name == 'openmmlab' and not dense:
        pairs = [pair for pair in pairs if not pair[0].startswith('norm')]
        pairs += [(f'norm.{p}', f'norm3.{p}') for p in BOTH]
    return pairs


def _official_shape(name: str, tensor: Tensor, layout: Layout) -> Tensor:
    if layout.kernels and name.endswith('.weight') and tensor.ndim in (2, 3) and _is_conv(name):
        # (k*k, C) depthwise or (k*k, in, out): columns run first in a sparse kernel.
        side = isqrt(tensor.shape[0])
        if side * side != tensor.shape[0]:
            return tensor
        tensor = tensor.unsqueeze(1) if tensor.ndim == 2 else tensor
        out = tensor.permute(2, 1, 0)
        return out.reshape(*out.shape[:2], side, side).transpose(3, 2).contiguous()
    vector = tensor.ndim > 0 and tensor.numel() == max(tensor.shape)  # but for axes of length one
    if '.grn.' in name and vector:
        return tensor.reshape(1, 1, 1, -1)
    if name.endswith(('.gamma', '.bias')) and vector:
        return tensor.reshape(-1)
    if '.pwconv' in name and tensor.ndim == 4 and tensor.shape[2:] == (1, 1):
        return tensor.flatten(1)
    return tensor


def _is_conv(name: str) -> bool:
    return '.dwconv.' in name or bool(re.fullmatch(r'downsample_layers\.[123]\.1\.weight', name))


def from_official(
    state: Mapping[str, Tensor], layout: Layout, depths: tuple[int, ...], grn: bool
) -> tuple[StateDict, list[str]]:
    """The way out: an official backbone (with or without norms and head) in `layout`, and the names without a place there."""
    theirs: StateDict = {}
    rest = set(state)
    conv_mlp = state['downsample_layers.0.0.bias'].numel() < layout.conv_mlp_below
    for ours, name in (*layout.pairs(depths, grn), *_optional(layout, any(f'norm{i}.weight' in state for i in range(3)))):
        if ours in state:
            theirs[name] = _their_shape(ours, state[ours], layout)
            if conv_mlp and '.pwconv' in ours and ours.endswith('.weight'):
                theirs[name] = theirs[name][:, :, None, None]
            rest.discard(ours)
    return theirs, sorted(rest)


def _their_shape(name: str, tensor: Tensor, layout: Layout) -> Tensor:
    if layout.kernels and name.endswith('.weight') and _is_conv(name):
        kernel = tensor.transpose(3, 2).flatten(2).permute(2, 1, 0)
        return (kernel[:, 0] if '.dwconv.' in name else kernel).contiguous()
    for part, shape in layout.shapes.items():
        if (part == 'grn' and '.grn.' in name) or (part == 'gamma' and name.endswith('.gamma') and '.grn.' not in name):
            return tensor.reshape(shape)
    return tensor

"""The recipes of ConvNeXt V2 and of DINOv3: what the papers tell of them, their weights, a few steps, a frozen backbone."""

import re
from math import isfinite
from pathlib import Path

import pytest
import torch
from detectors import batch, loss_of
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from test_layouts import FCMAE, HEADS, OFFICIAL, V2_SIZES, official_keys
from torch import nn

from convnext_dense import ARCHS, ConvNeXt
from convnext_dense.recipes import docstring, find_recipe, recipes
from convnext_dense.run.options import load_config
from convnext_dense.run.preflight import build_on_meta
from convnext_dense.run.settle import settle_norms, settle_precision, settle_pretrained
from convnext_dense.weights.match import match_backbone
from convnext_dense.weights.stats import IMAGENET, differs

DINOV3 = {
    't': ('tiny', '21b726bb', 0.4),
    's': ('small', '296db49d', 0.3),
    'b': ('base', '801f2ba9', 0.4),
    'l': ('large', '61fa432d', 0.4),
}
UPERNET_V2 = {arch: f'upernet_convnextv2_{arch}_ade20k' for arch in V2_SIZES}
MASK_V2 = {arch: f'mask_rcnn_convnextv2_{arch}_coco' for arch in V2_SIZES}
UPERNET_DINOV3 = {size: f'upernet_dinov3_convnext_{size}_ade20k' for size in DINOV3}
MASK_DINOV3 = {size: f'mask_rcnn_dinov3_convnext_{size}_coco' for size in DINOV3}
EVERY = [name for family in (UPERNET_V2, MASK_V2, UPERNET_DINOV3, MASK_DINOV3) for name in family.values()]
FILES = 'https://dl.fbaipublicfiles.com/convnext/convnextv2'


def test_these_are_all_that_the_folder_has() -> None:
    assert sorted(EVERY) == [name for name in recipes() if 'v2' in name or 'dinov3' in name]


@pytest.mark.parametrize('name', EVERY)
def test_it_says_what_was_published_and_that_it_was_not_trained(name: str) -> None:
    text = ' '.join(docstring(find_recipe(name)).split())
    published = re.search(r'_convnextv2_(base|large|huge)_', name) is not None
    assert text.count('Not trained by us.') == 1
    assert ('Published (arXiv 2301.00808, table' in text) == published == ('Published: no scores' not in text)
    assert len(find_recipe(name).read_text().splitlines()) <= (36 if '_atto_' in name else 20)


def check_size(cfg: Config, arch: str) -> None:
    """Heads as wide as the backbone, and the images' statistics of the weights."""
    dims, model = ARCHS[arch].dims, cfg.model
    assert model.backbone.arch == arch
    if 'decode_head' in model:
        assert (model.decode_head.in_channels, model.auxiliary_head.in_channels) == (list(dims), dims[2])
    else:
        assert model.neck.in_channels == list(dims)
    assert differs(IMAGENET, model.data_preprocessor.mean, model.data_preprocessor.std) is None


@pytest.mark.parametrize('arch', V2_SIZES)
def test_v2_in_upernet_is_as_published(arch: str) -> None:
    """Appendix A.4 of arXiv 2301.00808."""
    cfg = load_config(UPERNET_V2[arch])
    check_size(cfg, arch)
    assert cfg.model.backbone.use_grn and 0.1 <= cfg.model.backbone.drop_path_rate <= 0.4
    assert cfg.model.backbone.init_cfg == dict(type='Pretrained', checkpoint=f'{FILES}/im1k/convnextv2_{arch}_1k_224_ema.pt')
    assert cfg.optim_wrapper.optimizer == dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05)
    assert cfg.optim_wrapper.paramwise_cfg == dict(decay_rate=0.9, decay_type='layer_wise')
    assert (cfg.train_cfg.max_iters, cfg.auto_scale_lr.base_batch_size, cfg.model.test_cfg.crop_size) == (
        160000,
        16,
        (512, 512),
    )
    scales = [step.scale for step in cfg.tta_pipeline[1].transforms[0]]
    assert scales == [(1536, 384), (1792, 448), (2048, 512), (2304, 576), (2560, 640)]


@pytest.mark.parametrize('arch', V2_SIZES)
def test_v2_in_mask_rcnn_is_as_published(arch: str) -> None:
    """Appendix A.3."""
    cfg = load_config(MASK_V2[arch])
    check_size(cfg, arch)
    assert cfg.model.backbone.use_grn and 0.2 <= cfg.model.backbone.drop_path_rate <= 0.5
    assert cfg.model.backbone.init_cfg.checkpoint == f'{FILES}/pt_only/convnextv2_{arch}_1k_224_fcmae.pt'
    assert cfg.optim_wrapper.optimizer == dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05)
    assert cfg.optim_wrapper.paramwise_cfg == dict(decay_rate=0.95, decay_type='layer_wise')
    assert (cfg.train_cfg.max_epochs, cfg.train_dataloader.batch_size, cfg.auto_scale_lr.base_batch_size) == (36, 4, 32)
    _, _, resize, crop, empty, _, _ = cfg.train_dataloader.dataset.pipeline
    assert (resize.type, resize.scale, resize.ratio_range) == ('RandomResize', (1024, 1024), (0.1, 2.0))
    assert (crop.crop_size, crop.recompute_bbox, empty.type) == ((1024, 1024), True, 'FilterAnnotations')
    assert cfg.model.test_cfg.rcnn.nms == dict(type='soft_nms', iou_threshold=0.5)


@pytest.mark.parametrize('size', DINOV3)
@pytest.mark.parametrize('family', [UPERNET_DINOV3, MASK_DINOV3], ids=['UperNet', 'Mask R-CNN'])
def test_dinov3_is_the_recipe_of_t_on_other_weights(family: dict[str, str], size: str) -> None:
    arch, digest, drop_path = DINOV3[size]
    cfg = load_config(family[size])
    check_size(cfg, arch)
    assert cfg.model.backbone.init_cfg.checkpoint == f'dinov3_convnext_{arch}_pretrain_lvd1689m-{digest}.pth'
    assert cfg.model.backbone.drop_path_rate == (drop_path if 'decode_head' in cfg.model else 0.4)
    assert '--pretrained FILE\n\nFILE is the one named below' in docstring(find_recipe(family[size]))
    assert f'facebook/dinov3-convnext-{arch}-pretrain-lvd1689m' in docstring(find_recipe(family[size]))
    t = load_config(family[size].replace('dinov3_', '').replace(f'convnext_{size}_', 'convnext_t_'))
    for part in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'train_dataloader', 'auto_scale_lr'):
        assert cfg[part] == t[part]


def on_meta(keys: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    with torch.device('meta'):
        return {name: torch.empty(shape) for name, shape in keys.items()}


def transformers_dinov3(arch: str) -> dict[str, torch.Tensor]:
    """The state dict of transformers' own model, on the meta device."""
    import transformers

    config = transformers.DINOv3ConvNextConfig(hidden_sizes=list(ARCHS[arch].dims), depths=list(ARCHS[arch].depths))
    with torch.device('meta'):
        return transformers.DINOv3ConvNextModel(config).state_dict()


@pytest.mark.parametrize('name', EVERY)
def test_the_weights_that_it_names_fit_every_tensor(name: str) -> None:
    """A file of their layout and size, strictly: DINOv3's in both of its layouts."""
    cfg = load_config(name)
    settle_norms(cfg, processes=1)
    backbone = build_on_meta(cfg).backbone
    arch, grn = cfg.model.backbone.arch, cfg.model.backbone.get('use_grn', False)
    layout = 'fcmae' if 'fcmae' in cfg.model.backbone.init_cfg.checkpoint else 'official' if grn else 'dinov3'
    prefix, beside = HEADS[layout]
    spelled = official_keys(ARCHS[arch].depths, ARCHS[arch].dims, grn, **(FCMAE if layout == 'fcmae' else OFFICIAL))
    files = {
        layout: on_meta(
            {prefix + key: shape for key, shape in spelled.items()} | dict.fromkeys(beside, (backbone.out_channels[3],))
        )
    }
    if layout == 'dinov3':
        files['dinov3_transformers'] = transformers_dinov3(arch)
    for kind, state in files.items():
        match = match_backbone(state, backbone)
        assert match.fits and match.found.layout.name == kind
        assert match.total == sum(not key.startswith('norm') for key in backbone.state_dict())


def small(name: str, tmp_path: Path, **options: object) -> tuple[Config, nn.Module]:
    """A recipe's model and its weights from a file, its heads narrow; DINOv3's with a block a stage."""
    cfg = load_config(name, {f'model.backbone.{key}': value for key, value in options.items()})
    if 'dinov3' in name:
        cfg.model.backbone.arch = dict(depths=(1, 1, 1, 1), dims=list(ARCHS['atto'].dims))
    for key in ('decode_head', 'auxiliary_head'):
        if key in cfg.model:
            cfg.model[key].update(in_channels=[40, 80, 160, 320] if key == 'decode_head' else 160, channels=16)
    if 'neck' in cfg.model:
        cfg.model.neck.in_channels = [40, 80, 160, 320]
    settle_norms(cfg, processes=1)
    settle_precision(cfg, amp=False)
    torch.manual_seed(0)
    state = {key: value for key, value in random_backbone(cfg).state_dict().items() if not key.startswith('norm')}
    torch.save({key: value + 0.01 * torch.randn_like(value) for key, value in state.items()}, tmp_path / 'weights.pth')
    settle_pretrained(cfg, str(tmp_path / 'weights.pth'), needed=True)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return cfg, model.train()


def random_backbone(cfg: Config) -> ConvNeXt:
    options = {key: value for key, value in cfg.model.backbone.items() if key not in ('type', 'init_cfg')}
    return ConvNeXt(**options)


def loss(model: nn.Module) -> torch.Tensor:
    """Of two pictures of noise."""
    if not hasattr(model, 'decode_head'):
        return loss_of(model, batch([(64, 64), (64, 96)], [2, 1]))
    generator = torch.Generator().manual_seed(0)
    samples = []
    for _ in range(2):
        sample = SegDataSample(metainfo=dict(img_shape=(64, 64), ori_shape=(64, 64), pad_shape=(64, 64)))
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 150, (1, 64, 64), generator=generator))
        samples.append(sample)
    model.data_preprocessor.size = (64, 64)
    pictures = [torch.randint(0, 255, (3, 64, 64), dtype=torch.uint8, generator=generator) for _ in range(2)]
    data = dict(inputs=pictures, data_samples=samples)
    losses = model(**model.data_preprocessor(data, training=True), mode='loss')
    return model.parse_losses(losses)[0]


SMALL = [UPERNET_V2['atto'], MASK_V2['atto'], UPERNET_DINOV3['t'], MASK_DINOV3['t']]


@pytest.mark.slow
@pytest.mark.parametrize('name', SMALL)
def test_it_learns_from_loaded_weights(name: str, tmp_path: Path, logged: list[str]) -> None:
    """Three steps of the recipe's optimiser on the same two pictures: the loss falls, and all of the backbone moves."""
    cfg, model = small(name, tmp_path, drop_path_rate=0.0)
    total = sum(not key.startswith('norm') for key in model.backbone.state_dict())
    assert any(f'loaded {total} of {total} (layout: official)' in line for line in logged)
    before = {key: value.clone() for key, value in model.backbone.state_dict().items()}
    cfg.optim_wrapper.optimizer.lr = 1e-3
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    losses = []
    for _ in range(4):
        torch.manual_seed(0)  # the same dropout and the same proposals
        value = loss(model)
        losses.append(value.item())
        wrapper.update_params(value)
    assert all(map(isfinite, losses)) and losses[-1] < losses[0]
    assert [key for key, value in model.backbone.state_dict().items() if torch.equal(value, before[key])] == []


@pytest.mark.slow
@pytest.mark.parametrize('name', SMALL)
def test_a_frozen_backbone_is_one_option(name: str, tmp_path: Path) -> None:
    """No gradient, no group of the optimiser, no change in a step, and no drop path; the heads train."""
    cfg, model = small(name, tmp_path, frozen_stages=4, drop_path_rate=0.9)
    parts = [module for module in model.backbone.modules() if not isinstance(module, (ConvNeXt, nn.ModuleList))]
    assert parts and not any(module.training for module in parts)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    trained = {id(param) for group in wrapper.optimizer.param_groups for param in group['params']}
    assert trained and not trained & {id(param) for param in model.backbone.parameters()}
    wrapper.update_params(loss(model))
    assert all(param.grad is None for param in model.backbone.parameters())
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed and not [key for key in changed if key.startswith('backbone.')]
    x = torch.randn(4, 3, 64, 64)
    for one, again in zip(model.backbone(x), model.backbone(x), strict=True):
        assert not one.requires_grad and torch.equal(one, again)

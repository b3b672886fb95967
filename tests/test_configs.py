"""Every shipped config: built, equal to the published recipe, and its facts in one place."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from convnext_dense import ARCHS
from convnext_dense.benchmark.complexity import published_figures
from convnext_dense.recipes import docstring
from convnext_dense.run.options import load_config
from convnext_dense.run.preflight import build_on_meta
from convnext_dense.run.settle import settle_norms, settle_precision, settle_pretrained

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted(ROOT.glob('configs/*.py'))
ADE20K = [path for path in CONFIGS if path.stem.endswith('_ade20k')]
COCO = [path for path in CONFIGS if path.stem.endswith('_coco')]

# arch, weights, rate, drop path, crop, stride, fp16 of the official release's recipes.
RECIPES = dict(
    t=('tiny', 'tiny_1k', 1e-4, 0.4, 512, 341, True),
    s=('small', 'small_1k', 1e-4, 0.3, 512, 341, True),
    b=('base', 'base_1k', 1e-4, 0.4, 512, 341, True),
    b_22k=('base', 'base_22k', 1e-4, 0.4, 640, 426, True),
    l=('large', 'large_22k', 1e-4, 0.4, 640, 426, False),
    xl=('xlarge', 'xlarge_22k', 8e-5, 0.4, 640, 426, False),
)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_builds_and_its_heads_fit_its_backbone(path: Path) -> None:
    cfg = load_config(str(path))
    settle_norms(cfg, processes=1)
    model = build_on_meta(cfg)
    assert type(model.backbone).__name__ == ('RoadmapNet' if path.stem.startswith('roadmap') else 'ConvNeXt')
    assert f'convnext-dense train {path.stem}' in docstring(path), 'the command is missing'


@pytest.mark.parametrize('size', RECIPES)
def test_equals_the_published_recipe(size: str) -> None:
    arch, weights, lr, drop_path, crop, stride, fp16 = RECIPES[size]
    cfg = Config.fromfile(ROOT / f'configs/upernet_convnext_{size}_ade20k.py')
    backbone, head, aux = cfg.model.backbone, cfg.model.decode_head, cfg.model.auxiliary_head
    assert (backbone.arch, backbone.drop_path_rate, backbone.layer_scale_init_value) == (arch, drop_path, 1.0)
    assert backbone.init_cfg.checkpoint == f'https://dl.fbaipublicfiles.com/convnext/convnext_{weights}_224.pth'
    assert (head.in_channels, aux.in_channels) == (list(ARCHS[arch].dims), ARCHS[arch].dims[2])
    assert (head.channels, head.pool_scales, head.dropout_ratio, head.norm_cfg.type) == (512, (1, 2, 3, 6), 0.1, 'SyncBN')
    assert (aux.channels, aux.num_convs, aux.in_index, aux.loss_decode.loss_weight) == (256, 1, 2, 0.4)
    assert head.num_classes == aux.num_classes == 150

    optim = cfg.optim_wrapper
    assert optim.optimizer == dict(type='AdamW', lr=lr, betas=(0.9, 0.999), weight_decay=0.05)
    assert optim.paramwise_cfg == dict(decay_rate=0.9, decay_type='stage_wise')
    assert optim.type == ('AmpOptimWrapper' if fp16 else 'OptimWrapper')
    warm_up, poly = cfg.param_scheduler
    assert (warm_up.type, warm_up.start_factor, warm_up.end) == ('LinearLR', 1e-6, 1500)
    assert (poly.type, poly.power, poly.eta_min, poly.begin, poly.end) == ('PolyLR', 1.0, 0.0, 1500, 160000)
    assert cfg.train_cfg.max_iters == 160000
    assert (cfg.train_dataloader.batch_size, cfg.auto_scale_lr.base_batch_size) == (2, 16)

    assert cfg.model.data_preprocessor.size == (crop, crop)
    assert dict(cfg.model.test_cfg).items() >= dict(mode='slide', crop_size=(crop, crop), stride=(stride, stride)).items()
    _, _, resize, cut, flip, colour, _ = cfg.train_dataloader.dataset.pipeline
    assert (resize.scale, resize.ratio_range, resize.keep_ratio) == ((4 * crop, crop), (0.5, 2.0), True)
    assert (cut.crop_size, cut.cat_max_ratio, flip.prob, colour.type) == ((crop, crop), 0.75, 0.5, 'PhotoMetricDistortion')
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.pipeline[1].scale == (4 * crop, crop)
    scales, flips = cfg.tta_pipeline[1].transforms[:2]
    assert [step.scale[1] / crop for step in scales] == [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
    assert [step.prob for step in flips] == [0.0, 1.0]


# arch, weights, rate, drop path, layer decay, fp16.
COCO_RECIPES = dict(
    mask_rcnn_t=('tiny', 'tiny_1k', 1e-4, 0.4, 0.95, True),
    cascade_mask_rcnn_t=('tiny', 'tiny_1k', 2e-4, 0.4, 0.7, True),
    cascade_mask_rcnn_s=('small', 'small_1k', 2e-4, 0.6, 0.7, True),
    cascade_mask_rcnn_b=('base', 'base_1k', 2e-4, 0.7, 0.8, True),
    cascade_mask_rcnn_b_22k=('base', 'base_22k', 1e-4, 0.6, 0.8, True),
    cascade_mask_rcnn_l=('large', 'large_22k', 1e-4, 0.7, 0.7, False),
    cascade_mask_rcnn_xl=('xlarge', 'xlarge_22k', 1e-4, 0.8, 0.7, False),
)


@pytest.mark.parametrize('name', COCO_RECIPES)
def test_equals_the_published_coco_recipe(name: str) -> None:
    arch, weights, lr, drop_path, decay, fp16 = COCO_RECIPES[name]
    head, _, size = name.partition('_rcnn_')
    cfg = Config.fromfile(ROOT / f'configs/{head}_rcnn_convnext_{size}_coco.py')
    backbone = cfg.model.backbone
    assert (backbone.arch, backbone.drop_path_rate, backbone.layer_scale_init_value) == (arch, drop_path, 1.0)
    assert backbone.init_cfg.checkpoint == f'https://dl.fbaipublicfiles.com/convnext/convnext_{weights}_224.pth'
    fast = dict(type='FastConv2d')
    assert cfg.model.neck == dict(type='FPN', in_channels=list(ARCHS[arch].dims), out_channels=256, num_outs=5, conv_cfg=fast)

    optim = cfg.optim_wrapper
    assert optim.optimizer == dict(type='AdamW', lr=lr, betas=(0.9, 0.999), weight_decay=0.05)
    assert optim.paramwise_cfg == dict(decay_rate=decay, decay_type='layer_wise')
    assert optim.type == ('AmpOptimWrapper' if fp16 else 'OptimWrapper')
    warm_up, steps = cfg.param_scheduler
    assert (warm_up.type, warm_up.start_factor, warm_up.end, warm_up.by_epoch) == ('LinearLR', 0.001, 500, False)
    assert (steps.type, steps.milestones, steps.gamma, steps.by_epoch) == ('MultiStepLR', [27, 33], 0.1, True)
    assert cfg.train_cfg.max_epochs == 36
    assert (cfg.train_dataloader.batch_size, cfg.auto_scale_lr.base_batch_size) == (2, 16)

    _, _, flip, choice, _ = cfg.train_dataloader.dataset.pipeline
    (whole,), (small, crop, again) = choice.transforms
    assert flip.prob == 0.5 and whole == again
    assert [scale[1] for scale in whole.scales] == [480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800]
    assert {scale[0] for scale in [*whole.scales, *small.scales]} == {1333} and whole.keep_ratio
    assert [scale[1] for scale in small.scales] == [400, 500, 600]
    assert (crop.crop_type, crop.crop_size, crop.allow_negative_crop) == ('absolute_range', (384, 600), True)
    assert cfg.test_dataloader.dataset.pipeline[1].scale == (1333, 800)


def test_heads_equal_mmdets_but_where_the_recipes_differ() -> None:
    """The heads are those of mmdet's own base files; Cascade's box heads are the recipes' own."""
    from mmengine.hub import get_config

    def plain(node):
        if isinstance(node, dict):
            return {key: plain(value) for key, value in node.items() if value is not None}
        return [plain(value) for value in node] if isinstance(node, (list, tuple)) else node

    ours = {
        name: plain(Config.fromfile(ROOT / f'configs/{name}_convnext_t_coco.py').model)
        for name in ('mask_rcnn', 'cascade_mask_rcnn')
    }
    theirs = dict(
        mask_rcnn=plain(get_config('mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py').model),
        cascade_mask_rcnn=plain(get_config('mmdet::cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py').model),
    )
    for name, model in ours.items():
        other = theirs[name]
        assert model['roi_head']['mask_head'].pop('type') == 'PasteMaskHead'
        assert other['roi_head']['mask_head'].pop('type') == 'FCNMaskHead'
        assert model['roi_head']['mask_head'].pop('conv_cfg') == dict(type='FastConv2d')
        assert (model['rpn_head'].pop('type'), other['rpn_head'].pop('type')) == ('FastRPNHead', 'RPNHead')
        for part in ('backbone', 'neck'):
            model.pop(part), other.pop(part)
        if name == 'cascade_mask_rcnn':
            heads = model['roi_head'].pop('bbox_head')
            stock = other['roi_head'].pop('bbox_head')
            for head, stock_head in zip(heads, stock):
                assert head['bbox_coder'] == stock_head['bbox_coder']
                assert (head['num_shared_convs'], head['num_shared_fcs'], head['norm_cfg']['type']) == (4, 1, 'SyncBN')
                assert head['loss_bbox'] == dict(type='GIoULoss', loss_weight=10.0)
                assert head['reg_decoded_bbox'] and not head['reg_class_agnostic']
        assert model == other


@pytest.mark.parametrize('path', ADE20K + COCO, ids=lambda path: path.stem)
def test_a_size_file_is_a_short_delta(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 55


PUBLISHED = [path for path in ADE20K + COCO if getattr(published_figures(path), 'params', None)]


def test_the_published_ones_are_the_papers() -> None:
    """V1's all, and V2's UperNet from base up."""
    v1 = {path for path in ADE20K + COCO if '_convnext_' in path.stem and 'dinov3' not in path.stem}
    assert set(PUBLISHED) - v1 == {ROOT / f'configs/upernet_convnextv2_{size}_ade20k.py' for size in ('base', 'large', 'huge')}
    assert v1 <= set(PUBLISHED)


@pytest.mark.parametrize('path', PUBLISHED, ids=lambda path: path.stem)
def test_parameters_equal_the_published_ones_in_millions(path: Path) -> None:
    cfg = load_config(str(path))
    settle_norms(cfg, processes=1)
    millions = sum(p.numel() for p in build_on_meta(cfg).parameters()) / 1e6
    assert round(millions) == published_figures(path).params


@pytest.mark.slow
def test_the_published_t_model_learns_and_predicts_on_real_sizes() -> None:
    """One training step and one sliding prediction of the 60 M parameter model on an odd size."""
    from mmengine.registry import MODELS
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    cfg = load_config(str(ROOT / 'configs/upernet_convnext_t_ade20k.py'), {'model.test_cfg.crop_size': (96, 96)})
    cfg.model.test_cfg.stride = (64, 64)
    cfg.model.data_preprocessor.size = (96, 96)
    settle_norms(cfg, processes=1)
    settle_precision(cfg, amp=False)
    settle_pretrained(cfg, 'none', needed=True)
    init_default_scope('mmseg')
    model = MODELS.build(cfg.model)
    sample = SegDataSample(metainfo=dict(img_shape=(90, 96), ori_shape=(90, 96), pad_shape=(90, 96)))
    sample.gt_sem_seg = PixelData(data=torch.randint(0, 150, (1, 90, 96)))
    batch = dict(inputs=[torch.randint(0, 255, (3, 90, 96), dtype=torch.uint8)] * 2, data_samples=[sample, sample])
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    test = dict(inputs=[torch.randint(0, 255, (3, 101, 133), dtype=torch.uint8)], data_samples=[sample.clone()])
    test['data_samples'][0].set_metainfo(dict(img_shape=(101, 133), ori_shape=(101, 133), pad_shape=(101, 133)))
    (result,) = model.eval().test_step(test)
    assert result.pred_sem_seg.data.shape == (1, 101, 133)

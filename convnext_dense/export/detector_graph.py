"""Two-stage detectors (Faster, Mask and Cascade Mask R-CNN) as one module that torch.export and the ONNX exporter can record.

mmdet's own `predict` branches on values, at each level, threshold and suppression. Here the number of proposals and of objects
is fixed, places that nothing fills are masked, and class-wise suppression is one NonMaxSuppression an image. The boxes are the
same. The number of images is recorded as it is, since each has its own suppression; height and width may be symbols.

Legend: B images, A anchors a pixel, R proposals an image, N objects an image (`max_per_img`), K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convnext_dense.export.boxes import Boxes, anchors, best_places, class_wise_nms, decode, roi_features
from convnext_dense.export.detector_support import expect_supported
from convnext_dense.export.pasting import pasted
from convnext_dense.export.picture_input import PictureInput


class DetectorGraph(nn.Module):
    """From bytes to boxes, and masks as the head gives them.

    Args:
        model: a built TwoStageDetector of mmdet, which is put into eval mode and not copied.
        resize: what the pipeline does before the model, as `picture_input.pipeline_resize` gives it.
        raw: take (B, 3, h, w) that are resized and normalised already; boxes are in its pixels.
        full: paste the masks.

    Raises:
        InputError: for a model with parts whose inference differs from what is computed here.

    Example:
        >>> graph = DetectorGraph(model)
        >>> boxes, scores, labels, masks = graph(torch.zeros(1, 480, 640, 3, dtype=torch.uint8))
        >>> boxes.shape, masks.shape
        (torch.Size([1, 100, 4]), torch.Size([1, 100, 28, 28]))
    """

    def __init__(
        self, model: nn.Module, resize: Mapping[str, Any] | None = None, raw: bool = False, full: bool = False
    ) -> None:
        super().__init__()
        expect_supported(model)
        self.model: Any = model
        roi_head: Any = self.model.roi_head
        self.picture = PictureInput(self.model.data_preprocessor, resize, raw)
        self.full, self.threshold = full, roi_head.test_cfg.get('mask_thr_binary', 0.5)
        self.cascade = isinstance(roi_head.bbox_head, nn.ModuleList)
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """image (B, H, W, 3) of bytes, RGB -> boxes (B, N, 4) in its pixels, scores (B, N), labels (B, N).

        With a mask head also masks (B, N, h, w): probabilities of each box's own class, to be pasted into the box; with `full`
        they are pasted, (B, N, H, W) of bytes 0 and 1. Places that no object fills come last, with score 0, label -1 and zeros.
        """
        x, own = self.picture(image)
        size = x.shape[2:]
        scale = None if self.picture.scaled is None else scale_factors(size, own)
        maps = self.model.extract_feat(self.padded(x))
        with_mask = self.model.roi_head.with_mask
        proposals = self.proposals(maps, size)
        # As mmdet does: where masks follow, boxes are brought to the picture's size at the end.
        found = self.objects(maps, proposals, size, None if with_mask else scale)
        boxes, scores, labels, present = (
            torch.stack(parts) for parts in zip(*((o.boxes, o.scores, o.labels, o.present) for o in found))
        )
        results = (torch.where(present, scores, 0.0), torch.where(present, labels, -1))
        if not with_mask:
            return boxes, *results
        masks = torch.where(present[..., None, None], self.masks(maps, boxes, labels), 0.0)
        if scale is not None:
            boxes = boxes / scale
        if self.full:
            masks = (pasted(masks, boxes, own) >= self.threshold).to(torch.uint8)
        return boxes, *results, masks

    def padded(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) -> (B, 3, H', W') as the data preprocessor pads, on the right and below."""
        steps = self.model.data_preprocessor
        multiple = steps.pad_size_divisor
        if multiple == 1:
            return x
        height, width = x.shape[2:]
        # The exporter's division of sizes rounds towards zero: of positive numbers alone it is Python's.
        below, right = ((side + multiple - 1) // multiple * multiple - side for side in (height, width))
        return F.pad(x, (0, right, 0, below), value=float(steps.pad_value))

    def proposals(self, maps: Sequence[Tensor], size: Sequence[Any]) -> list[Boxes]:
        """Of each image the R proposals that RPNHead.predict gives, from maps L x (B, C, H, W)."""
        head = self.model.rpn_head
        cfg = head.test_cfg
        levels = list(zip(*head(maps)))  # L x ((B, A, H, W), (B, 4 A, H, W))
        proposals = []
        for image in range(len(maps[0])):
            parts = [self.level_proposals(i, score[image], delta[image], size) for i, (score, delta) in enumerate(levels)]
            boxes, scores, level = (torch.cat(part) for part in zip(*parts))
            valid = scores >= 0
            least = cfg.get('min_bbox_size', -1)
            if least >= 0:
                valid &= (boxes[:, 2:] - boxes[:, :2] > least).all(dim=1)
            proposals.append(class_wise_nms(boxes, scores, level, valid, cfg.nms.iou_threshold, cfg.max_per_img))
        return proposals

    def level_proposals(self, level: int, score: Tensor, delta: Tensor, size: Sequence[Any]) -> tuple[Tensor, ...]:
        """The P = `nms_pre` best anchors, moved: score (A, H, W), delta (4 A, H, W) -> boxes (P, 4), scores and level (P,)."""
        head = self.model.rpn_head
        probability = score.permute(1, 2, 0).flatten().sigmoid()  # (H * W * A,)
        scores, index = best_places(probability, head.test_cfg.nms_pre)
        deltas = delta.permute(1, 2, 0).reshape(-1, 4)[index]
        priors = anchors(head.prior_generator, level, index, score.shape[2])
        return decode(priors, deltas, head.bbox_coder, size), scores, torch.full_like(index, level)

    def objects(
        self, maps: Sequence[Tensor], proposals: Sequence[Boxes], size: Sequence[Any], scale: Tensor | None = None
    ) -> list[Boxes]:
        """Of each image the N objects that the box head finds in its proposals, boxes divided by `scale` (4,)."""
        boxes = torch.cat([proposal.boxes for proposal in proposals])  # (B * R, 4)
        logits, deltas, boxes = self.refined(maps, boxes, len(proposals), size)
        scores = logits.softmax(dim=-1)[:, :-1]  # the last class is the background
        head = self.stages()[-1][0]
        moved = decode(boxes[:, None], deltas, head.bbox_coder, size).expand(-1, scores.shape[1], 4)  # (B * R, K, 4)
        if scale is not None:
            moved = moved * (1.0 / scale)
        cfg = self.model.roi_head.test_cfg
        each = self.model.rpn_head.test_cfg.max_per_img  # R
        labels = torch.arange(scores.shape[1], device=scores.device).repeat(each)
        found = []
        for i, proposal in enumerate(proposals):
            own = slice(i * each, (i + 1) * each)
            valid = (scores[own] > cfg.score_thr) & proposal.present[:, None]
            parts = moved[own].flatten(0, 1), scores[own].flatten(), labels, valid.flatten()
            found.append(class_wise_nms(*parts, cfg.nms.iou_threshold, cfg.max_per_img))
        return found

    def refined(self, maps: Sequence[Tensor], boxes: Tensor, images: int, size: Sequence[Any]) -> tuple[Tensor, Tensor, Tensor]:
        """The stages of a cascade: boxes (B * R, 4) -> logits, deltas and boxes for the last decoding.

        Logits (B * R, K + 1) are the mean of all stages; deltas (B * R, K or 1, 4) are the last stage's, and so are the boxes
        (B * R, 4) that they move.
        """
        total: Tensor | None = None
        stages = self.stages()
        for i, (head, extractor) in enumerate(stages):
            logits, deltas = head(roi_features(extractor, maps, rois(boxes, images)))
            deltas = deltas.unflatten(1, (-1, 4))
            total = logits if total is None else total + logits
            if i < len(stages) - 1:
                best = torch.zeros_like(logits[:, :1]) if head.reg_class_agnostic else logits[:, :-1].argmax(1, keepdim=True)
                delta = deltas.gather(1, best.long()[..., None].expand(-1, 1, 4))[:, 0]
                boxes = decode(boxes, delta, head.bbox_coder, size)
        assert total is not None
        return total / len(stages), deltas, boxes

    def masks(self, maps: Sequence[Tensor], boxes: Tensor, labels: Tensor) -> Tensor:
        """boxes (B, N, 4), labels (B, N) -> (B, N, h, w), the mean of all stages' probabilities."""
        images, count = labels.shape
        places = rois(boxes.flatten(0, 1), images)
        kinds, total = labels.flatten()[:, None, None, None], None
        features: dict[tuple[str, float], Tensor] = {}  # once for the stages whose extractors are alike, mostly all
        for head, extractor in self.stages('mask'):
            alike = (str(extractor.roi_layers), extractor.finest_scale)
            if alike not in features:
                features[alike] = roi_features(extractor, maps, places)
            logits = head(features[alike])  # (B * N, K, h, w)
            wanted = torch.zeros_like(kinds) if head.class_agnostic else kinds
            own = logits.gather(1, wanted.expand(-1, 1, *logits.shape[2:]))[:, 0].sigmoid()
            total = own if total is None else total + own
        assert total is not None
        return (total / len(self.stages('mask'))).unflatten(0, (images, count))

    def stages(self, kind: str = 'bbox') -> list[tuple[Any, Any]]:
        """The heads and their RoI extractors: one pair, or one a stage of a cascade."""
        heads, extractors = (getattr(self.model.roi_head, f'{kind}_{part}') for part in ('head', 'roi_extractor'))
        return list(zip(heads, extractors)) if self.cascade else [(heads, extractors)]


def scale_factors(new: Sequence[Any], own: Sequence[Any]) -> Tensor:
    """(4,): what the sides of a picture of `own` (H, W) were multiplied by, for x1, y1, x2, y2."""
    rows, columns = (torch.full((1,), side, dtype=torch.float64) / before for side, before in zip(new, own))
    return torch.cat([columns, rows, columns, rows]).float()


def rois(boxes: Tensor, images: int) -> Tensor:
    """boxes (B * R, 4), image by image -> (B * R, 5), with the image's number in front."""
    number = torch.arange(images, device=boxes.device).repeat_interleave(boxes.shape[0] // images)
    return torch.cat([number[:, None].to(boxes), boxes], dim=1)

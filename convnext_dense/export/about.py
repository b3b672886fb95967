"""What stands in an exported file about itself, in JSON under the key `convnext_dense`."""

from __future__ import annotations

import os
from typing import Any

from convnext_dense.export.graphs import Graph
from convnext_dense.export.picture_input import normalisation
from convnext_dense.export.runtimes import OPSET
from convnext_dense.files import sha256
from convnext_dense.models.archs import MIN_SIDE
from convnext_dense.predict.exported_about import FORMAT
from convnext_dense.predict.model import Model
from convnext_dense.version import __version__

SEGMENTATION, DETECTION = 'segmentation', 'detection'


def described(model: Model, source: str, graph: Graph) -> dict[str, Any]:
    """What stands in a file about itself."""
    colour, mean, std = normalisation(model.model.data_preprocessor)
    raw, size, roi_head = graph.raw, graph.size, getattr(model.model, 'roi_head', None)
    return dict(
        format=FORMAT,
        made_by=f'convnext_dense {__version__}',
        checkpoint=os.path.basename(source),
        sha256=sha256(source),
        task=SEGMENTATION if model.is_segmentor else DETECTION,
        classes=list(model.classes),
        palette=[list(colour) for colour in model.palette],
        opset=OPSET,
        input=dict(
            name='image',
            layout='BCHW' if raw else 'BHWC',
            type='float32' if raw else 'uint8',
            colour=colour if raw else 'RGB',
            size=list(size) if size else 'dynamic',
            least=MIN_SIDE if graph.batch else 1,
            batch='dynamic' if graph.batch and size is None else 1,
        ),
        raw=raw,
        resize=graph.resize,
        mean=mean,
        std=std,
        align_corners=bool(getattr(model.model, 'align_corners', False)),
        masks=graph.masks,
        threshold=getattr(getattr(model.model, 'decode_head', None), 'threshold', None),  # of one channel of logits
        mask_threshold=None if roi_head is None else roi_head.test_cfg.get('mask_thr_binary', 0.5),
        outputs=dict(graph.outputs),
    )

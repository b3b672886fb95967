"""What a file gives beside what PyTorch gives."""

import numpy as np
import torch
from export_models import exportable, pictures
from mmseg.structures import SegDataSample

from convnext_dense.export.parity import by_torch, compared


def test_pytorchs_classes_are_those_that_the_model_predicts() -> None:
    model, image = exportable(), pictures(2, 101, 67)
    meta = dict(img_shape=(101, 67), ori_shape=(101, 67), pad_shape=(101, 67))
    bgr = torch.from_numpy(image[..., ::-1].copy()).permute(0, 3, 1, 2)
    with torch.no_grad():
        samples = model.test_step(dict(inputs=list(bgr), data_samples=[SegDataSample(metainfo=meta) for _ in bgr]))
    assert (by_torch(model, image)[0] == np.stack([sample.pred_sem_seg.data[0].numpy() for sample in samples])).all()


def test_differences() -> None:
    model = exportable()
    given = [('one', pictures(1, 64, 96)[0]), ('other', pictures(1, 65, 70)[0])]

    def off(logit: float, pixels: int):
        def run(image):
            classes, logits = (x.copy() for x in by_torch(model, image))
            logits[0, 0, 0, 0] += logit * np.abs(logits).max()
            classes[0, 0, :pixels] += 1
            return [classes, logits]

        return compared(model, run, given)

    assert [(row.picture, row.height, row.width) for row in off(0.0, 0)] == [('one', 64, 96), ('other', 65, 70)]
    assert all(row.within and row.logits == 0 and row.pixels == 1 for row in off(0.0, 0))
    assert not any(row.within for row in off(3e-4, 0)) and not any(row.within for row in off(0.0, 1))
    assert off(0.0, 1)[0].pixels == 1 - 1 / (64 * 96)
    assert not compared(model, lambda image: by_torch(model, image[:, :-4]), given)[0].within
    nan = compared(model, lambda image: [by_torch(model, image)[0], np.nan * by_torch(model, image)[1]], given)
    assert not nan[0].within and np.isinf(nan[0].logits)

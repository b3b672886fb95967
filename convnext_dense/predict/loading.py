"""A model that predicts, from what there is: a checkpoint and its config by PyTorch, an exported file by its own runtime."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from convnext_dense.errors import InputError
from convnext_dense.expect import brief
from convnext_dense.predict.exported_model import ExportedFile, ExportedModel
from convnext_dense.predict.exported_session import is_exported
from convnext_dense.predict.hub import SCHEME, from_hub
from convnext_dense.predict.predictor import PRECISIONS, SCORE, Predictor
from convnext_dense.predict.tiles import OVERLAP

LIBRARIES = ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet', 'mmseg')  # which a checkpoint needs


def load_model(
    model: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str] | None = None,
    *,
    device: str = 'auto',
    precision: str = PRECISIONS[0],
    batch_size: int = 1,
    score: float = SCORE,
    classes: Sequence[str] | None = None,
    tta: bool = False,
    tile: int | str | None = None,
    overlap: float = OVERLAP,
    bands: Sequence[int] | None = None,
    threads: int | None = None,
) -> Predictor:
    """A trained segmentor or detector: `convnext_dense.predict.model.Model`, or `...exported_model.ExportedModel`.

    Args:
        model: a work directory, for its last checkpoint; a checkpoint that carries its config; or, with `checkpoint`, a config.
            Or an exported file, `.onnx` or `.xml`, which is run without PyTorch. Or `hf-hub:ORGANISATION/NAME`, as
            `convnext-dense report --hub` uploads it.
        checkpoint: a checkpoint of the whole model, of any published layout; a URL, too.
        device: 'cpu', 'cuda', 'cuda:1', 'mps'; 'auto' takes CUDA where it is there.
        precision: 'float32', or 'bfloat16' for autocast.
        batch_size: pictures of equal size, one after the other, that are computed together.
        score: objects below it are left out; 0 gives all that the model gives.
        classes: only these; of a segmentor, other pixels get `convnext_dense.predict.result.NOTHING`.
        tta: test-time augmentation, as the config has it.
        tile: pictures in tiles of so many pixels a side; 'auto' takes 1024 for pictures of more than twice that.
        overlap: the share of a tile that the next one sees, too.
        bands: of pictures of other than three channels, which three are drawn, counted from 0; or one, in grey.
        threads: of an exported file, that compute; None for as many as its runtime takes.

    Raises:
        InputError: for a checkpoint without a config, weights that do not fit, and options that cannot be; for an exported
            file that its runtime cannot open, and options that are a checkpoint's.
    """
    if is_exported(model) or is_exported(checkpoint):
        path = model if checkpoint is None else checkpoint
        if checkpoint is not None:
            raise InputError(f'config: expected none for the exported file {os.fspath(path)}, which needs none; leave it out')
        for name, given, known in (
            ('device', device, ('auto', 'cpu')),
            ('precision', precision, PRECISIONS[:1]),
            ('tta', tta, (False,)),
            ('tile', tile, (None,)),
            ('overlap', overlap, (OVERLAP,)),
            ('bands', bands, (None,)),
        ):
            if given not in known:
                got = '' if given is True else f'got {brief(given)}; '
                words = all(isinstance(one, str) for one in known)
                expected = f'{" or ".join(map(str, known))} for' if words else 'a checkpoint in place of'
                raise InputError(f'{name}: expected {expected} the exported file {os.fspath(path)}, {got}leave it out')
        return ExportedModel(ExportedFile(path, threads), batch_size, score, classes)
    if threads is not None:
        raise InputError('threads: expected an exported file with it, got a checkpoint; for PyTorch set OMP_NUM_THREADS')
    with _libraries():
        from convnext_dense.predict.trained import load_trained
    return load_trained(
        model,
        checkpoint,
        device=device,
        precision=precision,
        batch_size=batch_size,
        score=score,
        classes=classes,
        tta=tta,
        tile=tile,
        overlap=overlap,
        bands=bands,
    )


def opened_file(model: str) -> str:
    """The file that `load_model` opens: an exported file, a checkpoint, the last one of a work directory, or the hub's."""
    if is_exported(model):
        return model
    if model.startswith(SCHEME):
        return from_hub(model)
    with _libraries():
        from convnext_dense.run.preflight import last_checkpoint
    return last_checkpoint(model)


@contextmanager
def _libraries() -> Iterator[None]:
    """Imports inside that fail for want of a library are wrong input."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or '').partition('.')[0] not in LIBRARIES:
            raise
        raise InputError(
            f'model: expected an exported file (.onnx, .xml) where {error.name} is not installed, got something else; '
            'install requirements.txt for checkpoints'
        ) from error

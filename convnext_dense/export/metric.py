"""The metric of an exported file on the test set that a config names."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner

from convnext_dense.errors import InputError, last_line
from convnext_dense.export.quantised import quiet
from convnext_dense.predict.exported_model import ExportedFile
from convnext_dense.predict.exported_tested import use_exported

KNOWN = {'mIoU': 1, 'coco/segm_mAP': 100, 'coco/bbox_mAP': 100}  # the first that is there, and what makes points of it


class Metric(NamedTuple):
    """The figure that a model is known by, in points of a hundred."""

    name: str
    points: float

    def __str__(self) -> str:
        return f'{self.name} {self.points:.2f}'


class TestSet:
    """A config's test set and evaluator.

    Raises:
        InputError: where the data is not there.
    """

    def __init__(self, cfg: Config) -> None:
        self.cfg = cfg

    def count(self) -> int:
        """Of its pictures."""
        with quiet(), DefaultScope.overwrite_default_scope(self.cfg.get('default_scope')):
            return len(self._loader(self.cfg).dataset)

    @staticmethod
    def _loader(cfg: Any) -> Any:
        try:
            return Runner.build_dataloader(dict(copy.deepcopy(cfg.test_dataloader), num_workers=0, persistent_workers=False))
        except Exception as error:  # of any data set
            raise _unread(error) from error

    def metric(self, file: Path) -> Metric:
        """Of a file of ONNX or OpenVINO, by its runtime.

        Raises:
            InputError: where the data or the metric is not there.
        """
        cfg: Any = copy.deepcopy(self.cfg)
        use_exported(cfg, ExportedFile(file), ())
        with quiet(), DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
            model: Any = MODELS.build(cfg.model)
            loader = self._loader(cfg)
            evaluator = Evaluator(cfg.test_evaluator)
            evaluator.dataset_meta = loader.dataset.metainfo
            for data in _read(loader):
                evaluator.process(model.test_step(data), data)
            found = evaluator.evaluate(len(loader.dataset))
        for name, factor in KNOWN.items():
            if name in found:
                return Metric(name.removeprefix('coco/').replace('_m', ' '), factor * float(found[name]))
        raise InputError(f'the config measures none of {", ".join(KNOWN)}')


def _read(loader: Any) -> Iterator[Any]:
    batches = iter(loader)
    while True:
        try:
            data = next(batches)
        except StopIteration:
            return
        except Exception as error:  # of any data set
            raise _unread(error) from error
        yield data


def _unread(error: Exception) -> InputError:
    return InputError(f"the config's test data cannot be read ({last_line(error)})")

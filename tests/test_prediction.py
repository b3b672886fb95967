"""The benchmark of predicting: every way writes what it found."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from models import write_photograph

from convnext_dense.benchmark import prediction
from convnext_dense.benchmark.prediction import OURS, PICTURES, Clock, detectors, segmentors, write_pictures
from convnext_dense.benchmark.rivals import recipe


def small(name: str) -> Config:
    """The recipe with a backbone, and pictures of a size, that take no time."""
    cfg = recipe(name)
    cfg.model.backbone.arch = 'atto'
    for part in ('decode_head', 'neck'):
        if part in cfg.model:
            cfg.model[part].in_channels = [40, 80, 160, 320]
    if 'auxiliary_head' in cfg.model:
        cfg.model.auxiliary_head.in_channels = 160
        cfg.model.decode_head.channels = 32
    if 'rpn_head' in cfg.model:
        cfg.model.test_cfg.rpn.update(nms_pre=50, max_per_img=50)
    for step in cfg.test_dataloader.dataset.pipeline:
        if step.type == 'Resize':
            step.scale = (160, 120)
    return cfg


@pytest.mark.slow
@pytest.mark.parametrize('prepare', [segmentors, detectors])
def test_every_way_predicts_and_writes(prepare, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(prediction, 'recipe', small)
    monkeypatch.setattr('convnext_dense.benchmark.rivals.recipe', small)
    monkeypatch.setattr(prediction, 'SHORT', 64)
    pictures = [str(write_photograph(tmp_path / f'in/{i}.jpg', 120, 160, i)) for i in range(2)]
    written: dict[str, list[str]] = {}

    class Kept:
        """In place of a temporary folder: what is written into it is noted."""

        def __enter__(self) -> str:
            self.folder = tmp_path / f'out{len(written)}'
            self.folder.mkdir()
            return str(self.folder)

        def __exit__(self, *_: object) -> None:
            written[way] = sorted(p.suffix for p in self.folder.rglob('*') if p.is_file())

    ways, model = prepare(tmp_path / 'models', pictures)
    monkeypatch.setattr(prediction, 'tempfile', SimpleNamespace(TemporaryDirectory=Kept))
    for way, run in ways.items():  # noqa: B007
        run()
    assert list(written) == list(ways) and next(iter(ways)) == OURS and len(ways) >= 3
    for suffixes in written.values():
        assert sum(suffix in ('.jpg', '.png', '.json', '.npy') for suffix in suffixes) >= 4
    assert not model.model.training


def test_pictures_are_jpegs_of_one_size(tmp_path: Path) -> None:
    from PIL import Image

    paths = write_pictures(tmp_path / 'in')
    assert len(paths) == PICTURES and {Image.open(path).size for path in paths} == {(640, 480)}


def test_the_clock_leaves_the_first_round_out() -> None:
    class Model:
        def test_step(self, data: int) -> int:
            return data + 1

    model = Model()
    clock = Clock(model)
    assert [model.test_step(i) for i in range(2 * PICTURES)] == [i + 1 for i in range(2 * PICTURES)]
    assert clock.seconds == sum(clock.calls[PICTURES:]) and clock.rounds((1.0,)) == (1.0,)
    with pytest.raises(RuntimeError, match='calls a round'):
        clock.rounds((1.0, 1.0))

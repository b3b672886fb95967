"""Runs beside each other: same pictures and others, same classes and others, kinds that cannot be compared."""

from pathlib import Path

import numpy as np
import pytest
from evaluations import CLASSES, segmented

from convnext_dense.errors import InputError
from convnext_dense.report.evaluated import DETECTIONS, FOLDER, TRUTH, About, write_about, write_json
from convnext_dense.report.log import read_log
from convnext_dense.report.runs import Run, compare, detected_of, matches_of
from convnext_dense.report.seg_figures import figures

PHOTOS = 12


def run(work_dir: Path, share: float, photos: Path, pictures: int = PHOTOS, **about: object) -> Run:
    found = segmented(work_dir, share, pictures, photos, **about)
    return Run(work_dir.name, read_log(work_dir), found, figures(work_dir, found))


def test_of_the_same_pictures(tmp_path: Path) -> None:
    first, second = (run(tmp_path / name, share, tmp_path / 'photos') for name, share in (('a', 0.4), ('b', 0.1)))
    found = compare(first, second)
    assert found.paired and found.mean > 0 and found.span[0] > 0 and found.classes == CLASSES
    values = [one.by_class(CLASSES)(np.ones((1, PHOTOS)))[0] for one in (first, second)]
    np.testing.assert_allclose(values[0], first.found.ious)
    np.testing.assert_allclose(found.by_class, values[1] - values[0])
    np.testing.assert_allclose(first.by_picture(CLASSES), first.found.mious)


def test_of_other_pictures_and_classes(tmp_path: Path) -> None:
    first = run(tmp_path / 'a', 0.3, tmp_path / 'photos')
    second = run(tmp_path / 'b', 0.3, tmp_path / 'more', 8, classes=['tree', 'sky <b>', 'river', 'car'])
    found = compare(first, second)
    assert not found.paired and found.classes == ('sky <b>', 'tree', 'car')
    assert first.metric == 'mIoU' and len(second.pictures) == 8


def detector(work_dir: Path, shift: float) -> Run:
    """One object in each of three pictures, found with its box shifted."""
    work_dir.mkdir()
    (work_dir / FOLDER).mkdir(parents=True)
    images = [dict(id=i, file_name=f'{i}.png', width=100, height=100) for i in (3, 5, 9)]
    boxes = [dict(id=i, image_id=one['id'], category_id=7, bbox=[10, 10, 50, 50], area=2500) for i, one in enumerate(images)]
    said = [dict(image_id=one['image_id'], category_id=7, score=0.9, bbox=[10 + shift, 10, 50, 50]) for one in boxes]
    write_json(work_dir / FOLDER / TRUTH, dict(images=images, annotations=boxes, categories=[dict(id=7, name='cup')]))
    write_json(work_dir / FOLDER / DETECTIONS, dict(bbox=said))
    about = About('detection', 'x', [0, 0], 1, '{}', {'coco/bbox_mAP': 1.0}, ['cup'], [[1, 2, 3]], ['3.png', '5.png', '9.png'])
    write_about(work_dir, about)
    matches, iou_type = matches_of(detected_of(work_dir, about))
    from logs import a_run

    return Run(work_dir.name, read_log(a_run(work_dir)), about, matches=matches, iou_type=iou_type)


def test_detectors(tmp_path: Path) -> None:
    first, second = detector(tmp_path / 'a', 12.0), detector(tmp_path / 'b', 0.0)
    found = compare(first, second)
    assert found.metric == 'bbox AP' and found.paired and second.by_class(['cup'])(np.ones((1, 3))).tolist() == [[1.0]]
    # Shifted by 12 of 50 pixels: IoU 38 / 62 = 0.61, true at 0.50, 0.55 and 0.60.
    assert found.mean == pytest.approx(0.7) and second.by_picture(['cup']).tolist() == [1.0, 1.0, 1.0]


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    first = run(tmp_path / 'a', 0.3, tmp_path / 'photos')
    other = run(tmp_path / 'b', 0.3, tmp_path / 'photos', classes=['w', 'x', 'y', 'z'])
    with pytest.raises(InputError, match='expected a class that both runs have'):
        compare(first, other)
    with pytest.raises(InputError, match='expected runs of one kind'):
        compare(first, detector(tmp_path / 'c', 0.0))


def test_kept_detections_that_are_broken(tmp_path: Path) -> None:
    run_ = detector(tmp_path / 'a', 0.0)
    (tmp_path / 'a' / FOLDER / DETECTIONS).write_text('{"bbox"')
    with pytest.raises(InputError, match='--again predicts anew'):
        detected_of(tmp_path / 'a', run_.about)

"""Runs beside each other: same pictures and others, same classes and others, kinds that cannot be compared."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from evaluations import CLASSES, segmented
from logs import a_run
from pycocotools import mask as coco_mask

from convnext_dense.errors import InputError
from convnext_dense.report.evaluated import DETECTIONS, FOLDER, TRUTH, About, write_about, write_json
from convnext_dense.report.log import read_log
from convnext_dense.report.runs import Run, alike, compare, detected_of, detector_run
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


IDS = (9, 3, 5, 12, 10, 8)  # of pictures, in the order of the file


def detector(
    work_dir: Path, shift: float = 0.0, shifted: Sequence[int] = IDS, empty: Sequence[int] = (), iou_type: str = 'bbox', side=50
) -> Run:
    """One object in each picture but the `empty` ones, found with its box shifted in some."""
    work_dir.mkdir()
    (work_dir / FOLDER).mkdir(parents=True)
    images = [dict(id=i, file_name=f'{i}.png', width=100, height=100) for i in IDS]
    boxes = [
        dict(id=i, image_id=image, category_id=7, bbox=[10, 10, side, 50], area=50 * side, segmentation=outline(10, side))
        for i, image in enumerate(IDS)
        if image not in empty
    ]
    starts = {image: 10 + shift * (image in shifted) for image in IDS}
    said = [dict(image_id=image, category_id=7, score=0.9) for image in IDS if image not in empty or image in shifted]
    found = {'bbox': [dict(one, bbox=[starts[one['image_id']], 10, 50, 50]) for one in said]}
    if iou_type == 'segm':
        found['segm'] = [dict(one, segmentation=mask(outline(starts[one['image_id']]))) for one in said]
    write_json(work_dir / FOLDER / TRUTH, dict(images=images, annotations=boxes, categories=[dict(id=7, name='cup')]))
    write_json(work_dir / FOLDER / DETECTIONS, found)
    files = [f'{i}.png' for i in IDS]
    about = About('detection', 'x', [0, 0], 1, '{}', {f'coco/{one}_mAP': 1.0 for one in found}, ['cup'], [[1, 2, 3]], files)
    write_about(work_dir, about)
    return detector_run(work_dir.name, read_log(a_run(work_dir)), about)


def outline(x: float, width: float = 50) -> list[list[float]]:
    return [[x, 10, x + width, 10, x + width, 60, x, 60]]


def mask(polygon: list[list[float]]) -> dict:
    encoded = coco_mask.frPyObjects(polygon, 100, 100)[0]
    return dict(encoded, counts=encoded['counts'].decode())


def test_detectors(tmp_path: Path) -> None:
    first, second = detector(tmp_path / 'a', 12.0), detector(tmp_path / 'b')
    found = compare(first, second)
    assert found.metric == 'bbox AP' and found.paired and second.by_class(['cup'])(np.ones((1, 6))).tolist() == [[1.0]]
    # Shifted by 12 of 50 pixels: IoU 38 / 62 = 0.61, true at 0.50, 0.55 and 0.60.
    assert found.mean == pytest.approx(0.7) and second.by_picture(['cup']).tolist() == [1.0] * 6
    assert [Path(one).name for one in first.pictures] == [f'{i}.png' for i in sorted(IDS)]
    assert first.pictures_with(['cup']).tolist() == [6]


def test_the_same_pictures_with_other_annotations_are_not_paired(tmp_path: Path) -> None:
    first, second = (run(tmp_path / name, 0.3, tmp_path / 'photos') for name in 'ab')
    second.found.truth[:, 2] = 0  # left out of that run's data
    found = compare(first, second)
    assert not found.paired and 'different annotations of the same pictures' in found.sentence('a', 'b')
    for name, more in dict(one=dict(empty=(3,)), two=dict(side=51)).items():
        assert 'annotations' in compare(detector(tmp_path / name), detector(tmp_path / f'{name}_other', **more)).apart


def test_masks_beside_boxes_are_compared_by_boxes(tmp_path: Path) -> None:
    first, second = alike(detector(tmp_path / 'a', 12.0, iou_type='segm'), detector(tmp_path / 'b'))
    found = compare(first, second)
    assert (first.name, second.name) == ('a', 'b') and found.metric == 'bbox AP' and found.mean == pytest.approx(0.7)
    both = alike(detector(tmp_path / 'c', iou_type='segm'), detector(tmp_path / 'd', iou_type='segm'))
    assert compare(*both).metric == 'segm AP'


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    first = run(tmp_path / 'a', 0.3, tmp_path / 'photos')
    other = run(tmp_path / 'b', 0.3, tmp_path / 'photos', classes=['w', 'x', 'y', 'z'])
    with pytest.raises(InputError, match='expected a class that both runs have'):
        compare(first, other)
    with pytest.raises(InputError, match='expected runs of one kind'):
        alike(first, detector(tmp_path / 'c'))


def test_kept_detections_that_are_broken(tmp_path: Path) -> None:
    run_ = detector(tmp_path / 'a')
    (tmp_path / 'a' / FOLDER / DETECTIONS).write_text('{"bbox"')
    with pytest.raises(InputError, match='--again predicts anew'):
        detected_of(tmp_path / 'a', run_.about)

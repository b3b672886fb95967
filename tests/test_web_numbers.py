"""The page in a headless Chromium: the same numbers as PyTorch's."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from browser import Visit, choose, class_map, launched, needs, text, visits
from export_models import by_torch, exportable
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from two_stage import CLASSES, built, expect_same, found, small_config
from web_sites import detector_site, hand_made_site, picture, segmentor_site, served

from convnext_dense.export.detector_graph import DetectorGraph
from convnext_dense.export.serve import Handler

pytestmark = needs


@pytest.fixture(scope='module')
def chromium() -> Iterator[Any]:
    with launched() as browser:
        yield browser


@pytest.fixture
def visit(chromium: Any) -> Iterator[Visit]:
    with visits(chromium) as visit:
        yield visit


@pytest.fixture(scope='module')
def segmentor() -> Any:
    return exportable()


class Plain(Handler):
    """A web server that knows nothing of isolation."""

    added: dict[str, str] = {}  # noqa: RUF012


@pytest.fixture(scope='module')
def segmentor_folder(segmentor: Any, tmp_path_factory) -> Path:
    return segmentor_site(tmp_path_factory.mktemp('segmentor') / 'site', segmentor)


@pytest.mark.parametrize('handler', [Handler, Plain])
def test_classes_are_pytorchs(segmentor: Any, segmentor_folder: Path, visit: Visit, tmp_path: Path, handler) -> None:
    """Of PNG files, one with transparency too, with several threads and with one."""
    with served(segmentor_folder, handler) as url:
        page = visit(url)
        for height, width, channels in ((129, 171, 3), (64, 65, 4), (33, 200, 1)):
            bgr = picture(height, width, channels)
            cv2.imwrite(str(tmp_path / 'picture.png'), bgr)
            choose(page, str(tmp_path / 'picture.png'))
            theirs = cv2.imread(str(tmp_path / 'picture.png'), cv2.IMREAD_COLOR)
            classes = by_torch(segmentor, theirs[None, ..., ::-1])[0][0]
            assert len(np.unique(classes)) > 1
            np.testing.assert_array_equal(class_map(page, tmp_path), classes)
        isolated = page.evaluate('[crossOriginIsolated, navigator.hardwareConcurrency]')
        assert isolated[0] == (handler is Handler)
        assert text(page, 'threads').startswith(str(min(isolated[1], 8)) if isolated[0] else '1: the server does not send')


def test_a_turned_photograph(segmentor: Any, segmentor_folder: Path, visit: Visit, tmp_path: Path) -> None:
    """Its EXIF orientation is followed, as when training; its colour profile is not."""
    from PIL import Image, ImageCms

    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('LAB')).tobytes()
    file = str(tmp_path / 'turned.jpg')
    Image.fromarray(picture(90, 120)).save(file, quality=95, exif=exif, icc_profile=profile)
    bgr = cv2.imread(file)
    assert bgr.shape == (120, 90, 3)
    classes = by_torch(segmentor, bgr[None, ..., ::-1])[0][0]
    with served(segmentor_folder) as url:
        page = visit(url)
        choose(page, file)
        assert (class_map(page, tmp_path) == classes).mean() > 0.999


def test_objects_are_pytorchs(visit: Visit, tmp_path: Path) -> None:
    graph = DetectorGraph(built(small_config('mask')))
    bgr = picture(131, 97)
    cv2.imwrite(str(tmp_path / 'picture.png'), bgr)
    with torch.no_grad():
        boxes, scores, labels, soft = found(graph(torch.from_numpy(bgr[None, ..., ::-1].copy())))
    with served(detector_site(tmp_path / 'site', graph, CLASSES)) as url:
        page = visit(url)
        choose(page, str(tmp_path / 'picture.png'))
        page.get_by_label('Least score').press('Home')
        with page.expect_download() as download:
            page.get_by_role('button', name='Save objects').click()
        rows = download.value.path().read_text()
        shown = class_map(page, tmp_path)
    objects = json.loads(rows)['objects']
    left_top_sides = torch.tensor([row['bbox'] for row in objects])
    ours = [torch.cat([left_top_sides[:, :2], left_top_sides[:, :2] + left_top_sides[:, 2:]], dim=1)]
    ours += [torch.tensor([row[key] for row in objects]) for key in ('score', 'label')]
    expect_same(ours, [boxes, scores, labels], pixels=0.01)
    pasted = _do_paste_mask(soft[:, None], boxes, 131, 97, skip_empty=False)[0] >= 0.5
    expected = np.full((131, 97), 255, np.uint8)
    for mask, label in reversed(list(zip(pasted.numpy(), labels.tolist()))):
        expected[mask] = label
    assert (shown == expected).mean() > 0.999 and len(np.unique(shown)) > 2


FULL = """async () => {
    const {toResult, fitted} = await import('./results.js');
    const {classMap} = await import('./masks.js');
    const masks = new Uint8Array(2 * 4 * 6);
    for (const place of [8, 9, 14]) masks[place] = 1;
    masks[24 + 9] = masks[24 + 23] = 1;
    const outputs = {
        boxes: {data: Float32Array.of(1.6, 1, 4, 3, 2.5, 1, 6, 4, 0, 0, 0, 0)},
        scores: {data: Float32Array.of(0.9, 0.8, 0)},
        labels: {data: BigInt64Array.of(1n, 0n, -1n)},
        masks: {data: masks, dims: [1, 3, 4, 6]},
    };
    const meta = {task: 'detection', masks: 'full', classes: ['a', 'b']};
    const result = toResult(outputs, meta, 6, 4);
    const large = fitted(result, 12, 8);
    return [result, large].map((one) => [...classMap(one, one.objects, meta)]).concat([large.objects[0].box]);
}"""


def test_masks_of_the_pictures_size(visit: Visit, tmp_path: Path) -> None:
    """Beside those to be pasted; and brought to another size."""
    with served(hand_made_site(tmp_path / 'site')) as url:
        small, large, box = visit(url).evaluate(FULL)
    expected = np.full((4, 6), 255)
    expected[1, 2:4] = expected[2, 2] = 1
    expected[3, 5] = 0
    np.testing.assert_array_equal(np.reshape(small, (4, 6)), expected)
    np.testing.assert_array_equal(np.reshape(large, (8, 12)), expected.repeat(2, 0).repeat(2, 1))
    assert box == pytest.approx([3.2, 2, 8, 6])

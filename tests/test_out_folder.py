"""A folder of predictions: complete, resumable, and written in one move each."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from results import CLASSES, PALETTE, detected, segmented

from convnext_dense.errors import InputError
from convnext_dense.predict.inputs import Item
from convnext_dense.predict.out_folder import JOURNAL, OutFolder
from convnext_dense.predict.result import CLASS_COLUMNS, OBJECT_COLUMNS
from convnext_dense.predict.writers import FORMATS

SETTINGS = dict(model='m', score=0.3)


def filled(path: Path, results, formats=FORMATS, resume: bool = False, **settings) -> OutFolder:
    folder = OutFolder(str(path), formats, True, SETTINGS | settings, resume)
    for result in results:
        folder.record(folder.write(result))
    return folder


def finish(folder: OutFolder, columns=OBJECT_COLUMNS) -> None:
    folder.finish(CLASSES, PALETTE, columns)


def files(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob('*')) if p.is_file()}


def test_every_format(tmp_path: Path) -> None:
    folder = filled(tmp_path, [detected(), detected(name='sub/b', file='sub/b.jpg')])
    finish(folder)
    expected = {JOURNAL, 'classes.json', 'coco.json', 'predictions.csv'}
    for name in ('a', 'sub/b'):
        expected |= {f'pictures/{name}.jpg', f'masks/{name}.png', f'npz/{name}.npz', f'geojson/{name}.geojson'}
        expected |= {f'json/{name}.json', f'labelme/{name}.json'}
    assert set(files(tmp_path)) == expected
    assert folder.counts == {'dog': 2, 'cat': 2}
    assert json.loads((tmp_path / 'classes.json').read_text()) == dict(
        classes=list(CLASSES), palette=[list(colour) for colour in PALETTE], nothing=255
    )


def test_cocos_file_is_read_by_pycocotools(tmp_path: Path, capsys) -> None:
    finish(filled(tmp_path, [detected(), segmented(name='b', file='sub/b.png')], ['coco']))
    coco = COCO(tmp_path / 'coco.json')
    assert [image['file_name'] for image in coco.loadImgs(coco.getImgIds())] == ['a.jpg', 'sub/b.png']
    assert [coco.cats[i]['name'] for i in (1, 2, 3)] == list(CLASSES)
    annotations = coco.loadAnns(coco.getAnnIds())
    assert [(one['id'], one['image_id'], one['category_id']) for one in annotations] == [
        (1, 1, 2),
        (2, 1, 1),
        (3, 2, 1),
        (4, 2, 3),
    ]
    assert np.array_equal(coco.annToMask(annotations[0]), detected().masks[0])


def test_csv(tmp_path: Path) -> None:
    finish(filled(tmp_path, [segmented()], ['csv']), CLASS_COLUMNS)
    with open(tmp_path / 'predictions.csv') as file:
        rows = list(csv.DictReader(file))
    assert [row['class'] for row in rows] == ['cat', 'hen'] and int(rows[0]['pixels']) == 275


def test_nothing_is_made_before_the_first_picture(tmp_path: Path) -> None:
    OutFolder(str(tmp_path / 'out'), ['png'], True, SETTINGS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('cut', ['after a line', 'within a line', 'within the first', 'half a file'])
def test_a_run_that_was_killed_goes_on_to_the_same_files(tmp_path: Path, cut: str) -> None:
    results = [detected(name=name, source=f'{name}.jpg', file=f'{name}.jpg') for name in 'abc']
    finish(filled(tmp_path / 'whole', results))
    filled(tmp_path / 'cut', results[:2])
    journal = tmp_path / 'cut' / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    if cut == 'within a line':
        journal.write_bytes(lines[0] + lines[1] + lines[2][:20])
    elif cut == 'within the first':
        journal.write_bytes(lines[0][:20])
    elif cut == 'half a file':
        (tmp_path / 'cut/masks/c.png.0123abcd.partial').write_bytes(b'half')
    folder = OutFolder(str(tmp_path / 'cut'), FORMATS, True, SETTINGS, resume=True)
    items = [Item(result.name, result.source, result.source) for result in results]
    left = {item.name for item in folder.left(items)}
    assert left == {'within a line': {'b', 'c'}, 'within the first': {'a', 'b', 'c'}}.get(cut, {'c'})
    for result in results:
        if result.name in left:
            folder.record(folder.write(result))
    finish(folder)
    assert files(tmp_path / 'cut') == files(tmp_path / 'whole') and folder.counts == {'dog': 3, 'cat': 3}


def test_names_that_are_equal_get_names_of_their_own(tmp_path: Path) -> None:
    folder = OutFolder(str(tmp_path), [], True, SETTINGS)
    items = [
        Item('a', 'a.jpg', 'a.jpg'),
        Item('a', 'a.png', 'a.png'),
        Item('a', 'x/a.png', 'x/a.png'),
        Item('a', 'f', np.zeros(1)),
    ]
    assert [item.name for item in folder.left(items)] == ['a', 'a_png', 'a_2', 'a_3']


def test_folders_that_cannot_be(tmp_path: Path) -> None:
    filled(tmp_path / 'a', [detected()])
    with pytest.raises(InputError, match='--resume goes on'):
        OutFolder(str(tmp_path / 'a'), FORMATS, True, SETTINGS)
    with pytest.raises(InputError, match='--resume: expected the options of the run .* score 0.3'):
        filled(tmp_path / 'a', [], resume=True, score=0.5)
    with pytest.raises(InputError, match='--resume: .* pictures True'):
        OutFolder(str(tmp_path / 'a'), FORMATS, False, SETTINGS, resume=True)
    (tmp_path / 'a' / JOURNAL).write_text('no journal\n')
    with pytest.raises(InputError, match='damaged in line 1'):
        filled(tmp_path / 'a', [], resume=True)
    (tmp_path / 'file').write_text('')
    with pytest.raises(InputError, match='--out: expected a folder, got .*, where .* is a file'):
        OutFolder(str(tmp_path / 'file'), FORMATS, True, SETTINGS)


def test_a_file_that_cannot_be_written_leaves_no_half_of_it(tmp_path: Path, monkeypatch) -> None:
    folder = OutFolder(str(tmp_path), ['json'], False, SETTINGS)

    def full(path: Path, text: str) -> None:
        path.touch()
        raise OSError(28, 'No space')

    monkeypatch.setattr(Path, 'write_text', full)
    with pytest.raises(OSError, match='No space'):
        folder.write(detected())
    assert not [p for p in tmp_path.rglob('*') if p.is_file()]

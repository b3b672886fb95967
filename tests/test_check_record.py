"""Pictures of own data: broken ones and other sizes are told before training."""

import json
from pathlib import Path
from types import SimpleNamespace

from models import write_photograph

from convnext_dense.data.check_record import record_problems


def test_broken_missing_other_and_small(tmp_path: Path) -> None:
    for name, size in (('good.png', (40, 60)), ('other.png', (40, 60)), ('small.png', (20, 60))):
        write_photograph(tmp_path / name, *size)
    (tmp_path / 'broken.png').write_bytes((tmp_path / 'good.png').read_bytes()[:100])
    sizes = {'good.png': (60, 40), 'other.png': (40, 60), 'small.png': (60, 20), 'broken.png': (60, 40), 'gone.png': (60, 40)}
    images = [dict(file_name=name, width=w, height=h) for name, (w, h) in sizes.items()]
    (tmp_path / 'record.json').write_text(json.dumps(dict(images=images)))
    dataset = SimpleNamespace(ann_file=str(tmp_path / 'record.json'), data_root=str(tmp_path))
    found = record_problems(dataset, [], 32, None)
    assert [line.removeprefix(f'{tmp_path}/').split()[0] for line in found] == [
        'other.png',
        'small.png',
        'broken.png',
        'gone.png',
    ]
    assert 'has 60x40 pixels, where its annotation says 40x60' in found[0] and 'expected at least 32 pixels' in found[1]
    assert record_problems(dataset, [], 1, 1) == []

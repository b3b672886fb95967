"""Strange pictures are those far from the median, with the reason."""

from pathlib import Path

from convnext_dense.data.layouts.found import Object, Picture
from convnext_dense.report.strange import strangest
from convnext_dense.report.survey import Seen


def rows(count: int = 12) -> tuple[list[Picture], dict[str, Seen]]:
    pictures, seen = [], {}
    for index in range(count):
        name = f'{index}.png'
        objects = [Object(0, (0, 0, 1, 1))] * (2 + index % 3)
        pictures.append(Picture(Path(name), name, (40, 30), objects))
        seen[name] = Seen('', (40, 30 + index % 2), 'RGB', name, index, (100 + index, 100, 100), (50 + index % 4,) * 3)
    return pictures, seen


def test_the_furthest_comes_first() -> None:
    pictures, seen = rows()
    assert strangest(pictures, seen, 5) == []
    seen['3.png'].mean = (250, 250, 250)
    pictures[7].objects = [Object(0, (0, 0, 1, 1))] * 500
    found = strangest(pictures, seen, 5)
    assert {one.picture.name for one in found} == {'3.png', '7.png'} and found[0].far >= found[1].far
    why = {one.picture.name: one.why for one in found}
    assert why['3.png'].startswith('more brightness') and why['7.png'].startswith('more objects')
    assert len(strangest(pictures, seen, 1)) == 1


def test_too_few_and_unreadable() -> None:
    pictures, seen = rows(3)
    seen['1.png'].why = 'broken'
    assert strangest(pictures, seen, 5) == []

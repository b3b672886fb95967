"""Which classes are learnt: some, several as one, without what is ignored; in a trained model's order."""

from pathlib import Path

import pytest

from convnext_dense.data.layouts.choose_classes import choose, ignore, in_order_of, merge, with_background
from convnext_dense.data.layouts.found import GROUND, IGNORE, Found, Object, Picture, Values
from convnext_dense.errors import InputError

BOX = (0.0, 0.0, 1.0, 1.0)


@pytest.fixture
def objects() -> Found:
    picture = Picture(Path('a'), 'a', (8, 8), [Object(label, BOX, [[0, 0, 1, 0, 1, 1]]) for label in (0, 1, 2)])
    return Found('toy', 'toy', Path('.'), ('car', 'van', 'dog'), [picture])


@pytest.fixture
def masks() -> Found:
    values = Values({0: GROUND, 1: 0, 2: 1, 3: 2, 255: IGNORE})
    return Found('toy', 'toy', Path('.'), ('car', 'van', 'dog'), [], values)


def labels(found: Found) -> list[str]:
    return [found.classes[one.label] for one in found.pictures[0].objects]


def test_background(objects: Found, masks: Found) -> None:
    found = with_background(objects, ignored=False)
    assert found.classes == ('background', 'car', 'van', 'dog') and labels(found) == ['car', 'van', 'dog']
    assert found.notes == ["pixels of no object are the class 'background' (--ignore background leaves them out)"]
    assert with_background(found, ignored=False) is found
    assert with_background(objects, ignored=True).classes == objects.classes
    assert with_background(masks, ignored=False).values.classes == {0: 0, 1: 1, 2: 2, 3: 3, 255: IGNORE}
    assert with_background(masks, ignored=True).values.classes == {0: IGNORE, 1: 0, 2: 1, 3: 2, 255: IGNORE}


def test_some_classes(objects: Found, masks: Found) -> None:
    found = choose(objects, ['dog', 'car'])
    assert found.classes == ('car', 'dog') and labels(found) == ['car', 'dog']
    assert choose(objects, None) is objects
    inside = choose(with_background(masks, ignored=False), ['dog'])
    assert inside.classes == ('background', 'dog') and inside.values.classes == {0: 0, 1: 0, 2: 0, 3: 1, 255: IGNORE}
    alone = choose(with_background(masks, ignored=True), ['dog'])
    assert alone.classes == ('dog',) and alone.values.classes == {0: IGNORE, 1: IGNORE, 2: IGNORE, 3: 0, 255: IGNORE}
    ground = choose(with_background(masks, ignored=False), ['background', 'dog'])
    assert ground.values.classes == {0: 0, 1: 0, 2: 0, 3: 1, 255: IGNORE}
    with pytest.raises(InputError, match=r"--classes: expected some of car, van, dog, got 'doc'; did you mean 'dog'"):
        choose(objects, ['doc'])


def test_several_as_one(objects: Found, masks: Found) -> None:
    found = merge(objects, ['car=van', 'animal=dog'])
    assert found.classes == ('car', 'animal') and labels(found) == ['car', 'car', 'animal']
    assert merge(with_background(masks, True), ['car=van,dog']).values.classes == {0: 255, 1: 0, 2: 0, 3: 0, 255: 255}
    for given, words in (('car', 'NAME=CLASS,CLASS'), ('=van', 'NAME=CLASS'), ('car=truck', "got 'truck'")):
        with pytest.raises(InputError, match=f'--merge: .*{words}'):
            merge(objects, [given])


def test_what_is_ignored(objects: Found, masks: Found) -> None:
    assert labels(ignore(objects, ['van'])) == ['car', 'dog'] and ignore(objects, ['background']) is objects
    found = ignore(with_background(masks, True), ['2'])
    assert found.classes == ('car', 'dog') and found.values.classes == {0: 255, 1: 0, 2: 255, 3: 1, 255: 255}
    masks.values = Values({0: 0, 0xFF0000: 1, 0x00FF00: 2}, colours=True)
    assert ignore(masks, ['#ff0000']).classes == ('car', 'dog')
    with pytest.raises(InputError, match="--ignore: expected a value, a colour as #ff0000 or a class, got 'sky'"):
        ignore(objects, ['sky'])
    with pytest.raises(InputError, match='expected one or more to learn of dog, got none'):
        ignore(objects, ['car', 'van', 'dog'])


def test_the_order_of_a_model(objects: Found, masks: Found) -> None:
    found = in_order_of(objects, ('dog', 'cat', 'van', 'car'))
    assert found.classes == ('dog', 'cat', 'van', 'car') and labels(found) == ['car', 'van', 'dog']
    turned = in_order_of(with_background(masks, True), ('dog', 'van', 'car'))
    assert turned.values.classes == {0: 255, 1: 2, 2: 1, 3: 0, 255: 255}
    with pytest.raises(InputError, match=r'the classes of the model \(car, van\), got dog too'):
        in_order_of(objects, ('car', 'van'))


def test_a_number_that_is_ignored(masks: Found) -> None:
    """A class stays that another value has; a number alone is a grey one where masks are colours; others are in no mask."""
    masks.values = Values({0: 0, 1: 0, 2: 1, 3: 2})
    assert ignore(masks, ['1']).classes == ('car', 'van', 'dog') and ignore(masks, ['2']).classes == ('car', 'dog')
    with pytest.raises(InputError, match='--ignore: .* got 9, which none has'):
        ignore(masks, ['9'])
    masks.values = Values({0: 0, 0x070707: 1, 0x0000FF: 2}, colours=True)
    assert ignore(masks, ['7']).classes == ('car', 'dog') and ignore(masks, ['#0000ff']).classes == ('car', 'van')

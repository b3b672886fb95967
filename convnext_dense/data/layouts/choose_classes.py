"""Which classes are learnt: some of them, several as one, and what is ignored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from convnext_dense.data.layouts.found import BACKGROUND, GROUND, IGNORE, Found
from convnext_dense.errors import InputError
from convnext_dense.text import listed, suggest

NUMBER = r'\d+|#[0-9a-fA-F]{6}'  # a mask's value or colour


def with_background(found: Found, ignored: bool) -> Found:
    """What is outside of all objects is a class of its own, the first, or ignored; masks may know of no outside."""
    values = found.values
    if found.ground != IGNORE or (values is not None and GROUND not in values.classes.values()):
        return found
    shift = 0 if ignored else 1
    pictures = [replace(p, objects=[replace(o, label=o.label + shift) for o in p.objects]) for p in found.pictures]
    if values is not None:
        ground = IGNORE if ignored else 0
        meaning = {GROUND: ground, IGNORE: IGNORE}
        values = replace(values, classes={v: meaning.get(i, i + shift) for v, i in values.classes.items()})
    how = 'are ignored' if ignored else f'are the class {BACKGROUND!r} (--ignore {BACKGROUND} leaves them out)'
    classes = found.classes if ignored else (BACKGROUND, *found.classes)
    return replace(found, classes=classes, pictures=pictures, values=values, notes=[*found.notes, f'pixels of no object {how}'])


def ignore(found: Found, given: Sequence[str]) -> Found:
    """Values, colours ('#ff0000') or classes of which nothing is learnt.

    Raises:
        InputError: for what the data does not have.
    """
    for one in given:
        if re.fullmatch(NUMBER, one) and found.values is not None and one not in found.classes:
            found = _without_value(found, _number(one, found.values.colours), one)
        elif one in found.classes:
            found = _renamed(found, {name: (None if name == one else name) for name in found.classes})
        elif one != BACKGROUND:
            raise InputError(
                f'--ignore: expected a value, a colour as #ff0000 or a class, got {one!r}; {suggest(one, found.classes)}'
            )
    return found


def _number(text: str, colours: bool) -> int:
    """A mask's value, or a packed colour; a number alone is a grey one where masks are colours."""
    if text.startswith('#'):
        return int(text[1:], 16)
    return int(text) * 0x010101 if colours else int(text)


def _without_value(found: Found, number: int, text: str) -> Found:
    values = found.values
    assert values is not None
    if number not in values.classes:
        raise InputError(f'--ignore: expected a value or colour that a mask has, got {text}, which none has; leave it out')
    label = values.classes.get(number, IGNORE)
    others = [v for v, index in values.classes.items() if index == label and v != number]
    changed = replace(values, classes=values.classes | {number: IGNORE})
    found = replace(found, values=changed, notes=[*found.notes, f'{text} is ignored'])
    gone = found.classes[label] if label != IGNORE and not others else None
    return _renamed(found, {name: (None if name == gone else name) for name in found.classes})


def choose(found: Found, classes: Sequence[str] | None) -> Found:
    """Some of the classes, in their order, and the background, which takes pixels of others; their objects are left out.

    Raises:
        InputError: for a name that the data does not have.
    """
    if classes is None:
        return found
    for name in classes:
        if name not in found.classes:
            raise InputError(
                f'--classes: expected some of {listed(found.classes)}, got {name!r}; {suggest(name, found.classes)}'
            )
    ground = None if found.ground == IGNORE else found.classes[found.ground]
    kept = {*classes, ground}  # without it one class would be right everywhere
    return _renamed(found, {name: (name if name in kept else ground) for name in found.classes})


def merge(found: Found, given: Sequence[str]) -> Found:
    """`car=van,truck`: vans and trucks are learnt as cars, a class there is or a new one.

    Raises:
        InputError: for a text of another form, and names that the data does not have.
    """
    target: dict[str, str | None] = {name: name for name in found.classes}
    for one in given:
        into, _, rest = one.partition('=')
        names = [name.strip() for name in rest.split(',') if name.strip()]
        if not into.strip() or not names:
            raise InputError(f'--merge: expected NAME=CLASS,CLASS, got {one!r}')
        for name in names:
            if name not in found.classes:
                raise InputError(
                    f'--merge: expected some of {listed(found.classes)}, got {name!r}; {suggest(name, found.classes)}'
                )
            target[name] = into.strip()
    return _renamed(found, target) if given else found


def _renamed(found: Found, target: dict[str, str | None]) -> Found:
    """Each class under its new name; None: without it. Classes keep the order of what they came from."""
    names = tuple(dict.fromkeys(name for old in found.classes if (name := target[old]) is not None))
    if not names:
        raise InputError(f'classes: expected one or more to learn of {listed(found.classes)}, got none; ignore fewer')
    if names == found.classes:
        return found
    index = [IGNORE if target[old] is None else names.index(str(target[old])) for old in found.classes]
    pictures = [
        replace(p, objects=[replace(o, label=index[o.label]) for o in p.objects if index[o.label] != IGNORE])
        for p in found.pictures
    ]
    values = found.values
    if values is not None:
        mapped = {v: IGNORE if label == IGNORE else index[label] for v, label in values.classes.items()}
        values = replace(values, classes=mapped)
    return replace(found, classes=names, pictures=pictures, values=values)


def in_order_of(found: Found, classes: Sequence[str]) -> Found:
    """The classes of a trained model, in its order; the data may lack some of them.

    Raises:
        InputError: for classes of the data that the model does not have.
    """
    unknown = [name for name in found.classes if name not in classes]
    if unknown:
        raise InputError(
            f'--data: expected the classes of the model ({listed(classes)}), got {listed(unknown)} too; --classes takes some, '
            '--merge renames'
        )
    index = [list(classes).index(name) for name in found.classes]
    values = found.values
    if values is not None:
        values = replace(values, classes={v: IGNORE if i == IGNORE else index[i] for v, i in values.classes.items()})
    pictures = [replace(p, objects=[replace(o, label=index[o.label]) for o in p.objects]) for p in found.pictures]
    return replace(found, classes=tuple(classes), pictures=pictures, values=values)

"""What a card says of where its numbers come from."""

from argparse import Namespace
from pathlib import Path

import pytest
from conftest import SHAPES
from mmengine.config import Config

from convnext_dense.report.evaluate import DATA
from convnext_dense.report.evaluated import About
from convnext_dense.report.source import command, source_of
from convnext_dense.run.options import load_config
from convnext_dense.run.own_options import SHARE


def options(**given: object) -> Namespace:
    return Namespace(**{**dict.fromkeys([*DATA, 'data_name', 'checkpoint']), 'val_share': SHARE, **given})


def about_of(picture: str) -> About:
    return About('segmentation', 'iter_1.pth', [1, 1], 1, '{}', pictures=[picture])


@pytest.mark.parametrize(
    ('picture', 'given', 'expected'),
    [
        ('data/shapes/images/validation/1.png', None, ('shapes', 'shapes', 'validation')),
        ('data/shapes/images/validation/1.png', 'my shapes', ('my shapes', 'my shapes', 'validation')),
        ('other/city/images/1.png', None, ('shapes', 'city', 'test')),
        ('other/city/1.png', 'my shapes', ('my shapes', 'city', 'test')),
        ('val/1.png', None, ('shapes', 'other data', 'val')),
    ],
)
def test_data_of_training_and_of_the_test(tmp_path: Path, picture: str, given: str | None, expected: tuple) -> None:
    about = about_of('/' + picture)
    found = source_of(about, load_config(SHAPES), tmp_path, options(data_name=given))
    assert (found.trained, found.tested, found.split) == expected


def test_a_config_without_training_data(tmp_path: Path) -> None:
    about = about_of('/a/city/val/1.png')
    found = source_of(about, Config({}), tmp_path, options())
    assert (found.trained, found.tested) == ('city', 'city')


def test_the_command_gives_the_numbers() -> None:
    assert command(Path('work'), options()) == 'convnext-dense report work'
    given = options(
        checkpoint='a b.pth', data='/other city', classes='x,y', ignore=['0', '#ff0000'], mean=[1.5, 2.0], val_share=1.0
    )
    assert command(Path('work'), given) == (
        "convnext-dense report work --checkpoint 'a b.pth' --data '/other city' --classes x,y --ignore 0 '#ff0000' "
        '--val-share 1 --mean 1.5 2'
    )

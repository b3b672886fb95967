"""Options of own data: which go together."""

import argparse

import pytest

from convnext_dense.errors import InputError
from convnext_dense.run.own_options import add_data_options, check_data_options


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_data_options(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    'words',
    [
        [],
        ['--data', 'a', '--classes', 'x,y', '--merge', 'a=b', '--ignore', '0', '--val-share', '0.1', '--group-by', 'video'],
        ['--data', 'a', '--channels', '2', '--mean', '1', '2', '--std', '1', '1'],
    ],
)
def test_what_goes_together(words: list[str]) -> None:
    check_data_options(parsed(*words))


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--layout', 'yolo'], '--layout: expected --data DIR with it'),
        (['--val-share', '0.1'], '--val-share: expected --data DIR with it'),
        (['--channels', '4'], '--channels: expected --data DIR with it'),
        (['--data', 'a', '--mean', '1'], '--mean and --std: expected both'),
        (['--data', 'a', '--mean', '1', '--std', '1'], '--mean and --std: expected both, with --channels N'),
    ],
)
def test_what_does_not(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_data_options(parsed(*words))


def test_two_data_sets_at_once() -> None:
    args = parsed('--data', 'a')
    args.data_root = 'b'
    with pytest.raises(InputError, match='--data and --data-root: expected one of the two, got both'):
        check_data_options(args)

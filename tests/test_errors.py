"""The one exception for wrong input, and what is noted on others."""

import pickle

import pytest

from convnext_dense import InputError
from convnext_dense.errors import doing, last_line


def test_wrong_input_is_a_value_error_that_crosses_processes() -> None:
    error = pickle.loads(pickle.dumps(InputError('expected a, got b')))
    assert type(error) is InputError and isinstance(error, ValueError) and str(error) == 'expected a, got b'


def test_nothing_is_noted_where_nothing_happens() -> None:
    with doing('training'):
        pass
    with pytest.raises(KeyboardInterrupt) as caught, doing('training'):
        raise KeyboardInterrupt
    assert not hasattr(caught.value, 'doing')  # it is no error of what was being done


def test_a_loading_processs_traceback_is_left_out() -> None:
    words = 'Caught OSError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File "a.py"\n'
    assert last_line(RuntimeError(f'{words}OSError: a.jpg: cannot be read')) == 'a.jpg: cannot be read'
    assert last_line(RuntimeError(f'{words}KeyError')) == 'KeyError'


def test_an_assertion_shows_its_line() -> None:
    with pytest.raises(AssertionError) as caught:
        exec(compile('assert not True', 'nowhere.py', 'exec'))
    assert last_line(caught.value).endswith('does not hold')
    assert last_line(AssertionError()) == 'AssertionError'  # never raised: it has no line

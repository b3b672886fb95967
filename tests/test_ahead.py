"""Work ahead of the caller: in order, bounded, and ended with the caller."""

import threading
import time
from collections.abc import Iterator
from itertools import count

import pytest

from convnext_dense.predict.ahead import ahead


def test_results_come_in_order_whichever_thread_is_done_first() -> None:
    def slow_first(i: int) -> int:
        time.sleep(0.05 if i % 3 == 0 else 0)
        return i * i

    assert list(ahead(range(20), slow_first, threads=4)) == [i * i for i in range(20)]


def test_an_endless_source_is_read_a_bounded_number_of_steps_ahead() -> None:
    read = 0

    def source() -> Iterator[int]:
        nonlocal read
        for i in count():
            read = i + 1
            yield i

    found = ahead(source(), lambda i: i, threads=2, depth=3)
    for i in range(5):
        assert next(found) == i
        time.sleep(0.05)
        assert read <= i + 1 + 3 + 3  # given, waiting, and on their way into the queue
    found.close()
    after = read
    time.sleep(0.2)
    assert read <= after + 1


@pytest.mark.parametrize('where', ['source', 'function'])
def test_an_error_comes_at_its_place(where: str) -> None:
    def source() -> Iterator[int]:
        yield from range(3)
        if where == 'source':
            raise KeyError('three')
        yield 3

    def function(i: int) -> int:
        if i == 3:
            raise KeyError('three')
        return i

    found = ahead(source(), function)
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match='three'):
        next(found)


def test_no_thread_is_left_and_the_source_is_closed_when_the_caller_stops() -> None:
    closed = threading.Event()

    def source() -> Iterator[int]:
        try:
            yield from count()
        finally:
            closed.set()

    before = threading.active_count()
    found = ahead(source(), lambda i: i)
    next(found)
    found.close()
    assert closed.wait(5)
    assert threading.active_count() == before

"""A thread for a tracker's jobs: in order, tried again, given up, left out, and never waited for longer than told."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from convnext_dense.training import tracker_queue
from convnext_dense.training.tracker_queue import FAILURES, PAUSES, JobQueue, for_the_moment, words


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch) -> None:
    monkeypatch.setattr(tracker_queue, 'PAUSES', (0.01,) * len(PAUSES))


class Jobs:
    """A queue whose begin, end and warnings are noted."""

    def __init__(self, begin: Callable[[], None] = lambda: None, end: Callable[[bool], None] = lambda finished: None) -> None:
        self.events: list[str] = []
        self.warnings: list[str] = []

        def first() -> None:
            self.events.append('begin')
            begin()

        def last(finished: bool) -> None:
            self.events.append(f'end {finished}')
            end(finished)

        self.queue = JobQueue(first, last, self.warnings.append)

    def add(self, name: str, job: Callable[[], None] = lambda: None) -> None:
        self.queue.put(lambda: (self.events.append(name), job()))

    def settled(self) -> None:
        """Until the thread is gone, which ends it where it was given up."""
        self.queue._thread.join(5)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a job waits for; opened at the test's end."""
    event = threading.Event()
    yield event
    event.set()


def raising(*errors: BaseException) -> Callable[[], None]:
    """Raises one after the other, then nothing."""
    left = list(errors)

    def job() -> None:
        if left:
            raise left.pop(0)

    return job


def test_jobs_are_done_in_order_by_one_other_thread() -> None:
    jobs, threads = Jobs(), set()
    for i in range(50):
        jobs.add(str(i), lambda: threads.add(threading.get_ident()))
    jobs.queue.close(True, 5)
    assert jobs.events == ['begin', *map(str, range(50)), 'end True'] and jobs.warnings == []
    assert len(threads) == 1 and threading.get_ident() not in threads
    jobs.add('late')
    jobs.queue.close(False, 5)
    assert jobs.events[-1] == 'end True'


def test_nothing_begins_without_a_job() -> None:
    jobs = Jobs()
    jobs.queue.close(True, 5)
    jobs.add('late')
    assert jobs.events == [] and jobs.queue._thread is None


def test_what_fails_for_the_moment_is_tried_again() -> None:
    jobs = Jobs(begin=raising(ConnectionError('away'), TimeoutError('still')))
    jobs.add('a', raising(ConnectionResetError('again')))
    jobs.add('b')
    while 'b' not in jobs.events:
        time.sleep(0.001)
    jobs.queue.close(True, 5)
    assert jobs.events == ['begin', 'begin', 'begin', 'a', 'a', 'b', 'end True'] and jobs.warnings == []


def test_a_server_that_stays_away_is_given_up_with_one_line() -> None:
    jobs = Jobs(begin=raising(*[ConnectionRefusedError(errno.ECONNREFUSED, 'Connection refused')] * 99))
    for i in range(5):
        jobs.add(str(i))
    jobs.settled()
    jobs.add('late')
    jobs.queue.close(True, 5)
    assert jobs.events == ['begin'] * (1 + len(PAUSES))
    assert jobs.warnings == ['ConnectionRefusedError: Connection refused']


def test_one_that_goes_away_is_given_up_and_ended() -> None:
    jobs = Jobs()
    jobs.add('a')
    jobs.add('b', raising(*[ConnectionError('gone')] * 99))
    jobs.add('c')
    jobs.settled()
    assert jobs.events == ['begin', 'a', *['b'] * (1 + len(PAUSES)), 'end False'] and jobs.warnings == ['ConnectionError: gone']


def test_a_job_that_is_refused_is_left_out_and_counted() -> None:
    jobs = Jobs()
    for i in range(6):
        jobs.add(str(i), raising(*[ValueError('a bad name')] * (i % 2)))
    jobs.queue.close(True, 5)
    assert jobs.events == ['begin', *map(str, range(6)), 'end True']
    assert jobs.warnings == ['3 entries are not there: it did not keep up with the run, or refused them']


@pytest.mark.parametrize('error', [ValueError('no'), SystemExit(1), OSError(errno.ENOSPC, 'No space left on device')])
def test_some_in_a_row_give_it_up(error: BaseException) -> None:
    jobs = Jobs()
    for i in range(FAILURES + 2):
        jobs.add(str(i), raising(error))
    jobs.settled()
    assert jobs.events == ['begin', *map(str, range(FAILURES)), 'end False']
    assert jobs.warnings == [words(error)] and jobs.queue.given_up


def test_a_full_queue_leaves_out_what_is_new(gate: threading.Event, monkeypatch) -> None:
    monkeypatch.setattr(tracker_queue, 'MOST', 5)
    jobs = Jobs(begin=lambda: gate.wait(5) and None)
    begun = time.monotonic()
    for i in range(12):
        jobs.add(str(i))
    assert time.monotonic() - begun < 1
    gate.set()
    jobs.queue.close(True, 5)
    assert jobs.events == ['begin', *map(str, range(5)), 'end True']
    assert jobs.warnings == ['7 entries are not there: it did not keep up with the run, or refused them']


def test_pictures_are_counted_by_their_size(gate: threading.Event, monkeypatch) -> None:
    monkeypatch.setattr(tracker_queue, 'MOST_BYTES', 100)
    jobs = Jobs(begin=lambda: gate.wait(5) and None)
    for name, size in (('a', 60), ('b', 60), ('number', 0), ('c', 40), ('d', 1)):
        jobs.queue.put(lambda name=name: jobs.events.append(name), size)
    gate.set()
    while 'c' not in jobs.events or jobs.queue._bytes:
        time.sleep(0.001)
    jobs.queue.put(lambda: jobs.events.append('later'), 100)
    jobs.queue.close(True, 5)
    assert jobs.events == ['begin', 'a', 'number', 'c', 'later', 'end True'] and jobs.queue.lost == 2


@pytest.mark.parametrize('where', ['begin', 'job', 'end'])
def test_closing_waits_no_longer_than_told(where: str, gate: threading.Event) -> None:
    """For a call that does not return."""
    stands = {where: lambda *_: gate.wait(5)}
    jobs = Jobs(**{name: job for name, job in stands.items() if name != 'job'})
    jobs.add('a', stands.get('job', lambda: None))
    jobs.add('b')
    begun = time.monotonic()
    jobs.queue.close(True, 0.2)
    assert 0.2 <= time.monotonic() - begun < 2
    missing = '' if where == 'end' else ', and 2 entries are not there'
    assert jobs.warnings == [f'it has not answered for 0.2 s{missing}']
    assert jobs.queue._thread.daemon, 'the process need not wait for it'


def test_at_the_end_nothing_is_tried_again(monkeypatch) -> None:
    monkeypatch.setattr(tracker_queue, 'PAUSES', (60.0,))
    jobs = Jobs(begin=raising(*[ConnectionError('away')] * 9))
    jobs.add('a')
    begun = time.monotonic()
    jobs.queue.close(True, 30)
    assert time.monotonic() - begun < 5 and jobs.events == ['begin'] and jobs.warnings == ['ConnectionError: away']


def test_an_end_that_fails_is_told() -> None:
    jobs = Jobs(end=lambda finished: 1 / 0)
    jobs.add('a')
    jobs.queue.close(True, 5)
    assert jobs.warnings == ['it could not be ended: ZeroDivisionError: division by zero']


def test_which_errors_may_pass() -> None:
    assert for_the_moment(ConnectionError()) and for_the_moment(TimeoutError()) and not for_the_moment(KeyError())
    assert not for_the_moment(PermissionError(errno.EACCES, 'no')) and not for_the_moment(ImportError())
    try:
        try:
            raise ConnectionError('below')
        except ConnectionError as below:
            raise ValueError('above') from below
    except ValueError as error:
        assert for_the_moment(error)


def test_words() -> None:
    assert words(ValueError('at http://me:secret@host/x\n  and more')) == 'ValueError: at http://host/x and more'
    assert words(KeyError()) == 'KeyError: KeyError'
    long = words(ValueError('word ' * 90))
    assert len(long) <= 200 and long.endswith('word …')

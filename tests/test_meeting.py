"""How processes meet by a store that earlier ones have used."""

import threading
from pathlib import Path

import pytest
import torch.distributed as dist

from convnext_dense.run.meeting import agreed_name


@pytest.fixture
def store() -> dist.Store:
    return dist.HashStore()


def names(store: dist.Store, processes: int, late: int = 0) -> list[str]:
    """What each process takes for the common name, where the process `late` comes last."""
    found = [''] * processes

    def come(rank: int) -> None:
        found[rank] = agreed_name(store, rank, processes, 20)

    threads = [threading.Thread(target=come, args=(rank,)) for rank in range(processes)]
    for thread in [*threads[:late], *threads[late + 1 :]]:
        thread.start()
    threads[late].start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize('late', [0, 1, 2])
def test_one_name_for_each_meeting(store: dist.Store, late: int) -> None:
    """Also where earlier processes have left theirs, and whoever comes first."""
    first, second = names(store, 3), names(store, 3, late)
    assert len(set(first)) == len(set(second)) == 1 and first[0] and first != second


def test_what_a_process_that_ended_has_asked_is_of_no_matter(store: dist.Store) -> None:
    store.set('meeting/asked/1', 'gone')
    one, other = names(store, 2, late=1)
    assert one == other


def test_one_that_does_not_come(store: dist.Store) -> None:
    with pytest.raises(RuntimeError, match=r'expected 3 processes, those of rank \[1, 2\] did not come'):
        agreed_name(store, 0, 3, 0.1)


def test_a_file_as_the_store(tmp_path: Path) -> None:
    store = dist.FileStore(str(tmp_path / 'store'), 1)
    assert agreed_name(store, 0, 1) != agreed_name(store, 0, 1)

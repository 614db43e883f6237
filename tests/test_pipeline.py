"""Three stages at once: order, failures, bounds, and no thread left behind."""

import threading
import time

import pytest

from mien.pipeline import AHEAD, overlap
from mien.types import MienError


def run(items, read=lambda i: i, compute=lambda i, r: r, write=lambda i, m: None):
    return list(overlap(items, read, compute, write))


def test_every_item_comes_through_in_order() -> None:
    written = []
    results = run(range(50), lambda i: i * 2, lambda i, r: r + 1, lambda i, m: written.append((i, m)))
    assert written == [(i, 2 * i + 1) for i in range(50)]
    assert results == [(i, None) for i in range(50)]


@pytest.mark.parametrize("stage", ["read", "compute", "write"])
def test_a_failing_item_is_named_and_the_others_go_on(stage: str) -> None:
    def fail(i, value=None):
        if i == 3:
            raise MienError("frame 3 is broken")
        return value

    results = dict(run(range(6), **{stage: fail}))
    assert str(results[3]) == "frame 3 is broken"
    assert [i for i, error in results.items() if error is None] == [0, 1, 2, 4, 5]


@pytest.mark.parametrize("stage", ["read", "compute", "write"])
def test_a_bug_ends_the_run(stage: str) -> None:
    def bug(i, value=None):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(range(100), **{stage: bug})


def test_reading_runs_ahead_only_so_far() -> None:
    started = []
    release = threading.Event()

    def compute(i, r):
        release.wait(5)
        return r

    def read(i):
        started.append(i)
        return i

    iterator = overlap(range(100), read, compute, lambda i, m: None)
    worker = threading.Thread(target=lambda: list(iterator))
    worker.start()
    time.sleep(0.3)
    assert len(started) <= AHEAD + 2  # one computing, AHEAD waiting, one in the reader's hands
    release.set()
    worker.join()
    assert len(started) == 100


def test_closing_early_leaves_no_thread() -> None:
    before = threading.active_count()
    iterator = overlap(range(10_000), lambda i: i, lambda i, r: r, lambda i, m: time.sleep(0.001))
    next(iterator)
    iterator.close()
    assert threading.active_count() == before


def test_a_group_is_seen_before_its_items_are_computed() -> None:
    seen: list[object] = []

    def read(i: int) -> int:
        if i == 5:
            raise MienError("frame 5 is broken")
        return i * 2

    def compute(i: int, r: int) -> int:
        seen.append(i)
        return r

    run = overlap(range(8), read, compute, lambda i, m: None, seen.append, lambda i: i % 3 == 2)
    assert [i for i, error in run if error is None] == [0, 1, 2, 3, 4, 6, 7]
    assert seen == [[(0, 0), (1, 2), (2, 4)], 0, 1, 2, [(3, 6), (4, 8)], 3, 4, [(6, 12), (7, 14)], 6, 7]

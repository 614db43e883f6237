"""Reading, computing and writing at once, with at most a few frames in memory."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from mien.types import MienError

Item = TypeVar("Item")
Read = TypeVar("Read")
Made = TypeVar("Made")
AHEAD = 1
"""Frames that may wait between two stages: more would even out nothing that lasts, and cost memory."""
POLL = 0.1
"""Seconds after which a waiting stage looks whether the others are still there."""


class Stopped(Exception):
    """Another stage ended: leave quietly."""


class _Belt(Generic[Item]):
    """A bounded queue that both ends leave when the run is over."""

    def __init__(self, over: threading.Event) -> None:
        self._queue: queue.Queue[Item] = queue.Queue(AHEAD)
        self._over = over

    def put(self, item: Item) -> None:
        while not self._over.is_set():
            try:
                return self._queue.put(item, timeout=POLL)
            except queue.Full:
                continue
        raise Stopped

    def take(self) -> Item:
        while not self._over.is_set():
            try:
                return self._queue.get(timeout=POLL)
            except queue.Empty:
                continue
        raise Stopped


def overlap(
    items: Iterable[Item],
    read: Callable[[Item], Read],
    compute: Callable[[Item, Read], Made],
    write: Callable[[Item, Made], None],
    begin: Callable[[Sequence[tuple[Item, Read]]], None] = lambda group: None,
    ends: Callable[[Item], bool] = lambda item: True,
) -> Generator[tuple[Item, MienError | None], None, None]:
    """Carry each item through three stages that work at the same time, in order.

    ``compute`` runs in the caller's thread, after ``begin`` saw what was read for the item's group: all items up to
    one that ``ends`` it. An item that fails with a ``MienError`` comes out with it and the others go on; any other
    exception ends the run and is raised here. Closing the iterator ends the run after the stages' present frames; no
    thread is left behind.
    """
    over = threading.Event()
    todo: _Belt[tuple[Item, Read | MienError] | None] = _Belt(over)
    done: _Belt[tuple[Item, Made | MienError] | None] = _Belt(over)
    out: queue.SimpleQueue[tuple[Item, MienError | None]] = queue.SimpleQueue()
    broken: list[BaseException] = []

    def stage(body: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                body()
            except Stopped:
                pass
            except BaseException as error:  # noqa: BLE001  a thread's end is a process boundary of its own
                broken.append(error)
                over.set()

        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        return thread

    def reading() -> None:
        for item in items:
            try:
                todo.put((item, read(item)))
            except MienError as error:
                todo.put((item, error))
        todo.put(None)

    def writing() -> None:
        while (entry := done.take()) is not None:
            item, made = entry
            error = made if isinstance(made, MienError) else None
            if not isinstance(made, MienError):
                try:
                    write(item, made)
                except MienError as failure:
                    error = failure
            out.put((item, error))

    def groups() -> Iterator[list[tuple[Item, Read | MienError]]]:
        group = []
        while (entry := todo.take()) is not None:
            group.append(entry)
            if ends(entry[0]):
                yield group
                group = []
        if group:
            yield group

    threads = (stage(reading), stage(writing))
    try:
        for group in groups():
            begin([(item, got) for item, got in group if not isinstance(got, MienError)])
            while group:
                item, got = group.pop(0)
                made: Made | MienError
                if isinstance(got, MienError):
                    made = got
                else:
                    try:
                        made = compute(item, got)
                    except MienError as error:
                        made = error
                done.put((item, made))
                while not out.empty():
                    yield out.get()
        done.put(None)
        threads[1].join()
        while not out.empty():
            yield out.get()
    except Stopped:
        pass
    finally:
        over.set()
        for thread in threads:
            thread.join()
    if broken:
        raise broken[0]

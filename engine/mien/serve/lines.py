"""JSON lines over pipes: lines of bounded length in, answers out of any thread."""

import json
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

LONGEST = 16 << 20
"""Bytes of the longest request; what is longer is read past without being kept."""
CHUNK = 1 << 16
CROWD = 10_000
"""Answers that may wait for a slow reader before no more requests are taken."""


class TooLong(Exception):
    """Stands for a line of more than ``LONGEST`` bytes."""


def read_lines(descriptor: int, longest: int = LONGEST) -> Iterator[bytes | TooLong]:
    """Lines without their ends, as they arrive, until the other side closes; memory stays below ``longest``."""
    line = bytearray()
    beyond = False
    while chunk := os.read(descriptor, CHUNK):
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            if beyond or len(line) + len(end) > longest:
                yield TooLong()
            else:
                yield bytes(line + end)
            line.clear()
            beyond = False
        if beyond or len(line) + len(rest) > longest:
            line.clear()
            beyond = True
        else:
            line += rest
    if beyond:
        yield TooLong()
    elif line:
        yield bytes(line)


def as_line(message: Mapping[str, Any]) -> bytes:
    """A message as one line of standard JSON; numbers that JSON does not have become null."""
    try:
        text = json.dumps(message, allow_nan=False, separators=(",", ":"), default=str)
    except ValueError:
        text = json.dumps(_finite(message), allow_nan=False, separators=(",", ":"), default=str)
    return text.encode("ascii") + b"\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value


class Answers:
    """Writes messages, each whole, in the order in which they were said."""

    def __init__(self, descriptor: int, gone: Callable[[], None]) -> None:
        """``gone`` is called when nobody reads any more."""
        self._descriptor = descriptor
        self._gone = gone
        self._queue: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="answers", daemon=True)
        self._thread.start()

    def say(self, message: Mapping[str, Any]) -> None:
        """Write a message soon; never waits."""
        self._queue.put(message)

    @property
    def crowded(self) -> bool:
        """Whether so many answers wait that what can be left out should be."""
        return self._queue.qsize() > CROWD // 10

    def give_way(self) -> None:
        """Wait while the reader is far behind."""
        while self._queue.qsize() > CROWD:
            time.sleep(0.005)

    def close(self, patience: float) -> None:
        """Write what was said, for at most ``patience`` seconds."""
        self._queue.put(None)
        self._thread.join(patience)

    def _write(self) -> None:
        try:
            while (message := self._queue.get()) is not None:
                rest = memoryview(as_line(message))
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            self._gone()

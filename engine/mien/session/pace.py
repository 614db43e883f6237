"""How long work takes on this machine, learned while it is done."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

FIRST_GUESS = 0.1e-6
"""Seconds per pixel of work that was never seen."""
FADE = 0.9
"""What earlier times weigh when another one comes."""


class Pace:
    """For each kind of work the line, seconds over pixels, that fits the times seen so far."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, ...]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def timed(self, what: str, pixels: float) -> Iterator[None]:
        """Learn from the time that the block takes."""
        started = time.perf_counter()
        yield
        self.learn(what, pixels, time.perf_counter() - started)

    def learn(self, what: str, pixels: float, seconds: float) -> None:
        """Take in how long work on so many pixels took."""
        with self._lock:
            known = self._sums.get(what, (0.0,) * 5)
            seen = (1.0, pixels, pixels * pixels, seconds, pixels * seconds)
            self._sums[what] = tuple(FADE * old + new for old, new in zip(known, seen))

    def expected(self, what: str, pixels: float) -> float:
        """Seconds that work on so many pixels will take."""
        sums = self._sums.get(what)
        if sums is None:
            return FIRST_GUESS * pixels
        count, size, square, time_taken, product = sums
        spread = square - size * size / count
        # Where only one size was seen all time is laid to the pixels.
        rate = time_taken / size if size else 0.0
        if spread > 0.01 * square:
            rate = min(max(0.0, (product - size * time_taken / count) / spread), rate)
        return max(0.0, (time_taken - rate * size) / count) + rate * pixels

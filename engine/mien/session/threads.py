"""How many threads compute a picture: fewer for a small one, which the host waits for while it draws."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

HOST = 2
"""Cores that are left to the host while it waits: it draws on one, and composites on another."""


class Threads:
    """The number of threads of torch, as it was when this was made; it is each thread's own, but a new one takes over
    the last that was set anywhere, so whoever computes what must have the bits of that number sets it before."""

    def __init__(self) -> None:
        self._number = torch.get_num_threads()

    def all(self) -> None:
        """Let this thread compute with all of them."""
        torch.set_num_threads(self._number)

    @contextmanager
    def for_size(self, factor: int) -> Iterator[None]:
        """Leave ``HOST`` cores to the host for pictures ``factor`` times smaller than the plate; one at least is used.

        A step of a small picture is over sooner than a second thread has begun, where the host draws on that core.
        """
        if factor == 1 or self._number == 1:
            yield
            return
        torch.set_num_threads(max(1, self._number - HOST))
        try:
            yield
        finally:
            self.all()

"""How many threads compute a picture: one for a small one, which the host waits for while it draws on the others."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Threads:
    """The number of threads of torch, as it was when this was made; it is each thread's own, but a new one takes over
    the last that was set anywhere, so whoever computes what must have the bits of that number sets it before."""

    def __init__(self) -> None:
        self._number = torch.get_num_threads()

    def all(self) -> None:
        """Let this thread compute with all of them."""
        torch.set_num_threads(self._number)

    @contextmanager
    def few(self, few: bool) -> Iterator[None]:
        """Compute in this thread alone if ``few``.

        Each step of a small picture is over sooner than another thread has begun, where the host draws on all cores.
        """
        if not few or self._number == 1:
            yield
            return
        torch.set_num_threads(1)
        try:
            yield
        finally:
            self.all()

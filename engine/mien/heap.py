"""Memory between the engine and the system: kept for the next picture, given back now and then."""

import ctypes
import sys
from collections.abc import Callable

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of settings of the GNU C library's ``mallopt``."""
LARGEST = 1 << 30
"""Bytes of a block, or free in a row, up to which memory is kept."""


def _found(name: str) -> Callable[..., int] | None:
    if not sys.platform.startswith("linux"):
        return None
    function: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None)
    return function


_TRIM, _SET = _found("malloc_trim"), _found("mallopt")


def reuse() -> None:
    """Let pictures take the place of those let go before, where the GNU C library would give each back at once.

    It maps blocks of more than 32 MiB anew each time, and the system clears them page by page: a sum of two such
    pictures takes six times as long. To be called by a process that is the engine's own, before its first picture.
    """
    if _SET is not None:
        _SET(M_MMAP_THRESHOLD, LARGEST)
        _SET(M_TRIM_THRESHOLD, LARGEST)


def trim() -> None:
    """Give back what is free between values that live on; the GNU C library keeps it otherwise, elsewhere nothing.

    A long shot would hold the more of it the more it has measured. Takes some milliseconds.
    """
    if _TRIM is not None:
        _TRIM(0)

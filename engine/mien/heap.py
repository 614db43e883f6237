"""Memory between the engine and the system: kept for the next picture, given back now and then."""

import ctypes
import mmap
import sys
from collections.abc import Callable

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Names of settings of the GNU C library's ``mallopt``."""
MADV_PAGEOUT = 21
"""Advice to the system's ``madvise``: these pages are not needed soon; what they hold stays."""
LARGEST = 1 << 30
"""Bytes of a block, or free in a row, up to which memory is kept."""


def _found(name: str) -> Callable[..., int] | None:
    if not sys.platform.startswith("linux"):
        return None
    function: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None)
    return function


_TRIM, _SET, _ADVISE = _found("malloc_trim"), _found("mallopt"), _found("madvise")


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


def set_aside(start: int, size: int) -> None:
    """Give back the pages of ``size`` bytes at address ``start``; they come from their file again when looked at.

    For files that were mapped and have been read through. Elsewhere than on Linux nothing.
    """
    if _ADVISE is not None and size:
        page = mmap.PAGESIZE
        first = start // page * page
        _ADVISE(ctypes.c_void_p(first), ctypes.c_size_t(start + size - first), MADV_PAGEOUT)

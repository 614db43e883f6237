"""Giving memory back to the system."""

import ctypes
import sys
from collections.abc import Callable


def _found() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim


_TRIM = _found()


def trim() -> None:
    """Give back what is free between values that live on; the GNU C library keeps it otherwise, elsewhere nothing.

    A long shot would hold the more of it the more it has measured. Takes some milliseconds.
    """
    if _TRIM is not None:
        _TRIM(0)

"""What jobs draw on, kept open between requests: shots, configs, tracks, identities."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from mien.files.sequence import pattern_of

Part = TypeVar("Part")
MOST = 24
"""Parts that stay open: four jobs' worth."""
Facts = tuple[int, int, int] | None


class Warm:
    """Open parts by name and files; one whose files were changed is opened again.

    Attributes:
        opened: How many parts were opened so far.
    """

    def __init__(self) -> None:
        self.opened = 0
        self._parts: OrderedDict[tuple[str, ...], tuple[tuple[Facts, ...], Any]] = OrderedDict()
        self._lock = threading.RLock()

    def __call__(self, name: str, files: tuple[str, ...], make: Callable[[], Part]) -> Part:
        """The part called ``name`` that is made from these files, or a new one."""
        key, facts = (name, *files), tuple(_facts(file) for file in files)
        with self._lock:
            known = self._parts.get(key)
            if known is not None and known[0] == facts:
                self._parts.move_to_end(key)
                part: Part = known[1]
                return part
            part = make()
            self.opened += 1
            self._parts[key] = (facts, part)
            self._parts.move_to_end(key)
            while len(self._parts) > MOST:
                self._parts.popitem(last=False)
            return part

    def clear(self) -> None:
        """Open everything anew next time."""
        with self._lock:
            self._parts.clear()


def _facts(name: str) -> Facts:
    """What tells that a file, or the folder of a sequence, was changed; None for what is no file."""
    path = Path(name)
    try:
        found = path.parent if name and not path.exists() and pattern_of(path) is not None else path
        told = found.stat()
    except (OSError, ValueError):
        return None
    return told.st_ino, told.st_size, told.st_mtime_ns

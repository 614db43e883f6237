"""Files that appear under their final name only when they are whole.

Public: ``appearing``, ``remove_stale``, ``alive``.
"""

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mien.types import MienError

_PARTIAL = re.compile(r"\..+\.(?P<host>[^.]+)-(?P<process>\d+)-\d+\.partial(\.[^.]+)?")
_DAY = 86400.0
_count = iter(range(1 << 62)).__next__


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", socket.gethostname())[:40] or "host"


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Lend a temporary name in the folder of ``path``; what was written there is renamed at the end.

    The temporary name starts with a dot and keeps the ending, by which writers choose a format. After an
    error nothing is left and a file that was there before stays as it was.

    Raises:
        MienError: The folder cannot be made or written, or the disk is full.
    """
    partial = path.with_name(f".{path.stem}.{_host()}-{os.getpid()}-{_count()}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise MienError(f"Cannot write {path}: {error.strerror or error}. Check permissions and free space.") from error
    finally:
        # A folder that could not be made, or a name too long, leaves nothing to remove.
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def alive(process: int) -> bool:
    """Whether a process of this machine still runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def remove_stale(folder: Path) -> list[Path]:
    """Remove what killed runs left half-written in a folder, and say what was removed.

    Only names that ``appearing`` makes are touched: those of processes of this machine that are gone, and
    those of other machines when a day old.
    """
    removed = []
    for path in sorted(folder.glob(".*.partial*")):
        name = _PARTIAL.fullmatch(path.name)
        if name is None:
            continue
        try:
            if name["host"] == _host():
                stale = not alive(int(name["process"]))
            else:
                stale = time.time() - path.stat().st_mtime > _DAY
            if stale:
                path.unlink()
                removed.append(path)
        except OSError:
            continue
    return removed

"""Small files written whole or not at all."""

import contextlib
import os
import secrets
from pathlib import Path

from mien.types import MienError


def write_whole(path: Path, content: bytes) -> None:
    """Put ``content`` under ``path`` in one step: a reader, or a kill, sees the old file or the new one.

    The content is first written, and flushed to the disk, under a hidden name in the same folder.

    Raises:
        MienError: The folder does not exist, is read-only or full.
    """
    hidden = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with hidden.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        hidden.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            hidden.unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise MienError(f"Cannot write {path}: {reason}. Check its folder and the disk.") from error


def read_small(path: Path, limit: int, what: str) -> bytes:
    """The bytes of a file of at most ``limit`` bytes.

    Raises:
        MienError: The file cannot be read or is larger, which for ``what`` means that it is something else.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(limit + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise MienError(f"Cannot read {path}: {reason}. Check the path to the {what}.") from error
    if len(content) > limit:
        raise MienError(f"{path} is larger than {limit >> 20} MiB, too large for a {what}. Check the path.")
    return content

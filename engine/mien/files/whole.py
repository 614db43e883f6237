"""Small files written whole or not at all."""

import os
from collections.abc import Iterable
from pathlib import Path

from blake3 import blake3

from mien.files.atomic import appearing
from mien.types import MienError

MOST_SHOWN = 1000
"""Letters of a path in a message at most."""
PIECE = 1 << 20
"""Bytes read at a time."""


def write_whole(path: Path, content: bytes) -> None:
    """Put ``content`` under ``path`` in one step: a reader, or a kill, sees the old file or the new one.

    Raises:
        MienError: The folder cannot be made or written, or the disk is full.
    """
    write_pieces(path, (content,))


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    """``write_whole`` of what is made piece by piece and need never lie in memory at once."""
    with appearing(path) as partial, partial.open("wb") as stream:
        for piece in pieces:
            stream.write(piece)
        stream.flush()
        os.fsync(stream.fileno())


def read_small(path: Path, limit: int, what: str) -> bytes:
    """The bytes of a file of at most ``limit`` bytes.

    Raises:
        MienError: The file cannot be read or is larger, which for ``what`` means that it is something else.
    """
    content = bytearray()
    # Names that stand in files may be of any length.
    shown = str(path)[:MOST_SHOWN]
    try:
        # A pipe or a device may never end.
        if path.exists() and not path.is_file() and not path.is_dir():
            raise MienError(f"{shown} is no file. Check the path to the {what}.")
        with path.open("rb") as stream:
            # Reading up to the limit at once would set that much memory aside, however small the file.
            while len(content) <= limit and (piece := stream.read(PIECE)):
                content += piece
    except (OSError, ValueError) as error:
        # A path with a null or half a letter in it is a ValueError.
        reason = getattr(error, "strerror", None) or str(error)[:200]
        raise MienError(f"Cannot read {shown}: {reason}. Check the path to the {what}.") from error
    if len(content) > limit:
        raise MienError(f"{shown} is larger than {limit >> 20} MiB, too large for a {what}. Check the path.")
    return bytes(content)


def content_hash(path: Path) -> str:
    """Hash of all of a file's bytes, of any length: 32 hexadecimal digits.

    A plate's frame is hashed whole, so this must cost less than reading its pixels: BLAKE3, some GiB a second.

    Raises:
        MienError: The file cannot be read.
    """
    hasher, piece = blake3(), memoryview(bytearray(PIECE))
    try:
        with path.open("rb", buffering=0) as stream:
            while count := stream.readinto(piece):
                hasher.update(piece[:count])
    except OSError as error:
        raise MienError(f"Cannot read {path}: {error.strerror}. Check the path.") from error
    return hasher.hexdigest(length=16)

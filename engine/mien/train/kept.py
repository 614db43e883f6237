"""What a training prepared once and keeps beside it: flat files of numbers, and a list of them that is written last."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from mien.files.atomic import appearing
from mien.files.whole import read_small
from mien.progress import Note, Tell
from mien.types import MienError

Kept = TypeVar("Kept")

LIST_LIMIT = 1 << 26
"""Bytes of the largest list that is read."""
MOST = 1 << 40
"""Numbers of one file at most."""


def write_list(path: Path, entries: Sequence[tuple[str, Sequence[int]]]) -> None:
    """Write a list of names and shapes.

    Raises:
        MienError: There is no room.
    """
    with appearing(path) as partial:
        partial.write_text(json.dumps([[name, list(shape)] for name, shape in entries]), "utf-8")


def read_list(path: Path, rank: int, ending: str, wide: int) -> list[tuple[str, tuple[int, ...], Path]]:
    """Names, shapes and files of a list, ``00000`` and so on beside it, of ``wide`` bytes a number.

    Raises:
        MienError: The list, or one of its files, is not whole.
    """
    again = f"Delete {path.parent} and start again."
    try:
        found = []
        for number, (name, shape) in enumerate(json.loads(read_small(path, LIST_LIMIT, "list of a training"))):
            if not isinstance(shape, list) or len(shape) != rank or not all(type(n) is int and n > 0 for n in shape):
                raise ValueError(f"{str(shape)[:40]} is no shape")
            if math.prod(shape) > MOST:
                raise ValueError(f"{str(shape)[:80]} is too large")
            found.append((str(name), tuple(shape), path.parent / f"{number:05d}{ending}"))
        if not found:
            raise ValueError("it is empty")
    except (ValueError, TypeError, RecursionError) as error:
        raise MienError(f"{path} is damaged: {str(error)[:120]}. {again}") from error
    for _, shape, file in found:
        if not file.is_file() or file.stat().st_size != wide * math.prod(shape):
            raise MienError(f"{file} is not whole. {again}")
    return found


def read_or_make(read: Callable[[], Kept], make: Callable[[], None], path: Path, tell: Tell) -> Kept:
    """What ``read`` gives; where the list at ``path`` or one of its files is missing or damaged, it is made again.

    Raises:
        MienError: It cannot be made.
    """
    if path.is_file():
        try:
            return read()
        except MienError as error:
            tell(Note(f"{str(error).partition(' Delete ')[0]} It is made again.", "warning"))
    path.parent.mkdir(exist_ok=True)
    make()
    return read()

"""Numbered files: the sequence that a file belongs to, which of its frames are there, and how ranges are said."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

NUMBER = re.compile(r"%0?(\d*)d|(#+)")
"""Where a pattern holds the frame's number: ``%04d``, ``%d`` or ``####``."""
DIGITS = re.compile(r"(\d+)(?=\D*$)")
"""The last number of a file's name."""
LONGEST = 12
"""Digits of the longest number of a frame."""
DIGITS_APART = re.compile(r"[._-]$")
"""What stands before the number of a frame, and not before that of a version or a scene."""


@dataclass(frozen=True)
class Frames:
    """Files on disk of one pattern.

    Attributes:
        pattern: Path with the number written ``%04d``; of a single file or a movie, its path.
        numbers: Frames that are there, in order; empty for a single file.
    """

    pattern: str
    numbers: tuple[int, ...] = ()

    @property
    def range(self) -> tuple[int, int] | None:
        """First and last frame; None where there are none."""
        return (self.numbers[0], self.numbers[-1]) if self.numbers else None

    @property
    def missing(self) -> tuple[int, ...]:
        """Frames between the first and the last that are not there."""
        there = set(self.numbers)
        return tuple(n for n in range(self.numbers[0], self.numbers[-1]) if n not in there) if there else ()


def file_at(pattern: str, frame: int) -> str:
    """The path of a frame; a pattern without a number is the path of all of them."""

    def number(match: re.Match[str]) -> str:
        width = len(match.group(2)) if match.group(2) else int(match.group(1) or 0)
        return ("-" if frame < 0 else "") + f"{abs(frame):0{max(width, 1)}d}"

    path = Path(pattern)
    return str(path.with_name(NUMBER.sub(number, path.name)))


def frames_of(path: str) -> Frames:
    """What is on disk of the sequence that ``path`` names: by a pattern, or by one of its files.

    A file belongs to a sequence if its name ends in a number that stands apart, as in ``plate.1001.exr``, and
    others differ in that number only; else it stands for itself.
    """
    folder, name = Path(path).parent, Path(path).name
    found = NUMBER.search(name)
    if found:
        digits = len(found.group(2)) if found.group(2) else int(found.group(1) or 0)
        head, tail = name[: found.start()], name[found.end() :]
        return Frames(_pattern(folder, head, digits, tail), _numbers(folder, head, digits, tail))
    stem, ending = Path(name).stem, Path(name).suffix
    digit = DIGITS.search(stem)
    if digit is None or not DIGITS_APART.search(stem[: digit.start()] or "_"):
        return Frames(path)
    head, tail = stem[: digit.start()], stem[digit.end() :] + ending
    width = len(digit.group(1)) if digit.group(1).startswith("0") or len(digit.group(1)) >= 4 else 0
    numbers = _numbers(folder, head, width, tail)
    if len(numbers) < 2:
        return Frames(path)
    return Frames(_pattern(folder, head, width, tail), numbers)


def _pattern(folder: Path, head: str, width: int, tail: str) -> str:
    return str(folder / (f"{head}%0{width}d{tail}" if width else f"{head}%d{tail}"))


def _numbers(folder: Path, head: str, width: int, tail: str) -> tuple[int, ...]:
    """Numbers of the files that a pattern matches: padded to a width, or longer where they need it."""
    found = set()
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
    except OSError:
        return ()
    for name in names:
        text = name[len(head) : len(name) - len(tail)]
        digits = text[1:] if text.startswith("-") else text
        if not (name.startswith(head) and name.endswith(tail) and digits.isascii() and digits.isdigit()):
            continue
        if len(digits) <= LONGEST and f"{int(digits):0{max(width, 1)}d}" == digits:
            found.add(int(text))
    return tuple(sorted(found))


def spoken(frames: Iterable[int], most: int = 6) -> str:
    """Frames in words: ``1001-1004, 1007``; at most so many ranges, then ``and 12 more``."""
    runs: list[list[int]] = []
    for frame in sorted(set(frames)):
        if runs and frame == runs[-1][1] + 1:
            runs[-1][1] = frame
        else:
            runs.append([frame, frame])
    said = [str(first) if first == last else f"{first}-{last}" for first, last in runs[:most]]
    rest = sum(last - first + 1 for first, last in runs[most:])
    return ", ".join(said) + (f" and {rest} more" if rest else "")


def parsed(text: str) -> tuple[int, ...]:
    """Frames from words, as ``spoken`` says them.

    Raises:
        ValueError: It is no list of frames and ranges.
    """
    frames: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = re.fullmatch(r"(-?\d+)(?:\s*-\s*(-?\d+))?", part)
        if found is None:
            raise ValueError(f"{part!r} are no frames: write 1001-1048, or 1001, 1005-1010.")
        first = int(found.group(1))
        last = first if found.group(2) is None else int(found.group(2))
        if last < first or last - first > 10**6:
            raise ValueError(f"{part!r}: the first frame comes first, and no range holds more than a million.")
        frames.update(range(first, last + 1))
    return tuple(sorted(frames))

"""How the frames of a shot are named on disk.

Public: ``Pattern``, ``pattern_of``, ``patterns_in``, ``parse_frames``.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mien.types import MienError

_PLACE = re.compile(r"%(?P<printf>0?\d*)d|(?P<hash>#+)|(?P<at>@+)")
_NUMBER = re.compile(r"(?P<prefix>.*?[._-])(?P<number>-?\d+)(?P<suffix>\.[^.\d][^.]*)", re.DOTALL)
_RANGE = re.compile(r"\s*(-?\d+)(?:\s*-\s*(-?\d+))?\s*")
_LONGEST = 12


@dataclass(frozen=True)
class Pattern:
    """Frame names: folder, text before the number, number of digits, text after it.

    ``digits`` is the least number of digits; longer numbers are written out, as hosts do.
    """

    folder: Path
    prefix: str
    digits: int
    suffix: str

    def path(self, frame: int) -> Path:
        """Where one frame lies."""
        sign = "-" if frame < 0 else ""
        return self.folder / f"{self.prefix}{sign}{abs(frame):0{self.digits}d}{self.suffix}"

    def frames(self) -> tuple[int, ...]:
        """Numbers of the frames that are on disk, in order."""
        name = re.compile(
            re.escape(self.prefix) + rf"(-?)(\d{{{max(self.digits, 1)},{_LONGEST}}})" + re.escape(self.suffix),
            re.DOTALL,
        )
        found = set()
        for entry in _entries(self.folder):
            match = name.fullmatch(entry)
            # 00042 is no frame of ####: the number would not lead back to the name.
            if match and (len(match[2]) == self.digits or not match[2].startswith("0") or match[2] == "0"):
                found.add(int(match[1] + match[2]))
        return tuple(sorted(found))

    def __str__(self) -> str:
        return str(self.folder / f"{self.prefix}%0{self.digits}d{self.suffix}")


def _entries(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise MienError(f"Cannot look into {folder}: {error.strerror}. Check the path.") from error


def pattern_of(path: Path) -> Pattern | None:
    """The pattern that a path spells with ``####``, ``%04d`` or ``@@@``; None without such a place.

    Raises:
        MienError: The place for the number is not in the file's name, or there are several.
    """
    if _PLACE.search(str(path.parent)):
        raise MienError(f"{path}: the frame number must be in the file's name, not in its folder's.")
    places = list(_PLACE.finditer(path.name))
    if not places:
        return None
    if len(places) > 1:
        raise MienError(f"{path}: there are {len(places)} places for a frame number. Leave one.")
    place = places[0]
    digits = len(place["hash"] or place["at"] or "") or int(place["printf"] or 1)
    if digits > _LONGEST:
        raise MienError(f"{path}: {digits} digits are too many for a frame number.")
    return Pattern(path.parent, path.name[: place.start()], digits, path.name[place.end() :])


def frame_number(path: Path) -> int | None:
    """The frame number that a file's name carries before its ending (``plate.0042.exr``), if any."""
    match = _NUMBER.fullmatch(path.name)
    return int(match["number"]) if match and len(match["number"]) <= _LONGEST else None


def patterns_in(folder: Path, endings: Iterable[str]) -> list[Pattern]:
    """The sequences in a folder whose files have one of the endings (``.exr``), by name.

    Numbers written with leading zeros give the digits; numbers without have as many digits as come.
    """
    endings = frozenset(endings)
    widths: dict[tuple[str, str], set[int]] = {}
    for name in _entries(folder):
        match = _NUMBER.fullmatch(name)
        if match and not name.startswith(".") and match["suffix"].lower() in endings:
            widths.setdefault((match["prefix"], match["suffix"]), set()).add(len(match["number"].lstrip("-")))
    return [Pattern(folder, prefix, min(found), suffix) for (prefix, suffix), found in sorted(widths.items())]


def parse_frames(text: str) -> tuple[int, int]:
    """First and last frame of ``1001-1100`` or ``1042``.

    Raises:
        MienError: The text says no range.
    """
    match = _RANGE.fullmatch(text)
    if match is None:
        raise MienError(f"{text!r} is no frame range. Write FIRST-LAST, as in 1001-1100.")
    first = int(match[1])
    last = int(match[2]) if match[2] is not None else first
    if last < first:
        raise MienError(f"The frame range {text} ends before it begins. Write FIRST-LAST.")
    return first, last

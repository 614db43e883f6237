"""Finding the rushes of a cut below a folder: by name, and where several bear it, by timecode.

Public: ``Rushes``, ``survey``, ``find``.
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from mien.files.sequence import patterns_in
from mien.files.shot import MOVIES, STILLS, Shot, open_shot
from mien.files.timecode import frames_of, timecode_of
from mien.timeline import Event
from mien.types import MienError

MOST = 100_000
"""Sequences and movies below a media folder at most."""
RATES_APART = 0.002
"""Share by which frame rates may differ: 23.976 is called 24."""


@dataclass(frozen=True)
class Rushes:
    """What lies below a media folder: names in small letters, and paths or patterns."""

    folder: Path
    named: tuple[tuple[str, Path], ...]


@dataclass(frozen=True)
class Found:
    """Rushes of a shot.

    Attributes:
        shot: Open, all of it.
        path: As it is opened.
        first, last: What the cut needs, as plate frames.
        offset: To be added to a plate frame for its time in frames.
    """

    shot: Shot
    path: Path
    first: int
    last: int
    offset: int


def survey(folder: Path) -> Rushes:
    """Every sequence and movie below a folder; links to folders are not followed.

    Raises:
        MienError: There is no such folder, or far too much in it.
    """
    if not folder.is_dir():
        raise MienError(f"There is no media folder {folder}. Name it with --media.")
    named: list[tuple[str, Path]] = []
    for text, inner, files in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        place = Path(text)
        for name in sorted(files):
            if Path(name).suffix.lower() in MOVIES and not name.startswith("."):
                named.append((Path(name).stem.lower(), place / name))
        for pattern in patterns_in(place, STILLS):
            path = Path(str(pattern))
            named.append((pattern.prefix.strip("._- ").lower(), path))
            named.append((place.name.lower(), path))
        if len(named) > MOST:
            raise MienError(f"{folder} holds more than {MOST} rushes. Name a folder nearer to them with --media.")
    return Rushes(folder, tuple(dict.fromkeys(named)))


def find(event: Event, rushes: Rushes | None) -> Found:
    """The rushes that show all that a shot needs.

    Raises:
        MienError: None do, or several do; the message names them.
    """
    candidates = [event.media] if event.media is not None else []
    if not candidates and rushes is not None:
        candidates = list(_alike(event.calls, rushes))
    if not candidates:
        called = " or ".join(dict.fromkeys(event.calls)) or "it has no name"
        where = "" if rushes is None else f" below {rushes.folder}"
        raise MienError(f"{event.name}: there are no rushes{where} ({called}). Name their folder with --media.")
    fitting: list[Found] = []
    reasons: list[str] = []
    for path in candidates:
        try:
            shot = open_shot(path)
            found = _placed(event, shot, path)
        except MienError as error:
            reasons.append(str(error))
            continue
        if shot.first <= found.first and found.last <= shot.last:
            fitting.append(found)
        else:
            begin, end = (timecode_of(frame + found.offset, event.rate, False) for frame in (shot.first, shot.last))
            reasons.append(f"{path} has {begin} to {end}.")
    if len(fitting) > 1:
        names = ", ".join(str(found.path) for found in fitting[:4])
        raise MienError(f"{event.name}: {len(fitting)} rushes show {event.span}: {names}. Name one, or leave one.")
    if not fitting:
        raise MienError(f"{event.name}: no rushes show {event.span}. {' '.join(reasons[:4])}")
    return fitting[0]


def _alike(calls: Sequence[str], rushes: Rushes) -> Iterable[Path]:
    """Rushes whose names are what the clip is called, else those whose names begin with it."""
    for call in calls:
        for wanted in dict.fromkeys((call.lower(), Path(call).stem.lower())):
            same = [path for name, path in rushes.named if name == wanted]
            if same:
                return dict.fromkeys(same)
            begun = re.compile(re.escape(wanted) + r"(?![a-z0-9])")
            longer = [path for name, path in rushes.named if begun.match(name)]
            if longer:
                return dict.fromkeys(longer)
    return ()


def _placed(event: Event, shot: Shot, path: Path) -> Found:
    """Where the times of a cut lie in rushes: by their timecode, by what the edit says, by their numbers."""
    if shot.fps is not None and abs(float(shot.fps / event.rate) - 1) > RATES_APART:
        raise MienError(f"{path} plays {float(shot.fps):g} frames a second, the cut {float(event.rate):g}.")
    if event.media is not None and event.start is not None:
        offset = event.start - shot.first
    elif shot.timecode is not None:
        offset = frames_of(shot.timecode, shot.fps or Fraction(event.rate)) - shot.first
    elif shot.first <= event.first <= event.last <= shot.last:
        offset = 0
    else:
        raise MienError(f"{path} has no timecode, and no frames {event.first} to {event.last}.")
    return Found(shot, path, event.first - offset, event.last - offset, offset)

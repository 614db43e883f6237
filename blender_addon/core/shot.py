# SPDX-License-Identifier: GPL-3.0-or-later
"""A shot as plain data: where its files are, whether it can be worked on, and its recipe."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..mien.hosts import frames, recipes

ROLES = ("raw", "face", "matte")
"""Sequences that a host reads, in the order in which they are written."""
MOVIES = (".mov", ".mp4", ".mkv", ".avi", ".mxf", ".m4v", ".webm")


class ShotError(Exception):
    """Something is missing; the message says what and what to do."""


@dataclass(frozen=True)
class Shot:
    """What the sidebar holds, all paths absolute.

    Attributes:
        name: What files of the shot are called.
        plate: Pattern, or one file of it.
        first, last: Range; both 0 for what is on disk.
        folder: Where everything of the shot goes.
        take: Number of the conversion, counted up to keep an older one beside it.
        track, identity, face, roto, colorspace, part, ocio: As recipes have them; empty for none.
        pixels: ``half`` or ``float``.
    """

    name: str
    plate: str
    first: int = 0
    last: int = 0
    folder: str = ""
    take: int = 1
    track: str = ""
    identity: str = ""
    face: str = ""
    roto: str = ""
    colorspace: str = ""
    part: str = ""
    ocio: str = ""
    pixels: str = "half"

    @property
    def take_folder(self) -> Path:
        """Where this conversion goes."""
        return Path(self.folder) / f"v{self.take:03d}"

    @property
    def recipe_file(self) -> Path:
        """The recipe of the last conversion."""
        return self.take_folder / f"{self.name}.recipe.json"

    @property
    def track_file(self) -> str:
        """The track that is used: the one that was chosen, else the shot's own."""
        return self.track or str(Path(self.folder) / f"{self.name}.track.json")

    @property
    def curves_file(self) -> Path:
        """The solved color move."""
        return self.take_folder / f"{self.name}.match_color.json"

    def sequence(self, role: str) -> str:
        """Pattern of one of the sequences that the engine writes for hosts."""
        return str(self.take_folder / "host" / f"{self.name}_{role}.%04d.exr")


def named(text: str) -> str:
    """A name of files from the name of a scene."""
    return re.sub(r"[^\w.-]+", "_", text).strip("._") or "shot"


def found(plate: str) -> frames.Frames:
    """The plate's frames on disk.

    Raises:
        ShotError: No plate is named, or there is none.
    """
    if not plate:
        raise ShotError("Choose the plate first: one of its frames, or a movie.")
    there = frames.frames_of(plate)
    if not there.numbers and not Path(plate).is_file():
        raise ShotError(f"There is no plate {plate}. Check its name and that the disk is mounted.")
    return there


def range_of(shot: Shot, there: frames.Frames) -> tuple[int, int]:
    """The shot's range: as it is set, else as its files are numbered.

    Raises:
        ShotError: Neither says.
    """
    if shot.first or shot.last:
        if shot.last < shot.first:
            raise ShotError(f"The range {shot.first}-{shot.last} ends before it begins.")
        if there.range is not None and (shot.last < there.range[0] or there.range[1] < shot.first):
            raise ShotError(
                f"The plate has frames {frames.spoken(there.numbers)}, none of {shot.first}-{shot.last}: set First and "
                "Last, or both to 0."
            )
        return shot.first, shot.last
    if there.range is None:
        raise ShotError("Set the range of the shot: its first and last frame.")
    return there.range


def ready(shot: Shot) -> tuple[str, tuple[int, int]]:
    """The plate's pattern and the range of a shot that can be converted.

    Raises:
        ShotError: Something is missing.
    """
    there = found(shot.plate)
    first_last = range_of(shot, there)
    if not Path(shot.track_file).is_file():
        raise ShotError(f"There is no track {shot.track_file}. Press Track, or choose a track file.")
    if not shot.identity:
        raise ShotError("Choose an identity, or make one of photographs.")
    if not Path(shot.identity).is_file():
        raise ShotError(f"There is no identity {shot.identity}. Choose another file.")
    return there.pattern, first_last


def recipe(shot: Shot, chain: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe of a shot.

    Raises:
        ShotError: Something is missing.
    """
    pattern, (first, last) = ready(shot)
    steps = recipes.changed(chain, settings)
    if shot.roto:
        steps = recipes.changed(steps, {"hold_out.file": shot.roto})
    output: dict[str, Any] = {"write": ["host"]}
    if shot.pixels != "half":
        output["pixels"] = shot.pixels
    return recipes.document(
        plate=pattern,
        first=first,
        last=last,
        steps=steps,
        track=shot.track_file,
        identity=shot.identity,
        folder=str(shot.take_folder),
        name=shot.name,
        face=shot.face or None,
        colorspace=shot.colorspace or None,
        part=shot.part or None,
        ocio=shot.ocio or None,
        **output,
    )


def missing(shot: Shot, first: int, last: int) -> list[int]:
    """Frames whose files are not all there; one look at the folder."""
    patterns = [Path(shot.sequence(role)) for role in ROLES]
    try:
        there = {path.name for path in patterns[0].parent.iterdir()}
    except OSError:
        there = set()
    return [frame for frame in range(first, last + 1) if any(path.name % frame not in there for path in patterns)]

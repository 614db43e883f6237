"""Tracks as a table: comma-separated values, one line for each point in each frame.

Columns: ``person``, ``frame``, ``scheme`` (``mesh`` or ``ibug68``), ``point`` (its number in the scheme), ``x``,
``y`` and ``z`` in plate pixels (x right, y down, from the outer corner of the top-left pixel), ``weight`` of the
point and ``confidence`` of the face (both 0 to 1), ``keyed`` (1 where placed by hand). A frame without lines is a
frame without the face. Reading needs ``frame``, ``point``, ``x`` and ``y``; the rest has the obvious defaults.
"""

import csv
import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from mien.files.tracks import MOST_FRAMES, MOST_PEOPLE, POINTS
from mien.files.whole import read_small
from mien.types import FaceTrack, MienError

COLUMNS = ("person", "frame", "scheme", "point", "x", "y", "z", "weight", "confidence", "keyed")
NEEDED = ("frame", "point", "x", "y")
LARGEST = 512 << 20


def table(tracks: Iterable[FaceTrack]) -> str:
    """The table of all frames in which the people are seen."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for track in tracks:
        for row in torch.nonzero(track.confidence > 0).flatten().tolist():
            confidence, keyed = f"{float(track.confidence[row]):.6g}", int(track.keyed[row])
            spots, weights = track.points[row].tolist(), track.weight[row].tolist()
            for point, ((x, y, z), weight) in enumerate(zip(spots, weights)):
                start = (track.name, track.first + row, track.scheme, point)
                writer.writerow((*start, f"{x:.4f}", f"{y:.4f}", f"{z:.4f}", f"{weight:.6g}", confidence, keyed))
    return stream.getvalue()


def read_table(path: Path, aspect: float = 1.0) -> tuple[FaceTrack, ...]:
    """People from a table.

    Points that a frame leaves out are lost there: their weight is 0, and their place is carried over from the
    frame's other points as far as the nearest frame that has them tells.

    Raises:
        MienError: The file is no such table; the message names the line.
    """
    try:
        text = read_small(path, LARGEST, "table").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MienError(f"{path} is no table: it is not text. Export it as CSV in UTF-8.") from error
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    try:
        names = [name.strip().lower() for name in reader.fieldnames or ()]
    except csv.Error as error:
        raise MienError(f"{path}, in its first line: {error}. Export it again as CSV.") from error
    reader.fieldnames = names
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise MienError(f"{path} has no column {missing[0]!r}. The first line must name {', '.join(NEEDED)}.")
    gathered: dict[str, _Person] = {}
    try:
        for number, line in enumerate(reader, 2):
            _gather(gathered, path, number, line)
    except csv.Error as error:
        raise MienError(f"{path}, near line {reader.line_num}: {error}. Export it again as CSV.") from error
    if not gathered:
        raise MienError(f"{path} holds no points. Export it again.")
    return tuple(_track(path, name, person, aspect) for name, person in gathered.items())


@dataclass
class _Person:
    scheme: str | None
    spots: dict[int, dict[int, tuple[float, float, float, float]]] = field(default_factory=dict)
    confidence: dict[int, float] = field(default_factory=dict)
    keyed: set[int] = field(default_factory=set)


def _gather(gathered: dict[str, _Person], path: Path, number: int, line: dict[str, str | None]) -> None:
    def value(column: str, default: float) -> float:
        text = (line.get(column) or "").strip()
        try:
            result = float(text) if text else default
        except ValueError:
            result = math.nan
        if not math.isfinite(result) or abs(result) > 1e9:
            raise MienError(f"{path}, line {number}: {column} is {text[:40]!r}, which is no number. Mend the line.")
        return result

    person, scheme = (line.get("person") or "face").strip(), (line.get("scheme") or "").strip() or None
    if scheme is not None and scheme not in POINTS:
        raise MienError(f"{path}, line {number}: scheme {scheme[:40]!r} is not known. Use {' or '.join(POINTS)}.")
    if person not in gathered and len(gathered) >= MOST_PEOPLE:
        raise MienError(f"{path}, line {number}: more than {MOST_PEOPLE} people. Check the column person.")
    entry = gathered.setdefault(person, _Person(scheme))
    frame, point = value("frame", math.nan), value("point", math.nan)
    limit = POINTS[entry.scheme] if entry.scheme else max(POINTS.values())
    if frame != int(frame) or point != int(point) or not 0 <= point < limit or scheme != entry.scheme:
        raise MienError(f"{path}, line {number}: no point {point:g} of {scheme or 'any scheme'} in frame {frame:g}.")
    spot = value("x", math.nan), value("y", math.nan), value("z", 0.0), min(max(value("weight", 1.0), 0.0), 1.0)
    entry.spots.setdefault(int(frame), {})[int(point)] = spot
    entry.confidence[int(frame)] = min(max(value("confidence", 1.0), 0.0), 1.0)
    if value("keyed", 0.0):
        entry.keyed.add(int(frame))


def _track(path: Path, name: str, person: _Person, aspect: float) -> FaceTrack:
    most = 1 + max(max(spots) for spots in person.spots.values())
    scheme = person.scheme or min((each for each in POINTS if POINTS[each] >= most), key=POINTS.__getitem__)
    first, last = min(person.spots), max(person.spots)
    if last - first >= MOST_FRAMES:
        raise MienError(f"{path}: {name} is seen from frame {first} to {last}, too long. Check the column frame.")
    rows = torch.full((last - first + 1, POINTS[scheme], 4), torch.nan)
    for frame, spots in person.spots.items():
        rows[frame - first, list(spots)] = torch.tensor(list(spots.values()))
    for row, filled in _completed(path, name, rows, first):
        rows[row] = filled
    confidence, keyed = torch.zeros(len(rows)), torch.zeros(len(rows), dtype=torch.bool)
    for frame in person.spots:
        confidence[frame - first] = person.confidence[frame]
        keyed[frame - first] = frame in person.keyed
    weight = rows[..., 3].nan_to_num(0.0)
    return FaceTrack(name, first, rows[..., :3].contiguous(), weight, confidence, keyed, scheme, aspect)


def _completed(path: Path, name: str, rows: torch.Tensor, first: int) -> Iterator[tuple[int, torch.Tensor]]:
    """Rows of frames that have some points but not all, with the others taken from the nearest whole frame."""
    there = torch.isfinite(rows[..., 0])
    whole = torch.nonzero(there.all(1)).flatten()
    for row in torch.nonzero(there.any(1) & ~there.all(1)).flatten().tolist():
        if not len(whole):
            raise MienError(
                f"{path}: no frame of {name} has all {rows.shape[1]} points; frame {first + row} has "
                f"{int(there[row].sum())}. Give whole faces, or place them as keys."
            )
        model = rows[int(whole[(whole - row).abs().argmin()])]
        shift = (rows[row, there[row], :3] - model[there[row], :3]).mean(0)
        guess = torch.cat((model[:, :3] + shift, torch.zeros(len(model), 1)), 1)
        yield row, torch.where(there[row][:, None], rows[row], guess)

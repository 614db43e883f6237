"""What is worth knowing of a track: for people as text with small plots, for programs as plain data."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text
from torch import Tensor

from mien import mesh
from mien.files.tracks import TrackedPlate, TrackFile
from mien.progress import ranges
from mien.tracking import face_widths, lost
from mien.types import FaceTrack

BLOCKS = "▁▂▃▄▅▆▇█"
NARROWEST, WIDEST = 16, 96
"""Columns of a plot."""
NOISE_GAIN = math.sqrt(20)
"""What a third difference makes of white noise of standard deviation 1."""


@dataclass(frozen=True)
class PersonFacts:
    """What is worth knowing of one person; all rows run over the plate's frames, NaN where the face is lost.

    Attributes:
        track: The track, over the frames of the plate.
        lost: Ranges of frames without the face, both ends included.
        keyed: Frames placed by hand.
        confidence: (F,) trust in the face.
        width: (F,) plate pixels along x.
        jitter: (F,) how far a point typically trembles within the face, in plate pixels.
        angles: (F, 3) yaw, pitch and roll in degrees; None for schemes without depth.
        point_jitter: Standard deviation in plate pixels of what trembles within the face.
        shake: Standard deviation in plate pixels of what trembles of the face as a whole.
    """

    track: FaceTrack
    lost: tuple[tuple[int, int], ...]
    keyed: tuple[int, ...]
    confidence: Tensor
    width: Tensor
    jitter: Tensor
    angles: Tensor | None
    point_jitter: float
    shake: float


def person_facts(track: FaceTrack, plate: TrackedPlate) -> PersonFacts:
    """Measure one track over the frames of its plate.

    Jitter is what a cubic through four frames in a row cannot follow: the third difference, scaled so that
    independent errors of 1 pixel in x and in y give 1. Motion of the camera and of the head, being smooth, falls
    out. Medians keep single leaps from mattering. Points are measured in the frame of the face, so that the
    shake of all together counts only once, as shake.
    """
    whole = _over(track, plate.first, plate.last)
    seen = torch.isfinite(whole.points[:, 0, 0])
    square = whole.points * torch.tensor([track.aspect, 1.0, 1.0])
    flat, center = square[..., :2].double(), square[..., :2].double().mean(1, keepdim=True)
    tremble = _third_difference(_in_face_frame(flat))
    middle = _third_difference(center)
    angles = None
    if track.scheme == "mesh":
        angles = torch.full((len(square), 3), torch.nan)
        pose = mesh.pose_of(square[seen])
        angles[seen] = torch.stack((pose.yaw, pose.pitch, pose.roll), -1)
    return PersonFacts(
        track=whole,
        lost=lost(whole),
        keyed=tuple((torch.nonzero(whole.keyed).flatten() + plate.first).tolist()),
        confidence=torch.where(seen, whole.confidence, torch.nan),
        width=face_widths(whole),
        jitter=_typical(tremble.abs().flatten(1)),
        angles=angles,
        point_jitter=_spread(tremble),
        shake=_spread(middle),
    )


def track_report(file: TrackFile) -> dict[str, Any]:
    """A track as plain data; sizes in plate pixels, angles in degrees, None for what cannot be told."""
    plate = file.plate
    return {
        "digest": file.digest,
        "plate": {
            "path": plate.path,
            "width": plate.width,
            "height": plate.height,
            "first": plate.first,
            "last": plate.last,
            "aspect": plate.aspect,
            "rate": None if plate.rate is None else float(plate.rate),
        },
        "people": [_person_report(person_facts(track, plate)) for track in file.tracks],
    }


def print_tracks(file: TrackFile, console: Console) -> None:
    """Print a track as text as wide as the terminal."""
    console.print(shown(file, console.width), highlight=False)


def shown(file: TrackFile, columns: int = 80) -> RenderableType:
    """A track as text for a terminal of ``columns``: figures, and how they run over the shot."""
    plate = file.plate
    rate = "" if plate.rate is None else f", {float(plate.rate):g} fps"
    aspect = "" if plate.aspect == 1 else f", pixel aspect {plate.aspect:g}"
    parts: list[RenderableType] = [
        Text.assemble(("Track of ", ""), (plate.path, "bold")),
        Text(f"{plate.width} x {plate.height}{aspect}{rate}, frames {plate.first} to {plate.last}"),
    ]
    if not file.tracks:
        parts.append(Text("\nNobody was found.", style="red"))
    for track in file.tracks:
        parts.append(_shown_person(person_facts(track, plate), columns))
    return Group(*parts)


def bars(values: Tensor, columns: int, *, lowest: float, highest: float, empty: str = "·") -> str:
    """One line of block characters: the values (F,), averaged where several share a column; NaN is ``empty``."""
    count = len(values)
    width = min(columns, count)
    line = ""
    for column in range(width):
        share = values[column * count // width : max((column + 1) * count // width, column * count // width + 1)]
        known = share[torch.isfinite(share)]
        if not len(known):
            line += empty
            continue
        level = (float(known.mean()) - lowest) / max(highest - lowest, 1e-9)
        line += BLOCKS[min(max(int(level * len(BLOCKS)), 0), len(BLOCKS) - 1)]
    return line


def _over(track: FaceTrack, first: int, last: int) -> FaceTrack:
    """The track with exactly one row for each frame of the plate; lost rows hold NaN and 0."""
    frames, count = last - first + 1, track.points.shape[1]
    points, weight = torch.full((frames, count, 3), torch.nan), torch.zeros(frames, count)
    confidence, keyed = torch.zeros(frames), torch.zeros(frames, dtype=torch.bool)
    low, high = max(first, track.first), min(last, track.last)
    if low <= high:
        here, there = slice(low - first, high - first + 1), slice(low - track.first, high - track.first + 1)
        seen = (track.confidence[there] > 0) & torch.isfinite(track.points[there]).flatten(1).all(1)
        points[here] = torch.where(seen[:, None, None], track.points[there], torch.nan)
        weight[here] = torch.where(seen[:, None], track.weight[there], 0)
        confidence[here] = torch.where(seen, track.confidence[there], 0)
        keyed[here] = track.keyed[there]
    return replace(track, first=first, points=points, weight=weight, confidence=confidence, keyed=keyed)


def _in_face_frame(points: Tensor) -> Tensor:
    """Points (F, N, 2) with the motion of the whole removed: moved, turned and scaled onto their mean shape.

    The result keeps the size that the face has on average, so that it still counts in plate pixels.
    """
    offset = points - points.mean(1, keepdim=True)
    size = offset.square().sum(-1).mean(1).sqrt()
    seen = torch.isfinite(size)
    if not seen.any():
        return offset
    complex_points = torch.view_as_complex(offset.contiguous())
    model = complex_points[seen][0] / size[seen][0]
    for _ in range(3):
        onto = (complex_points.conj() * model).sum(1) / complex_points.abs().square().sum(1)
        aligned = complex_points * onto[:, None]
        model = aligned[seen].mean(0)
        model = model / model.abs().square().mean().sqrt()
    return torch.view_as_real(aligned * size[seen].median())


def _third_difference(values: Tensor) -> Tensor:
    """(F - 3, ...) third differences, scaled to the standard deviation of independent errors."""
    return values.diff(n=3, dim=0) / NOISE_GAIN if len(values) > 3 else values[:0]


def _spread(values: Tensor) -> float:
    """Standard deviation, from the median, of what is finite; NaN of nothing."""
    known = values[torch.isfinite(values)]
    return 1.4826 * float(known.abs().median()) if len(known) else math.nan


def _typical(values: Tensor) -> Tensor:
    """(F,) standard deviation in each frame from (F - 3, K) third differences."""
    middle = 1.4826 * values.median(1).values.float() if len(values) else torch.zeros(0)
    return torch.cat((torch.full((2,), torch.nan), middle, torch.full((1,), torch.nan)))


def _person_report(facts: PersonFacts) -> dict[str, Any]:
    track = facts.track
    seen = torch.isfinite(facts.confidence)
    return {
        "name": track.name,
        "ignored": track.ignored,
        "scheme": track.scheme,
        "frames": len(seen),
        "seen": int(seen.sum()),
        "coverage": round(float(seen.float().mean()), 4),
        "confidence": _range(facts.confidence, 3),
        "lost": [list(ends) for ends in facts.lost],
        "keyed": list(facts.keyed),
        "width": _range(facts.width, 1),
        "jitter": _finite(facts.point_jitter, 3),
        "shake": _finite(facts.shake, 3),
        **{
            name: None if facts.angles is None else _range(facts.angles[:, index], 1)
            for index, name in enumerate(("yaw", "pitch", "roll"))
        },
    }


def _finite(value: float, digits: int) -> float | None:
    return round(value, digits) if math.isfinite(value) else None


def _range(values: Tensor, digits: int) -> dict[str, float] | None:
    known = values[torch.isfinite(values)]
    if not len(known):
        return None
    ends = {"lowest": known.min(), "median": known.median(), "highest": known.max()}
    return {name: round(float(value), digits) for name, value in ends.items()}


def _shown_person(facts: PersonFacts, columns: int) -> RenderableType:
    track, told = facts.track, _person_report(facts)
    ignored = "  ignored" if track.ignored else ""
    head = Text.assemble(
        "\n", (track.name, "bold"), f"  {track.scheme}{ignored}  seen in {told['seen']} of {told['frames']} frames",
        f" ({100 * told['coverage']:.1f} %)",
    )  # fmt: skip
    parts: list[RenderableType] = [head]
    if told["seen"]:
        parts.append(_plots(facts, told, min(max(columns - 36, NARROWEST), WIDEST)))
    if facts.lost:
        gone = [frame for first, last in facts.lost for frame in range(first, last + 1)]
        parts.append(Text(f"lost in {ranges(gone)}", style="red"))
    if facts.keyed:
        parts.append(Text(f"placed by hand on {ranges(facts.keyed)}"))
    return Group(*parts)


def _plots(facts: PersonFacts, told: dict[str, Any], columns: int) -> Table:
    grid = Table.grid(padding=(0, 2))
    rows: list[tuple[str, Tensor, float, float, str]] = [
        ("confidence", facts.confidence, 0.0, 1.0, _span(told["confidence"], "")),
        ("width", facts.width, 0.0, _highest(facts.width), _span(told["width"], " px")),
        ("jitter", facts.jitter, 0.0, max(0.5, _highest(facts.jitter)), _pixels(told["jitter"])),
    ]
    if facts.angles is not None:
        reach = max(45.0, _highest(facts.angles[:, 0].abs()))
        rows.append(("yaw", facts.angles[:, 0], -reach, reach, _span(told["yaw"], "°")))
    for name, values, lowest, highest, words in rows:
        grid.add_row(name, Text(bars(values, columns, lowest=lowest, highest=highest), style="cyan"), words)
    width = min(columns, len(facts.confidence))
    first, last = str(facts.track.first), str(facts.track.last)
    axis = f"{first}{last:>{max(width - len(first), len(last) + 1)}}" if width > len(first) + len(last) else first
    grid.add_row("", Text(axis, style="dim"), f"shakes by {_pixels(told['shake'])}")
    return grid


def _highest(values: Tensor) -> float:
    known = values[torch.isfinite(values)]
    return float(known.max()) if len(known) else 1.0


def _span(ends: dict[str, float] | None, unit: str) -> str:
    return "" if ends is None else f"{ends['lowest']:g} to {ends['highest']:g}{unit}"


def _pixels(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f} px"

"""Cuts: the shots of an edit, what of their rushes they need, and the edit again with the results in their place.

OpenTimelineIO reads and writes the files; it is part of ``mien[farm]``.
"""

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlparse

from mien.files.edits import edit_text
from mien.files.timecode import timecode_of
from mien.files.whole import write_whole
from mien.recipe import plain_name
from mien.types import MienError

ENDINGS = (".otio", ".otioz", ".otiod", ".edl")
OWN = "mien"
"""Name of our entry in a clip's metadata."""
KEPT = "plate"
"""Under which key the media that an edit had before stays in the new one."""
LONGEST = 80
"""Letters of a shot's name: files are called after it, with numbers and endings."""
FARTHEST = 1e9
"""Frames from 00:00:00:00 that no rushes have."""
NEAR = 1e-6
"""Frames by which rounding may miss."""
DIGITS = 4


@dataclass(frozen=True)
class Event:
    """One shot of a cut.

    Attributes:
        name: What its results are called.
        clip: OpenTimelineIO's clip.
        calls: What its rushes may be called, the likeliest first.
        first, last: What it needs of its rushes, in frames since 00:00:00:00, dissolves and retimes included.
        rate: Frames per second of these numbers.
        media: File that the edit names, if it is on disk.
        start: Time of that file's first frame as the edit has it, in frames; None where it does not say.
        told: What the clip's metadata say to us.
    """

    name: str
    clip: Any = field(repr=False)
    calls: tuple[str, ...]
    first: int
    last: int
    rate: Fraction
    media: Path | None = None
    start: int | None = None
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def span(self) -> str:
        """First and last timecode, for people."""
        return f"{timecode_of(self.first, self.rate, False)} to {timecode_of(self.last, self.rate, False)}"


def is_timeline(path: str) -> bool:
    """Whether a path names an edit rather than a plate."""
    return Path(path).suffix.lower() in ENDINGS


def library() -> ModuleType:
    """OpenTimelineIO.

    Raises:
        MienError: It is not installed.
    """
    try:
        import opentimelineio
    except ImportError as error:
        raise MienError("Edits need OpenTimelineIO: pip install mien[farm].") from error
    module: ModuleType = opentimelineio
    return module


def read_timeline(path: Path, rate: float) -> Any:
    """An edit as OpenTimelineIO has it; ``rate`` is that of an .edl, which does not say.

    Raises:
        MienError: It is missing, damaged, or of a kind that cannot be read here.
    """
    otio = library()
    text = edit_text(path)
    try:
        if path.suffix.lower() == ".edl":
            timeline = otio.adapters.read_from_string(text, "cmx_3600", rate=exact_rate(rate))
        else:
            timeline = otio.adapters.read_from_string(text, "otio_json")
    except Exception as error:
        said = " ".join(str(error).split())[:300].rstrip(".")
        rated = " Name its frame rate with --rate." if "rate" in said else ""
        raise MienError(f"{path} is no edit that can be read: {said}.{rated}") from error
    if not isinstance(timeline, otio.schema.Timeline):
        raise MienError(f"{path} holds a {type(timeline).__name__}, not a timeline. Export the timeline by itself.")
    if not isinstance(timeline.tracks, otio.schema.Stack):
        raise MienError(f"{path} is a timeline without tracks. Export it again.")
    return timeline


def exact_rate(rate: float) -> float:
    """Frames per second as they are, of 23.976, 29.97 or 59.94 as people write them."""
    exact = round(rate * 1.001) * 1000 / 1001
    return exact if abs(rate - exact) < 0.005 else rate


def events(timeline: Any, folder: Path) -> tuple[Event, ...]:
    """The shots of an edit's picture tracks in order, without sounds, bars, titles, and clips that are switched off.

    Args:
        timeline: From ``read_timeline``.
        folder: Where relative paths in it begin.

    Raises:
        MienError: A clip has no range, or is retimed in a way that frames cannot follow.
    """
    found: list[Event] = []
    names: set[str] = set()
    for row, track in enumerate(timeline.video_tracks()):
        for number, clip in enumerate(track.find_clips(), start=1):
            where = f"Clip {number} of track {row + 1}"
            if getattr(clip, "enabled", True) and _filmed(clip):
                event = _event(clip, where, f"{'v' + str(row + 1) + '_' if row else ''}sh{10 * number:04d}", folder)
                if event is None:
                    continue
                if event.name.lower() in names:
                    raise MienError(f"Two shots are called {event.name!r}. Give each a name of its own.")
                names.add(event.name.lower())
                found.append(event)
    return tuple(found)


def _filmed(clip: Any) -> bool:
    """Whether a clip shows rushes: sound may lie in a nested stack, and what an edit generates lies nowhere."""
    schema = library().schema
    inner = clip.parent()
    sound = isinstance(inner, schema.Track) and inner.kind == schema.TrackKind.Audio
    return not sound and not isinstance(clip.media_reference, schema.GeneratorReference)


def _shown(clip: Any, trimmed: Any) -> tuple[float, float]:
    """First and past-the-last frame that the cut shows of a clip's trimmed range, from its start.

    Stacks and tracks around a clip may show a part of what they hold, or nothing of it.
    """
    rate, low, high, begin = trimmed.start_time.rate, 0.0, float(trimmed.duration.value), 0.0
    item = clip
    while (around := item.parent()) is not None:
        begin += item.range_in_parent().start_time.rescaled_to(rate).value
        if around.source_range is not None:
            start = around.source_range.start_time.rescaled_to(rate).value
            end = around.source_range.end_time_exclusive().rescaled_to(rate).value
            low, high, begin = max(low, start - begin), min(high, end - begin), begin - start
        item = around
    return low, high


def _event(clip: Any, where: str, number: str, folder: Path) -> Event | None:
    """What is rendered of a clip; None where the cut shows nothing of it."""
    told = clip.metadata.get(OWN, {})
    if not isinstance(told, Mapping):
        raise MienError(f"{where}: its metadata {OWN!r} are no object with names.")
    calls = tuple(dict.fromkeys(_calls(clip)))
    called = f"{where}, {calls[0]}," if calls else where
    try:
        trimmed = clip.trimmed_range()
    except Exception as error:
        raise MienError(f"{called} does not say which part of its media it shows. Give it a source range.") from error
    rate = Fraction(trimmed.start_time.rate).limit_denominator(1001)
    if rate <= 0 or trimmed.duration.value < 1 or trimmed.duration.rate != trimmed.start_time.rate:
        raise MienError(f"{called} shows no whole frame. Leave it out, or give it a source range.")
    speed = _speed(clip, called)
    before, after = _dissolves(clip)
    try:
        low, high = _shown(clip, trimmed)
    except Exception as error:
        raise MienError(f"{called} lies in a track or stack whose other parts have no length. Trim them.") from error
    if high <= low:
        return None
    start, length = trimmed.start_time.value + low * speed, high - low
    # A dissolve at an end that is cut away is not seen.
    before, after = (before if low == 0 else 0.0), (after if high == trimmed.duration.value else 0.0)
    if not (abs(start) + abs(length) * (1 + speed) + before * speed + after * speed < FARTHEST):
        raise MienError(f"{called} lies beyond any rushes. Check its source range and its retime.")
    first = math.floor(start - before * speed + NEAR)
    last = math.ceil(start + (length - 1 + after) * speed - NEAR)
    name = told.get("shot")
    shot = plain_name(str(name) if name else "_".join([number, *(Path(call).stem for call in calls[:1])]))[:LONGEST]
    media, begin = _media(clip, folder)
    return Event(shot, clip, calls, first, last, rate, media, begin, dict(told))


def _calls(clip: Any) -> Iterator[str]:
    """The clip's name, its media's, its reel; events of an .edl without a name are called by their number."""
    edl = clip.metadata.get("cmx_3600")
    reel = edl.get("reel") if hasattr(edl, "get") else None
    if reel and (not clip.name or clip.name.isdigit()):
        yield str(reel)
    for text in (clip.name, clip.media_reference.name if clip.media_reference is not None else ""):
        if text and text != "None":
            yield Path(text).name
    url = getattr(clip.media_reference, "target_url", None)
    if url:
        yield Path(_local(url)).name
    prefix = getattr(clip.media_reference, "name_prefix", None)
    if prefix:
        yield str(prefix).strip("._- ")
    if reel:
        yield str(reel)


def _speed(clip: Any, called: str) -> float:
    """How many frames of the media pass in one frame of the cut."""
    schema = library().schema
    speed, place = 1.0, clip
    while place is not None:
        for effect in getattr(place, "effects", ()):
            if isinstance(effect, schema.LinearTimeWarp) and place is clip:
                speed *= float(effect.time_scalar)
            elif isinstance(effect, schema.TimeEffect):
                kind = effect.effect_name or type(effect).__name__
                raise MienError(
                    f"{called} is retimed by {kind!r}, whose speed changes or which holds several clips. Bake the "
                    "retime into a plate, or cut the shot without it."
                )
        place = place.parent() if hasattr(place, "parent") else None
    if not 0 <= speed < math.inf:
        raise MienError(f"{called} is played backward. Cut the shot forward, and turn it around after the render.")
    return speed


def _dissolves(clip: Any) -> tuple[float, float]:
    """Frames that dissolves show of a clip before its range begins, and after it ends."""
    track = clip.parent()
    if track is None or not hasattr(track, "neighbors_of"):
        return 0.0, 0.0
    before, after = track.neighbors_of(clip)
    kind = library().schema.Transition
    return (
        before.in_offset.value if isinstance(before, kind) else 0.0,
        after.out_offset.value if isinstance(after, kind) else 0.0,
    )


def _media(clip: Any, folder: Path) -> tuple[Path | None, int | None]:
    """The file or pattern that the edit names, if it is there, and the time of its first frame."""
    reference = clip.media_reference
    url = getattr(reference, "target_url", None)
    path: Path | None = None
    if url:
        path = folder / _local(url)
        path = path if path.exists() else None
    elif getattr(reference, "target_url_base", None) is not None:
        digits = max(int(reference.frame_zero_padding), 1)
        base = folder / _local(reference.target_url_base)
        path = base / f"{reference.name_prefix}%0{digits}d{reference.name_suffix}"
        path = path if base.is_dir() and any(base.glob(f"{_literal(reference.name_prefix)}*")) else None
    known = None if reference is None else reference.available_range
    return path, None if known is None else round(known.start_time.value)


def _literal(text: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)


def _local(url: str) -> str:
    parts = urlparse(url)
    return unquote(parts.path) if parts.scheme == "file" else url


@dataclass(frozen=True)
class Result:
    """What was rendered of a shot.

    Attributes:
        path: A movie, or the pattern of a sequence.
        first, last: Frames that were rendered, as the files are numbered.
        start: Time of the first of them, in frames since 00:00:00:00.
        length: Frames of the movie or sequence.
    """

    path: Path
    first: int
    last: int
    start: int


def placed(timeline: Any, results: Mapping[str, tuple[Event, Result]]) -> Any:
    """The edit with every converted clip showing its result; its cut, retimes and dissolves stay as they are.

    What a clip showed before is kept beside, under the media key ``plate``.
    """
    schema, times = library().schema, library().opentime
    for event, result in results.values():
        rate = event.clip.trimmed_range().start_time.rate
        length = result.last - result.first + 1
        known = times.TimeRange(times.RationalTime(result.start, rate), times.RationalTime(length, rate))
        if "%" in result.path.name:
            prefix, _, suffix = result.path.name.partition(f"%0{DIGITS}d")
            new = schema.ImageSequenceReference(
                target_url_base=result.path.parent.as_uri() + "/",
                name_prefix=prefix,
                name_suffix=suffix,
                start_frame=result.first,
                frame_step=1,
                rate=rate,
                frame_zero_padding=DIGITS,
                available_range=known,
            )
        else:
            new = schema.ExternalReference(target_url=result.path.as_uri(), available_range=known)
        references = dict(event.clip.media_references())
        former = references.get(event.clip.active_media_reference_key, schema.MissingReference())
        key = schema.Clip.DEFAULT_MEDIA_KEY
        event.clip.set_media_references({**references, KEPT: former, key: new}, key)
        event.clip.metadata[OWN] = {**event.told, "shot": event.name}
    return timeline


def write_timeline(path: Path, timeline: Any) -> None:
    """Write an edit as .otio, whole or not at all.

    Raises:
        MienError: It cannot be written.
    """
    try:
        text = library().adapters.write_to_string(timeline, "otio_json")
    except (ValueError, TypeError) as error:
        raise MienError(f"{path} cannot be written: {' '.join(str(error).split())[:300]}.") from error
    write_whole(path, (text.rstrip() + os.linesep).encode())

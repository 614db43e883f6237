"""From what was measured of every frame to curves over the shot, and to frames that need another look."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from mien.progress import ranges
from mien.qc.shot import RenderedFrame, RenderedShot, at, origins

LUMINANCE = (0.2722287, 0.6740818, 0.0536895)
"""Of ACEScg; between linear working spaces the difference does not matter here."""
REACH = 3
"""Frames on either side that a frame is compared with."""
BAD, LOOK, NOTE = 3, 2, 1
"""How grave a flag is: the frame cannot be used; look at it; good to know."""
Line = tuple[float | None, ...]


@dataclass(frozen=True)
class Limits:
    """Beyond what a frame is flagged.

    Attributes:
        confidence: Least trust of the tracker.
        jitter: Most trembling of landmarks, in percent of the face's width.
        color: Most stops by which the color move differs from that of the frames around.
        matte: Most percent by which the matte's area differs from that of the frames around.
        sharpness: Most times that the face is sharper or softer than the plate's.
        grain: Most times that the face's grain is stronger or fainter than the plate's.
        flicker: Most percent by which the light of the face, over the plate's, differs from the frames around.
    """

    confidence: float = 0.5
    jitter: float = 1.0
    color: float = 0.12
    matte: float = 8.0
    sharpness: float = 1.8
    grain: float = 2.0
    flicker: float = 3.0


@dataclass(frozen=True)
class Curve:
    """A figure over the shot.

    Attributes:
        name, title, unit: What it is; the name is that of the limit and of the flags.
        help: What it says, in a sentence.
        values: One for each frame.
        low, high: Between these all is well; None for no limit.
    """

    name: str
    title: str
    unit: str
    help: str
    values: Line
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Flag:
    """Why a frame needs another look."""

    frame: int
    kind: str
    grave: int
    words: str
    by: str = "mien"


@dataclass(frozen=True)
class Judged:
    """A shot with its curves, and its flags, the gravest first."""

    shot: RenderedShot
    limits: Limits
    curves: tuple[Curve, ...]
    flags: tuple[Flag, ...]
    warnings: tuple[str, ...] = field(default=())


KINDS: Mapping[str, str] = {
    "missing": "a picture is missing",
    "damaged": "a file cannot be read",
    "unsound": "pixels that are no numbers",
    "mixed": "made otherwise than the other frames",
    "lost": "no face found",
    "unmeasured": "no proof of the render",
    "confidence": "the tracker is unsure",
    "jitter": "landmarks tremble",
    "color": "the color move jumps",
    "matte": "the matte jumps",
    "flicker": "the face flickers",
    "sharpness": "sharpness does not match",
    "grain": "grain does not match",
    "flagged": "flagged by a person",
}
"""What frames are flagged for, the gravest first."""


def judge(shot: RenderedShot, limits: Limits) -> Judged:
    """Curves and flags of a shot."""
    found = curves(shot, limits)
    flags = [
        *(flag for frame in shot.frames for flag in _file_flags(shot, frame)),
        *_mixed(shot),
        *(flag for curve in found for flag in _curve_flags(shot, curve, limits)),
        *(Flag(one.frame, "flagged", LOOK, one.words, one.by) for one in shot.said),
    ]
    order = list(KINDS)
    flags.sort(key=lambda flag: (-flag.grave, flag.frame, order.index(flag.kind)))
    warnings = [text for text in (shot.likeness.get("warning", ""), *shot.notes) if text]
    return Judged(shot, limits, found, tuple(flags), tuple(warnings))


def curves(shot: RenderedShot, limits: Limits) -> tuple[Curve, ...]:
    """Every figure over the shot."""
    person = shot.person
    trembling, trust = (None, None) if person is None else (person.jitter, person.confidence)
    tremble = _line(shot, lambda frame: _ratio(at(person, frame.frame, trembling), _width(shot, frame), 100.0))
    move = _line(shot, lambda frame: _stops(frame, "raw"))
    light = _line(shot, lambda frame: _stops(frame, "plate"))
    area = _line(shot, lambda frame: _ratio(_figure(frame, "area"), _width(shot, frame, 2.0), 1.0))
    matching = limits.sharpness, limits.grain
    sharp, grain = (tuple(_match(frame, name) for frame in shot.frames) for name in ("detail", "grain"))
    return (
        Curve("confidence", "Confidence", "", "Trust of the tracker in the face.",
              _line(shot, lambda frame: at(person, frame.frame, trust)),
              limits.confidence),
        Curve("jitter", "Landmark jitter", "% of face", "How far landmarks tremble, as no head moves.", tremble,
              None, limits.jitter),
        Curve("color", "Color move", "stops", "By how much the face was made brighter to match the plate.", move),
        Curve("matte", "Matte area", "face²", "Area of the matte over the square of the face's width.", area),
        Curve("sharpness", "Sharpness match", "× plate", "Edges of a few pixels: 1 is as sharp as the plate.", sharp,
              1 / matching[0], matching[0]),
        Curve("grain", "Grain match", "× plate", "What changes from pixel to pixel: 1 is as grained as the plate.",
              grain, 1 / matching[1], matching[1]),
        Curve("flicker", "Flicker", "%", "Light of the face over that of the plate below, against the frames around.",
              tuple(None if one is None else 100 * (2**one - 1) for one in _unlike_neighbors(light)),
              -limits.flicker, limits.flicker),
    )  # fmt: skip


def _file_flags(shot: RenderedShot, frame: RenderedFrame) -> list[Flag]:
    flags = []
    if frame.damaged:
        flags.append(Flag(frame.frame, "damaged", BAD, frame.damaged))
    if frame.absent:
        flags.append(Flag(frame.frame, "missing", BAD, f"Not rendered: {', '.join(frame.absent)} is missing."))
    unsound = _figure(frame, "unsound") or 0
    if unsound:
        words = f"{int(unsound)} pixels of the result are no finite numbers where the plate's are."
        flags.append(Flag(frame.frame, "unsound", BAD, words))
    stale = frame.proof is not None and frame.origin and frame.proof.facts.get("frame_key") != frame.origin["frame_key"]
    if frame.files and (frame.proof is None or stale) and not frame.damaged:
        words = "Not measured: the render left no proof of it. Render it again with --force to have one."
        flags.append(Flag(frame.frame, "unmeasured", NOTE, words))
    if frame.files and shot.person and at(shot.person, frame.frame, shot.person.confidence) in (None, 0.0):
        flags.append(Flag(frame.frame, "lost", LOOK, "No face was found: the plate stays as it is."))
    return flags


def _mixed(shot: RenderedShot) -> list[Flag]:
    """Frames of a render that were made with something else than most of them."""
    flags = []
    for name, words in (("recipe", "other settings"), ("identity", "another identity"), ("engine", "another engine")):
        groups = origins(shot.frames, name)
        most = max(groups, key=lambda value: len(groups[value]), default="")
        for value, frames in groups.items():
            if value != most:
                of = f"Made with {words} than most frames: {value[:40] or 'it does not say which'}."
                flags += [Flag(frame, "mixed", BAD, of) for frame in frames]
    return flags


def _curve_flags(shot: RenderedShot, curve: Curve, limits: Limits) -> list[Flag]:
    values = curve.values
    if curve.name == "color":
        values = _unlike_neighbors(values)
        curve = replace(curve, low=-limits.color, high=limits.color)
    elif curve.name == "matte":
        logs = tuple(None if one is None or one <= 0 else math.log(one) for one in values)
        values = tuple(None if one is None else 100 * math.expm1(one) for one in _unlike_neighbors(logs))
        curve = replace(curve, low=-limits.matte, high=limits.matte)
    flags = []
    for frame, value in zip(shot.frames, values):
        low = value is not None and curve.low is not None and value < curve.low
        high = value is not None and curve.high is not None and value > curve.high
        # A lost face is flagged as lost.
        if value is None or not (low or high) or (curve.name == "confidence" and value == 0):
            continue
        grave = NOTE if curve.name in ("sharpness", "grain") else LOOK
        flags.append(Flag(frame.frame, curve.name, grave, _words(curve.name, value)))
    return flags


def _words(name: str, value: float) -> str:
    """A reason as a person would give it."""
    more = value > 0
    times = max(value, 1 / value) if value > 0 else 0.0
    return {
        "confidence": f"The tracker is unsure of the face ({value:.2f}).",
        "jitter": f"Landmarks tremble by {value:.1f} % of the face's width.",
        "color": f"The face is graded {abs(value):.2f} stops {'brighter' if more else 'darker'} than around it.",
        "matte": f"The matte is {abs(value):.0f} % {'larger' if more else 'smaller'} than in the frames around.",
        "flicker": f"The face is {abs(value):.1f} % {'brighter' if more else 'darker'} than the light around asks for.",
        "sharpness": f"The face is {times:.1f} times {'sharper' if value > 1 else 'softer'} than the plate.",
        "grain": f"The face's grain is {times:.1f} times {'stronger' if value > 1 else 'fainter'} than the plate's.",
    }[name]


def _unlike_neighbors(values: Sequence[float | None]) -> Line:
    """By how much each value differs from those around it, so that a steady change counts as none.

    A value that stands out most is not held against those around it.
    """
    found = [_unlike(values, row) for row in range(len(values))]
    sizes = [0.0 if one is None else abs(one) for one in found]
    around = [max(sizes[max(0, row - REACH) : row + REACH + 1]) for row in range(len(sizes))]
    peaks = {row for row, size in enumerate(sizes) if size and size >= around[row]}
    others = [None if row in peaks else value for row, value in enumerate(values)]
    return tuple(found[row] if row in peaks else _unlike(others, row) for row in range(len(values)))


def _unlike(values: Sequence[float | None], row: int) -> float | None:
    """How far a value lies from the median of as many on either side; at an end, from the line of the next two."""
    value = values[row]
    reach = min(REACH, row, len(values) - 1 - row)
    before = [one for one in values[row - reach : row] if one is not None]
    after = [one for one in values[row + 1 : row + 1 + reach] if one is not None]
    if value is None:
        return None
    if before and after:
        return value - (median(before) + median(after)) / 2
    inward = values[row + 1 : row + 1 + REACH] if row < len(values) / 2 else values[max(0, row - REACH) : row][::-1]
    if len(inward) < 2 or inward[0] is None or inward[1] is None:
        return None
    return value - (2 * inward[0] - inward[1])


def _line(shot: RenderedShot, value: Callable[[RenderedFrame], float | None]) -> Line:
    return tuple(value(frame) for frame in shot.frames)


def _figure(frame: RenderedFrame, name: str) -> float | None:
    value = None if frame.proof is None else frame.proof.figures.get(name)
    return value if isinstance(value, float) else None


def _width(shot: RenderedShot, frame: RenderedFrame, power: float = 1.0) -> float | None:
    width = at(shot.person, frame.frame, None if shot.person is None else shot.person.width)
    return None if width is None else float(width**power)


def _ratio(value: float | None, by: float | None, times: float) -> float | None:
    return None if value is None or by is None or by <= 0 else times * value / by


def _stops(frame: RenderedFrame, against: str) -> float | None:
    """Stops by which the result is brighter than ``against`` under the matte."""
    lights = [_light(frame, name) for name in ("result", against)]
    if any(light is None or light <= 0 for light in lights):
        return None
    return math.log2((lights[0] or 1.0) / (lights[1] or 1.0))


def _light(frame: RenderedFrame, name: str) -> float | None:
    color = None if frame.proof is None else frame.proof.figures.get(name)
    if not isinstance(color, list) or len(color) != 3:
        return None
    return float(sum(part * value for part, value in zip(LUMINANCE, color)))


def _match(frame: RenderedFrame, name: str) -> float | None:
    return _ratio(_figure(frame, f"result_{name}"), _figure(frame, f"plate_{name}"), 1.0)


def summary(judged: Judged) -> str:
    """The state of a shot in a sentence."""
    flagged = {flag.frame for flag in judged.flags if flag.grave > NOTE}
    total = len(judged.shot.frames)
    if not flagged:
        return f"{total} frames, none needs another look."
    plural = "s need" if len(flagged) > 1 else " needs"
    return f"{total} frames, {len(flagged)} frame{plural} another look: {ranges(sorted(flagged))}."

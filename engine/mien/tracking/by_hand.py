"""Following a face that was placed by hand, by flow alone, both ways through the shot."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mien.tracking import cuts, refine
from mien.tracking.assemble import track_of
from mien.tracking.faces import seen, single_widths
from mien.tracking.follow import Found, Live, Picture, Step, advance_live, begin, expect, in_picture, matrix
from mien.tracking.keys import Keys, correct, posed, table
from mien.tracking.people import Tracklet
from mien.tracking.shape import carry, outside
from mien.types import FaceTrack, Footage, MienError, PlacedPoints

PATIENCE = 8
"""Frames without support after which a face is given up."""
SUPPORT = 0.25
"""Trust in flow below which it does not carry a face."""
CERTAIN = 30.0
"""Trust in a placed point, in sure points of a network."""
CHUNK_BYTES = 256 << 20
"""Memory for the pictures that are read ahead to be seen backward."""


@dataclass(frozen=True)
class Start:
    """A face to follow from where it was placed.

    Attributes:
        known: Landmarks (N, 3) in picture pixels by frame; following begins at the first key in ``frame``.
        frame: Where to begin.
        low, high: Frames to stop at.
    """

    known: Mapping[int, Tensor]
    frame: int
    low: int
    high: int


def follow_placed(footage: Footage, starts: Sequence[Start], scheme: str) -> tuple[Tracklet, ...]:
    """Follow placed faces both ways by flow; one tracklet for each start, which holds its frame at least.

    The shot is read twice at most: once forward, once backward in pieces of bounded size.
    """
    taken: list[dict[int, Step]] = [{} for _ in starts]
    first = min(start.frame for start in starts)
    forward = ((frame, footage.picture(frame)) for frame in range(first, max(s.high for s in starts) + 1))
    sweep(forward, starts, scheme, taken, 1)
    last = max(start.frame for start in starts)
    sweep(backward(footage, min(s.low for s in starts), last), starts, scheme, taken, -1)
    tracklets = []
    for steps in taken:
        ordered = [steps[frame] for frame in sorted(steps)]
        points, weight = refine.path(ordered, scheme)
        confidence = np.array([step.confidence for step in ordered], np.float32)
        tracklets.append(Tracklet(min(steps), points, weight, confidence, 0, ()))
    return tuple(tracklets)


def backward(footage: Footage, low: int, high: int) -> Iterator[tuple[int, Picture | None]]:
    """Frames from ``high`` down to ``low``; movies are read forward, a piece at a time, because they seek badly."""
    size = next((p.nbytes for p in (footage.picture(f) for f in range(high, low - 1, -1)) if p is not None), 1)
    length = int(max(4, min(64, CHUNK_BYTES // size)))
    for end in range(high, low - 1, -length):
        frames = range(max(low, end - length + 1), end + 1)
        pictures = [footage.picture(frame) for frame in frames]
        yield from zip(reversed(frames), reversed(pictures))


def sweep(
    pictures: Iterator[tuple[int, Picture | None]],
    starts: Sequence[Start],
    scheme: str,
    taken: list[dict[int, Step]],
    way: int,
) -> None:
    """Follow every start through pictures in one direction, and note its steps."""
    lives: dict[int, Live] = {}
    before: cuts.Thumbnail | None = None
    alike: list[float] = []
    for frame, picture in pictures:
        if picture is None:
            lives, before = {}, None
            continue
        now = cuts.thumbnail(picture)
        if before is not None:
            likeness = cuts.likeness(before, now)
            if cuts.is_cut(likeness, alike[-12:]):
                lives, alike = {}, []
            else:
                alike.append(likeness)
        before = now
        for index, start in enumerate(starts):
            if frame == start.frame:
                live, step = begin(index, scheme, picture, frame, placed(start.known[frame]))
                lives[index] = live
                taken[index].setdefault(frame, replace(step, trust=np.full_like(step.trust, CERTAIN)))
            elif index in lives:
                live, step = carry_on(lives[index], picture, frame, start.known.get(frame))
                gone = live.missing > PATIENCE or outside(in_picture(live.last.crop, live.last.points), picture)
                if gone or not start.low <= frame <= start.high:
                    del lives[index]
                    trim(taken[index], frame, way)
                else:
                    taken[index][frame] = step
                    lives[index] = live


def placed(points: Tensor) -> Found:
    """Landmarks that are known for certain."""
    sure = torch.ones(len(points))
    return Found(points.float(), sure, sure, 1.0)


def carry_on(live: Live, picture: Picture, frame: int, known: Tensor | None) -> tuple[Live, Step]:
    """Take a face one step on by flow; where it is ``known``, it is put there."""
    ahead = expect(live, picture, frame)
    view = ahead.view
    chain = view.points
    estimate = chain
    if len(ahead.links) > 1:
        far = ahead.links[1]
        share = (far.trust / (far.trust + 0.3))[:, None] * (far.trust > 0.4)[:, None]
        estimate = (chain + share * (live.key.points + far.shift - chain)).astype(np.float32)
    depth = live.depth * float(view.crop[2])
    anchors = np.concatenate((in_picture(view.crop, estimate), depth[:, None]), 1).astype(np.float32)
    trust = np.zeros(len(anchors), np.float32)
    if known is not None:
        anchors = known.numpy().astype(np.float32)
        estimate = carry(matrix(view.crop), anchors[:, :2])
        trust = np.full(len(anchors), CERTAIN, np.float32)
    seen = np.ones(len(anchors), np.float32)
    supported = ahead.known > SUPPORT or known is not None
    weight = ahead.links[-1].trust if known is None else seen
    confidence = 1.0 if known is not None else 0.9 * ahead.known
    step = Step(frame, view.crop, anchors, trust, weight, seen, estimate, confidence, supported, supported, ahead.links)
    return advance_live(live, ahead, estimate, supported, renew=ahead.known < 0.5 or known is not None), step


def trim(steps: dict[int, Step], frame: int, way: int) -> None:
    """Drop the last steps in one direction that nothing supported."""
    near = frame - way
    while near in steps and not steps[near].supported:
        del steps[near]
        near -= way


def check_keys(footage: Footage, keys: Keys) -> None:
    """See that keys lie inside the shot.

    Raises:
        MienError: One does not.
    """
    for person, placed_ in keys.items():
        for frame in placed_:
            if not footage.first <= frame <= footage.last:
                raise MienError(
                    f"The key of {person or 'the face'} is on frame {frame}, the shot runs from {footage.first} "
                    f"to {footage.last}. Move the key into the shot."
                )


def placed_tracks(footage: Footage, tracks: Sequence[FaceTrack], keys: Keys, scheme: str) -> tuple[FaceTrack, ...]:
    """The tracks with keys obeyed: frames lost around a key are followed from it, then keys pull their neighbors."""
    named = dict(assign(tracks, keys, footage.aspect))
    held = [track for index, track in enumerate(tracks) if index not in named]
    starts: list[Start] = []
    owners: list[int] = []
    people = []
    for number, (index, (person, placed_)) in enumerate(named.items()):
        track = replace(tracks[index], name=person) if index >= 0 else None
        people.append((person, track, placed_))
        for start in gaps(footage, track, placed_, scheme):
            starts.append(start)
            owners.append(number)
    followed = follow_placed(footage, starts, scheme) if starts else ()
    result = []
    for number, (person, track, placed_) in enumerate(people):
        mine = [tracklet for owner, tracklet in zip(owners, followed) if owner == number]
        whole = splice(person, track, mine, scheme, footage.aspect)
        result.append(correct(whole, placed_))
    return (*result, *held)


def assign(
    tracks: Sequence[FaceTrack], keys: Keys, aspect: float
) -> list[tuple[int, tuple[str, Mapping[int, PlacedPoints]]]]:
    """Whose keys are whose: index of a track, or a negative number for a new one, with the name and the keys."""
    taken: list[tuple[int, tuple[str, Mapping[int, PlacedPoints]]]] = []
    free = set(range(len(tracks)))
    names = {track.name for track in tracks} | set(keys)
    for person, placed_ in keys.items():
        index = next((i for i in free if tracks[i].name == person), None)
        if index is None:
            index = next((i for i in sorted(free) if lies_on(tracks[i], placed_, aspect)), None)
        if index is None and not person and len(free) == 1 == len(tracks):
            index = 0
        new = next(f"person{n}" for n in range(1, len(names) + 2) if f"person{n}" not in names)
        name = person or (tracks[index].name if index is not None else new)
        free.discard(index if index is not None else -1)
        taken.append((index if index is not None else -1 - len(taken), (name, placed_)))
    return taken


def lies_on(track: FaceTrack, placed_: Mapping[int, PlacedPoints], aspect: float) -> bool:
    """Whether placed points lie on a track's face, judged on the frame nearest to one where it is seen.

    In frames where the face is lost, it is looked for on the way between its neighbors, the more loosely the
    longer it is gone.
    """
    rows = torch.nonzero(seen(track)).flatten()
    frame = min(placed_, key=lambda f: int((rows - (f - track.first)).abs().min()))
    key, row = placed_[frame], frame - track.first
    before, after = rows[rows <= row][-1:], rows[rows >= row][:1]
    ends = torch.cat((before, after)).tolist()
    gone = min(abs(end - row) for end in ends)
    part = (row - ends[0]) / max(ends[-1] - ends[0], 1)
    square = torch.tensor([aspect, 1.0, 1.0])
    points = torch.lerp(track.points[ends[0]].float(), track.points[ends[-1]].float(), min(max(part, 0), 1)) * square
    away = (table(key, track.scheme) @ points[:, :2] - key.positions.float() * square[:2]).norm(dim=-1).mean()
    return bool(away < (0.35 + min(0.04 * gone, 1.0)) * single_widths(points[None], track.scheme, 1.0)[0])


def gaps(
    footage: Footage, track: FaceTrack | None, placed_: Mapping[int, PlacedPoints], scheme: str
) -> Iterator[Start]:
    """Where a face must be followed from its keys, because the track has lost it there."""
    aspect = footage.aspect
    there = [] if track is None else [track.first + row for row in torch.nonzero(seen(track)).flatten().tolist()]
    held = set(there)
    waiting = sorted(frame for frame in placed_ if frame not in held)
    while waiting:
        frame = waiting[0]
        low = max((f for f in there if f < frame), default=footage.first)
        high = min((f for f in there if f > frame), default=footage.last)
        mine = [f for f in waiting if low <= f <= high]
        waiting = [f for f in waiting if f not in mine]
        known = {f: posed(placed_[f], scheme, aspect) for f in mine}
        for end in (low, high):
            if track is not None and end in held:
                known[end] = track.points[end - track.first].float() * torch.tensor([aspect, 1.0, 1.0])
        yield Start(known, frame, low, high)


def splice(person: str, track: FaceTrack | None, followed: Sequence[Tracklet], scheme: str, aspect: float) -> FaceTrack:
    """A track with tracklets put in where it was lost."""
    if track is None:
        return track_of(person, followed, scheme, aspect)
    if not followed:
        return track
    patch = track_of(person, followed, scheme, aspect)
    first, last = min(track.first, patch.first), max(track.last, patch.last)
    under, over = stretched(patch, first, last), stretched(track, first, last)
    there = seen(over)
    return replace(
        over,
        points=torch.where(there[:, None, None], over.points, under.points),
        weight=torch.where(there[:, None], over.weight, under.weight),
        confidence=torch.where(there, over.confidence, under.confidence),
    )


def stretched(track: FaceTrack, first: int, last: int) -> FaceTrack:
    """A track with lost rows at both ends so that it runs from ``first`` to ``last``."""
    pad = (track.first - first, last - track.last)
    return replace(
        track,
        first=first,
        points=functional.pad(track.points, (0, 0, 0, 0, *pad), value=torch.nan),
        weight=functional.pad(track.weight, (0, 0, *pad)),
        confidence=functional.pad(track.confidence, pad),
        keyed=functional.pad(track.keyed, pad),
    )

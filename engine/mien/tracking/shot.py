"""Following every face through a shot, one frame after another."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from mien.models.backends import Detections, FaceFinder, Landmarked
from mien.models.crops import crop_from_detection, crop_from_points
from mien.tracking import cuts, refine
from mien.tracking.assemble import tracks_of
from mien.tracking.by_hand import check_keys, placed_tracks
from mien.tracking.follow import Found, Live, Picture, Step, begin, expect, in_picture, search_crop, settle
from mien.tracking.keys import Keys
from mien.tracking.people import Tracklet, join
from mien.tracking.shape import Array, box, outside, overlap, part_of, plausibility, same_place
from mien.types import FaceTrack, Footage

HOLD = 20
"""Frames that a face may be missing before it is given up."""
RING_BYTES = 256 << 20
"""Memory for the last pictures, in which a newly found face is followed back."""
SHORTEST = 3
"""Tracklets with fewer believed frames are dropped."""

Progress = Callable[[int, int], None]


@dataclass
class Scene:
    """What is being followed at one moment of a shot."""

    lives: list[Live] = field(default_factory=list)
    number: int = 0
    begun: int = 0


def follow(
    footage: Footage,
    finder: FaceFinder,
    *,
    confidence: float,
    smallest: float,
    every: int,
    progress: Progress | None = None,
) -> tuple[Tracklet, ...]:
    """Detect and follow every face of a shot, reading each frame once; positions in picture pixels."""
    steps: dict[int, list[Step]] = {}
    scenes: dict[int, int] = {}
    looks: dict[int, Live] = {}
    scene = Scene()
    ring: deque[tuple[int, Picture]] = deque()
    alike: deque[float] = deque(maxlen=12)
    before: cuts.Thumbnail | None = None
    since = every
    for frame in range(footage.first, footage.last + 1):
        picture = footage.picture(frame)
        if progress is not None:
            progress(frame - footage.first + 1, footage.last - footage.first + 1)
        if picture is None:
            scene.lives, before = [], None
            ring.clear()
            since = every
            continue
        now = cuts.thumbnail(picture)
        if before is not None:
            likeness = cuts.likeness(before, now)
            if cuts.is_cut(likeness, alike):
                scene.lives, since = [], every
                scene.number += 1
                ring.clear()
                alike.clear()
            else:
                alike.append(likeness)
        before = now
        lives = advance(scene.lives, picture, frame, finder, confidence, steps)
        since += 1
        if since >= every or (since >= 3 and any(live.missing for live in lives)):
            since = 0
            detections = finder.detect(picture, smallest)
            for found in newcomers(detections, lives, steps, picture, finder, confidence, smallest):
                scene.begun += 1
                live, step = begin(scene.begun, finder.scheme, picture, frame, found)
                earlier = backward(live, ring, finder, confidence, lives, steps)
                steps[live.name] = [*earlier, step]
                scenes[live.name] = scene.number
                lives.append(live)
        for live in lives:
            looks[live.name] = live
        scene.lives = lives
        ring.append((frame, picture))
        while len(ring) > every or (len(ring) > 1 and len(ring) * picture.nbytes > RING_BYTES):
            ring.popleft()
    return tuple(tracklet for name, taken in steps.items() for tracklet in finish(taken, scenes[name], looks[name]))


def advance(
    lives: list[Live], picture: Picture, frame: int, finder: FaceFinder, confidence: float, steps: dict[int, list[Step]]
) -> list[Live]:
    """Take every live face one step on and note the steps; faces that are given up fall out."""
    if not lives:
        return []
    # Whoever is seen best chooses first; a face hidden behind another must not take its place.
    order = sorted(lives, key=lambda live: (live.missing, live.name))
    ahead = [expect(live, picture, frame) for live in order]
    crops = torch.stack([search_crop(one, live.scheme) for one, live in zip(ahead, order)])
    landmarks = finder.landmarks(picture, crops)
    taken: list[Array] = []
    going = []
    for row, (live, one) in enumerate(zip(order, ahead)):
        found = found_row(landmarks, row)
        points = found.points.numpy()
        free = not any(same_place(points, other) for other in taken)
        after, step = settle(live, one, found, confidence, free)
        if step.believed:
            taken.append(in_picture(step.crop, step.estimate))
        if after.missing > HOLD or outside(in_picture(after.last.crop, after.last.points), picture):
            continue
        steps[live.name].append(step)
        going.append(after)
    return going


def found_row(landmarks: Landmarked, row: int) -> Found:
    """One face of a batch of landmarks."""
    return Found(
        landmarks.points[row],
        landmarks.confidence[row],
        landmarks.visibility[row],
        float(landmarks.presence[row]),
    )


def newcomers(
    detections: Detections,
    lives: list[Live],
    steps: dict[int, list[Step]],
    picture: Picture,
    finder: FaceFinder,
    confidence: float,
    smallest: float,
) -> Iterator[Found]:
    """Detected faces that nobody follows yet."""
    held = [in_picture(live.last.crop, live.last.points) for live in lives if not live.missing]
    for index, score in enumerate(detections.scores.tolist()):
        corners = detections.boxes[index].numpy()
        if score < confidence or corners[2] - corners[0] < smallest:
            continue
        if any(overlap(corners, box(points)) > 0.35 or part_of(corners, box(points)) for points in held):
            continue
        crop = crop_from_detection(detections.boxes[index], detections.five[index])
        for _ in range(2):
            found = found_row(finder.landmarks(picture, crop[None]), 0)
            crop = crop_from_points(found.points, finder.scheme)
        points = found.points.numpy()
        sure = found.presence * float(plausibility(found.points, finder.scheme))
        if sure < confidence or any(same_place(points, other) for other in held):
            continue
        held.append(points[:, :2])
        yield found


def backward(
    live: Live,
    ring: deque[tuple[int, Picture]],
    finder: FaceFinder,
    confidence: float,
    lives: list[Live],
    steps: dict[int, list[Step]],
) -> list[Step]:
    """Follow a newly found face back through the last pictures; steps in order of frames."""
    taken: list[Step] = []
    for frame, picture in reversed(ring):
        one = expect(live, picture, frame)
        found = found_row(finder.landmarks(picture, search_crop(one, live.scheme)[None]), 0)
        others = [
            in_picture(step.crop, step.estimate)
            for name in steps
            for step in steps[name][-len(ring) - 1 :]
            if step.frame == frame and step.believed
        ]
        free = not any(same_place(found.points.numpy(), other) for other in others)
        live, step = settle(live, one, found, confidence, free)
        if live.missing > 1 or outside(in_picture(live.last.crop, live.last.points), picture):
            break
        taken.append(step)
    while taken and not taken[-1].believed:
        taken.pop()
    return taken[::-1]


def finish(steps: list[Step], scene: int, live: Live) -> Iterator[Tracklet]:
    """The tracklet of a face: without the frames at its end that nobody saw, and without frames no flow bridges."""
    believed = [index for index, step in enumerate(steps) if step.believed]
    if len(believed) < SHORTEST and len(steps) > SHORTEST:
        return
    kept = steps[believed[0] : believed[-1] + 1]
    points, weight = refine.path(kept, live.scheme)
    confidence = np.array([step.confidence for step in kept], np.float32)
    yield Tracklet(kept[0].frame, points, weight, confidence, scene, live.looks)


def track(
    footage: Footage,
    finder: FaceFinder | None,
    *,
    confidence: float = 0.5,
    smallest: float = 24.0,
    keys: Keys | None = None,
    every: int = 8,
    progress: Progress | None = None,
) -> tuple[FaceTrack, ...]:
    """Every face of a shot, followed from its first frame to its last, one track for each person.

    Args:
        footage: The shot; each frame is read once, in order, and memory for pictures does not grow with it. Keys on
            frames where a face was lost cost one more reading.
        finder: Networks that find faces; None follows the keys alone, by flow.
        confidence: Trust, 0 to 1, below which a face is not believed.
        smallest: Width in picture pixels of the smallest face to look for.
        keys: Points in plate pixels placed by hand, by person and frame. A name that no track has goes to the track
            on whose face the points lie, or begins a new one.
        every: Frames from one detection to the next.
        progress: Called with the number of frames done and of all.

    Raises:
        MienError: A key lies outside the shot or on a missing frame, or its points do not fit the track's scheme.
    """
    check_keys(footage, keys or {})
    if finder is None:
        return placed_tracks(footage, (), keys or {}, "mesh")
    tracklets = follow(footage, finder, confidence=confidence, smallest=smallest, every=every, progress=progress)
    tracks = tracks_of(join(tracklets), finder.scheme, footage.aspect)
    return placed_tracks(footage, tracks, keys, finder.scheme) if keys else tracks

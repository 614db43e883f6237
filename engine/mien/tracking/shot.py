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
from mien.tracking.follow import Found, Live, Picture, Step, begin, belief, expect, in_picture, search_crop, settle
from mien.tracking.keys import Keys
from mien.tracking.people import Tracklet, join
from mien.tracking.shape import Array, box, outside, overlap, part_of, same_place
from mien.types import FaceTrack, Footage

HOLD = 20
"""Frames that a face may be missing before it is given up."""
RING_BYTES = 256 << 20
"""Memory for the last pictures, in which a newly found face is followed back."""
SHORTEST = 3
"""Tracklets with fewer believed frames are dropped."""

Progress = Callable[[int, int], None]


@dataclass
class Trail:
    """What a followed face leaves behind: settled stretches, and the last steps, not yet settled."""

    first: int
    scene: int
    live: Live
    steps: list[Step]
    settled: list[refine.Stretch] = field(default_factory=list)

    def add(self, live: Live, step: Step) -> None:
        """Note a step, and settle those behind it when there are many."""
        self.live = live
        self.steps.append(step)
        if len(self.steps) == refine.BLOCK + refine.OVERLAP:
            self.settled.append(refine.settled(self.steps, live.scheme))
            self.steps = self.steps[refine.BLOCK :]


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
    trails: list[Trail] = []
    going: list[Trail] = []
    scene = 0
    ring: deque[tuple[int, Picture]] = deque()
    alike: deque[float] = deque(maxlen=12)
    before: cuts.Thumbnail | None = None
    since = every
    for frame in range(footage.first, footage.last + 1):
        picture = footage.picture(frame)
        if progress is not None:
            progress(frame - footage.first + 1, footage.last - footage.first + 1)
        if picture is None:
            going, before, since = [], None, every
            ring.clear()
            continue
        now = cuts.thumbnail(picture)
        likeness = 1.0 if before is None else cuts.likeness(before, now)
        if cuts.is_cut(likeness, alike):
            going, since = [], every
            scene += 1
            ring.clear()
            alike.clear()
        else:
            alike.append(likeness)
        before = now
        going = advance(going, picture, frame, finder, confidence)
        since += 1
        if since >= every or (since >= 3 and any(trail.live.missing for trail in going)):
            since = 0
            detections = finder.detect(picture, smallest)
            for found in newcomers(detections, going, picture, finder, confidence, smallest):
                live, step = begin(len(trails), finder.scheme, picture, frame, found)
                earlier = backward(live, ring, finder, confidence, trails)
                steps = [*earlier, step]
                trails.append(Trail(steps[0].frame, scene, live, steps))
                going.append(trails[-1])
        ring.append((frame, picture))
        while len(ring) > every or (len(ring) > 1 and len(ring) * picture.nbytes > RING_BYTES):
            ring.popleft()
    return tuple(tracklet for trail in trails for tracklet in finish(trail))


def advance(trails: list[Trail], picture: Picture, frame: int, finder: FaceFinder, confidence: float) -> list[Trail]:
    """Take every followed face one step on; those that are given up fall out."""
    if not trails:
        return []
    # Whoever is seen best chooses first; a face hidden behind another must not take its place.
    order = sorted(trails, key=lambda trail: (trail.live.missing, trail.live.name))
    ahead = [expect(trail.live, picture, frame) for trail in order]
    crops = torch.stack([search_crop(one, finder.scheme) for one in ahead])
    landmarks = finder.landmarks(picture, crops)
    taken: list[Array] = []
    going = []
    for row, (trail, one) in enumerate(zip(order, ahead)):
        found = found_row(landmarks, row)
        points = found.points.numpy()
        free = not any(same_place(points, other) for other in taken)
        live, step = settle(trail.live, one, found, confidence, free)
        if step.believed:
            taken.append(in_picture(step.crop, step.estimate))
        if live.missing > HOLD or outside(in_picture(live.last.crop, live.last.points), picture):
            continue
        trail.add(live, step)
        going.append(trail)
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
    going: list[Trail],
    picture: Picture,
    finder: FaceFinder,
    confidence: float,
    smallest: float,
) -> Iterator[Found]:
    """Detected faces that nobody follows yet."""
    lives = [trail.live for trail in going if not trail.live.missing]
    held = [in_picture(live.last.crop, live.last.points) for live in lives]
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
        if belief(found, finder.scheme) < confidence or any(same_place(points, other) for other in held):
            continue
        held.append(points[:, :2])
        yield found


def backward(
    live: Live,
    ring: deque[tuple[int, Picture]],
    finder: FaceFinder,
    confidence: float,
    trails: list[Trail],
) -> list[Step]:
    """Follow a newly found face back through the last pictures; steps in order of frames."""
    taken: list[Step] = []
    for frame, picture in reversed(ring):
        one = expect(live, picture, frame)
        found = found_row(finder.landmarks(picture, search_crop(one, live.scheme)[None]), 0)
        others = [
            in_picture(step.crop, step.estimate)
            for trail in trails
            for step in trail.steps[-len(ring) - 1 :]
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


def finish(trail: Trail) -> Iterator[Tracklet]:
    """The tracklet of a face, without the frames at its ends that nobody saw; none for a passing error."""
    whole = refine.seamless([*trail.settled, refine.settled(trail.steps, trail.live.scheme)])
    believed = np.flatnonzero(whole.believed)
    if len(believed) < SHORTEST and len(whole.points) > SHORTEST:
        return
    kept = slice(believed[0], believed[-1] + 1)
    first = trail.first + int(believed[0])
    looks = trail.live.looks
    yield Tracklet(first, whole.points[kept], whole.weight[kept], whole.confidence[kept], trail.scene, looks)


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

"""Tracklets joined into people, through crossings, occlusion and cuts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mien.tracking.appearance import Look, distance
from mien.tracking.shape import Array, box, extent, part_of

SAME = 0.42
"""Looks nearer than this may belong to one person wherever they stand."""
NEARBY = 0.8
"""The limit for a face that comes back where one was lost, without a cut between."""


@dataclass(frozen=True)
class Tracklet:
    """A face followed without a break.

    Attributes:
        first: Frame of row 0.
        points: (F, N, 3) landmarks in picture pixels.
        weight: (F, N) trust in each.
        confidence: (F,) trust in the face.
        scene: Number of the shot of the edit that it lies in.
        looks: What the face looks like.
    """

    first: int
    points: Array
    weight: Array
    confidence: Array
    scene: int
    looks: tuple[Look, ...]

    @property
    def last(self) -> int:
        """Frame of the last row."""
        return self.first + len(self.points) - 1


def join(tracklets: Sequence[Tracklet]) -> tuple[tuple[Tracklet, ...], ...]:
    """Group tracklets by person, in order of appearance; tracklets that overlap in time are different people.

    What rides on the head of a larger face (an ear taken for a face) is left out.
    """
    whole = [one for one in tracklets if not any(on_head(one, other) for other in tracklets)]
    groups: list[list[Tracklet]] = [[one] for one in sorted(whole, key=lambda t: t.first)]
    while True:
        costs = [
            (cost(a, b), i, j)
            for i, a in enumerate(groups)
            for j, b in enumerate(groups)
            if i < j and not together(a, b)
        ]
        best = min(costs, default=(np.inf, 0, 0))
        if best[0] >= 1:
            break
        _, i, j = best
        groups[i] = sorted(groups[i] + groups[j], key=lambda t: t.first)
        del groups[j]
    return tuple(tuple(group) for group in groups)


def on_head(small: Tracklet, large: Tracklet) -> bool:
    """Whether a tracklet rides on the head of another most of the time: no face of its own."""
    low, high = max(small.first, large.first), min(small.last, large.last)
    frames = range(low, high + 1, 4)
    riding = [
        part_of(box(small.points[frame - small.first]), box(large.points[frame - large.first])) for frame in frames
    ]
    return len(riding) > 0 and float(np.mean(riding)) > 0.7


def together(first: Sequence[Tracklet], second: Sequence[Tracklet]) -> bool:
    """Whether two groups are ever in the picture at once."""
    return any(a.first <= b.last and b.first <= a.last for a in first for b in second)


def cost(first: Sequence[Tracklet], second: Sequence[Tracklet]) -> float:
    """How little two groups fit one person; below 1 they do."""
    apart = min(distance(x, y) for a in first for b in second for x in a.looks for y in b.looks)
    best = apart / SAME
    for a in first:
        for b in second:
            early, late = (a, b) if a.last < b.first else (b, a)
            if early.scene == late.scene:
                best = min(best, max(apart / NEARBY, gap(early, late)))
    return best


def gap(early: Tracklet, late: Tracklet) -> float:
    """How far a face would have had to jump, over what it could in the time, from one tracklet to the next."""
    before, after = early.points[-1], late.points[0]
    size = max(extent(box(before)), 1e-3)
    frames = late.first - early.last
    leap = float(np.linalg.norm(after[:, :2].mean(0) - before[:, :2].mean(0))) / size
    growth = abs(float(np.log(extent(box(after)) / size)))
    return leap / (0.4 + 0.12 * frames) + growth / (0.3 + 0.03 * frames)

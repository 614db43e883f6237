"""Following one face from frame to frame: flow says where it went, the network says where it is.

A face is looked at through a window, a leveled square that follows it, so that the motion left between two looks
is small. Each step measures the flow from the frame before and from a key look further back, and notes both as
links between frames; the network's landmarks are noted as anchors. ``mien.tracking.refine`` makes one path of them.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.models.crops import crop_from_points, crop_matrices, cut_crops
from mien.tracking import flow
from mien.tracking.appearance import Look, describe, distance
from mien.tracking.shape import Array, box, carry, extent, plausibility

Picture = NDArray[np.uint8]

SIDE = 256
"""Size in pixels of the window's picture."""
WINDOW = 0.8
"""Side of the window over the side of a landmark crop."""
SUPPORT = 0.35
"""Mean trust in flow from the template below which it does not carry a face."""
STAY = 0.5
"""Share of the threshold that is enough for a face that was believed one frame ago."""
LOOKS = 6
"""Number of looks kept by which a person is known again."""
STRANGER = 0.7
"""A face whose look is further than this from all that is known of a person is someone else."""


@dataclass(frozen=True)
class View:
    """A face seen through its window.

    Attributes:
        frame: When.
        crop: (4,) the window as in ``mien.models.crops``.
        gray: (SIDE, SIDE) what it shows.
        points: (N, 2) landmarks in window pixels.
    """

    frame: int
    crop: Tensor
    gray: NDArray[np.uint8]
    points: Array


@dataclass(frozen=True)
class Link:
    """What flow says about the way from another frame: window positions differ by ``shift`` (N, 2)."""

    frame: int
    shift: Array
    trust: Array


@dataclass(frozen=True)
class Step:
    """All that was measured of a face in one frame.

    Attributes:
        crop: (4,) the window.
        anchors: (N, 3) the network's landmarks in picture pixels.
        trust: (N,) trust in each of them; 0 where the network is not believed.
        weight: (N,) how well each point is known, 0 to 1.
        facing: (N,) whether each point is seen, 0 to 1.
        estimate: (N, 2) causal estimate in window pixels.
        confidence: Trust in the face, 0 to 1.
        believed: Whether the network's landmarks belong to this face.
        supported: Whether flow can carry the face through this frame.
        links: Ways from other frames.
    """

    frame: int
    crop: Tensor
    anchors: Array
    trust: Array
    weight: Array
    facing: Array
    estimate: Array
    confidence: float
    believed: bool
    supported: bool
    links: tuple[Link, ...]


@dataclass(frozen=True)
class Live:
    """A face that is being followed.

    Attributes:
        name: Number of this tracklet.
        scheme: Landmark scheme.
        last, key: The look one step ago and the one that serves as template.
        motion: (4,) change of the window from step to step: x, y, logarithm of the side, angle.
        missing: Steps since the network was believed.
        looks: What the face looks like, newest last.
        depth: (N,) depth of the points where it was begun, in sides of the window.
    """

    name: int
    scheme: str
    last: View
    key: View
    motion: Tensor
    missing: int
    looks: tuple[Look, ...]
    depth: Array


@dataclass(frozen=True)
class Found:
    """What the landmark network found in one crop: a row of ``Landmarked``."""

    points: Tensor
    confidence: Tensor
    visibility: Tensor
    presence: float


@dataclass(frozen=True)
class Ahead:
    """Where a live face is expected in the next frame."""

    view: View
    color: Picture
    links: tuple[Link, ...]
    reliable: float
    known: float


def window(points: Tensor, scheme: str) -> Tensor:
    """The window (4,) on a face with (N, 2 or 3) points in picture pixels."""
    return crop_from_points(points, scheme) * torch.tensor([1, 1, WINDOW, 1])


def matrix(crop: Tensor) -> NDArray[np.float64]:
    """Matrix (3, 3) from picture pixels to window pixels."""
    return np.asarray(crop_matrices(crop[None].double(), SIDE)[0].numpy())


def in_picture(crop: Tensor, points: Array) -> Array:
    """Window positions (N, 2) in picture pixels."""
    return carry(np.linalg.inv(matrix(crop)), points)


def open_view(picture: Picture, frame: int, crop: Tensor, points: Array) -> tuple[View, Picture]:
    """Look at ``picture`` through a window; ``points`` are in window pixels. Also returns the colors."""
    color = cut_crops(picture, crop[None], SIDE)[0]
    return View(frame, crop, flow.to_gray(color), points), color


def belief(found: Found, scheme: str) -> float:
    """Trust in a face, 0 to 1, as one look at it gives: is it there, is it shaped like one, are its points sure.

    Of a face from the side few points are sure, of a cup none; the surest quarter tells.
    """
    count = max(1, len(found.confidence) // 4)
    surest = float(found.confidence.topk(count).values.mean())
    sure = min(max((surest - 0.2) / 0.4, 0.0), 1.0)
    return found.presence * float(plausibility(found.points, scheme)) * sure


def begin(name: int, scheme: str, picture: Picture, frame: int, found: Found) -> tuple[Live, Step]:
    """Begin to follow a face that was found in ``picture``."""
    crop = window(found.points, scheme)
    anchors = found.points.numpy().astype(np.float32)
    view, color = open_view(picture, frame, crop, carry(matrix(crop), anchors[:, :2]))
    trust = found.confidence.numpy().astype(np.float32)
    weight = (found.confidence * found.visibility).numpy().astype(np.float32)
    facing = found.visibility.numpy().astype(np.float32)
    confidence = belief(found, scheme)
    depth = anchors[:, 2] / float(crop[2])
    step = Step(frame, crop, anchors, trust, weight, facing, view.points, confidence, True, True, ())
    return Live(name, scheme, view, view, torch.zeros(4), 0, (describe(color),), depth), step


def expect(live: Live, picture: Picture, frame: int) -> Ahead:
    """Where flow carries a face in the next frame."""
    before = in_picture(live.last.crop, live.last.points)
    at_rest = window(torch.from_numpy(before), live.scheme)
    crop = moved(at_rest, live.motion)
    # Window positions of the same points if they move as the window does.
    start = carry(matrix(at_rest), before)
    empty, color = open_view(picture, frame, crop, start)
    guess = flow.affine_between(live.last.points, start)
    shift, trust = flow.measure(live.last.gray, empty.gray, live.last.points, guess)
    trust = trust * within(picture, before) * within(picture, in_picture(crop, live.last.points + shift))
    hold = np.clip((trust - 0.2) / 0.4, 0, 1)[:, None]
    points = (hold * (live.last.points + shift) + (1 - hold) * start).astype(np.float32)
    links = [Link(live.last.frame, shift, trust)]
    known = float(np.mean(trust))
    if live.key.frame != live.last.frame:
        guess = flow.affine_between(live.key.points, points)
        away, sure = flow.measure(live.key.gray, empty.gray, live.key.points, guess)
        origin = in_picture(live.key.crop, live.key.points)
        sure = sure * within(picture, origin) * within(picture, in_picture(crop, live.key.points + away))
        links.append(Link(live.key.frame, away, sure))
        known = float(np.mean(sure))
    return Ahead(replace(empty, points=points), color, tuple(links), float(np.mean(trust)), known)


def within(picture: Picture, points: Array) -> Array:
    """1 for (N, 2) points that lie inside the picture with some room around them, else 0."""
    room = 0.02 * extent(box(points))
    height, width = picture.shape[:2]
    low, high = points.min(1) >= room, (points <= np.array([width - room, height - room])).all(1)
    return np.asarray(low & high, np.float32)


def search_crop(ahead: Ahead, scheme: str) -> Tensor:
    """The crop (4,) in which the landmark network should look for an expected face."""
    return crop_from_points(torch.from_numpy(in_picture(ahead.view.crop, ahead.view.points)), scheme)


def settle(live: Live, ahead: Ahead, found: Found, threshold: float, free: bool) -> tuple[Live, Step]:
    """Weigh what the network found against what flow expects, and take the step.

    ``free`` says that no other face already stands where the network found this one.
    """
    view = ahead.view
    anchors = found.points.numpy().astype(np.float32)
    seen = carry(matrix(view.crop), anchors[:, :2])
    apart = np.linalg.norm(seen - view.points, axis=1) / extent(box(view.points))
    away = float(np.median(apart))
    # A fast head defeats flow: then it may not contradict the network.
    believable = 1 / (1 + (away / 0.15) ** 4)
    agreement = 1 - ahead.reliable * (1 - believable)
    confidence = belief(found, live.scheme) * agreement if free else 0.0
    if confidence >= threshold and live.missing > 2 and stranger(live.looks, describe(ahead.color)):
        confidence = 0.5 * threshold
    # A face that was followed here needs less to be believed than one out of nowhere.
    believed = confidence >= (threshold if live.missing else STAY * threshold)
    # Points that flow lost to a hand or to the background, or that turned away, return to the network's.
    gain = np.clip(0.2 + (apart - 0.02) / 0.06, 0.2, 1) if believed else np.zeros_like(apart)
    gain = np.maximum(gain, believed * (1 - found.visibility.numpy()))[:, None]
    estimate = (view.points + gain * (seen - view.points)).astype(np.float32)
    supported = ahead.known > SUPPORT and free
    if not believed:
        # Flow bridges what the network cannot see, and says so by a low confidence.
        confidence = max(min(confidence, 0.5 * threshold), 0.4 * threshold * ahead.known) if supported else 0.0
    trust = (found.confidence if believed else torch.zeros_like(found.confidence)).numpy().astype(np.float32)
    facing = found.visibility.numpy().astype(np.float32)
    weight = found.confidence.numpy().astype(np.float32) * facing
    step = Step(
        view.frame, view.crop, anchors, trust, weight, facing, estimate, confidence, believed, supported, ahead.links
    )
    renew = believed and (ahead.known < 0.55 or not 0.7 < float(view.crop[2] / live.key.crop[2]) < 1.4)
    following = advance_live(live, ahead, estimate, believed or supported, renew=renew)
    return replace(following, missing=0 if believed else live.missing + 1), step


def advance_live(live: Live, ahead: Ahead, estimate: Array, supported: bool, *, renew: bool) -> Live:
    """A live face after a step to ``estimate`` (N, 2); ``renew`` makes this look the template."""
    last = replace(ahead.view, points=estimate)
    there = window(torch.from_numpy(in_picture(last.crop, estimate)), live.scheme)
    here = window(torch.from_numpy(in_picture(live.last.crop, live.last.points)), live.scheme)
    return replace(
        live,
        last=last,
        key=last if renew else live.key,
        motion=motion_between(here, there) if supported else 0.8 * live.motion,
        missing=0 if supported else live.missing + 1,
        looks=remember(live.looks, describe(ahead.color)) if renew else live.looks,
    )


def moved(crop: Tensor, motion: Tensor) -> Tensor:
    """A window after one step of its motion."""
    return torch.stack((crop[0] + motion[0], crop[1] + motion[1], crop[2] * torch.exp(motion[2]), crop[3] + motion[3]))


def motion_between(first: Tensor, second: Tensor) -> Tensor:
    """Change (4,) from one window to another: x, y, logarithm of the side, angle."""
    turn = torch.remainder(second[3] - first[3] + torch.pi, 2 * torch.pi) - torch.pi
    size = torch.log(second[2] / first[2]).clamp(-0.1, 0.1)
    return torch.stack((second[0] - first[0], second[1] - first[1], size, turn.clamp(-0.3, 0.3)))


def remember(looks: tuple[Look, ...], look: Look) -> tuple[Look, ...]:
    """The looks with one more, unless it is known; the first stays, the oldest of the others goes."""
    if min(distance(look, known) for known in looks) < 0.15:
        return looks
    return (*looks, look) if len(looks) < LOOKS else (looks[0], *looks[2:], look)


def stranger(looks: tuple[Look, ...], look: Look) -> bool:
    """Whether a look fits none that is known."""
    return min(distance(look, known) for known in looks) > STRANGER

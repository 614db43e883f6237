"""Zero-phase smoothing that leaves fast motion alone.

Every value is replaced by a local parabola fitted to its neighbors on both sides, weighted by confidence. The
window is chosen for each frame by Lepski's rule (Lepski 1990; Goldenshluger and Nemirovski, 1997): the widest
whose answer does not differ from those of all narrower windows by more than noise explains. A still face gets
wide windows, a fast turn none at all, so nothing lags and nothing overshoots.

Head and expression are smoothed apart: the head is an affine camera on the person's mean shape, expression what
is left, seen from the face.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, gaussian_filter1d, minimum_filter1d
from scipy.spatial import cKDTree

from mien import mesh
from mien.tracking.faces import seen, single_widths
from mien.types import FaceTrack

Wide = NDArray[np.float64]
Positions = NDArray[np.float32]

HALF_WIDTHS = (2, 3, 5, 8, 12, 18, 27)
"""Frames to either side that the windows reach; the first of all is the value itself."""
HEAD_NOISE = 0.0004
"""Least noise of the head's position in face widths: half of the jitter that an eye notices."""
EXPRESSION_NOISE = 0.0008
"""The same of a single point on the face."""
SHORT_GAP = 6
"""Lost frames between two sightings that are filled, at low confidence."""
PIECE = 28
"""Frames of a long run that are smoothed at a time, so that memory does not grow with the shot."""
AROUND = 36
"""Frames on either side that a piece takes into account: more than any window reaches."""
FADE = 6
"""Frames over which one piece hands over to the next."""
KEYED = 30.0
"""Weight of a frame placed by hand, in sure frames."""


def smooth(track: FaceTrack, *, rigid: float, expression: float) -> FaceTrack:
    """Smooth a track over time: the motion of the head by ``rigid`` and expression by ``expression``, 0 to 1.

    0 leaves the motion as it is. Rows placed by hand stay exactly as they are and pull their neighbors. Gaps of up
    to SHORT_GAP lost frames are filled at low confidence, unless the face leaps (a cut); longer ones stay lost.
    """
    raw = track.points.float().numpy()
    points = raw.copy()
    confidence = track.confidence.float().numpy().copy()
    weight = track.weight.float().numpy().copy()
    there = seen(track).numpy()
    keyed = track.keyed.numpy()
    if not there.any():
        return track
    for low, high in runs(raw, there, track.aspect):
        rows = slice(low, high)
        trust = np.where(there[rows], np.clip(confidence[rows], 0.02, 1) ** 2, 0.0)
        trust = np.where(keyed[rows] & there[rows], KEYED, trust)
        smooth_pieces(raw[rows], trust, track, rigid, expression, points[rows])
        filled = ~there[rows]
        ends = np.interp(np.arange(high - low), np.flatnonzero(~filled), confidence[rows][~filled])
        confidence[rows] = np.where(filled, 0.2 * ends, confidence[rows])
        weight[rows] = fill(weight[rows], ~filled)
    exact = torch.from_numpy(points).to(track.points.dtype)
    placed = track.keyed & seen(track)
    exact[placed] = track.points[placed]
    return replace(
        track,
        points=exact,
        weight=torch.from_numpy(weight).to(track.weight.dtype),
        confidence=torch.from_numpy(confidence).to(track.confidence.dtype),
    )


def runs(points: Positions, there: NDArray[np.bool_], aspect: float) -> Iterator[tuple[int, int]]:
    """Ranges of rows, end excluded, in which one motion goes on: without long gaps and without leaps."""
    rows = np.flatnonzero(there)
    start = rows[0]
    square = np.array([aspect, 1.0])
    for before, after in pairwise(rows):
        earlier, later = points[before, :, :2] * square, points[after, :, :2] * square
        size = float(np.ptp(earlier, axis=0).max())
        leap = float(np.linalg.norm(later.mean(0) - earlier.mean(0)))
        growth = abs(np.log(float(np.ptp(later, axis=0).max()) / size))
        gap = after - before
        if gap > SHORT_GAP + 1 or leap > (0.4 + 0.1 * gap) * size or growth > 0.25 + 0.05 * gap:
            yield int(start), int(before) + 1
            start = after
    yield int(start), int(rows[-1]) + 1


def fill(values: NDArray[np.float32], there: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Values (F, N) with missing rows taken from the nearest on either side, halved."""
    if there.all():
        return values
    known = np.flatnonzero(there)
    nearest = known[np.abs(np.arange(len(values))[:, None] - known).argmin(1)]
    return np.where(there[:, None], values, 0.5 * values[nearest]).astype(np.float32)


def smooth_pieces(
    raw: Positions, trust: Wide, track: FaceTrack, rigid: float, expression: float, out: Positions
) -> None:
    """Smooth a run of any length, (F, N, 3), piece by piece into ``out``; pieces are faded into each other.

    Only a piece at a time is held in double precision.
    """
    frames = len(raw)
    steps = (
        [(0, frames)]
        if frames <= PIECE + 2 * AROUND
        else [(i, min(i + PIECE, frames)) for i in range(0, frames, PIECE)]
    )
    square = np.array([track.aspect, 1.0, 1.0])
    faded = np.zeros((frames, 1, 1))
    out[:] = 0
    for start, stop in steps:
        rows = slice(max(0, start - AROUND), min(frames, stop + AROUND))
        piece = smooth_run(raw[rows] * square, trust[rows], track.scheme, rigid, expression) / square
        numbers = np.arange(rows.start, rows.stop)
        beyond = np.maximum(np.maximum(start - numbers, numbers - stop + 1), 0)
        share = np.maximum(1 - beyond / (FADE + 1), 0)[:, None, None]
        out[rows] += (share * piece).astype(np.float32)
        faded[rows] += share
    for start in range(0, frames, PIECE):
        out[start : start + PIECE] /= faded[start : start + PIECE].astype(np.float32)


def smooth_run(points: Wide, trust: Wide, scheme: str, rigid: float, expression: float) -> Wide:
    """Smooth (F, N, 3) square-pixel points whose rows without trust (F,) may hold NaN."""
    there = trust > 0
    known = np.where(there[:, None, None], points, 0.0)
    sizes = single_widths(torch.from_numpy(known[there]).float(), scheme, 1.0).double().numpy()
    size = np.interp(np.arange(len(points)), np.flatnonzero(there), gaussian_filter1d(sizes, 4.0))
    shape, holding = mean_shape(known[there], trust[there], sizes, scheme)
    basis = np.concatenate((shape, np.ones_like(shape[:, :1])), 1)
    camera = np.einsum("kn,fnc->fkc", np.linalg.pinv(basis[holding], rcond=1e-3), known[:, holding])
    corners = basis[extremes(shape)]
    handles = np.einsum("hk,fkc->fhc", corners, camera)
    head = handles / size[:, None, None]
    chosen = choose(head[:, None].reshape(len(points), 1, -1), trust, HEAD_NOISE, rigid, np.zeros((1, 1), int))
    smoothed_camera = blend(camera.reshape(len(points), 1, -1), trust, chosen).reshape(camera.shape)
    moved = np.einsum("nk,fkc->fnc", basis, camera)
    back = turns(shape, moved)
    residual = seen_from_face(known - moved, back) / size[:, None, None]
    neighbors = cKDTree(shape).query(shape, min(9, len(shape)))[1]
    picked = choose(residual, trust, EXPRESSION_NOISE, expression, neighbors)
    residual = blend(residual, trust, picked)
    steady = np.einsum("nk,fkc->fnc", basis, smoothed_camera)
    return np.asarray(steady + seen_from_face(residual * size[:, None, None], -turns(shape, steady)))


def mean_shape(points: Wide, trust: Wide, sizes: Wide, scheme: str) -> tuple[Wide, NDArray[np.int64]]:
    """The person's own mean shape (N, 2 or 3), level and of width 1, and the points by which the head is held."""
    if scheme == "mesh":
        pose = mesh.pose_of(torch.from_numpy(points).float())
        rotation, moved = pose.rotation.double().numpy(), pose.translation.double().numpy()
        level = np.einsum("fji,fnj->fni", rotation, points - moved[:, None]) / sizes[:, None, None]
        mean = np.average(level, axis=0, weights=trust)
        return mean, np.asarray(mesh.RIGID)
    flat = points[..., :2] - points[..., :2].mean(1, keepdims=True)
    mean = flat[np.argmax(trust)] / sizes[np.argmax(trust)]
    for _ in range(3):
        level = seen_from_face(flat, turns(mean, flat)) / sizes[:, None, None]
        mean = np.average(level, axis=0, weights=trust)
    return mean, np.array([0, 1, 2, 14, 15, 16, *range(17, 48)])


def extremes(shape: Wide) -> NDArray[np.int64]:
    """Points at the ends of each axis of a shape: what they do, the whole head does."""
    return np.concatenate((shape.argmin(0), shape.argmax(0)))


def turns(shape: Wide, points: Wide) -> Wide:
    """Angles (F,) by which the shape is turned in the picture, from +x toward +y."""
    flat = points[..., :2] - points[..., :2].mean(1, keepdims=True)
    level = shape[:, :2] - shape[:, :2].mean(0)
    dot = np.einsum("nc,fnc->f", level, flat)
    cross = np.einsum("n,fn->f", level[:, 0], flat[..., 1]) - np.einsum("n,fn->f", level[:, 1], flat[..., 0])
    return np.asarray(np.arctan2(cross, dot))


def seen_from_face(vectors: Wide, angle: Wide) -> Wide:
    """Turn the x and y of (F, N, C) vectors by minus (F,) angles."""
    cosine, sine = np.cos(angle)[:, None], np.sin(angle)[:, None]
    x, y = vectors[..., 0], vectors[..., 1]
    turned = vectors.copy()
    turned[..., 0], turned[..., 1] = cosine * x + sine * y, cosine * y - sine * x
    return turned


def parabolas(trust: Wide, half: int) -> tuple[Wide, Wide, Wide]:
    """Local parabolas over 2 half + 1 frames as weights: coefficients (F, 3) of 1, k, k^2, and gain of noise (F,).

    The value at a frame is the sum over k of kernel_k · trust · (c0 + c1 k + c2 k^2) · value.
    """
    offsets = np.arange(-half, half + 1)
    kernel = window(half)
    moments = [correlate1d(trust, kernel * offsets**j, mode="constant") for j in range(5)]
    normal = np.stack([np.stack([moments[i + j] for j in range(3)], -1) for i in range(3)], -2)
    scale = np.array([1.0, 1.0 / max(half, 1), 1.0 / max(half, 1) ** 2])
    normal = normal * scale[:, None] * scale
    ridge = np.diag([1e-9, 1e-6, 1e-6]) + 1e-4 * normal[..., :1, :1] * np.diag([0.0, 1.0, 1.0])
    first = np.zeros((len(trust), 3, 1))
    first[:, 0] = 1
    solved = np.linalg.solve(normal + ridge, first)[..., 0] * scale
    # Noise of a frame counts by one over its trust.
    spread = [correlate1d(trust, kernel**2 * offsets**j, mode="constant") for j in range(5)]
    powers = np.zeros((len(trust), 5))
    for i in range(3):
        for j in range(3):
            powers[:, i + j] += solved[:, i] * solved[:, j]
    gain = np.maximum(sum(powers[:, j] * spread[j] for j in range(5)), 0)
    return solved, np.sqrt(gain), kernel


def window(half: int) -> Wide:
    """A bell over 2 half + 1 frames (Epanechnikov)."""
    offsets = np.arange(-half, half + 1)
    return np.asarray(1 - (offsets / (half + 1)) ** 2)


def fitted(values: Wide, trust: Wide, half: int) -> tuple[Wide, Wide]:
    """Values (F, ...) of the local parabolas, and gain of noise (F,)."""
    solved, gain, kernel = parabolas(trust, half)
    offsets = np.arange(-half, half + 1)
    flat = (values.reshape(len(values), -1).T * trust).T
    total = sum(solved[:, j, None] * correlate1d(flat, kernel * offsets**j, axis=0, mode="constant") for j in range(3))
    return np.asarray(total).reshape(values.shape), gain


def choose(values: Wide, trust: Wide, least: float, strength: float, neighbors: NDArray[np.int64]) -> Wide:
    """How wide to smooth (F, G, C) values: for each frame and group the index of a window, 0 for none.

    Groups decide together with their ``neighbors`` (G, K).
    """
    frames, groups, _ = values.shape
    chosen = np.zeros((frames, groups))
    if strength <= 0 or frames < 3:
        return chosen
    there = trust > 0
    noise = np.maximum(noise_of(values[there]), least)
    limit = (3.0 * strength) ** 2
    tried: list[tuple[Wide, Wide]] = [(values, 1 / np.sqrt(np.maximum(trust, 1e-6)))]
    open_ = np.ones((frames, groups), bool)
    for index, half in enumerate(HALF_WIDTHS, 1):
        if half >= frames:
            break
        now, gain = fitted(values, trust, half)
        for before, gain_before in tried:
            scale = (noise * np.sqrt(np.maximum(gain_before**2 - gain**2, 0.05 * gain_before**2))[:, None, None]) ** 2
            apart = ((now - before) ** 2 / scale).mean(-1)
            apart = np.asarray(sum(apart[:, column] for column in neighbors.T)) / neighbors.shape[1]
            # Where there is nothing to compare with, a wider window is always welcome.
            open_ &= (apart < limit) | ~there[:, None]
        chosen[open_] = index
        tried.append((now, gain))
    # Neighboring frames take similar windows, but never a wider one than the rule allows.
    even = gaussian_filter1d(minimum_filter1d(chosen, 3, axis=0), 1.5, axis=0)
    return np.asarray(np.minimum(even, chosen))


def noise_of(values: Wide) -> Wide:
    """Standard deviation (G, C) of what changes from frame to frame at random, from third differences."""
    if len(values) < 8:
        return np.zeros(values.shape[1:])
    third = np.diff(values, 3, axis=0)
    return np.asarray(np.median(np.abs(third), axis=0) / 0.6745 / np.sqrt(20))


def blend(values: Wide, trust: Wide, chosen: Wide) -> Wide:
    """Values (F, G, C) smoothed by the windows chosen (F, G); fractions lie between two windows."""
    low = np.clip(np.floor(chosen).astype(int), 0, len(HALF_WIDTHS) - 1)
    part = (chosen - low)[..., None]
    result = np.zeros_like(values)
    level = np.where((trust > 0)[:, None, None], values, fitted(values, trust, min(6, len(values)))[0])
    for index, half in enumerate(HALF_WIDTHS):
        wider = fitted(values, trust, half)[0]
        result = np.where((low == index)[..., None], (1 - part) * level + part * wider, result)
        level = wider
    return result

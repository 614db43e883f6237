"""One sub-pixel path from anchors and links: the network says where, flow says how it moved.

In window pixels each landmark's path minimizes

    sum of trust / noise^2 · |x_t - anchor_t|^2  +  sum of trust / error^2 · |x_t - x_s - shift_st|^2

over anchors and links. Links to a key look do not add up errors, so they carry the fine motion; anchors settle
where on the face the path lies and keep it from drifting. Fast motion passes without lag, because flow measures it.
Both sums are reweighted by their own residuals (Cauchy), so that outliers of either lose their say.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from mien import mesh
from mien.tracking.follow import SIDE, Step, in_picture, matrix
from mien.tracking.shape import Array, carry

NEAR_ERROR = 0.12
"""Standard deviation, in window pixels, of flow from the frame before."""
FAR_ERROR = 0.10
"""The same of flow from a key look."""
HEAD_ERROR = 0.15
"""The same of the motion of the head as a whole, for a point that cannot be seen."""
ALIVE_ERROR = 0.35
"""Error of flow for each pixel that a point moves otherwise than the head."""
OTHER_MOTION = 1.0
"""Pixels by which flow at a point must part from the motion of the head before it may be that of something else."""
LEAST_NOISE = 1.0
"""Least error of the network, in window pixels: where frames are alike it errs alike, and only looks sure."""
ROUNDS = 3
BLOCK = 256
"""Frames that are settled together, so that memory for what was measured does not grow with the shot."""
OVERLAP = 64
"""Frames that neighboring blocks share; flow links reach no further than a part of them."""

Wide = NDArray[np.float64]


@dataclass(frozen=True)
class Stretch:
    """A settled piece of a tracklet.

    Attributes:
        points: (F, N, 3) landmarks in picture pixels.
        weight: (F, N) trust in each.
        confidence: (F,) trust in the face.
        believed: (F,) bool, whether the network saw it.
    """

    points: Array
    weight: Array
    confidence: Array
    believed: NDArray[np.bool_]


def settled(steps: Sequence[Step], scheme: str) -> Stretch:
    """The refined path through steps, with what is known of each."""
    points, weight = path(steps, scheme)
    confidence = np.array([step.confidence for step in steps], np.float32)
    return Stretch(points, weight, confidence, np.array([step.believed for step in steps]))


def seamless(stretches: Sequence[Stretch]) -> Stretch:
    """One stretch from several of which each overlaps the next by OVERLAP frames; they fade into each other."""
    whole = stretches[0]
    for after in stretches[1:]:
        shared = min(OVERLAP, len(after.points))
        fade = ((np.arange(shared) + 0.5) / shared).astype(np.float32)[:, None]
        early, late = slice(len(whole.points) - shared, None), slice(0, shared)
        points = whole.points[early] + fade[..., None] * (after.points[late] - whole.points[early])
        weight = whole.weight[early] + fade * (after.weight[late] - whole.weight[early])
        whole = Stretch(
            np.concatenate((whole.points[:-shared], points, after.points[shared:])),
            np.concatenate((whole.weight[:-shared], weight, after.weight[shared:])),
            np.concatenate((whole.confidence, after.confidence[shared:])),
            np.concatenate((whole.believed, after.believed[shared:])),
        )
    return whole


def path(steps: Sequence[Step], scheme: str) -> tuple[Array, Array]:
    """Landmarks (F, N, 3) in picture pixels and their weight (F, N) from the steps of one tracklet.

    Steps are in order of frames, one per frame; links to frames outside the tracklet are ignored.
    """
    trust = np.stack([step.trust for step in steps])
    side = np.array([float(step.crop[2]) for step in steps])[:, None]
    depth = np.stack([step.anchors[:, 2] for step in steps]) / side
    believed = np.maximum(trust, 1e-4)
    depth = gaussian_filter1d(depth * believed, 2.0, axis=0) / gaussian_filter1d(believed, 2.0, axis=0)
    flat = np.stack([carry(matrix(step.crop), step.anchors[:, :2]) for step in steps])
    facing = np.clip((np.stack([step.facing for step in steps]) - 0.1) / 0.5, 0, 1)
    start = np.stack([step.estimate for step in steps])
    head = mesh.RIGID if scheme == "mesh" else list(range(flat.shape[1]))
    anchors = np.concatenate((flat, depth[..., None] * SIDE), -1)
    edges = edges_of(steps, facing, start, anchors[..., 2:], head)
    found = solve(anchors[..., :2], trust, edges, start) if len(edges.first) else flat
    placed = np.stack([in_picture(step.crop, points) for step, points in zip(steps, found)])
    weight = gaussian_filter1d(np.stack([step.weight for step in steps]), 1.0, axis=0)
    points = np.concatenate((placed, (depth * side)[..., None]), -1)
    return points.astype(np.float32), weight.astype(np.float32)


@dataclass(frozen=True)
class Edges:
    """Links as arrays.

    Attributes:
        first, second: (E,) rows that they join.
        shift: (E, N, 2) way from the first to the second.
        error: (E, N) its standard deviation.
        alive: (E, N) pixels by which flow parts from the motion of the head.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    shift: Wide
    error: Wide
    alive: Wide


def edges_of(steps: Sequence[Step], facing: Array, flat: Array, depth: Array, head: Sequence[int]) -> Edges:
    """Gather the links between steps; points that flow cannot see move with the head.

    The motion of the head is that of an affine camera: linear in where a point lies and in its depth, fitted robustly
    to what flow says of the points in ``head``.
    """
    row = {step.frame: index for index, step in enumerate(steps)}
    found = [
        (row[link.frame], index, link) for index, step in enumerate(steps) for link in step.links if link.frame in row
    ]
    if not found:
        none = np.zeros((0, flat.shape[1]))
        return Edges(np.zeros(0, int), np.zeros(0, int), np.zeros((*none.shape, 2)), none, none)
    first = np.array([entry[0] for entry in found])
    second = np.array([entry[1] for entry in found])
    shift = np.stack([entry[2].shift for entry in found]).astype(np.float64)
    sure = np.stack([entry[2].trust for entry in found]) * np.minimum(facing[first], facing[second])
    where = np.concatenate((flat, depth), -1)[first] / SIDE
    basis = np.concatenate((where - where.mean(1, keepdims=True), np.ones_like(where[..., :1])), -1)
    trust = sure[:, head] + 1e-6
    for _ in range(3):
        weighted = basis[:, head] * trust[..., None]
        normal = np.einsum("enk,enl->ekl", weighted, basis[:, head]) + 1e-3 * np.eye(4)
        motion = np.linalg.solve(normal, np.einsum("enk,enc->ekc", weighted, shift[:, head]))
        apart = np.linalg.norm(shift[:, head] - basis[:, head] @ motion, axis=-1)
        trust = (sure[:, head] + 1e-6) / (1 + apart**2)
    rigid = basis @ motion
    near = np.where(np.abs(second - first) == 1, NEAR_ERROR, FAR_ERROR)[:, None]
    # Flow sums over a neighborhood, which holds where all move with the head; parting lips are flattened by it.
    alive = np.linalg.norm(shift - rigid, axis=-1)
    seen = sure**2 / (near + ALIVE_ERROR * alive) ** 2 + 1e-4
    guessed = np.clip(1 - sure, 0, 1) ** 2 * np.clip(sure[:, head].mean(1, keepdims=True), 0, 1)
    guessed = guessed / (HEAD_ERROR + 0.5 * np.linalg.norm(rigid, axis=-1)) ** 2
    blended = (seen[..., None] * shift + guessed[..., None] * rigid) / (seen + guessed)[..., None]
    return Edges(first, second, blended, 1 / np.sqrt(seen + guessed), alive)


def solve(anchors: Array, trust: Array, edges: Edges, start: Array) -> Array:
    """Minimize the sum above; anchors and start (F, N, 2), trust (F, N)."""
    count = len(edges.first)
    rows, ones = np.arange(count), np.ones(count)
    places = np.concatenate((rows, rows)), np.concatenate((edges.second, edges.first))
    incidence = sparse.csr_matrix((np.concatenate((ones, -ones)), places), (count, len(anchors)))
    apart = apply(incidence, anchors) - edges.shift
    both = np.minimum(trust[edges.first], trust[edges.second])
    noise = anchor_noise(apart, np.where(edges.error < 0.4, both, 0))
    # Flow of a hand or of the background is smooth and sure of itself, but leads away from the network's points.
    # Points that the network itself only guesses have no say in that, nor has it where flow goes with the head.
    other = otherwise(edges, len(anchors))
    against = np.linalg.norm(apart, axis=-1) / (4 * noise + 1) * np.clip(both / 0.4, 0, 1)
    against *= np.maximum(other[edges.first], other[edges.second])
    links: Wide = 1 / (edges.error**2 * (1 + against**4))
    held: Wide = (trust**2 / noise**2 + 1e-6).astype(np.float64)
    found = start.astype(np.float64)
    link_weight: Wide = links
    anchor_weight: Wide = held
    for _ in range(ROUNDS):
        found = conjugate_gradient(found, anchors, anchor_weight, incidence, edges.shift, link_weight)
        off = np.linalg.norm(found - anchors, axis=-1)
        anchor_weight = held / (1 + (off / (3 * noise + 4)) ** 2)
        off = np.linalg.norm(apply(incidence, found) - edges.shift, axis=-1)
        free = 1 / (1 + (other * dragged(found - anchors, trust) / (noise + 0.7)) ** 4)
        free = np.minimum(free[edges.first], free[edges.second])
        link_weight = links * free / (1 + (off / (5 * edges.error)) ** 2)
    return found.astype(np.float32)


def otherwise(edges: Edges, frames: int) -> Wide:
    """Whether, 0 to 1, about each frame (F, N), flow at a point moves otherwise than the head: only then may it be
    that of something in front."""
    apart = edges.alive**2 / (edges.alive**2 + OTHER_MOTION**2)
    most = np.zeros((frames, apart.shape[1]))
    np.maximum.at(most, edges.first, apart)
    np.maximum.at(most, edges.second, apart)
    return np.asarray(gaussian_filter1d(maximum_filter1d(most, 7, axis=0), 1.5, axis=0))


def dragged(off: Wide, trust: Array) -> Wide:
    """How far (F, N) flow has for a while led points away from where it usually has them beside the anchors (F, N, 2).

    A network errs alike from frame to frame, so a lasting offset is its own; one that comes and goes is something
    that passed in front and took the points along.
    """
    sure = (trust > 0).astype(np.float64)[..., None]
    held = gaussian_filter1d(off * sure, 3.0, axis=0) / (gaussian_filter1d(sure, 3.0, axis=0) + 1e-3)
    return np.asarray(np.linalg.norm(held - np.median(held, axis=0), axis=-1))


def anchor_noise(apart: Wide, sure: Wide) -> Array:
    """Standard deviation (N,) in window pixels of the network's jitter, from its disagreement with flow (E, N, 2)."""
    away = np.where(sure > 0.2, np.abs(apart).max(-1), np.nan)
    if np.isfinite(away).sum() < 8:
        return np.full(away.shape[1], LEAST_NOISE, np.float32)
    overall = float(np.nanmedian(away))
    counted = np.isfinite(away).sum(0)
    each = np.array([np.nanmedian(column) if enough else overall for column, enough in zip(away.T, counted > 4)])
    return np.clip(each / 0.95, LEAST_NOISE, 2.5).astype(np.float32)


def apply(matrix_: sparse.csr_matrix, values: NDArray[np.floating]) -> Wide:
    """A sparse (E, F) matrix on the first axis of values (F, N, C)."""
    flat = matrix_ @ values.reshape(len(values), -1)
    return np.asarray(flat).reshape(-1, *values.shape[1:])


def conjugate_gradient(
    start: Wide, anchors: Array, held: Wide, incidence: sparse.csr_matrix, shift: Wide, links: Wide
) -> Wide:
    """Solve the normal equations of the weighted sums for all landmarks at once, from ``start``."""
    held, links = held[..., None], links[..., None]
    back = incidence.T.tocsr()

    def normal(x: Wide) -> Wide:
        return held * x + apply(back, links * apply(incidence, x))

    inverse = 1 / (held + apply(abs(back), links))
    x = start
    residual = held * anchors + apply(back, links * shift) - normal(x)
    scaled = inverse * residual
    direction = scaled
    size = (residual * scaled).sum(0)
    for _ in range(400):
        image = normal(direction)
        step = size / np.maximum((direction * image).sum(0), 1e-12)
        x = x + step * direction
        residual = residual - step * image
        if np.abs(step * direction).max() < 2e-4:
            break
        scaled = inverse * residual
        grown = (residual * scaled).sum(0)
        direction = scaled + grown / np.maximum(size, 1e-12) * direction
        size = grown
    return x

"""One sub-pixel path from anchors and links: the network says where, flow says how it moved.

In window pixels each landmark's path minimizes

    sum of trust / noise^2 · |x_t - anchor_t|^2  +  sum of trust / error^2 · |x_t - x_s - shift_st|^2

over anchors and links. Links to a key look do not add up errors, so they carry the fine motion; anchors settle
where on the face the path lies and keep it from drifting. Fast motion passes without lag, because flow measures it.
Both sums are reweighted by their own residuals (Cauchy), so that outliers of either lose their say.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.ndimage import gaussian_filter1d

from mien.tracking.follow import Link, Step, in_picture, matrix
from mien.tracking.shape import Array, carry

NEAR_ERROR = 0.12
"""Standard deviation, in window pixels, of flow from the frame before."""
FAR_ERROR = 0.10
"""The same of flow from a key look."""
ROUNDS = 3

Wide = NDArray[np.float64]


def path(steps: Sequence[Step]) -> tuple[Array, Array]:
    """Landmarks (F, N, 3) in picture pixels and their weight (F, N) from the steps of one tracklet.

    Steps are in order of frames, one per frame; links to frames outside the tracklet are ignored.
    """
    row = {step.frame: index for index, step in enumerate(steps)}
    anchors = np.stack([carry(matrix(step.crop), step.anchors[:, :2]) for step in steps])
    trust = np.stack([step.trust for step in steps])
    edges = [
        (row[link.frame], index, link) for index, step in enumerate(steps) for link in step.links if link.frame in row
    ]
    start = np.stack([step.estimate for step in steps])
    facing = np.clip((np.stack([step.facing for step in steps]) - 0.1) / 0.5, 0, 1)
    flat = solve(anchors, trust, facing, edges, start) if edges else anchors
    placed = np.stack([in_picture(step.crop, points) for step, points in zip(steps, flat)])
    side = np.array([float(step.crop[2]) for step in steps])[:, None]
    depth = np.stack([step.anchors[:, 2] for step in steps]) / side
    believed = np.maximum(trust, 1e-4)
    smooth = gaussian_filter1d(depth * believed, 2.0, axis=0) / gaussian_filter1d(believed, 2.0, axis=0)
    weight = gaussian_filter1d(np.stack([step.weight for step in steps]), 1.0, axis=0)
    points = np.concatenate((placed, (smooth * side)[..., None]), -1)
    return points.astype(np.float32), weight.astype(np.float32)


def solve(
    anchors: Array, trust: Array, facing: Array, edges: Sequence[tuple[int, int, Link]], start: Array) -> Array:
    """Minimize the sum above; anchors and start (F, N, 2), trust and facing (F, N)."""
    frames = len(anchors)
    first = np.array([edge[0] for edge in edges])
    second = np.array([edge[1] for edge in edges])
    shift = np.stack([edge[2].shift for edge in edges])
    sure = np.stack([edge[2].trust for edge in edges]) * np.minimum(facing[first], facing[second])
    rows = np.arange(len(edges))
    ones = np.ones(len(edges))
    incidence = sparse.csr_matrix(
        (np.concatenate((ones, -ones)), (np.concatenate((rows, rows)), np.concatenate((second, first)))),
        (len(edges), frames),
    )
    near = np.abs(second - first) == 1
    error = np.where(near, NEAR_ERROR, FAR_ERROR)[:, None]
    links: Wide = (sure**2 / error**2 + 1e-4).astype(np.float64)
    noise = anchor_noise(anchors, trust, incidence[near], shift[near], sure[near])
    # Flow of a hand or of the background is smooth and sure of itself, but leads away from the network's points.
    away = np.linalg.norm(apply(incidence, anchors) - shift, axis=-1)
    both = apply(abs(incidence), (trust[..., None] > 0).astype(np.float64))[..., 0] == 2
    links = links / (1 + np.where(both, away / (4 * noise + 1), 0) ** 4)
    held: Wide = (trust / noise**2 + 1e-6).astype(np.float64)
    found = start.astype(np.float64)
    link_weight, anchor_weight = links, held
    for _ in range(ROUNDS):
        found = conjugate_gradient(found, anchors, anchor_weight, incidence, shift, link_weight)
        off = np.linalg.norm(found - anchors, axis=-1)
        anchor_weight = held / (1 + (off / (3 * noise + 4)) ** 2)
        off = np.linalg.norm(apply(incidence, found) - shift, axis=-1)
        link_weight = links / (1 + (off / (5 * error)) ** 2)
    return found.astype(np.float32)


def anchor_noise(anchors: Array, trust: Array, incidence: sparse.csr_matrix, shift: Array, sure: Array) -> Array:
    """Standard deviation (N,) in window pixels of the network's jitter, judged by flow between neighbors."""
    away = np.abs(apply(incidence, anchors) - shift).max(-1)
    both = (sure > 0.5) & (apply(abs(incidence), trust[..., None])[..., 0] > 0.2)
    away = np.where(both, away, np.nan)
    if np.isfinite(away).sum() < 8:
        return np.full(anchors.shape[1], 1.0, np.float32)
    overall = float(np.nanmedian(away))
    counted = np.isfinite(away).sum(0)
    each = np.array([np.nanmedian(column) if enough else overall for column, enough in zip(away.T, counted > 4)])
    return np.clip(each / 0.95, 0.3, 4.0).astype(np.float32)


def apply(matrix_: sparse.csr_matrix, values: NDArray[np.floating]) -> Wide:
    """A sparse (E, F) matrix on the first axis of values (F, N, C)."""
    flat = matrix_ @ values.reshape(len(values), -1)
    return np.asarray(flat).reshape(-1, *values.shape[1:])


def conjugate_gradient(
    start: Wide, anchors: Array, held: Wide, incidence: sparse.csr_matrix, shift: Array, links: Wide
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

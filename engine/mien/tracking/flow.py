"""Dense motion between two looks at one face, and how far it can be trusted at each landmark."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Gray = NDArray[np.uint8]
Array = NDArray[np.float32]

REACH = 5.0
"""Standard deviation, in crop pixels, of the neighborhood whose texture speaks for a landmark."""
COARSE = 4
"""Pixels along the side of the cells in which neighborhoods are summed."""
EDGE = cv2.BORDER_REPLICATE
NOISE = 3.0
"""Smallest difference in 8-bit levels that is put down to grain."""


def measure(before: Gray, after: Gray, points: Array, guess: Array) -> tuple[Array, Array]:
    """Where (N, 2) points of ``before`` went: shifts (N, 2) in pixels and trust (N,) 0 to 1.

    Both pictures are (S, S) crops that follow the face; ``guess`` (2, 3) is the affine motion expected. Dense inverse
    search (Kroeger et al., ECCV 2016) gives a flow for each pixel; a landmark takes the mean around it, weighted by
    texture and by how well the warped pictures agree, and leans on the affine motion of the whole face where
    there is no texture. Trust falls where the pictures disagree: occlusion, blur, a face that turned away.
    """
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    search.setFinestScale(1)
    size = before.shape[0]
    flow = np.asarray(search.calc(before, after, affine_flow(guess, size, 1)), np.float32)
    agreement = compare(before, after, flow)
    texture = energy(before)
    weight = agreement * texture / (texture + np.float32(np.median(texture[::4, ::4])) + 1e-6)
    # Neighborhoods are wide: a quarter of the size loses nothing.
    held = shrink(merge(flow[..., 0] * weight, flow[..., 1] * weight, weight, agreement))
    motion = fit_affine(held[..., :2] / (held[..., 2:3] + 1e-6), held[..., 2], size)
    spread = blur(held)
    mean = (spread[..., :2] + 0.05 * affine_flow(motion, size // COARSE, COARSE)) / (spread[..., 2:3] + 0.05)
    found = sample(merge(mean[..., 0], mean[..., 1], spread[..., 3]), (points / COARSE).astype(np.float32))
    return found[:, :2], found[:, 2]


def affine_flow(motion: Array, size: int, step: int) -> Array:
    """The flow (size, size, 2) of an affine motion (2, 3), at every ``step``-th position of a picture."""
    grid = grid_of(size, step)
    change = motion.astype(np.float32) - np.eye(2, 3, dtype=np.float32)
    return np.ascontiguousarray(grid @ change[:, :2].T + change[:, 2])


def grid_of(size: int, step: int) -> Array:
    """Positions (size, size, 2) of the centers of cells of ``step`` pixels, from the outer corner of the first."""
    line = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * step
    return np.stack(np.meshgrid(line, line), -1)


def merge(*layers: Array) -> Array:
    """Layers (S, S) as the channels of one picture."""
    return np.asarray(cv2.merge(layers), np.float32)


def shrink(values: Array) -> Array:
    """Mean over cells of COARSE pixels."""
    size = values.shape[0] // COARSE
    return np.asarray(cv2.resize(values, (size, size), interpolation=cv2.INTER_AREA), np.float32)


def affine_between(before: Array, after: Array) -> Array:
    """The affine motion (2, 3) that carries (N, 2) positions nearest to others, by least squares."""
    basis = np.concatenate((before, np.ones_like(before[:, :1])), 1)
    return np.asarray(np.linalg.lstsq(basis, after, rcond=None)[0].T, np.float32)


def to_gray(color: NDArray[np.uint8]) -> Gray:
    """Brightness of an RGB picture."""
    return np.asarray(cv2.cvtColor(color, cv2.COLOR_RGB2GRAY), np.uint8)


def compare(before: Gray, after: Gray, flow: Array) -> Array:
    """Agreement (S, S), 0 to 1, of ``before`` with ``after`` seen through the flow; blind to exposure."""
    size = before.shape[0]
    seen = cv2.remap(after, grid_of(size, 1) - np.float32(0.5) + flow, None, cv2.INTER_LINEAR, None, EDGE)
    first, second = before.astype(np.float32), seen.astype(np.float32)
    box = (11, 11)
    mean_first, mean_second = cv2.blur(first, box), cv2.blur(second, box)
    variance = np.maximum(cv2.blur(first * first, box) - mean_first**2, 0)
    other = np.maximum(cv2.blur(second * second, box) - mean_second**2, 0)
    # Medians, because what covers a face covers less than half of the crop.
    gain = float(np.sqrt(np.median(variance[::4, ::4] + 1) / np.median(other[::4, ::4] + 1)))
    gain = min(max(gain, 0.6), 1.6)
    lifted = gain * mean_second + float(np.median((mean_first - gain * mean_second)[::4, ::4]))
    mixed = cv2.blur(first * second, box) - mean_first * mean_second
    difference = np.maximum(variance + gain * gain * other - 2 * gain * mixed, 0)
    # Grain differs from frame to frame without a motion: judge by the quieter half of the crop.
    noise = max(NOISE, 1.5 * float(np.sqrt(np.median(difference[::4, ::4]))))
    bad = difference / (noise**2 + 0.1 * variance)
    light = np.abs(mean_first - lifted) / 40
    return np.asarray(1 / (1 + (bad / 2) ** 2 + light**4), np.float32)


def energy(gray: Gray) -> Array:
    """Squared gradient (S, S) around each pixel."""
    smooth = cv2.GaussianBlur(gray.astype(np.float32), (0, 0), 1.0)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    return np.asarray(cv2.blur(across * across + down * down, (5, 5)), np.float32)


def fit_affine(flow: Array, weight: Array, size: int) -> Array:
    """The affine motion (2, 3) nearest to a coarse flow, by weighted least squares that outliers leave alone."""
    where = grid_of(flow.shape[0], size // flow.shape[0]).reshape(-1, 2)
    basis: Array = np.concatenate((where / size - np.float32(0.5), np.ones_like(where[:, :1])), 1)
    # The face fills the middle of the crop; what lies at its edge may be background.
    middle = np.exp(-2.0 * (basis[:, :2] ** 2).sum(1) / 0.3**2).astype(np.float32)
    target: Array = flow.reshape(-1, 2)
    base: Array = weight.ravel() * middle + np.float32(1e-6)
    trust = base
    for _ in range(3):
        normal = basis.T @ (basis * trust[:, None]) + 1e-6 * np.eye(3, dtype=np.float32)
        solution = np.linalg.solve(normal, basis.T @ (target * trust[:, None]))
        fitted: Array = basis @ solution
        away = np.linalg.norm(target - fitted, axis=1)
        trust = base / (1 + away**2)
    linear = solution[:2].T / size
    shift = solution[2] - 0.5 * solution[:2].sum(0)
    return np.asarray(np.concatenate((linear, shift[:, None]), 1) + np.eye(2, 3), np.float32)


def blur(values: Array) -> Array:
    """Gaussian mean around each cell."""
    return np.asarray(cv2.GaussianBlur(values, (0, 0), REACH / COARSE), np.float32)


def sample(values: Array, points: Array) -> Array:
    """Values (N,) or (N, C) of a picture at (N, 2) positions counted from the outer corner of its first pixel."""
    at = np.ascontiguousarray(points[None] - np.float32(0.5), np.float32)
    found: NDArray[Any] = cv2.remap(values, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found[0], np.float32)

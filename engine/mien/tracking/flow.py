"""Dense motion between two looks at one face, and how far it can be trusted at each landmark."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Gray = NDArray[np.uint8]
Array = NDArray[np.float32]

REACH = 5.0
"""Standard deviation, in crop pixels, of the neighborhood whose texture speaks for a landmark."""
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
    flow = np.asarray(search.calc(before, after, affine_flow(guess, before.shape[0])), np.float32)
    agreement = compare(before, after, flow)
    texture = energy(before)
    weight = agreement * texture / (texture + np.float32(np.median(texture)) + 1e-6)
    affine = fit_affine(flow, weight)
    spread = blur(weight)
    mean = (blur(flow * weight[..., None]) + 0.05 * affine) / (spread + 0.05)[..., None]
    trust = blur(agreement)
    return sample(mean, points), sample(trust, points)


def affine_flow(motion: Array, size: int) -> Array:
    """The flow (S, S, 2) of an affine motion (2, 3) of positions that count from the outer corner of a picture."""
    x, y = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    grid = np.stack((x, y), -1)
    return np.ascontiguousarray(grid @ motion[:, :2].T + motion[:, 2] - grid, np.float32)


def affine_between(before: Array, after: Array) -> Array:
    """The affine motion (2, 3) that carries (N, 2) positions nearest to others, by least squares."""
    basis = np.concatenate((before, np.ones_like(before[:, :1])), 1)
    return np.asarray(np.linalg.lstsq(basis, after, rcond=None)[0].T, np.float32)


def to_gray(color: NDArray[np.uint8]) -> Gray:
    """Brightness of an RGB picture."""
    return np.asarray(cv2.cvtColor(color, cv2.COLOR_RGB2GRAY), np.uint8)


def compare(before: Gray, after: Gray, flow: Array) -> Array:
    """Agreement (S, S), 0 to 1, of ``before`` with ``after`` seen through the flow; blind to local brightness."""
    size = before.shape[0]
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1).astype(np.float32)
    seen = cv2.remap(after, grid + flow, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    first, second = before.astype(np.float32), seen.astype(np.float32)
    box = (11, 11)
    mean_first, mean_second = cv2.blur(first, box), cv2.blur(second, box)
    variance = np.maximum(cv2.blur(first * first, box) - mean_first**2, 0)
    difference = np.maximum(cv2.blur((first - second) ** 2, box) - (mean_first - mean_second) ** 2, 0)
    # Grain differs from frame to frame without a motion: judge by the quieter half of the crop.
    noise = max(NOISE, 1.5 * float(np.sqrt(np.median(difference))))
    bad = difference / (noise**2 + 0.1 * variance)
    light = np.abs(mean_first - mean_second) / 60
    return np.asarray(1 / (1 + (bad / 2) ** 2 + light**4), np.float32)


def energy(gray: Gray) -> Array:
    """Squared gradient (S, S) around each pixel."""
    smooth = cv2.GaussianBlur(gray.astype(np.float32), (0, 0), 1.0)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    return np.asarray(cv2.blur(across * across + down * down, (5, 5)), np.float32)


def fit_affine(flow: Array, weight: Array) -> Array:
    """The affine motion (S, S, 2) nearest to the flow, by two rounds of weighted least squares on a coarse grid."""
    size = flow.shape[0]
    step = 4
    y, x = np.mgrid[0:size:step, 0:size:step].astype(np.float32)
    basis = np.stack((np.ones_like(x), x / size - 0.5, y / size - 0.5), -1).reshape(-1, 3)
    # The face fills the middle of the crop; what lies at its edge may be background.
    middle = np.exp(-2.0 * ((x / size - 0.5) ** 2 + (y / size - 0.5) ** 2) / 0.3**2).ravel()
    target = flow[::step, ::step].reshape(-1, 2)
    base = weight[::step, ::step].ravel() * middle + 1e-6
    trust = base
    for _ in range(3):
        normal = basis.T @ (basis * trust[:, None])
        solution = np.linalg.solve(normal + 1e-6 * np.eye(3, dtype=np.float32), basis.T @ (target * trust[:, None]))
        away = np.linalg.norm(target - basis @ solution, axis=1)
        trust = base / (1 + (away / 1.0) ** 2)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    whole = np.stack((np.ones_like(x), x / size - 0.5, y / size - 0.5), -1)
    return np.asarray(whole @ solution, np.float32)


def blur(values: Array) -> Array:
    """Gaussian mean around each pixel."""
    return np.asarray(cv2.GaussianBlur(values, (0, 0), REACH), np.float32)


def sample(values: Array, points: Array) -> Array:
    """Values (N,) or (N, C) of a picture at (N, 2) positions counted from the outer corner of its first pixel."""
    at = np.ascontiguousarray(points[None] - np.float32(0.5), np.float32)
    found: NDArray[Any] = cv2.remap(values, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found[0], np.float32)

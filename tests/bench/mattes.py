"""How matte operations compare with what a compositor would otherwise run, side by side in one process.

    python tests/bench/mattes.py

Prints milliseconds of processor time on one thread, the least of several rounds in which ours and theirs take
turns, and the ratio.
"""

import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from scipy import ndimage

from mien.ops import guided as filters
from mien.ops.distance import signed_distance
from mien.ops.edge import Softness, edge

SIDE = 1536
Work = Callable[[], Any]


def cost(works: dict[str, Work], rounds: int = 5) -> dict[str, float]:
    """The least milliseconds of processor time of each, taking turns."""
    best = dict.fromkeys(works, float("inf"))
    for work in works.values():
        work()
    for _ in range(rounds):
        for name, work in works.items():
            start = time.thread_time()
            work()
            best[name] = min(best[name], (time.thread_time() - start) * 1000)
    return best


def disc(side: int, radius: float) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(side) + 0.5, torch.arange(side) + 0.5, indexing="ij")
    return (radius - torch.hypot(x - side / 2 - 0.3, y - side / 2 + 0.2) + 0.5).clamp(0, 1)[None]


def say(name: str, value: float, note: str) -> None:
    print(f"{name:52} {value:9.2f} {note}")


def bench_radius() -> None:
    print(f"Shrink and grow, {SIDE} px square, edge of 15 px")
    soft = Softness(7.5, 7.5)
    mattes = {"shrink": disc(SIDE, 600), "grow": disc(SIDE, 250)}
    for word, matte in mattes.items():
        signed = {r: float(-r if word == "shrink" else r) for r in (10, 100, 400)}
        times = cost({str(r): lambda grow=grow, matte=matte: edge(matte, grow, soft) for r, grow in signed.items()})
        for r, milliseconds in times.items():
            say(f"  {word} by {r} px", milliseconds, f"ms   x{milliseconds / times['10']:.2f} of 10 px")


def bench_erode() -> None:
    matte = disc(SIDE, 600)
    floats = matte[0].numpy()
    bytes_ = (floats * 255).astype(np.uint8)
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (201, 201))
    works: dict[str, Work] = {
        "ours": lambda: edge(matte, -100.0),
        "cv2.erode float": lambda: cv2.erode(floats, ellipse),
        "cv2.erode 8 bit": lambda: cv2.erode(bytes_, ellipse),
    }
    times = cost(works, 3)
    print(f"Shrink by 100 px, {SIDE} px square, beside an elliptical erode of radius 100")
    for name, milliseconds in times.items():
        say(f"  {name}", milliseconds, f"ms   ours is x{milliseconds / times['ours']:.1f} quicker")


def bench_distance() -> None:
    matte = disc(1024, 380)
    floats = matte[0].numpy() >= 0.5
    bytes_ = floats.astype(np.uint8)
    works: dict[str, Work] = {
        "ours, signed, to a fraction of a pixel": lambda: signed_distance(matte),
        "ours, a band of 30 px at 100 px": lambda: signed_distance(matte, 85.0, 115.0),
        "scipy, both sides": lambda: (
            ndimage.distance_transform_edt(floats),
            ndimage.distance_transform_edt(~floats),
        ),
        "cv2.distanceTransform, both sides": lambda: (
            cv2.distanceTransform(bytes_, cv2.DIST_L2, cv2.DIST_MASK_PRECISE),
            cv2.distanceTransform(1 - bytes_, cv2.DIST_L2, cv2.DIST_MASK_PRECISE),
        ),
    }
    print("Distance from the edge everywhere, 1024 px square")
    for name, milliseconds in cost(works, 3).items():
        say(f"  {name}", milliseconds, "ms")
    y, x = np.mgrid[:1024, :1024] + 0.5
    truth = 380 - np.hypot(x - 512.3, y - 511.8)
    deep = truth > 8
    errors = {
        "ours": np.abs(signed_distance(matte)[0].numpy() - truth)[deep].max(),
        "scipy": np.abs(ndimage.distance_transform_edt(floats) - 0.5 - truth)[deep].max(),
    }
    for name, error in errors.items():
        say(f"  largest error inside a disc, {name}", float(error), "px")


def reference(guide: np.ndarray, matte: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """The guided filter as it is usually written: OpenCV's box filter and numpy."""
    window = (2 * radius + 1,) * 2
    mean, level = cv2.blur(guide, window), cv2.blur(matte, window)
    shared = cv2.blur(guide * matte[..., None], window) - mean * level[..., None]
    spread = np.empty((*matte.shape, 3, 3), guide.dtype)
    for i in range(3):
        for j in range(3):
            product = cv2.blur(guide[..., i] * guide[..., j], window) - mean[..., i] * mean[..., j]
            spread[..., i, j] = product + epsilon * (i == j)
    slope = np.linalg.solve(spread, shared[..., None])[..., 0]
    offset = level - (slope * mean).sum(-1)
    return (cv2.blur(slope, window) * guide).sum(-1) + cv2.blur(offset, window)


def bench_guided() -> None:
    side = 768
    guide = torch.rand(3, side, side, generator=torch.Generator().manual_seed(0))
    matte = disc(side, 250)
    packed, plain = guide.permute(1, 2, 0).contiguous().numpy(), matte[0].numpy()
    works: dict[str, Work] = {}
    for radius in (4, 32, 128):
        works[f"ours, radius {radius}"] = lambda r=radius: filters.guided(guide, matte, r, 1e-3)
    for radius in (32, 128):
        stride = radius // 4
        works[f"ours with fewer windows, radius {radius}"] = lambda r=radius, s=stride: filters.guided_fast(
            guide, matte, r, 1e-3, s
        )
    works["OpenCV and numpy, radius 32"] = lambda: reference(packed, plain, 32, 1e-3)
    print(f"Guided filter, color guide, {side} px square")
    for name, milliseconds in cost(works, 3).items():
        say(f"  {name}", milliseconds, "ms")
    inner = slice(140, -140)
    exact = reference(packed.astype(np.float64), plain.astype(np.float64), 32, 1e-3)
    difference = np.abs(filters.guided(guide, matte, 32, 1e-3)[0].numpy() - exact)[inner, inner].max()
    say("  largest difference from the formula in double", float(difference) * 1e6, "millionths")


if __name__ == "__main__":
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with torch.inference_mode():
        bench_radius()
        bench_erode()
        bench_distance()
        bench_guided()

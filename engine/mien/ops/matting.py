"""Closed-form matting: hair between what is surely the face and what surely is not.

The matte sought is, in every small window, a linear function of the picture's color, and agrees with what is
known (Levin, Lischinski, Weiss: A Closed-Form Solution to Natural Image Matting, 2008). The system is never
written down: its product with a matte is a guided filter (He, Sun, Tang: Fast Matting Using Large Kernel
Matting Laplacian Matrices, 2010), so that conjugate gradients solve it at any window size.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mien.ops.guided import box_mean, covariance, solve3
from mien.types import Image, Matte

HOLD = 100.0
"""How strongly what is known holds, beside the weight of a window."""


class Windows(NamedTuple):
    """What every window of a picture is like.

    Attributes:
        guide: (3, H, W) the picture, double precision.
        mean: (3, H, W) its means.
        covariance: (6, H, W) its covariances, regularized.
        whole: (1, H, W) 1 for windows that lie inside the picture.
        radius: Half their size.
    """

    guide: Tensor
    mean: Tensor
    covariance: Tensor
    whole: Tensor
    radius: int


def closed_form(
    guide: Image, matte: Matte, known: Tensor, *, radius: int = 1, epsilon: float = 1e-6, steps: int = 400
) -> Matte:
    """The (1, H, W) matte that continues a (3, H, W) picture's colors from where it is ``known``.

    Args:
        guide: Picture, 0 to 1, without NaN.
        matte: Matte, taken at its word where ``known``; a first guess elsewhere.
        known: (1, H, W) bool.
        radius: Windows are ``2 radius + 1`` pixels wide: 1 keeps the finest hair, more bridges wider gaps.
        epsilon: Variance of color below which a window counts as flat.
        steps: Most rounds of conjugate gradients; it stops sooner when nothing changes.
    """
    if guide.dim() != 3 or guide.shape[0] != 3 or matte.shape != (1, *guide.shape[1:]) or known.shape != matte.shape:
        raise ValueError(f"{tuple(guide.shape)}, {tuple(matte.shape)} and {tuple(known.shape)} do not fit")
    if not bool((~known).any()) or min(guide.shape[1:]) <= 2 * radius:
        return matte
    windows = windows_of(guide, radius, epsilon)
    held = known.double() * HOLD
    start = matte.double().nan_to_num(0.0).clamp(0, 1)

    def system(values: Tensor) -> Tensor:
        return laplacian(windows, values) + held * values

    diagonal = windows_of_pixel(windows) + held
    solved = _conjugate_gradients(system, held * start, start, diagonal, steps)
    return torch.where(known, matte, solved.clamp(0, 1).to(matte.dtype))


def windows_of(guide: Image, radius: int, epsilon: float) -> Windows:
    """The statistics of a picture's windows."""
    exact = guide.double()
    mean = box_mean(exact, radius)
    count = (2 * radius + 1) ** 2
    whole = torch.zeros_like(exact[:1])
    whole[:, radius:-radius, radius:-radius] = 1
    return Windows(exact, mean, covariance(exact, mean, radius, epsilon / count), whole, radius)


def windows_of_pixel(windows: Windows) -> Tensor:
    """(1, H, W) about how many windows speak for each pixel: the system's diagonal, but for the picture."""
    count = (2 * windows.radius + 1) ** 2
    return _sum(windows.whole, windows.radius).clamp_min(1) * (1 - 2 / count)


def laplacian(windows: Windows, values: Tensor) -> Tensor:
    """The matting Laplacian times a (1, H, W) matte."""
    radius = windows.radius
    level = box_mean(values, radius)
    slope = solve3(windows.covariance, box_mean(windows.guide * values, radius) - windows.mean * level)
    offset = level - (slope * windows.mean).sum(0, keepdim=True)
    lines = _sum(torch.cat([slope, offset, torch.ones_like(offset)]) * windows.whole, radius)
    fitted = (lines[:3] * windows.guide).sum(0, keepdim=True) + lines[3:4]
    return lines[4:] * values - fitted


def _sum(values: Tensor, radius: int) -> Tensor:
    """Sum over windows; values near the border must be 0."""
    size = values.shape[-2:]
    counts = [torch.arange(n, device=values.device) for n in size]
    cut = [torch.minimum(c + radius + 1, c.new_tensor(n)) - (c - radius).clamp_min(0) for c, n in zip(counts, size)]
    return box_mean(values, radius) * (cut[0][:, None] * cut[1])


def _conjugate_gradients(
    system: Callable[[Tensor], Tensor], right: Tensor, start: Tensor, diagonal: Tensor, steps: int
) -> Tensor:
    """The solution of a symmetric, positive system, from a first guess."""
    solution = start
    residual = right - system(start)
    goal = 1e-12 * float((right * right).sum())
    eased = residual / diagonal
    direction = eased
    strength = (residual * eased).sum()
    for _ in range(steps):
        if float((residual * residual).sum()) <= goal:
            break
        product = system(direction)
        length = strength / (direction * product).sum()
        solution = solution + length * direction
        residual = residual - length * product
        eased = residual / diagonal
        renewed = (residual * eased).sum()
        direction = eased + renewed / strength * direction
        strength = renewed
    return solution

"""Laying one set of points on another."""

import torch

from mien.types import Matrix, Points


def umeyama(source: Points, target: Points, weight: torch.Tensor | None = None) -> Matrix:
    """The rotation, uniform scale and shift that best lay (..., N, D) points on others of the same shape.

    Weights (..., N) say how much each point counts. The result is (..., D + 1, D + 1), float64, never a
    mirroring. Points that all coincide are only shifted. Umeyama 1991.
    """
    if source.shape[-1] != target.shape[-1] or source.shape[-2] != target.shape[-2]:
        raise ValueError(f"points must match: {tuple(source.shape)} and {tuple(target.shape)}")
    lead = torch.broadcast_tensors(source[..., 0, 0], target[..., 0, 0])[0].shape
    size = source.shape[-1]
    source, target = (p.double().expand(*lead, *p.shape[-2:]) for p in (source, target))
    count = source.new_ones(()) if weight is None else weight.double()
    count = count.expand(source.shape[:-1])
    if bool((count < 0).any()) or bool((count.sum(-1) <= 0).any()):
        raise ValueError("weights must not be negative, and some must be above zero")
    share = (count / count.sum(-1, keepdim=True))[..., None]
    middle, aim = (source * share).sum(-2, keepdim=True), (target * share).sum(-2, keepdim=True)
    here, there = source - middle, target - aim
    u, s, vt = torch.linalg.svd((there * share).mT @ here)
    sign = torch.ones_like(s)
    sign[..., -1] = torch.where(torch.linalg.det(u @ vt) < 0, -1.0, 1.0)
    rotation = u @ (sign[..., None] * vt)
    spread = (here.square() * share).sum((-1, -2))
    flat = spread <= 1e-18 * (1 + middle.square().sum((-1, -2)))
    scale = torch.where(flat, 1.0, (s * sign).sum(-1) / torch.where(flat, 1.0, spread))
    linear = scale[..., None, None] * torch.where(
        flat[..., None, None], torch.eye(size, dtype=source.dtype, device=source.device), rotation
    )
    matrix = torch.zeros(*lead, size + 1, size + 1, dtype=source.dtype, device=source.device)
    matrix[..., :size, :size] = linear
    matrix[..., :size, size] = (aim - middle @ linear.mT).squeeze(-2)
    matrix[..., size, size] = 1
    return matrix

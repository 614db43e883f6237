"""Slow differences of color over a face, as a small grid in axes that follow the head.

The plate's redder nose, darker jaw or shadowed side, relative to the face as a whole, at several scales at once.
What stands out at a finer scale than the grid follows (a hand, the rim of spectacles) is held within bounds, so that
its color does not bleed into the skin around it.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from mien.ops import spaces
from mien.types import Face, Image, Matte, Regions, RegionSample, Series

GRID = (16, 12)
"""Rows and columns."""
HALF = (0.95, 0.7)
"""How far the grid reaches down and across from the face's center, in face widths."""
LEVEL = {"mesh": (33, 263), "ibug68": (36, 45)}
"""Outer corners of the eyes, whose line is level on the face."""
SCALES = (4.0, 2.0, 1.0)
"""Sizes at which differences are followed, coarse to fine, over the finest."""
ODD = 0.15
"""Largest departure, as the logarithm of a ratio, from the next coarser scale."""
STRANGE = 0.35
"""Departure from the usual difference, as the logarithm of a ratio, at which a place counts for little."""
ROUNDS = 5
LEAST = 0.02
"""Weight of a cell, over that of the fullest, below which its neighbors say more than it does."""
WINDOW = 3.0


def places(face: Face, corner: tuple[float, float], size: tuple[int, int], cell: float = 1.0) -> Tensor:
    """(height, width, 2) across and down, -1 to 1 over the grid, of squares of ``cell`` pixels.

    ``corner`` is the plate pixel where the first square begins.
    """
    points = face.points[:, :2].float() * face.points.new_tensor([face.aspect, 1.0])
    right, left = (points[index] for index in LEVEL[face.scheme])
    across = (left - right) / (left - right).norm().clamp_min(1e-6)
    down = torch.stack([-across[1], across[0]])
    turn = torch.stack([across / HALF[1], down / HALF[0]]) / (face.width * face.aspect)
    height, width = size
    y, x = (torch.arange(count, device=points.device) * cell + cell / 2 for count in (height, width))
    flat = torch.stack([(x + corner[0]) * face.aspect, torch.zeros_like(x)], -1)
    tall = torch.stack([torch.zeros_like(y), y + corner[1]], -1)
    return (flat[None, :] + tall[:, None] - points.mean(0)) @ turn.T


def measure(face: Image, plate: Image, weight: Matte, where: Tensor) -> RegionSample:
    """Average the logarithms of two (3, H, W) pictures around every point of the grid.

    Args:
        face: Scene-linear face, graded as a whole.
        plate: The plate behind it.
        weight: (1, H, W) what counts.
        where: ``places`` of the pixels.
    """
    sound = torch.isfinite((face + plate).sum(-3))
    counts = torch.where(sound, weight[0].clamp(0, 1), 0.0).flatten()
    across, down = where.to(weight).flatten(0, 1).unbind(-1)
    rows, columns = (_hats(along, count) for along, count in ((down, GRID[0]), (across, GRID[1])))
    rows = rows * counts[:, None]
    total = rows.T @ columns
    pictures = []
    for picture in (face, plate):
        light = spaces.encode(torch.where(sound, picture, 0.0).flatten(1), "log")
        sums = torch.stack([(rows * channel[:, None]).T @ columns for channel in light])
        pictures.append(_planes(sums / total.clamp_min(1e-9)))
    return RegionSample(_plane(total), pictures[0], pictures[1])


def match(samples: Series[RegionSample], frames: float, size: float) -> Series[Regions]:
    """The plate's slow differences over the shot, averaged over ``frames`` and down to ``size`` face widths.

    The face as a whole stays as it is: only what departs from the usual difference counts. A frame of
    which nothing is known takes the nearest frames'.
    """
    known = [(row, sample) for row, sample in enumerate(samples.values) if sample is not None]
    known = [(row, sample) for row, sample in known if sum(map(sum, sample.weight)) > 0]
    if not known:
        return Series(samples.first, tuple(Regions(_planes(torch.zeros(3, *GRID))) for _ in samples.values))
    rows = torch.tensor([float(row) for row, _ in known], dtype=torch.float64)
    weights = torch.tensor([sample.weight for _, sample in known], dtype=torch.float64)
    face, plate = (
        torch.tensor([getattr(sample, name) for _, sample in known], dtype=torch.float64) for name in ("face", "plate")
    )
    apart = plate - face
    usual, trust = _median(apart, weights), weights
    # What is not skin says nothing of the light on it (Welsch's weights).
    for _ in range(ROUNDS):
        trust = weights * torch.exp(-0.5 * ((apart - usual) / STRANGE).square().mean(1))
        total = trust.sum((1, 2)).clamp_min(1e-9)[:, None]
        usual = ((apart * trust[:, None]).sum((2, 3)) / total)[..., None, None]
    apart, weights = apart - usual, trust
    found = []
    for row in range(len(samples.values)):
        away = (rows - row).abs()
        bell = torch.exp(-0.5 * ((away - away.min()) / max(frames, 1e-3)).square())
        near = bell > math.exp(-0.5 * WINDOW**2)
        counts = (bell[near, None, None] * weights[near]).sum(0)
        mean = (bell[near, None, None, None] * weights[near, None] * apart[near]).sum(0) / counts.clamp_min(1e-9)
        found.append(Regions(_planes(_followed(mean, counts, size))))
    return Series(samples.first, tuple(found))


def apply(image: Image, regions: Regions, where: Tensor, amount: float) -> Image:
    """Multiply a (3, H, W) picture by the grid's ratios; black stays black and nothing is clipped."""
    grid = image.new_tensor(regions.light)[None]
    light = grid_sample(grid, where[None].to(image), "bicubic", "border", align_corners=True)[0]
    return image * torch.exp(amount * light)


def _median(values: Tensor, weights: Tensor) -> Tensor:
    """(F, 3, 1, 1) weighted medians over the grid."""
    ordered, order = values.flatten(2).sort(-1)
    heap = weights.flatten(1)[:, None].expand_as(ordered).gather(-1, order).cumsum(-1)
    place = (heap < heap[..., -1:] / 2).sum(-1, keepdim=True)
    return ordered.gather(-1, place)[..., None]


def _followed(apart: Tensor, counts: Tensor, size: float) -> Tensor:
    """(3, rows, columns) differences followed from coarse to fine, each step bounded."""
    trust = counts / counts.amax().clamp_min(1e-9)
    field = torch.zeros_like(apart)
    for scale in SCALES:
        blurs = [_bell(count, size * scale / (2 * half / (count - 1))) for count, half in zip(GRID, HALF)]
        rest = (apart - field) if scale == SCALES[0] else (apart - field).clamp(-ODD, ODD)
        field = field + (blurs[0] @ (rest * trust) @ blurs[1].T) / (blurs[0] @ trust @ blurs[1].T + LEAST)
    return field


def _bell(count: int, sigma: float) -> Tensor:
    """(count, count) rows of a Gaussian of ``sigma`` steps, each summing to 1."""
    steps = torch.arange(count, dtype=torch.float64)
    bell = torch.exp(-0.5 * ((steps[:, None] - steps) / max(sigma, 1e-3)).square())
    return bell / bell.sum(1, keepdim=True)


def _hats(along: Tensor, count: int) -> Tensor:
    """(n, count) shares of grid points in places of -1 to 1; none beyond."""
    steps = torch.arange(count, dtype=along.dtype, device=along.device)
    return (1 - ((along[:, None] + 1) / 2 * (count - 1) - steps).abs()).clamp_min(0)


def _plane(values: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in torch.round(values.double(), decimals=5).tolist())


def _planes(values: Tensor) -> tuple[tuple[tuple[float, ...], ...], ...]:
    return tuple(_plane(plane) for plane in values)

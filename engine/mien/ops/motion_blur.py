"""Motion blur from a face's own motion: every pixel is smeared along the way that it goes while the shutter is open."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.ops import mesh_warp
from mien.ops.warp import positions
from mien.types import Image, Matte, Points

CELLS = 24
"""Cells across the face of the lattice on which its motion is drawn."""
NEAR = 0.05
"""Reach of a point's own motion, in face widths."""
SHORTEST = 0.5
"""Pixels below which nothing is smeared."""
MOST = 64
"""Samples along the longest path."""
CACHED = 1 << 15
"""Pixels that are smeared at once."""
RIM = 2
"""Cells of the lattice past each side, so that its spline is whole."""


def velocity_field(
    points: Points, velocity: Points, weight: Tensor, width: float, corner: tuple[int, int], size: tuple[int, int]
) -> Tensor:
    """(2, H, W) plate pixels per frame that every pixel of a region moves: see ``velocities``."""
    return velocities(points, velocity, weight, width, corner, size).at(slice(0, size[0]), slice(0, size[1]))


class Velocities(NamedTuple):
    """How a region moves, on a lattice: (2, n, m) plate pixels per frame, cells ``step`` pixels wide."""

    cells: Tensor
    step: float

    def at(self, rows: slice, columns: slice) -> Tensor:
        """(2, H, W) in some rows and columns of the region."""
        origin = (-RIM * self.step - columns.start, -RIM * self.step - rows.start)
        return mesh_warp.spline(self.cells, origin, self.step, (rows.stop - rows.start, columns.stop - columns.start))

    def fastest(self, rows: slice, columns: slice) -> float:
        """Pixels per frame that nothing in some rows and columns exceeds."""
        # A spline stays between the four cells around each place along either axis.
        spans = [(int(part.start / self.step), int(part.stop / self.step) + 2 * RIM + 1) for part in (rows, columns)]
        down, across = (slice(*span) for span in spans)
        return float(self.cells[:, down, across].square().sum(0).amax().sqrt())


def velocities(
    points: Points, velocity: Points, weight: Tensor, width: float, corner: tuple[int, int], size: tuple[int, int]
) -> Velocities:
    """How every place of a region moves.

    The motion of the whole is affine; what (N, 2+) points do beyond it holds around them. Past the outline the
    whole carries on.

    Args:
        points, velocity: (N, 2+) places in plate pixels, and pixels per frame.
        weight: (N,) trust in each point.
        width: Width of the face in pixels.
        corner: Plate pixel (x, y) of the region.
        size: Height and width of the region.
    """
    sound = torch.isfinite(points[:, :2]).all(-1) & torch.isfinite(velocity[:, :2]).all(-1)
    place, speed = points[sound, :2].double(), velocity[sound, :2].double()
    trust = weight[sound].double().clamp_min(0.05)
    whole = mesh_warp.affine(place, speed, trust)
    own = speed - place @ whole[:, :2].mT - whole[:, 2]
    step = max(1.0, width / CELLS)
    cells = (math.ceil(size[0] / step) + 2 * RIM, math.ceil(size[1] / step) + 2 * RIM)
    centers = positions(cells, (-RIM, -RIM), place).double() * step + place.new_tensor(corner)
    apart = torch.cdist(centers.flatten(0, 1), place).square() / (2 * (NEAR * width) ** 2)
    nearness = torch.softmax(trust.log() - apart, 1)
    # Past the outline a single point's own motion would be carried on as far as it is seen.
    fade = torch.exp(-(apart.amin(1, keepdim=True) / 8))
    moved = centers.flatten(0, 1) @ whole[:, :2].mT + whole[:, 2] + fade * (nearness @ own)
    return Velocities(moved.T.reshape(2, *cells).float(), step)


def streak(image: Image, matte: Matte, motion: Tensor) -> tuple[Image, Matte]:
    """Smear a (3, H, W) picture and its (1, H, W) matte along (2, H, W) ``motion``, centered on where it is now.

    The motion is the path in pixels while the shutter is open. The picture is smeared as far as its matte shows
    it, so that what lies around does not creep in. Paths shorter than ``SHORTEST`` give back what came.
    """
    if motion.shape != (2, *image.shape[-2:]) or matte.shape[-2:] != image.shape[-2:]:
        shapes = ", ".join(str(tuple(t.shape)) for t in (image, matte, motion))
        raise ValueError(f"picture, matte and motion must cover the same region, not {shapes}")
    seen = (matte > 0)[0]
    longest = float((motion.square().sum(0) * seen).amax().sqrt()) if bool(seen.any()) else 0.0
    if not longest > SHORTEST:
        return image, matte
    box = _around(seen, math.ceil(longest / 2) + 2)
    part_image, part_matte, part_motion = (t[..., box[0], box[1]] for t in (image, matte, motion))
    sound = torch.isfinite(part_image)
    shown = part_matte.clamp(0, 1)
    layers = torch.cat([torch.where(sound, part_image, 0.0) * shown, shown])
    samples = min(MOST, max(2, math.ceil(longest)))
    size = (part_image.shape[-2], part_image.shape[-1])
    step = size[0] if image.is_cuda else max(16, CACHED // size[1])
    layers = _smeared(layers, part_motion, samples, step, math.ceil(longest / 2) + 1)
    smeared = layers[3:].clamp(0, 1)
    smeared = torch.where(smeared > 1e-4, smeared, 0.0)
    picture = torch.where((smeared > 0) & sound, layers[:3] / smeared.clamp_min(1e-4), part_image)
    result_image, result_matte = image.clone(), matte.clone()
    result_image[..., box[0], box[1]], result_matte[..., box[0], box[1]] = picture, smeared
    return result_image, result_matte


def _smeared(layers: Tensor, motion: Tensor, samples: int, step: int, reach: int) -> Tensor:
    """(4, H, W) layers smeared, ``step`` rows at a time, where within ``reach`` pixels anything is to be seen."""
    extent = motion.new_tensor([layers.shape[-1], layers.shape[-2]])
    smeared = torch.zeros_like(layers)
    for top in range(0, layers.shape[-2], step):
        seen = (layers[3, max(0, top - reach) : top + step + reach] != 0).any(0).nonzero()
        if not len(seen):
            continue
        left, right = max(0, int(seen[0]) - reach), int(seen[-1]) + 1 + reach
        path = motion[:, top : top + step, left:right].movedim(0, -1) / extent * 2
        grid = positions((path.shape[0], path.shape[1]), (left, top), motion) / extent * 2 - 1
        total = layers.new_zeros(len(layers), *path.shape[:2])
        for number in range(samples):
            there = torch.add(grid, path, alpha=(number + 0.5) / samples - 0.5)
            # Straight lines between pixels: a cubic would draw dark rings around glints.
            total.add_(F.grid_sample(layers[None], there[None], "bilinear", "border", align_corners=False)[0])
        smeared[:, top : top + step, left:right] = total.div_(samples)
    return smeared


def _around(seen: Tensor, margin: int) -> tuple[slice, slice]:
    """Rows and columns that hold an (H, W) mask and a margin."""
    spans = []
    for axis in (1, 0):
        there = seen.any(axis).nonzero().flatten()
        low, high = int(there[0]), int(there[-1]) + 1
        spans.append(slice(max(0, low - margin), min(seen.shape[1 - axis], high + margin)))
    return spans[0], spans[1]

"""Where a plate's face lies in photographs of a performer: told on a lattice over the face, drawn along its mesh."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from mien import mesh
from mien.models.photograph import AROUND, CELLS, RIMS, SIDE, WarpSource, area_of, facing_of, view_of
from mien.ops import mesh_warp, pyramid
from mien.types import Face, Points

BLUR = 1.0
"""Cells of smoothing that hide the mesh's facets."""
MARGIN = 0.1
"""Face widths shown past the outline of the face, so that soft and grown edges have pixels."""
FADE = 0.3
"""Share of that over which the plate takes over."""
RING = 0.12
"""How far the mesh is continued past its outline, as a share of the distance from the face's center."""
OUTLINE = 3.0
"""Cells over which the matte ends, outward from the outline."""
POSE_SPREAD = 9.0
"""Degrees of turn over which one photograph hands over to the next."""
OPENINGS = (
    ((0.35, 0.75), 0.03, (0.1, 0.35), 0.06),
    ((0.2, 0.45), 0.07, (0.2, 0.5), 0.35),
    ((0.2, 0.45), 0.07, (0.2, 0.5), 0.35),
)
"""Of mouth and eyes: which share of an opening a source must hold to fill it, at least and surely; the share of its
width's square from which it is open; which share of the source's must be left for it not to be closing; how far
around it that shows, as a share of its width."""
LEAST = 1e-4
"""Share of the plate below which none of it shows."""
OVAL = torch.tensor(mesh.OVAL)
EYES = torch.tensor([mesh.RIGHT_EYE, mesh.LEFT_EYE])


@dataclass(frozen=True)
class Grid:
    """A lattice over part of a region: its outer corner (x, y), pixels per cell, rows and columns."""

    origin: tuple[float, float]
    step: float
    size: tuple[int, int]


@dataclass(frozen=True)
class Way:
    """Where the face's surroundings lie in one source.

    Attributes:
        source: Which one.
        affine: (2, 3) from region pixels to its pixels, rows of numbers.
        rest: (2, h, w) what that leaves over (x, y), on the lattice.
        level: (1, h, w) the level of its pyramid to read, on the lattice; (1, 1, 1) where it is the same everywhere.
    """

    source: int
    affine: tuple[tuple[float, ...], ...]
    rest: Tensor
    level: Tensor


@dataclass(frozen=True)
class Route:
    """Where the face's surroundings lie in the sources whose share is worth a look.

    Attributes:
        shown: (2, h, w) the matte, and where the sources have pixels at all, on the lattice.
        ways: One for each source.
        shares: (K, h, w) theirs, on the lattice.
    """

    shown: Tensor
    ways: list[Way]
    shares: Tensor


def route(sources: tuple[WarpSource, ...], points: Points, face: Face, grid: Grid) -> Route:
    """Where the surroundings of a face, its points counted in pixels of the region, lie in the sources."""
    view = view_of(points, face.aspect)
    facing = facing_of(view)
    extended, origin = _ring(points), points.new_tensor(grid.origin)
    place = torch.cat([(extended[:, :2] - origin) / grid.step, extended[:, 2:] / grid.step], 1)
    triangles, oval, count = _ALL.to(points.device), OVAL.to(points.device), len(sources)

    affine, leftover, known = [], [], []
    for source in sources:
        trust = (source.facing * facing.clamp(min=0) + 1e-3) * face.weight.to(points).clamp(min=0.05)
        matrix = mesh_warp.affine(points[:, :2], source.points[:, :2], trust)
        target = _ring(source.points)[:, :2][triangles]
        target[_EYES] = _eye_targets(points, source.points, matrix)
        leftover.append(target - (extended[:, :2] @ matrix[:, :2].T + matrix[:, 2])[triangles])
        affine.append(matrix)
        known.append(mesh_warp.ramp((source.facing + 0.1) / (facing.clamp(min=0.1) + 0.1), 0.35, 0.75))
    sharp = torch.stack(known, 1)
    knowledge = mesh_warp.spread(mesh_warp.spread(sharp, AROUND), AROUND).T
    # Just past the outline lies what was behind the performer.
    knowledge[:, oval] = torch.minimum(knowledge[:, oval], sharp.T[:, oval])
    fit = _pose_fit(sources, view)
    each = (mesh_warp.ramp(facing, -0.4, -0.05) * knowledge.amax(0))[None]
    # One source alone has all of the share.
    if count > 1:
        each = torch.cat([each, _shares(fit[:, None] * (knowledge + 1e-4))])
    corners = torch.cat([each, each[:, oval]], 1).T[triangles]

    # Past the silhouette of a turned head the ring would show its hidden side.
    hidden = torch.cat([torch.zeros_like(facing), facing[oval]])[triangles].amin(1) < -0.1
    seen = torch.where(hidden[:, None], 0, triangles)
    index, drawn = mesh_warp.draw(place, seen, torch.cat([corners, *leftover], -1), grid.size)
    drawn = mesh_warp.blur(mesh_warp.extend(drawn, index >= 0), BLUR)
    covered = ((index >= 0) & (index < len(mesh.TRIANGLES)))[None].to(drawn)
    outline = mesh_warp.ramp(mesh_warp.blur(covered, OUTLINE), 0.05, 0.5)[0]
    share, rests = drawn[1 : len(each)], drawn[len(each) :].unflatten(0, (count, 2))

    rows, columns = grid.size
    across = (torch.arange(columns).to(points) + 0.5) * grid.step + grid.origin[0]
    down = ((torch.arange(rows).to(points) + 0.5) * grid.step + grid.origin[1])[:, None]
    levels, present, usable = [], [], []
    numbers = [tuple(map(tuple, matrix.tolist())) for matrix in affine]
    for source, rest, linear in zip(sources, rests, numbers):
        there = [left + (a * across + c) + b * down for left, (a, b, c) in zip(rest, linear)]
        slopes = torch.gradient(rest, dim=(2, 1))
        (xx, yx), (xy, yy) = ((one / grid.step).unbind(0) for one in slopes)
        area = (xx + linear[0][0]) * (yy + linear[1][1]) - (yx + linear[1][0]) * (xy + linear[0][1])
        levels.append(pyramid.level_of(area.abs_().sqrt_()))
        x, y = there
        past = torch.minimum(torch.minimum(x, source.image.shape[2] - x), torch.minimum(y, source.image.shape[1] - y))
        cell = _stretch(linear) * grid.step
        present.append(mesh_warp.ramp(past, -3 * cell, 0.0))
        usable.append(mesh_warp.ramp(past, 2 * cell, 5 * cell) * _read(source.bare, there, *source.lattice))
    there_is, fit_for = torch.stack(present), torch.stack(usable)
    if count > 1:
        share = _shares(share * (fit_for + 1e-3))
        there_is, fit_for = (share * there_is).sum(0), (share * fit_for).sum(0)
    else:
        there_is, fit_for = there_is[0], fit_for[0]
    border = torch.minimum(_border(columns, points), _border(rows, points)[:, None])
    shown = mesh_warp.ramp(border * grid.step / (MARGIN * face.width), 0.0, FADE) * there_is
    sound = drawn[0] * outline * fit_for
    kept = _plate_shows(sources, fit.tolist(), points, place, numbers, grid.size)
    if kept is not None:
        sound = sound * (1 - kept[0])
    used = [k for k in range(count) if count == 1 or float(share[k].amax()) > min(1 / 512, 0.5 / count)]
    ways = []
    for k in used:
        needed = sound > 0.01 if count == 1 else (sound > 0.01) & (share[k] > 0.01)
        ends = torch.where(needed, levels[k], torch.inf).amin(), torch.where(needed, levels[k], -torch.inf).amax()
        low, high = torch.stack(ends).tolist()
        level = levels[k].clamp(low, high) if low < high else levels[k].new_full((1, 1), low if low == high else 0.0)
        ways.append(Way(k, numbers[k], rests[k], level[None]))
    return Route(torch.stack([sound, shown]), ways, share[used] if count > 1 else share)


def _shares(weights: Tensor) -> Tensor:
    """Weights as shares of their sum."""
    return weights / weights.sum(0).clamp(min=1e-9)


def _border(count: int, like: Tensor) -> Tensor:
    """Cells from each of ``count`` to where what is shown ends at either end."""
    place = torch.arange(count).to(like) + 0.5
    return torch.minimum(place, count - place) - 2


def _stretch(linear: tuple[tuple[float, ...], ...]) -> float:
    """The most that a map stretches lengths."""
    (a, b, _), (c, d, _) = linear
    half, apart = (a * a + b * b + c * c + d * d) / 2, a * d - b * c
    return math.sqrt(half + math.sqrt(max(0.0, half * half - apart * apart)))


def _ring(points: Points) -> Points:
    """Points continued by a ring past the outline, the same combination of points in every mesh."""
    oval = points[OVAL.to(points.device)]
    return torch.cat([points, oval + RING * (oval - oval.mean(0))])


def _ring_triangles() -> Tensor:
    count = len(OVAL)
    outer = torch.arange(mesh.POINTS, mesh.POINTS + count)
    near, far = OVAL.roll(-1), outer.roll(-1)
    return torch.cat([torch.stack([outer, far, near], 1), torch.stack([outer, near, OVAL], 1)])


_EYES = slice(len(mesh.SKIN_TRIANGLES), len(mesh.SKIN_TRIANGLES) + len(mesh.EYE_TRIANGLES))
_ALL = torch.cat([mesh.TRIANGLES, _ring_triangles()])


def _read(lattice: Tensor, places: Sequence[Tensor], corner: list[float], step: list[float]) -> Tensor:
    """(H, W) values of a (1, SIDE, SIDE) lattice at positions (x, y) in a photograph."""
    scales = [2 / (one * SIDE) for one in step]
    at = torch.stack([place * scale - (start * scale + 1) for place, scale, start in zip(places, scales, corner)], -1)
    return grid_sample(lattice[None], at[None], padding_mode="border", align_corners=False)[0, 0]


def _pose_fit(sources: tuple[WarpSource, ...], view: Tensor) -> Tensor:
    """(K,) how well each photograph's view of the head fits the plate's; roll does not count."""
    views = torch.stack([source.view for source in sources])
    angle = torch.rad2deg(torch.arccos((views * view).sum(-1).clamp(-1, 1)))
    return torch.exp(-0.5 * (angle.square() - angle.square().amin()) / POSE_SPREAD**2) + 1e-6


def _eye_targets(points: Points, source: Points, matrix: Tensor) -> Tensor:
    """(E, 3, 2) places in the source for the corners of the triangles between the lids.

    The eyeball does not squash when the lids move: it keeps its shape and the lids slide over it, unless the
    plate's lids are further apart than the source's, which hold no more eye to show.
    """
    place, rims = source[:, :2].clone(), EYES.to(points.device)
    here, there = points[rims, :2], source[rims, :2]
    axis, goal = here[:, 8] - here[:, 0], there[:, 8] - there[:, 0]
    missing = (goal - axis @ matrix[:, :2].T)[:, :, None] * axis[:, None]
    linear = matrix[:, :2] + missing / axis.square().sum(1).clamp(min=1e-6)[:, None, None]
    free = (here - (here[:, 8:9] + here[:, :1]) / 2) @ linear.mT
    lids = there - (there[:, 8:9] + there[:, :1]) / 2
    across = torch.stack([-goal[:, 1], goal[:, 0]], 1) / goal.norm(dim=1, keepdim=True).clamp(min=1e-6)
    rise, limit = (free @ across[..., None])[..., 0], (lids @ across[..., None])[..., 0]
    within = torch.where(rise * limit > 0, rise.abs().minimum(limit.abs()) * torch.sign(rise), 0 * rise)
    place[rims] = there + (within - limit)[..., None] * across[:, None]
    return place[mesh.EYE_TRIANGLES.to(points.device)]


def _plate_shows(
    sources: tuple[WarpSource, ...],
    weight: list[float],
    points: Points,
    place: Points,
    affines: list[tuple[tuple[float, ...], ...]],
    size: tuple[int, int],
) -> Tensor | None:
    """(1, h, w) where the plate shows through because no bending of the source would give it; None for nowhere.

    Inside a mouth or between lids that are open here and closed in the source; along lips that are closed here
    and show teeth in the source, and over closed lids, which would have to be drawn from lashes.
    """
    total, everywhere = None, points[:, :2].tolist()
    weight = [one / sum(weight) for one in weight]
    shrunk = [abs(a * e - b * d) for (a, b, _), (d, e, _) in affines]
    for number, (rim, (enough, least, closed, around)) in enumerate(zip(RIMS, OPENINGS)):
        here = [everywhere[point] for point in rim]
        area, span = area_of(here), max(1e-6, math.dist(here[len(rim) // 2], here[0]))
        there = [source.openings[number] / by for source, by in zip(sources, shrunk)]
        lack = 1 - sum(w * _ramp(one / max(area, 1e-6), *enough) for w, one in zip(weight, there))
        lack *= _ramp(area / span**2, least, 2 * least)
        shut = sum(
            w * (1 - _ramp(area / max(one, 1e-6), *closed)) * _ramp(one / span**2, least, 2 * least)
            for w, one in zip(weight, there)
        )
        drawn = []
        if lack > LEAST:
            drawn.append(lack * mesh_warp.opening(place[rim, :2], size, 0.015 * CELLS))
        if shut > LEAST:
            reach = float((place[rim[len(rim) // 2], :2] - place[rim[0], :2]).norm()) * around
            drawn.append(shut * mesh_warp.opening(place[rim, :2], size, 0.7 * reach, grow=reach))
        for one in drawn:
            total = one if total is None else torch.maximum(total, one)
    return total


def _ramp(value: float, low: float, high: float) -> float:
    """``mesh_warp.ramp`` of a number."""
    t = min(max((value - low) / (high - low), 0.0), 1.0)
    return t * t * (3 - 2 * t)

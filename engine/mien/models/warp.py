"""The ``warp`` identity: photographs, or another take, carried onto a face along its landmark mesh.

Nothing is trained. Every plate pixel finds its place on the plate's mesh and from there its place in the
photograph, which is resampled once. The map is smooth (no facets), follows both eyes and the mouth, and
fades where the photograph has nothing to show: skin turned away from its camera, the inside of a mouth that
was closed, what lies past its edge.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from mien import mesh
from mien.models.photograph import AROUND, CELLS, SIDE, WarpSource, face_lattice, facing_of, toned, view_of
from mien.ops import mesh_warp, pyramid
from mien.ops.lift import to_mesh
from mien.ops.warp import positions
from mien.types import Face, Image, Layer, MienError, Plate, Points

BLUR = 1.0
"""Cells of smoothing that hide the mesh's facets."""
MARGIN = 0.1
"""Face widths shown past the outline of the face, so that soft and grown edges have pixels."""
RING = 0.12
"""How far the mesh is continued past its outline, as a share of the distance from the face's center."""
OUTLINE = 3.0
"""Cells over which the matte ends, outward from the outline."""
POSE_SPREAD = 9.0
"""Degrees of turn over which one photograph hands over to the next."""


@dataclass(frozen=True)
class WarpIdentity:
    """Photographs of one performer, the best for each pose chosen or blended point by point.

    Attributes:
        by_parts: Any part of a region can be drawn alone.
    """

    by_parts: ClassVar[bool] = True
    sources: tuple[WarpSource, ...]
    digest: str

    def __call__(self, plate: Plate, face: Face) -> Layer:
        """Draw the performer as the given face; the matte is 1 where the photographs know what to show.

        Outside the surroundings of the face the layer shows the plate. Values are the photographs' own.
        """
        return _draw(self.sources, plate, face)


def warp_identity(sources: Sequence[WarpSource]) -> WarpIdentity:
    """An identity from one or more photographs of the same person, toned alike to the first."""
    if not sources:
        raise MienError("A warp identity needs at least one picture of the performer. Give one with --source.")
    sources = [sources[0], *(toned(source, sources[0]) for source in sources[1:])]
    digest = hashlib.sha256(b"mien warp 1")
    for source in sources:
        digest.update(repr((tuple(source.image.shape), source.aspect)).encode())
        for tensor in (source.image, source.points, source.facing):
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return WarpIdentity(tuple(sources), digest.hexdigest())


@dataclass(frozen=True)
class WarpTake:
    """Another take of the performer: its frame n goes onto plate frame n.

    Attributes:
        source: What the take shows in a frame, or None where it has no face.
        digest: Hash of the take's footage and track.
        offset: Added to the plate's frame number to find the take's.
    """

    source: Callable[[int], WarpSource | None]
    digest: str
    offset: int = 0

    def at(self, frame: int) -> WarpIdentity | None:
        """The identity to put on in one plate frame; None where the take shows no face."""
        source = self.source(frame + self.offset)
        return None if source is None else WarpIdentity((source,), f"{self.digest}:{frame + self.offset}")


def _ring(points: Points) -> Points:
    """Points continued by a ring past the outline, the same combination of points in every mesh."""
    oval = points[mesh.OVAL]
    return torch.cat([points, oval + RING * (oval - oval.mean(0))])


def _ring_triangles() -> Tensor:
    count = len(mesh.OVAL)
    inner = torch.tensor(mesh.OVAL)
    outer = torch.arange(mesh.POINTS, mesh.POINTS + count)
    near, far = inner.roll(-1), outer.roll(-1)
    return torch.cat([torch.stack([outer, far, near], 1), torch.stack([outer, near, inner], 1)])


_EYES = slice(len(mesh.SKIN_TRIANGLES), len(mesh.SKIN_TRIANGLES) + len(mesh.EYE_TRIANGLES))
_ALL = torch.cat([mesh.TRIANGLES, _ring_triangles()])


def _draw(sources: tuple[WarpSource, ...], plate: Plate, face: Face) -> Layer:
    image = plate.image
    height, width = image.shape[-2:]
    if face.scheme == "ibug68":
        face = replace(face, points=to_mesh(face.points), weight=face.weight.new_ones(mesh.POINTS), scheme="mesh")
    if face.scheme != "mesh" or face.points.shape != (mesh.POINTS, 3):
        raise ValueError(f"expected a face of 468 mesh points, got {face.scheme} {tuple(face.points.shape)}")
    points = face.points.to(image) - image.new_tensor([*plate.corner, 0.0])
    margin = MARGIN * face.width
    low, high = points[:, :2].amin(0) - margin, points[:, :2].amax(0) + margin
    left, top = (max(0, int(v)) for v in low.floor().tolist())
    right, bottom = (min(n, int(v)) for n, v in zip((width, height), high.ceil().tolist()))
    result, matte = image.clone(), torch.zeros_like(image[..., :1, :, :])
    if right > left and bottom > top:
        step = max(1.0, face.width / CELLS, float((high - low).amax()) / (4 * CELLS))
        columns, rows = (int(n) for n in ((high - low) / step + 5).ceil().tolist())
        grid = Grid(low - 2 * step, step, (rows, columns))
        route = _route(sources, points, face, grid)
        inside = slice(top, bottom), slice(left, right)
        start = (float(grid.origin[0]) - left, float(grid.origin[1]) - top)
        dense = mesh_warp.spline(route.values, start, step, (bottom - top, right - left))
        result[..., *inside] = _resample(sources, route, dense, (left, top), image[..., *inside])
        sound = torch.where(dense[0] > 1e-4, dense[0], 0.0)
        matte[..., 0, *inside] = torch.where(sound > 1 - 1e-4, 1.0, sound)
    return Layer(result, matte, plate.corner, face.width, {"identity": matte})


@dataclass(frozen=True)
class Grid:
    """A lattice over part of a region: its outer corner (x, y), pixels per cell, rows and columns."""

    origin: Tensor
    step: float
    size: tuple[int, int]


@dataclass(frozen=True)
class Route:
    """Where the face's surroundings lie in each source, on a lattice.

    Attributes:
        values: (2 + 4K, h, w): matte; where the sources have pixels at all; then for each source used its share,
            what its affine map leaves over (x, y), and the level of its pyramid to read.
        affine: Per source a (2, 3) matrix from region pixels to its pixels.
        used: The sources whose share is worth a look.
    """

    values: Tensor
    affine: list[Tensor]
    used: list[int]


def _resample(
    sources: tuple[WarpSource, ...], route: Route, dense: Tensor, corner: tuple[int, int], behind: Image
) -> Image:
    shown, each = dense[1], dense[2:].unflatten(0, (-1, 4))
    across = torch.arange(behind.shape[-1]).to(behind) + (corner[0] + 0.5)
    down = torch.arange(behind.shape[-2]).to(behind)[:, None] + (corner[1] + 0.5)
    reads = []
    for k, (*left, level) in zip(route.used, each[:, 1:]):
        # Plane by plane: products of pairs cost many times as much.
        places = [rest + (row[0] * across + row[2]) + row[1] * down for row, rest in zip(route.affine[k], left)]
        level = level.clamp(min=0)
        levels = sources[k].levels(float(level.amax()))
        reads.append(pyramid.look_up(levels, torch.stack(places).movedim(0, -1), level))
    drawn = reads[0] if len(reads) == 1 else _mixed(reads, each[:, 0].clamp(min=0))
    # Elsewhere than at the rim nothing of the plate shows.
    y, x = (shown <= 1 - 1e-4).nonzero(as_tuple=True)
    part, back = shown[y, x], behind[:, y, x]
    drawn[:, y, x] = torch.where(part > 1e-4, torch.lerp(back, drawn[:, y, x], part.clamp(0, 1)), back)
    return drawn


def _mixed(pictures: list[Image], shares: Tensor) -> Image:
    """Several pictures, each by its (K, H, W) share of the whole."""
    total = shares.sum(0).clamp(min=1e-6)
    return torch.stack([picture * (share / total) for picture, share in zip(pictures, shares)]).sum(0)


def _route(sources: tuple[WarpSource, ...], points: Points, face: Face, grid: Grid) -> Route:
    view = view_of(points, face.aspect)
    facing = facing_of(view)
    extended = _ring(points)
    place = torch.cat([(extended[:, :2] - grid.origin) / grid.step, extended[:, 2:] / grid.step], 1)
    triangles, skin = _ALL.to(points.device), mesh.TRIANGLES.to(points.device)
    oval = torch.tensor(mesh.OVAL, device=points.device)

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
    share = fit[:, None] * (knowledge + 1e-4)
    share = share / share.sum(0)
    sound = mesh_warp.ramp(facing, -0.4, -0.05) * knowledge.amax(0)
    each = torch.stack([sound, *share])
    corners = torch.cat([each, each[:, oval]], 1).T[triangles]
    values = torch.cat([corners, *leftover], -1)

    # Past the silhouette of a turned head the ring would show its hidden side.
    hidden = torch.cat([torch.zeros_like(facing), facing[oval]])[triangles].amin(1) < -0.1
    index, barycentric = mesh_warp.rasterize(place, torch.where(hidden[:, None], 0, triangles), grid.size)
    drawn = mesh_warp.interpolate(index, barycentric, values)
    drawn = mesh_warp.blur(mesh_warp.extend(drawn, index >= 0), BLUR)
    covered = ((index >= 0) & (index < len(skin)))[None].to(drawn)
    outline = mesh_warp.ramp(mesh_warp.blur(covered, OUTLINE), 0.05, 0.5)[0]
    count = len(sources)
    share, leftovers = drawn[1 : 1 + count], drawn[1 + count :].view(count, 2, *grid.size)

    cells = positions(grid.size, (0, 0), points)
    border = torch.minimum(cells, cells.new_tensor(grid.size).flip(0) - cells).amin(-1) - 2
    levels, present, usable = [], [], []
    for k, source in enumerate(sources):
        there = (cells * grid.step + grid.origin) @ affine[k][:, :2].T + affine[k][:, 2]
        there = there + leftovers[k].movedim(0, -1)
        across, down = (d / grid.step for d in torch.gradient(there, dim=(1, 0)))
        area = (across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0]).abs()
        levels.append(pyramid.level_of(area.sqrt()))
        extent = there.new_tensor([source.image.shape[2], source.image.shape[1]])
        past = torch.minimum(there, extent - there).amin(-1)
        cell = float(torch.linalg.matrix_norm(affine[k][:, :2], 2)) * grid.step
        present.append(mesh_warp.ramp(past, -3 * cell, 0.0))
        bare = _read(source.bare, there, *face_lattice(source.points))
        usable.append(mesh_warp.ramp(past, 2 * cell, 5 * cell) * bare)
    share = share * (torch.stack(usable) + 1e-3)
    share = share / share.sum(0).clamp(min=1e-9)
    shown = mesh_warp.ramp(border * grid.step / (MARGIN * face.width), 0.0, 0.3)
    shown = shown * (share * torch.stack(present)).sum(0)
    kept = _plate_shows(sources, fit / fit.sum(), points, place, affine, grid.size)[0]
    sound = drawn[0] * outline * (share * torch.stack(usable)).sum(0) * (1 - kept)
    channels = [sound, shown]
    used = [k for k in range(count) if float(share[k].amax()) > min(1 / 512, 0.5 / count)]
    for k in used:
        needed = levels[k][(sound > 0.01) & (share[k] > 0.01)]
        low, high = (float(v) for v in needed.aminmax()) if len(needed) else (0.0, 0.0)
        channels += [share[k], *leftovers[k], levels[k].clamp(low, high)]
    return Route(torch.stack(channels), affine, used)


def _read(lattice: Tensor, places: Tensor, corner: Tensor, step: Tensor) -> Tensor:
    """(H, W) values of a (1, SIDE, SIDE) lattice at positions in a photograph."""
    at = (places - corner) / (step * SIDE) * 2 - 1
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
    place = source[:, :2].clone()
    for rim in (mesh.RIGHT_EYE, mesh.LEFT_EYE):
        here, there = points[rim, :2], source[rim, :2]
        axis, goal = here[8] - here[0], there[8] - there[0]
        linear = matrix[:, :2]
        linear = linear + torch.outer(goal - linear @ axis, axis) / axis.square().sum().clamp(min=1e-6)
        free = (here - (here[8] + here[0]) / 2) @ linear.T
        lids = there - (there[8] + there[0]) / 2
        across = torch.stack([-goal[1], goal[0]]) / goal.norm().clamp(min=1e-6)
        rise, limit = free @ across, lids @ across
        within = torch.where(rise * limit > 0, rise.abs().minimum(limit.abs()) * torch.sign(rise), 0 * rise)
        place[rim] = there + (within - limit)[:, None] * across
    return place[mesh.EYE_TRIANGLES.to(points.device)]


def _plate_shows(
    sources: tuple[WarpSource, ...],
    weight: Tensor,
    points: Points,
    place: Points,
    affines: list[Tensor],
    size: tuple[int, int],
) -> Tensor:
    """(1, h, w) where the plate shows through because no bending of the source would give it.

    Inside a mouth or between lids that are open here and closed in the source; along lips that are closed here
    and show teeth in the source, and over closed lids, which would have to be drawn from lashes.
    """
    total = place.new_zeros(1, *size)
    for rim, low, high, least, closed, around in (
        (mesh.LIPS_INNER, 0.35, 0.75, 0.03, (0.1, 0.35), 0.06),
        (mesh.RIGHT_EYE, 0.2, 0.45, 0.07, (0.2, 0.5), 0.35),
        (mesh.LEFT_EYE, 0.2, 0.45, 0.07, (0.2, 0.5), 0.35),
    ):
        here = points[rim, :2]
        area, span = _area(here), (here[len(rim) // 2] - here[0]).norm().clamp(min=1e-6)
        there = torch.stack(
            [_area(s.points[rim, :2]) / torch.linalg.det(m[:, :2]).abs() for s, m in zip(sources, affines)]
        )
        lack = 1 - (weight * mesh_warp.ramp(there / area.clamp(min=1e-6), low, high)).sum()
        lack = lack * mesh_warp.ramp(area / span**2, least, 2 * least)
        if float(lack) > 0:
            total = torch.maximum(total, lack * mesh_warp.opening(place[rim, :2], size, 0.015 * CELLS))
        shut = 1 - mesh_warp.ramp(area / there.clamp(min=1e-6), *closed)
        shut = (weight * shut * mesh_warp.ramp(there / span**2, least, 2 * least)).sum()
        if float(shut) > 0:
            reach = float((place[rim[len(rim) // 2], :2] - place[rim[0], :2]).norm()) * around
            seam = mesh_warp.opening(place[rim, :2], size, 0.7 * reach, grow=reach)
            total = torch.maximum(total, shut * seam)
    return total


def _area(polygon: Tensor) -> Tensor:
    x, y = polygon.unbind(-1)
    return (x * y.roll(-1) - y * x.roll(-1)).sum().abs() / 2

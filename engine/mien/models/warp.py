"""The ``warp`` identity: photographs, or another take, carried onto a face along its landmark mesh.

Nothing is trained. Every plate pixel finds its place on the plate's mesh and from there its place in the
photograph, which is resampled once. The map is smooth (no facets), follows both eyes and the mouth, and
fades where the photograph has nothing to show: skin turned away from its camera, the inside of a mouth that
was closed, what lies past its edge.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, max_pool2d, normalize

from mien import mesh
from mien.ops import mesh_warp, pyramid
from mien.ops.lift import to_mesh
from mien.ops.warp import positions, sample
from mien.types import Face, Image, Layer, MienError, Plate, Points

CELLS = 160
"""Lattice cells across the face: finer than the mesh, so that a landmark's pull is kept."""
SIDE = CELLS + 2
"""Cells along either side of a lattice over a photograph's face."""
BLUR = 1.0
"""Cells of smoothing that hide the mesh's facets."""
MARGIN = 0.1
"""Face widths shown past the outline of the face, so that soft and grown edges have pixels."""
RING = 0.12
"""How far the mesh is continued past its outline, as a share of the distance from the face's center."""
LIMIT = 65504.0
"""Light that stands for infinity in a photograph: the largest half."""
FOREHEAD = -0.24
"""Height, in units of the canonical mesh, above which hair may hide the forehead of a photograph."""
GLINT = 13
"""Cells of light that may interrupt a fringe on its way down from the hairline."""
CHEEKS = [50, 280, 101, 330, 36, 266, 205, 425, 4, 5, 195, 9]
"""Points of cheeks, nose and brow ridge whose color stands for skin."""
OUTLINE = 3.0
"""Cells over which the matte ends, outward from the outline."""
POSE_SPREAD = 9.0
"""Degrees of turn over which one photograph hands over to the next."""


@dataclass(frozen=True)
class WarpSource:
    """A photograph of the performer and where the face is in it.

    Attributes:
        image: (3, H, W) scene-linear, working space, cropped around the face.
        points: (468, 3) mesh landmarks in pixels of ``image``.
        facing: (468,) how squarely the camera saw each point, 0 at the horizon to 1, 0 where hidden.
        aspect: Pixel aspect of the photograph.
    """

    image: Image
    points: Points
    facing: Tensor
    aspect: float = 1.0

    @cached_property
    def _made(self) -> list[Image]:
        return [self.image]

    def levels(self, coarsest: float) -> list[Image]:
        """The photograph ever smaller, as far as a look-up wants it, whatever others wanted; made once."""
        wanted = math.ceil(coarsest) + 1
        while len(self._made) < wanted and (smaller := pyramid.shrink(self._made[-1])) is not None:
            self._made.append(smaller)
        return self._made[:wanted]

    @cached_property
    def view(self) -> Tensor:
        """(3,) the viewer's direction as the head in the photograph has it: its pose but for roll."""
        return _view(self.points, self.aspect)

    @cached_property
    def bare(self) -> Tensor:
        """(1, SIDE, SIDE) over the face: 0 where hair hides the forehead, else 1."""
        return _without_fringe(self.image, self.points, self.facing)


def warp_source(image: Image, points: Points, weight: Tensor | None = None, aspect: float = 1.0) -> WarpSource:
    """Prepare a photograph: keep what surrounds the face, and find what its camera saw.

    Args:
        image: (3, H, W) scene-linear, working space.
        points: (468, 3) mesh landmarks in its pixels, or (68, 2 or 3) of ``ibug68``.
        weight: (468,) trust in each point; points trusted far less than most count as hidden.
        aspect: Pixel aspect of the photograph.
    """
    if len(points) == 68:
        points, weight = to_mesh(points), None
    if image.ndim != 3 or image.shape[0] != 3 or points.shape != (mesh.POINTS, 3):
        raise ValueError(f"expected (3, H, W) and (468, 3), got {tuple(image.shape)} and {tuple(points.shape)}")
    points, image = points.to(image), image.nan_to_num(0.0, LIMIT, -LIMIT)
    low, high = points[:, :2].amin(0), points[:, :2].amax(0)
    reach = 0.5 * (high - low)
    extent = points.new_tensor([image.shape[2], image.shape[1]])
    corner = (low - reach).floor().clamp(min=0)
    end = torch.minimum((high + reach).ceil(), extent)
    if not bool((end - corner >= 2).all()):
        raise MienError("The face lies outside the source picture. Choose a picture that shows the face.")
    (left, top), (right, bottom) = corner.long().tolist(), end.long().tolist()
    offset = points.new_tensor([left, top, 0.0])
    seen = _unoccluded(points, aspect)
    trust = points.new_ones(mesh.POINTS)
    if weight is not None:
        trust = mesh_warp.ramp(weight.to(points) / weight.to(points).quantile(0.9).clamp(min=1e-6), 0.0, 0.3)
    facing = _facing(_view(points, aspect)).clamp(min=0) * mesh_warp.spread(seen * trust, _AROUND)
    return WarpSource(image[:, top:bottom, left:right].contiguous(), points - offset, facing, aspect)


def _broad_normals() -> Tensor:
    """(468, 3) normals of the mean face, smoothed so that nostrils and lips count with what surrounds them."""
    normals = mesh_warp.normals(mesh.CANONICAL, mesh.TRIANGLES)
    for _ in range(3):
        normals = mesh_warp.spread(normals, _AROUND)
    return normalize(normals, dim=-1)


_AROUND = mesh_warp.neighbors(mesh.TRIANGLES, mesh.POINTS)
_NORMALS = _broad_normals()


def _view(points: Points, aspect: float) -> Tensor:
    """(3,) the direction from the viewer in the head's own axes, which roll does not change."""
    return mesh.pose_of(points * points.new_tensor([aspect, 1.0, 1.0])).rotation[2]


def _facing(view: Tensor) -> Tensor:
    """(468,) how squarely the viewer sees each point, 1 to -1, of a head turned so whatever its expression."""
    return -(_NORMALS.to(view) * view).sum(-1)


def _face_lattice(points: Points) -> tuple[Tensor, Tensor]:
    """Outer corner and cell size, in pixels, of a lattice of SIDE x SIDE cells over a face."""
    low, high = points[:, :2].amin(0), points[:, :2].amax(0)
    step = ((high - low) / CELLS).clamp(min=1e-6)
    return low - step, step


def _unoccluded(points: Points, aspect: float) -> Tensor:
    """(468,) 1 where no nearer part of the face lies in front of a point, else 0."""
    corner, step = _face_lattice(points)
    place = torch.cat([(points[:, :2] - corner) / step, points[:, 2:] / (step[0] * aspect)], 1)
    triangles = mesh.TRIANGLES.to(points.device)
    index, barycentric = mesh_warp.rasterize(place, triangles, (SIDE, SIDE))
    depth = mesh_warp.interpolate(index, barycentric, place[triangles][..., 2:])[0]
    x, y = (place[:, k].long().clamp(0, SIDE - 1) for k in (0, 1))
    hidden = (index[y, x] >= 0) & (depth[y, x] < place[:, 2] - 0.08 * CELLS)
    return (~hidden).to(points)


def _without_fringe(image: Image, points: Points, facing: Tensor) -> Tensor:
    """(1, SIDE, SIDE) over the face's lattice: 0 where hair hides the forehead, else 1.

    Hair is what differs from cheeks and nose in tone or tint; below the brow ridge all counts as face.
    """
    corner, step = _face_lattice(points)
    place = torch.cat([(points[:, :2] - corner) / step, points[:, 2:]], 1)
    triangles = mesh.TRIANGLES.to(points.device)
    facts = torch.stack([mesh.CANONICAL[:, 1].to(points), facing], 1)
    index, barycentric = mesh_warp.rasterize(place, triangles, (SIDE, SIDE))
    covered = index >= 0
    level, square = mesh_warp.extend(mesh_warp.interpolate(index, barycentric, facts[triangles]), covered)

    light = sample(image, positions((SIDE, SIDE), (0, 0), image) * step + corner).clamp(min=1e-4).log2()
    tone = light.mean(0, keepdim=True)
    tint = light - tone
    x, y = (place[CHEEKS, k].long().clamp(0, SIDE - 1) for k in (0, 1))
    darker = tone[:, y, x].median() - tone
    stained = (tint - tint[:, y, x].median(1).values[:, None, None]).abs().amax(0, keepdim=True)
    skin = (1 - mesh_warp.ramp(darker, 0.8, 1.6)) * (1 - mesh_warp.ramp(stained, 0.5, 1.0))
    # A fringe hangs from the hairline; what has bare skin above it is a brow or a shadow.
    # Glints in it, shorter than a forehead, do not part it from there.
    hair = torch.where(covered, mesh_warp.blur(1 - skin, 1.0), 1.0)
    closed = -max_pool2d(-max_pool2d(hair, (GLINT, 1), 1, (GLINT // 2, 0)), (GLINT, 1), 1, (GLINT // 2, 0))
    hair = closed.cummin(1).values
    hair = hair * covered * mesh_warp.ramp(square, 0.25, 0.5)
    # Strands and the shadows of hair are narrower than what they spoil.
    hair = mesh_warp.blur(mesh_warp.extend(max_pool2d(hair, 7, 1, 3), covered), 4.0)
    return 1 - hair * (1 - mesh_warp.ramp(level, FOREHEAD - 0.12, FOREHEAD))


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
    sources = [sources[0], *(_toned(source, sources[0]) for source in sources[1:])]
    digest = hashlib.sha256(b"mien warp 1")
    for source in sources:
        digest.update(repr((tuple(source.image.shape), source.aspect)).encode())
        for tensor in (source.image, source.points, source.facing):
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return WarpIdentity(tuple(sources), digest.hexdigest())


def _toned(source: WarpSource, like: WarpSource) -> WarpSource:
    """A photograph under the light of another: one gain per channel, from skin that both show squarely."""
    bony = torch.tensor(mesh.RIGID, device=source.points.device)
    both = torch.minimum(source.facing, like.facing)[bony]
    seen = bony[both > 0.35]
    if len(seen) < 12:
        return source
    gain = (_skin_tone(like, seen) - _skin_tone(source, seen)).median(1).values.exp2()
    return replace(source, image=source.image * gain.clamp(1 / 16, 16)[:, None, None])


def _skin_tone(source: WarpSource, points: Tensor) -> Tensor:
    """(3, N) light, in stops, around points of a photograph."""
    corner, step = _face_lattice(source.points)
    light = sample(source.image, positions((SIDE, SIDE), (0, 0), source.image) * step + corner)
    x, y = ((source.points[points, :2] - corner) / step).long().clamp(0, SIDE - 1).unbind(1)
    return mesh_warp.blur(light, 2.0)[:, y, x].clamp(min=1e-4).log2()


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
    view = _view(points, face.aspect)
    facing = _facing(view)
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
    knowledge = mesh_warp.spread(mesh_warp.spread(sharp, _AROUND), _AROUND).T
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
        bare = _read(source.bare, there, *_face_lattice(source.points))
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

"""A photograph of the performer, made ready to be put on: cropped, and with what its camera saw of the face."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, normalize

from mien import mesh
from mien.ops import mesh_warp, pyramid
from mien.ops.lift import to_mesh
from mien.ops.warp import positions, sample
from mien.types import Image, MienError, Points

CELLS = 160
"""Lattice cells across the face: finer than the mesh, so that a landmark's pull is kept."""
SIDE = CELLS + 2
"""Cells along either side of a lattice over a photograph's face."""
LIMIT = 65504.0
"""Light that stands for infinity in a photograph: the largest half."""
FOREHEAD = -0.24
"""Height, in units of the canonical mesh, above which hair may hide the forehead of a photograph."""
GLINT = 13
"""Cells of light that may interrupt a fringe on its way down from the hairline."""
CHEEKS = [50, 280, 101, 330, 36, 266, 205, 425, 4, 5, 195, 9]
"""Points of cheeks, nose and brow ridge whose color stands for skin."""

RIMS = (mesh.LIPS_INNER, mesh.RIGHT_EYE, mesh.LEFT_EYE)
"""Points around what opens and closes."""


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
        return view_of(self.points, self.aspect)

    @cached_property
    def openings(self) -> tuple[float, ...]:
        """Areas within each of ``RIMS``, in pixels."""
        return tuple(area_of(self.points[rim, :2].tolist()) for rim in RIMS)

    @cached_property
    def lattice(self) -> tuple[list[float], list[float]]:
        """Outer corner and cell size (x, y) of what ``bare`` is told on."""
        corner, step = face_lattice(self.points)
        return corner.tolist(), step.tolist()

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
    facing = facing_of(view_of(points, aspect)).clamp(min=0) * mesh_warp.spread(seen * trust, AROUND)
    return WarpSource(image[:, top:bottom, left:right].contiguous(), points - offset, facing, aspect)


def _broad_normals() -> Tensor:
    """(468, 3) normals of the mean face, smoothed so that nostrils and lips count with what surrounds them."""
    normals = mesh_warp.normals(mesh.CANONICAL, mesh.TRIANGLES)
    for _ in range(3):
        normals = mesh_warp.spread(normals, AROUND)
    return normalize(normals, dim=-1)


AROUND = mesh_warp.neighbors(mesh.TRIANGLES, mesh.POINTS)
NORMALS = _broad_normals()


def area_of(polygon: Sequence[Sequence[float]]) -> float:
    """The area of a polygon with (x, y) corners."""
    return abs(sum(x * v - y * u for (x, y), (u, v) in zip(polygon, [*polygon[1:], polygon[0]]))) / 2


def view_of(points: Points, aspect: float) -> Tensor:
    """(3,) the direction from the viewer in the head's own axes, which roll does not change."""
    return mesh.similarity_of(points * points.new_tensor([aspect, 1.0, 1.0]))[0][2]


def facing_of(view: Tensor) -> Tensor:
    """(468,) how squarely the viewer sees each point, 1 to -1, of a head turned so whatever its expression."""
    return -(NORMALS.to(view) * view).sum(-1)


def face_lattice(points: Points) -> tuple[Tensor, Tensor]:
    """Outer corner and cell size, in pixels, of a lattice of SIDE x SIDE cells over a face."""
    low, high = points[:, :2].amin(0), points[:, :2].amax(0)
    step = ((high - low) / CELLS).clamp(min=1e-6)
    return low - step, step


def _unoccluded(points: Points, aspect: float) -> Tensor:
    """(468,) 1 where no nearer part of the face lies in front of a point, else 0."""
    corner, step = face_lattice(points)
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
    corner, step = face_lattice(points)
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


def toned(source: WarpSource, like: WarpSource) -> WarpSource:
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
    corner, step = face_lattice(source.points)
    light = sample(source.image, positions((SIDE, SIDE), (0, 0), source.image) * step + corner)
    x, y = ((source.points[points, :2] - corner) / step).long().clamp(0, SIDE - 1).unbind(1)
    return mesh_warp.blur(light, 2.0)[:, y, x].clamp(min=1e-4).log2()

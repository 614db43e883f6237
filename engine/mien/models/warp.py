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
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import hardshrink

from mien import mesh
from mien.models.photograph import CELLS, WarpSource, toned
from mien.models.route import FADE, MARGIN, Grid, Route, Way, route
from mien.ops import mesh_warp, pyramid
from mien.ops.choose import choose
from mien.ops.lift import to_mesh
from mien.ops.region import Slices, surrounded
from mien.types import Face, Image, Layer, MienError, Plate, Points

LEAST = 1e-4
"""Matte below which nothing is drawn, as the lack of it counts as full."""


@dataclass(frozen=True)
class WarpIdentity:
    """Photographs of one performer, the best for each pose chosen or blended point by point.

    Attributes:
        by_parts: Any part of a region can be drawn alone.
        margin: Face widths around the points that it draws; it looks at no plate.
    """

    by_parts: ClassVar[bool] = True
    margin: ClassVar[float] = MARGIN
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


def _draw(sources: tuple[WarpSource, ...], plate: Plate, face: Face) -> Layer:
    image = plate.image
    height, width = image.shape[-2:]
    if face.scheme == "ibug68":
        face = replace(face, points=to_mesh(face.points), weight=face.weight.new_ones(mesh.POINTS), scheme="mesh")
    if face.scheme != "mesh" or face.points.shape != (mesh.POINTS, 3):
        raise ValueError(f"expected a face of 468 mesh points, got {face.scheme} {tuple(face.points.shape)}")
    points = face.points.to(image) - image.new_tensor([*plate.corner, 0.0])
    margin = MARGIN * face.width
    low, high = (points[:, :2].amin(0) - margin).tolist(), (points[:, :2].amax(0) + margin).tolist()
    left, top = (max(0, math.floor(v)) for v in low)
    right, bottom = (min(n, math.ceil(v)) for n, v in zip((width, height), high))
    matte = torch.zeros_like(image[..., :1, :, :])
    if right <= left or bottom <= top:
        return Layer(image, matte, plate.corner, face.width, {"identity": matte})
    extent = [far - near for near, far in zip(low, high)]
    step = max(1.0, face.width / CELLS, max(extent) / (4 * CELLS))
    columns, rows = (math.ceil(length / step + 5) for length in extent)
    way = route(sources, points, face, Grid((low[0] - 2 * step, low[1] - 2 * step), step, (rows, columns)))
    inside = slice(top, bottom), slice(left, right)
    start, rim = (low[0] - 2 * step - left, low[1] - 2 * step - top), math.ceil(FADE * margin + 3 * step)
    patch = Patch((left, top), (bottom - top, right - left), start, step, rim)
    sound, shown = mesh_warp.spline(way.shown, patch.start, step, patch.size)
    drawn = _resample(sources, way, patch, shown, image[..., *inside])
    matte[..., 0, *inside] = 1 - hardshrink(1 - hardshrink(sound, LEAST), LEAST)
    return Layer(surrounded(drawn, image, *inside), matte, plate.corner, face.width, {"identity": matte})


@dataclass(frozen=True)
class Patch:
    """The part of a region that is drawn.

    Attributes:
        corner: Its first pixel (x, y).
        size: Height and width.
        start: Where, as it sees it, the outer corner (x, y) of the lattice lies.
        step: Pixels to a cell of that.
        rim: Pixels along its borders in which what is drawn fades into the plate.
    """

    corner: tuple[int, int]
    size: tuple[int, int]
    start: tuple[float, float]
    step: float
    rim: int


def _resample(sources: tuple[WarpSource, ...], route: Route, patch: Patch, shown: Tensor, behind: Image) -> Image:
    reads = []
    for way in route.ways:
        level = way.level[0]
        if level.numel() > 1:
            level = mesh_warp.spline(way.level, patch.start, patch.step, patch.size)[0].clamp(min=0)
        levels = sources[way.source].levels(float(level.amax()))
        reads.append(pyramid.look_up(levels, _places(way, patch), level))
    if len(reads) == 1:
        drawn = reads[0]
    else:
        drawn = _mixed(reads, mesh_warp.spline(route.shares, patch.start, patch.step, patch.size).clamp(min=0))
    # Elsewhere than at the rim nothing of the plate shows.
    for rows, columns in _rim(shown, patch.rim):
        part, front, back = shown[rows, columns], drawn[:, rows, columns], behind[:, rows, columns]
        mixed = choose(part > LEAST, torch.lerp(back, front, part.clamp(0, 1)), back)
        front.copy_(choose(part > 1 - LEAST, front, mixed))
    return drawn


def _rim(shown: Tensor, width: int) -> tuple[Slices, ...]:
    """Rows and columns of the parts of a patch in which not all is shown: mostly its rim, ``width`` pixels wide."""
    height, across = shown.shape
    top, left = min(width, height // 2), min(width, across // 2)
    inner = slice(top, height - top), slice(left, across - left)
    if not shown[inner].numel() or float(shown[inner].amin()) <= 1 - LEAST:
        return ((slice(None), slice(None)),)
    ends = slice(0, top), slice(height - top, height), slice(0, left), slice(across - left, across)
    return (ends[0], slice(None)), (ends[1], slice(None)), (inner[0], ends[2]), (inner[0], ends[3])


def _places(way: Way, patch: Patch) -> Points:
    """(H, W, 2) positions in a source for the pixels of a patch."""
    height, width = patch.size
    there = mesh_warp.places(way.rest, patch.start, patch.step, patch.size)
    across = torch.arange(width).to(there) + (patch.corner[0] + 0.5)
    down = torch.arange(height).to(there) + (patch.corner[1] + 0.5)
    (a, b, x), (c, d, y) = way.affine
    # As long rows of numbers: operations on pairs cost many times as much.
    rows = there.view(height, 2 * width).addr_(down, there.new_tensor([b, d]).repeat(width))
    return rows.add_(torch.stack([a * across + x, c * across + y], 1).flatten()).view(height, width, 2)


def _mixed(pictures: list[Image], shares: Tensor) -> Image:
    """Several pictures, each by its (K, H, W) share of the whole."""
    total = shares.sum(0).clamp(min=1e-6)
    return torch.stack([picture * (share / total) for picture, share in zip(pictures, shares)]).sum(0)

"""The ICT Face Model as training needs it: fewer vertices, texture coordinates, shadows known beforehand.

The model (USC Institute for Creative Technologies, MIT licence) is not part of mien; ``facekit.npz`` is read from
where the caller has it. Head space: centimeters, x to the right of the picture, y up, z toward the viewer.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree
from torch import Tensor

from mien import mesh
from mien.train.raster import interpolate, rasterize

PAGE = 256
"""Side of the skin page of the texture, in texels."""
ATLAS_HEIGHT = 320
"""The skin page and, below it, a strip of 64 texels with eyes, hair, cloth and the mouth."""
SKIN, EYE, MOUTH, GUM, TOOTH, HAIR, CLOTH = range(7)

_FACE_END, _SKIN_END, _MOUTH_END, _SOCKET_END, _GUM_END, _TOOTH_END, _EYE_END = (
    9409,
    11248,
    13294,
    14062,
    17039,
    21451,
    24591,
)
_UNWRAP_CENTER = np.array([0.0, 0.0, -1.0])
_UNWRAP_REACH = 2.2
_LIGHT_DIRECTIONS = 96

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


class Regions(NamedTuple):
    """Where things are on the skin page, (PAGE, PAGE) each.

    Attributes:
        lips: 0..1.
        brow_along, brow_across: position on the nearest brow: 0 inner end to 1 outer end; cm above its curve.
        lid: Distance from the nearest lid rim in cm.
        cheek, nose, beard, socket: 0..1 soft.
        hairline: cm above the mean hairline.
        oval: 0..1 inside the outline of the mesh.
    """

    lips: Tensor
    brow_along: Tensor
    brow_across: Tensor
    lid: Tensor
    cheek: Tensor
    nose: Tensor
    beard: Tensor
    socket: Tensor
    hairline: Tensor
    oval: Tensor


class Kit(NamedTuple):
    """A face that can be anyone.

    Attributes:
        neutral: (V, 3) mean vertices.
        identity: (I, V*3) offsets of a standard deviation of each shape mode.
        expression: (E, V*3) offsets of each expression at full strength.
        names: E expression names.
        triangles: (T, 3), clockwise on the picture of what faces the viewer.
        part: (V,) SKIN, EYE, ... of each vertex.
        texture: (V, 2) place in the atlas, -1..1 as grid_sample wants it.
        points_neutral, points_identity, points_expression: the same modes at the 468 mesh points.
        place: (PAGE, PAGE, 3) head-space position of each texel of the skin page, NaN outside.
        point_texture: (468, 2) place of the mesh points on the skin page, in texels.
        directions: (L, 3) light directions in head space.
        lit: (V, L) share of each vertex that each direction reaches, for the mean face.
        regions: Where lips, brows, beard and so on are on the skin page.
    """

    neutral: Tensor
    identity: Tensor
    expression: Tensor
    names: list[str]
    triangles: Tensor
    part: Tensor
    texture: Tensor
    points_neutral: Tensor
    points_identity: Tensor
    points_expression: Tensor
    place: Tensor
    point_texture: Tensor
    directions: Tensor
    lit: Tensor
    regions: Regions


def load_kit(path: Path, device: torch.device | None = None) -> Kit:
    """Read ``facekit.npz`` and prepare it; takes a few seconds."""
    with np.load(path, allow_pickle=False) as file:
        stored = {name: file[name] for name in file.files}
    neutral = stored["neutral"]
    quads = stored["faces"].astype(np.int64)
    triangles = np.concatenate((quads[:, :3], quads[quads[:, 3] >= 0][:, [0, 2, 3]]))
    part = _parts(len(neutral))
    # A sheet facing the viewer runs counterclockwise with y up, hence clockwise on a picture.
    keep, triangles = _thin_out(neutral, triangles[_wanted(neutral, triangles)], part)
    identity = stored["identity"].astype(np.float32) * stored["identity_scale"][:, None, None]
    expression = stored["expression"].astype(np.float32) * stored["expression_scale"][:, None, None]

    vertices, weights = mesh.FACEKIT_VERTICES.numpy(), mesh.FACEKIT_WEIGHTS.numpy()

    def at_points(field: Floats) -> Tensor:
        return torch.from_numpy((field[..., vertices, :] * weights[..., None]).sum(-2).astype(np.float32))

    points_neutral = at_points(neutral)
    shell, shell_triangles, shell_part, shell_texture = _shells()
    count = len(keep)
    body = np.concatenate((neutral[keep], shell)).astype(np.float32)
    parts = np.concatenate((part[keep], shell_part))
    texture = np.concatenate((_texture_places(neutral[keep], part[keep]), shell_texture)).astype(np.float32)
    faces = torch.from_numpy(np.concatenate((triangles, shell_triangles + count))[:, [0, 2, 1]].copy())

    def modes(field: Floats) -> Tensor:
        padded = np.zeros((len(field), len(body), 3), np.float32)
        padded[:, :count] = field[:, keep]
        return torch.from_numpy(padded.reshape(len(field), -1))

    whole = torch.from_numpy(body)
    part_tensor, texture_tensor = torch.from_numpy(parts), torch.from_numpy(texture)
    directions = _sphere(_LIGHT_DIRECTIONS)
    place = _page_places(whole, faces, part_tensor, texture_tensor)
    point_texture = torch.from_numpy(_page_texels(points_neutral.numpy()))
    brows = torch.from_numpy(neutral[stored["ibug68"][17:27]].reshape(2, 5, 3))
    kit = Kit(
        neutral=whole,
        identity=modes(identity),
        expression=modes(expression),
        names=[str(name) for name in stored["expression_names"]],
        triangles=faces,
        part=part_tensor,
        texture=texture_tensor,
        points_neutral=points_neutral,
        points_identity=at_points(identity).flatten(1),
        points_expression=at_points(expression).flatten(1),
        place=place,
        point_texture=point_texture,
        directions=directions,
        lit=torch.cat(
            (
                _reached(whole[:count], faces[(faces < count).all(1)], directions),
                torch.full((len(shell), _LIGHT_DIRECTIONS), 0.6),
            )
        ),
        regions=_regions(place, points_neutral, point_texture, brows),
    )
    if device is None:
        return kit
    moved: dict[str, Any] = {
        name: value.to(device) for name, value in kit._asdict().items() if isinstance(value, Tensor)
    }
    return kit._replace(**moved)


def vertex_normals(vertices: Tensor, triangles: Tensor) -> Tensor:
    """Unit normals (B, V, 3) of meshes (B, V, 3), outward for triangles clockwise seen from outside."""
    a, b, c = vertices[:, triangles].unbind(2)
    normal = torch.linalg.cross(c - a, b - a)
    total = torch.zeros_like(vertices)
    for corner in range(3):
        total.index_add_(1, triangles[:, corner], normal)
    return torch.nn.functional.normalize(total, dim=-1)


def height_above_hairline(places: Tensor) -> Tensor:
    """Height above the mean hairline, in centimeters, at head-space positions (..., 3)."""
    around = torch.atan2(places[..., 0].abs(), places[..., 2] + 1.0)
    stops = torch.tensor([0.0, 0.5, 0.85, 1.0, 1.3, 1.55, 1.9, 2.4, 3.2]).to(places)
    heights = torch.tensor([9.2, 8.8, 7.0, 5.6, 4.6, 1.0, -1.0, -5.0, -7.0]).to(places)
    right = torch.searchsorted(stops, around.contiguous()).clamp(1, len(stops) - 1)
    share = (around - stops[right - 1]) / (stops[right] - stops[right - 1])
    return places[..., 1] - torch.lerp(heights[right - 1], heights[right], share.clamp(0, 1))


def _inside(polygon: Tensor, size: int) -> Tensor:
    """1 inside a polygon (N, 2) in texels, by the parity of crossings, averaged over four samples a texel."""
    total = torch.zeros(size, size)
    start, end = polygon, polygon.roll(-1, 0)
    for shift in (0.25, 0.75):
        y = torch.arange(size) + shift
        x = torch.arange(size) + shift
        crosses = (start[:, 1, None] > y) != (end[:, 1, None] > y)
        slope = (end[:, 0] - start[:, 0]) / (end[:, 1] - start[:, 1] + 1e-9)
        at = start[:, 0, None] + slope[:, None] * (y - start[:, 1, None])
        total += ((crosses[:, :, None] & (at[:, :, None] > x)).sum(0) % 2).float() / 2
    return total


def _regions(page: Tensor, points: Tensor, texels: Tensor, brows: Tensor) -> Regions:
    place = torch.nan_to_num(page, nan=0.0)

    def bump(center: tuple[float, float, float], radius: float) -> Tensor:
        return torch.exp(-((place - torch.tensor(center)).square().sum(-1)) / radius**2)

    def near(rim: list[int]) -> Tensor:
        dense = torch.stack(
            [
                torch.lerp(points[a], points[b], share)
                for a, b in zip(rim, rim[1:] + rim[:1], strict=True)
                for share in (0.0, 0.5)
            ]
        )
        return torch.cdist(place.view(-1, 3), dense).amin(1).view(PAGE, PAGE)

    across = torch.full((PAGE, PAGE), 9.0)
    along = torch.zeros(PAGE, PAGE)
    for curve in (brows[0].flip(0), brows[1]):
        count = 33
        share = torch.linspace(0, 1, count)
        cell = (share * 4).floor().clamp(max=3).long()
        dense = torch.lerp(curve[cell], curve[cell + 1], (share * 4 - cell)[:, None])
        distance, which = torch.cdist(place.view(-1, 3), dense).min(1)
        distance, which = distance.view(PAGE, PAGE), which.view(PAGE, PAGE)
        sign = torch.sign(place[..., 1] - dense[which][..., 1])
        closer = distance < across.abs()
        across = torch.where(closer, distance * sign, across)
        along = torch.where(closer, share[which], along)
    lips = _inside(texels[mesh.LIPS_OUTER], PAGE)
    chin = torch.sigmoid((-1.0 - place[..., 1] - 0.18 * (place[..., 0].abs() - 3).clamp_min(0) * -1.0) * 2)
    beard = chin * torch.sigmoid((place[..., 2] - 1.5) * 1.5) * (1 - lips) * torch.sigmoid((place[..., 1] + 11) * 2)
    return Regions(
        lips=lips,
        brow_along=along,
        brow_across=across,
        lid=torch.minimum(near(mesh.RIGHT_EYE), near(mesh.LEFT_EYE)),
        cheek=bump((-4.5, -0.5, 9.0), 2.6) + bump((4.5, -0.5, 9.0), 2.6),
        nose=bump((0.0, 0.3, 13.0), 1.8),
        beard=beard,
        socket=bump((-3.2, 2.6, 9.3), 1.8) + bump((3.2, 2.6, 9.3), 1.8),
        hairline=height_above_hairline(place),
        oval=_inside(texels[mesh.OVAL], PAGE),
    )


def _parts(count: int) -> Integers:
    part = np.full(count, -1)
    for name, start, stop in (
        (SKIN, 0, _SKIN_END),
        (MOUTH, _SKIN_END, _MOUTH_END),
        (GUM, _MOUTH_END, _SOCKET_END),
        (GUM, _SOCKET_END, _GUM_END),
        (TOOTH, _GUM_END, _TOOTH_END),
        (EYE, _TOOTH_END, _EYE_END),
    ):
        part[start:stop] = name
    return part


def _wanted(neutral: Floats, triangles: Integers) -> NDArray[np.bool_]:
    within = triangles.max(1) < _EYE_END
    eye = triangles.min(1) >= _TOOTH_END
    middle = neutral[_TOOTH_END:_EYE_END, 2]
    front = neutral[triangles][..., 2].min(1) > (middle.min() + middle.max()) / 2
    return np.asarray(within & (~eye | front), np.bool_)


def _spacing(neutral: Floats, part: Integers) -> Floats:
    """Wanted distance between kept vertices: fine where a face is read, coarse on the skull."""
    spacing = np.full(len(neutral), 0.55, np.float32)
    spacing[(neutral[:, 2] < 3.0) | (neutral[:, 1] > 9.0) | (neutral[:, 1] < -9.0)] = 1.1
    for center, radius in (
        ((-3.15, 3.5, 9.4), 1.9),
        ((3.15, 3.5, 9.4), 1.9),
        ((0.0, -3.4, 11.0), 2.9),
        ((0.0, -0.3, 12.0), 2.0),
    ):
        spacing[np.linalg.norm(neutral - np.array(center), axis=1) < radius] = 0.24
    spacing[part == MOUTH] = 0.5
    spacing[part == GUM] = 0.6
    spacing[part == TOOTH] = 0.4
    spacing[part == EYE] = 0.16
    return spacing


def _thin_out(neutral: Floats, triangles: Integers, part: Integers) -> tuple[Integers, Integers]:
    """Keep some vertices; a triangle remains wherever the cells of three kept ones meet.

    Cells are geodesic: a vertex belongs to the kept one that it reaches on the surface by the shortest way.
    """
    used = np.unique(triangles)
    sides = np.concatenate((triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]))
    length = np.linalg.norm(neutral[sides[:, 0]] - neutral[sides[:, 1]], axis=1) + 1e-6
    shape = (len(neutral), len(neutral))
    graph = coo_matrix((length, (sides[:, 0], sides[:, 1])), shape=shape).tocsr()
    graph = graph.maximum(graph.T)
    ordered = np.sort(sides, axis=1)
    unique, count = np.unique(ordered, axis=0, return_counts=True)
    rim = np.unique(unique[count == 1])

    spacing = _spacing(neutral, part)
    random = np.random.default_rng(0)
    order = np.concatenate((random.permutation(rim), random.permutation(np.setdiff1d(used, rim))))
    tree = cKDTree(neutral)
    free = np.ones(len(neutral), bool)
    kept = []
    on_rim = np.zeros(len(neutral), bool)
    on_rim[rim] = True
    for vertex in order:
        if not free[vertex]:
            continue
        kept.append(vertex)
        reach = spacing[vertex] * (0.5 if on_rim[vertex] else 1.0)
        near = np.asarray(tree.query_ball_point(neutral[vertex], reach))
        free[near[part[near] == part[vertex]]] = False
    keep = np.sort(np.array(kept))
    _, _, owner = dijkstra(graph, indices=keep, min_only=True, return_predecessors=True)
    renumber = np.full(len(neutral), -1)
    renumber[keep] = np.arange(len(keep))
    cells = renumber[np.where(owner >= 0, owner, 0)][triangles]
    distinct = (cells[:, 0] != cells[:, 1]) & (cells[:, 1] != cells[:, 2]) & (cells[:, 2] != cells[:, 0])
    cells = cells[distinct]
    turned = np.argmin(cells, axis=1)
    cells = np.stack([cells[np.arange(len(cells)), (turned + k) % 3] for k in range(3)], 1)
    return keep, np.unique(cells, axis=0)


def _unwrap(positions: Floats) -> Floats:
    """Azimuthal map of the head seen from in front, -1..1 on the page, y down."""
    offset = positions - _UNWRAP_CENTER
    angle = np.arccos(np.clip(offset[:, 2] / np.linalg.norm(offset, axis=1), -1, 1))
    around = np.arctan2(-offset[:, 1], offset[:, 0])
    # The root spends more texels on the middle of the face.
    radius = np.minimum(angle / _UNWRAP_REACH, 0.98) ** 0.7
    return np.stack((radius * np.cos(around), radius * np.sin(around)), 1).astype(np.float32)


def _page_texels(positions: Floats) -> Floats:
    return (_unwrap(positions) + 1) * (PAGE / 2)


def _atlas(texels: Floats) -> Floats:
    return texels * np.array([2 / PAGE, 2 / ATLAS_HEIGHT], np.float32) - 1


def _texture_places(neutral: Floats, part: Integers) -> Floats:
    texels = _page_texels(neutral)
    for side in (-1, 1):
        eye = (part == EYE) & (neutral[:, 0] * side > 0)
        middle = (neutral[eye].min(0) + neutral[eye].max(0)) / 2
        texels[eye] = [32, PAGE + 32] + (neutral[eye] - middle)[:, :2] * [20, -20]
    for name, column in ((TOOTH, 200), (GUM, 216), (MOUTH, 232)):
        texels[part == name] = [column, PAGE + 32]
    return _atlas(texels.astype(np.float32))


def _grid(rows: int, columns: int) -> Integers:
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    return np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, d, b), (b, d, c))])


def _shells() -> tuple[Floats, Integers, Integers, Floats]:
    """A curtain of long hair around the back of the head, and a clothed body below it."""
    around, along = np.meshgrid(np.linspace(-2.0, 2.0, 25), np.linspace(0, 1, 10))
    # Angle 0 is the back of the head; both edges of the curtain frame the face.
    hair = np.stack(
        (
            np.sin(around) * (9.0 + 1.5 * along),
            10.0 - 27.0 * along,
            -1.0 - np.cos(around) * (9.0 - 2.0 * along) * np.where(np.cos(around) > 0, 1.0, 0.55),
        ),
        -1,
    ).reshape(-1, 3)
    hair_texels = np.stack((96 + around * 14, PAGE + 4 + 56 * along), -1).reshape(-1, 2)
    hair_triangles = _grid(10, 25)
    hair_both = np.concatenate((hair_triangles, hair_triangles[:, ::-1]))
    turn, height = np.meshgrid(np.linspace(-np.pi / 2, np.pi / 2, 13), np.linspace(0.15, 1.5, 7))
    body = np.stack(
        (22 * np.sin(turn) * np.sin(height), -25 + 11 * np.cos(height), -3 + 9 * np.cos(turn) * np.sin(height)), -1
    ).reshape(-1, 3)
    body_texels = np.stack((160 + turn * 18, PAGE + 4 + 36 * height), -1).reshape(-1, 2)
    body_triangles = _grid(7, 13) + len(hair)
    return (
        np.concatenate((hair, body)).astype(np.float32),
        np.concatenate((hair_both, body_triangles)),
        np.concatenate((np.full(len(hair), HAIR), np.full(len(body), CLOTH))),
        _atlas(np.concatenate((hair_texels, body_texels)).astype(np.float32)),
    )


def _page_places(vertices: Tensor, triangles: Tensor, part: Tensor, texture: Tensor) -> Tensor:
    texels = (texture + 1) * torch.tensor([PAGE / 2, ATLAS_HEIGHT / 2])
    flat = torch.cat((texels, -vertices[:, 2:]), 1)[None]
    skin = triangles[(part[triangles] == SKIN).all(1)]
    fragments = rasterize(flat, skin, PAGE)
    places = interpolate(fragments, skin, vertices[None])[0]
    return torch.where((fragments.triangle[0] >= 0)[..., None], places, torch.nan)


def _sphere(count: int) -> Tensor:
    """Directions spread evenly (Fibonacci lattice)."""
    index = torch.arange(count) + 0.5
    height = 1 - 2 * index / count
    around = index * (torch.pi * (3 - 5**0.5))
    radius = (1 - height.square()).sqrt()
    return torch.stack((radius * around.cos(), height, radius * around.sin()), 1)


def _reached(vertices: Tensor, triangles: Tensor, directions: Tensor) -> Tensor:
    """Share of light from each direction that reaches each vertex, from a shadow map per direction."""
    size = 96
    columns = []
    both = torch.cat((triangles, triangles.flip(1)))
    for direction in directions:
        helper = torch.tensor([0.0, 1.0, 0.0]) if direction[1].abs() < 0.9 else torch.tensor([1.0, 0.0, 0.0])
        right = torch.nn.functional.normalize(torch.linalg.cross(helper, direction), dim=0)
        frame = torch.stack((right, torch.linalg.cross(direction, right), -direction))
        seen = vertices @ frame.T
        seen[:, :2] = (seen[:, :2] / 40 + 0.5) * size
        depth = rasterize(seen[None], both, size).depth[0]
        texel = seen[:, :2].long().clamp(1, size - 2)
        around = [depth[texel[:, 1] + v, texel[:, 0] + u] for u in (-1, 0, 1) for v in (-1, 0, 1)]
        columns.append(torch.stack([(seen[:, 2] < near + 0.9).float() for near in around]).mean(0))
    return torch.stack(columns, 1)


def symmetric_pairs(names: list[str]) -> list[tuple[int, int]]:
    """Indices of expressions that have a left and a right half."""
    index: dict[str, Any] = {name: k for k, name in enumerate(names)}
    return [(k, index[name[:-1] + "R"]) for name, k in index.items() if name.endswith("_L")]

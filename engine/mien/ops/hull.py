"""Mattes from outlines: exact area coverage of polygons, and the outline of a face."""

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import hardshrink

from mien import mesh
from mien.types import Matte, Points

JAW = list(range(17))
BROWS = [26, 25, 24, 23, 22, 21, 20, 19, 18, 17]
"""``ibug68`` points along both brows, from the person's left to right, which close the jaw line."""
UPPER_LIDS = [45, 44, 43, 43, 42, 39, 38, 37, 37, 36], [45, 44, 44, 43, 42, 39, 38, 38, 37, 36]
"""``ibug68`` points of the upper lids below each of ``BROWS``, as midpoints of two."""
HAIRLINE = 0.25
"""Height of the forehead above the brows, as a share of the distance from brows to chin."""

BROW_LINE = [p for rim in (mesh.RIGHT_BROW, mesh.LEFT_BROW) for p in rim[5:]]
"""Mesh points along the upper edges of the brows."""
LID_LINE = [p for eye in (mesh.RIGHT_EYE, mesh.LEFT_EYE) for p in (eye[0], *eye[8:])] + [127, 356]
"""Mesh points along the upper lids, and on the temples beside them."""

CRUMB = 1e-7
"""Coverage that counts as none, as the lack of it counts as full."""


def polygon_matte(points: Points, corner: tuple[int, int], size: tuple[int, int]) -> Matte:
    """The share of each pixel that lies inside closed polygons.

    Args:
        points: (..., N, 2 or more) corners in order, in plate pixels; either sense of turning.
        corner: Plate pixel (x, y) of the region's top-left pixel.
        size: Height and width of the region.

    Returns:
        (..., 1, height, width), exact to float rounding for outlines that do not cross themselves.
    """
    if points.dim() < 2 or points.shape[-1] < 2:
        raise ValueError(f"points must be (..., N, 2 or more), not {tuple(points.shape)}")
    flat = points[..., :2].double().reshape(-1, *points.shape[-2:-1], 2)
    each = [coverage(one, one.roll(-1, 0), corner, size) for one in flat]
    empty = points.new_zeros(0, *size, dtype=torch.float32)
    stacked = torch.stack(each) if each else empty
    return stacked.view(*points.shape[:-2], 1, *size)


def surface_matte(points: Points, triangles: Tensor, corner: tuple[int, int], size: tuple[int, int]) -> Matte:
    """The share of each pixel covered by those (T, 3) triangles of a mesh that turn toward the viewer.

    Edges between neighbors cancel, so that what remains is the silhouette; where the surface lies in front
    of itself the matte is 1. Points are (N, 2 or more); the result is (1, height, width).
    """
    place = points[:, :2].double()
    a, b, c = place[triangles].unbind(1)
    turn = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    front = triangles[turn > 0]
    starts, ends = front.flatten(), front.roll(-1, 1).flatten()
    # Edges shared by two triangles run both ways; what is left over is the outline.
    count = len(points)
    back = torch.zeros(count * count, dtype=torch.bool, device=points.device)
    back[ends * count + starts] = True
    outline = ~back[starts * count + ends]
    return coverage(place[starts[outline]], place[ends[outline]], corner, size)[None]


def coverage(starts: Tensor, ends: Tensor, corner: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """(height, width) share of each pixel inside closed outlines of (E, 2) directed edges, float64 plate pixels.

    Every edge adds, to the pixels it passes and to all right of them, the signed area between itself and
    the right border; edges are cut at pixel borders, where that area is a trapezium's. The cost follows the
    outline's length and the region.
    """
    if not bool(torch.isfinite(starts).all()) or not bool(torch.isfinite(ends).all()):
        raise ValueError("an outline must not hold inf or NaN")
    height, width = size
    whole = starts.new_zeros(height, width, dtype=torch.float32)
    origin = starts.new_tensor(corner)
    a, b = starts - origin, ends - origin
    # Nothing lies beyond the outlines' own box.
    if not len(a):
        return whole
    left, top = (max(0, math.floor(v)) for v in torch.minimum(a, b).amin(0).tolist())
    right, bottom = (min(n, math.ceil(v)) for n, v in zip((width, height), torch.maximum(a, b).amax(0).tolist()))
    if right <= left or bottom <= top:
        return whole
    first = a.new_tensor([left, top])
    whole[top:bottom, left:right] = _covered(a - first, b - first, (bottom - top, right - left))
    return whole


def _covered(a: Tensor, b: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = size
    a, b = _clip_rows(a, b, float(height))
    # What lies left or right of the region still turns around it, along its borders.
    start, end = _cut(a, b, a.new_tensor([width, height]))
    rise = end[:, 1] - start[:, 1]
    middle = (start + end) / 2
    row = middle[:, 1].floor().clamp(0, height - 1).long()
    across = middle[:, 0].clamp(0, width)
    column = across.floor().clamp(max=width - 1).long()
    share = across - column
    key = row * (width + 1) + column
    places, order = torch.cat([key, key + 1]).sort(stable=True)
    total = torch.cat([rise * (1 - share), rise * share])[order].cumsum(0).abs_()
    # Between them nothing changes; what comes after a row's last pixel holds from the next row's first on.
    line = places.div(width + 1, rounding_mode="floor")
    places = places - line
    end = torch.cat([places, places.new_tensor([height * width])])
    last = end[1:] > places
    places, area = places[last], total[last].float()
    lengths = torch.diff(places, append=places.new_tensor([height * width]))
    # Sums of cancelling edges leave crumbs, but outside means untouched.
    area = torch.where(area > 1 - CRUMB, 1.0, hardshrink(area, CRUMB))
    before = int(places[0]) if len(places) else height * width
    covered = torch.cat([area.new_zeros(1), area])
    counts = torch.cat([lengths.new_tensor([before]), lengths])
    return covered.repeat_interleave(counts, output_size=height * width).view(height, width)


def face_outline(points: Points, scheme: str, forehead: float, brow: float = 1.0) -> Points:
    """(M, 2) outline of a face: chin and cheeks, closed over the brows (0) up to the hairline (1).

    ``brow`` draws what lies above the upper lids down to them: 1 leaves it, 0 leaves the brows out.
    """
    if scheme == "ibug68":
        return _outline68(points[:, :2].double(), forehead, brow)
    if scheme != "mesh":
        raise ValueError(f"no outline is known for points of the scheme {scheme!r}")
    return lower_forehead(points, forehead, brow)[mesh.OVAL, :2]


def lower_forehead(points: Points, forehead: float, brow: float = 1.0) -> Points:
    """Mesh points with the forehead drawn down: 1 leaves it, 0 brings its top to just above the brows.

    ``brow`` draws all that lies above the upper lids down in the same way.
    """
    moved = points
    for chain, height in ((BROW_LINE, forehead), (LID_LINE, brow)):
        if height != 1:
            above, line, share = (found.to(points.device) for found in _above(tuple(chain)))
            end = (moved[line] * share[..., None].to(points)).sum(1)
            lowered = moved.clone()
            lowered[above] = torch.lerp(end, moved[above], height)
            moved = lowered
    return moved


@cache
def _above(points: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Points above a line through others, and for each the two between which it lies, with their shares."""
    x, y = mesh.CANONICAL[:, 0], mesh.CANONICAL[:, 1]
    # From the right of the person to the left, and level beyond the ends.
    chain = torch.tensor(sorted(points, key=lambda p: float(x[p])))
    x = x.contiguous()
    limit = y[chain[torch.searchsorted(x[chain], x).clamp(0, len(chain) - 1)]]
    above = (y < limit - 0.02).nonzero().squeeze(1)
    above = above[~torch.isin(above, chain)]
    place = torch.searchsorted(x[chain], x[above]).clamp(1, len(chain) - 1)
    left, right = chain[place - 1], chain[place]
    part = ((x[above] - x[left]) / (x[right] - x[left]).clamp_min(1e-6)).clamp(0, 1)
    line, share = torch.stack([left, right], 1), torch.stack([1 - part, part], 1)
    return above, line, share


def _outline68(points: Tensor, forehead: float, brow: float) -> Tensor:
    lids = (points[UPPER_LIDS[0]] + points[UPPER_LIDS[1]]) / 2
    brows = points[BROWS] if brow == 1 else torch.lerp(lids, points[BROWS], brow)
    chin, between = points[8], (points[21] + points[22]) / 2
    up = (between - chin) * HAIRLINE
    # A forehead is round: highest in the middle, nothing at the temples.
    along = torch.linspace(-1, 1, len(BROWS), dtype=points.dtype, device=points.device)
    height = 0.06 + forehead * (1 - 0.55 * along.square())
    return torch.cat([points[JAW], brows + up * height[:, None]])


def _clip_rows(a: Tensor, b: Tensor, height: float) -> tuple[Tensor, Tensor]:
    """Edges without what lies above or below the region."""
    rise = b[:, 1] - a[:, 1]
    safe = torch.where(rise == 0, 1.0, rise)
    at = [((a.new_tensor(y) - a[:, 1]) / safe) for y in (0.0, height)]
    first = torch.minimum(at[0], at[1]).clamp(0, 1)
    last = torch.maximum(at[0], at[1]).clamp(0, 1)
    kept = (rise != 0) & (last > first)
    a, b, first, last = a[kept], b[kept], first[kept, None], last[kept, None]
    along = b - a
    start, end = torch.where(first > 0, a + along * first, a), torch.where(last < 1, a + along * last, b)
    start[:, 1].clamp_(0, height)
    end[:, 1].clamp_(0, height)
    return start, end


def _cut(a: Tensor, b: Tensor, limit: Tensor) -> tuple[Tensor, Tensor]:
    """Cut edges wherever they cross a border between pixels of the region."""
    index = torch.arange(len(a), device=a.device)
    edges, places = [index, index], [a.new_zeros(len(a)), a.new_ones(len(a))]
    for axis in (0, 1):
        low = torch.minimum(a[:, axis], b[:, axis]).clamp(0, float(limit[axis]))
        high = torch.maximum(a[:, axis], b[:, axis]).clamp(0, float(limit[axis]))
        first = low.ceil()
        count = (high.floor() - first + 1).clamp_min(0).long()
        edge = index.repeat_interleave(count)
        order = torch.arange(len(edge), device=a.device) - (count.cumsum(0) - count).repeat_interleave(count)
        border = first[edge] + order
        along = (b - a)[edge, axis]
        place = (border - a[edge, axis]) / torch.where(along == 0, 1.0, along)
        good = (along != 0) & (place > 0) & (place < 1)
        edges.append(edge[good])
        places.append(place[good])
    edge, place = torch.cat(edges), torch.cat(places)
    order = (2.0 * edge + place).argsort(stable=True)
    edge, place = edge[order], place[order]
    points = a[edge] + (b - a)[edge] * place[:, None]
    same = edge[1:] == edge[:-1]
    return points[:-1][same], points[1:][same]

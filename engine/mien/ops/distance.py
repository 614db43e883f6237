"""Exact distances from the edge of a matte, at a cost that hardly depends on how far they reach.

A tree of square tiles finds the corner of the edge's outline nearest to every pixel: a tile hands down to its parts
only corners that can be nearest to one of their pixels, and tiles in which no distance asked for can lie are left out.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from mien.ops.choose import few
from mien.ops.outline import Outline, outline
from mien.ops.region import Slices
from mien.types import Matte

FAR = 1e6
"""Distance, in pixels, where a matte has no edge at all."""
CELL = 4
"""Side in pixels of the smallest tiles, and how many parts a tile has along a side."""
SLACK = 1.0
"""Pixels by which an outline may come nearer than its nearest corner."""
APART = 1.5
"""Of the pixels that are looked at, how many corners on straight stretches may be apart."""
AT_ONCE = 1 << 19
"""Distances that are compared at a time: what fits a cache, or a little of a GPU's memory."""
FEW = 3
"""Times the corners there are that a table of them may hold before it is parted."""
AT_FIRST = 1 << 20
"""Distances that are compared first: larger tiles cost less at once, and more steps."""


EVERYWHERE = slice(None), slice(None)


class Field(NamedTuple):
    """Signed distances of every pixel of one matte, or of every second and so on, exact where they were asked for.

    Attributes:
        coarse: (rows, columns) one distance for each cell of ``CELL`` by ``CELL`` such pixels: on the right side of
            those asked for.
        cells: (T, 2) row and column of the cells that are exact.
        exact: (T, CELL, CELL) distances of their pixels.
    """

    coarse: Tensor
    cells: Tensor
    exact: Tensor


class _Tiles(NamedTuple):
    """Tiles of one size, with the corners that may be nearest to one of their pixels, in a flat list."""

    places: Tensor
    counts: Tensor
    corners: Tensor


def signed_distance(matte: Matte, low: float = -math.inf, high: float = math.inf, aspect: float = 1.0) -> Tensor:
    """Distance in pixels of (..., H, W) pixel centers from the matte's edge, positive inside.

    Exact from ``low`` to ``high``; elsewhere certain only to lie beyond them. Without an edge everything is
    ``FAR`` inside or outside. NaN counts as 0. Pixels are ``aspect`` times as wide as high, and distances
    are counted in their widths.
    """
    if matte.dim() < 2:
        raise ValueError(f"a matte must be (..., H, W), not {tuple(matte.shape)}")
    size = (matte.shape[-2], matte.shape[-1])
    if not matte.numel():
        return matte.float()
    fields = [field(one, low, high, aspect) for one in matte.reshape(-1, *size)]
    return torch.stack([whole(each.coarse, each.exact, each.cells, size) for each in fields]).view(matte.shape)


def field(
    matte: Tensor, low: float, high: float, aspect: float = 1.0, step: int = 1, held: Slices = EVERYWHERE
) -> Field:
    """Signed distances of one (H, W) matte, exact from ``low`` to ``high``, at every ``step``-th pixel.

    All of its edge lies among the rows and columns ``held``, which have a rim of nothing unless the picture ends there.
    """
    part = matte[held]
    found, inside = part >= 0.5, torch.zeros_like(matte, dtype=torch.bool)
    inside[held] = found
    edge = outline(part, found, APART * step if step > 1 else 0.0)
    start = edge.corners.new_tensor([held[1].start or 0, held[0].start or 0])
    edge = Outline(edge.corners + start, edge.sides)
    # In units of a pixel's width, a step down is shorter where pixels are wide.
    square = torch.tensor([1.0, 1.0 / aspect], dtype=torch.float64, device=matte.device)
    edge = Outline(edge.corners * (square / step), edge.sides * (square / step))
    inside, low, high = inside[::step, ::step], low / step, high / step
    tiles, coarse, side = _first(edge, inside, square, (low, high))
    while side > CELL:
        side //= CELL
        rows, columns = -(-inside.shape[0] // side), -(-inside.shape[1] // side)
        coarse = coarse.repeat_interleave(CELL, 0).repeat_interleave(CELL, 1)[:rows, :columns].contiguous()
        if len(tiles.places):
            tiles = _divide(tiles, edge, inside, side, square, (low, high), coarse)
    return Field(coarse * step, tiles.places, _exact(tiles, edge, inside, square) * step)


def whole(coarse: Tensor, exact: Tensor, cells: Tensor, size: tuple[int, int]) -> Tensor:
    """(height, width) picture of one value for each cell, but for those whose (T, side, side) pixels have their own."""
    (rows, columns), side = coarse.shape, exact.shape[-1]
    picture = coarse[:, None, :, None].expand(rows, side, columns, side).contiguous()
    picture.permute(0, 2, 1, 3)[cells[:, 0], cells[:, 1]] = exact
    return picture.view(rows * side, columns * side)[: size[0], : size[1]]


def _first(edge: Outline, inside: Tensor, square: Tensor, wanted: tuple[float, float]) -> tuple[_Tiles, Tensor, int]:
    """The first tiles in which distances wanted may lie, a distance for every tile, and how wide tiles are.

    They are as small as can be while the corners of all of them are looked through at once.
    """
    reach = max(-wanted[0], wanted[1]) + SLACK
    side, size = CELL * CELL, inside.shape
    while True:
        near = _near(edge.corners / square, size, side, [reach / (side * float(one)) for one in square])
        places = near.nonzero()
        if side >= max(size) or len(places) * len(edge.corners) <= AT_FIRST:
            break
        side *= CELL
    last = torch.tensor(size, device=inside.device) - 1
    rows, columns = (torch.arange(n, device=inside.device) * side + side // 2 for n in near.shape)
    middles = inside[rows.clamp(max=size[0] - 1)[:, None], columns.clamp(max=size[1] - 1)]
    coarse = torch.where(middles, FAR, -FAR)
    if not len(places):
        return _Tiles(places, places[:, 0], places[:, 0]), coarse, side
    middle, centers = (last.flip(-1) * square) / 2, (places.flip(-1) * side + (side - 1) / 2) * square
    corners, centers = (edge.corners - middle).float(), (centers - middle).float()
    norms, lengths = corners.square().sum(-1), centers.square().sum(-1)
    rounding = 4e-6 * float(torch.maximum(norms.amax(), lengths.amax())) + 0.01
    # Less those of the centers from the middle.
    squares = (centers @ (-2 * corners.T)).add_(norms)
    best = (squares.amin(1) + lengths).clamp_min_(0)
    distance, radius = best.sqrt(), (side - 1) / 2 * float(torch.linalg.vector_norm(square))
    signed = torch.where(middles[places[:, 0], places[:, 1]], distance, -distance)
    coarse[places[:, 0], places[:, 1]] = signed
    farthest = ((best + rounding).sqrt() + 2 * radius).square() + rounding - lengths
    allowed = torch.where(_reached(signed, distance, radius, wanted), farthest, -math.inf)
    entry = few(squares <= allowed[:, None])
    tile = entry.div(len(corners), rounding_mode="floor")
    counts = torch.bincount(tile, minlength=len(places))
    filled = counts > 0
    return _Tiles(places[filled], counts[filled], entry - tile * len(corners)), coarse, side


def _near(corners: Tensor, size: Sequence[int], side: int, reach: Sequence[float]) -> Tensor:
    """Which tiles, ``side`` pixels wide, lie within ``reach`` tiles (x, y) of one that holds a corner."""
    rows, columns = (-(-n // side) for n in size)
    held = corners.new_zeros(1, rows, columns, dtype=torch.float32)
    place = (corners / side).long()
    held[0, place[:, 1].clamp(max=rows - 1), place[:, 0].clamp(max=columns - 1)] = 1
    across, down = (math.ceil(min(one, most)) for one, most in zip(reach, (columns, rows)))
    return max_pool2d(held, (2 * down + 1, 2 * across + 1), 1, (down, across))[0] > 0


def _reached(signed: Tensor, distance: Tensor, radius: float, wanted: tuple[float, float]) -> Tensor:
    """Whether distances wanted may lie within ``radius`` of a place whose own is given."""
    # Farther from the edge than its own pixels are, a part lies on one side of it.
    reach = radius + SLACK
    mixed = distance <= reach
    low, high = torch.where(mixed, -distance, signed) - reach, torch.where(mixed, distance, signed) + reach
    return (low <= wanted[1]) & (high >= wanted[0])


def _divide(
    tiles: _Tiles,
    edge: Outline,
    inside: Tensor,
    side: int,
    square: Tensor,
    wanted: tuple[float, float],
    coarse: Tensor,
) -> _Tiles:
    """The parts, ``side`` pixels wide, of tiles, if distances wanted may lie in them, with corners of their own.

    The signed distance of every part's center goes into ``coarse``.
    """
    offsets = _offsets(side, square)
    lengths = offsets.square().sum(-1)
    radius = (side - 1) / 2 * float(torch.linalg.vector_norm(square))
    last = torch.tensor(inside.shape, device=inside.device) - 1
    parts = torch.cartesian_prod(*(torch.arange(CELL, device=inside.device),) * 2)
    found = []
    for chosen, corners, none in _groups(tiles):
        away = _away(tiles.places[chosen], corners, edge, side * CELL, square)
        squares = _squares(away, none, offsets)
        best, which = _least(squares)
        distance = (best + lengths).clamp_min_(0).sqrt_()
        places = tiles.places[chosen][:, None] * CELL + parts
        there = (places * side <= last).all(-1)
        middle = (places * side + side // 2).minimum(last)
        signed = torch.where(inside[middle[..., 0], middle[..., 1]], distance, -distance)
        coarse[places[there][:, 0], places[there][:, 1]] = signed[there]
        there &= _reached(signed, distance, radius, wanted)
        # Nothing counts that the corner nearest to the center beats in all of the part.
        nearest = _chosen(away, which)
        rounding = 4e-6 * nearest.square().sum(-1) + 0.01
        allowed = torch.where(there, best + rounding, -math.inf)
        apart = (away[..., None, 0] - nearest[..., 0]).square_()
        apart.add_((away[..., None, 1] - nearest[..., 1]).square_()).add_(rounding)
        beaten = squares.sub_(allowed).clamp_min_(0)
        kept = beaten.square_() <= apart.mul_((2 * radius) ** 2)
        entry = few(kept.permute(1, 2, 0))
        part = entry.div(len(corners), rounding_mode="floor")
        slot = entry - part * len(corners)
        tile = part.div(CELL**2, rounding_mode="floor")
        counts = torch.bincount(part, minlength=there.numel())
        filled = counts > 0
        found.append((places.flatten(0, 1)[filled], counts[filled], corners[slot, tile]))
    return _Tiles(*(torch.cat(values) for values in zip(*found)))


def _exact(tiles: _Tiles, edge: Outline, inside: Tensor, square: Tensor) -> Tensor:
    """(T, CELL, CELL) signed distances of the pixels of the smallest tiles from the outline."""
    offsets = _offsets(1, square)
    exact = offsets.new_empty(len(tiles.places), CELL, CELL)
    lengths = torch.linalg.vector_norm(edge.sides, dim=-1, keepdim=True)
    directions = torch.cat([edge.sides / lengths.clamp_min(1e-9), lengths], -1).float()
    last = torch.tensor(inside.shape, device=inside.device) - 1
    parts = torch.cartesian_prod(*(torch.arange(CELL, device=inside.device),) * 2)
    for chosen, corners, none in _groups(tiles):
        away = _away(tiles.places[chosen], corners, edge, CELL, square)
        which = _least(_squares(away, none, offsets))[1]
        x, y = (offsets - _chosen(away, which)).unbind(-1)
        distance = torch.hypot(x, y)
        # From the nearest corner, the nearest point mostly lies on one of the two pieces that meet there.
        pieces = directions.index_select(0, corners.gather(0, which.T).T.flatten()).view(*which.shape, 2, 3)
        for right, down, length in (piece.unbind(-1) for piece in pieces.unbind(-2)):
            along, beside = x * right + y * down, (x * down - y * right).abs_()
            distance = torch.where((along > 0) & (along < length), torch.minimum(beside, distance), distance)
        places = (tiles.places[chosen][:, None] * CELL + parts).minimum(last)
        signed = torch.where(inside[places[..., 0], places[..., 1]], distance, -distance)
        exact[chosen] = signed.view(-1, CELL, CELL)
    return exact


def _offsets(side: int, square: Tensor) -> Tensor:
    """(CELL², 2) centers of a tile's parts from its own, where parts are ``side`` pixels wide."""
    line = (torch.arange(CELL, device=square.device) - (CELL - 1) / 2) * side
    return (torch.cartesian_prod(line, line).flip(1) * square).float()


def _away(places: Tensor, corners: Tensor, edge: Outline, side: int, square: Tensor) -> Tensor:
    """(M, T, 2) corners as seen from the centers of tiles ``side`` pixels wide."""
    centers = (places.flip(-1) * side + (side - 1) / 2) * square
    positions = edge.corners.index_select(0, corners.flatten()).view(*corners.shape, 2)
    return (positions - centers).float()


def _squares(away: Tensor, none: Tensor, offsets: Tensor) -> Tensor:
    """(M, T, P) squared distances of a tile's corners from places in it, less those of the places from its center.

    Where there is ``none``, far away.
    """
    norms = (away[..., 0].square() + away[..., 1].square()).masked_fill_(none, FAR**2)
    return (away @ (-2 * offsets.T)).add_(norms[..., None])


def _least(squares: Tensor) -> tuple[Tensor, Tensor]:
    """(T, P) the least of (M, T, P) values, and the first place where it is: a fifth of what ``torch.min`` takes."""
    best = squares.amin(0)
    # What is greater ends far beyond every place.
    places = torch.arange(len(squares), dtype=best.dtype, device=best.device)[:, None, None]
    return best, (squares - best).mul_(1e30).add_(places).amin(0).long()


def _chosen(away: Tensor, which: Tensor) -> Tensor:
    """(T, P, 2) one of each tile's corners for every place in it."""
    tiles = torch.arange(len(which), device=which.device)[:, None]
    return away.flatten(0, 1).index_select(0, (which * len(which) + tiles).flatten()).view(*which.shape, 2)


def _groups(tiles: _Tiles) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Tiles with about as many corners each: which, their corners (M, T), and where that table is empty."""
    if not len(tiles.counts):
        return
    starts = tiles.counts.cumsum(0) - tiles.counts
    kind = tiles.counts.double().log2().mul(0.5).ceil()
    if int(tiles.counts.max()) * len(starts) <= FEW * len(tiles.corners):
        kind = torch.zeros_like(kind)
    for one in kind.unique().tolist():
        chosen = (kind == one).nonzero().squeeze(1)
        most = int(tiles.counts[chosen].max())
        slots = torch.arange(most, device=starts.device)[:, None]
        for some in chosen.split(max(1, AT_ONCE // (most * CELL**2))):
            counts = tiles.counts[some]
            yield some, tiles.corners[starts[some] + slots.minimum(counts - 1)], slots >= counts

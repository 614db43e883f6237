"""Exact distances from the edge of a matte, at a cost that hardly depends on how far they reach.

The edge is the outline where a matte crosses one half: its corners are found to a fraction of a pixel on
the lines between neighboring pixel centers, and straight pieces join them (marching squares). A tree of
square tiles then finds the corner nearest to every pixel: a tile hands down to its parts only corners that
can be nearest to one of their pixels, and tiles in which no distance asked for can lie are left out.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from mien.types import Matte

FAR = 1e6
"""Distance, in pixels, where a matte has no edge at all."""
CELL = 4
"""Side in pixels of the smallest tiles, and how many parts a tile has along a side."""
SLACK = 1.0
"""Pixels by which an outline may come nearer than its nearest corner."""
TOGETHER = 0.02
"""Pixels between corners that count as one."""
AT_ONCE = 1 << 21
"""Distances that are compared at a time: what fits a cache, or a little of a GPU's memory."""


class Outline(NamedTuple):
    """The edge of one matte.

    Attributes:
        corners: (K, 2) positions (x, y) in pixels from the first pixel's center, float64.
        sides: (K, 2, 2) from each corner to the two next along the outline; 0 where it ends.
    """

    corners: Tensor
    sides: Tensor


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


def field(matte: Tensor, low: float, high: float, aspect: float = 1.0, step: int = 1) -> Field:
    """Signed distances of one (H, W) matte, exact from ``low`` to ``high``, at every ``step``-th pixel."""
    inside = matte >= 0.5
    edge = outline(matte, inside)
    count = len(edge.corners)
    # In units of a pixel's width, a step down is shorter where pixels are wide.
    square = torch.tensor([1.0, 1.0 / aspect], dtype=torch.float64, device=matte.device)
    edge = Outline(edge.corners * (square / step), edge.sides * (square / step))
    inside, low, high = inside[::step, ::step], low / step, high / step
    side = CELL
    while side < max(inside.shape):
        side *= CELL
    root = torch.zeros(1, 2, dtype=torch.long, device=matte.device)
    one = root[: min(count, 1)]
    tiles = _Tiles(one, torch.full_like(one[:, 0], count), torch.arange(count, device=matte.device))
    coarse = torch.where(inside[:1, :1], FAR, -FAR)
    while side > CELL:
        side //= CELL
        rows, columns = -(-inside.shape[0] // side), -(-inside.shape[1] // side)
        coarse = coarse.repeat_interleave(CELL, 0).repeat_interleave(CELL, 1)[:rows, :columns].contiguous()
        if len(tiles.places):
            tiles = _divide(tiles, edge, inside, side, square, (low, high), coarse)
    return Field(coarse * step, tiles.places, _exact(tiles, edge, inside, square) * step)


def whole(coarse: Tensor, exact: Tensor, cells: Tensor, size: tuple[int, int]) -> Tensor:
    """(height, width) picture of one value for each cell, but for those whose pixels have their own."""
    rows, columns = coarse.shape
    picture = coarse[:, None, :, None].expand(rows, CELL, columns, CELL).contiguous()
    picture.permute(0, 2, 1, 3)[cells[:, 0], cells[:, 1]] = exact
    return picture.view(rows * CELL, columns * CELL)[: size[0], : size[1]]


def outline(matte: Tensor, inside: Tensor) -> Outline:
    """The edge of an (H, W) matte, which is ``inside`` where it is at least one half."""
    height, width = matte.shape
    across = (inside[:, 1:] != inside[:, :-1]).nonzero()
    down = (inside[1:] != inside[:-1]).nonzero()
    keys = across[:, 0] * width + across[:, 1], down[:, 0] * width + down[:, 1]
    values, signs = matte.reshape(-1), inside.reshape(-1)
    x = _crossing(values, keys[0], across[:, 1], 1, width)
    y = _crossing(values, keys[1], down[:, 0], width, height)
    corners = torch.cat([torch.stack([x, across[:, 0].double()], 1), torch.stack([down[:, 1].double(), y], 1)])
    before, after = (
        torch.cat([_next(values, signs, keys, axis, step, (height, width)) for axis in (0, 1)]) for step in (-1, 1)
    )
    links = torch.stack([before, after], 1)
    # Where the outline runs through a pixel's center, corners fall together: look past them.
    near = torch.linalg.vector_norm(corners[links] - corners[:, None], dim=-1) < TOGETHER
    onward = links[links]
    itself = torch.arange(len(links), device=links.device)[:, None]
    links = torch.where(near, torch.where(onward[..., 0] == itself, onward[..., 1], onward[..., 0]), links)
    return Outline(corners, corners[links] - corners[:, None])


def _crossing(values: Tensor, keys: Tensor, index: Tensor, step: int, length: int) -> Tensor:
    """Where, between places ``index`` and the next, a line of a matte crosses one half."""
    taps = (torch.arange(-1, 3, device=keys.device)[:, None] + index).clamp(0, length - 1) - index
    before, here, there, after = values[keys + taps * step].double().nan_to_num(0.0).clamp(0, 1)
    straight = index + (here - 0.5) / (here - there)
    # A hard anti-aliased edge stands where the coverage of three pixels says; between two of them a straight
    # line from a full one would miss it by up to a tenth of a pixel.
    first = (here - 0.5).abs() < (there - 0.5).abs()
    low, middle, high = (torch.where(first, *pair) for pair in ((before, here), (here, there), (there, after)))
    place = torch.where(first, index, index + 1)
    cover = low + middle + high
    area = torch.where(low > high, place - 1.5 + cover, place + 1.5 - cover)
    hard = (((low - high).abs() - 0.8) / 0.2).clamp(0, 1)
    return torch.lerp(straight, area, hard).clamp(index.double(), index.double() + 1)


def _next(
    values: Tensor, signs: Tensor, keys: tuple[Tensor, Tensor], axis: int, step: int, size: tuple[int, int]
) -> Tensor:
    """The corner at which the outline leaves the square of four pixels on one side of each crossing.

    Crossings lie between two neighbors in a row (axis 0) or a column (1); the square holds those ``step``
    beside them too. At the picture's border the outline ends: a crossing is its own next.
    """
    height, width = size
    own, other = keys[axis], keys[1 - axis]
    along, beside = (1, width) if axis == 0 else (width, 1)
    line, lines = (own // width, height) if axis == 0 else (own % width, width)
    valid = (line + step >= 0) & (line + step < lines)
    shift = torch.where(valid, step * beside, 0)
    near, far, near_beside, far_beside = (own, own + along, own + shift, own + along + shift)
    leaves_near, leaves_far = signs[near] != signs[near_beside], signs[far] != signs[far_beside]
    middle = values[torch.stack([near, far, near_beside, far_beside])].nan_to_num(0.0).sum(0) >= 2
    # Where the outline crosses all four sides, the mean says which of the pixels hang together.
    turns_near = leaves_near & ~(leaves_far & (middle == signs[near]))
    side = torch.where(turns_near, near, far) + shift.clamp(max=0)
    bases = (0, len(keys[0]))
    turned = bases[1 - axis] + torch.searchsorted(other, side)
    ahead = bases[axis] + torch.searchsorted(own, near_beside)
    found = torch.where(leaves_near | leaves_far, turned, ahead)
    return torch.where(valid, found, torch.arange(len(own), device=own.device) + bases[axis])


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
    radius = (side - 1) / 2 * float(torch.linalg.vector_norm(square))
    last = torch.tensor(inside.shape, device=inside.device) - 1
    parts = torch.cartesian_prod(*(torch.arange(CELL, device=inside.device),) * 2)
    found = []
    for chosen, corners, none in _groups(tiles):
        away = _away(tiles.places[chosen], corners, none, edge, side * CELL, square)
        squares = _squares(away, offsets)
        best, which = squares.min(-1)
        distance = best.clamp_min(0).sqrt()
        places = tiles.places[chosen][:, None] * CELL + parts
        there = (places * side <= last).all(-1)
        middle = (places * side + side // 2).minimum(last)
        signed = torch.where(inside[middle[..., 0], middle[..., 1]], distance, -distance)
        coarse[places[there][:, 0], places[there][:, 1]] = signed[there]
        # Farther from the edge than its own pixels are, a part lies on one side of it.
        reach = radius + SLACK
        mixed = distance <= reach
        low, high = torch.where(mixed, -distance, signed) - reach, torch.where(mixed, distance, signed) + reach
        there &= (low <= wanted[1]) & (high >= wanted[0])
        # Nothing counts that the corner nearest to the center beats in all of the part.
        nearest = away.gather(1, which[..., None].expand(-1, -1, 2))
        rounding = 4e-6 * nearest.square().sum(-1) + 0.01
        apart = _squares(away, nearest).add_(rounding[..., None])
        allowed = torch.where(there, best + rounding, -math.inf)
        beaten = squares.sub_(allowed[..., None]).clamp_min_(0)
        entry = (beaten.square_() <= apart.mul_((2 * radius) ** 2)).flatten().nonzero().squeeze(1)
        part = entry.div(corners.shape[1], rounding_mode="floor")
        entry += (part.div(CELL**2, rounding_mode="floor") - part) * corners.shape[1]
        counts = torch.bincount(part, minlength=there.numel())
        found.append((places.flatten(0, 1)[counts > 0], counts[counts > 0], corners.flatten().index_select(0, entry)))
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
        away = _away(tiles.places[chosen], corners, none, edge, CELL, square)
        which = _squares(away, offsets).argmin(-1)
        x, y = (offsets - away.gather(1, which[..., None].expand(-1, -1, 2))).unbind(-1)
        distance = torch.hypot(x, y)
        # From the nearest corner, the nearest point mostly lies on one of the two pieces that meet there.
        pieces = directions.index_select(0, corners.gather(1, which).flatten()).view(*which.shape, 2, 3)
        for right, down, length in (piece.unbind(-1) for piece in pieces.unbind(-2)):
            along, beside = x * right + y * down, (x * down - y * right).abs()
            distance = torch.where((along > 0) & (along < length), torch.minimum(beside, distance), distance)
        places = (tiles.places[chosen][:, None] * CELL + parts).minimum(last)
        signed = torch.where(inside[places[..., 0], places[..., 1]], distance, -distance)
        exact[chosen] = signed.view(-1, CELL, CELL)
    return exact


def _offsets(side: int, square: Tensor) -> Tensor:
    """(CELL², 2) centers of a tile's parts from its own, where parts are ``side`` pixels wide."""
    line = (torch.arange(CELL, device=square.device) - (CELL - 1) / 2) * side
    y, x = torch.meshgrid(line, line, indexing="ij")
    return (torch.stack([x, y], -1).view(-1, 2) * square).float()


def _away(places: Tensor, corners: Tensor, none: Tensor, edge: Outline, side: int, square: Tensor) -> Tensor:
    """(T, M, 2) corners as seen from the centers of tiles ``side`` pixels wide; far away where there are none."""
    centers = (places.flip(-1) * side + (side - 1) / 2) * square
    positions = edge.corners.index_select(0, corners.flatten()).view(*corners.shape, 2)
    return (positions - centers[:, None]).float().masked_fill_(none[..., None], FAR)


def _squares(away: Tensor, offsets: Tensor) -> Tensor:
    """(T, CELL², M) squared distances between places in tiles, such as the centers of parts, and their corners."""
    norms = away[..., :1].square() + away[..., 1:].square()
    lengths = offsets[..., :1].square() + offsets[..., 1:].square()
    ours = torch.cat([-2 * offsets, torch.ones_like(lengths), lengths], -1)
    theirs = torch.cat([away, norms, torch.ones_like(norms)], -1)
    return ours @ theirs.mT


def _groups(tiles: _Tiles) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Tiles with about as many corners each: which, their corners (T, M), and where that table is empty."""
    if not len(tiles.counts):
        return
    starts = tiles.counts.cumsum(0) - tiles.counts
    kind = tiles.counts.double().log2().mul(0.5).ceil()
    for one in kind.unique().tolist():
        chosen = (kind == one).nonzero().squeeze(1)
        most = int(tiles.counts[chosen].max())
        slots = torch.arange(most, device=starts.device)
        for some in chosen.split(max(1, AT_ONCE // (most * CELL**2))):
            counts = tiles.counts[some, None]
            yield some, tiles.corners[starts[some, None] + slots.minimum(counts - 1)], slots >= counts

"""The outline of a matte where it crosses one half, to a fraction of a pixel.

Corners are found on the lines between neighboring pixel centers, and straight pieces join them (marching squares).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from mien.ops.choose import few

TOGETHER = 0.02
"""Pixels between corners that count as one."""
STRAIGHT = 0.004
"""Share of the pixels by which corners may be apart, by which a corner that is left out may lie off the new piece."""


class Outline(NamedTuple):
    """The edge of one matte.

    Attributes:
        corners: (K, 2) positions (x, y) in pixels from the first pixel's center, float64.
        sides: (K, 2, 2) from each corner to the two next along the outline; 0 where it ends.
    """

    corners: Tensor
    sides: Tensor


def outline(matte: Tensor, inside: Tensor, apart: float = 0.0) -> Outline:
    """The edge of an (H, W) matte, which is ``inside`` where it is at least one half.

    Where it runs straight, corners are left out as long as those that stay are no more than ``apart`` pixels apart.
    """
    height, width = matte.shape
    signs = inside.reshape(-1)
    across, down = few(signs[1:] != signs[:-1]), few(signs[width:] != signs[:-width])
    across = across[across % width != width - 1]
    # Crossings along rows, then those along columns: row and column of the pixel before.
    key = torch.cat([across, down])
    row, falls = key.div(width, rounding_mode="floor"), torch.arange(len(key), device=key.device) >= len(across)
    column = key - row * width
    index, length = torch.where(falls, row, column), torch.where(falls, height, width)
    place = _crossing(matte, key, index, torch.where(falls, width, 1), length)
    corners = torch.stack([torch.where(falls, column, place), torch.where(falls, place, row)], 1)
    links = _links(matte, signs, row, column, falls, (height, width))
    for doubled in range(math.ceil(math.log2(max(1.0, apart)))):
        corners, links = _thinned(corners, links, apart, 1 << doubled)
    # Where the outline runs through a pixel's center, corners fall together: look past them.
    near = torch.linalg.vector_norm(corners[links] - corners[:, None], dim=-1) < TOGETHER
    links = torch.where(near, _past(links), links)
    return Outline(corners, corners[links] - corners[:, None])


def _past(links: Tensor) -> Tensor:
    """(K, 2) what lies behind each of a corner's neighbors."""
    onward = links[links]
    itself = torch.arange(len(links), device=links.device)[:, None]
    return torch.where(onward[..., 0] == itself, onward[..., 1], onward[..., 0])


def _thinned(corners: Tensor, links: Tensor, apart: float, scale: int) -> tuple[Tensor, Tensor]:
    """The outline without some of the corners that lie on straight stretches, no two of them neighbors.

    Among corners about ``scale`` pixels apart every second one goes.
    """
    itself = torch.arange(len(links), device=links.device)
    start, end = corners[links].unbind(1)
    chord, from_start = end - start, corners - start
    length = torch.linalg.vector_norm(chord, dim=-1)
    off = (chord[:, 0] * from_start[:, 1] - chord[:, 1] * from_start[:, 0]).abs()
    ends = (links == itself[:, None]).any(1) | (links[:, 0] == links[:, 1])
    spare = (off <= STRAIGHT * apart * length) & (length <= apart) & ~ends
    # Of neighbors the one goes that is on an odd square of a board, or else whose number, well mixed, is greater.
    odd = (corners / scale).long().sum(1) % 2
    mixed = torch.where(spare, odd * 65521 + (itself * 40503) % 65521, -1)
    gone = spare & (mixed[:, None] > mixed[links]).all(1)
    kept = ~gone
    number = kept.cumsum(0) - 1
    return corners[kept], number[torch.where(gone[links], _past(links), links)[kept]]


def _crossing(matte: Tensor, keys: Tensor, index: Tensor, step: Tensor, length: Tensor) -> Tensor:
    """Where, between places ``index`` and the next, a line of a matte crosses one half."""
    taps = (torch.arange(-1, 3, device=keys.device)[:, None] + index).clamp_min(0).minimum(length - 1) - index
    before, here, there, after = matte.take(keys + taps * step).double().nan_to_num(0.0).clamp(0, 1)
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


def _links(matte: Tensor, signs: Tensor, row: Tensor, column: Tensor, falls: Tensor, size: tuple[int, int]) -> Tensor:
    """(K, 2) the crossings at which the outline leaves the squares of four pixels on either side of each.

    Crossings lie between a pixel and the next in its row, or, where it ``falls``, in its column. At the picture's
    border the outline ends: a crossing is its own next.
    """
    height, width = size
    own, pixels = row * width + column, height * width
    along, beside = torch.where(falls, width, 1), torch.where(falls, 1, width)
    line, lines = torch.where(falls, column, row), torch.where(falls, width, height)
    side = torch.tensor([[-1], [1]], device=own.device)
    valid = (line + side >= 0) & (line + side < lines)
    shift = torch.where(valid, side * beside, 0)
    far, near_beside = own + along, own + shift
    far_beside = near_beside + along
    # What a crossing lies between differs.
    sign = signs[own]
    leaves_near, leaves_far = sign != signs[near_beside], sign == signs[far_beside]
    square = torch.stack([own.expand_as(shift), far.expand_as(shift), near_beside, far_beside])
    middle = matte.take(square).nan_to_num(0.0).sum(0) >= 2
    # Where the outline crosses all four sides, the mean says which of the pixels hang together.
    turns = leaves_near & ~(leaves_far & (middle == sign))
    turned = torch.where(turns, own, far) + shift.clamp(max=0)
    # Crossings are sorted by their pixels, and those along columns come after those along rows.
    sought = torch.where(leaves_near | leaves_far, turned + pixels * ~falls, near_beside + pixels * falls)
    found = torch.searchsorted(own + pixels * falls, sought)
    return torch.where(valid, found, torch.arange(len(own), device=own.device)).T

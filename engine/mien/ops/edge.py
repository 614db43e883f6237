"""The edge of a matte: moved, softened inward and outward, and moved further on one side of a face."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mien.ops.distance import CELL, field, whole
from mien.ops.region import occupied
from mien.types import Matte, Points

WIDE = 14.0
"""Pixels of a ramp for each pixel of the lattice on which it is drawn."""
FAR_OUT = 64
"""Times the pixels from one distance to the next that an edge is moved outward, from which on twice as many will do."""
STEEPEST = 0.97
"""Strongest falloff: beyond it a soft edge would turn into a line."""


@dataclass(frozen=True)
class Softness:
    """How a matte falls off across its edge.

    Attributes:
        inside, outside: How far the edge reaches inward and outward, in pixels.
        falloff: -1 to 1; above 0 the matte stays full for longer and falls late, below 0 it falls early.
    """

    inside: float = 0.0
    outside: float = 0.0
    falloff: float = 0.0


@dataclass(frozen=True)
class Sides:
    """How much further the edge moves on each side of a face.

    Attributes:
        center: (2,) middle of the face in pixels of the matte, from the outer corner of its first pixel.
        up: (2,) direction to the top of the face, of length 1, in square pixels.
        reach: Half the width and half the height of the face in square pixels.
        chin, brow, left, right: Pixels, outward; left is on the left of the picture of an upright face.
    """

    center: Tensor
    up: Tensor
    reach: tuple[float, float]
    chin: float = 0.0
    brow: float = 0.0
    left: float = 0.0
    right: float = 0.0

    @property
    def amounts(self) -> tuple[float, float, float, float]:
        """All four."""
        return self.chin, self.brow, self.left, self.right


EVEN = Softness()


def edge(
    matte: Matte, grow: float, softness: Softness = EVEN, sides: Sides | None = None, aspect: float = 1.0
) -> Matte:
    """Move the edge outward by ``grow`` pixels, further on some sides, and soften it around where it moved to.

    Pixels are ``aspect`` times as wide as high, and lengths are counted in their widths. Edges narrower than
    a pixel are anti-aliased; those wider than ``2 WIDE`` are found at every second pixel or fewer, which rounds their
    creases by as much. With nothing to do the matte comes back as it is. NaN counts as 0. The cost follows the length
    of the edge, and hardly its softness or how far it moves.
    """
    amounts = sides.amounts if sides is not None else (0.0,)
    if not any((grow, softness.inside, softness.outside, *amounts)):
        return matte
    if matte.dim() < 2:
        raise ValueError(f"a matte must be (..., H, W), not {tuple(matte.shape)}")
    inside, outside = _at_least_a_pixel(softness)
    size = (matte.shape[-2], matte.shape[-1])
    # Beyond this nothing is shown: the cost follows the matte, not the picture.
    beyond = math.ceil(max(0.0, grow + max(amounts) + outside) * max(1.0, aspect)) + 2
    shaped = torch.zeros_like(matte, dtype=torch.float32, memory_format=torch.contiguous_format)
    for one, result in zip(matte.reshape(-1, *size), shaped.view(-1, *size)):
        held = occupied(one, 1)
        if one[held].numel():
            around = [slice(max(0, h.start - beyond), min(n, h.stop + beyond)) for h, n in zip(held, size)]
            rows, columns = around
            inner = tuple(slice(h.start - a.start, h.stop - a.start) for h, a in zip(held, around))
            corner = (columns.start, rows.start)
            reach = inside, outside
            result[rows, columns] = _shaped(one[rows, columns], inner, grow, softness, reach, sides, aspect, corner)
    return shaped


def _shaped(
    matte: Matte,
    held: tuple[slice, ...],
    grow: float,
    softness: Softness,
    reach: tuple[float, float],
    sides: Sides | None,
    aspect: float,
    corner: tuple[int, int],
) -> Matte:
    """``edge`` on an (H, W) part of a matte whose first pixel is ``corner`` (x, y), empty but for what is ``held``."""
    inside, outside = reach
    amounts = sides.amounts if sides is not None else (0.0,)
    # A wide ramp is told by every second of its pixels, or fewer, and distances by half as many as that.
    drawn = 1 << max(0, int(math.log2((inside + outside) * min(1.0, 1 / aspect) / WIDE)))
    step = 2 * drawn if (inside + outside) * min(1.0, 1 / aspect) >= WIDE else 1
    # Far outside, distances bend little; inward they crease at every corner.
    while step > 1 and grow + min(amounts) - inside >= FAR_OUT * step:
        step *= 2
    spare = 2.0 * step if step > 1 else 0.01
    low, high = -grow - max(amounts) - outside - spare, -grow - min(amounts) + inside + spare
    found = field(matte, low, high, aspect, step, (held[0], held[1]))
    moved = found.exact + grow
    if sides is not None and any(amounts):
        moved = moved + further(sides, _positions(found.cells, step, corner), aspect)
    ends = -outside - spare, inside + spare
    # Cells that are not exact lie wholly before the ramp or wholly behind it.
    behind, cells = found.coarse > (low + high) / 2, found.cells
    if step > drawn:
        away = whole(torch.where(behind, ends[1], ends[0]), moved.clamp_(*ends), cells, _every(step, matte.shape))
        while step > 2 * drawn:
            step //= 2
            away = _finer(away, _every(step, matte.shape))
            behind, cells = _halved(behind, cells, away, reach, step * CELL * max(1.0, 1 / aspect))
        moved = _twice(away, cells)
    shaped = _profile(moved, softness, inside, outside)
    picture = whole(behind.to(shaped), shaped, cells, _every(drawn, matte.shape))
    while drawn > 1:
        drawn //= 2
        picture = _finer(picture, _every(drawn, matte.shape)).clamp_(0, 1)
    return picture


def _halved(
    behind: Tensor, cells: Tensor, away: Tensor, reach: tuple[float, float], across: float
) -> tuple[Tensor, Tensor]:
    """Which cells lie behind a ramp and which hold it, where each of them becomes four, ``across`` pixels wide.

    Smaller ones may lie wholly before it or behind it where a larger one did not: the distances ``away`` tell.
    """
    rows, columns = (-(-n // CELL) for n in away.shape)
    behind = behind.repeat_interleave(2, 0).repeat_interleave(2, 1)[:rows, :columns].contiguous()
    parts = torch.cartesian_prod(*[torch.arange(2, device=cells.device)] * 2)
    cells = (2 * cells[:, None] + parts).flatten(0, 1)
    cells = cells[(cells < cells.new_tensor(behind.shape)).all(1)]
    middle = away[tuple((cells * CELL + CELL // 2).minimum(cells.new_tensor(away.shape) - 1).T)]
    inside, outside = reach
    behind[cells[:, 0], cells[:, 1]] = middle > (inside - outside) / 2
    return behind, cells[(middle > -outside - across) & (middle < inside + across)]


def _every(step: int, size: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of a picture, of which every ``step``-th is taken."""
    return -(-size[0] // step), -(-size[1] // step)


def _finer(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """A picture of ``size``, of which every second row and column are given."""
    return _between(_between(picture.mT, size[1]).mT, size[0])


def _twice(picture: Tensor, cells: Tensor) -> Tensor:
    """(T, 2 CELL, 2 CELL) twice as many values in each direction in some cells of a picture: Keys' cubic between."""
    padded = picture
    for _ in range(2):
        padded = _continued(padded, 1, 2 - len(padded) % -CELL).mT
    # Cells side by side, so that sums run along them.
    corner = cells[:, 0] * (CELL * padded.shape[1]) + cells[:, 1] * CELL
    line = torch.arange(CELL + 3, device=cells.device)
    near = padded.take((line[:, None] * padded.shape[1] + line)[..., None] + corner)
    for _ in range(2):
        middle = torch.add(near[1:-2], near[2:-1]).mul_(9 / 16)
        middle.sub_(near[:-3], alpha=1 / 16).sub_(near[3:], alpha=1 / 16)
        near = torch.stack([near[1:-2], middle], 1).flatten(0, 1).transpose(0, 1)
    return near.permute(2, 0, 1)


def _continued(lines: Tensor, before: int, after: int) -> Tensor:
    """Rows with some before and some after them that go on as the first and the last do."""
    first, last = lines[:1], lines[-1:]
    ahead, on = (first - lines[1:2], last - lines[-2:-1]) if len(lines) > 1 else (0 * first, 0 * last)
    counts = [torch.arange(n, device=lines.device)[:, None] + 1 for n in (before, after)]
    return torch.cat([first + ahead * counts[0].flip(0), lines, last + on * counts[1]])


def _between(lines: Tensor, count: int) -> Tensor:
    """``count`` rows, of which every second one is given: what lies between them is Keys' cubic (a = -0.5)."""
    ends = _continued(lines, 1, 2)
    result = lines.new_empty(2 * len(lines), lines.shape[1])
    result[::2] = lines
    middle = torch.add(ends[1:-2], ends[2:-1], out=result[1::2]).mul_(9 / 16)
    middle.sub_(ends[:-3], alpha=1 / 16).sub_(ends[3:], alpha=1 / 16)
    return result[:count]


def further(sides: Sides, positions: Points, aspect: float = 1.0) -> Tensor:
    """(...) pixels by which the edge moves further at (..., 2) positions, smooth from side to side."""
    from_center = (positions - sides.center.to(positions)) * positions.new_tensor([aspect, 1.0])
    up = sides.up.to(positions)
    across = (from_center[..., 1] * up[0] - from_center[..., 0] * up[1]) / sides.reach[0]
    above = (from_center * up).sum(-1) / sides.reach[1]
    # The squares of sine and cosine: each side has the edge to itself on its axis, and all shares sum to 1.
    total = (across.square() + above.square()).clamp_min(1e-12)
    along = torch.where(across > 0, sides.right, sides.left)
    upright = torch.where(above > 0, sides.brow, sides.chin)
    moved: Tensor = (across.square() * along + above.square() * upright) / total
    return moved


def _at_least_a_pixel(softness: Softness) -> tuple[float, float]:
    missing = max(0.0, 1 - softness.inside - softness.outside) / 2
    return softness.inside + missing, softness.outside + missing


def _positions(cells: Tensor, step: int, corner: tuple[int, int]) -> Points:
    """(T, CELL, CELL, 2) positions of the pixels of cells, ``step`` apart, in a matte's part at ``corner`` (x, y)."""
    line = torch.arange(CELL, device=cells.device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    place = (cells.flip(-1)[:, None, None] * CELL + torch.stack([x, y], -1)) * step
    return place.float() + (cells.new_tensor(corner) + 0.5)


def _profile(away: Tensor, softness: Softness, inside: float, outside: float) -> Matte:
    """A matte that rises from 0 at ``outside`` pixels before the edge to 1 at ``inside`` behind it."""
    ramp = ((away + outside) / (inside + outside)).clamp(0, 1)
    # A wide ramp eases in and out, so that its ends do not show as lines; a hard edge is straight coverage.
    ease = min(max((inside + outside - 1) / 4, 0.0), 1.0)
    if ease:
        ramp = torch.lerp(ramp, ramp * ramp * (3 - 2 * ramp), ease)
    if softness.falloff:
        # Schlick's bias (Graphics Gems IV, 1994), which keeps 0 and 1.
        bias = 0.5 + 0.5 * STEEPEST * softness.falloff
        ramp = ramp / ((1 / bias - 2) * (1 - ramp) + 1)
    return ramp

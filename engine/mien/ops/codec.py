"""What a codec of 8 by 8 blocks, such as JPEG, Motion JPEG or MPEG, took from a plate's brightness, measured on a
decoded frame and done to a face that was never coded.

Such codecs round the cosine transform of every block to multiples of a table, coarser for finer detail (Wallace, The
JPEG still picture compression standard, 1991). In a decoded picture the borders of blocks stand out, and on that grid,
and no other, the transform comes in multiples of the table again: that tells where blocks lie and how coarse it was.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from mien.ops.sharpness import LUMINANCE
from mien.types import Image, Matte

SIDE = 8
"""Side of a block in pixels."""
TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""What brightness is rounded to at a quality of 50, of 255 (ISO/IEC 10918-1, table K.1)."""
FINEST, COARSEST = 0.08, 4.0
"""Scales of the table that are told apart: finer rounding is not to be seen."""
SCALES = 96
LARGEST = 1024
"""Pixels along the sides of the part of a plate that is looked at."""
FEWEST = 150
"""Blocks that must be seen."""
MOST = 500
"""Blocks that are looked at."""
CLEAR = 1.25
"""How much more the borders of blocks must stand out than other columns or rows."""
SURE = 0.35
"""How well the transform must fall on multiples of the table; 1 is exactly."""
GAMMA = 2.4
"""Exponent by which codecs see brightness, nearly enough."""
TOE = 1e-3
"""Light, over white, below which ratios of brightness fade: there they are noise."""


@dataclass(frozen=True)
class Coding:
    """How a plate was coded.

    Attributes:
        corner: Plate pixel (x, y), from 0 to 7, at which a block begins.
        scale: Of the table; 0 where no coding is seen.
    """

    corner: tuple[int, int] = (0, 0)
    scale: float = 0.0


UNCODED = Coding()


def measure(image: Image, corner: tuple[int, int], white: float) -> Coding:
    """How a (3, H, W) scene-linear plate, whose first pixel is plate pixel ``corner`` (x, y), was coded.

    ``white`` is the light that the codec held for white.
    """
    _check(image)
    across, down = (max(0, length - LARGEST) // 2 for length in (image.shape[-1], image.shape[-2]))
    middle = image[:, down : down + LARGEST, across : across + LARGEST]
    bright = _encoded(middle.nan_to_num(0.0, 0.0, 0.0), white)
    x, y = (_begins(lines) for lines in (bright, bright.mT))
    if x is None or y is None:
        return UNCODED
    found = _scale(_transform(_blocks(bright[y:, x:])).flatten(0, 1))
    begins = ((corner[0] + across + x) % SIDE, (corner[1] + down + y) % SIDE)
    return Coding(begins, found) if found else UNCODED


def code(image: Image, matte: Matte, coding: Coding, corner: tuple[int, int], white: float, amount: float) -> Image:
    """Round the brightness of a (3, H, W) face under its (1, H, W) matte as a plate's was.

    The face's first pixel is plate pixel ``corner`` (x, y). Color follows brightness in proportion; blocks that are not
    finite, light above ``white`` and below black stay as they are, as does everything where nothing is to be done.
    """
    _check(image)
    if amount == 0 or coding.scale <= 0:
        return image
    left, top = ((here - start) % SIDE for here, start in zip(corner, coding.corner))
    height, width = image.shape[-2:]
    bright = _encoded(image, white)
    room = (left, -(width + left) % SIDE, top, -(height + top) % SIDE)
    padded = pad(bright[None], room, mode="replicate")[0]
    # The codec saw nothing brighter than white.
    table = _table(padded) * coding.scale
    known = _transform(_blocks(padded))
    rounded = _back((known / table).round_().mul_(table))
    coded = _joined(rounded)[top : top + height, left : left + width]
    light = (bright / 255) ** GAMMA
    ratio = ((coded.clamp(0, 255) / 255) ** GAMMA + TOE) / (light + TOE)
    told = (matte[0] > 0) & torch.isfinite(ratio) & (light > 0) & (light < 1)
    return torch.where(told & torch.isfinite(image), image * torch.lerp(torch.ones_like(ratio), ratio, amount), image)


def _check(image: Image) -> None:
    if image.dim() != 3 or image.shape[0] != 3:
        raise ValueError(f"coding needs a (3, H, W) picture, not {tuple(image.shape)}")


def _encoded(image: Image, white: float) -> Tensor:
    """(H, W) brightness from 0 to 255 as codecs see it."""
    light = (image * image.new_tensor(LUMINANCE)[:, None, None]).sum(0) / white
    return light.clamp(0, 1) ** (1 / GAMMA) * 255


def _begins(lines: Tensor) -> int | None:
    """The column from 0 to 7 at which blocks begin in an (H, W) picture; None where no borders stand out."""
    if min(lines.shape) < 4 * SIDE:
        return None
    step = lines.diff(dim=1).abs()
    # A border is where a step is larger than both beside it: what shading and edges do is left out.
    alone = (step[:, 1:-1] - (step[:, :-2] + step[:, 2:]) / 2).clamp(-16, 16)
    count = alone.shape[1] // SIDE * SIDE
    profile = alone[:, :count].double().mean(0).view(-1, SIDE).mean(0)
    spread = float(step.clamp_max(16).double().mean()) + 1e-6
    best = int(profile.argmax())
    others = torch.cat([profile[:best], profile[best + 1 :]])
    stands = float(profile[best] - others.median()) / spread
    return (best + 2) % SIDE if stands > CLEAR - 1 and float(profile[best]) > 2 * float(others.amax()) else None


def _blocks(picture: Tensor) -> Tensor:
    """(n, m, 8, 8) whole blocks of an (H, W) picture."""
    rows, columns = (length // SIDE for length in picture.shape)
    whole = picture[: rows * SIDE, : columns * SIDE]
    return whole.reshape(rows, SIDE, columns, SIDE).transpose(1, 2)


def _joined(blocks: Tensor) -> Tensor:
    """The picture of (n, m, 8, 8) blocks."""
    return blocks.transpose(1, 2).flatten(2, 3).flatten(0, 1)


@cache
def _cosines() -> Tensor:
    """(8, 8) orthonormal cosine transform."""
    place = torch.arange(SIDE, dtype=torch.float64)
    rows = torch.cos((2 * place + 1) * place[:, None] * (math.pi / (2 * SIDE))) / 2
    rows[0] /= math.sqrt(2)
    return rows.float()


def _transform(blocks: Tensor) -> Tensor:
    turn = _cosines().to(blocks.device)
    turned: Tensor = turn @ (blocks - 128) @ turn.mT
    return turned


def _back(transformed: Tensor) -> Tensor:
    turn = _cosines().to(transformed.device)
    return turn.mT @ transformed @ turn + 128


def _table(like: Tensor) -> Tensor:
    return like.new_tensor(TABLE)


def _scale(blocks: Tensor) -> float:
    """The scale of the table on whose multiples (n, 8, 8) transformed blocks fall; 0 where they fall on none.

    Of the scales that fit nearly as well the coarsest: multiples of one are multiples of its parts.
    """
    blocks = blocks[:: max(1, len(blocks) // MOST)]
    if len(blocks) < FEWEST:
        return 0.0
    table = _table(blocks)
    scales = torch.logspace(math.log10(FINEST), math.log10(COARSEST), SCALES).tolist()
    # The lowest frequencies come in many multiples, which any unevenness of the encoding blurs.
    low = torch.ones(SIDE, SIDE, dtype=torch.bool, device=blocks.device)
    low[0, 0] = False
    values, steps = (part[..., low] for part in (blocks, table.expand_as(blocks)))
    fits = []
    for scale in scales:
        turns = values / (steps * scale)
        # Values that are rounded to none tell nothing, and those of many multiples little.
        seen = (turns.abs() > 0.6) & (turns.abs() < 3.4)
        count = int(seen.sum())
        fits.append(float(torch.cos(2 * math.pi * turns[seen]).mean()) if count > FEWEST else -1.0)
    best = max(fits)
    return max(scale for scale, fit in zip(scales, fits) if fit >= 0.9 * best) if best > SURE else 0.0

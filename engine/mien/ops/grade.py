"""Color moves: what they do to a picture, parts of them, and what of a face they leave alone.

Nothing is clipped: outside of any table a move goes on as its matrix and offset say.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mien.ops import lookup, spaces
from mien.types import ColorSample, Grade, Image

IDENTITY = Grade(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), (0.0, 0.0, 0.0))
LATTICE = (17, 9, 9)
"""Steps of the lattice into which curves are turned where channels must mix."""
DIGITS = 7
"""Digits after the point that tables hold."""
AT_ONCE = 1 << 16
"""Pixels whose channels are mixed at once."""
MOST_SATURATION = 4.0
"""Largest change of saturation, either way, that protecting it may ask for."""


def apply(image: Image, grade: Grade) -> Image:
    """The move on (..., 3, H, W) scene-linear pictures; one that does nothing gives the picture itself."""
    if neutral(grade):
        return image
    flat = image.flatten(-2)
    if native(grade):
        return _affine(flat, grade).view(image.shape)
    if flat.dim() > 2:
        return torch.stack([apply(one, grade) for one in image])
    work = _worker(grade, flat)
    result = torch.empty_like(flat)
    size = spaces.piece(flat)
    for piece, place in zip(flat.split(size, -1), result.split(size, -1)):
        moved = work(piece)
        # What is inf or NaN stays; a sum is not finite as soon as one of its parts is not.
        sound = grade.space == "linear" or bool(torch.isfinite(moved.sum()))
        place.copy_(moved if sound else torch.where(piece.isfinite(), moved, piece))
    return result.view(image.shape)


def move(colors: Tensor, grade: Grade) -> Tensor:
    """The move on (3, n) colors of its own space."""
    return _moved(colors, grade, _tables(grade, colors))


def neutral(grade: Grade) -> bool:
    """Whether a move does nothing at all."""
    still = grade.matrix == IDENTITY.matrix and not any(grade.offset)
    return still and not any(map(any, grade.curves)) and not any(grade.cube)


def native(grade: Grade) -> bool:
    """Whether hosts can replay a move with a matrix and an offset in linear light."""
    return grade.space == "linear" and not grade.curves and not grade.cube


def mix(grade: Grade, amount: float) -> Grade:
    """Part of a move, taken in its own space: 0 is no change, 1 the whole of it, more goes beyond."""
    if amount == 1:
        return grade
    if amount == 0:
        return IDENTITY
    rows = [
        [one + amount * (value - one) for value, one in zip(row, ones)]
        for row, ones in zip(grade.matrix, IDENTITY.matrix)
    ]
    return replace(
        grade,
        matrix=triples(torch.tensor(rows, dtype=torch.float64)),
        offset=triple(torch.tensor(grade.offset, dtype=torch.float64) * amount),
        curves=tuple(tuple(amount * value for value in curve) for curve in grade.curves),
        cube=tuple(amount * value for value in grade.cube),
    )


def protect(grade: Grade, sample: ColorSample, luminance: float, saturation: float) -> Grade:
    """Leave the face its own luminance or saturation, each from 0 (as the move says) to 1 (all its own).

    Kept luminance keeps level and contrast and moves the color alone, along the color that the plate has. Kept
    saturation keeps the ratio of color to gray of the face's mean.
    """
    if (luminance == 0 and saturation == 0) or sample.weight <= 0 or neutral(grade):
        return grade
    whole = as_lattice(grade) if grade.curves else grade
    matrix, offset, face = (
        torch.tensor(values, dtype=torch.float64) for values in (whole.matrix, whole.offset, sample.face_mean)
    )
    weights = brightness(whole.space)
    one = torch.eye(3, dtype=torch.float64)
    after = move(face[:, None], whole)[:, 0]
    turn = one.clone()
    kept = torch.zeros(3, 3, dtype=torch.float64)
    if luminance:
        before, reached = weights @ face, weights @ after
        level = before / reached if whole.space == "linear" and before > 0 and reached > 0 else one[0, 0]
        along = after / reached if whole.space == "linear" and reached > 0 else gray(whole.space)
        kept = luminance * torch.outer(along, weights)
        turn = (1 - luminance) * one + luminance * level * (one - torch.outer(along, weights))
    if saturation:
        held = turn @ after + kept @ face
        ratio = _saturation(face, whole.space) / max(_saturation(held, whole.space), 1e-6)
        ratio = min(max(ratio, 1 / MOST_SATURATION), MOST_SATURATION) ** saturation
        bright = torch.outer(gray(whole.space), weights)
        richer = ratio * one + (1 - ratio) * bright
        turn, kept = richer @ turn, richer @ kept
    cube = torch.tensor(whole.cube, dtype=torch.float64).view(-1, 3) @ turn.T
    return replace(
        whole,
        matrix=triples(turn @ matrix + kept),
        offset=triple(turn @ offset),
        cube=rounded(cube.flatten()),
    )


def as_lattice(grade: Grade) -> Grade:
    """A move whose curves have become a lattice over the same colors, close but not equal."""
    like = torch.tensor(grade.low, dtype=torch.float64)
    corners = lookup.nodes(grade.low, grade.high, (2, 2, 2), like)
    turned = spaces.opponent(corners, grade.space)
    box = _triple_list(turned.amin(1)), _triple_list(turned.amax(1))
    colors = spaces.from_opponent(lookup.nodes(*box, LATTICE, like), grade.space)
    values = lookup.curves(colors, torch.tensor(grade.curves, dtype=torch.float64), grade.low, grade.high)
    return replace(
        grade, curves=(), low=tuple(box[0]), high=tuple(box[1]), sizes=LATTICE, cube=rounded(values.T.flatten())
    )


def brightness(space: str) -> Tensor:
    """(3,) weights of the channels in what is bright; a step of ``gray`` gives 1."""
    weights = torch.tensor(spaces.LUMINANCE, dtype=torch.float64)
    if space != "perceptual":
        return weights
    cones, axes = (torch.tensor(rows, dtype=torch.float64) for rows in (spaces.CONES, spaces.OPPONENT))
    return torch.mv(axes, torch.linalg.solve(cones.T, weights))


def gray(space: str) -> Tensor:
    """(3,) step that brightens gray by 1."""
    if space == "perceptual":
        return torch.tensor([math.sqrt(3), 0.0, 0.0], dtype=torch.float64)
    return torch.ones(3, dtype=torch.float64)


def triple(values: Tensor) -> tuple[float, float, float]:
    """Three numbers as a value."""
    x, y, z = values.tolist()
    return x, y, z


def triples(
    values: Tensor,
) -> tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]:
    """Three rows of three as a value."""
    x, y, z = (triple(row) for row in values)
    return x, y, z


def rounded(values: Tensor) -> tuple[float, ...]:
    """Values of a table, of few enough digits that files of curves stay small."""
    return tuple(torch.round(values, decimals=DIGITS).tolist())


def _tables(grade: Grade, like: Tensor) -> Tensor | None:
    if grade.curves:
        return like.new_tensor(grade.curves)
    return like.new_tensor(grade.cube).view(*grade.sizes, 3) if grade.cube else None


def _moved(colors: Tensor, grade: Grade, tables: Tensor | None) -> Tensor:
    moved = _affine(colors, grade)
    if tables is None:
        return moved
    if grade.curves:
        return moved + lookup.curves(colors, tables, grade.low, grade.high)
    return moved + lookup.lattice(spaces.opponent(colors, grade.space), tables, grade.low, grade.high)


def _worker(grade: Grade, like: Tensor) -> Callable[[Tensor], Tensor]:
    """The move on scene-linear (3, n) colors; what is the same for every piece of a picture is made once."""
    tables, turn = _tables(grade, like), spaces.turn(grade.space)
    if tables is not None or turn is None:
        return lambda colors: spaces.decode(_moved(spaces.encode(colors, grade.space), grade, tables), grade.space)
    # What is affine along opponent axes is affine before the turn to them: the turns there and back are saved.
    back = turn.T
    matrix, offset = (torch.tensor(part, dtype=torch.float64) for part in (grade.matrix, grade.offset))
    rows, step = (spaces.STOPS * back @ part for part in (matrix @ turn, offset[:, None]))
    rows, step = rows.to(like), step.to(like)
    there, again = spaces.responding(grade.space, like), spaces.undoing(grade.space, like)
    return lambda colors: again(torch.addmm(step, rows, there(colors)))


def _affine(colors: Tensor, grade: Grade) -> Tensor:
    """``matrix · color + offset`` on (..., 3, n)."""
    rows, offset = colors.new_tensor(grade.matrix), colors.new_tensor(grade.offset)[:, None]
    diagonal = all(grade.matrix[i][j] == 0 for i in range(3) for j in range(3) if i != j)
    if diagonal:
        gains = rows.diagonal()[:, None]
        return torch.addcmul(offset, colors, gains) if any(grade.offset) else colors * gains
    moved = torch.empty_like(colors, memory_format=torch.contiguous_format)
    size = AT_ONCE if colors.device.type == "cpu" else max(1, colors.shape[-1])
    # Sums, not a product of matrices: libraries round those as they please.
    for start in range(0, colors.shape[-1], size):
        here = slice(start, start + size)
        red, green, blue = colors[..., here].unbind(-2)
        for channel, (row, added) in enumerate(zip(grade.matrix, grade.offset)):
            one = torch.mul(red, row[0], out=moved[..., channel, here])
            one.add_(green, alpha=row[1]).add_(blue, alpha=row[2])
            if added:
                one.add_(added)
    return moved


def _saturation(color: Tensor, space: str) -> float:
    level = brightness(space) @ color
    away = float((color - level * gray(space)).norm())
    return away / max(float(level), 1e-9) if space == "linear" else away


def _triple_list(values: Tensor) -> list[float]:
    return [float(value) for value in values]


def diagonal(gains: Sequence[float], offsets: Sequence[float], space: str = "linear") -> Grade:
    """A gain and an offset per channel."""
    r, g, b = gains
    x, y, z = offsets
    return Grade(((r, 0.0, 0.0), (0.0, g, 0.0), (0.0, 0.0, b)), (x, y, z), space)

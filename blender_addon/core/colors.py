# SPDX-License-Identifier: GPL-3.0-or-later
"""Linear color spaces by their interop ID: Blender's names, and moves carried from one to another."""

from __future__ import annotations

from collections.abc import Sequence

NAMES = {
    "lin_rec709_scene": "Linear Rec.709",
    "lin_rec2020_scene": "Linear Rec.2020",
    "lin_ap1_scene": "ACEScg",
    "lin_ap0_scene": "ACES2065-1",
    "lin_p3d65_scene": "Linear DCI-P3 D65",
}
"""What Blender's own config calls them."""
PRIMARIES = {
    "lin_ap0_scene": (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.077, 0.32168, 0.33767),
    "lin_ap1_scene": (0.713, 0.293, 0.165, 0.83, 0.128, 0.044, 0.32168, 0.33767),
    "lin_rec709_scene": (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329),
    "lin_rec2020_scene": (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, 0.3127, 0.329),
    "lin_p3d65_scene": (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329),
}
"""Red, green, blue and white (x, y)."""
BRADFORD = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
"""To cone responses, by which whites are adapted."""

Matrix = tuple[tuple[float, float, float], ...]
Move = tuple[Matrix, tuple[float, float, float]]
UNCHANGED: Matrix = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def product(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> Matrix:
    """Two matrices, the second applied first."""
    columns = tuple(zip(*other))
    return tuple(times(columns, row) for row in one)


def times(matrix: Sequence[Sequence[float]], color: Sequence[float]) -> tuple[float, float, float]:
    """A color through a matrix."""
    red, green, blue = (sum(a * b for a, b in zip(row, color)) for row in matrix)
    return red, green, blue


def inverse(matrix: Sequence[Sequence[float]]) -> Matrix:
    """The matrix that undoes one."""
    (a, b, c), (d, e, f), (g, h, i) = matrix
    cofactors = (
        (e * i - f * h, c * h - b * i, b * f - c * e),
        (f * g - d * i, a * i - c * g, c * d - a * f),
        (d * h - e * g, b * g - a * h, a * e - b * d),
    )
    size = a * cofactors[0][0] + b * cofactors[1][0] + c * cofactors[2][0]
    return tuple((x / size, y / size, z / size) for x, y, z in cofactors)


def to_xyz(space: str) -> Matrix:
    """A space's light in CIE XYZ, adapted to the white of D65."""
    *corners, x, y = PRIMARIES[space]
    columns = [(corners[n], corners[n + 1], 1 - corners[n] - corners[n + 1]) for n in (0, 2, 4)]
    primaries = tuple(zip(*columns))
    white = (x / y, 1.0, (1 - x - y) / y)
    scale = times(inverse(primaries), white)
    plain = tuple(tuple(value * scale[n] for n, value in enumerate(row)) for row in primaries)
    daylight = (0.3127 / 0.329, 1.0, (1 - 0.3127 - 0.329) / 0.329)
    cones, wanted = times(BRADFORD, white), times(BRADFORD, daylight)
    gains = tuple(tuple(wanted[n] / cones[n] if n == m else 0.0 for m in range(3)) for n in range(3))
    return product(product(inverse(BRADFORD), product(gains, BRADFORD)), plain)


def between(source: str, target: str) -> Matrix:
    """The matrix from one linear space to another."""
    return UNCHANGED if source == target else product(inverse(to_xyz(target)), to_xyz(source))


def luminance(space: str) -> tuple[float, float, float]:
    """How much of a space's red, green and blue is luminance."""
    red, green, blue = to_xyz(space if space in PRIMARIES else "lin_rec709_scene")[1]
    return red, green, blue


def carried(move: Move, source: str, target: str) -> Move:
    """A color move that was solved in one space, as it is done in another."""
    if source == target:
        return move
    matrix, offset = move
    there = between(source, target)
    return product(there, product(matrix, between(target, source))), times(there, offset)

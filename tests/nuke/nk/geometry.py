"""Matrices of nodes that move pictures: positions in pixels, x right, y up, from the bottom left corner."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, radians, sin, tan

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def transform(
    number: Callable[..., float], truth: Callable[[str], bool], choice: Callable[[str], str], size: tuple[int, int]
) -> Matrix:
    """Where a Transform sends a position: scale, skew, turn about the center, then move."""
    center = np.array([[1, 0, number("center", 0)], [0, 1, number("center", 1)], [0, 0, 1]])
    angle = radians(number("rotate"))
    turn = np.array([[cos(angle), -sin(angle), 0], [sin(angle), cos(angle), 0], [0, 0, 1]])
    along = np.array([[1, tan(radians(number("skewX"))), 0], [0, 1, 0], [0, 0, 1]])
    up = np.array([[1, 0, 0], [tan(radians(number("skewY"))), 1, 0], [0, 0, 1]])
    skew = up @ along if choice("skew_order") == "XY" else along @ up
    scale = np.diag([number("scale", 0), number("scale", 1), 1.0])
    move = np.array([[1, 0, number("translate", 0)], [0, 1, number("translate", 1)], [0, 0, 1]])
    matrix = move @ center @ turn @ skew @ scale @ np.linalg.inv(center)
    return np.linalg.inv(matrix) if truth("invert_matrix") else matrix


def corner_pin(
    number: Callable[..., float], truth: Callable[[str], bool], choice: Callable[[str], str], size: tuple[int, int]
) -> Matrix:
    """Where a CornerPin2D sends a position: the four ``from`` corners go to the four ``to`` corners."""
    if not all(truth(f"enable{corner}") for corner in (1, 2, 3, 4)):
        raise ValueError("CornerPin2D: a corner is not enabled")
    extra = np.array([number("transform_matrix", index) for index in range(16)]).reshape(4, 4)
    rows = []
    for corner in (1, 2, 3, 4):
        x, y = (number(f"from{corner}", index) for index in (0, 1))
        u, v = (number(f"to{corner}", index) for index in (0, 1))
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y, -u], [0, 0, 0, x, y, 1, -v * x, -v * y, -v]]
    matrix = np.linalg.svd(np.array(rows))[2][-1].reshape(3, 3)
    matrix = matrix / matrix[2, 2]
    flat = extra[np.ix_([0, 1, 3], [0, 1, 3])]
    matrix = flat @ matrix
    return np.linalg.inv(matrix) if truth("invert") else matrix


MATRICES = {"Transform": transform, "CornerPin2D": corner_pin}

"""Mattes from outlines."""

import math

import cv2
import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mien import mesh
from mien.ops import hull

STAR = torch.tensor([[10.3, 10.2], [80.7, 20.4], [60.1, 90.9], [40.0, 40.0], [12.0, 70.0]])


def shoelace(points: torch.Tensor) -> float:
    x, y = points.double().unbind(-1)
    return 0.5 * abs(float((x * y.roll(-1) - y * x.roll(-1)).sum()))


def supersampled(points: torch.Tensor, size: tuple[int, int], fine: int = 32) -> numpy.ndarray:
    """Coverage by testing fine sample points one by one against the polygon (even-odd)."""
    height, width = size
    x = (numpy.arange(width * fine) + 0.5) / fine
    y = (numpy.arange(height * fine) + 0.5)[:, None] / fine
    within = numpy.zeros((height * fine, width * fine), bool)
    corners = points.double().numpy()
    for (x0, y0), (x1, y1) in zip(corners, numpy.roll(corners, -1, 0)):
        if y0 == y1:
            continue
        crosses = (y0 <= y) != (y1 <= y)
        within ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return within.reshape(height, fine, width, fine).mean((1, 3))


def test_coverage_is_the_exact_area() -> None:
    matte = hull.polygon_matte(STAR, (0, 0), (100, 100))
    assert matte.shape == (1, 100, 100)
    assert abs(float(matte.double().sum()) - shoelace(STAR)) < 1e-3
    assert numpy.abs(matte[0].numpy() - supersampled(STAR, (100, 100))).max() < 0.03


@settings(max_examples=40)
@given(
    x=st.floats(-30, 40), y=st.floats(-30, 40), radius=st.floats(0.3, 45), sides=st.integers(3, 40),
    flip=st.booleans(),
)  # fmt: skip
def test_area_holds_anywhere_and_either_way_round(x: float, y: float, radius: float, sides: int, flip: bool) -> None:
    angle = torch.arange(sides) / sides * 2 * math.pi + 0.1
    points = torch.stack([x + 50 + radius * angle.cos(), y + 50 + radius * angle.sin()], 1).double()
    points = points.flip(0) if flip else points
    matte = hull.polygon_matte(points, (-60, -60), (250, 250))
    assert abs(float(matte.double().sum()) - shoelace(points)) < 1e-3 * (1 + radius)
    assert matte.min() >= 0 and matte.max() <= 1


def test_a_region_is_a_window_on_the_whole() -> None:
    whole = hull.polygon_matte(STAR, (0, 0), (100, 100))
    for corner, size in (((30, 25), (40, 30)), ((5, 60), (30, 90)), ((70, -10), (200, 12)), ((200, 200), (5, 5))):
        part = hull.polygon_matte(STAR, corner, size)
        around = torch.zeros(400, 400)
        around[150:250, 150:250] = whole[0]
        y, x = corner[1] + 150, corner[0] + 150
        assert (part[0] - around[y : y + size[0], x : x + size[1]]).abs().max() < 1e-6


@pytest.mark.parametrize("shift", [0.1, 0.03, 0.5])
def test_a_small_shift_moves_the_edge_as_far(shift: float) -> None:
    # Where a row crosses an upright edge its sum is the edge's place.
    square = torch.tensor([[10.25, 10.0], [50.5, 10.0], [50.5, 60.0], [10.25, 60.0]])
    before = hull.polygon_matte(square, (30, 0), (80, 40))[0, 30].sum()
    after = hull.polygon_matte(square + torch.tensor([shift, 0.0]), (30, 0), (80, 40))[0, 30].sum()
    assert abs(float(after - before) - shift) < 1e-5


def test_agrees_with_opencv_inside_and_outside() -> None:
    matte = hull.polygon_matte(STAR, (0, 0), (100, 100))[0].numpy()
    theirs = numpy.zeros((100, 100), numpy.uint8)
    cv2.fillPoly(theirs, [numpy.round((STAR.numpy() - 0.5) * 16).astype(numpy.int32)], 1, shift=4)
    inner = cv2.erode(theirs, numpy.ones((5, 5)))
    outer = cv2.dilate(theirs, numpy.ones((3, 3)))
    assert (matte[inner == 1] > 0.999).all() and (matte[outer == 0] == 0).all()


def test_batches_equal_loops() -> None:
    both = torch.stack([STAR, STAR * 0.5 + 20])
    matte = hull.polygon_matte(both, (0, 0), (100, 100))
    assert matte.shape == (2, 1, 100, 100)
    assert torch.equal(matte[1], hull.polygon_matte(both[1], (0, 0), (100, 100)))


def test_nothing_that_is_not_a_place() -> None:
    with pytest.raises(ValueError, match="NaN"):
        hull.polygon_matte(torch.tensor([[0.0, 0], [math.nan, 3], [4, 4]]), (0, 0), (8, 8))


def face(yaw: float = 0.0) -> torch.Tensor:
    turn = torch.tensor([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    return mesh.CANONICAL @ turn.T * 100 + torch.tensor([150.0, 150.0, 0.0])


def test_a_frontal_surface_is_its_outline() -> None:
    surface = hull.surface_matte(face(), mesh.TRIANGLES, (0, 0), (300, 300))
    outline = hull.polygon_matte(face()[mesh.OVAL], (0, 0), (300, 300))
    assert (surface - outline).abs().max() < 1e-5


def test_a_turned_surface_is_its_silhouette() -> None:
    points = face(1.1)
    surface = hull.surface_matte(points, mesh.TRIANGLES, (0, 0), (300, 300))[0].numpy()
    drawn = numpy.zeros((300, 300), numpy.uint8)
    corners = points[:, :2].numpy()
    for triangle in mesh.TRIANGLES.numpy():
        a, b, c = corners[triangle]
        if (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) > 0:
            cv2.fillConvexPoly(drawn, numpy.round((corners[triangle] - 0.5) * 16).astype(numpy.int32), 1, shift=4)
    inner, outer = cv2.erode(drawn, numpy.ones((5, 5))), cv2.dilate(drawn, numpy.ones((5, 5)))
    assert (surface[inner == 1] > 0.99).all()
    assert (surface[outer == 0] < 0.01).all()
    nose = points[1, :2].round().long()
    assert surface[nose[1], nose[0] + 1] > 0.9


@pytest.mark.parametrize("scheme", ["mesh", "ibug68"])
def test_the_forehead_grows_steadily(scheme: str) -> None:
    points = face() if scheme == "mesh" else mesh.to_ibug68(face())
    tops, areas = [], []
    for forehead in (0.0, 0.25, 0.5, 0.75, 1.0):
        outline = hull.face_outline(points, scheme, forehead)
        tops.append(float(outline[:, 1].min()))
        areas.append(shoelace(outline))
        assert float(outline[:, 1].max()) == pytest.approx(float(face()[mesh.OVAL, 1].max()), abs=4)
    assert tops == sorted(tops, reverse=True) and areas == sorted(areas)
    brows = float(face()[mesh.RIGHT_BROW, 1].min())
    assert tops[0] == pytest.approx(brows, abs=8)
    assert tops[-1] == pytest.approx(float(face()[mesh.OVAL, 1].min()), abs=8)


def test_lowering_the_forehead_leaves_the_rest() -> None:
    points = face()
    lowered = hull.lower_forehead(points, 0.0)
    moved = (lowered != points).any(1)
    assert 0 < moved.sum() < 60
    assert (points[moved, 1] < points[mesh.RIGHT_BROW, 1].max()).all()
    assert hull.lower_forehead(points, 1.0) is points


def test_unknown_scheme() -> None:
    with pytest.raises(ValueError, match="five"):
        hull.face_outline(torch.zeros(5, 3), "five", 0.5)

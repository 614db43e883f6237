"""Edges of mattes, moved and softened by distance."""

import math

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial import cKDTree

from mien.ops import distance, hull


def disc(radius: float, x: float = 60.3, y: float = 55.8, size: tuple[int, int] = (110, 120)) -> torch.Tensor:
    angle = torch.arange(1440, dtype=torch.float64) / 1440 * 2 * math.pi
    points = torch.stack([x + radius * angle.cos(), y + radius * angle.sin()], 1)
    return hull.polygon_matte(points, (0, 0), size)


def from_center(x: float, y: float, size: tuple[int, int]) -> torch.Tensor:
    down, across = torch.meshgrid(torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5, indexing="ij")
    return torch.hypot(across - x, down - y)


def blobs(seed: int = 0) -> torch.Tensor:
    noise = torch.rand(1, 200, 260, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.max_pool2d((noise > 0.9995).float(), 31, 1, 15)


def crossings(matte: numpy.ndarray) -> numpy.ndarray:
    inside = matte >= 0.5
    y, x = numpy.nonzero(inside[:, :-1] != inside[:, 1:])
    sideways = numpy.stack([x + 0.5, y], 1)
    y, x = numpy.nonzero(inside[:-1] != inside[1:])
    return numpy.concatenate([sideways, numpy.stack([x, y + 0.5], 1)])


@pytest.mark.parametrize("radius", [45.3, 20.0, 7.7])
def test_distance_from_a_disc(radius: float) -> None:
    matte = disc(radius)
    truth = radius - from_center(60.3, 55.8, (110, 120))
    error = (distance.signed_distance(matte)[0] - truth).abs()
    # Toward the center of a small disc all crossings are near, and the most mistaken one wins.
    assert error[truth < radius - 8].max() < 0.13
    assert error[truth < radius - 3].max() < 0.25
    assert error[truth < radius - 3].mean() < 0.02


@pytest.mark.parametrize("slope", [0.0, 0.2, 0.5, 1.0, -0.7])
def test_a_straight_edge_is_met(slope: float) -> None:
    normal = torch.tensor([math.cos(slope), math.sin(slope)], dtype=torch.float64)
    along = torch.stack([-normal[1], normal[0]])
    middle = torch.tensor([50.27, 40.64], dtype=torch.float64)
    corners = [middle + 900 * along, middle - 900 * along, middle - 900 * along - 900 * normal]
    half = torch.stack([*corners, middle + 900 * along - 900 * normal])
    matte = hull.polygon_matte(half, (-60, -60), (220, 220))
    y, x = torch.meshgrid(torch.arange(220) - 59.5, torch.arange(220) - 59.5, indexing="ij")
    truth = -((x - middle[0]) * normal[0] + (y - middle[1]) * normal[1])
    found = distance.signed_distance(matte)[0]
    middle_part = (slice(70, 150), slice(70, 150))
    assert (found - truth)[middle_part].abs().max() < 0.05
    assert (found - truth)[middle_part].abs().mean() < 0.01


def test_matches_a_search_through_all_crossings() -> None:
    matte = blobs()
    tree = cKDTree(crossings(matte[0].numpy()))
    y, x = numpy.mgrid[:200, :260]
    truth = tree.query(numpy.stack([x.ravel(), y.ravel()], 1))[0].reshape(200, 260)
    error = numpy.abs(distance.signed_distance(matte)[0].abs().numpy() - truth)
    band = (truth > 6) & (truth < distance.NEAR - 8)
    assert error[band].max() < 1e-3
    assert error.mean() < 0.05


def test_matches_scipy_where_edges_are_straight() -> None:
    matte = torch.zeros(1, 120, 140)
    matte[:, 30:90, 25:110] = 1
    inside = ndimage.distance_transform_edt(matte[0].numpy()) - 0.5
    outside = ndimage.distance_transform_edt(1 - matte[0].numpy()) - 0.5
    found = distance.signed_distance(matte, 24)[0].numpy()
    deep = (inside > 4) & (inside < 23)
    assert numpy.abs(found - inside)[deep].max() < 0.01
    beside = numpy.zeros_like(deep)
    beside[30:90] = beside[:, 25:110] = True
    beside &= (outside > 0) & (outside < 23)
    assert numpy.abs(-found - outside)[beside].max() < 0.01


def test_reach_does_not_change_what_is_within_it() -> None:
    matte = disc(30.0)
    whole = distance.signed_distance(matte)
    for reach in (4.0, 12.0, 30.0):
        part = distance.signed_distance(matte, reach)
        within = whole.abs() < min(reach, distance.NEAR - 4) - 1
        assert torch.equal(part[within], whole[within])
        assert torch.equal(part.sign(), whole.sign())
        assert (part[whole.abs() > reach + 2].abs() >= reach).all()


@settings(max_examples=15, deadline=None)
@given(shift=st.floats(0.02, 0.98), grow=st.floats(-8, 12))
def test_a_small_shift_moves_a_grown_edge_as_far(shift: float, grow: float) -> None:
    at, there = disc(30.0), disc(30.0, 60.3 + shift)
    moved = [distance.edge(matte, grow, 0.0)[0, 55].cumsum(0) for matte in (at, there)]
    right = [float(row[-1] - row[60]) for row in moved]
    assert right[1] - right[0] == pytest.approx(shift, abs=0.12)


def test_grow_moves_the_edge_that_far() -> None:
    for grow in (-12.0, -0.5, 0.7, 3.3, 15.0, 40.0):
        area = float(distance.edge(disc(35.0, 80, 80, (160, 160)), grow, 0.0).sum())
        assert math.sqrt(area / math.pi) == pytest.approx(35 + grow, abs=0.06)


def test_soften_is_centered_and_as_wide_as_asked() -> None:
    matte = disc(40.0, 70, 70, (140, 140))
    for width in (4.0, 15.0, 40.0):
        row = distance.edge(matte, 0.0, width)[0, 69]
        away = 40.0 - (torch.arange(140) + 0.5 - 70).abs()
        assert (row[away > width / 2 + 0.6] == 1).all() and (row[away < -width / 2 - 0.6] == 0).all()
        assert (row[away.abs() < width / 2 - 0.6] * (1 - row[away.abs() < width / 2 - 0.6]) > 0).all()
        assert float(row.sum()) == pytest.approx(80.0, abs=0.2)


def test_nothing_asked_changes_no_bit() -> None:
    matte = torch.rand(2, 1, 9, 9)
    matte[0, 0, 0, 0] = math.nan
    assert distance.edge(matte, 0.0, 0.0) is matte


@pytest.mark.parametrize("value", [0.0, 1.0, 0.3, math.nan])
def test_mattes_without_an_edge(value: float) -> None:
    matte = torch.full((1, 40, 50), value)
    expected = 1.0 if value >= 0.5 else 0.0
    for grow, soften in ((5.0, 0.0), (-5.0, 8.0), (300.0, 100.0)):
        assert (distance.edge(matte, grow, soften) == expected).all()


def test_tiny_mattes() -> None:
    for shape in ((1, 1), (1, 7), (7, 1), (2, 2), (3, 5)):
        matte = torch.zeros(1, *shape)
        matte[..., 0, 0] = 1
        shaped = distance.edge(matte, 0.4, 60.0)
        assert shaped.shape == matte.shape and shaped.isfinite().all()


def test_bad_pixels_count_as_nothing() -> None:
    matte = disc(30.0)
    broken = matte.clone()
    broken[0, 5, 5] = math.nan
    assert torch.equal(distance.edge(broken, 3.0, 5.0), distance.edge(matte, 3.0, 5.0))


def test_batches_equal_loops() -> None:
    both = torch.stack([disc(30.0), blobs(3)[:, :110, :120]])
    together = distance.edge(both, 30.0, 50.0)
    for one, shaped in zip(both, together):
        assert torch.allclose(distance.edge(one, 30.0, 50.0), shaped, atol=1e-6)


def test_far_distances_follow_the_near_ones() -> None:
    matte = disc(20.0, 150, 150, (300, 300))
    truth = 20.0 - from_center(150, 150, (300, 300))
    error = (distance.signed_distance(matte, 150.0)[0] - truth).abs()
    assert error[(truth < -20) & (truth > -140)].max() < 0.05

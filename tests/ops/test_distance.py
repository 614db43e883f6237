"""Distances from the edge of a matte: exact, whatever the shape and however far."""

import math

import numpy
import pytest
import torch
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from skimage.measure import find_contours

from mien.ops import distance, hull
from mien.ops.distance import signed_distance
from mien.ops.outline import outline
from shapes import blobs, disc, from_center


@pytest.mark.parametrize("radius", [45.3, 20.0, 7.7])
def test_distance_from_a_disc(radius: float) -> None:
    truth = radius - from_center(60.3, 55.8, (110, 120))
    error = (signed_distance(disc(radius))[0] - truth).abs()
    # Toward the center of a small disc all crossings are near, and the most mistaken one wins.
    assert error[truth < radius - 8].max() < 0.13
    assert error[truth < radius - 3].max() < 0.2
    assert error[truth < radius - 3].mean() < 0.02


@pytest.mark.parametrize("seed", [0, 1])
def test_corners_are_where_marching_squares_find_them(seed: int) -> None:
    matte = blobs(seed)
    edge = outline(matte[0], matte[0] >= 0.5)
    theirs = numpy.concatenate(find_contours(matte[0].numpy(), 0.5))[:, ::-1]
    apart = cKDTree(theirs).query(edge.corners.numpy())[0], cKDTree(edge.corners.numpy()).query(theirs)[0]
    assert max(a.max() for a in apart) < 1e-5
    # Each piece leads to another corner in the same square of four pixels.
    ends = (edge.corners[:, None] + edge.sides).view(-1, 2).numpy()
    assert cKDTree(edge.corners.numpy()).query(ends)[0].max() < 1e-9
    assert float(edge.sides.norm(dim=-1).max()) <= math.sqrt(2) + 1e-6


@pytest.mark.parametrize(("between", "loops"), [(0.45, 1), (0.05, 2)])
def test_where_two_corners_meet_the_mean_says_whether_they_hang_together(between: float, loops: int) -> None:
    matte = torch.zeros(6, 6)
    matte[2, 2] = matte[3, 3] = 0.9
    matte[2, 3] = matte[3, 2] = between
    edge = outline(matte, matte >= 0.5)
    ends = cKDTree(edge.corners.numpy()).query((edge.corners[:, None] + edge.sides).numpy())[1]
    graph = coo_matrix((numpy.ones(ends.size), (numpy.arange(len(ends)).repeat(2), ends.ravel())), (len(ends),) * 2)
    assert connected_components(graph, directed=False)[0] == loops
    assert (numpy.bincount(ends.ravel(), minlength=len(ends)) == 2).all()


def brute_force(matte: torch.Tensor) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Distances of all pixels from all corners of the outline, and from all of its pieces."""
    edge = outline(matte[0], matte[0] >= 0.5)
    y, x = numpy.mgrid[: matte.shape[1], : matte.shape[2]]
    pixels = numpy.stack([x.ravel(), y.ravel()], 1).astype(float)
    corners, best = edge.corners.numpy(), numpy.full(len(pixels), numpy.inf)
    for corner, sides in zip(corners, edge.sides.numpy()):
        for side in sides:
            share = ((pixels - corner) @ side / max(side @ side, 1e-12)).clip(0, 1)
            best = numpy.minimum(best, ((pixels - corner - share[:, None] * side) ** 2).sum(1))
    points = cKDTree(corners).query(pixels)[0]
    return points.reshape(matte.shape[1:]), numpy.sqrt(best).reshape(matte.shape[1:])


@pytest.mark.parametrize("seed", [0, 1])
def test_matches_a_search_through_the_whole_outline(seed: int) -> None:
    matte = blobs(seed, (60, 70))
    points, pieces = brute_force(matte)
    found = signed_distance(matte)[0].abs().numpy()
    assert (found <= points + 1e-3).all() and (found >= pieces - 1e-3).all()
    # Midway between two edges the nearest corner may belong to the other one.
    error = numpy.abs(found - pieces)
    assert (error > 1e-3).mean() < 0.02
    assert (error * numpy.maximum(pieces, 1)).max() < 0.25


@pytest.mark.parametrize(("x", "y", "radius"), [(512.3, 511.8, 380.0), (3000.2, 400.7, 2700.0)])
def test_large_pictures_are_as_exact_as_small_ones(x: float, y: float, radius: float) -> None:
    matte = (radius - from_center(x, y, (900, 1100)) + 0.5).clamp(0, 1)[None]
    corners = outline(matte[0], matte[0] >= 0.5).corners.numpy()
    found = signed_distance(matte)[0].abs().numpy()
    some = numpy.random.default_rng(0).integers(0, (1100, 900), (30000, 2))
    nearest = cKDTree(corners).query(some)[0]
    here = found[some[:, 1], some[:, 0]]
    assert (here <= nearest + 1e-3).all() and (here >= nearest - 0.3).all()
    deep = nearest > 60
    assert numpy.abs(here - nearest)[deep].max() < 0.01


@pytest.mark.parametrize("size", [(2, 1), (1, 9), (5, 3), (64, 64), (65, 257), (300, 40)])
def test_matches_the_transform_of_scipy(size: tuple[int, int]) -> None:
    """Single pixels are seeds: on a matte of twice the size, the outline around each is a small diamond."""
    generator = torch.Generator().manual_seed(size[0])
    seeds = torch.rand(size, generator=generator) > 0.97
    seeds[size[0] // 2, size[1] // 2] = True
    truth = ndimage.distance_transform_edt(~seeds.numpy())
    apart = torch.zeros(1, 2 * size[0], 2 * size[1])
    apart[0, ::2, ::2] = torch.where(seeds, 0.500001, 0.0)
    found = -signed_distance(apart)[0, ::2, ::2].numpy() / 2
    assert numpy.abs(found - truth)[~seeds.numpy()].max() < 1e-3


def test_matches_scipy_in_the_interior_of_a_rectangle() -> None:
    matte = torch.zeros(1, 220, 300)
    matte[:, 30:190, 25:270] = 1
    inside = ndimage.distance_transform_edt(matte[0].numpy()) - 0.5
    found = signed_distance(matte)[0].numpy()
    # The outline cuts the corners between the last pixels; everywhere else the two agree.
    corners = numpy.zeros(matte.shape[1:], bool)
    corners[[30, 30, 189, 189], [25, 269, 25, 269]] = True
    assert numpy.abs(found - inside)[30:190, 25:270][~corners[30:190, 25:270]].max() < 1e-3
    outside = ndimage.distance_transform_edt(1 - matte[0].numpy()) - 0.5
    assert numpy.abs(-found - outside)[30:190, :25].max() < 1e-3


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
    found = signed_distance(matte)[0]
    middle_part = (slice(70, 150), slice(70, 150))
    assert (found - truth)[middle_part].abs().max() < 0.05
    assert (found - truth)[middle_part].abs().mean() < 0.01


@pytest.mark.parametrize(("low", "high"), [(-3.0, 4.0), (10.0, 14.0), (-60.0, -50.0), (-math.inf, -20.0)])
def test_what_is_asked_for_is_exact_and_the_rest_lies_beyond(low: float, high: float) -> None:
    for matte in (disc(40.0), blobs(2)):
        everything = signed_distance(matte)
        some = signed_distance(matte, low, high)
        within = (everything >= low) & (everything <= high)
        assert torch.allclose(some[within], everything[within], atol=1e-4)
        assert (some[everything < low] < low).all() and (some[everything > high] > high).all()


def test_wide_pixels() -> None:
    """A circle on an anamorphic plate is an ellipse of pixels; distances count pixel widths."""
    y, x = torch.meshgrid(torch.arange(200.0), torch.arange(120.0), indexing="ij")
    away = 40 - torch.hypot(x - 60, (y - 100) / 2)
    found = signed_distance((away / 4 + 0.5).clamp(0, 1)[None], aspect=2.0)[0]
    near = (away > -15) & (away < 20)
    assert (found - away)[near].abs().max() < 0.01


def test_signs_and_mattes_without_an_edge() -> None:
    for value, expected in ((0.0, -distance.FAR), (0.3, -distance.FAR), (1.0, distance.FAR), (math.nan, -distance.FAR)):
        assert (signed_distance(torch.full((2, 1, 40, 50), value)) == expected).all()
    matte = blobs(4)
    found = signed_distance(matte)
    assert torch.equal((found > 0)[found != 0], (matte >= 0.5)[found != 0])
    assert signed_distance(torch.zeros(0, 1, 4, 4)).shape == (0, 1, 4, 4)
    with pytest.raises(ValueError, match=r"\(\.\.\., H, W\)"):
        signed_distance(torch.zeros(5))


def test_white_noise_and_infinity_are_survived() -> None:
    noise = torch.rand(1, 150, 140, generator=torch.Generator().manual_seed(5))
    noise[0, 3, 4], noise[0, 30, 4] = math.inf, -math.inf
    found = signed_distance(noise)
    assert found.isfinite().all() and found.abs().max() < 5


def test_batches_equal_loops() -> None:
    both = torch.stack([disc(30.0), blobs(3, (110, 120))])
    assert torch.equal(signed_distance(both), torch.stack([signed_distance(one) for one in both]))


def test_far_distances_follow_the_near_ones() -> None:
    truth = 20.0 - from_center(250, 250, (500, 500))
    error = (signed_distance(disc(20.0, 250, 250, (500, 500)), -300.0, -10.0)[0] - truth).abs()
    assert error[(truth < -12) & (truth > -298)].max() < 0.05

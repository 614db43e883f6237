"""Edges of mattes: moved, softened on either side, and moved further on the sides of a face."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.ops.edge import Sides, Softness, edge, further
from mien.ops.outline import outline
from shapes import blobs, disc


def even(width: float) -> Softness:
    return Softness(width / 2, width / 2)


@settings(max_examples=15)
@given(shift=st.floats(0.02, 0.98), grow=st.floats(-8, 12))
def test_a_small_shift_moves_a_grown_edge_as_far(shift: float, grow: float) -> None:
    at, there = disc(30.0), disc(30.0, 60.3 + shift)
    moved = [edge(matte, grow)[0, 55].cumsum(0) for matte in (at, there)]
    right = [float(row[-1] - row[60]) for row in moved]
    assert right[1] - right[0] == pytest.approx(shift, abs=0.12)


def test_grow_moves_the_edge_that_far() -> None:
    for grow in (-12.0, -0.5, 0.7, 3.3, 15.0, 40.0):
        area = float(edge(disc(35.0, 80, 80, (160, 160)), grow).sum())
        assert math.sqrt(area / math.pi) == pytest.approx(35 + grow, abs=0.06)


def test_soften_is_centered_and_as_wide_as_asked() -> None:
    matte = disc(40.0, 70, 70, (140, 140))
    for width in (4.0, 15.0, 40.0):
        row = edge(matte, 0.0, even(width))[0, 69]
        away = 40.0 - (torch.arange(140) + 0.5 - 70).abs()
        assert (row[away > width / 2 + 0.6] == 1).all() and (row[away < -width / 2 - 0.6] == 0).all()
        assert (row[away.abs() < width / 2 - 0.6] * (1 - row[away.abs() < width / 2 - 0.6]) > 0).all()
        assert float(row.sum()) == pytest.approx(80.0, abs=0.2)


def test_nothing_asked_changes_no_bit() -> None:
    matte = torch.rand(2, 1, 9, 9)
    matte[0, 0, 0, 0] = math.nan
    assert edge(matte, 0.0) is matte


@pytest.mark.parametrize("value", [0.0, 1.0, 0.3, math.nan])
def test_mattes_without_an_edge(value: float) -> None:
    matte = torch.full((1, 40, 50), value)
    expected = 1.0 if value >= 0.5 else 0.0
    for grow, soften in ((5.0, 0.0), (-5.0, 8.0), (300.0, 100.0)):
        assert (edge(matte, grow, even(soften)) == expected).all()


def test_tiny_mattes() -> None:
    for shape in ((1, 1), (1, 7), (7, 1), (2, 2), (3, 5)):
        matte = torch.zeros(1, *shape)
        matte[..., 0, 0] = 1
        shaped = edge(matte, 0.4, even(60.0))
        assert shaped.shape == matte.shape and shaped.isfinite().all()


def test_bad_pixels_count_as_nothing() -> None:
    matte = disc(30.0)
    broken = matte.clone()
    broken[0, 5, 5] = math.nan
    assert torch.equal(edge(broken, 3.0, even(5.0)), edge(matte, 3.0, even(5.0)))


def test_batches_equal_loops() -> None:
    both = torch.stack([disc(30.0), blobs(3, (110, 120))])
    together = edge(both, 30.0, even(50.0))
    for one, shaped in zip(both, together):
        assert torch.allclose(edge(one, 30.0, even(50.0)), shaped, atol=1e-6)


@pytest.mark.parametrize(("inside", "outside"), [(0.0, 12.0), (12.0, 0.0), (6.0, 20.0)])
def test_inside_and_outside_are_apart(inside: float, outside: float) -> None:
    row = edge(disc(40.0, 80, 80, (160, 160)), 0.0, Softness(inside, outside))[0, 79]
    away = 40.0 - (torch.arange(160) + 0.5 - 80).abs()
    assert (row[away > inside + 0.6] == 1).all() and (row[away < -outside - 0.6] == 0).all()
    within = (away < inside - 0.6) & (away > -outside + 0.6)
    assert within.any() and ((row[within] > 0) & (row[within] < 1)).all()
    right = row[80:]
    assert (right.diff() <= 0).all()


def test_falloff_holds_or_lets_go() -> None:
    matte, wide = disc(40.0, 80, 80, (160, 160)), Softness(10.0, 10.0)
    areas = [float(edge(matte, 0.0, Softness(10.0, 10.0, f)).sum()) for f in (-1.0, -0.5, 0.0, 0.5, 1.0)]
    assert areas == sorted(areas) and areas[0] < 0.85 * areas[2] < areas[4]
    assert torch.equal(edge(matte, 0.0, Softness(10.0, 10.0, 0.0)), edge(matte, 0.0, wide))
    for falloff in (-1.0, 1.0):
        shaped = edge(matte, 0.0, Softness(10.0, 10.0, falloff))
        assert shaped.min() == 0 and shaped.max() == 1
        assert torch.equal(shaped > 0, edge(matte, 0.0, wide) > 0)


def sides(roll: float = 0.0, **amounts: float) -> Sides:
    up = torch.tensor([math.sin(roll), -math.cos(roll)])
    return Sides(torch.tensor([80.0, 80.0]), up, (40.0, 40.0), **amounts)


@pytest.mark.parametrize("roll", [0.0, 0.6, -2.0, math.pi])
@pytest.mark.parametrize(("side", "turn"), [("brow", 0), ("right", 90), ("chin", 180), ("left", 270)])
def test_a_side_moves_alone_and_follows_the_head(side: str, turn: float, roll: float) -> None:
    matte = disc(30.0, 80, 80, (160, 160))
    shaped = edge(matte, 0.0, sides=sides(roll, **{side: 8.0}))
    for other in range(0, 360, 90):
        angle = math.radians(other) + roll
        ray = [(80 + r * math.sin(angle), 80 - r * math.cos(angle)) for r in range(60)]
        length = sum(float(shaped[0, int(y), int(x)]) for x, y in ray)
        assert length == pytest.approx(38.5 if other == turn else 30.5, abs=1.2)


def test_sides_flow_into_each_other() -> None:
    angle = torch.arange(720) / 720 * 2 * math.pi
    rim = torch.stack([80 + 30 * angle.cos(), 80 + 30 * angle.sin()], 1)
    moved = further(sides(0.3, chin=5.0, brow=-3.0, left=2.0, right=9.0), rim)
    assert (moved.diff().abs() < 0.11).all() and moved.max() <= 9 and moved.min() >= -3
    assert torch.allclose(further(sides(0.3, chin=4.0, brow=4.0, left=4.0, right=4.0), rim), torch.tensor(4.0))


def test_equal_sides_are_growth() -> None:
    matte = disc(30.0, 80, 80, (160, 160))
    all_sides = edge(matte, 2.0, even(5.0), sides(chin=3.0, brow=3.0, left=3.0, right=3.0))
    assert torch.allclose(all_sides, edge(matte, 5.0, even(5.0)), atol=1e-5)
    nothing = edge(matte, 2.0, even(5.0), sides())
    assert torch.equal(nothing, edge(matte, 2.0, even(5.0)))


def test_wide_pixels_grow_alike_on_the_screen() -> None:
    y, x = torch.meshgrid(torch.arange(300.0), torch.arange(160.0), indexing="ij")
    narrow = (30 - torch.hypot(x - 80, (y - 150) / 2)) / 4 + 0.5
    shaped = edge(narrow.clamp(0, 1)[None], 10.0, aspect=2.0)[0]
    assert float(shaped[150].sum()) == pytest.approx(80, abs=0.2)
    assert float(shaped[:, 80].sum()) == pytest.approx(160, abs=0.4)


def test_the_far_outside_stays_exactly_nothing() -> None:
    shaped = edge(disc(30.0, 80, 80, (160, 160)), 10.0, even(20.0))
    y, x = torch.meshgrid(torch.arange(160) + 0.5, torch.arange(160) + 0.5, indexing="ij")
    assert (shaped[0][torch.hypot(x - 80, y - 80) > 51] == 0).all()
    assert (shaped[0][torch.hypot(x - 80, y - 80) < 29] == 1).all()


@pytest.mark.parametrize("shape", [(64, 64), (63, 65), (1, 300), (257, 5)])
def test_any_size_of_picture(shape: tuple[int, int]) -> None:
    matte = blobs(1, (300, 300))[:, : shape[0], : shape[1]]
    shaped = edge(matte, 1.0, even(4.0))
    assert shaped.shape == matte.shape
    assert torch.equal(edge(matte.flip(-1), 1.0, even(4.0)).flip(-1).round(decimals=3), shaped.round(decimals=3))


def test_few_corners_draw_the_outline_of_many() -> None:
    for matte, share in ((disc(60.0, 80, 80, (160, 160)), 0.5), (blobs(2, (150, 160)), 0.95)):
        inside = matte[0] >= 0.5
        every, few = outline(matte[0], inside), outline(matte[0], inside, 6.0)
        assert len(few.corners) < share * len(every.corners)
        assert float(few.sides.norm(dim=-1).max()) < 6.0
        # All that stays was there, and no corner that went lies off the pieces that stayed.
        assert torch.cdist(few.corners, every.corners).amin(1).max() < 1e-4
        start, side = few.corners[:, None, None].transpose(0, 1), few.sides[None]
        away = every.corners[:, None, None] - start
        share = ((away * side).sum(-1) / side.square().sum(-1).clamp_min(1e-12)).clamp(0, 1)
        assert float((away - share[..., None] * side).norm(dim=-1).flatten(1).amin(1).max()) < 0.1
        # Every corner is on two pieces still, as it was.
        ends = torch.cdist((few.corners[:, None] + few.sides).view(-1, 2), few.corners).argmin(1)
        times = torch.bincount(ends, minlength=len(few.corners))
        assert float((times == 2).double().mean()) > 0.95


def test_an_edge_moved_far_out_is_where_it_belongs() -> None:
    matte = disc(30.0, 300, 310, (600, 620))
    row = edge(matte, 230.0, even(16.0))[0, 309]
    away = 260.0 - (torch.arange(620) + 0.5 - 300).abs()
    ramp = ((away + 8) / 16).clamp(0, 1)
    assert torch.allclose(row, ramp * ramp * (3 - 2 * ramp), atol=0.02)
    # A hole in a full picture: the edge ends where the picture does.
    filled = edge(1 - matte, 20.0, even(16.0))[0]
    assert (filled[0] == 1).all() and (filled[:, 0] == 1).all() and filled[310, 300] == 0
    shorter = edge(matte[:, :315], 230.0, even(16.0))[0, 309]
    assert torch.allclose(shorter, row, atol=5e-3)


@pytest.mark.parametrize("grow", [150.0, 300.0, 410.0])
def test_far_out_every_pixel_before_and_behind_the_edge_is_right(grow: float) -> None:
    """Not only along one line: a coarse lattice must not take a whole cell for the wrong side of the edge."""
    found = edge(disc(30.0, 455.3, 448.8, (910, 900)), grow, even(15.0))[0]
    y, x = torch.meshgrid(torch.arange(found.shape[0]) + 0.5, torch.arange(found.shape[1]) + 0.5, indexing="ij")
    away = 30.0 + grow - torch.hypot(x - 455.3, y - 448.8)
    ramp = ((away + 7.5) / 15).clamp(0, 1)
    assert (found - ramp * ramp * (3 - 2 * ramp)).abs().max() < 0.02

"""Poisson's equation, beside a direct solver and on the shapes that mattes have."""

import numpy
import pytest
import torch
from scipy import sparse
from scipy.sparse.linalg import spsolve

from mien.ops.poisson import clone, residual, settle, solve


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) - 0.5


def grid(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return y, x


def region(kind: str, height: int = 61, width: int = 74) -> torch.Tensor:
    y, x = grid(height, width)
    away = torch.hypot(x - width / 2, y - height / 2)
    turn = torch.atan2(y - height / 2, x - width / 2)
    inside = {
        "disc": away < 0.45 * height,
        "star": away < height * (0.3 + 0.12 * torch.sin(5 * turn) + 0.03 * torch.sin(31 * turn)),
        "ring": (away < 0.45 * height) & (away > 0.2 * height),
        "corner": (x < 0.6 * width) & (y > 0.3 * height),
        "sieve": torch.rand(height, width, generator=torch.Generator().manual_seed(5)) < 0.95,
        "pixel": away < 0.8,
    }[kind]
    return inside.float()[None]


KINDS = ("disc", "star", "ring", "corner", "sieve", "pixel")


def direct(
    values: torch.Tensor, free: torch.Tensor, source: torch.Tensor, pull: torch.Tensor | None = None
) -> numpy.ndarray:
    """The same equation for one channel, factorized in float64."""
    height, width = values.shape
    rows, columns, entries, known = [], [], [], numpy.zeros(height * width)
    for y in range(height):
        for x in range(width):
            here = y * width + x
            if not free[y, x]:
                rows.append(here), columns.append(here), entries.append(1.0)
                known[here] = values[y, x]
                continue
            around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            there = [(v, u) for v, u in around if 0 <= v < height and 0 <= u < width]
            drawn = 0.0 if pull is None else float(pull[y, x])
            rows.append(here), columns.append(here), entries.append(-len(there) - drawn)
            for v, u in there:
                rows.append(here), columns.append(v * width + u), entries.append(1.0)
            known[here] = float(source[y, x]) - drawn * float(values[y, x])
    matrix = sparse.csc_matrix((entries, (rows, columns)))
    return spsolve(matrix, known).reshape(height, width)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sources", [False, True])
def test_agrees_with_a_direct_solver(kind: str, sources: bool) -> None:
    free = region(kind)
    values = noise(1, *free.shape[-2:])
    source = 0.1 * noise(1, *free.shape[-2:], seed=1) if sources else torch.zeros_like(values)
    field = solve(values, free, source if sources else None)
    assert numpy.abs(field[0].numpy() - direct(values[0], free[0], source[0])).max() < 1e-3
    assert residual(field, free, source).abs().max() < 1e-4


def test_a_pull_agrees_with_a_direct_solver() -> None:
    free = torch.ones(1, 40, 53)
    pull = noise(1, 40, 53, seed=3).clamp(min=0) * 4
    values = noise(1, 40, 53)
    field = solve(values, free, pull=pull)
    assert numpy.abs(field[0].numpy() - direct(values[0], free[0], torch.zeros(40, 53), pull[0])).max() < 1e-3


@pytest.mark.parametrize("size", [(5, 9), (64, 64), (127, 200), (301, 256)])
def test_a_slope_is_found_again(size: tuple[int, int]) -> None:
    y, x = grid(*size)
    slope = (0.3 * x - 0.2 * y)[None] / max(size)
    free = torch.zeros(1, *size)
    free[:, 1:-1, 1:-1] = 1
    field = solve(slope * (1 - free), free)
    assert (field - slope).abs().max() < 2e-3


def test_what_is_given_stays_bit_for_bit_and_nothing_exceeds_it() -> None:
    free = region("star")
    values = noise(3, *free.shape[-2:]) * 1000
    field = solve(values, free)
    assert torch.equal(field[:, free[0] == 0], values[:, free[0] == 0])
    # A harmonic function has its extremes on its boundary.
    rim = values[:, free[0] == 0]
    assert field.amax() <= rim.amax() + 0.1 and field.amin() >= rim.amin() - 0.1


def test_where_nothing_is_given_or_nothing_sought_values_come_back() -> None:
    values = noise(3, 20, 30)
    assert torch.equal(solve(values, torch.ones(1, 20, 30)), values)
    assert torch.equal(solve(values, torch.zeros(1, 20, 30)), values)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (3, 40)])
def test_small_and_narrow_pictures(size: tuple[int, int]) -> None:
    values = noise(2, *size)
    free = torch.ones(1, *size)
    free[..., 0, 0] = 0
    field = solve(values, free)
    assert torch.isfinite(field).all() and (size == (1, 1) or residual(field, free).abs().max() < 1e-4)


def test_batches_equal_loops() -> None:
    values = torch.stack([noise(3, 40, 50, seed=n) * 10**n for n in range(3)])
    free = torch.stack([region(kind, 40, 50) for kind in ("disc", "ring", "corner")])
    together = solve(values, free)
    for n in range(3):
        scale = float(values[n].abs().max())
        assert (solve(values[n], free[n]) - together[n]).abs().max() < 1e-2 * scale
        assert residual(together[n], free[n]).abs().max() < 1e-4 * scale


def test_clone_meets_the_back_and_keeps_gradients_and_light() -> None:
    free = region("disc")
    front, back = noise(3, 61, 74) * 0.1 + 20.0, noise(3, 61, 74, seed=1) * 0.1 - 0.3
    front[:, 30, 37] += 16.0
    result = clone(front, back, free)
    assert torch.equal(result[:, free[0] == 0], back[:, free[0] == 0])
    assert residual(result - front, free).abs().max() < 1e-4 * 21
    assert (result[:, 30, 37] - result[:, 30, 38] > 15.8).all()
    # Its level is the back's, though the front was some sixty times brighter.
    assert (result[:, free[0] > 0].mean() - back.mean()).abs() < 0.1


def test_identical_pictures_clone_to_themselves() -> None:
    picture = noise(3, 50, 60) * 8
    assert torch.equal(clone(picture, picture, region("star", 50, 60)), picture)


def test_regions_must_agree() -> None:
    with pytest.raises(ValueError, match="same region"):
        solve(noise(3, 4, 4), torch.ones(1, 4, 5))


@pytest.mark.parametrize("size", [(48, 45), (9, 70), (1, 6), (2, 2)])
def test_a_field_settles_where_it_is_drawn(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(size[1])
    values = 3 * torch.randn(2, 3, *size, generator=generator)
    pull = 4 * torch.rand(2, 1, *size, generator=generator) * (torch.rand(2, 1, *size, generator=generator) > 0.8)
    pull[..., 0, 0] = 1.0
    field = settle(values, pull, torch.zeros_like(values))
    padded = torch.nn.functional.pad(field, (1, 1, 1, 1), mode="replicate")
    around = padded[..., 2:, 1:-1] + padded[..., :-2, 1:-1] + padded[..., 1:-1, 2:] + padded[..., 1:-1, :-2]
    wrong = around - 4 * field + pull * (values - field)
    assert float(wrong.abs().max()) < 1e-4 * float(values.abs().max())
    exact = solve(values.double(), torch.ones_like(pull).double(), pull=pull.double(), tolerance=1e-8)
    assert torch.allclose(field.double(), exact, atol=2e-3)
    again = settle(values[0], pull[0], field[0] + 0.3)
    assert torch.allclose(again, field[0], atol=2e-3)


def test_a_field_that_nothing_draws_stays_level() -> None:
    values, none = torch.randn(3, 12, 15, generator=torch.Generator().manual_seed(1)), torch.zeros(1, 12, 15)
    assert not settle(values, none, torch.zeros_like(values)).any()
    assert torch.allclose(settle(0 * values, none, torch.ones_like(values)), torch.ones_like(values))

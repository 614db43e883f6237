"""Lattices over pictures: nothing is lost on the way in, levels and slopes come out as they are."""

import pytest
import torch

from mien.ops.lattice import blur, gather, lattice, moved, spread


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("step", [0.3, 1.0, 2.7, 16.0, 500.0])
@pytest.mark.parametrize("size", [(1, 1), (37, 52), (0, 0)])
def test_what_is_gathered_is_all_there_and_a_level_field_stays_level(step: float, size: tuple[int, int]) -> None:
    picture = noise(3, *size)
    over = lattice(size, step, picture, (3.3, -71.9))
    assert torch.allclose(gather(picture, over).sum((-2, -1)), picture.sum((-2, -1)), rtol=1e-5)
    level = torch.full((3, over.rows.shape[0], over.columns.shape[0]), 0.7)
    assert torch.allclose(spread(level, over), torch.full_like(picture, 0.7), rtol=1e-5)


def test_slopes_pass_straight_through() -> None:
    over = lattice((60, 80), 7.3, torch.zeros(()))
    knots = torch.arange(over.columns.shape[0], dtype=torch.float32)
    field = knots.expand(1, over.rows.shape[0], -1)
    steps = torch.diff(spread(field, over)[0], dim=1)
    assert torch.allclose(steps, torch.full_like(steps, 1 / 7.3), atol=1e-5)


def test_knots_move_with_what_they_hold_on_to() -> None:
    still = lattice((40, 50), 6.0, torch.zeros(()), (20.0, 15.0))
    moved = lattice((40, 50), 6.0, torch.zeros(()), (23.0, 15.0))
    picture = torch.zeros(1, 40, 50)
    picture[:, 10:25, 12:30] = noise(1, 15, 18)
    one, other = gather(picture, still), gather(picture.roll(3, -1), moved)
    assert torch.allclose(spread(one, still).roll(3, -1)[..., 10:40], spread(other, moved)[..., 10:40], atol=1e-5)


def test_blur_keeps_averages_where_divided_by_its_weights() -> None:
    field = noise(2, 9, 14)
    assert blur(field, 0.0) is field
    level = blur(torch.full_like(field, 0.4), 2.0) / blur(torch.ones_like(field), 2.0)
    assert torch.allclose(level, torch.full_like(field, 0.4))


def test_batches_equal_loops() -> None:
    pictures = noise(4, 3, 30, 20)
    over = lattice((30, 20), 5.0, pictures)
    together = spread(gather(pictures, over), over)
    for n in range(4):
        assert torch.allclose(spread(gather(pictures[n], over), over), together[n], rtol=1e-6)


def test_a_field_is_laid_over_another_lattice_knot_for_knot() -> None:
    there = lattice((40, 50), 6.0, torch.zeros(()), (20.0, 15.0))
    here = lattice((60, 44), 6.0, torch.zeros(()), (31.5, 22.0))
    field = noise(3, there.rows.shape[0], there.columns.shape[0])
    laid = moved(field, there, here)
    assert laid.shape[-2:] == (here.rows.shape[0], here.columns.shape[0])
    row, column = here.anchor[0] - there.anchor[0], here.anchor[1] - there.anchor[1]
    assert torch.equal(laid[:, row + 2, column + 3], field[:, 2, 3])
    assert torch.equal(laid[:, -1, column + 3], field[:, min(here.rows.shape[0] - 1 - row, field.shape[1] - 1), 3])
    assert torch.equal(moved(field, there, there), field)

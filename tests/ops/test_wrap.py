"""Light from behind spilling over an edge."""

import math

import pytest
import torch

from mien.ops.lattice import lattice
from mien.ops.wrap import light_wrap

SIZE = (60, 100)
OVER = lattice(SIZE, 2.0, torch.zeros(()))


def matte() -> torch.Tensor:
    """The right half."""
    return ((torch.arange(SIZE[1]) + 0.5 - 50) / 2 + 0.5).clamp(0, 1).expand(1, *SIZE)


def level(value: float) -> torch.Tensor:
    return torch.full((3, *SIZE), value)


def test_half_of_the_excess_at_the_edge_and_none_far_inside() -> None:
    spill = light_wrap(level(0.2), level(1.2), matte(), OVER, 2.0)
    assert (spill[:, 30, 50] - 0.5).abs().max() < 0.1
    assert spill[:, :, 70:].max() < 0.01
    across = spill[0, 30, 45:75]
    assert (torch.diff(across) <= 1e-4).all()


def test_a_background_like_the_face_or_darker_adds_nothing() -> None:
    assert light_wrap(level(0.5), level(0.5), matte(), OVER, 2.0).abs().max() < 1e-6
    assert not light_wrap(level(0.5), level(0.1), matte(), OVER, 2.0).any()


@pytest.mark.parametrize("strange", [math.nan, math.inf, -math.inf])
def test_strange_light_spills_nowhere(strange: float) -> None:
    back, front = level(1.2), level(0.2)
    back[:, 20:30, 40:48], front[:, 40, 60] = strange, strange
    spill = light_wrap(front, back, matte(), OVER, 2.0)
    assert torch.isfinite(spill).all() and spill.max() < 1.3


def test_a_matte_that_is_everywhere_or_nowhere_is_safe() -> None:
    for value in (0.0, 1.0):
        spill = light_wrap(level(0.2), level(1.2), torch.full((1, *SIZE), value), OVER, 2.0)
        assert torch.isfinite(spill).all()
    assert spill.abs().max() < 1e-3


def test_what_lies_under_the_face_does_not_spill() -> None:
    back = torch.where(matte() > 0.99, 50.0, level(0.2))
    assert light_wrap(level(0.2), back, matte(), OVER, 2.0).max() < 0.5

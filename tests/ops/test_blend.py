"""The one over."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.ops.blend import over


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 10


@settings(max_examples=50)
@given(seed=st.integers(0, 10000), share=st.floats(0, 1))
def test_is_linear_in_the_matte(seed: int, share: float) -> None:
    front, back = noise(3, 6, 7, seed=seed), noise(3, 6, 7, seed=seed + 1)
    matte = torch.full((1, 6, 7), share)
    exact = back.double() + matte.double() * (front.double() - back.double())
    assert (over(front, back, matte) - exact).abs().max() < 1e-5


def test_nothing_and_all_are_exact_whatever_lies_below() -> None:
    strange = torch.tensor([math.nan, math.inf, -math.inf, 1e38, -0.0, 65504.0])
    back = strange[None, None].expand(3, 4, 6).clone()
    front = strange.flip(0)[None, None].expand(3, 4, 6).clone()
    bits = torch.int32
    assert torch.equal(over(front, back, torch.zeros(1, 4, 6)).view(bits), back.view(bits))
    assert torch.equal(over(front, back, torch.ones(1, 4, 6)).view(bits), front.view(bits))


def test_infinite_plate_under_a_soft_edge_stays_infinite() -> None:
    back, front = torch.full((3, 1, 1), math.inf), torch.ones(3, 1, 1)
    assert over(front, back, torch.full((1, 1, 1), 0.5)).isposinf().all()


def test_equal_pictures_give_themselves() -> None:
    picture = noise(3, 8, 8)
    assert torch.equal(over(picture, picture, torch.rand(1, 8, 8)), picture)


def test_batches_equal_loops() -> None:
    front, back, matte = noise(4, 3, 5, 5), noise(4, 3, 5, 5, seed=1), noise(4, 1, 5, 5, seed=2).sigmoid()
    together = over(front, back, matte)
    for n in range(4):
        assert torch.equal(over(front[n], back[n], matte[n]), together[n])


def test_regions_must_agree() -> None:
    with pytest.raises(ValueError, match="same region"):
        over(noise(3, 4, 4), noise(3, 4, 5), noise(1, 4, 4))

"""Choosing pixels, bit for bit."""

import math

import pytest
import torch

from mien.ops.choose import choose, few


def test_equals_torch_where_bit_for_bit_whatever_the_pixels_hold() -> None:
    strange = torch.tensor([math.nan, math.inf, -math.inf, 1e38, -0.0, 0.0, 1e-42, 65504.0])
    generator = torch.Generator().manual_seed(0)
    this, other = (strange[torch.randint(0, 8, (2, 3, 20, 30), generator=generator)] for _ in range(2))
    where = torch.rand(2, 1, 20, 30, generator=generator) < 0.5
    chosen = choose(where, this, other)
    assert torch.equal(chosen.view(torch.int32), torch.where(where, this, other).view(torch.int32))


def test_parts_of_pictures_will_do() -> None:
    whole = torch.rand(3, 20, 30)
    where = torch.rand(1, 20, 30) < 0.5
    part = (slice(None), slice(3, 17), slice(5, 21))
    chosen = choose(where[part], whole[part], -whole[part])
    assert torch.equal(chosen, torch.where(where[part], whole[part], -whole[part]))


def test_shapes_extend_as_usual() -> None:
    many, one, where = torch.rand(4, 3, 5, 6), torch.rand(3, 5, 6), torch.rand(4, 1, 5, 6) < 0.5
    assert torch.equal(choose(where, many, one), torch.where(where, many, one))
    assert torch.equal(choose(where, one, many), torch.where(where, one, many))


def test_kinds_must_agree() -> None:
    with pytest.raises(ValueError, match="float32"):
        choose(torch.ones(1, 2, 2) > 0, torch.ones(3, 2, 2), torch.ones(3, 2, 2).double())


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (3, 8), (7, 13), (40, 57), (0, 5), (4, 5, 6)])
def test_the_few_are_those_that_nonzero_finds(shape: tuple[int, ...], share: float) -> None:
    flags = torch.rand(shape, generator=torch.Generator().manual_seed(1)) < share
    assert torch.equal(few(flags), flags.flatten().nonzero()[:, 0])
    assert torch.equal(few(flags[..., 1:]), flags[..., 1:].flatten().nonzero()[:, 0])
    assert torch.equal(few(flags[1:]), flags[1:].flatten().nonzero()[:, 0])

"""Mixed gradients: the plate's strong texture shows, its grain does not."""

import math

import pytest
import torch

from mien.ops.lattice import lattice
from mien.ops.mixed import keep

SIZE = (120, 110)
WHITE = 1.5
OVER = lattice(SIZE, 3.0, torch.zeros(()))


def skin(seed: int, grain: float = 0.02) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.3 * (1 + grain * torch.randn(3, *SIZE, generator=generator))


def disc(radius: float = 45.0) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(SIZE[0]) + 0.5, torch.arange(SIZE[1]) + 0.5, indexing="ij")
    return ((radius - torch.hypot(x - 55, y - 60)) / 4 + 0.5).clamp(0, 1)[None]


def test_the_rim_of_spectacles_shows() -> None:
    front, back = skin(0), skin(1)
    back[:, 50:53, 30:80] = 0.03
    result = keep(front, back, disc(), WHITE, OVER, 12.0)
    assert result[:, 50:53, 35:75].mean() < 0.08
    assert (result[:, 70:90, 40:70] / front[:, 70:90, 40:70]).log().abs().mean() < 0.05


def test_grain_of_the_plate_does_not_show() -> None:
    front, back = skin(0, 0.0), skin(1, 0.05)
    assert (keep(front, back, disc(), WHITE, OVER, 12.0) / front).log().square().mean().sqrt() < 0.01


def test_outside_the_matte_and_on_itself_nothing_changes() -> None:
    front, back = skin(0), skin(1)
    back[:, 50:53] = 0.03
    outside = disc()[0] == 0
    assert torch.equal(keep(front, back, disc(), WHITE, OVER, 12.0)[:, outside], front[:, outside])
    assert torch.equal(keep(back, back, disc(), WHITE, OVER, 12.0), back)


@pytest.mark.parametrize("strange", [math.nan, math.inf, 40.0, -2.0])
def test_strange_light_of_the_plate_stays_out_or_stays_bounded(strange: float) -> None:
    front, back = skin(0), skin(1)
    back[:, 60:63, 50:53] = strange
    result = keep(front, back, disc(), WHITE, OVER, 12.0)
    assert torch.isfinite(result).all()
    assert (result / front).log().abs()[:, 20:40].max() < 0.2


def test_an_empty_matte_leaves_the_face() -> None:
    front = skin(0)
    assert torch.equal(keep(front, skin(1), torch.zeros(1, *SIZE), WHITE, OVER, 12.0), front)

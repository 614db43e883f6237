"""Laying a crop back: what its matte leaves out stays the plate's."""

import torch

from mien.models.lay_back import laid_back
from mien.types import Plate


def test_the_plate_shows_through_gaps_in_a_matte_bit_for_bit() -> None:
    generator = torch.Generator().manual_seed(2)
    plate = Plate(torch.rand(3, 800, 810, generator=generator), (7, 9))
    drawn = 2 + torch.rand(3, 128, 128, generator=generator)
    matte = torch.zeros(1, 128, 128)
    # Columns that are full from top to bottom, a gap between them, and a hole in one.
    matte[:, :, 10:50], matte[:, :, 70:118] = 1, 1
    matte[:, 60:70, 80:90] = 0
    onto = torch.tensor([[6.0, 0.0, 10.0], [0.0, 6.0, 8.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    layer = laid_back(drawn, matte, torch.linalg.inv(onto), plate, 200.0)
    out = layer.matte[0] == 0
    assert torch.equal(layer.image[:, out], plate.image[:, out])
    assert (layer.image[:, ~out] > 1.5).all()
    assert out[:, 10 + 6 * 60].all() and out[8 + 6 * 65, 10 + 6 * 85] and not out[400, 10 + 6 * 30]

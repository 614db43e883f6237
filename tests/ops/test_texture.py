"""Texture of the plate over a smooth face."""

import pytest
import torch

from mien.ops.sharpness import blur
from mien.ops.texture import carry_texture


def skin(seed: int = 0) -> torch.Tensor:
    """Skin with pores over a slow change of light."""
    generator = torch.Generator().manual_seed(seed)
    pores = blur(torch.randn(3, 90, 100, generator=generator), 1.0)
    return torch.linspace(0.2, 0.8, 100).expand(3, 90, 100) * (1 + 0.2 * pores)


def fine(picture: torch.Tensor) -> torch.Tensor:
    return picture / blur(picture, 16.0) - 1


def test_texture_is_that_of_the_plate_in_the_light_of_the_face() -> None:
    plate, face = skin(), torch.full((3, 90, 100), 4.0)
    result = carry_texture(face, plate, torch.ones(1, 90, 100), 4.0, 1.0)
    inner = (slice(None), slice(12, -12), slice(12, -12))
    got, wanted = fine(result)[inner].flatten(), fine(plate)[inner].flatten()
    assert float(torch.corrcoef(torch.stack([got, wanted]))[0, 1]) > 0.99
    assert float(got.std() / wanted.std()) == pytest.approx(1.0, abs=0.06)
    assert torch.allclose(blur(result, 64.0)[inner], face[inner], rtol=0.02)


def test_amount_is_linear_and_the_matte_bounds_it() -> None:
    plate, face = skin(), skin(1)
    matte = torch.zeros(1, 90, 100)
    matte[:, 20:60, 30:70] = 1
    whole, half = (carry_texture(face, plate, matte, 3.0, amount) for amount in (1.0, 0.5))
    assert torch.allclose(half - face, (whole - face) / 2, atol=1e-6)
    assert torch.equal(whole[:, matte[0] == 0], face[:, matte[0] == 0])
    assert not torch.equal(whole, face)


def test_nothing_to_carry_is_the_face_itself() -> None:
    face = skin()
    assert carry_texture(face, skin(1), torch.ones(1, 90, 100), 3.0, 0.0) is face
    flat = torch.full((3, 90, 100), 0.3)
    assert torch.allclose(carry_texture(face, flat, torch.ones(1, 90, 100), 3.0, 1.0), face, rtol=1e-5)


def test_glints_black_and_odd_light_of_the_plate_do_no_harm() -> None:
    plate, face = skin(), skin(1)
    plate[:, 40, 40], plate[:, 50:60, 50:60] = 300.0, -0.01
    plate[0, 20, 20], plate[1, 22, 22] = torch.inf, torch.nan
    face[2, 70, 70] = torch.nan
    result = carry_texture(face, plate, torch.ones(1, 90, 100), 3.0, 1.0)
    known = torch.isfinite(face)
    assert bool(torch.isfinite(result[known]).all())
    ratio = (result / face)[known]
    assert float(ratio.min()) >= 0.5 - 1e-6 and float(ratio.max()) <= 2 + 1e-6
    assert float(result[0, 20, 20]) == float(face[0, 20, 20])
    with pytest.raises(ValueError, match="same region"):
        carry_texture(face, plate[:, 1:], torch.ones(1, 90, 100), 3.0, 1.0)

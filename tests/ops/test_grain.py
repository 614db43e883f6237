"""Grain: known grain is found again, laid grain looks like it, and a pixel's grain depends on place and frame alone."""

from dataclasses import replace

import cv2
import numpy
import pytest
import torch
from skimage import data

from mien.ops import grain as grains
from mien.ops.grain_field import SIDE, field
from mien.ops.judge import textures
from mien.types import Grain

FILM = Grain(
    1.0,
    ((2e-5, 4e-4, 0.0), (1e-5, 3e-4, 0.0), (4e-5, 6e-4, 0.0)),
    ((0.0, 4.0),) * 3,
    ((0.5, 0.1, 0.0), (0.4, 0.05, 0.0), (0.6, 0.2, 0.02)),
    ((0.3, 0.02, 0.0), (0.4, 0.05, 0.0), (0.5, 0.1, 0.0)),
    ((1.0, 0.5, 0.3), (0.5, 1.0, 0.4), (0.3, 0.4, 1.0)),
)
"""Sensor-like, coarser across than down, and partly gray."""
ALL = torch.ones(3, 1, 1)


def sky(height: int = 240, width: int = 320) -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return torch.stack([0.05 + x * 0.8, 0.1 + y * 0.5, 0.2 + 0.3 * x * y])


def portrait() -> torch.Tensor:
    """A real face and shoulders, in linear light, with little grain of its own."""
    picture = torch.from_numpy(data.astronaut()[:400, 60:380].copy()).movedim(-1, 0).float()
    small = torch.nn.functional.interpolate(picture[None], (300, 240), mode="bicubic", antialias=True)[0]
    return (small / 255).clamp(0, 1) ** 2.2


def laid(picture: torch.Tensor, grain: Grain = FILM, frame: int = 7) -> torch.Tensor:
    return grains.lay(picture, torch.ones_like(picture[:1]), grain, ALL, (0, 0), frame)


def spread(grain: Grain, channel: int, level: float) -> float:
    a, b, c = grain.variance[channel]
    return a + b * level + c * level * level


def test_the_field_is_as_strong_as_alike_and_as_colorful_as_asked() -> None:
    drawn = field((400, 500), (-30, 9), 3, FILM, torch.device("cpu")).double()
    assert torch.allclose(drawn.mean((1, 2)), torch.zeros(3, dtype=torch.float64), atol=0.02)
    assert torch.allclose(drawn.var((1, 2)), torch.ones(3, dtype=torch.float64), atol=0.04)
    for channel in range(3):
        one = drawn[channel]
        for lag in (1, 2, 3):
            alike = [float((one[:, lag:] * one[:, :-lag]).mean()), float((one[lag:] * one[:-lag]).mean())]
            assert alike == pytest.approx([line[channel][lag - 1] for line in (FILM.across, FILM.down)], abs=0.03)
    assert torch.allclose(torch.corrcoef(drawn.flatten(1)), torch.tensor(FILM.colors).double(), atol=0.04)
    deep = numpy.abs(drawn.numpy())
    assert 0.001 < float((deep > 3).mean()) < 0.0045, "tails are those of a bell: 0.27 % beyond three deviations"


def test_a_pixel_has_its_grain_whatever_region_is_drawn() -> None:
    whole = field((120, 130), (-50, -60), 1001, FILM, torch.device("cpu"))
    part = field((37, 41), (-13, 5), 1001, FILM, torch.device("cpu"))
    assert torch.equal(whole[:, 65:102, 37:78], part)
    picture = sky(120, 130)
    both = grains.lay(picture, torch.ones(1, 120, 130), FILM, ALL, (-50, -60), 1001)
    alone = grains.lay(picture[:, 65:102, 37:78], torch.ones(1, 37, 41), FILM, ALL, (-13, 5), 1001)
    assert torch.equal(both[:, 65:102, 37:78], alone)


def test_grain_goes_on_where_its_square_ends_and_is_never_written_to() -> None:
    first = field((SIDE + 40, SIDE + 70), (-3, 5), 8, FILM, torch.device("cpu"))
    assert torch.equal(first[:, SIDE:, SIDE:], first[:, :40, :70])
    seam = (first[..., 1:] * first[..., :-1]).mean((0, 1))
    assert float(seam.amin()) > 0.5 * float(seam.mean()), "neighbors are as alike across the seam"
    first.zero_()
    assert float(field((SIDE, SIDE), (-3, 5), 8, FILM, torch.device("cpu")).std()) > 0.9


def test_frames_have_grain_of_their_own() -> None:
    fields = [field((200, 200), (0, 0), frame, FILM, torch.device("cpu")) for frame in (1, 2, 1, -1)]
    assert torch.equal(fields[0], fields[2])
    for other in (fields[1], fields[3]):
        assert abs(float((fields[0] * other).mean())) < 0.02
        for shift in (1, 5, 37):
            assert abs(float((fields[0][..., shift:] * other[..., :-shift]).mean())) < 0.03
    rows = fields[0][0]
    assert abs(float((rows[10:] * rows[:-10]).mean())) < 0.02, "rows do not repeat"


@pytest.mark.parametrize("strength", [0.3, 1.0, 3.0])
def test_grain_of_a_gradient_is_found_again(strength: float) -> None:
    film = replace(FILM, variance=tuple(tuple(strength * v for v in row) for row in FILM.variance))
    found = grains.measure(laid(sky(), film))
    for channel in range(3):
        low, high = found.levels[channel]
        for level in (low + 0.05, (low + high) / 2, high - 0.02):
            assert spread(found, channel, level) == pytest.approx(spread(film, channel, level), rel=0.12)
        assert found.across[channel][:2] == pytest.approx(FILM.across[channel][:2], abs=0.06)
        assert found.down[channel][:2] == pytest.approx(FILM.down[channel][:2], abs=0.06)
    assert numpy.allclose(found.colors, FILM.colors, atol=0.06)


def test_grain_of_a_real_picture_is_found_again() -> None:
    """Hair, cloth and pores are not taken for grain."""
    picture = portrait()
    bare = grains.measure(picture)
    found = grains.measure(laid(picture))
    for channel in range(3):
        true = spread(FILM, channel, 0.3)
        assert spread(bare, channel, 0.3) < 0.5 * true
        assert spread(found, channel, 0.3) == pytest.approx(true + spread(bare, channel, 0.3), rel=0.35)
        assert found.across[channel][0] == pytest.approx(FILM.across[channel][0], abs=0.12)


def test_film_grain_that_grows_with_light_is_told_from_photons() -> None:
    film = replace(FILM, variance=((0.0, 0.0, 2e-3),) * 3)
    found = grains.measure(laid(sky(), film))
    for level in (0.15, 0.3, 0.45):
        assert spread(found, 1, level) == pytest.approx(2e-3 * level**2, rel=0.2)


def test_nothing_to_see_is_no_grain() -> None:
    assert grains.measure(torch.full((3, 60, 60), 0.4)).weight == 0
    assert grains.measure(torch.full((3, 60, 60), torch.nan)).weight == 0
    assert grains.measure(torch.rand(3, 8, 200)).weight == 0
    assert grains.measure(torch.zeros(3, 90, 90)).weight == 0
    with pytest.raises(ValueError, match="3, H, W"):
        grains.measure(torch.zeros(1, 9, 9))


def test_what_a_face_has_is_not_laid_twice() -> None:
    face = portrait()
    face = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(face, (2,) * 4, mode="replicate"), 5, 1)
    film = replace(FILM, variance=tuple(tuple(0.5 * v for v in row) for row in FILM.variance))
    matte = torch.ones_like(face[:1])
    assert max(grains.share(face, matte, FILM)) < 0.15
    assert grains.share(laid(face, film), matte, FILM) == pytest.approx((0.5,) * 3, abs=0.2)
    assert grains.share(laid(face), matte, FILM) == pytest.approx((1.0,) * 3, abs=0.15)
    assert grains.share(face, matte * 0, FILM) == (0.0, 0.0, 0.0)


def test_what_an_enlarged_face_has_instead_of_grain_is_coarser() -> None:
    """A photograph enlarged and soft, with skin and the squares of its JPEG in it: all of the plate's grain is laid,
    and the report, which looks at pixels beside pixels, then says the same."""
    small = torch.nn.functional.avg_pool2d(portrait(), 3)
    face = torch.nn.functional.interpolate(small[None], scale_factor=3.0, mode="bicubic", align_corners=False)[0]
    random = torch.Generator().manual_seed(4)
    coarse = torch.randn(1, 1, face.shape[1] // 3, face.shape[2] // 3, generator=random)
    coarse = torch.nn.functional.interpolate(coarse, face.shape[1:], mode="bicubic", align_corners=False)[0]
    face = face + 0.015 * coarse
    matte = torch.ones_like(face[:1])
    plate = laid(face, frame=1)
    assert max(grains.share(face, matte, FILM)) < 0.1
    assert textures([face], matte)[0][1] < 0.5 * textures([plate], matte)[0][1]
    missing = 1 - torch.tensor(grains.share(face, matte, FILM)).clamp_min(0)[:, None, None]
    result = grains.lay(face, matte, FILM, missing, (0, 0), 2)
    assert textures([result], matte)[0][1] == pytest.approx(textures([plate], matte)[0][1], rel=0.1)


@pytest.mark.parametrize("coarse", [0.0, 0.5, 0.8, 1.0, 1.2, 1.5, 2.0])
def test_grain_of_any_size_is_found_whole_where_it_is(coarse: float) -> None:
    def grained(seed: int, share: float = 1.0) -> torch.Tensor:
        noise = numpy.random.default_rng(seed).normal(size=(240, 320, 3)).astype(numpy.float32)
        soft = cv2.GaussianBlur(noise, (0, 0), coarse) if coarse else noise
        return sky() + 0.01 * share**0.5 * torch.from_numpy(soft / soft.std()).movedim(-1, 0) * sky().sqrt()

    found, matte = grains.measure(grained(1)), torch.ones(1, 240, 320)
    assert grains.share(grained(2), matte, found) == pytest.approx((1.0,) * 3, abs=0.15)
    assert grains.share(grained(2, 0.5), matte, found) == pytest.approx((0.5,) * 3, abs=0.1)


def test_a_regrained_face_measures_like_the_plate() -> None:
    plate = laid(sky(), frame=1)
    found = grains.measure(plate)
    again = grains.measure(grains.lay(sky(), torch.ones(1, 240, 320), found, ALL, (0, 0), 2))
    for channel in range(3):
        level = sum(found.levels[channel]) / 2
        assert spread(again, channel, level) == pytest.approx(spread(found, channel, level), rel=0.12)
        assert again.across[channel] == pytest.approx(found.across[channel], abs=0.06)
        assert again.down[channel] == pytest.approx(found.down[channel], abs=0.06)


def test_a_soft_matte_does_not_thin_the_grain() -> None:
    flat = torch.full((3, 200, 400), 0.4)
    matte = torch.linspace(0, 1, 400).expand(1, 200, 400)
    plate = laid(flat, frame=1)
    face = grains.lay(flat, matte, FILM, ALL, (0, 0), 2)
    mixed = plate + matte * (face - plate)
    plain = plate + matte * (laid(flat, frame=2) - plate)
    bands = [slice(n, n + 40) for n in range(120, 400, 40)]
    ratios = [float(mixed[1, :, band].std() / plate[1, :, band].std()) for band in bands]
    assert ratios == pytest.approx([1.0] * len(bands), abs=0.05)
    assert min(float(plain[1, :, band].std() / plate[1, :, band].std()) for band in bands) < 0.75


def test_nothing_missing_is_the_picture_itself_and_odd_light_survives() -> None:
    picture = sky()
    one = torch.ones(1, 240, 320)
    assert grains.lay(picture, one, FILM, 0 * ALL, (0, 0), 1) is picture
    assert grains.lay(picture, one, grains.NONE, ALL, (0, 0), 1) is picture
    odd = picture.clone()
    odd[:, 0, :4] = torch.tensor([torch.inf, torch.nan, 16.0, -0.2])
    result = grains.lay(odd, one, FILM, ALL, (0, 0), 1)
    assert bool(torch.isinf(result[:, 0, 0]).all()) and bool(torch.isnan(result[:, 0, 1]).all())
    assert torch.allclose(result[:, 0, 2:4], odd[:, 0, 2:4], atol=0.4)
    assert bool(torch.isfinite(result[:, 1:]).all())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_graphics_card_draws_the_same_grain() -> None:
    here = field((90, 110), (-7, 3), 12, FILM, torch.device("cpu"))
    there = field((90, 110), (-7, 3), 12, FILM, torch.device("cuda"))
    assert torch.equal(here, there.cpu())

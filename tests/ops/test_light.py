"""Light as a slow field: found whatever covers it, put back where it belongs, safe at both ends of the scale."""

import math

import pytest
import torch

from mien.ops import light
from mien.ops.lattice import lattice, spread
from mien.ops.light import broad, measure, ratio, shade

SIZE = (96, 80)
WHITE = 2.0


def skin(seed: int = 0, grain: float = 0.02) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.3 * (1 + grain * torch.randn(3, *SIZE, generator=generator))


def disc(radius: float = 36.0) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(SIZE[0]) + 0.5, torch.arange(SIZE[1]) + 0.5, indexing="ij")
    return ((radius - torch.hypot(x - 40, y - 48)) / 4).clamp(0, 1)[None]


def slope(strength: float = 1.4) -> torch.Tensor:
    """Light from the left, as a logarithm."""
    return strength * (0.5 - (torch.arange(SIZE[1]) + 0.5) / SIZE[1]).expand(1, *SIZE)


OVER = lattice(SIZE, 6.0, torch.zeros(()))


def found(front: torch.Tensor, back: torch.Tensor, matte: torch.Tensor) -> torch.Tensor:
    return spread(broad(measure(front, back, matte, WHITE, OVER), WHITE, 1.0), OVER)


def test_light_from_one_side_is_found_and_put_on() -> None:
    front = skin()
    back = skin(1) * torch.exp(slope())
    sums = measure(front, back, disc(), WHITE, OVER)
    lit = shade(front, broad(sums, WHITE, 1.0), OVER)
    inside = disc(30)[0] >= 1
    wrong = (lit / back).log()[:, inside]
    assert wrong.square().mean().sqrt() < 0.05 < 0.15 < (front / back).log()[:, inside].square().mean().sqrt()


def test_equal_pictures_have_no_light_between_them_and_stay_bit_for_bit() -> None:
    picture = skin() * 5 - 0.4
    sums = measure(picture, picture, disc(), WHITE, OVER)
    assert not ratio(sums, WHITE).any()
    assert torch.equal(shade(picture, broad(sums, WHITE, 2.0), OVER), picture)


def test_nothing_bleeds_across_the_matte() -> None:
    front, back = skin(), skin(1)
    bright = torch.where(disc() > 0, back, 50.0)
    inside = disc(30)[0] >= 1
    assert torch.equal(found(front, back, disc())[:, inside], found(front, bright, disc())[:, inside])


def test_a_spot_that_stands_out_hardly_counts() -> None:
    front, back = skin(), skin(1)
    bearded = back.clone()
    bearded[:, 60:72, 32:48] *= 0.1
    plain, dark = found(front, back, disc()), found(front, bearded, disc())
    naive = spread(ratio(measure(front, bearded, disc(), WHITE, OVER), WHITE, 1.0), OVER)
    near = (slice(None), slice(30, 60), slice(20, 60))
    assert (plain - dark).abs()[near].mean() < 0.25 * (plain - naive).abs()[near].mean()


@pytest.mark.parametrize("strange", [math.inf, -math.inf, math.nan, 1e30, 500.0])
def test_strange_light_is_left_out(strange: float) -> None:
    front, back = skin(), skin(1)
    back[:, 40:43, 40:43] = strange
    front[:, 50, 50] = strange
    light = found(front, back, disc())
    assert torch.isfinite(light).all() and light.abs().max() < 0.2


def test_black_plates_and_black_faces_are_safe() -> None:
    dark = torch.zeros(3, *SIZE)
    for front, back in ((skin(), dark), (dark, skin()), (dark, dark), (-skin(), skin())):
        for white in (WHITE, 0.0):
            sums = measure(front, back, disc(), white, OVER)
            lit = shade(front, broad(sums, white, 1.0), OVER)
            assert torch.isfinite(lit).all()
            # No light is more than eight times another.
            assert (lit.abs() <= 8.001 * front.abs()).all()


def test_an_empty_matte_and_one_of_nan_find_no_light() -> None:
    for matte in (torch.zeros(1, *SIZE), torch.full((1, *SIZE), torch.nan)):
        assert not found(skin(), skin(1) * 3, matte).any()


def test_highlights_and_negatives_of_the_face_survive_shading() -> None:
    picture = skin()
    picture[:, 40, 40], picture[:, 41, 40], picture[:, 42, 40], picture[:, 43, 40] = 16.0, -0.05, torch.inf, 0.0
    lit = shade(picture, torch.full((3, OVER.rows.shape[0], OVER.columns.shape[0]), -0.7), OVER)
    assert (lit[:, 40, 40] > 7.5).all() and (lit[:, 41, 40] < 0).all() and lit[:, 42, 40].isposinf().all()
    assert (lit[:, 43, 40] == 0).all()


def test_what_is_spared_stays() -> None:
    picture, spared = skin(), disc(10)
    light = torch.full((3, OVER.rows.shape[0], OVER.columns.shape[0]), 0.5)
    lit = shade(picture, light, OVER, spared=spared)
    assert torch.equal(lit[:, spared[0] == 1], picture[:, spared[0] == 1])
    assert torch.allclose(lit[:, spared[0] == 0], shade(picture, light, OVER)[:, spared[0] == 0])
    assert torch.allclose(lit, picture * torch.exp(0.5 * (1 - spared)))
    assert torch.allclose(shade(picture, light, OVER, 0.4, spared), picture * torch.exp(0.2 * (1 - spared)))


@pytest.mark.parametrize("height", [1, 2, 160, 203])
def test_light_between_rows_is_that_of_every_pixel(height: int) -> None:
    over = lattice((height, 64), 40.0, torch.zeros(()))
    generator = torch.Generator().manual_seed(2)
    picture = torch.rand(2, 3, height, 64, generator=generator) - 0.1
    light = 0.3 * torch.randn(2, 3, len(over.rows), len(over.columns), generator=generator)
    exact = picture * spread(light, over).exp()
    # A field whose every knot is of its own is as uneven as any can be.
    assert torch.allclose(shade(picture, light, over), exact, atol=3e-3)
    assert float((shade(picture, light, over) - exact).square().mean().sqrt()) < 3e-4
    assert torch.equal(shade(picture, 0 * light, over), picture)


def test_a_proxy_finds_the_same_light() -> None:
    generator = torch.Generator().manual_seed(4)
    front = 0.3 + 0.05 * torch.rand(3, *SIZE, generator=generator)
    back = 0.3 * torch.exp(slope()) * torch.tensor([1.2, 1.0, 0.8])[:, None, None]
    small = [torch.nn.functional.avg_pool2d(picture, 2) for picture in (front, back, disc())]
    half = lattice((SIZE[0] // 2, SIZE[1] // 2), 3.0, front)
    light = spread(broad(measure(*small, WHITE, half), WHITE, 1.0), half)
    full = torch.nn.functional.avg_pool2d(found(front, back, disc()), 2)
    inside = small[2][0] >= 1
    assert (light - full)[:, inside].abs().max() < 0.01


def test_batches_equal_loops() -> None:
    fronts, backs = torch.stack([skin(n) for n in range(3)]), torch.stack([skin(n) * (n + 1) for n in range(3)])
    mattes = torch.stack([disc(20 + 5 * n) for n in range(3)])
    sums = measure(fronts, backs, mattes, WHITE, OVER)
    together = shade(fronts, broad(sums, WHITE, 1.0), OVER)
    for n in range(3):
        alone = broad(measure(fronts[n], backs[n], mattes[n], WHITE, OVER), WHITE, 1.0)
        assert torch.allclose(shade(fronts[n], alone, OVER), together[n], rtol=1e-5)


def test_some_rows_tell_the_light_where_knots_are_far_apart() -> None:
    drawn = torch.Generator().manual_seed(4)
    front, back = (0.3 + 0.1 * torch.rand(3, 480, 300, generator=drawn) for _ in range(2))
    back = back * torch.linspace(0.5, 2.0, 480)[:, None]
    matte, over = torch.ones(1, 480, 300), lattice((480, 300), 80.0, front)
    some = light.measure(front, back, matte, 5.0, over)
    whole = light.measure(front, back, matte, 5.0, over, 10_000)
    assert float(some.weight.sum()) == pytest.approx(float(whole.weight.sum()) / 5, rel=0.02)
    assert torch.allclose(some.cover, whole.cover, atol=1e-4)
    known = whole.weight > 0.2 * whole.weight.amax()
    apart = (light.ratio(some, 5.0) - light.ratio(whole, 5.0)).abs()
    assert float((apart * known).amax()) < 0.02

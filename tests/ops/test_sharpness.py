"""Sharpness: exact blurs, known differences found again, bounded sharpening."""

import cv2
import numpy
import pytest
import torch
from skimage import data

from mien.ops import sharpness

NONE = torch.zeros(len(sharpness.VARIANCES))


def portrait(size: int = 240) -> torch.Tensor:
    picture = torch.from_numpy(data.astronaut()[20:280, 100:360].copy()).movedim(-1, 0).float()
    small = torch.nn.functional.interpolate(picture[None], (size, size), mode="bicubic", antialias=True)[0]
    return (small / 255).clamp(0, 1) ** 2.2


def disc(size: int = 240) -> torch.Tensor:
    y, x = torch.meshgrid(*(torch.arange(size) - size / 2,) * 2, indexing="ij")
    return (torch.hypot(x, y) < 0.4 * size).float()[None]


def curve(picture: torch.Tensor) -> torch.Tensor:
    matte = disc(picture.shape[-1])
    bright = sharpness.luminance(picture)
    found = sharpness.gradients(bright / ((bright * matte).sum() / matte.sum()), matte)
    return found[:, 0] + found[:, 2]


@pytest.mark.parametrize("variance", [0.05, 0.3, 1.0, 4.0, 30.0])
def test_a_blur_has_exactly_its_variance(variance: float) -> None:
    line = torch.tensor(sharpness.taps(variance), dtype=torch.float64)
    place = torch.arange(len(line), dtype=torch.float64) - len(line) // 2
    assert float(line.sum()) == pytest.approx(1)
    assert float((line * place.square()).sum()) == pytest.approx(variance, rel=2e-3)
    assert bool((line > 0).all())


def test_blurs_add_up_and_large_ones_are_opencvs() -> None:
    picture = portrait()
    twice = sharpness.blur(sharpness.blur(picture, 1.5), 2.5)
    inner = slice(12, -12)
    assert torch.allclose(twice[..., inner, inner], sharpness.blur(picture, 4.0)[..., inner, inner], atol=1e-4)
    packed = picture.movedim(0, -1).numpy()
    known = cv2.GaussianBlur(packed, (0, 0), 5.0, borderType=cv2.BORDER_REPLICATE)
    ours = sharpness.blur(picture, 25.0).movedim(0, -1).numpy()
    assert numpy.abs(ours - known).max() < 2e-3


def test_blurs_of_nothing_are_the_picture_itself_and_odd_light_stays_where_it_is() -> None:
    picture = portrait(64)
    assert sharpness.blur(picture, 0.0) is picture
    assert sharpness.sharpen(picture, 0.0) is picture
    odd = picture.clone()
    odd[0, 10, 10], odd[1, 20, 20] = torch.inf, torch.nan
    for result in (sharpness.blur(odd, 2.0), sharpness.sharpen(odd, 2.0)):
        assert bool(torch.isinf(result[0, 10, 10])) and bool(torch.isnan(result[1, 20, 20]))
        assert int(torch.isfinite(result).sum()) == result.numel() - 2
    bright = torch.full((3, 40, 40), 16.0)
    bright[:, :, 20:] = -0.3
    assert torch.allclose(sharpness.blur(bright, 3.0).aminmax()[1], torch.tensor(16.0))


def test_a_batch_is_a_loop() -> None:
    pictures = torch.stack([portrait(64), portrait(64).flip(-1)])
    for work in (sharpness.blur, sharpness.sharpen):
        assert torch.equal(work(pictures, 1.3), torch.stack([work(picture, 1.3) for picture in pictures]))


@pytest.mark.parametrize("variance", [0.0, 0.25, 0.5, 1.0, 2.0, 4.0])
def test_a_known_difference_is_found_again_both_ways(variance: float) -> None:
    """Pictures that differ by noise of resampling; tolerance 0.06 square pixels and 9 %."""
    face = portrait()
    other = torch.from_numpy(
        cv2.warpAffine(
            face.movedim(0, -1).numpy(),
            numpy.float32([[1, 0.02, -2.4], [-0.02, 1, 2.4]]),
            (240, 240),
            flags=cv2.INTER_LANCZOS4,
            borderMode=cv2.BORDER_REPLICATE,
        )
    ).movedim(-1, 0)
    soft, same = curve(sharpness.blur(other, variance)), curve(face)
    there, back = (sharpness.difference(*pair, NONE, NONE, 130.0)[0] for pair in ((same, soft), (soft, same)))
    assert [there, back] == pytest.approx([variance, -variance], abs=0.06 + 0.09 * variance)


def test_a_difference_does_not_depend_on_exposure() -> None:
    face = portrait()
    plate = 0.2 * sharpness.blur(face, 2.0)
    assert sharpness.difference(curve(face), curve(plate), NONE, NONE, 130.0)[0] == pytest.approx(2.0, abs=0.1)


def test_nothing_to_compare_is_no_difference() -> None:
    flat = curve(torch.full((3, 240, 240), 0.5))
    assert sharpness.difference(flat, flat, NONE, NONE, 130.0) == (0.0, 0.0)


def test_sharpening_undoes_a_blur_as_far_as_it_goes_and_does_not_ring() -> None:
    face = portrait()
    soft = sharpness.blur(face, 1.0)
    sharp = sharpness.sharpen(soft, 1.0)
    assert float((sharp - face).abs().mean()) < 0.7 * float((soft - face).abs().mean())
    left = sharpness.difference(curve(sharp), curve(face), NONE, NONE, 130.0)[0]
    assert abs(left) < 0.35, "of one square pixel"
    edge = torch.full((3, 60, 60), 0.1)
    edge[:, :, 30:] = 20.0
    restored = sharpness.sharpen(sharpness.blur(edge, 2.0), 2.0)
    assert float(restored.min()) >= 0.1 - 1e-5 and float(restored.max()) <= 20.0 + 1e-4


def test_grain_is_not_sharpened_and_edges_are() -> None:
    """faceswap's threshold works the wrong way round: it sharpens what lies below it."""
    grain = 0.01 * torch.randn(3, 80, 80, generator=torch.Generator().manual_seed(0))
    flat = 0.4 + grain
    assert float(sharpness.sharpen(flat, 1.0).std()) > 1.3 * float(flat.std())
    assert float(sharpness.sharpen(flat, 1.0, 0.01).std()) < 1.15 * float(flat.std())
    step = torch.full((3, 80, 80), 0.2)
    step[:, :, 40:] = 0.8
    soft = sharpness.blur(step, 2.0)
    plain, cored = (sharpness.sharpen(soft, 2.0, floor) for floor in (0.0, 0.01))
    slope = [float(p[0, 40, 40] - p[0, 40, 39]) for p in (soft, plain, cored)]
    assert slope[2] > 1.2 * slope[0] and slope[2] > 0.95 * slope[1]


def test_a_matte_is_measured_inside_its_edge() -> None:
    matte = disc()
    inner = sharpness.under(matte, 8)
    assert float(inner.sum()) < float(matte.sum()) and bool((inner <= matte).all())
    y, x = torch.meshgrid(*(torch.arange(240) - 120.0,) * 2, indexing="ij")
    assert float(torch.hypot(x, y)[inner[0] > 0].max()) < 0.4 * 240 - 7


@pytest.mark.parametrize(("variance", "color"), [(0.0, 1.4), (0.9, 2.3), (3.0, 3.5)])
def test_color_is_blurred_by_its_own_variance(variance: float, color: float) -> None:
    picture = portrait(150) * 3 - 0.1
    result = sharpness.blur_apart(picture, variance, color)
    bright = sharpness.luminance(picture)
    wanted = sharpness.blur(bright, variance) + sharpness.blur(picture - bright, color)
    assert torch.allclose(result, wanted, atol=2e-6)
    odd = picture.clone()
    odd[1, 40, 40], odd[:, 90, 20] = torch.inf, torch.nan
    beside = sharpness.blur_apart(odd, variance, color)
    assert beside[1, 40, 40].isposinf() and beside[:, 90, 20].isnan().all()
    assert int(torch.isfinite(beside).sum()) == beside.numel() - 4
    far = torch.ones(150, 150, dtype=torch.bool)
    far[30:51, 30:51] = far[80:101, 10:31] = False
    assert torch.allclose(beside[:, far], result[:, far], atol=1e-6)

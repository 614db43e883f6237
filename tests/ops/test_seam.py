"""Faces that meet the plate at their rim, and what other programs' seamless clones do wrong."""

import math

import cv2
import numpy
import pytest
import torch

from mien.ops.blend import over as lay
from mien.ops.lattice import lattice, spread
from mien.ops.light import measure, shade
from mien.ops.seam import gradient, multiband

SIZE = (180, 160)
WHITE = 1.5
STEP = 4.0
OVER = lattice(SIZE, STEP, torch.zeros(()))


def grid() -> tuple[torch.Tensor, torch.Tensor]:
    y, x = torch.meshgrid(torch.arange(SIZE[0]) + 0.5, torch.arange(SIZE[1]) + 0.5, indexing="ij")
    return y, x


def disc(radius: float = 60.0, soft: float = 10.0, x: float = 80.0) -> torch.Tensor:
    there, across = grid()
    return ((radius - torch.hypot(across - x, there - 90)) / soft + 0.5).clamp(0, 1)[None]


def skin(seed: int = 0, level: float = 0.3, grain: float = 0.02) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return level * (1 + grain * torch.randn(3, *SIZE, generator=generator))


def joined(front: torch.Tensor, back: torch.Tensor, matte: torch.Tensor, method: str = "gradient") -> torch.Tensor:
    sums = measure(front, back, matte, WHITE, OVER)
    field = gradient(sums, WHITE) if method == "gradient" else multiband(sums, WHITE, 8.0)
    return shade(front, field, OVER)


METHODS = ("gradient", "multiband")


@pytest.mark.parametrize("method", METHODS)
def test_a_picture_on_itself_stays_bit_for_bit(method: str) -> None:
    picture = skin() * 3 - 0.2
    assert torch.equal(joined(picture, picture, disc(), method), picture)


@pytest.mark.parametrize("method", METHODS)
def test_the_rim_becomes_the_plates(method: str) -> None:
    front, back = skin(0, 0.5), skin(1, 0.25) * torch.tensor([1.2, 1.0, 0.7])[:, None, None]
    result = joined(front, back, disc(), method)
    rim = (disc()[0] > 0.02) & (disc()[0] < 0.6)
    before, after = (((p / back).log()[:, rim]).mean(1).abs().max() for p in (front, result))
    assert before > 0.6 and after < 0.06


def test_gradient_brings_all_of_the_face_and_multiband_its_rim() -> None:
    front, back = skin(0, 0.5), skin(1, 0.25)
    middle = (slice(None), slice(80, 100), slice(70, 90))
    assert (joined(front, back, disc())[middle].mean() - 0.25).abs() < 0.02
    assert (joined(front, back, disc(), "multiband")[middle].mean() - 0.5).abs() < 0.02


def test_the_gradients_of_the_face_stay() -> None:
    front, back = skin(0, 0.4, 0.2).clamp(min=0.05), skin(1, 0.25)
    sums = measure(front, back, disc(), WHITE, OVER)
    light = spread(gradient(sums, WHITE), OVER)
    around = light[:, :-2, 1:-1] + light[:, 2:, 1:-1] + light[:, 1:-1, :-2] + light[:, 1:-1, 2:]
    laplacian = around - 4 * light[:, 1:-1, 1:-1]
    deep = disc(36)[0, 1:-1, 1:-1] >= 1
    assert laplacian[:, deep].abs().max() < 1e-4


@pytest.mark.parametrize("light", [3.0, 40.0, math.inf])
@pytest.mark.parametrize("method", METHODS)
def test_a_bright_background_that_the_matte_touches_does_not_bleed_in(light: float, method: str) -> None:
    front, back = skin(0), skin(1)
    bright = back.clone()
    # The matte reaches six pixels into a window on the right.
    bright[:, :, 134:] = light
    matte = disc()
    inside = disc(44)[0] >= 1
    clean, beside = (joined(front, plate, matte, method)[:, inside] for plate in (back, bright))
    bled = (beside / clean).log().abs()
    assert bled.max() < 0.1 and bled.mean() < 0.02


def test_a_clone_in_eight_bits_bleeds_where_this_does_not() -> None:
    front, back = skin(0), skin(1)
    back[:, :, 134:] = 1.0
    matte = disc()
    eight = [(p.clamp(0, 1) * 255).byte().movedim(0, -1).contiguous().numpy() for p in (front, back)]
    mask = (matte[0] > 0).byte().numpy() * 255
    rows, columns = numpy.nonzero(mask)
    center = (int(columns.min() + columns.max() + 1) // 2, int(rows.min() + rows.max() + 1) // 2)
    cloned = cv2.seamlessClone(eight[0], eight[1], mask, center, cv2.NORMAL_CLONE)
    theirs = torch.from_numpy(cloned).movedim(-1, 0) / 255
    inside = disc(44)[0] >= 1
    ours = joined(front, back, matte)
    wrong = [(picture / front).log()[:, inside].abs().mean() for picture in (ours, theirs)]
    assert wrong[0] < 0.2 * wrong[1]


@pytest.mark.parametrize("method", METHODS)
def test_grain_does_not_flicker(method: str) -> None:
    front, matte = skin(0, grain=0.0), disc()
    comps: dict[str, list[torch.Tensor]] = {"over": [], method: []}
    for frame in range(12):
        back = skin(100 + frame, 0.25, 0.1)
        comps["over"].append(lay(front, back, matte))
        comps[method].append(lay(joined(front, back, matte, method), back, matte))
    inside = matte[0] > 0
    flicker = {name: torch.stack(frames).std(0)[:, inside].square().mean().sqrt() for name, frames in comps.items()}
    assert flicker[method] < 1.05 * flicker["over"]


@pytest.mark.parametrize("method", METHODS)
def test_a_face_cut_off_by_the_frame_is_joined_like_any_other(method: str) -> None:
    front, back = skin(0, 0.5), skin(1, 0.25)
    for x in (0.0, 160.0):
        result = joined(front, back, disc(x=x), method)
        rim = (disc(x=x)[0] > 0.02) & (disc(x=x)[0] < 0.6)
        assert torch.isfinite(result).all()
        assert ((result / back).log()[:, rim]).mean().abs() < 0.06


@pytest.mark.parametrize("method", METHODS)
def test_without_a_rim_the_face_is_left_alone_or_matched_as_a_whole(method: str) -> None:
    front, back = skin(0), skin(1)
    for matte in (torch.zeros(1, *SIZE), torch.ones(1, *SIZE), torch.full((1, *SIZE), torch.nan)):
        result = joined(front, back, matte, method)
        assert torch.isfinite(result).all() and (result / front).log().abs().max() < 0.1


@pytest.mark.parametrize("method", METHODS)
def test_highlights_and_negatives_of_the_face_survive(method: str) -> None:
    front, back = skin(0, 0.5), skin(1, 0.25)
    front[:, 90, 80], front[:, 91, 80], front[:, 92, 80] = 16.0, -0.05, torch.inf
    result = joined(front, back, disc(), method)
    assert (result[:, 90, 80] > 7).all() and (result[:, 91, 80] < 0).all() and result[:, 92, 80].isposinf().all()


def test_a_tenth_of_a_pixel_moves_the_result_a_little() -> None:
    front, back = skin(0, 0.5), skin(1, 0.25)
    one, other = (joined(front, back, disc(60 + shift)) for shift in (0.0, 0.1))
    assert (one / other).log().abs().max() < 0.02

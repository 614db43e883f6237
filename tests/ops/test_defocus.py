"""Defocus: light evenly over a disc or a polygon, highlights included, and as much of it as was measured."""

import math

import cv2
import numpy
import pytest
import torch
from made_pictures import oval, portrait

from mien.ops import detail as details
from mien.ops.defocus import defocus, iris, radius_like
from mien.ops.sharpness import blur

RADII = (1.0, 2.3, 6.5, 17.0)


def kernel(radius: float, blades: int = 0) -> torch.Tensor:
    """What becomes of a point of light, (81, 81)."""
    point = torch.zeros(1, 81, 81)
    point[0, 40, 40] = 1.0
    return defocus(point, radius, blades)[0]


def grid() -> tuple[torch.Tensor, torch.Tensor]:
    y, x = torch.meshgrid(*(torch.arange(81.0) - 40,) * 2, indexing="ij")
    return y, x


@pytest.mark.parametrize("blades", [0, 3, 5, 6, 8])
@pytest.mark.parametrize("radius", RADII)
def test_light_is_spread_evenly_and_none_is_lost(radius: float, blades: int) -> None:
    spread = kernel(radius, blades)
    y, x = grid()
    assert float(spread.sum()) == pytest.approx(1, rel=1e-5)
    wide = float((spread * (x * x + y * y)).sum()) / 2
    assert wide == pytest.approx(radius**2 / 4 + 1 / 12, rel=0.02, abs=0.08)
    corner = radius * (math.sqrt(3 / (2 + math.cos(2 * math.pi / blades))) if blades else 1)
    flat = corner * (math.cos(math.pi / blades) if blades else 1)
    inside, outside = spread[torch.hypot(x, y) < flat - 0.75], spread[torch.hypot(x, y) > corner + 0.75]
    assert not len(inside) or float(inside.max() - inside.min()) < 1e-4 * float(inside.max())
    assert float(outside.abs().max()) == 0


@pytest.mark.parametrize("blades", [3, 5, 6, 7])
def test_highlights_take_the_shape_of_the_iris(blades: int) -> None:
    spread = kernel(20.0, blades)
    y, x = grid()
    lit = spread > 0.5 * spread.max()
    angle = torch.atan2(y[lit], x[lit]) * blades + math.pi / 2 * blades
    far = torch.hypot(y, x)[lit]
    edge = far > (1 + math.cos(math.pi / blades)) / 2 * far.max()
    # What lies farthest out lies at the corners, one of which points up.
    assert float(torch.cos(angle[edge]).mean()) > 0.6
    assert float(lit.sum()) < 0.995 * math.pi * float(far.max()) ** 2


@pytest.mark.parametrize("radius", RADII)
def test_it_is_a_convolution_with_the_iris(radius: float) -> None:
    picture = portrait()
    weights = kernel(radius, 5).numpy()
    known = cv2.filter2D(
        picture.movedim(0, -1).numpy().astype(numpy.float64), -1, weights[::-1, ::-1], borderType=cv2.BORDER_REPLICATE
    )
    assert numpy.abs(defocus(picture, radius, 5).movedim(0, -1).numpy() - known).max() < 2e-5


def test_at_rest_it_is_the_picture_and_odd_light_stays_where_it_is() -> None:
    picture = portrait()[:, :64, :64]
    assert defocus(picture, 0.0) is picture and defocus(picture, 0.0, 6) is picture
    odd = picture.clone()
    odd[0, 10, 10], odd[1, 20, 20], odd[2, 30, 30] = torch.inf, torch.nan, -50.0
    result = defocus(odd, 3.0, 6)
    assert bool(torch.isinf(result[0, 10, 10])) and bool(torch.isnan(result[1, 20, 20]))
    assert int(torch.isfinite(result).sum()) == result.numel() - 2
    assert float(result[2].min()) < 0
    # A highlight far above white spreads and leaves nothing behind where it does not reach.
    bright = torch.full((3, 60, 60), 0.2)
    bright[:, 30, 30] = 60000.0
    spread = defocus(bright, 5.0)
    assert float(spread[:, :, 37:].sub(0.2).abs().max()) < 1e-6 and float(spread[:, 30, 33].min()) > 700


def test_a_batch_is_a_loop_and_a_part_is_the_whole() -> None:
    pictures = torch.stack([portrait(), portrait().flip(-1)])
    assert torch.equal(defocus(pictures, 3.3, 7), torch.stack([defocus(picture, 3.3, 7) for picture in pictures]))
    whole, part = defocus(pictures[0], 3.3, 7), defocus(pictures[0, :, 40:180, 33:160], 3.3, 7)
    assert torch.equal(whole[:, 50:170, 43:150], part[:, 10:130, 10:117])


def test_the_smallest_irises_are_points() -> None:
    assert [row[0] for row in iris(0.2, 0)] == [0]
    assert torch.allclose(defocus(portrait(), 0.2), portrait(), atol=1e-6)
    assert radius_like(0.0) == 0 and radius_like(-4.0) == 0


@pytest.mark.parametrize("blades", [0, 6])
@pytest.mark.parametrize("radius", [1.5, 2.0, 3.0, 4.0, 6.0])
def test_a_known_defocus_is_measured_and_matched(radius: float, blades: int) -> None:
    """What a plate's lens spread is found within 12 %, and a face given that much of it is closer than a smooth one."""
    face, plate = portrait(), defocus(portrait(), radius, blades)
    found = details.measure(face, plate, plate, oval(), (0.0, 0.0), 125.0)
    assert radius_like(found.blur) == pytest.approx(radius, rel=0.12)
    disc, smooth = (details.match_blur(face, found.blur, found.blur, blades=kind) for kind in (blades, None))
    inside = oval().bool().expand_as(face)
    off = [float((one - plate)[inside].square().mean().sqrt()) for one in (disc, smooth, face)]
    assert off[0] < 0.75 * off[1] and off[0] < 0.25 * off[2]


def test_what_is_finer_than_a_disc_shows_is_blurred_smoothly_and_sharpening_is_no_lens() -> None:
    face = portrait()
    assert details.match_blur(face, 0.0, 0.0, blades=6) is face
    assert torch.equal(details.match_blur(face, 0.2, 0.2, blades=0), blur(face, 0.2))
    assert torch.equal(details.match_blur(face, -1.0, 0.0, blades=0), details.match_blur(face, -1.0, 0.0))
    assert torch.equal(details.match_blur(face, 4.0, 4.0, blades=0), defocus(face, radius_like(4.0)))

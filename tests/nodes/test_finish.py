"""The finished layer: highlights carried, opacity in the matte, identity settings exact."""

import pytest
import torch

from mien.nodes.finish import composite
from mien.ops.blend import carry_highlights, over
from mien.types import Face, Layer, Plate
from shots import points_at

FAR = Face(torch.full((468, 3), -1000.0), torch.ones(468), 1.0, 100.0)
"""A face whose eyes and mouth lie outside the layer."""


def some(height: int = 12, width: int = 14, corner: tuple[int, int] = (3, 5)) -> tuple[Layer, Plate]:
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(3, height, width, generator=generator)
    matte = torch.rand(1, height, width, generator=generator)
    plate = torch.rand(3, height, width, generator=generator)
    return Layer(image, matte, corner, 100.0), Plate(plate, corner)


def test_without_highlights_the_layer_is_untouched() -> None:
    layer, plate = some()
    result = composite(layer, plate, FAR, 1.0, highlights=0.0)
    assert torch.equal(result.image, layer.image) and result.matte is layer.matte


def test_a_face_on_itself_is_exact() -> None:
    _, plate = some()
    light = plate.image * 8 - 0.5
    assert torch.allclose(carry_highlights(light, light, 1.0), light, atol=1e-6)


def test_a_glint_of_the_plate_survives_and_the_faces_own_goes() -> None:
    layer, plate = some()
    layer.image[:] = 0.4
    layer.image[:, 2, 2] = 30.0
    plate.image[:] = 0.4
    plate.image[:, 6, 6] = 8.0
    plate.image[:, 7, 7] = -0.05
    lit = composite(layer, plate, FAR, 1.0).image
    assert lit[:, 6, 6].min() > 4
    assert torch.allclose(lit[:, 7, 7], torch.tensor(0.35))
    assert lit[:, 2, 2].max() <= 1
    assert torch.equal(lit[:, 4, 4], layer.image[:, 4, 4])


def test_infinite_light_is_not_carried() -> None:
    layer, plate = some()
    plate.image[:, 6, 6] = torch.inf
    plate.image[:, 7, 7] = torch.nan
    assert composite(layer, plate, FAR, 1.0).image.isfinite().all()


@pytest.mark.parametrize("opacity", [0.0, 0.3, 1.0])
def test_opacity_scales_the_matte_once(opacity: float) -> None:
    layer, plate = some()
    result = composite(layer, plate, FAR, 1.0, opacity=opacity, highlights=0.0)
    laid = over(result.image, plate.image, result.matte)
    assert torch.allclose(laid, plate.image + layer.matte * opacity * (layer.image - plate.image), atol=1e-6)


def test_regions_that_differ_meet_where_they_overlap() -> None:
    layer, _ = some()
    plate = Plate(torch.full((3, 6, 6), 9.0), (5, 8))
    lit = composite(layer, plate, FAR, 1.0).image
    assert (lit[:, 3:9, 2:8] >= 8).all()
    assert torch.equal(lit[:, :3], layer.image[:, :3])


def test_glints_of_the_plates_teeth_and_eyes_stay_with_the_plates_face() -> None:
    layer, plate = some(120, 100, (0, 0))
    layer.image[:], plate.image[:] = 0.4, 0.4
    points = points_at(50, 60, 90)
    face = Face(points, torch.ones(468), 1.0, 90.0)
    tooth, eye, cheek = (points[i, :2].long() for i in (13, 159, 50))
    for x, y in (tooth, eye, cheek):
        plate.image[:, y, x] = 8.0
    lit = composite(layer, plate, face, 1.0).image
    assert lit[:, tooth[1], tooth[0]].max() < 0.5
    assert lit[:, eye[1], eye[0]].max() < 3
    assert lit[:, cheek[1], cheek[0]].min() > 4

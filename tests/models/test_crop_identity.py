"""What a network draws into a square goes back to where the square was."""

import pytest
import torch
from torch.nn.functional import interpolate, pad

from mien.models.aligned import aligned_matrix
from mien.models.crop_identity import LEAST, CropIdentity, LogEncoding
from mien.ops.warp import positions, sample, transform
from mien.types import Face, Plate
from shots import points_at

SIZE = 64


def soft_disc(size: int) -> torch.Tensor:
    """(1, 1, size, size): 1 in the middle, 0 at the rim."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, size)] * 2, indexing="ij")
    return ((0.8 - (x.square() + y.square()).sqrt()) * 4).clamp(0, 1)[None, None]


def identity(picture: torch.Tensor, matte: torch.Tensor) -> CropIdentity:
    return CropIdentity(lambda crop: (picture, matte), SIZE, 1.5, LogEncoding(), "test")


def face_at(x: float, y: float, width: float) -> Face:
    points = points_at(x, y, width)
    return Face(points, torch.ones(468), 1.0, width)


@pytest.mark.parametrize("finer", [1, 2])
@pytest.mark.parametrize("width", [30.0, 90.0])
def test_picture_and_matte_lie_where_the_square_was(finer: int, width: float) -> None:
    generator = torch.Generator().manual_seed(3)
    plate = Plate(torch.rand(3, 150, 170, generator=generator), (40, -10))
    face = face_at(120.0, 60.0, width)
    coarse = 0.3 + 0.2 * torch.rand(1, 3, 8, 8, generator=generator)
    picture = interpolate(coarse, size=(SIZE * finer, SIZE * finer), mode="bicubic")
    matte = soft_disc(SIZE * finer)
    layer = identity(picture, matte)(plate, face)
    matrix = aligned_matrix(face.points - torch.tensor([40.0, -10.0, 0.0]), SIZE, 1.5, 1.0)
    matrix = torch.diag(torch.tensor([finer, finer, 1.0], dtype=torch.float64)) @ matrix
    there = transform(positions((150, 170)).double(), matrix)
    held = (there > 1).all(-1) & (there < SIZE * finer - 1).all(-1)
    shown = torch.where(matte[0] > LEAST, matte[0], 0.0)
    expected = sample(shown, there.float())[:, held].clamp(0, 1)
    torch.testing.assert_close(layer.matte[:, held], expected, atol=6e-3, rtol=0)
    solid = held & (sample(matte[0], there.float())[0] > 0.1)
    light = sample(LogEncoding().decode(picture[0]), there.float())
    torch.testing.assert_close(layer.image[:, solid], light[:, solid], atol=6e-3, rtol=6e-3)
    assert solid.sum() > 100


def test_outside_the_matte_the_plate_stays_bit_for_bit() -> None:
    plate = Plate(torch.rand(3, 150, 170, generator=torch.Generator().manual_seed(4)) * 20 - 1, (0, 0))
    plate.image[0, 3, 3] = torch.inf
    layer = identity(torch.rand(1, 3, SIZE, SIZE), soft_disc(SIZE))(plate, face_at(80.0, 70.0, 60.0))
    outside = (layer.matte == 0)[0]
    assert outside.any() and not outside.all()
    assert torch.equal(layer.image[:, outside], plate.image[:, outside])


def test_a_matte_that_reaches_the_rim_ends_softly_there() -> None:
    plate = Plate(torch.zeros(3, 150, 170), (0, 0))
    layer = identity(torch.ones(1, 3, SIZE, SIZE), torch.ones(1, 1, SIZE, SIZE))(plate, face_at(80.0, 70.0, 50.0))
    matte = layer.matte[0]
    assert matte.max() == 1
    edge = (matte > 0) & (matte < 1)
    assert edge.any()
    assert pad(matte, (1, 1, 1, 1)).diff(dim=-1).abs().max() <= 1


def test_an_empty_matte_is_an_empty_layer() -> None:
    plate = Plate(torch.rand(3, 100, 100), (0, 0))
    layer = identity(torch.rand(1, 3, SIZE, SIZE), torch.zeros(1, 1, SIZE, SIZE))(plate, face_at(50.0, 50.0, 40.0))
    assert not layer.matte.any() and torch.equal(layer.image, plate.image)


def test_a_face_at_the_border_of_the_plate_is_cut_there() -> None:
    plate = Plate(torch.rand(3, 60, 60), (0, 0))
    layer = identity(torch.ones(1, 3, SIZE, SIZE), soft_disc(SIZE))(plate, face_at(2.0, 30.0, 40.0))
    assert layer.matte.any() and layer.matte.shape == (1, 60, 60)

"""Slow differences of color, followed where they are on the head and nowhere else."""

import math
from itertools import pairwise

import pytest
import torch

from mien.nodes.match import grade_regions, match_regions, measure_regions
from mien.ops import regions
from mien.types import Face, Layer, Plate, Regions, RegionSample, Series
from shots import points_at

SIZE = (220, 180)
CENTER = (90.0, 110.0)
WIDTH = 120.0
RED = torch.tensor([0.25, -0.1, -0.1])[:, None, None]


def head(roll: float = 0.0) -> Face:
    points = points_at(*CENTER, WIDTH)
    turn = torch.tensor([[math.cos(roll), -math.sin(roll)], [math.sin(roll), math.cos(roll)]])
    middle = torch.tensor(CENTER)
    return Face(torch.cat([(points[:, :2] - middle) @ turn.T + middle, points[:, 2:]], 1), torch.ones(468), 1.0, WIDTH)


def skin_tone(seed: int = 0, grain: float = 0.0) -> torch.Tensor:
    flat = torch.tensor([0.5, 0.35, 0.25])[:, None, None].expand(3, *SIZE)
    return flat * (1 + grain * torch.randn(3, *SIZE, generator=torch.Generator().manual_seed(seed)))


def slope(roll: float = 0.0) -> torch.Tensor:
    """(1, H, W) -1 on one side of the face to 1 on the other, in its own axes."""
    y, x = torch.meshgrid(torch.arange(SIZE[0]) + 0.5, torch.arange(SIZE[1]) + 0.5, indexing="ij")
    across = (x - CENTER[0]) * math.cos(roll) + (y - CENTER[1]) * math.sin(roll)
    return (across / (WIDTH / 2)).clamp(-1, 1)[None]


def layer(image: torch.Tensor) -> Layer:
    return Layer(image, torch.ones(1, *SIZE), (3, 5), WIDTH)


def placed(face: Face) -> Face:
    return Face(face.points + torch.tensor([3.0, 5.0, 0.0]), face.weight, 1.0, WIDTH)


def solved(front: torch.Tensor, plate: torch.Tensor, face: Face, **settings) -> Regions:
    sample = measure_regions(layer(front), Plate(plate, (3, 5)), placed(face))
    found = match_regions(Series(1, (sample,)), **settings).at(1)
    assert found is not None
    return found


def inner(roll: float = 0.0) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(SIZE[0]) + 0.5, torch.arange(SIZE[1]) + 0.5, indexing="ij")
    return torch.hypot(x - CENTER[0], y - CENTER[1]) < 0.36 * WIDTH


@pytest.mark.parametrize("roll", [0.0, 0.6, -1.2])
def test_a_slow_difference_is_followed_on_a_rolled_head(roll: float) -> None:
    plate = skin_tone() * torch.exp(RED * slope(roll))
    found = solved(skin_tone(), plate, head(roll))
    moved = grade_regions(layer(skin_tone()), found, placed(head(roll)), amount=1.0).image
    before, after = ((one / plate).log()[:, inner()].abs().mean() for one in (skin_tone(), moved))
    assert float(after) < 0.3 * float(before)


def test_what_holds_for_the_whole_face_is_left_to_the_grade() -> None:
    found = solved(skin_tone(), skin_tone() * torch.tensor([2.0, 0.5, 1.3])[:, None, None], head())
    assert float(torch.tensor(found.light).abs().max()) < 1e-4


def test_a_hand_does_not_bleed_into_the_skin_around_it() -> None:
    plate = skin_tone().clone()
    plate[:, 120:150, 70:115] = torch.tensor([0.05, 0.9, 0.05])[:, None, None]
    found = solved(skin_tone(), plate, head())
    moved = grade_regions(layer(skin_tone()), found, placed(head()), amount=1.0).image
    away = (moved / skin_tone()).log().abs()
    assert float(away[:, :100].max()) < 0.1 and float(away[:, :100].mean()) < 0.03


def test_grain_alone_changes_nothing_and_does_not_flicker() -> None:
    samples = tuple(
        measure_regions(layer(skin_tone()), Plate(skin_tone(seed, 0.05), (3, 5)), placed(head())) for seed in range(12)
    )
    fields = [torch.tensor(r.light) for r in match_regions(Series(1, samples)).values if r is not None]
    assert max(float(one.abs().max()) for one in fields) < 0.01
    assert max(float((a - b).abs().max()) for a, b in pairwise(fields)) < 1e-3


def test_frames_without_a_face_take_their_neighbors() -> None:
    sample = measure_regions(layer(skin_tone()), Plate(skin_tone() * torch.exp(RED * slope()), (3, 5)), placed(head()))
    found = match_regions(Series(1, (None, sample, None)))
    assert found.values[0] == found.values[1] == found.values[2]
    nothing: Series[RegionSample] = Series(1, (None, None))
    assert all(r is not None and not torch.tensor(r.light).any() for r in match_regions(nothing).values)


def test_light_is_multiplied_and_nothing_else() -> None:
    light = torch.full((3, *regions.GRID), 0.5)
    field = Regions(tuple(tuple(tuple(row) for row in plane) for plane in light.tolist()))
    image = skin_tone().clone()
    image[:, 0, 0], image[:, 0, 1], image[:, 0, 2], image[0, 0, 3] = 40.0, -0.2, 0.0, math.inf
    start = layer(image)
    assert grade_regions(start, field, placed(head()), amount=0.0) is start
    moved = grade_regions(start, field, placed(head()), amount=1.0).image
    assert torch.allclose(moved, image * math.exp(0.5), rtol=1e-5)
    half = grade_regions(start, field, placed(head()), amount=0.5).image
    assert torch.allclose(half, image * math.exp(0.25), rtol=1e-5)


def test_pixels_that_are_no_numbers_do_not_count() -> None:
    plate = skin_tone() * torch.exp(RED * slope())
    clean = torch.tensor(solved(skin_tone(), plate, head()).light)
    plate[:, 100:102, 80:82], plate[1, 90, 90] = math.nan, math.inf
    assert torch.allclose(torch.tensor(solved(skin_tone(), plate, head()).light), clean, atol=0.01)


@pytest.mark.parametrize("roll", [0.0, 0.6, -1.2])
def test_the_grid_turns_with_the_head(roll: float) -> None:
    face = head(roll)
    middle = face.points[:, :2].mean(0)
    where = regions.places(face, (0, 0), SIZE)
    for across, down in ((0.0, 0.4), (0.3, 0.0), (-0.2, -0.3)):
        turn = torch.tensor([[math.cos(roll), -math.sin(roll)], [math.sin(roll), math.cos(roll)]])
        x, y = (middle + turn @ torch.tensor([across, down]) * WIDTH).tolist()
        found = where[int(y), int(x)]
        assert abs(float(found[0]) * regions.HALF[1] - across) < 0.02
        assert abs(float(found[1]) * regions.HALF[0] - down) < 0.02

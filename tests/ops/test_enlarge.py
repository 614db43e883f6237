"""Enlarging piece by piece: what Keys' cubic gives, wherever pieces begin."""

import math

import pytest
import torch

from mien.ops import enlarge
from mien.ops.warp import warp


def waves(side: int) -> torch.Tensor:
    """A sharp picture: noise, softened by a pixel."""
    noise = torch.rand(4, side, side, generator=torch.Generator().manual_seed(3))
    return torch.nn.functional.avg_pool2d(noise, 2, 1)


def back(scale: float, angle: float, x: float = 6.3, y: float = -2.6) -> torch.Tensor:
    cosine, sine = math.cos(angle) / scale, math.sin(angle) / scale
    return torch.tensor([[cosine, -sine, x], [sine, cosine, y], [0, 0, 1]], dtype=torch.float64)


def whole(image: torch.Tensor, matrix: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return enlarge.piece(enlarge.prepared(image), matrix, (0, 0), size)


@pytest.mark.parametrize(("scale", "angle"), [(3.3, 0.07), (1.3, 0.0), (2.0, -0.9), (7.0, 2.8)])
def test_it_is_keys_cubic_nearly(scale: float, angle: float) -> None:
    image, matrix = waves(65), back(scale, angle, 30.0, 20.0)
    assert enlarge.enlarges(matrix)
    found, exact = whole(image, matrix, (90, 110)), warp(image, torch.linalg.inv(matrix), (90, 110))
    assert (found - exact).abs().max() < 0.02
    assert (found - exact).square().mean().sqrt() < 0.0025
    assert exact.std() > 0.1


def test_pieces_are_parts_of_the_whole() -> None:
    image, matrix = waves(50), back(3.1, 0.3)
    table, all_of_it = enlarge.prepared(image), whole(image, matrix, (120, 150))
    for corner, size in (((0, 0), (17, 33)), ((101, 60), (60, 49)), ((149, 119), (1, 1))):
        part = enlarge.piece(table, matrix, corner, size)
        there = all_of_it[:, corner[1] : corner[1] + size[0], corner[0] : corner[0] + size[1]]
        assert torch.allclose(part, there, atol=1e-5)


def test_edges_repeat_however_far_outside() -> None:
    image = waves(20)
    found = enlarge.piece(enlarge.prepared(image), back(2.0, 0.0, 0.0, 0.0), (-3000, -50), (5, 4))
    assert torch.allclose(found, image[:, :1, :1].expand_as(found), atol=1e-5)
    found = enlarge.piece(enlarge.prepared(image), back(2.0, 0.0, 0.0, 0.0), (3000, 50), (5, 4))
    assert torch.allclose(found, image[:, -1:, -1:].expand_as(found), atol=1e-5)


def test_levels_and_ramps_stay_and_nothing_is_clipped() -> None:
    ramp = torch.linspace(-40.0, 3000.0, 40).expand(1, 40, 40)
    matrix = back(2.7, 0.0, 10.0, 10.0)
    found, exact = whole(ramp, matrix, (50, 50)), warp(ramp, torch.linalg.inv(matrix), (50, 50))
    assert torch.allclose(found, exact, rtol=1e-5, atol=1e-3)
    assert torch.allclose(whole(torch.full((1, 9, 9), 12345.0), matrix, (9, 9)), torch.tensor(12345.0), rtol=1e-5)


def test_only_what_enlarges_in_every_direction_does() -> None:
    assert not enlarge.enlarges(back(1.1, 0.4))
    assert not enlarge.enlarges(back(3.0, 0.4) @ torch.diag(torch.tensor([4.0, 1.0, 1.0]).double()))
    leaning = back(3.0, 0.0)
    leaning[2, 0] = 1e-3
    assert not enlarge.enlarges(leaning)

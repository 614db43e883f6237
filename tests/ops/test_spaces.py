"""Spaces in which colors are compared: defined everywhere, undone exactly, and what they were published as."""

import math

import numpy
import pytest
import torch

from mien.ops import spaces
from mien.types import SPACES


@pytest.mark.parametrize("space", SPACES)
def test_highlights_and_negatives_come_back(space: str) -> None:
    values = torch.tensor([-50.0, -0.2, -1e-3, 0.0, 1e-5, 0.18, 1.0, 16.0, 60000.0])
    colors = torch.cartesian_prod(values, values, values).T
    again = spaces.decode(spaces.encode(colors, space), space)
    error = (again - colors).abs() / (colors.abs().amax(0) + 1e-3)
    assert float(error.max()) < 2e-5
    assert torch.equal(spaces.decode(torch.zeros(3, 1), space), torch.zeros(3, 1))


def test_a_stop_is_a_step_on_every_channel() -> None:
    colors = torch.tensor([[0.3], [0.2], [0.1]])
    step = spaces.encode(colors * 2, "log") - spaces.encode(colors, "log")
    assert torch.allclose(step, torch.full((3, 1), math.log(2)), atol=2e-4)
    step = spaces.encode(colors * 2, "perceptual") - spaces.encode(colors, "perceptual")
    assert torch.allclose(step, torch.tensor([[math.sqrt(3) * math.log(2)], [0.0], [0.0]]), atol=2e-4)


def test_the_perceptual_space_is_ruderman_s() -> None:
    colors = 0.2 + torch.rand(3, 500, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    cones = numpy.log(numpy.array(spaces.CONES) @ colors.numpy())
    long, middle, short = cones
    expected = [
        (long + middle + short) / math.sqrt(3),
        (long + middle - 2 * short) / math.sqrt(6),
        (long - middle) / math.sqrt(2),
    ]
    found = spaces.encode(colors, "perceptual")
    shift = math.sqrt(3) * math.log(2 / spaces.TOE)
    assert numpy.allclose(found.numpy(), numpy.array(expected) + numpy.array([[shift], [0], [0]]), atol=1e-4)


def test_gray_has_no_hue() -> None:
    gray = torch.tensor([0.0, 0.01, 0.18, 1.0, 20.0]).expand(3, -1)
    assert spaces.encode(gray, "perceptual")[1:].abs().max() < 1e-5


@pytest.mark.parametrize("space", SPACES)
def test_opponent_axes_are_turned_back(space: str) -> None:
    colors = torch.randn(3, 50, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    turned = spaces.opponent(colors, space)
    assert torch.allclose(spaces.from_opponent(turned, space), colors)
    assert torch.allclose(turned.norm(dim=0), colors.norm(dim=0))


@pytest.mark.parametrize("space", SPACES)
def test_encoding_can_be_differentiated(space: str) -> None:
    colors = torch.tensor([[0.3, -0.01], [0.2, 4.0], [0.1, 0.02]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: spaces.encode(x, space), (colors,))
    encoded = spaces.encode(colors.detach(), space).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: spaces.decode(x, space), (encoded,))

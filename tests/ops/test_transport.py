"""Sliced transport: brings distributions together, is seeded, and carries what lies between."""

import numpy
import torch

from mien.ops import transport


def cloud(seed: int, count: int = 128) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, count, generator=generator, dtype=torch.float64)


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Sliced Wasserstein distance along lines that transport does not know."""
    lines = numpy.random.default_rng(7).standard_normal((200, 3))
    lines /= numpy.linalg.norm(lines, axis=1, keepdims=True)
    return float(numpy.abs(numpy.sort(lines @ one.numpy()) - numpy.sort(lines @ other.numpy())).mean())


def test_distributions_come_together() -> None:
    colors = cloud(1)
    targets = cloud(2).pow(3) * 0.3 + 1.0
    moved = transport.sliced(colors, targets, colors)
    assert apart(moved, targets) < 0.08 * apart(colors, targets)


def test_a_shift_is_carried_exactly_also_outside() -> None:
    colors = cloud(1)
    shift = torch.tensor([[0.3], [-1.0], [2.0]], dtype=torch.float64)
    far = torch.tensor([[40.0], [-7.0], [3.0]], dtype=torch.float64)
    assert torch.allclose(transport.sliced(colors, colors + shift, far), far + shift, atol=1e-9)


def test_runs_are_the_same() -> None:
    first = transport.sliced(cloud(1), cloud(2), cloud(3))
    transport.directions.cache_clear()
    assert torch.equal(first, transport.sliced(cloud(1), cloud(2), cloud(3)))


def test_directions_are_at_right_angles() -> None:
    frames = transport.directions(4)
    assert torch.allclose(frames @ frames.transpose(-1, -2), torch.eye(3, dtype=torch.float64).expand_as(frames))


def test_between_is_numpy_s_interp() -> None:
    places, values = torch.tensor([0.0, 0.5, 0.5, 2.0]), torch.tensor([1.0, 3.0, 3.0, -1.0])
    at = torch.linspace(-1, 3, 41)
    expected = numpy.interp(at.numpy(), [0.0, 0.5, 2.0], [1.0, 3.0, -1.0])
    assert numpy.allclose(transport.between(at, places, values).numpy(), expected, atol=1e-6)

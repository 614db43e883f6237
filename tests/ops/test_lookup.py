"""Tables: linear between their steps, held beyond, as numpy and scipy have it."""

import math

import numpy
import torch
from scipy.interpolate import RegularGridInterpolator

from mien.ops import lookup

LOW, HIGH = (-0.5, 0.0, 0.2), (1.0, 2.0, 0.9)


def test_curves_are_numpy_s_interp() -> None:
    generator = torch.Generator().manual_seed(1)
    colors = torch.randn(3, 4000, generator=generator) * 2
    values = torch.randn(3, 17, generator=generator)
    found = lookup.curves(colors, values, LOW, HIGH).numpy()
    for channel in range(3):
        knots = numpy.linspace(LOW[channel], HIGH[channel], 17)
        expected = numpy.interp(colors[channel].numpy(), knots, values[channel].numpy())
        assert numpy.allclose(found[channel], expected, atol=1e-5)


def test_a_lattice_is_scipy_s_interpolator() -> None:
    generator = torch.Generator().manual_seed(2)
    sizes = (5, 4, 3)
    values = torch.randn(*sizes, 3, generator=generator)
    colors = torch.randn(3, 2000, generator=generator)
    axes = [numpy.linspace(a, b, n) for a, b, n in zip(LOW, HIGH, sizes)]
    held = numpy.stack([numpy.clip(c, a, b) for c, a, b in zip(colors.numpy(), LOW, HIGH)], 1)
    expected = RegularGridInterpolator(axes, values.numpy())(held).T
    assert numpy.allclose(lookup.lattice(colors, values, LOW, HIGH).numpy(), expected, atol=1e-5)


def test_a_lattice_reads_its_own_nodes() -> None:
    sizes = (4, 3, 2)
    values = torch.randn(*sizes, 3, generator=torch.Generator().manual_seed(3))
    colors = lookup.nodes(LOW, HIGH, sizes, torch.zeros(1))
    assert torch.allclose(lookup.lattice(colors, values, LOW, HIGH), values.flatten(0, 2).T, atol=1e-6)


def test_one_step_is_a_constant_and_nonsense_does_no_harm() -> None:
    colors = torch.tensor([[0.1, math.inf, -math.inf, math.nan]]).expand(3, -1)
    assert torch.equal(lookup.lattice(colors, torch.full((1, 1, 1, 3), 0.5), LOW, HIGH), torch.full((3, 4), 0.5))
    ramp = torch.linspace(0, 1, 5).expand(3, -1)
    found = lookup.curves(colors, ramp, LOW, HIGH)
    assert torch.equal(found[:, 1], torch.ones(3)) and torch.equal(found[:, 2], torch.zeros(3))

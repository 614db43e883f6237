"""Baked color moves, read back by OpenColorIO."""

import math
from pathlib import Path

import numpy
import PyOpenColorIO as ocio
import pytest
import torch

from mien.files.cubes import write_cube
from mien.ops.bake import cube, from_curve, to_curve
from mien.ops.grade import IDENTITY, apply
from mien.types import Grade

WARMER = Grade(((1.2, 0.1, 0.0), (0.0, 0.9, 0.05), (0.02, 0.0, 0.7)), (0.1, -0.05, 0.0), "log")


def looked_up(path: Path, colors: torch.Tensor) -> torch.Tensor:
    """(n, 3) values through the file, as a host does it."""
    transform = ocio.FileTransform(str(path), interpolation=ocio.INTERP_TETRAHEDRAL)
    pixels = numpy.ascontiguousarray(colors.float().numpy())
    ocio.Config.CreateRaw().getProcessor(transform).getDefaultCPUProcessor().applyRGB(pixels)
    return torch.from_numpy(pixels)


def test_the_curve_is_acescct() -> None:
    light = torch.linspace(-0.005, 60, 4001)[:, None].expand(-1, 3)
    config = ocio.Config.CreateFromBuiltinConfig("ocio://cg-config-latest")
    pixels = light.contiguous().numpy().copy()
    config.getProcessor("ACEScg", "ACEScct").getDefaultCPUProcessor().applyRGB(pixels)
    assert numpy.allclose(to_curve(light.double()).numpy(), pixels, atol=2e-6)
    assert torch.allclose(from_curve(to_curve(light.double())), light.double(), atol=1e-9)


def test_hosts_see_the_move(tmp_path: Path) -> None:
    write_cube(tmp_path / "a.cube", cube(WARMER, 33), 'the "warm" one')
    light = torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.02
    wanted = apply(light, WARMER)
    found = from_curve(looked_up(tmp_path / "a.cube", to_curve(light).flatten(1).T).double()).T.view_as(light)
    assert float(((found - wanted).abs() / wanted.abs()).mean()) < 2e-3
    assert (tmp_path / "a.cube").read_text().count('"') == 2


def test_nothing_stays_nothing(tmp_path: Path) -> None:
    write_cube(tmp_path / "same.cube", cube(IDENTITY, 9), "same")
    values = torch.rand(500, 3, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(looked_up(tmp_path / "same.cube", values), values, atol=1e-6)


def test_values_beyond_the_box_are_kept() -> None:
    brighter = Grade(((2.0, 0.0, 0.0), (0.0, 2.0, 0.0), (0.0, 0.0, 2.0)), (-0.1, 0.0, 0.0))
    values = cube(brighter, 5)
    assert float(values.max()) == pytest.approx((math.log2(2 * 2 ** (17.52 - 9.72)) + 9.72) / 17.52, rel=1e-6)
    assert float(values[0, 0]) < -0.5


@pytest.mark.parametrize("count", [1, 26, 0])
def test_half_a_cube_is_refused(tmp_path: Path, count: int) -> None:
    with pytest.raises(ValueError, match="N³"):
        write_cube(tmp_path / "bad.cube", torch.zeros(count, 3), "bad")

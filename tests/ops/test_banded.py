"""Weighing neighbors by products with banded matrices, against what scipy makes of the same taps."""

import numpy
import pytest
import torch
from scipy import ndimage

from mien.ops import banded

LINES = [(1.0,), (0.2, 0.5, 0.3), tuple((0.1 + 0.01 * n) for n in range(9)), tuple(1 / (1 + n) for n in range(71))]


@pytest.mark.parametrize("size", [(90, 131), (71, 71), (200, 75)])
@pytest.mark.parametrize("down", LINES)
@pytest.mark.parametrize("across", LINES)
def test_sums_are_scipys(size: tuple[int, int], down: tuple[float, ...], across: tuple[float, ...]) -> None:
    planes = torch.rand(2, *size, generator=torch.Generator().manual_seed(1)) * 4 - 1
    found = banded.weigh(planes, down, across)
    for plane, result in zip(planes.double().numpy(), found):
        known = ndimage.correlate1d(ndimage.correlate1d(plane, down, 0), across, 1)
        low = [len(line) // 2 for line in (down, across)]
        known = known[low[0] : low[0] + found.shape[1], low[1] : low[1] + found.shape[2]]
        assert numpy.abs(result.numpy() - known).max() < 3e-6 * sum(down) * sum(across)


def test_sums_of_whole_numbers_are_exact_wherever_a_picture_begins() -> None:
    planes = torch.randint(-90, 90, (3, 120, 140), generator=torch.Generator().manual_seed(2)).float()
    line = (3.0, -20.0, 77.0, 100.0, 77.0, -20.0, 3.0)
    whole = banded.weigh(planes, line, line)
    assert torch.equal(whole[:, 13:, 29:], banded.weigh(planes[:, 13:, 29:], line, line))
    assert torch.equal(whole, banded.weigh(planes.double(), line, line).float())


def test_too_few_pixels_are_told() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        banded.weigh(torch.zeros(1, 4, 9), (1.0,) * 5, (1.0,))

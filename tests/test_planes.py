"""Pictures plane by plane and pixel by pixel."""

import numpy as np
import pytest
import torch

from mien.planes import packed, planar


def pixels(channels: int) -> np.ndarray:
    values = np.random.default_rng(3).standard_normal((40, 50, channels)).astype(np.float32)
    values[3, 4], values[5, 6], values[7, 8] = np.nan, np.inf, -0.0
    return values


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_parts_go_there_and_back_bit_for_bit(channels: int) -> None:
    part = pixels(channels)[5:31, 3:44]
    there = planar(part)
    assert there.is_contiguous()
    assert np.array_equal(there.numpy().view(np.uint32), np.moveaxis(part, -1, 0).copy().view(np.uint32))
    assert np.array_equal(packed(there).view(np.uint32), part.copy().view(np.uint32))


@pytest.mark.parametrize("turned", [lambda p: p[:, ::2, ::3], lambda p: p[:, 4:9, 7:20], lambda p: p.mT])
def test_any_view_of_planes_is_packed(turned) -> None:
    planes = turned(planar(pixels(3)))
    assert np.array_equal(packed(planes), planes.permute(1, 2, 0).numpy(), equal_nan=True)
    plain = torch.from_numpy(pixels(3)).movedim(-1, 0)
    assert np.array_equal(packed(plain), pixels(3), equal_nan=True)


def test_what_comes_back_shares_nothing_with_what_came() -> None:
    values = pixels(3)
    there = planar(values)
    there.zero_()
    assert values.any()
    back = packed(there)
    back += 1
    assert not there.any()


def test_empty_pictures_stay_empty() -> None:
    assert planar(np.zeros((0, 5, 3), np.float32)).shape == (3, 0, 5)
    assert packed(torch.zeros(3, 5, 0)).shape == (5, 0, 3)

"""Where a matte is."""

import torch

from mien.ops.region import occupied, occupied_columns


def test_what_is_not_zero_is_found_with_a_margin() -> None:
    matte = torch.zeros(2, 1, 20, 30)
    matte[0, 0, 4, 9], matte[1, 0, 11, 22] = 1e-30, torch.inf
    assert occupied(matte) == (slice(4, 12), slice(9, 23))
    assert occupied(matte, 3) == (slice(1, 15), slice(6, 26))
    assert occupied(matte, 100) == (slice(0, 20), slice(0, 30))
    assert occupied_columns(matte, 1) == slice(8, 24)
    assert occupied(matte > 0) == occupied(matte)


def test_nan_and_what_is_below_zero_are_nothing() -> None:
    matte = torch.full((1, 8, 8), -1.0)
    matte[0, 2, 2], matte[0, 5, 6], matte[0, 5, 1] = torch.nan, 0.5, torch.nan
    assert occupied(matte) == (slice(5, 6), slice(6, 7))
    assert occupied_columns(matte) == slice(6, 7)
    assert occupied(torch.full((1, 4, 4), torch.nan)) == (slice(0, 0), slice(0, 0))
    assert occupied(torch.zeros(0, 4, 4)) == (slice(0, 0), slice(0, 0))

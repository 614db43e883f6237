"""A plate with overscan or a cropped window, written again to fill its display window."""

import os
from pathlib import Path

import numpy as np
import pytest

from mien.commands.fit import fit_plate
from mien.commands.plate import PlateArguments
from mien.types import MienError
from shots import read_exr, write_exr

SIZE = (20, 12)


def pixels(seed: int, width: int, height: int) -> np.ndarray:
    made = np.random.default_rng(seed).normal(0, 3, (height, width, 3)).astype(np.float32)
    made[0, 0], made[0, 1], made[1, 1] = np.inf, np.nan, -60000.0
    return made


@pytest.mark.parametrize("kind", ["half", "float"])
@pytest.mark.parametrize(("corner", "size"), [((-4, -3), (28, 18)), ((5, 2), (7, 6)), ((-3, 4), (9, 30))])
def test_pixels_keep_bits_and_place(tmp_path: Path, kind: str, corner: tuple[int, int], size: tuple[int, int]) -> None:
    made = pixels(1, *size).astype(np.float16 if kind == "half" else np.float32)
    for frame in (7, 8):
        path = tmp_path / f"p.{frame:04d}.exr"
        write_exr(path, made, corner, SIZE, kind, colorInteropID="lin_ap1_scene", shot_note="me")
    told: list = []
    outcome = fit_plate(PlateArguments(str(tmp_path / "p.####.exr")), tmp_path / "out", told.append)
    assert outcome.done == 2 and not outcome.failed and told[-1].done == told[-1].total == 2
    assert outcome.written == (str(tmp_path / "out" / "p.####.exr"),)
    spec, got = read_exr(tmp_path / "out" / "p.0008.exr")
    assert (spec.x, spec.y, spec.width, spec.height) == (0, 0, *SIZE) and got.dtype == made.dtype
    assert spec["colorInteropID"] == "lin_ap1_scene" and spec["shot_note"] == "me"
    want = np.zeros((SIZE[1], SIZE[0], 3), made.dtype)
    for y in range(SIZE[1]):
        for x in range(SIZE[0]):
            if 0 <= x - corner[0] < size[0] and 0 <= y - corner[1] < size[1]:
                want[y, x] = made[y - corner[1], x - corner[0]]
    assert np.array_equal(got, want, equal_nan=True)


def test_frames_that_are_there_are_skipped_until_the_plate_changes(tmp_path: Path) -> None:
    path = tmp_path / "p.0007.exr"
    write_exr(path, pixels(1, 28, 18), (-4, -3), SIZE)
    arguments = PlateArguments(str(tmp_path / "p.%04d.exr"), (7, 7))
    assert fit_plate(arguments, tmp_path / "out", lambda event: None).done == 1
    assert fit_plate(arguments, tmp_path / "out", lambda event: None).skipped == 1
    later = path.stat().st_mtime + 10
    os.utime(path, (later, later))
    assert fit_plate(arguments, tmp_path / "out", lambda event: None).done == 1


def test_a_damaged_frame_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    for frame in (7, 8):
        write_exr(tmp_path / f"p.{frame:04d}.exr", pixels(1, 28, 18), (-4, -3), SIZE)
    (tmp_path / "p.0008.exr").write_bytes(b"no picture")
    outcome = fit_plate(PlateArguments(str(tmp_path / "p.####.exr")), tmp_path / "out", lambda event: None)
    assert outcome.done == 1 and list(outcome.failed) == [8]
    with pytest.raises(MienError):
        fit_plate(PlateArguments(str(tmp_path / "none.####.exr")), tmp_path / "out", lambda event: None)

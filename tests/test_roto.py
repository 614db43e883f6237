"""Mattes from disk: under the plate's display window whatever their own window, size and format."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.roto import file_at, read_roto
from mien.types import MienError
from shots import write_exr

PLATE = (60, 40)


def ramp(height: int = 40, width: int = 60) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return ((x + 2 * y) / (width + 2 * height)).astype(np.float32)


def read(file: Path | str, corner=(0, 0), size=(40, 60), channel="auto", frame=7, scale=1.0) -> np.ndarray:
    return read_roto(PLATE, frame, scale, str(file), channel, corner, size)[0].numpy()


def test_a_region_is_read_under_the_display_window(tmp_path: Path) -> None:
    """A data window that is smaller than and offset from the display window, as hosts write them."""
    matte = ramp()
    write_exr(tmp_path / "hand.0007.exr", matte[5:30, 12:50, None], corner=(12, 5), window=PLATE, kind="float")
    cut = np.zeros_like(matte)
    cut[5:30, 12:50] = matte[5:30, 12:50]
    for file in ("hand.####.exr", "hand.%04d.exr", "hand.0007.exr"):
        assert np.array_equal(read(tmp_path / file), cut)
    part = read(tmp_path / "hand.####.exr", (-4, -3), (20, 30))
    assert np.array_equal(part[3:, 4:], cut[:17, :26]) and (part[:3] == 0).all() and (part[:, :4] == 0).all()


def test_overscan_beyond_the_display_window_is_used(tmp_path: Path) -> None:
    wide = ramp(50, 80)
    write_exr(tmp_path / "wide.exr", wide[..., None], corner=(-10, -5), window=PLATE, kind="float")
    assert np.array_equal(read(tmp_path / "wide.exr", (-10, -5), (50, 80)), wide)


@pytest.mark.parametrize(("depth", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_pictures_of_whole_numbers_are_zero_to_one(tmp_path: Path, depth: type, top: int) -> None:
    coded = np.round(ramp() * top).astype(depth)
    assert cv2.imwrite(str(tmp_path / "m.0007.png"), coded)
    assert np.abs(read(tmp_path / "m.%04d.png") - coded / top).max() < 1e-6
    coded[...] = top
    cv2.imwrite(str(tmp_path / "m.0007.png"), coded)
    assert (read(tmp_path / "m.%04d.png") == 1).all()


def test_which_channel_is_the_matte(tmp_path: Path) -> None:
    matte, other = ramp(), np.full((40, 60), 0.25, np.float32)
    rgba = np.stack([other, other * 2, other * 3, matte], -1)
    write_exr(tmp_path / "rgba.exr", rgba, kind="float")
    assert np.array_equal(read(tmp_path / "rgba.exr"), matte)
    assert np.array_equal(read(tmp_path / "rgba.exr", channel="alpha"), matte)
    assert (read(tmp_path / "rgba.exr", channel="green") == 0.5).all()
    assert np.allclose(read(tmp_path / "rgba.exr", channel="luminance"), 0.5)
    opaque = np.stack([matte, matte, matte, np.ones_like(matte)], -1)
    write_exr(tmp_path / "opaque.exr", opaque, kind="float")
    assert np.allclose(read(tmp_path / "opaque.exr"), matte)
    write_exr(tmp_path / "gray.exr", matte[..., None], kind="float")
    with pytest.raises(MienError, match=r"gray\.exr has no alpha channel. It has: Y"):
        read(tmp_path / "gray.exr", channel="alpha")


def test_a_cropped_opaque_alpha_is_still_the_matte(tmp_path: Path) -> None:
    rgba = np.concatenate([np.full((10, 12, 3), 0.3, np.float32), np.ones((10, 12, 1), np.float32)], -1)
    write_exr(tmp_path / "box.exr", rgba, corner=(20, 15), window=PLATE, kind="float")
    found = read(tmp_path / "box.exr")
    assert found.sum() == 120 and (found[15:25, 20:32] == 1).all()


def test_mattes_of_another_size_fit_the_plate(tmp_path: Path) -> None:
    """Drawn on a proxy or on a larger scan: the display windows lie on each other."""
    big = cv2.GaussianBlur((ramp(80, 120) > 0.4).astype(np.float32), (0, 0), 3)
    write_exr(tmp_path / "big.exr", big[..., None], kind="float")
    averaged = big.reshape(40, 2, 60, 2).mean((1, 3))
    assert np.abs(read(tmp_path / "big.exr") - averaged)[3:-3, 3:-3].max() < 0.01
    assert np.abs(read(tmp_path / "big.exr", (10, 8), (20, 30)) - averaged[8:28, 10:40]).max() < 0.01
    small = averaged.reshape(20, 2, 30, 2).mean((1, 3))
    write_exr(tmp_path / "small.exr", small[..., None], kind="float")
    assert np.abs(read(tmp_path / "small.exr") - averaged)[4:-4, 4:-4].max() < 0.03


def test_a_proxy_sees_the_matte_smaller(tmp_path: Path) -> None:
    matte = cv2.GaussianBlur((ramp() > 0.4).astype(np.float32), (0, 0), 3)
    write_exr(tmp_path / "m.exr", matte[..., None], kind="float")
    half = matte.reshape(20, 2, 30, 2).mean((1, 3))
    assert np.abs(read(tmp_path / "m.exr", (2, 3), (10, 20), scale=0.5) - half[3:13, 2:22]).max() < 0.01


def test_garbage_becomes_a_matte(tmp_path: Path) -> None:
    wild = ramp()
    wild[0, 0], wild[0, 1], wild[0, 2], wild[0, 3] = np.nan, np.inf, -4.0, 7.0
    write_exr(tmp_path / "wild.exr", wild[..., None], kind="float")
    assert read(tmp_path / "wild.exr")[0, :4].tolist() == [0.0, 1.0, 0.0, 1.0]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    write_exr(tmp_path / "hand.0007.exr", ramp()[..., None])
    assert file_at(str(tmp_path / "hand.%04d.exr"), 7) == tmp_path / "hand.0007.exr"
    with pytest.raises(MienError, match=r"Frame 8 of .*hand\.%04d\.exr is missing: there are 7 to 7\."):
        read(tmp_path / "hand.####.exr", frame=8)
    with pytest.raises(MienError, match=r"Frame 8 of .* is missing, as are all others"):
        read(tmp_path / "foot.####.exr", frame=8)
    with pytest.raises(MienError, match=r"There is no matte .*foot\.exr"):
        read(tmp_path / "foot.exr")
    with pytest.raises(MienError, match=r"is a movie"):
        read(tmp_path / "hand.mov")
    (tmp_path / "bad.exr").write_bytes(b"no picture")
    with pytest.raises(MienError, match=r"bad\.exr"):
        read(tmp_path / "bad.exr")

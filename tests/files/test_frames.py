"""Pictures in: every layout of EXR, integers exactly, only what a region needs, metadata as it is."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.files.region import Region
from mien.files.shot import (
    frame_timecode,
    open_shot,
    read_channels,
    read_header,
    read_native,
    read_region,
    region_of,
)
from mien.files.timecode import frames_of, packed, shifted, timecode_of
from mien.types import MienError


def save(
    path: Path,
    pixels: np.ndarray[Any, Any],
    kind: str = "half",
    *,
    names: Sequence[str] = ("R", "G", "B"),
    corner: tuple[int, int] = (0, 0),
    window: tuple[int, int, int, int] | None = None,
    tile: int = 0,
    **attributes: Any,
) -> Path:
    """Write with OpenImageIO directly; ``window`` is x, y, width, height of the display window."""
    height, width, channels = pixels.shape
    spec = oiio.ImageSpec(width, height, channels, kind)
    spec.channelnames = tuple(names[:channels])
    spec.x, spec.y = corner
    spec.full_x, spec.full_y, spec.full_width, spec.full_height = window or (0, 0, width, height)
    spec.tile_width = spec.tile_height = tile
    for name, value in attributes.items():
        if isinstance(value, tuple):
            spec.attribute(name.replace("__", ":"), value[0], value[1])
        else:
            spec[name.replace("__", ":")] = value
    file = oiio.ImageOutput.create(str(path))
    assert file is not None and file.open(str(path), spec), oiio.geterror()
    assert file.write_image(pixels), file.geterror()
    assert file.close()
    return path


def ramp(height: int, width: int, channels: int = 3) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Values that are exact in half float and differ at every place."""
    count = height * width * channels
    return (np.arange(count, dtype=np.float32) % 2048 - 300).reshape(height, width, channels)


@pytest.mark.parametrize("tile", [0, 16])
@pytest.mark.parametrize("kind", ["half", "float"])
@settings(max_examples=15)
@given(
    corner=st.tuples(st.integers(-9, 9), st.integers(-9, 9)),
    origin=st.tuples(st.integers(-5, 5), st.integers(-5, 5)),
    region=st.builds(Region, st.integers(-30, 60), st.integers(-30, 60), st.integers(1, 70), st.integers(1, 70)),
)
def test_any_region_equals_the_whole_cut(
    tmp_path_factory: pytest.TempPathFactory,
    tile: int,
    kind: str,
    corner: tuple[int, int],
    origin: tuple[int, int],
    region: Region,
) -> None:
    """Data and display windows anywhere: what is stored comes back at its place, everything else is 0."""
    pixels = ramp(37, 41)
    path = tmp_path_factory.mktemp("frame") / "p.exr"
    save(path, pixels, kind, corner=corner, window=(*origin, 40, 30), tile=tile)
    shot = open_shot(path)
    assert shot.size == (40, 30)
    canvas = np.zeros((300, 300, 3), np.float32)
    x, y = corner[0] - origin[0] + 100, corner[1] - origin[1] + 100
    canvas[y : y + 37, x : x + 41] = pixels
    expected = canvas[region.y + 100 : region.bottom + 100, region.x + 100 : region.right + 100]
    assert np.array_equal(read_region(shot, shot.first, region), expected)


@pytest.mark.parametrize(
    ("ending", "kind", "top", "attributes"),
    [
        (".png", "uint8", 255, {}),
        (".png", "uint16", 65535, {}),
        (".tif", "uint8", 255, {}),
        (".tif", "uint16", 65535, {}),
        (".dpx", "uint8", 255, {}),
        (".dpx", "uint16", 1023, {"oiio__BitsPerSample": 10}),
        (".dpx", "uint16", 4095, {"oiio__BitsPerSample": 12}),
        (".dpx", "uint16", 65535, {"oiio__BitsPerSample": 16}),
    ],
)
def test_integers_are_exactly_n_over_max(
    tmp_path: Path, ending: str, kind: str, top: int, attributes: dict[str, int]
) -> None:
    codes = np.linspace(0, top, 3 * 64 * 50).round().astype(np.uint32).reshape(50, 64, 3)
    bits = top.bit_length()
    holder = 8 if kind == "uint8" else 16
    spread = codes if bits == holder else codes << (holder - bits) | codes >> (2 * bits - holder)
    path = save(tmp_path / f"p{ending}", spread.astype(kind), kind, **attributes)
    shot = open_shot(path)
    pixels = read_region(shot, 1, shot.display)
    assert np.array_equal(pixels, codes.astype(np.float32) / np.float32(top))
    assert pixels.dtype == np.float32
    assert np.array_equal(read_native(shot, 1).pixels[0], pixels)


def test_float_tiff_and_alpha_are_untouched(tmp_path: Path) -> None:
    pixels = ramp(20, 30, 4)
    pixels[..., 3] = 0.5
    shot = open_shot(save(tmp_path / "p.tif", pixels, "float", names="RGBA"))
    assert np.array_equal(read_region(shot, 1, shot.display), pixels[..., :3])
    codes = np.full((4, 5, 4), 200, np.uint8)
    codes[..., 3] = 100
    shot = open_shot(save(tmp_path / "p.png", codes, "uint8", names="RGBA", oiio__UnassociatedAlpha=1))
    assert np.array_equal(read_region(shot, 1, shot.display), np.full((4, 5, 3), 200 / np.float32(255)))


def test_jpeg_is_close_and_upright(tmp_path: Path) -> None:
    """A camera held on its side: the tag turns the picture, and every region of it."""
    rows, columns = np.mgrid[0:48, 0:64]
    pixels = np.stack([rows * 4, columns * 3, rows + columns], -1).astype(np.uint8)
    for orientation in range(1, 9):
        path = save(tmp_path / f"p{orientation}x.jpg", pixels, "uint8", Orientation=orientation, Compression="jpeg:98")
        turned = oiio.ImageBufAlgo.reorient(oiio.ImageBuf(str(path))).get_pixels("float")
        shot = open_shot(path)
        assert shot.size == (turned.shape[1], turned.shape[0])
        whole = read_region(shot, 1, shot.display)
        assert np.abs(whole - turned[..., :3]).max() < 1e-6
        part = Region(5, 9, 20, 13)
        assert np.array_equal(read_region(shot, 1, part), whole[9:22, 5:25])


@pytest.mark.parametrize("tile", [0, 64])
def test_only_what_a_region_needs_is_read(tmp_path: Path, tile: int) -> None:
    """Half of the file is gone; the upper part of the picture does not notice."""
    pixels = np.random.default_rng(0).random((512, 512, 3)).astype(np.float16).astype(np.float32)
    path = save(tmp_path / "p.exr", pixels, tile=tile, compression="zip")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    shot = open_shot(path)
    assert np.array_equal(read_region(shot, 1, Region(10, 20, 300, 190)), pixels[20:210, 10:310])
    with pytest.raises(MienError, match=r"p\.exr"):
        read_region(shot, 1, Region(10, 300, 300, 190))


def test_gray_and_luminance_chroma(tmp_path: Path) -> None:
    gray = ramp(8, 9, 1)
    shot = open_shot(save(tmp_path / "g.exr", gray, names="Y"))
    assert np.array_equal(read_region(shot, 1, shot.display), np.repeat(gray, 3, 2))
    color = np.random.default_rng(1).random((8, 9, 3)).astype(np.float32) + 0.1
    luminance = color @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    coded = np.stack([luminance, color[..., 0] / luminance - 1, color[..., 2] / luminance - 1], -1)
    shot = open_shot(save(tmp_path / "c.exr", coded, "float", names=("Y", "RY", "BY")))
    assert np.abs(read_region(shot, 1, shot.display) - color).max() < 2e-3


REAL = (
    "openexr/TestImages/AllHalfValues.exr",
    "openexr/TestImages/WideFloatRange.exr",
    "openexr/Beachball/multipart.0001.exr",
    "openexr/MultiView/Fog.exr",
    "openexr/DisplayWindow/t08.exr",
    "openexr/DisplayWindow/t12.exr",
    "derived/prores4444_alpha_pcm.mov",
    "scikit-image/astronaut.png",
)


@pytest.mark.parametrize("name", REAL)
def test_a_region_of_a_whole_frame_is_what_would_be_read(shared: Path, name: str) -> None:
    shot = open_shot(shared / "media" / name)
    native = read_native(shot, shot.first)
    for region in (shot.display, Region(-20, -30, 300, 250), Region(40, 31, 60, 70), Region(5000, 0, 3, 3)):
        read, cut = read_region(shot, shot.first, region), region_of(native, region)
        assert read.dtype == cut.dtype and np.array_equal(read, cut, equal_nan=True)


def test_layers_are_chosen_by_name(tmp_path: Path) -> None:
    pixels = ramp(6, 7, 8)
    names = ("R", "G", "B", "A", "beauty.R", "beauty.G", "beauty.B", "matte.hand")
    path = save(tmp_path / "p.exr", pixels, names=names)
    order = {name: index for index, name in enumerate(names)}

    def expected(*chosen: str) -> np.ndarray[Any, Any]:
        return pixels[..., [order[name] for name in chosen]]

    shot = open_shot(path)
    assert np.array_equal(read_region(shot, 1, shot.display), expected("R", "G", "B"))
    shot = open_shot(path, layer="beauty")
    assert np.array_equal(read_region(shot, 1, shot.display), expected("beauty.R", "beauty.G", "beauty.B"))
    shot = open_shot(path, layer="matte.hand")
    assert np.array_equal(read_region(shot, 1, shot.display), np.repeat(expected("matte.hand"), 3, 2))
    assert np.array_equal(read_channels(shot, 1, shot.display, ["A", "matte.hand"]), expected("A", "matte.hand"))
    assert np.array_equal(read_channels(shot, 1, shot.display, ["B", "R"]), expected("B", "R"))
    with pytest.raises(MienError, match="beauty"):
        open_shot(path, layer="Beauty pass")
    with pytest.raises(MienError, match=r"depth\.Z"):
        read_channels(shot, 1, shot.display, ["depth.Z"])


def test_parts_and_views_of_real_files(shared: Path) -> None:
    many = shared / "media/openexr/Beachball/multipart.0001.exr"
    left, depth = open_shot(many), open_shot(many, layer="1")
    assert left.size == (2048, 1556)
    assert read_header(left, 1).data == Region(654, 245, 877, 876)
    assert read_header(depth, 1).data == Region(688, 245, 877, 876)
    assert read_header(depth, 1).channels == ("Z",)
    reference = oiio.ImageBuf(str(many), 0, 0)
    part = Region(900, 400, 60, 40)
    roi = oiio.ROI(part.x, part.right, part.y, part.bottom, 0, 1, 0, 3)
    assert np.array_equal(read_region(left, 1, part), reference.get_pixels("float", roi))
    fog = shared / "media/openexr/MultiView/Fog.exr"
    main, right = open_shot(fog), open_shot(fog, layer="right")
    assert not np.array_equal(read_region(main, 1, main.display), read_region(right, 1, right.display))


def test_mip_maps_give_their_largest_level(shared: Path) -> None:
    shot = open_shot(shared / "media/openexr/MultiResolution/ColorCodedLevels.exr")
    assert shot.size == (512, 512)
    reference = oiio.ImageBuf(str(shot.path), 0, 0).get_pixels("float")[..., :3]
    assert np.array_equal(read_region(shot, shot.first, Region(100, 70, 200, 300)), reference[70:370, 100:300])


@pytest.mark.parametrize("number", range(1, 17))
def test_display_windows_of_real_files(shared: Path, number: int) -> None:
    path = shared / f"media/openexr/DisplayWindow/t{number:02d}.exr"
    shot = open_shot(path)
    reference = oiio.ImageBuf(str(path))
    spec = reference.spec()
    reach = Region(-500, -500, 1500, 1500)
    roi = oiio.ROI(spec.full_x - 500, spec.full_x + 1000, spec.full_y - 500, spec.full_y + 1000, 0, 1, 0, 3)
    assert shot.size == (spec.full_width, spec.full_height)
    assert np.array_equal(read_region(shot, shot.first, reach), reference.get_pixels("float", roi))


def test_every_half_value_comes_through(shared: Path) -> None:
    shot = open_shot(shared / "media/openexr/TestImages/AllHalfValues.exr")
    native = read_native(shot, shot.first).pixels[0]
    assert native.dtype == np.float16
    values = set(native.view(np.uint16).ravel().tolist())
    assert len(values) == 65536
    with np.errstate(invalid="ignore"):
        expected = native.astype(np.float32)
    assert np.array_equal(read_region(shot, shot.first, shot.display), expected, equal_nan=True)


def test_a_sequence_with_holes(tmp_path: Path) -> None:
    rate = ("rational", (24000, 1001))
    for frame in (1001, 1002, 1005):
        save(
            tmp_path / f"p.{frame}.exr",
            np.full((4, 6, 3), frame, np.float32),
            "float",
            PixelAspectRatio=2.0,
            FramesPerSecond=rate,
            smpte__TimeCode=("timecode", packed(f"01:00:00:{frame - 1000:02d}")),
            chromaticities=("float[8]", (0.713, 0.293, 0.165, 0.83, 0.128, 0.044, 0.32168, 0.33767)),
            colorInteropID="lin_ap1_scene",
            slate="12A take 3",
        )
    for asked in (tmp_path / "p.####.exr", tmp_path / "p.%04d.exr", tmp_path / "p.@@@@.exr", tmp_path):
        shot = open_shot(asked)
        assert (shot.kind, shot.first, shot.last, shot.missing) == ("sequence", 1001, 1005, (1003, 1004))
    assert shot.frames == (1001, 1002, 1005)
    assert (shot.aspect, shot.fps, shot.color) == (2.0, Fraction(24000, 1001), "lin_ap1_scene")
    assert shot.metadata["slate"] == "12A take 3"
    assert shot.timecode == "01:00:00:01" and frame_timecode(shot, 1005) == "01:00:00:05"
    assert read_header(shot, 1002).timecode == "01:00:00:02"
    assert read_region(shot, 1005, Region(0, 0, 1, 1))[0, 0, 0] == 1005
    with pytest.raises(MienError, match=r"1003.*missing"):
        read_region(shot, 1003, shot.display)
    with pytest.raises(MienError, match="1001 to 1005"):
        read_region(shot, 1006, shot.display)
    part = open_shot(tmp_path / "p.####.exr", (1000, 1002))
    assert (part.first, part.last, part.missing, part.timecode) == (1000, 1002, (1000,), "01:00:00:00")
    with pytest.raises(MienError, match="1001 to 1005"):
        open_shot(tmp_path / "p.####.exr", (1, 10))
    single = open_shot(tmp_path / "p.1002.exr")
    assert (single.kind, single.first, single.last) == ("still", 1002, 1002)


def test_a_frame_of_another_size_is_told_at_that_frame(tmp_path: Path) -> None:
    save(tmp_path / "p.0001.exr", ramp(4, 6))
    save(tmp_path / "p.0002.exr", ramp(4, 7))
    shot = open_shot(tmp_path)
    assert read_region(shot, 1, shot.display).shape == (4, 6, 3)
    with pytest.raises(MienError, match=r"Frame 2, .*p\.0002\.exr, is 7 x 4; the shot is 6 x 4"):
        read_region(shot, 2, shot.display)


def test_a_damaged_first_frame_does_not_spoil_the_shot(tmp_path: Path) -> None:
    (tmp_path / "p.0001.exr").write_bytes(b"")
    save(tmp_path / "p.0002.exr", ramp(4, 6))
    shot = open_shot(tmp_path)
    assert shot.size == (6, 4) and shot.first == 1
    with pytest.raises(MienError, match=r"p\.0001\.exr is empty"):
        read_region(shot, 1, shot.display)


def test_a_folder_with_several_shots_asks_which(tmp_path: Path) -> None:
    save(tmp_path / "a.0001.exr", ramp(4, 6))
    save(tmp_path / "b.0001.exr", ramp(4, 6))
    with pytest.raises(MienError, match=r"a\.%04d\.exr.*b\.%04d\.exr"):
        open_shot(tmp_path)


def test_threads_read_the_same(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    for frame in range(8):
        save(tmp_path / f"p.{frame:04d}.exr", ramp(64, 64) + frame)
    shot = open_shot(tmp_path)
    alone = [read_region(shot, frame, shot.display) for frame in shot.frames]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda frame: read_region(shot, frame, shot.display), shot.frames * 4))
    assert all(np.array_equal(alone[index % 8], pixels) for index, pixels in enumerate(together))


@given(st.integers(0, 24 * 3600 * 30 - 24 * 60 * 12 * 9 - 1))
def test_timecode_there_and_back(number: int) -> None:
    for fps, drop in ((Fraction(24), False), (Fraction(30000, 1001), True), (Fraction(60000, 1001), True)):
        number %= 24 * 3600 * 24
        assert frames_of(timecode_of(number, fps, drop), fps) == number


def test_drop_frame_leaves_numbers_out() -> None:
    """SMPTE ST 12-1: 00:01:00;00 and ;01 do not exist, 00:10:00;00 does."""
    rate = Fraction(30000, 1001)
    assert shifted("00:00:59;29", 1, rate) == "00:01:00;02"
    assert shifted("00:09:59;29", 1, rate) == "00:10:00;00"
    assert shifted("01:00:00;00", -1, rate) == "00:59:59;29"
    assert frames_of("01:00:00;00", rate) == 107892
    assert shifted("23:59:59:23", 1, Fraction(24)) == "00:00:00:00"

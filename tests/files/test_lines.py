import struct
import zlib
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest

from mien.files.lines import read_lines
from mien.files.region import Region
from mien.files.stills import read_headers, read_pixels
from mien.types import MienError

SIZE = 131, 75
CORNER = -7, 13
DTYPES = {"half": np.float16, "float": np.float32, "uint": np.uint32}


def picture(kinds: tuple[str, ...], noise: bool) -> np.ndarray:
    """Values of all sizes and signs; smooth ones become smaller when they are packed, noise does not."""
    random = np.random.default_rng(5)
    across, down = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    smooth = np.stack([across // 9 + down // 7 * (index + 1) for index in range(len(kinds))], -1)
    # Of a half's bits those that name no infinity and no NaN, which comparisons of values cannot tell apart.
    return random.integers(0, 0x7BFF, smooth.shape) if noise else smooth


def write(path: Path, compression: str, kinds: tuple[str, ...], noise: bool = False) -> np.ndarray:
    """Channels A, B, C, ... each of its type; the values as they are stored."""
    bits = picture(kinds, noise)
    planes = [
        bits[..., index].astype(np.uint16).view(np.float16)
        if kind == "half"
        else (bits[..., index] * 65537).astype(np.uint32).view(DTYPES[kind])
        for index, kind in enumerate(kinds)
    ]
    spec = oiio.ImageSpec(*SIZE, len(kinds), oiio.DOUBLE if len(set(kinds)) > 1 else kinds[0])
    spec.x, spec.y = CORNER
    spec.channelnames = tuple("ABCDEFG"[: len(kinds)])
    spec.channelformats = kinds
    spec["compression"] = compression
    output = oiio.ImageOutput.create(str(path))
    pixels = np.stack(planes, -1) if len(set(kinds)) == 1 else np.stack([p.astype(np.float64) for p in planes], -1)
    assert output.open(str(path), spec) and output.write_image(np.ascontiguousarray(pixels)), output.geterror()
    output.close()
    return np.stack(planes)


@pytest.mark.parametrize("noise", [False, True], ids=["smooth", "noise"])
@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("compression", ["none", "zips", "zip"])
def test_regions_are_what_was_stored_to_the_bit(tmp_path: Path, compression: str, kind: str, noise: bool) -> None:
    path = tmp_path / "picture.exr"
    planes = write(path, compression, (kind,) * 3, noise)
    random = np.random.default_rng(7)
    for _ in range(40):
        x, y = int(random.integers(0, SIZE[0])), int(random.integers(0, SIZE[1]))
        width = int(random.integers(1, min(SIZE[0] - x, int(0.75 * SIZE[0])) + 1))
        height = int(random.integers(1, SIZE[1] - y + 1))
        names = tuple(random.permutation(["A", "B", "C"])[: random.integers(1, 4)])
        found = read_lines(path, names, Region(x + CORNER[0], y + CORNER[1], width, height))
        assert found is not None and found.dtype == DTYPES[kind]
        expected = planes[["ABC".index(name) for name in names], y : y + height, x : x + width]
        assert np.array_equal(found.view(np.uint8), np.ascontiguousarray(expected).view(np.uint8))


def test_channels_beside_those_of_another_type(tmp_path: Path) -> None:
    path = tmp_path / "picture.exr"
    planes = write(path, "zip", ("half", "float", "half", "half", "float"))
    region = Region(CORNER[0] + 31, CORNER[1] + 17, 40, 33)
    for names in (("A", "C", "D"), ("E", "B")):
        found = read_lines(path, names, region)
        expected = planes[["ABCDE".index(name) for name in names], 17:50, 31:71]
        assert found is not None and np.array_equal(found, expected.astype(found.dtype))
    assert read_lines(path, ("A", "B"), region) is None


@pytest.mark.parametrize("compression", ["zips", "zip"])
def test_wide_pictures_are_put_together_group_by_group(tmp_path: Path, compression: str) -> None:
    """More lines than go through at once, the last chunk a short one."""
    path = tmp_path / "picture.exr"
    spec = oiio.ImageSpec(3001, 300, 3, "half")
    spec["compression"] = compression
    values = (np.random.default_rng(2).random((300, 3001, 3)) * 9).round().astype(np.float16)
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), spec) and output.write_image(values)
    output.close()
    found = read_lines(path, ("R", "G", "B"), Region(1203, 3, 701, 297))
    assert found is not None and np.array_equal(found, np.moveaxis(values[3:300, 1203:1904], 2, 0))


@pytest.mark.parametrize("compression", ["rle", "piz", "pxr24", "b44", "dwaa"])
def test_what_is_packed_otherwise_is_left_to_openimageio(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "picture.exr"
    write(path, compression, ("half",) * 3)
    assert read_lines(path, ("A",), Region(*CORNER, 9, 9)) is None


def test_what_is_not_there_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / "picture.exr"
    write(path, "zip", ("half",) * 3)
    x, y = CORNER
    assert read_lines(path, ("A",), Region(x, y, 90, 75)) is not None
    for region in (Region(x - 1, y, 9, 9), Region(x, y - 1, 9, 9), Region(x + 123, y, 9, 9), Region(x, y + 67, 9, 9)):
        assert read_lines(path, ("A",), region) is None
    assert read_lines(path, ("A", "Z"), Region(x, y, 9, 9)) is None
    assert read_lines(tmp_path / "none.exr", ("A",), Region(x, y, 9, 9)) is None
    # As wide as the lines are: the library is as quick.
    assert read_lines(path, ("A",), Region(x, y, 131, 9)) is None


def test_damage_is_told_by_openimageio_and_only_where_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "picture.exr"
    write(path, "zip", ("half",) * 3)
    whole = path.read_bytes()
    header = read_headers(path)[0]
    chunks = places(whole)
    content = bytearray(whole)
    content[chunks[2] + 30] ^= 0x55
    path.write_bytes(content)
    assert read_lines(path, ("A",), Region(*CORNER, 9, 32)) is not None
    assert read_lines(path, ("A",), Region(*CORNER, 9, 33)) is None
    with pytest.raises(MienError, match=r"picture\.exr"):
        read_pixels(path, header, 0, ("A",), Region(header.data.x, header.data.y, 9, 40))


def places(content: bytes) -> tuple[int, ...]:
    """Where the five chunks of the picture begin."""
    first = content.index(struct.pack("<i", CORNER[1]), content.index(b"screenWindowWidth") + 40)
    return struct.unpack("<5Q", content[first - 40 : first])


def replaced(whole: bytes, number: int, line: int, packed: bytes) -> bytes:
    """The file with another chunk at its end instead of one of its own."""
    chunks = places(whole)
    table = whole.index(struct.pack("<5Q", *chunks))
    content = bytearray(whole)
    content[table + 8 * number : table + 8 * number + 8] = struct.pack("<Q", len(whole))
    return bytes(content) + struct.pack("<2i", line, len(packed)) + packed


@pytest.mark.parametrize("size", [0, 1, 12575, 12577, 1 << 26])
def test_chunks_of_another_size_than_their_lines_are_damage(tmp_path: Path, size: int) -> None:
    path = tmp_path / "picture.exr"
    write(path, "zip", ("half",) * 3)
    whole = path.read_bytes()
    right = 16 * SIZE[0] * 3 * 2
    assert right == 12576
    first = Region(*CORNER, 9, 9)
    path.write_bytes(replaced(whole, 0, CORNER[1], zlib.compress(bytes([7]) + bytes(range(256)) * 50)[:60]))
    assert read_lines(path, ("A",), first) is None
    path.write_bytes(replaced(whole, 0, CORNER[1], zlib.compress(bytes(right))))
    assert read_lines(path, ("A",), first) is not None
    # All values are there, and what proves them is not.
    path.write_bytes(replaced(whole, 0, CORNER[1], zlib.compress(bytes(right))[:-4]))
    assert read_lines(path, ("A",), first) is None
    path.write_bytes(replaced(whole, 0, CORNER[1] + 1, zlib.compress(bytes(right))))
    assert read_lines(path, ("A",), first) is None
    path.write_bytes(replaced(whole, 0, CORNER[1], zlib.compress(bytes(size))))
    assert read_lines(path, ("A",), first) is None


def test_tables_that_point_nowhere_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "picture.exr"
    write(path, "zip", ("half",) * 3)
    whole = path.read_bytes()
    table = whole.index(struct.pack("<5Q", *places(whole)))
    for place in (0, len(whole) - 3, len(whole), 1 << 62, (1 << 64) - 1):
        path.write_bytes(whole[:table] + struct.pack("<Q", place) + whole[table + 8 :])
        assert read_lines(path, ("A",), Region(*CORNER, 9, 9)) is None
        path.write_bytes(whole[: table + 8] + struct.pack("<Q", place) + whole[table + 16 :])
        assert read_lines(path, ("A",), Region(*CORNER, 9, 40)) is None
    for length in (0, 4, 100, table, table + 20, len(whole) // 2):
        path.write_bytes(whole[:length])
        assert read_lines(path, ("A",), Region(*CORNER, 9, 75)) is None


def test_channels_out_of_order_are_left_to_openimageio(tmp_path: Path) -> None:
    """Libraries look for their values in the order that should have been."""
    path = tmp_path / "picture.exr"
    write(path, "zip", ("half",) * 3)
    whole = path.read_bytes()
    assert whole.count(b"A\0" + struct.pack("<i", 1)) == 1
    path.write_bytes(whole.replace(b"A\0" + struct.pack("<i", 1), b"D\0" + struct.pack("<i", 1)))
    assert read_lines(path, ("B",), Region(*CORNER, 9, 9)) is None


def test_channels_of_lower_resolution_are_left_to_openimageio(tmp_path: Path) -> None:
    path = tmp_path / "picture.exr"
    write(path, "zip", ("half",) * 3)
    whole = path.read_bytes()
    listed = b"B\0" + struct.pack("<4i", 1, 0, 1, 1)
    path.write_bytes(whole.replace(listed, b"B\0" + struct.pack("<4i", 1, 0, 2, 2)))
    assert read_lines(path, ("A",), Region(*CORNER, 9, 9)) is None

from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest

from mien.files.complete import complete


def write(path: Path, compression: str, tile: tuple[int, int] | None) -> None:
    pixels = np.random.default_rng(3).random((75, 131, 3), np.float32)
    spec = oiio.ImageSpec(131, 75, 3, oiio.HALF)
    spec["compression"] = compression
    if tile:
        spec.tile_width, spec.tile_height = tile
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), spec) and output.write_image(pixels)
    output.close()


@pytest.mark.parametrize("tile", [None, (16, 16), (64, 32), (131, 64), (256, 256)])
@pytest.mark.parametrize("compression", ["none", "zip", "zips", "piz"])
def test_a_file_without_its_last_byte_is_not_complete(
    tmp_path: Path, compression: str, tile: tuple[int, int] | None
) -> None:
    path = tmp_path / "picture.exr"
    write(path, compression, tile)
    content = path.read_bytes()
    assert complete(path)
    for cut in (1, len(content) // 2, len(content) - 40):
        path.write_bytes(content[:-cut])
        assert not complete(path)


def test_tiles_without_a_size_are_not_complete(tmp_path: Path) -> None:
    path = tmp_path / "picture.exr"
    write(path, "none", (16, 16))
    content = path.read_bytes()
    at = content.index(b"tiles\0tiledesc\0") + len(b"tiles\0tiledesc\0") + 4
    path.write_bytes(content[:at] + bytes(8) + content[at + 8 :])
    assert not complete(path)


def test_levels_of_tiles_count_as_complete(tmp_path: Path) -> None:
    path = tmp_path / "picture.exr"
    write(path, "none", (16, 16))
    content = path.read_bytes()
    at = content.index(b"tiles\0tiledesc\0") + len(b"tiles\0tiledesc\0") + 12
    path.write_bytes(content[:at] + b"\1" + content[at + 1 : -1])
    assert complete(path)

"""Reading and writing what a face needs, against the whole frame: ``python tests/bench/files.py``.

Prints milliseconds and ratios, measured side by side in one run, least of several.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "engine"))

from mien.files.delivery import write_movie
from mien.files.layers import write_full, write_layer, write_plain
from mien.files.region import Region
from mien.files.shot import analysis_picture, open_shot, read_header, read_native, read_region

FACE = 512


def least(call: Callable[[], object], times: int = 3) -> float:
    """Milliseconds of the fastest of several calls."""
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    return 1000 * min(taken)


def picture(width: int, height: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """A smooth picture with grain, as plates are."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32) / height
    light = 0.3 + 0.2 * np.sin(7 * columns + 3 * rows)
    return (light[..., None] + random.normal(0, 0.01, (height, width, 3))).astype(np.float32)


def stills(folder: Path) -> None:
    """EXR at two sizes with the same face in pixels."""
    face, matte = picture(FACE, FACE), np.ones((FACE, FACE), np.float32)
    for name, width, height in (("HD", 1920, 1080), ("4K", 4096, 2160)):
        path = folder / f"{name}.0001.exr"
        write_plain(path, picture(width, height), provenance={})
        shot = open_shot(path)
        native = read_native(shot, 1)
        place = Region(width // 2 - FACE // 2, height // 3 - FACE // 2, FACE, FACE)
        layer = partial(
            write_layer, folder / "layer.exr", read_header(shot, 1), image=face, matte=matte, raw=face,
            mattes={"hull": matte}, corner=place[:2], provenance={},
        )  # fmt: skip
        full = partial(
            write_full, folder / "full.exr", native, image=face, mask=matte > 0, corner=place[:2], provenance={}
        )
        part, whole = least(partial(read_region, shot, 1, place)), least(partial(read_region, shot, 1, shot.display))
        small, large = least(layer), least(full)
        print(
            f"{name}: read face {part:6.1f} ms, frame {whole:7.1f} ms, 1 : {whole / part:.1f};"
            f"  write layer {small:6.1f} ms, full frame {large:7.1f} ms, 1 : {large / small:.1f}"
        )


def movies(folder: Path) -> None:
    """HD movies: the exact face, the exact frame, the picture for looking at; forward and backward."""
    pictures = [picture(1920, 1080)] * 12
    region = Region(700, 200, FACE, FACE)
    for name, ending in (("h264", ".mp4"), ("prores422hq", ".mov")):
        path = folder / f"m{ending}"
        write_movie(path, pictures, name, size=(1920, 1080), fps=Fraction(24))
        shot = open_shot(path)

        def through(read: Callable[[int], object], frames: range) -> float:
            begin = time.perf_counter()
            for frame in frames:
                read(frame)
            return 1000 * (time.perf_counter() - begin) / len(frames)

        ahead, back = range(1, 13), range(12, 0, -1)
        print(
            f"{name}: seen {through(lambda n, s=shot: analysis_picture(s, n), ahead):5.1f} ms,"
            f" face {through(lambda n, s=shot: read_region(s, n, region), ahead):5.1f} ms,"
            f" backward {through(lambda n, s=shot: read_region(s, n, region), back):5.1f} ms,"
            f" frame {through(lambda n, s=shot: read_region(s, n, s.display), ahead):5.1f} ms"
        )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        stills(Path(scratch))
        movies(Path(scratch))

"""Damaged and foreign files: one clear message each, never a crash, a hang or a huge allocation."""

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import pytest

from mien.files.layers import write_plain
from mien.files.shot import open_shot, read_native, read_region
from mien.types import MienError
from shots import write_movie

# Reads every file named on a line of stdin as a user would, within 4 GiB of memory, and says what came of it.
READER = """
import json, resource, sys, time
from mien.files.shot import analysis_picture, open_shot, read_native, read_region
from mien.types import MienError
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
for line in sys.stdin:
    path, begin, said, frames = line.rstrip("\\n"), time.monotonic(), [], 0
    try:
        shot = open_shot(path)
        for frame in shot.frames[:30]:
            try:
                read_region(shot, frame, shot.display)
                if shot.movie is not None:
                    analysis_picture(shot, frame)
                else:
                    read_native(shot, frame)
                frames += 1
            except MienError as error:
                said.append(str(error))
    except MienError as error:
        said.append(str(error))
    print(json.dumps({"path": path, "said": said, "frames": frames, "time": time.monotonic() - begin}), flush=True)
"""


def read_all(paths: list[Path]) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-c", READER],
        input="".join(f"{path}\n" for path in paths),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["path"] for one in found] == [str(path) for path in paths]
    return found


def assert_clear(one: dict[str, Any]) -> None:
    name = Path(one["path"]).name
    assert one["time"] < 20, one
    for message in one["said"]:
        assert name in message and len(message) < 700 and "\n" not in message, message
        assert message.endswith(".") and message.count(". ") >= 1, message


def test_every_damaged_exr_that_was_ever_reported(shared: Path, tmp_path: Path) -> None:
    folders = [shared / "media/openexr/Damaged", shared / "media/tinyexr/test"]
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    copies = []
    for number, path in enumerate(files):
        # Reporters named their files as they liked; ours read .exr.
        copies.append(tmp_path / f"case{number:03d}x.exr")
        shutil.copy(path, copies[-1])
    whole = {"2by2.exr", "flaga.exr", "000-issue194.exr", "issue-160-piz-decode.exr", "piz-bug-issue-100.exr"}
    whole.add("tiled_half_1x1_alpha.exr")
    assert len(files) > 190
    for path, one in zip(files, read_all(copies), strict=True):
        assert_clear(one)
        assert bool(one["frames"]) == (path.name in whole), (path, one)
        assert bool(one["said"]) != (path.name in whole), (path, one)


def test_every_broken_movie(shared: Path) -> None:
    files = [*sorted((shared / "media/broken_mp4").iterdir()), shared / "media/derived/audio_only.m4a"]
    for one in read_all(files):
        assert_clear(one)
        assert one["said"] and one["frames"] < 24, one


def saved(path: Path, kind: str, **attributes: Any) -> Path:
    pixels = np.random.default_rng(0).integers(0, 2**16, (200, 300, 3)).astype(np.uint16)
    spec = oiio.ImageSpec(300, 200, 3, kind)
    for name, value in attributes.items():
        if name == "tile":
            spec.tile_width = spec.tile_height = value
        else:
            spec[name] = value
    file = oiio.ImageOutput.create(str(path))
    assert file is not None and file.open(str(path), spec)
    assert file.write_image(pixels) and file.close()
    return path


MAKERS: dict[str, Callable[[Path], Path]] = {
    "zip": lambda folder: saved(folder / "p.0007.exr", "half", compression="zip"),
    "none": lambda folder: saved(folder / "p.0007.exr", "float", compression="none"),
    "tiled": lambda folder: saved(folder / "p.0007.exr", "half", compression="piz", tile=64),
    "dpx": lambda folder: saved(folder / "p.0007.dpx", "uint16"),
    "tiff": lambda folder: saved(folder / "p.0007.tif", "uint16"),
    "png": lambda folder: saved(folder / "p.0007.png", "uint16"),
    "jpeg": lambda folder: saved(folder / "p.0007.jpg", "uint8"),
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("part", [0.0, 0.02, 0.3, 0.9])
def test_cut_pictures(tmp_path: Path, kind: str, part: float) -> None:
    path = MAKERS[kind](tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(MienError, match=r"p\.0007"):
        shot = open_shot(path)
        read_region(shot, shot.first, shot.display)
    with pytest.raises(MienError, match=r"p\.0007"):
        shot = open_shot(path)
        read_native(shot, shot.first)


def test_other_things_named_like_pictures(tmp_path: Path) -> None:
    for name, content in (
        ("a.exr", b"not a picture at all, but a letter"),
        ("b.dpx", bytes(4096)),
        ("c.png", b"\x89PNG\r\n\x1a\n" + bytes(64)),
        ("d.jpg", b"\xff\xd8\xff\xe0" + bytes(64)),
        ("e.tif", b"II*\0" + bytes(64)),
        ("f.exr", struct.pack("<II", 20000630, 2)),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MienError, match=name):
            open_shot(tmp_path / name)
    (tmp_path / "g.docx").write_bytes(b"PK")
    with pytest.raises(MienError, match="neither a picture nor a movie"):
        open_shot(tmp_path / "g.docx")
    with pytest.raises(MienError, match="There is no"):
        open_shot(tmp_path / "absent.exr")
    with pytest.raises(MienError, match="no frame"):
        open_shot(tmp_path / "absent.####.exr")


def test_an_exr_that_is_a_png_inside_is_read(tmp_path: Path) -> None:
    saved(tmp_path / "p.png", "uint8")
    (tmp_path / "p.png").rename(tmp_path / "p.exr")
    assert open_shot(tmp_path / "p.exr").size == (300, 200)


def with_window(content: bytes, name: bytes, box: tuple[int, int, int, int]) -> bytes:
    mark = name + b"\0box2i\0" + struct.pack("<I", 16)
    start = content.index(mark) + len(mark)
    return content[:start] + struct.pack("<4i", *box) + content[start + 16 :]


def test_headers_that_claim_too_much_are_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    boxes = (
        (0, 0, 999_999, 999_999),
        (0, 0, 65_000, 65_000),
        (0, 0, 2**31 - 2, 199),
        (-(2**31), -(2**31), 2**31 - 1, 2**31 - 1),
        (10, 10, 5, 5),
        (0, 0, 15_000, 15_000),
    )
    write_plain(tmp_path / "p.exr", np.zeros((200, 300, 3), np.float32), provenance={})
    content = (tmp_path / "p.exr").read_bytes()
    paths = []
    for window in (b"dataWindow", b"displayWindow"):
        # A small picture on a large canvas is possible.
        for number, box in enumerate(boxes[: 6 if window == b"dataWindow" else 5]):
            paths.append(tmp_path / f"{window.decode()}{number}.exr")
            paths[-1].write_bytes(with_window(content, window, box))
    for one in read_all(paths):
        assert_clear(one)
        assert one["frames"] == 0 and len(one["said"]) == 1, one


def test_deep_pictures_say_what_to_do(shared: Path) -> None:
    with pytest.raises(MienError, match=r"Trunks\.exr holds only deep pictures\. Flatten it"):
        open_shot(shared / "media/openexr/v2/LowResLeftView/Trunks.exr")


def test_text_in_old_encodings_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "p.0001.exr"
    write_plain(path, np.ones((4, 5, 3), np.float32), provenance={"note": "XXXX"})
    path.write_bytes(path.read_bytes().replace(b"XXXX", "Jörg".encode("latin-1")))
    shot = open_shot(path)
    assert (read_region(shot, 1, shot.display) == 1).all()


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".mov"])
def test_a_movie_cut_in_the_middle(tmp_path: Path, ending: str) -> None:
    """What is there can be read; every other frame says its own number."""
    path = tmp_path / f"m{ending}"
    random = np.random.default_rng(0)
    pictures = [random.random((64, 96, 3)).astype(np.float32) for _ in range(48)]
    write_movie(
        path, pictures, "prores422" if ending == ".mov" else "h264", size=(96, 64), fps=Fraction(24),
        timecode="01:00:00:00",
    )  # fmt: skip
    whole = open_shot(path)
    reference = {frame: read_region(whole, frame, whole.display) for frame in whole.frames}
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * 0.55)])
    shot = open_shot(path)
    readable, told = [], []
    for frame in shot.frames:
        try:
            assert np.array_equal(read_region(shot, frame, shot.display), reference[frame])
            readable.append(frame)
        except MienError as error:
            assert f"Frame {frame} of {path}" in str(error)
            told.append(frame)
    assert readable[:10] == list(range(1, 11)) and len(readable) < 40
    if ending != ".mkv":
        # Matroska is written as it goes and does not promise how much is to come.
        assert len(shot.frames) == 48 and len(told) > 8


def test_one_damaged_frame_spoils_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "m.mov"
    random = np.random.default_rng(0)
    pictures = [random.random((64, 96, 3)).astype(np.float32) for _ in range(8)]
    write_movie(path, pictures, "prores422", size=(96, 64), fps=Fraction(24))
    content = bytearray(path.read_bytes())
    places = [index for index in range(len(content) - 4) if content[index : index + 4] == b"icpf"]
    assert len(places) == 8
    content[places[3] + 4 : places[3] + 60] = bytes(56)
    path.write_bytes(content)
    shot = open_shot(path)
    for frame in (8, 5, 3, 1, 6, 2, 7):
        read_region(shot, frame, shot.display)
    with pytest.raises(MienError, match=r"Frame 4 of .*m\.mov is damaged"):
        read_region(shot, 4, shot.display)
    read_region(shot, 5, shot.display)


def test_a_playlist_named_like_a_movie_opens_nothing(tmp_path: Path) -> None:
    saved(tmp_path / "frame.png", "uint8")
    for text in (
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n",
        f"ffconcat version 1.0\nfile {tmp_path / 'frame.png'}\n",
    ):
        (tmp_path / "m.mp4").write_text(text)
        with pytest.raises(MienError, match=r"m\.mp4"):
            open_shot(tmp_path / "m.mp4")


def test_odd_names_are_only_names(tmp_path: Path) -> None:
    """Colons, percent signs, brackets, spaces and other letters: FFmpeg and patterns take them as they are."""
    picture = np.full((64, 96, 3), 0.5, np.float32)
    for name in ("a:b.mov", "100% späße [1].mov", "concat:x|y.mov"):
        write_movie(tmp_path / name, [picture] * 2, "prores422", size=(96, 64), fps=Fraction(24))
        shot = open_shot(tmp_path / name)
        assert abs(float(read_region(shot, 2, shot.display).mean()) - 0.5) < 0.01
    write_plain(tmp_path / "späße 100%.exr", picture, provenance={})
    assert open_shot(tmp_path / "späße 100%.exr").size == (96, 64)

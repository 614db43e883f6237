"""What artists meet: damaged plates, wrong pictures, mistyped settings, full disks; through the real command line."""

import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenImageIO as oiio
import pytest

from mien import __main__ as command_line
from mien.files.tracks import read_tracks, write_tracks
from shots import FIRST, OVERSCAN, SIZE, Made, make_shot, plate_pixels, read_exr, write_exr
from tracking import portraits


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code and what it said."""

    code: int
    out: str
    err: str

    @property
    def outcome(self) -> dict[str, Any]:
        """The last event of ``--json``."""
        said: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        assert said["event"] == "outcome"
        return said


Mien = Callable[..., Ended]


@pytest.fixture
def mien(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mien:
    """Run ``mien ARGUMENTS`` as a shell would; a trace of Python is never an answer."""

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["mien", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            command_line.main()
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 0 if left.code is None else 1
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Ended(code, said.out, said.err)

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_shot(tmp_path_factory.mktemp("bad"), 3, write=("layer",))


def given(made: Made) -> tuple[object, ...]:
    """Arguments of a conversion that would run."""
    return ("convert", made.plate, "--identity", made.identity, "--track", made.track, "--device", "cpu")


def whole_files_only(folder: Path) -> None:
    """Nothing under a hidden name is left, and every EXR can be read to its end."""
    for path in folder.rglob("*"):
        assert not path.name.startswith("."), path
        if path.suffix == ".exr":
            assert read_exr(path)[1] is not None, path


def save(path: Path, picture: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.ascontiguousarray(picture[..., ::-1]))
    return path


@pytest.fixture
def known_networks(shared: Path) -> tuple[object, ...]:
    """Networks whose answers do not change when those in the package are trained again."""
    return ("--detector", "onnx", "--weights", shared / "weights", "--device", "cpu")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A portrait, two in one picture, and a wall."""
    folder = tmp_path_factory.mktemp("pictures")
    one = cv2.resize(portraits.picture("collins")[:320, 60:380], (200, 200), interpolation=cv2.INTER_AREA)
    other = cv2.resize(portraits.picture("hopper")[80:430, 90:440], (200, 200), interpolation=cv2.INTER_AREA)
    wall = np.random.default_rng(1).normal(120, 6, (200, 200, 3)).clip(0, 255).astype(np.uint8)
    return {
        "one": save(folder / "one.png", one),
        "other": save(folder / "other.png", other),
        "two": save(folder / "two.png", np.concatenate([one, other], 1)),
        "wall": save(folder / "wall.png", wall),
    }


# Arguments that cannot be.


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--colorspace", "ACESfoo"), r"no color space 'ACESfoo'. Did you mean .*ACEScg"),
        (("--set", "matte_edge.softn=1"), r"no setting 'softn': did you mean 'soften'"),
        (("--set", "matte_edge.soften=wide"), r"matte_edge\.soften.*'wide'"),
        (("--set", "matte_edge.soften=-3"), r"matte_edge\.soften.*-3"),
        (("--set", "matte_edge.soften=[[1001,0.1],[1"), r"write \[\[frame, value\]"),
        (("--set", "matte_edge.soften"), r"write NODE\.PARAM=VALUE"),
        (("--set", "matte_egde.soften=0.1"), r"no step 'matte_egde': did you mean 'matte_edge'"),
        (("--set", "match_color.method=magic"), r"magic.*(mkl|reinhard)"),
        (("--frames", "five"), r"'five' is no frame range. Write FIRST-LAST"),
        (("--frames", "1003-1001"), r"ends before it begins"),
        (("--write", "lyer"), r"did you mean 'layer'"),
        (("--window", "small"), r"choose face or full"),
        (("--codec", "h265"), r"choose h264"),
        (("--resize", "-4"), r"choose 16 to"),
        (("--likeness", "Somebody Else"), r"says itself whose likeness it is"),
    ],
)
def test_arguments_that_cannot_be_are_refused_before_work(
    mien: Mien, made: Made, tmp_path: Path, arguments: tuple[str, str], says: str
) -> None:
    ended = mien(*given(made), "-o", tmp_path / "out", *arguments)
    assert ended.code == 2, ended.err
    assert re.search(says, ended.err), ended.err
    assert ended.err.count("Error:") == 1 and not list(tmp_path.rglob("*.exr"))


@pytest.mark.parametrize("absent", ["plate.####.exr", "plate.mov", "plate.0001.exr"])
def test_a_missing_plate_is_named(mien: Mien, made: Made, tmp_path: Path, absent: str) -> None:
    ended = mien("convert", tmp_path / absent, *given(made)[2:], "-o", tmp_path / "out")
    assert ended.code == 1 and absent in ended.err and "Check the path" in ended.err
    assert not (tmp_path / "out").exists()


def test_frames_that_the_shot_does_not_have(mien: Mien, made: Made, tmp_path: Path) -> None:
    for command in ((*given(made), "-o", tmp_path / "out"), ("render", made.recipe)):
        ended = mien(*command, "--frames", "1-5")
        assert ended.code in (1, 2) and "1-5" in ended.err and "1001" in ended.err and "1003" in ended.err


def test_files_that_are_something_else(mien: Mien, made: Made, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "out")
    swapped = mien("convert", made.plate, "--identity", made.track, "--track", made.track, *out)
    assert swapped.code == 1 and str(made.track) in swapped.err and "identity" in swapped.err
    swapped = mien("convert", made.plate, "--identity", made.identity, "--track", made.identity, *out)
    assert swapped.code == 1 and str(made.identity) in swapped.err
    assert "no mien recipe" in mien("render", made.identity).err
    assert "There is no" in mien("inspect", tmp_path / "nothing.exr").err
    nobody = mien(*given(made), *out, "--face", "Bob")
    assert nobody.code == 1 and "'Bob'" in nobody.err and "It holds: A" in nobody.err


# Plates with damage.


def oversize(path: Path) -> None:
    """Let the header of an EXR claim a picture that no disk could hold."""
    content = bytearray(path.read_bytes())
    for name in (b"dataWindow\0box2i\0", b"displayWindow\0box2i\0"):
        place = content.index(name) + len(name) + 4
        content[place : place + 16] = struct.pack("<4i", 0, 0, 2_000_000_000, 2_000_000_000)
    path.write_bytes(content)


def deepen(path: Path) -> None:
    """Put a deep picture of the shot's size in place of an EXR."""
    spec = oiio.ImageSpec(*SIZE, 4, "float")
    spec.channelnames = ("R", "G", "B", "Z")
    spec.deep = True
    data = oiio.DeepData()
    data.init(SIZE[0] * SIZE[1], 4, (oiio.FLOAT,) * 4, ("R", "G", "B", "Z"))
    file = oiio.ImageOutput.create(str(path))
    assert file.open(str(path), spec) and file.write_deep_image(data), file.geterror()
    file.close()


def test_damaged_frames_are_named_and_the_others_done(mien: Mien, tmp_path: Path) -> None:
    made = make_shot(tmp_path, 10, write=("layer", "full"))
    plate = {frame: Path(made.plate % frame) for frame in made.frames}
    plate[1002].write_bytes(plate[1002].read_bytes()[: plate[1002].stat().st_size // 2])
    plate[1003].write_bytes(b"")
    plate[1004].write_text("I am no picture. " * 99)
    oversize(plate[1005])
    deepen(plate[1006])
    write_exr(plate[1007], np.ones((40, 40, 3), np.float32))
    plate[1008].unlink()
    plate[1009].unlink()
    plate[1009].mkdir()
    out = tmp_path / "converted"
    ended = mien(*given(made), "-o", out, "--write", "layer,full", "--json")
    assert ended.code == 1
    failed = ended.outcome["failed"]
    assert sorted(map(int, failed)) == list(range(1002, 1010))
    for frame, message in failed.items():
        assert frame in message and message.endswith("."), message
    assert re.search(r"deep.*Flatten", failed["1006"]) and "40 x 40" in failed["1007"]
    assert "missing" in failed["1008"] and re.search("cannot be right|Invalid display window", failed["1005"])
    assert ended.outcome["done"] == 2
    for kind in ("layer", "full"):
        assert sorted(p.name for p in (out / kind).iterdir()) == ["shot.1001.exr", "shot.1010.exr"]
    whole_files_only(out)

    # Mended frames are done by running again, and only they.
    for frame in (1002, 1003):
        write_exr(plate[frame], plate_pixels(frame), (-OVERSCAN, -OVERSCAN), SIZE, colorInteropID="lin_ap1_scene")
    again = mien(*given(made), "-o", out, "--write", "layer,full", "--json")
    assert again.code == 1 and len(again.outcome["failed"]) == 6
    assert again.outcome["done"] + again.outcome["skipped"] == 4


def test_a_first_frame_that_is_damaged_does_not_spoil_the_shot(mien: Mien, tmp_path: Path) -> None:
    made = make_shot(tmp_path, 3, write=("layer",))
    Path(made.plate % FIRST).write_bytes(b"")
    ended = mien("render", made.recipe, "--device", "cpu")
    assert ended.code == 1 and f"render failed in frame {FIRST}" in ended.err and "2 frames done" in ended.err
    assert "1 failed: 1001" in ended.err


def test_frames_that_fail_alike_are_told_in_one_line(mien: Mien, tmp_path: Path) -> None:
    made = make_shot(tmp_path, 8, write=("layer",))
    for frame in range(1002, 1008):
        Path(made.plate % frame).unlink()
    ended = mien("render", made.recipe, "--device", "cpu")
    assert ended.code == 1
    assert re.search(r"6 failed: 1002-1007\n  1002-1007: Frame # of .* is missing\. Render or copy it\.\n", ended.err)


def test_a_damaged_frame_is_no_frame_without_a_face(mien: Mien, tmp_path: Path) -> None:
    made = make_shot(tmp_path, 3, write=("layer",))
    cut = Path(made.plate % (FIRST + 1))
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    file = read_tracks(made.track)
    write_tracks(made.track, (replace(file.tracks[0], points=file.tracks[0].points + 5000),), file.plate)
    ended = mien(*given(made), "-o", tmp_path / "out", "--json")
    assert ended.code == 1 and list(ended.outcome["failed"]) == [str(FIRST + 1)] and ended.outcome["done"] == 2
    assert cut.name in ended.outcome["failed"][str(FIRST + 1)]


def test_a_plate_of_nothing_but_damage(mien: Mien, made: Made, tmp_path: Path) -> None:
    for frame in range(1, 4):
        (tmp_path / f"plate.{frame:04d}.exr").write_bytes(b"")
    ended = mien("convert", tmp_path / "plate.####.exr", *given(made)[2:], "-o", tmp_path / "out")
    assert ended.code == 1 and "plate.0001.exr" in ended.err and ended.err.count("Error:") == 1


def test_a_movie_whose_end_is_damaged(mien: Mien, shared: Path, pictures: dict[str, Path], tmp_path: Path) -> None:
    whole = shared / "media" / "intel" / "asl_gestures" / "thanks.mkv"
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[:40_000])
    start = ("convert", cut, "--source", pictures["other"], "-o", tmp_path / "out", "--device", "cpu", "--json")
    ended = mien(*start, "--write", "layer,movie")
    failed = sorted(map(int, ended.outcome["failed"]))
    assert ended.code == 1 and len(failed) > 10 and failed == list(range(failed[0], failed[-1] + 1))
    assert ended.outcome["done"] == failed[0] - 1 > 5
    assert len(list((tmp_path / "out" / "layer").iterdir())) == ended.outcome["done"]


def test_a_movie_cut_in_the_middle(mien: Mien, made: Made, shared: Path, tmp_path: Path) -> None:
    """What is left of it is tracked; what is not, is said."""
    for name in ("truncated_60pct", "no_moov", "empty", "text_named_mp4", "random_64k"):
        movie = shared / "media" / "broken_mp4" / f"{name}.mp4"
        ended = mien("track", movie, "-o", tmp_path / f"{name}.json", "--json", "--device", "cpu")
        if ended.code == 1 and ended.out:
            assert ended.outcome["failed"], name
            assert all(message.endswith(".") for message in ended.outcome["failed"].values())
        else:
            assert ended.code == 1 and movie.name in ended.err and ended.err.count("Error:") == 1, (name, ended)
    sound = shared / "media" / "derived" / "audio_only.m4a"
    ended = mien("track", sound, "-o", tmp_path / "sound.json")
    assert ended.code == 1 and sound.name in ended.err


# Pictures without the face that is looked for.


def test_no_face_on_the_plate(mien: Mien, pictures: dict[str, Path], tmp_path: Path) -> None:
    ended = mien("convert", pictures["wall"], "--source", pictures["one"], "-o", tmp_path / "out", "--device", "cpu")
    assert ended.code == 1
    assert re.search(r"No face in .*wall\.png, frames 1-1\. Lower .*or place points by hand", ended.err)
    assert not list(tmp_path.rglob("*.exr"))
    tracked = mien("track", pictures["wall"], "-o", tmp_path / "wall.json", "--json")
    assert tracked.code == 1 and list(tracked.outcome["failed"].values()) == ["No face was found."]


def test_a_cat_is_nobody(
    mien: Mien, pictures: dict[str, Path], shared: Path, known_networks: tuple[object, ...], tmp_path: Path
) -> None:
    cat = shared / "media" / "scikit-image" / "chelsea.png"
    plate = mien("convert", cat, "--source", pictures["one"], "-o", tmp_path / "plate", *known_networks)
    assert plate.code == 1 and "No face in" in plate.err and "chelsea.png" in plate.err
    source = mien("convert", pictures["one"], "--source", cat, "-o", tmp_path / "source", *known_networks)
    assert source.code == 1 and re.search(r"No (clear )?face in the source .*chelsea\.png\. Choose", source.err)
    assert not list(tmp_path.rglob("*.exr"))


def test_a_source_with_no_face_or_two(mien: Mien, made: Made, pictures: dict[str, Path], tmp_path: Path) -> None:
    start = ("convert", made.plate, "--track", made.track, "-o", tmp_path / "out", "--device", "cpu")
    none = mien(*start, "--source", pictures["wall"])
    assert none.code == 1 and "No face in the source" in none.err and "wall.png" in none.err
    two = mien(*start, "--source", pictures["two"])
    assert two.code == 1 and "2 faces in the source" in two.err and "Crop it" in two.err
    several = mien(*start, "--source", pictures["one"], "--source", pictures["two"])
    assert several.code == 1 and "two.png" in several.err
    assert not list(tmp_path.rglob("*.exr")) and not list(tmp_path.rglob("*.safetensors"))


def moving(folder: Path, name: str, places: list[tuple[float, float]], size: tuple[int, int], width: float) -> Path:
    """A sequence of a portrait that goes from place to place."""
    placings = [portraits.placing(name, width, x, y) for x, y in places]
    shot, _ = portraits.camera_shot(name, placings, size)
    for row, frame in enumerate(shot.frames):
        assert frame is not None
        save(folder / f"plate.{FIRST + row}.png", frame)
    return folder / "plate.####.png"


def test_a_face_that_leaves_the_frame(
    mien: Mien, pictures: dict[str, Path], known_networks: tuple[object, ...], tmp_path: Path
) -> None:
    places = [(160.0 + 20 * i, 110.0) for i in range(13)]
    plate = moving(tmp_path / "plate", "collins", places, (300, 220), 90.0)
    out = tmp_path / "out"
    ended = mien("convert", plate, "--source", pictures["other"], "-o", out, *known_networks)
    assert ended.code == 0, ended.err
    assert len(list((out / "layer").iterdir())) == 13
    first, _ = read_exr(out / "layer" / f"plate.{FIRST}.exr")
    last, pixels = read_exr(out / "layer" / f"plate.{FIRST + 12}.exr")
    assert first.width > 60 and not pixels.any() and (last.full_width, last.full_height) == (300, 220)


def test_two_faces_that_cross_are_never_taken_for_each_other(
    mien: Mien, pictures: dict[str, Path], known_networks: tuple[object, ...], tmp_path: Path
) -> None:
    size, steps = (420, 240), 12
    one, other = (cv2.imread(str(pictures[name]))[..., ::-1] for name in ("one", "other"))
    corners = [(10 + 210 * i // (steps - 1), 210 - 200 * i // (steps - 1)) for i in range(steps)]
    for i, (behind, front) in enumerate(corners):
        canvas = np.full((size[1], size[0], 3), 90, np.uint8)
        canvas[30:230, behind : behind + 200] = other
        canvas[40:240, front : front + 200] = one
        save(tmp_path / "plate" / f"plate.{FIRST + i}.png", canvas)
    track = tmp_path / "track.json"
    ended = mien("track", tmp_path / "plate" / "plate.####.png", "-o", track, *known_networks)
    assert ended.code == 0, ended.err
    seen = {0: set(), 1: set()}
    for person in read_tracks(track).tracks:
        x = person.points[..., 0].mean(1).numpy()[person.confidence.numpy() > 0.5]
        frames = np.arange(person.first, person.last + 1)[person.confidence.numpy() > 0.5] - FIRST
        # Where the face is in each portrait, give or take half a face.
        away = np.abs(x[:, None] - (np.array(corners)[frames] + 100))
        apart = np.abs(np.diff(np.array(corners)[frames], axis=1))[:, 0] > 60
        whose = set(away.argmin(1)[apart].tolist())
        assert len(whose) <= 1, (person.name, ended.err)
        for who in whose:
            seen[who].update(frames[apart].tolist())
    assert len(seen[0]) >= 6 and len(seen[1]) >= 6, ended.err


# Disks.


def test_the_output_is_a_file(mien: Mien, made: Made, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    for out in (tmp_path / "out", tmp_path / "out" / "deeper"):
        ended = mien(*given(made), "-o", out)
        assert ended.code == 1 and str(out) in ended.err and "Choose another" in ended.err
    assert (tmp_path / "out").read_text() == "in the way"
    (tmp_path / "folder" / "layer").mkdir(parents=True)
    (tmp_path / "folder" / "layer" / f"shot.{FIRST + 1}.exr").mkdir()
    ended = mien(*given(made), "-o", tmp_path / "folder", "--json")
    assert ended.code == 1 and list(ended.outcome["failed"]) == [str(FIRST + 1)] and ended.outcome["done"] == 2
    assert f"shot.{FIRST + 1}.exr" in ended.outcome["failed"][str(FIRST + 1)]


def limited(most: int) -> Callable[[], None]:
    """No file of the process may grow beyond this many bytes, as on a disk with no room for more."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def test_a_disk_with_no_room_for_pictures(made: Made, tmp_path: Path) -> None:
    recipe = made.changed("no_room")
    done = subprocess.run(
        [sys.executable, "-m", "mien", "render", str(recipe), "--device", "cpu", "--json"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limited(60_000),
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    failed = json.loads(done.stdout.splitlines()[-1])["failed"]
    assert sorted(map(int, failed)) == list(made.frames)
    assert all("free space" in message and "layer" in message for message in failed.values())
    assert not list((made.folder / "no_room").rglob("*.exr"))
    whole_files_only(made.folder / "no_room")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 192 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    asked = subprocess.run([mount, "-t", "tmpfs", "-o", "size=192k", "tmpfs", str(place)], capture_output=True)
    if asked.returncode:
        pytest.skip(f"no small disk can be mounted here: {asked.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_fills_up(mien: Mien, made: Made, small_disk: Path) -> None:
    ended = mien(*given(made), "-o", small_disk, "--pixels", "float", "--json")
    assert ended.code == 1
    if ended.out and '"outcome"' in ended.out:
        assert ended.outcome["failed"]
        assert all("space" in message for message in ended.outcome["failed"].values())
    else:
        assert "space" in ended.err and ended.err.count("Error:") == 1
    whole_files_only(small_disk)


def test_a_movie_that_the_disk_has_no_room_for(made: Made) -> None:
    recipe = made.changed("no_room_for_movie", write=("layer", "movie"), codec="prores4444", side_by_side=True)
    command = [sys.executable, "-m", "mien", "render", str(recipe), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limited(150_000))
    folder = made.folder / "no_room_for_movie"
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert re.search(r"Cannot write .*\.mov.*free space", done.stderr), done.stderr
    assert len(list((folder / "layer").glob("*.exr"))) == 3 and not list(folder.glob("*.mov"))
    whole_files_only(folder)


def test_frames_that_failed_are_listed_where_the_movie_fails_too(mien: Mien, made: Made) -> None:
    recipe = made.changed("no_movie", write=("layer", "movie"), codec="prores4444")
    folder = made.folder / "no_movie"
    (folder / "layer" / f"shot.{FIRST + 1}.exr").mkdir(parents=True)
    (folder / "shot.mov").mkdir()
    ended = mien("render", recipe, "--device", "cpu")
    assert ended.code == 1
    assert re.search(rf"Error: .*shot\.mov.*\n1 failed: {FIRST + 1}\n  {FIRST + 1}: .*layer", ended.err), ended.err


def test_a_reader_that_leaves(made: Made) -> None:
    """``mien ... --json | head -1`` ends without a trace and without complaint."""
    mien_there = f"{sys.executable} -m mien render {made.changed('left')} --device cpu --json"
    command = ["bash", "-c", f"set -o pipefail; {mien_there} | head -1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["event"] == "progress"
    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr, done.stderr
    whole_files_only(made.folder / "left")


def test_a_track_of_another_plate(mien: Mien, made: Made, tmp_path: Path) -> None:
    """A face far outside the plate is no face on it: empty layers, not a crash."""
    file = read_tracks(made.track)
    far = replace(file.tracks[0], points=file.tracks[0].points + 5000)
    write_tracks(tmp_path / "far.json", (far,), file.plate)
    start = ("convert", made.plate, "--identity", made.identity, "--track", tmp_path / "far.json")
    ended = mien(*start, "-o", tmp_path / "out", "--device", "cpu")
    assert ended.code in (0, 1), ended.err
    for path in (tmp_path / "out" / "layer").glob("*.exr"):
        assert not read_exr(path)[1].any()

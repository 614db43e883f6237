"""Track files: what goes in comes out, damage is told, a kill leaves the former file whole."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.files.tracks import TrackedPlate, read_tracks, track_path, write_tracks
from mien.types import FaceTrack, MienError

PLATE = TrackedPlate("plates/sc010.####.exr", 1920, 1080, 1001, 1012, 2.0, Fraction(24000, 1001))


def make_track(name: str = "anna", scheme: str = "mesh", frames: int = 12, seed: int = 0) -> FaceTrack:
    generator = torch.Generator().manual_seed(seed)
    count = {"mesh": 468, "ibug68": 68}[scheme]
    points = torch.rand(frames, count, 3, generator=generator) * 1000
    confidence = torch.rand(frames, generator=generator)
    lost = torch.arange(frames) % 5 == 3
    points[lost] = torch.nan
    confidence[lost] = 0
    return FaceTrack(
        name=name,
        first=1001,
        points=points,
        weight=torch.rand(frames, count, generator=generator),
        confidence=confidence,
        keyed=torch.arange(frames) % 7 == 2,
        scheme=scheme,
        aspect=2.0,
        ignored=name == "bob",
    )


def same(a: FaceTrack, b: FaceTrack) -> bool:
    return (a.name, a.first, a.scheme, a.aspect, a.ignored) == (
        b.name,
        b.first,
        b.scheme,
        b.aspect,
        b.ignored,
    ) and all(
        torch.equal(getattr(a, key).nan_to_num(-1), getattr(b, key).nan_to_num(-1))
        for key in ("points", "weight", "confidence", "keyed")
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    tracks = (
        make_track(),
        make_track("bob", "ibug68", 40, 1),
        replace(make_track("Zoë ♥"), points=torch.zeros(12, 468, 3)),
    )
    digest = write_tracks(tmp_path / "shot.json", tracks, PLATE)
    read = read_tracks(tmp_path / "shot.json")
    assert read.plate == PLATE
    assert read.digest == digest
    assert len(read.tracks) == 3
    assert all(map(same, tracks, read.tracks))
    assert same(read.person("bob"), tracks[1])
    with pytest.raises(MienError, match=r"anna, bob"):
        read.person("carl")


@settings(max_examples=25)
@given(st.lists(st.floats(0, 1, width=32), max_size=33), st.integers(-50, 10**6))
def test_confidence_survives_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], first: int
) -> None:
    path = tmp_path_factory.mktemp("track") / "a.json"
    frames = len(values)
    track = FaceTrack(
        "a",
        first,
        torch.zeros(frames, 68, 3),
        torch.zeros(frames, 68),
        torch.tensor(values, dtype=torch.float32),
        torch.zeros(frames, dtype=torch.bool),
        "ibug68",
    )
    write_tracks(path, (track,), replace(PLATE, aspect=1.0))
    assert same(read_tracks(path).tracks[0], track)


def test_same_track_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_tracks(tmp_path / folder / "shot.json", (make_track(), make_track("bob")), PLATE)
    names = sorted(file.name for file in (tmp_path / "a").iterdir())
    assert names == sorted(file.name for file in (tmp_path / "b").iterdir())
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)


def test_digest_follows_what_matters(tmp_path: Path) -> None:
    path, track = tmp_path / "a.json", make_track()
    digest = write_tracks(path, (track,), PLATE)
    assert write_tracks(tmp_path / "b.json", (track,), replace(PLATE, path="elsewhere/sc010.####.exr")) == digest
    moved = replace(track, points=track.points + 1e-3)
    for other in (
        replace(track, name="eve"),
        replace(track, ignored=True),
        replace(track, confidence=track.confidence / 2),
        moved,
    ):
        assert write_tracks(path, (other,), PLATE) != digest


def test_json_is_for_people(tmp_path: Path) -> None:
    write_tracks(tmp_path / "a.json", (make_track(frames=25),), PLATE)
    lines = (tmp_path / "a.json").read_text().splitlines()
    assert '  "version": 1,' in lines
    assert sum('"1011": [' in line for line in lines) == 1
    assert max(map(len, lines)) < 160
    before = set(lines)
    track = make_track(frames=25)
    track.confidence[12] = 0.5
    write_tracks(tmp_path / "a.json", (track,), PLATE)
    assert len(set((tmp_path / "a.json").read_text().splitlines()) - before) == 1, "one frame, one line"


def test_rewriting_leaves_one_pair(tmp_path: Path) -> None:
    other = write_tracks(tmp_path / "shot.b.json", (make_track(seed=9),), PLATE)
    for seed in range(3):
        write_tracks(tmp_path / "shot.json", (make_track(seed=seed),), PLATE)
    assert len(list(tmp_path.iterdir())) == 4
    assert read_tracks(tmp_path / "shot.b.json").digest == other


def test_killed_while_writing_leaves_a_whole_track(tmp_path: Path) -> None:
    path = tmp_path / "shot.json"
    digest = write_tracks(path, (make_track(),), PLATE)
    script = (
        "import sys, torch; sys.path[:0] = sys.argv[1:3]; from pathlib import Path\n"
        "from files.test_tracks import PLATE, make_track; from mien.files.tracks import write_tracks\n"
        "tracks = [(make_track(seed=seed, frames=60),) for seed in range(2)]; print('go', flush=True)\n"
        "while True:\n"
        "    for each in tracks: write_tracks(Path(sys.argv[3]), each, PLATE)\n"
    )
    roots = [str(Path(__file__).parents[2] / "engine"), str(Path(__file__).parents[1])]
    digests = {digest}
    for wait in (0.0, 0.013, 0.031):
        with subprocess.Popen([sys.executable, "-c", script, *roots, str(path)], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(wait)
            os.kill(child.pid, signal.SIGKILL)
        digests.add(read_tracks(path).digest)
    write_tracks(path, (make_track(),), PLATE)
    assert read_tracks(path).digest == digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.update(version=2), "version 2"),
        (lambda text: text.update(mien="recipe"), "no mien track"),
        (lambda text: text.pop("plate"), "'plate'"),
        (lambda text: text["plate"].update(width=True), "'width'"),
        (lambda text: text["plate"].update(rate="1/0"), "frame rate"),
        (lambda text: text["people"][0].update(last=10**12), "frames"),
        (lambda text: text["people"][0].update(first=1000), "not what"),
        (lambda text: text["people"][0].update(scheme="wflw98"), "wflw98"),
        (lambda text: text["people"][0].update(keyed=[5]), "keyed"),
        (lambda text: text["people"][0]["confidence"].update({"1001": [2.0]}), "0 to 1"),
        (lambda text: text["people"][0].update(confidence={}), "ends at"),
        (lambda text: text["people"].append(dict(text["people"][0])), "not what"),
        (lambda text: text["arrays"].update(file="../a.safetensors"), "no arrays"),
        (lambda text: text["arrays"].update(sha256="0" * 64), "not what"),
        (lambda text: text["arrays"].update(file="gone.safetensors"), "missing"),
    ],
)
def test_damage_in_the_json_is_told(tmp_path: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "shot.json"
    write_tracks(path, (make_track(),), PLATE)
    text = json.loads(path.read_text())
    change(text)
    path.write_text(json.dumps(text))
    with pytest.raises(MienError, match=message) as error:
        read_tracks(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"mien": "track"}'])
def test_files_that_are_no_tracks_are_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(MienError, match=r"a\.json"):
        read_tracks(tmp_path / "a.json")


def test_damaged_arrays_are_told(tmp_path: Path) -> None:
    path = tmp_path / "shot.json"
    write_tracks(path, (make_track(),), PLATE)
    (beside,) = tmp_path.glob("*.safetensors")
    content = bytearray(beside.read_bytes())
    for damaged in (content[:-1], content[: len(content) // 2], b"", content[:200] + b"\x01" + content[201:]):
        beside.write_bytes(damaged)
        with pytest.raises(MienError, match="Copy both files together"):
            read_tracks(path)


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(MienError, match="Cannot write"):
        write_tracks(Path("/dev/null/a.json"), (make_track(),), PLATE)
    with pytest.raises(MienError, match="called 'anna'"):
        write_tracks(tmp_path / "a.json", (make_track(), make_track()), PLATE)
    with pytest.raises(MienError, match=r"a\.track\.json"):
        write_tracks(tmp_path / "a.track", (make_track(),), PLATE)
    with pytest.raises(ValueError, match="expected"):
        write_tracks(tmp_path / "a.json", (replace(make_track(), weight=torch.zeros(12, 3)),), PLATE)
    assert not list(tmp_path.iterdir())


def test_a_track_is_told_from_other_files(tmp_path: Path) -> None:
    write_tracks(tmp_path / "a.json", (), PLATE)
    (tmp_path / "b.json").write_text('{"mien": "recipe"}')
    assert track_path(tmp_path / "a.json")
    assert not track_path(tmp_path / "b.json")
    assert not track_path(tmp_path / "c.json")
    assert read_tracks(tmp_path / "a.json").tracks == ()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "shot.json"
    write_tracks(path, (make_track(),), PLATE)
    return path


LITERALS = [b"null", b"true", b"-1", b"1e400", b"1e99", b'"x"', b"[]", b"{}", b"NaN", b"99999999999999999999"]


@settings(max_examples=300)
@given(st.data())
def test_any_change_is_read_or_told(whole: Path, data: st.DataObject) -> None:
    """Whatever value of the JSON is replaced by whatever literal, nothing but MienError comes of it."""
    content = whole.read_bytes()
    places = [match.span() for match in re.finditer(rb'(?<=[:\[,] )("[^"\n]*"|-?[\d.]+|true|false)|[{\[]', content)]
    start, stop = data.draw(st.sampled_from(places))
    changed = content[:start] + data.draw(st.sampled_from(LITERALS)) + content[stop:]
    path = whole.with_name("changed.json")
    path.write_bytes(changed)
    with contextlib.suppress(MienError):
        assert len(read_tracks(path).tracks) <= 1

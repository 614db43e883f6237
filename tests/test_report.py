"""Figures of a track against tracks whose figures are known."""

import json
import math
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from rich.console import Console

from mien import mesh
from mien.files.tracks import TrackedPlate, TrackFile
from mien.report import bars, print_tracks, track_report
from mien.types import FaceTrack

PLATE = TrackedPlate("sc010.####.exr", 1920, 1080, 1001, 1120, 1.0, Fraction(24))


def moving(noise: float = 0.0, shake: float = 0.0, frames: int = 120, aspect: float = 1.0) -> FaceTrack:
    """A head that turns from -40° to 40° while the camera pans, with known errors added."""
    generator = torch.Generator().manual_seed(5)
    time = torch.linspace(0, 1, frames)
    turn = mesh.rotation_of(80 * time - 40, 10 * torch.sin(6 * time), torch.zeros(frames))
    points = mesh.CANONICAL @ turn.mT * 200 + torch.tensor([600.0, 500.0, 0.0])
    points[..., 0] += 300 * time[:, None]
    points[..., :2] += noise * torch.randn(frames, 468, 2, generator=generator)
    points[..., :2] += shake * torch.randn(frames, 1, 2, generator=generator)
    points[..., 0] /= aspect
    return FaceTrack(
        "anna",
        1001,
        points,
        torch.ones(frames, 468),
        torch.full((frames,), 0.9),
        torch.arange(frames) == 7,
        "mesh",
        aspect,
    )


def told(track: FaceTrack) -> dict[str, object]:
    person: dict[str, object] = track_report(TrackFile(PLATE, (track,), "0"))["people"][0]
    return person


def printed(file: TrackFile, columns: int) -> str:
    console = Console(width=columns)
    with console.capture() as capture:
        print_tracks(file, console)
    return capture.get()


@pytest.mark.parametrize("noise", [0.1, 0.5, 2.0])
def test_jitter_is_the_noise_that_was_added(noise: float) -> None:
    assert told(moving(noise))["jitter"] == pytest.approx(noise, rel=0.08)


def test_shake_is_told_from_jitter() -> None:
    both = told(moving(0.2, shake=1.0))
    assert both["shake"] == pytest.approx(1.0, rel=0.25)
    assert both["jitter"] == pytest.approx(0.2, rel=0.08)
    smooth = told(moving())
    assert smooth["jitter"] == pytest.approx(0, abs=0.02)
    assert smooth["shake"] == pytest.approx(0, abs=0.02)


def test_figures() -> None:
    track = moving(aspect=2.0)
    track.points[50:60], track.confidence[50:60] = torch.nan, 0
    track.confidence[3] = 0.25
    plate = replace(PLATE, first=991)
    (person,) = track_report(TrackFile(plate, (track,), "0"))["people"]
    assert person["lost"] == [[991, 1000], [1051, 1060]]
    assert (person["seen"], person["frames"]) == (110, 130)
    assert person["coverage"] == pytest.approx(110 / 130, abs=1e-4)
    assert person["keyed"] == [1008]
    assert person["confidence"] == {"lowest": 0.25, "median": 0.9, "highest": 0.9}
    assert person["yaw"]["lowest"] == pytest.approx(-40, abs=0.2)
    assert person["yaw"]["highest"] == pytest.approx(40, abs=0.2)
    across = float(mesh.CANONICAL[:, 0].max() - mesh.CANONICAL[:, 0].min()) * 200 / 2
    assert person["width"]["median"] == pytest.approx(across, rel=0.01)
    assert json.loads(json.dumps(person)) == person


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5])
def test_short_shots_and_lost_people(frames: int) -> None:
    plate = replace(PLATE, last=1000 + frames)
    track = moving(frames=frames)
    small = replace(
        track, name="bob", points=torch.zeros(frames, 68, 3), weight=torch.zeros(frames, 68), scheme="ibug68"
    )
    gone = replace(small, name="eve", points=torch.full((frames, 68, 3), torch.nan), confidence=torch.zeros(frames))
    elsewhere = replace(track, name="zoe", first=1)
    file = TrackFile(plate, (track, gone, elsewhere), "0")
    people = track_report(file)["people"]
    assert [person["seen"] for person in people] == [frames, 0, 0]
    assert people[1]["jitter"] is None
    assert people[1]["lost"] == [[1001, 1000 + frames]]
    json.dumps(people, allow_nan=False)
    assert "eve" in printed(file, 80)


def test_text_fits_a_terminal_and_tells_what_matters() -> None:
    track = moving(0.3)
    track.points[50:60], track.confidence[50:60] = torch.nan, 0
    for columns in (60, 80, 140):
        text = printed(TrackFile(PLATE, (track, replace(track, name="bob", ignored=True)), "0"), columns)
        assert max(map(len, text.splitlines())) <= columns
        for words in (
            "sc010.####.exr",
            "1051-1060",
            "bob",
            "ignored",
            "placed by hand on 1008",
            "91.7 %",
            "shakes by 0.0",
        ):
            assert words in text
        line = next(line for line in text.splitlines() if line.startswith("confidence"))
        assert "·" in line and "█" in line
    assert "Nobody" in printed(TrackFile(PLATE, (), "0"), 80)


def test_bars() -> None:
    assert bars(torch.arange(8.0), 8, lowest=0, highest=8) == "▁▂▃▄▅▆▇█"
    assert bars(torch.arange(80.0), 8, lowest=0, highest=80) == "▁▂▃▄▅▆▇█"
    assert bars(torch.tensor([math.nan, 1.0]), 80, lowest=0, highest=1) == "·█"
    assert bars(torch.tensor([]), 80, lowest=0, highest=1) == ""

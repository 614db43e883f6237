"""What is drawn over a plate: where it should be, readable, and nowhere else."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from mien import mesh, preview
from mien.files.shot import open_shot
from mien.types import FaceTrack


def face(center: tuple[float, float] = (320.0, 180.0), eyes: float = 80.0, yaw: float = 0.0) -> torch.Tensor:
    turn = mesh.rotation_of(torch.tensor(yaw), torch.tensor(0.0), torch.tensor(0.0))
    return mesh.CANONICAL @ turn.T * eyes + torch.tensor([*center, 0.0])


def track(name: str, points: torch.Tensor, confidence: float = 0.9, **changes: Any) -> FaceTrack:
    made = FaceTrack(
        name,
        10,
        points[None],
        torch.ones(1, len(points)),
        torch.tensor([confidence]),
        torch.zeros(1, dtype=torch.bool),
        "mesh" if len(points) == 468 else "ibug68",
    )
    return replace(made, **changes)


def changed(picture: np.ndarray[Any, Any], drawn: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return (picture != drawn).any(2)


PLATE = np.full((360, 640, 3), 90, np.uint8)


@pytest.mark.parametrize("scheme", ["mesh", "ibug68"])
def test_lines_go_through_the_points(scheme: str) -> None:
    points = face()
    points = points if scheme == "mesh" else mesh.to_ibug68(points)
    drawn = preview.draw(PLATE, preview.marked_faces([track("anna", points)], 10))
    marks = changed(PLATE, drawn)
    rim = points[mesh.OVAL] if scheme == "mesh" else points[:17]
    for x, y, _ in rim.tolist():
        assert marks[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].any()
    columns = np.nonzero(marks)[1]
    assert columns.min() > points[:, 0].min() - 40 and columns.max() < points[:, 0].max() + 40
    assert PLATE.min() == PLATE.max() == 90, "the picture given stays as it was"


def test_lines_are_placed_below_a_pixel() -> None:
    """The same mesh half a pixel to the right draws a picture whose weight lies half a pixel to the right."""
    centers = []
    for shift in (0.0, 0.5, 1.0):
        points = face((320.0 + shift, 180.0))
        drawn = preview.draw(PLATE, [preview.marked_faces([track("", points)], 10)[0]])
        weight = np.abs(drawn.astype(float) - 90).sum(2)[60:]
        centers.append(float((weight.sum(0) * np.arange(640)).sum() / weight.sum()))
    assert centers[1] - centers[0] == pytest.approx(0.5, abs=0.2)
    assert centers[2] - centers[0] == pytest.approx(1.0, abs=0.1)


def test_axes_follow_the_head() -> None:
    """Blue points to where the nose does: to the right of the picture for positive yaw."""
    for yaw in (-50.0, 50.0):
        drawn = preview.draw(PLATE, preview.marked_faces([track("anna", face(yaw=yaw))], 10)).astype(int)
        _, columns = np.nonzero(np.abs(drawn - preview.AXES[2]).sum(2) < 30)
        assert np.sign(columns.mean() - 320) == np.sign(yaw)


def test_wide_pixels_are_shown_square() -> None:
    squeezed = face() / torch.tensor([2.0, 1.0, 1.0])
    wide = preview.marked_faces([track("anna", squeezed, aspect=2.0)], 10)
    assert wide[0].points is not None
    torch.testing.assert_close(wide[0].points, face())


def test_lost_people_are_listed_and_nobody_else_is_drawn() -> None:
    nothing = torch.full((468, 3), torch.nan)
    for points, confidence, frame in ((nothing, 0.0, 10), (face(), 0.0, 10), (face(), 0.9, 11), (nothing, 0.9, 10)):
        faces = preview.marked_faces([track("anna", points, confidence)], frame)
        assert faces[0].points is None
        marks = changed(PLATE, preview.draw(PLATE, faces))
        assert marks[330:].any() and not marks[:330].any()
        ignored = preview.draw(PLATE, [replace(faces[0], ignored=True)])
        assert not changed(PLATE, ignored).any()
    assert not changed(PLATE, preview.draw(PLATE, [])).any()


def test_trust_shows() -> None:
    sure, unsure = (
        preview.draw(PLATE, preview.marked_faces([track("anna", face(), weight=torch.full((1, 468), weight))], 10))
        for weight in (1.0, 0.1)
    )
    low = slice(150, 260)
    assert np.abs(sure[low].astype(int) - 90).sum() > 2 * np.abs(unsure[low].astype(int) - 90).sum()
    placed = preview.draw(PLATE, preview.marked_faces([track("anna", face(), keyed=torch.ones(1).bool())], 10))
    assert changed(sure, placed).any()


@pytest.mark.parametrize("center", [(-50.0, 100.0), (640.0, 360.0), (320.0, -20.0), (1e7, 1e7)])
def test_faces_that_leave_the_picture(center: tuple[float, float]) -> None:
    drawn = preview.draw(PLATE, preview.marked_faces([track("anna", face(center)), track("bob", face(eyes=4.0))], 10))
    assert drawn.shape == PLATE.shape
    assert drawn.dtype == np.uint8


class Still:
    """Five frames of gray, the third of which is missing."""

    first, last, aspect = 10, 14, 1.0

    def picture(self, frame: int) -> Any:
        return None if frame == 12 else PLATE


def test_frames_come_in_order_and_missing_ones_are_shown(tmp_path: Path, shared: Path) -> None:
    frames = list(preview.preview_frames(Still(), [track("anna", face())]))
    assert [frame for frame, _ in frames] == [10, 11, 12, 13, 14]
    assert all(picture.shape == PLATE.shape for _, picture in frames)
    shot = open_shot(str(shared / "media" / "derived" / "h264_aac.mp4"))
    told: list[Any] = []
    preview.write_preview(tmp_path / "a.mp4", shot, Still(), [track("anna", face())], told.append)
    with av.open(str(tmp_path / "a.mp4")) as movie:
        stream = movie.streams.video[0]
        shown = [frame.to_ndarray(format="rgb24") for frame in movie.decode(stream)]
        assert stream.average_rate == (shot.fps or Fraction(24))
    assert len(shown) == len(told) == 5
    assert shown[0].shape[:2] == (shot.size[1], shot.size[0])

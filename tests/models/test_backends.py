"""Crops around faces, and the choices of networks behind one interface."""

import math
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mien import mesh
from mien.models import backends
from mien.models.backends import face_alignment, onnx
from mien.models.crops import (
    LEVEL,
    SCALE,
    crop_from_detection,
    crop_from_points,
    crop_matrices,
    cut_crops,
    to_picture,
    turn,
)
from mien.types import MienError


def portrait():
    return cv2.imread(str(Path(skimage.__file__).parent / "data" / "astronaut.png"), cv2.IMREAD_COLOR_RGB)


def face_at(x, y, size, angle):
    """The mean face, turned and placed."""
    flat = turn(mesh.CANONICAL[:, :2] * size, torch.tensor(angle).expand(mesh.POINTS))
    return torch.cat((flat + torch.tensor([x, y]), mesh.CANONICAL[:, 2:] * size), 1)


@settings(max_examples=50)
@given(st.floats(-500, 500), st.floats(-500, 500), st.floats(5, 800), st.floats(-3, 3))
def test_a_crop_turns_and_grows_with_its_face(x, y, size, angle):
    upright = crop_from_points(face_at(0.0, 0.0, 1.0, 0.0), "mesh")
    assert abs(float(upright[3])) < 0.02
    crop = crop_from_points(face_at(x, y, size, angle), "mesh")
    center = turn(upright[:2] * size, torch.tensor(angle)) + torch.tensor([x, y])
    torch.testing.assert_close(crop[:2], center, atol=1e-3 * size + 1e-3, rtol=1e-4)
    assert float(crop[2]) == pytest.approx(float(upright[2]) * size, rel=1e-3)
    turned = (float(crop[3]) - angle - float(upright[3]) + math.pi) % (2 * math.pi) - math.pi
    assert turned == pytest.approx(0, abs=1e-3)


def test_both_schemes_crop_alike():
    points = face_at(300.0, 200.0, 120.0, 0.3)
    dense = crop_from_points(points, "mesh")
    sparse = crop_from_points(mesh.to_ibug68(points), "ibug68")
    assert float((dense - sparse)[:2].norm()) < 0.05 * float(dense[2])
    assert float(sparse[2] / dense[2]) == pytest.approx(1, abs=0.1)
    with pytest.raises(ValueError, match="mesh, ibug68"):
        crop_from_points(points, "five")


def test_in_profile_the_line_down_the_face_levels_it():
    points = torch.zeros(468, 2)
    left, right, chin = LEVEL["mesh"]
    points[left], points[right], points[chin] = (
        torch.tensor([10.0, 1.0]),
        torch.tensor([10.0, -1.0]),
        torch.tensor([10.0, 100]),
    )
    assert abs(float(crop_from_points(points, "mesh")[3])) < 0.03


def test_detections_and_points_of_a_face_crop_alike():
    points = face_at(300.0, 200.0, 120.0, 0.0)[:, :2]
    box = torch.cat((points.amin(0), points.amax(0)))
    five = torch.stack([points[list(rows)].mean(0) for rows in ((33, 133), (362, 263), (1,), (61,), (291,))])
    crop = crop_from_detection(box[None], five[None])[0]
    torch.testing.assert_close(crop, crop_from_points(points, "mesh"), atol=0.5, rtol=0.01)
    assert float(crop[2]) == pytest.approx(SCALE * float((box[2:] - box[:2]).max()))


def test_to_picture_undoes_the_crop():
    crops = torch.tensor([[100.0, 50, 30, 0.4], [-10, 20, 300, -2]])
    points = torch.rand(2, 7, 3) * 64
    placed = to_picture(points, crops, 64)
    flat = torch.cat((placed[..., :2], torch.ones(2, 7, 1)), -1)
    back = torch.einsum("nij,npj->npi", crop_matrices(crops, 64), flat)[..., :2]
    torch.testing.assert_close(back, points[..., :2], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(placed[..., 2], points[..., 2] * crops[:, 2:3] / 64)


@pytest.mark.parametrize("side", [20.0, 64.0, 150.0, 300.0])
def test_cut_crops_show_what_lies_there(side):
    rows, columns = np.mgrid[:480, :640]
    # Values equal positions, so that every crop pixel tells where it came from.
    picture = np.stack((columns / 4, rows / 4, 0 * rows), -1).round().astype(np.uint8)
    crop = torch.tensor([[310.0, 240, side, 0.5]])
    cut = cut_crops(picture, crop, 64)[0].astype(float)
    y, x = np.mgrid[:64, :64] + 0.5
    flat = torch.from_numpy(np.stack((x, y, 0 * x), -1).reshape(1, -1, 3)).float()
    there = to_picture(flat, crop, 64)[0, :, :2].numpy() - 0.5
    expected = np.stack((there[:, 0] / 4, there[:, 1] / 4), 1).reshape(64, 64, 2)
    assert np.abs(cut[2:-2, 2:-2, :2] - expected[2:-2, 2:-2]).max() < 1.0


def test_shrinking_averages_instead_of_skipping():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    cut = cut_crops(stripes, torch.tensor([[256.0, 256, 500, 0.1]]), 64)[0].astype(float)
    assert np.abs(cut[4:-4, 4:-4] - 127).max() < 20


def test_a_crop_beside_the_picture_is_black():
    picture = np.full((40, 40, 3), 200, np.uint8)
    assert not cut_crops(picture, torch.tensor([[500.0, 500, 30, 0.0]]), 16).any()
    assert cut_crops(picture, torch.zeros(0, 4), 16).shape == (0, 16, 16, 3)


@pytest.fixture(scope="module")
def yardstick(shared):
    return backends.open("onnx", shared / "weights")


@pytest.fixture(scope="module")
def builtin():
    return backends.open("builtin")


@pytest.mark.parametrize("name", ["yardstick", "builtin"])
def test_finders_find_and_landmark_a_portrait(name, request):
    finder, picture = request.getfixturevalue(name), portrait()
    found = finder.detect(picture, 30)
    best = found.scores > 0.5
    assert best.sum() == 1
    landmarked = finder.landmarks(picture, crop_from_detection(found.boxes, found.five)[best])
    assert finder.scheme == "mesh" and landmarked.points.shape == (1, 468, 3)
    assert landmarked.confidence.shape == landmarked.visibility.shape == (1, 468)
    points = landmarked.points[0, :, :2]
    five = torch.stack([points[list(rows)].mean(0) for rows in ((33, 133), (362, 263), (1,), (61,), (291,))])
    width = float(found.boxes[0, 2] - found.boxes[0, 0])
    assert float((five - found.five[0]).norm(dim=1).max()) < 0.2 * width
    assert float(landmarked.presence[0]) > 0.5
    # Nothing is at the bottom of the picture but a suit.
    nothing = finder.landmarks(picture, torch.tensor([[300.0, 430, 120, 0.0]]))
    assert float(nothing.presence[0]) < 0.5


@pytest.mark.parametrize("name", ["yardstick", "builtin"])
def test_finders_answer_nothing_for_nothing(name, request):
    finder = request.getfixturevalue(name)
    picture = np.full((240, 320, 3), 90, np.uint8)
    assert len(finder.detect(picture, 20).scores) == 0
    assert finder.landmarks(picture, torch.zeros(0, 4)).points.shape == (0, 468, 3)


def test_far_side_of_a_turned_head_is_hidden():
    turned = mesh.CANONICAL @ mesh.rotation_of(torch.tensor(60.0), torch.tensor(0.0), torch.tensor(0.0)).T
    facing = onnx.facing(torch.stack((mesh.CANONICAL, turned)))
    assert float(facing[0].mean()) > 0.8
    # The face turns toward the right edge: its left cheek, on the right of the picture, goes out of sight.
    left, right = mesh.CANONICAL[:, 0] > 0.5, mesh.CANONICAL[:, 0] < -0.5
    assert float(facing[1, left].mean()) < 0.3 < 0.8 < float(facing[1, right].mean())


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(MienError, match="builtin, face-alignment, onnx"):
        backends.open("dlib")
    with pytest.raises(MienError, match="--weights DIR"):
        backends.open("onnx")
    with pytest.raises(MienError, match="no folder"):
        backends.open("onnx", tmp_path / "nowhere")
    with pytest.raises(MienError, match="no YuNet network"):
        backends.open("onnx", tmp_path)
    with pytest.raises(MienError, match="no folder"):
        backends.open("builtin", tmp_path / "nowhere")
    with pytest.raises(MienError, match="detector weights"):
        backends.open("builtin", tmp_path)


def test_broken_networks_are_named(tmp_path):
    (tmp_path / "yunet.onnx").write_bytes(b"not a network")
    (tmp_path / "FaceMesh.onnx").write_bytes(b"nor this")
    with pytest.raises(MienError, match=r"yunet\.onnx"):
        backends.open("onnx", tmp_path)


def test_face_alignment_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "face_alignment", None)
    with pytest.raises(MienError, match=r"pip install .*face-alignment.*builtin"):
        backends.open("face-alignment")
    with pytest.raises(MienError, match="Leave --weights out"):
        backends.open("face-alignment", Path("somewhere"))


def test_depth_of_projected_points_follows_the_mean_face():
    rotation = mesh.rotation_of(torch.tensor(25.0), torch.tensor(-10.0), torch.tensor(15.0))
    solid = mesh.to_ibug68(mesh.CANONICAL @ rotation.T) * 80
    depth = face_alignment.depth(solid[None, :, :2])[0]
    torch.testing.assert_close(depth, solid[:, 2] - solid[:, 2].mean(), atol=0.5, rtol=0.01)

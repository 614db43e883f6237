"""Drawn people: same seed, same people; labels that agree with the picture and with one another."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mien import mesh
from mien.train.album import MATTE_SIDE, SIDE, Album, dressed, load_album, save_album
from mien.train.facekit import Kit, load_kit
from mien.train.faces import MARGIN, Drawing, draw

SIZE = 128


@pytest.fixture(scope="module")
def kit(shared: Path) -> Kit:
    path = shared / "facekit" / "facekit.npz"
    if not path.exists():
        pytest.skip("needs facekit.npz in the shared folder")
    return load_kit(path)


@pytest.fixture(scope="module")
def drawing(kit: Kit) -> Drawing:
    return draw(kit, 12, torch.Generator().manual_seed(5), SIZE)


def test_the_same_seed_draws_the_same_people(kit: Kit) -> None:
    one, other = (draw(kit, 2, torch.Generator().manual_seed(8), 64) for _ in range(2))
    for first, second in zip(one, other, strict=True):
        assert torch.equal(first, second)
    third = draw(kit, 2, torch.Generator().manual_seed(9), 64)
    assert (one.pictures - third.pictures).abs().mean() > 0.02


def test_mean_face_has_the_canonical_shape(kit: Kit) -> None:
    shape = kit.points_neutral * torch.tensor([1.0, -1.0, -1.0])
    unit = (shape[33] - shape[263]).norm()
    centered = (shape - (shape[33] + shape[263]) / 2) / unit
    assert (centered - mesh.CANONICAL).abs().max() < 0.01


def test_faces_fill_their_share_of_the_picture(drawing: Drawing) -> None:
    flat = drawing.points[..., :2]
    low, high = flat.amin(1), flat.amax(1)
    assert torch.allclose((low + high) / 2, torch.tensor(SIZE / 2).expand(12, 2), atol=0.01)
    assert torch.allclose((high - low).amax(1), torch.tensor(SIZE / MARGIN).expand(12), atol=0.01)


def test_pose_of_the_points_is_the_pose_drawn(drawing: Drawing) -> None:
    pose = mesh.pose_of(drawing.points)
    # Perspective and other people's proportions bend weak-perspective angles a little.
    assert (pose.yaw - drawing.pose[:, 0]).abs().max() < 15
    assert (pose.yaw - drawing.pose[:, 0]).abs().mean() < 6
    assert (pose.roll - drawing.pose[:, 2]).abs().mean() < 6


def test_visible_points_lie_on_the_person_and_most_on_the_face(drawing: Drawing) -> None:
    texel = drawing.points[..., :2].long().clamp(0, SIZE - 1)
    rows = torch.arange(12)[:, None].expand(-1, mesh.POINTS)
    seen = drawing.visibility > 0
    assert seen.float().mean() > 0.4
    assert (drawing.cover[rows, 0, texel[..., 1], texel[..., 0]][seen] > 0.05).float().mean() > 0.99
    assert (drawing.matte[rows, 0, texel[..., 1], texel[..., 0]][seen] > 0.3).float().mean() > 0.9


def test_points_on_the_far_side_are_hidden(drawing: Drawing) -> None:
    for yaw, visibility in zip(drawing.pose[:, 0], drawing.visibility, strict=True):
        if yaw.abs() > 50:
            # A face turned to the right of the picture shows its right side.
            near, far = (234, 454) if yaw > 0 else (454, 234)
            assert visibility[far] == 0
            assert visibility[[near, 50 if yaw > 0 else 280]].max() >= 0


def test_things_in_front_hide_points_and_matte(drawing: Drawing) -> None:
    random = np.random.default_rng(1)
    plain = (drawing.visibility > 0.5).numpy()
    album = dressed(drawing, random)
    assert album.pictures.dtype == np.uint8
    assert album.matte.shape == (12, MATTE_SIDE, MATTE_SIDE)
    assert (album.visibility <= plain).all()
    assert album.visibility.sum() < plain.sum()


def test_albums_survive_the_disk(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    # A transposed picture has strides that a careless writer gets wrong.
    pictures = random.integers(0, 255, (2, 3, SIDE, SIDE), dtype=np.uint8).transpose(0, 2, 3, 1)
    album = Album(
        pictures,
        random.random((2, mesh.POINTS, 3), dtype=np.float32),
        np.ones((2, mesh.POINTS), np.uint8),
        np.zeros((2, MATTE_SIDE, MATTE_SIDE), np.uint8),
        np.ones(2, np.uint8),
    )
    save_album(album, tmp_path / "a.safetensors")
    for before, after in zip(album, load_album(tmp_path / "a.safetensors"), strict=True):
        assert np.array_equal(before, after)
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]

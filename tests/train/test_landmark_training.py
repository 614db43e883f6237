"""The landmark trainer: labels follow every twist of the crop, and killed training continues."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mien import mesh
from mien.models.landmarks import SIZE, Landmarks
from mien.train import batches, landmarks
from mien.train.album import MATTE_SIDE, SIDE, UNKNOWN, Album, save_album
from mien.train.faces import MARGIN


def dotted(count: int, seed: int) -> Album:
    """Faces on black, of which only a few landmarks are drawn, as soft white dots."""
    random = np.random.default_rng(seed)
    angles = torch.from_numpy(random.uniform(-25, 25, (3, count)))
    shape = mesh.CANONICAL.double() @ mesh.rotation_of(*angles).transpose(1, 2)
    low, high = shape[..., :2].amin(1, keepdim=True), shape[..., :2].amax(1, keepdim=True)
    shape[..., :2] -= (low + high) / 2
    shape[..., 2] -= shape[..., 2].mean(1, keepdim=True)
    points = shape * (SIDE / MARGIN / (high - low).amax(-1, keepdim=True)) + torch.tensor([SIDE / 2, SIDE / 2, 0])
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    pictures = np.zeros((count, SIDE, SIDE, 3))
    for row in range(count):
        for channel, point in enumerate((33, 263, 152)):
            px, py = points[row, point, :2].tolist()
            pictures[row, ..., channel] = np.exp(-((x - px) ** 2 + (y - py) ** 2) / 8)
    return Album(
        (pictures * 255).astype(np.uint8),
        points.numpy().astype(np.float32),
        np.ones((count, mesh.POINTS), np.uint8),
        np.full((count, MATTE_SIDE, MATTE_SIDE), 128, np.uint8),
        np.ones(count, np.uint8),
    )


def test_labels_follow_the_pixels_through_every_view() -> None:
    album = dotted(24, seed=0)
    generator = torch.Generator().manual_seed(3)
    points = torch.from_numpy(album.points)
    angle, scale, shift = batches.views(points, torch.zeros(24, dtype=torch.bool), generator)
    pictures = torch.from_numpy(album.pictures).permute(0, 3, 1, 2).float() / 255
    matte = torch.from_numpy(album.matte)[:, None].float() / 255
    crops, placed, _ = batches.look(pictures, points, matte, angle, scale, shift)
    y, x = torch.meshgrid(torch.arange(SIZE) + 0.5, torch.arange(SIZE) + 0.5, indexing="ij")
    pixels = (placed[..., :2] + 0.5) * SIZE
    checked = 0
    for row in range(24):
        for channel, point in enumerate((33, 263, 152)):
            if (pixels[row, point] - SIZE / 2).abs().max() > SIZE / 2 - 8:
                continue
            light = crops[row, channel]
            middle = torch.stack(((light * x).sum(), (light * y).sum())) / light.sum()
            assert (middle - pixels[row, point]).abs().max() < 0.3
            checked += 1
    assert checked > 50
    assert (angle.std() > 0.05) and (scale.std() > 0.03) and (shift.std() > 2)


def test_mirrored_rows_swap_left_and_right() -> None:
    album = dotted(40, seed=1)
    batch = batches.batch_of(album, 0, 1.0, torch.Generator().manual_seed(0))
    right, left = batch.points[:, 33, 0], batch.points[:, 263, 0]
    assert (right < left).all()
    red, green = batch.crops[:, 0].amax((1, 2)), batch.crops[:, 1].amax((1, 2))
    assert red.min() >= 0 and green.min() >= 0
    assert torch.isfinite(batch.crops).all()


def test_faces_that_turn_far_can_be_favored() -> None:
    album = dotted(60, seed=6)
    yaw = torch.where(torch.arange(60) % 3 == 0, 50.0, 10.0)
    turned = mesh.CANONICAL @ mesh.rotation_of(yaw, torch.zeros(60), torch.zeros(60)).transpose(1, 2) * 50
    album.points[:] = turned.numpy()
    shares = []
    for favor in (0.25, 1.0, 4.0):
        picked = batches.pick_turned([album], 3000, favor, np.random.default_rng(0))
        assert len(picked.pictures) == len(picked.points) == 3000
        shares.append(float((mesh.pose_of(torch.from_numpy(picked.points)).yaw > 35).float().mean()))
    # A third of the album turns far: odds of 1 to 2, times the favor.
    assert np.allclose(shares, [1 / 9, 1 / 3, 2 / 3], atol=0.03)


def test_same_seed_same_batch() -> None:
    album = dotted(8, seed=2)
    one, other = (batches.batch_of(album, 1, 1.0, torch.Generator().manual_seed(5)) for _ in range(2))
    for first, second in zip(one, other, strict=True):
        assert torch.equal(torch.nan_to_num(first), torch.nan_to_num(second))
    assert one.presence.tolist() == [1] * 7 + [0]


def test_unknown_labels_do_not_reach_the_loss() -> None:
    album = dotted(6, seed=3)
    album.points[:3, :, 2] = np.nan
    album.visibility[:3] = UNKNOWN
    album.matte_known[:3] = 0
    batch = batches.batch_of(album, 1, 1.0, torch.Generator().manual_seed(0))
    network = Landmarks()
    loss, error = landmarks.loss_of(network.answers(batch.crops), batch, landmarks.importance())
    assert torch.isfinite(loss)
    assert torch.isfinite(error)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_training_learns_and_goes_on_after_a_kill(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_album(dotted(320, seed=4), tmp_path / "album" / "drawn-0.safetensors")
    output = tmp_path / "landmarks.safetensors"
    settings = {"album": tmp_path / "album", "output": output, "size": 8, "rate": 1e-3, "seed": 1, "save_every": 4}
    settings |= {"most": 5, "threads": 1, "device": "cpu"}
    landmarks.main(steps=4, **settings)
    assert int(load_file(output.with_suffix(".state"))["step"]) == 4
    before = load_file(output)
    landmarks.main(steps=8, **settings)
    after = load_file(output)
    assert int(load_file(output.with_suffix(".state"))["step"]) == 8
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert not list(tmp_path.glob("*.part"))
    other = tmp_path / "other.safetensors"
    landmarks.main(steps=1, begin=output, **{**settings, "output": other, "rate": 0.0})
    begun = load_file(other)
    for name in ("shapes.weight", "moves", "blend.bias"):
        torch.testing.assert_close(begun[name], after[name], atol=1e-4, rtol=1e-3)

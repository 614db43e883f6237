import numpy as np
import pytest
import torch
from portraits import landmarks

from mien import mesh
from mien.tracking import smooth
from mien.types import FaceTrack

WIDTH = 500.0


def still(frames: int) -> np.ndarray:
    """(F, 468, 3) a face of WIDTH that does not move."""
    points = mesh.CANONICAL.double().numpy()
    return np.repeat((points * WIDTH / np.ptp(points[:, 0]))[None] + np.array([960, 540, 0]), frames, 0)


def track_of(points: np.ndarray, confidence: np.ndarray | None = None, scheme: str = "mesh") -> FaceTrack:
    sure = np.ones(len(points)) if confidence is None else confidence
    return FaceTrack(
        "anna",
        1001,
        torch.from_numpy(points.astype(np.float32)),
        torch.ones(points.shape[:2]),
        torch.from_numpy(sure.astype(np.float32)),
        torch.zeros(len(points), dtype=torch.bool),
        scheme,
    )


def jitter(points: np.ndarray, level: float, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    shared = generator.normal(0, level, (len(points), 1, 3))
    return points + shared + generator.normal(0, level, points.shape)


def apart(track: FaceTrack, truth: np.ndarray) -> np.ndarray:
    return track.points.numpy()[..., :2] - truth[..., :2]


def test_jitter_of_a_still_face_goes() -> None:
    truth = still(60)
    steady = smooth(track_of(jitter(truth, 0.4)), rigid=0.5, expression=0.5)
    assert apart(steady, truth)[5:-5].std() < 0.15
    assert apart(steady, truth)[5:-5].std(0).mean() < 0.12


def test_slow_motion_keeps_its_phase() -> None:
    truth = still(80)
    t = np.arange(80)
    truth[..., 0] += 60 * np.sin(t / 10)[:, None]
    truth[..., 1] += 25 * np.cos(t / 7)[:, None]
    steady = smooth(track_of(jitter(truth, 0.3)), rigid=0.5, expression=0.5)
    error = apart(steady, truth).mean(1)[5:-5]
    assert np.abs(error).max() < 0.5
    assert np.sqrt((error**2).mean()) < 0.3
    velocity = np.gradient(truth[..., 0].mean(1))[5:-5]
    assert abs((error[:, 0] * velocity).sum() / (velocity**2).sum()) < 0.02


def test_a_leap_of_the_head_is_neither_dulled_nor_overshot() -> None:
    truth = still(50)
    truth[25:, :, 0] += 120
    noisy = jitter(truth, 0.3)
    steady = smooth(track_of(noisy), rigid=1.0, expression=1.0)
    error = apart(steady, truth).mean(1)
    assert np.abs(error).max() < 1.0


def test_a_blink_survives() -> None:
    truth = still(40)
    upper = [159, 158, 160]
    truth[20:23, upper, 1] += 14
    steady = smooth(track_of(jitter(truth, 0.2)), rigid=0.5, expression=0.5)
    depth = apart(steady, still(40))[21, upper, 1].mean()
    assert 12 < depth < 15
    assert np.abs(apart(steady, truth)[[16, 26]][:, upper]).max() < 1.0


@pytest.mark.parametrize("rigid, expression", [(0.0, 0.0)])
def test_zero_leaves_the_track_alone(rigid: float, expression: float) -> None:
    track = track_of(jitter(still(20), 1.0))
    same = smooth(track, rigid=rigid, expression=expression)
    assert torch.allclose(same.points, track.points, atol=2e-3)


def test_a_turning_head_keeps_its_turn() -> None:
    t = np.linspace(-40, 40, 41)
    rotations = mesh.rotation_of(torch.tensor(t), torch.zeros(41), torch.tensor(t) * 0.3).double().numpy()
    truth = np.einsum("fij,nj->fni", rotations, still(1)[0] - [960, 540, 0]) + np.array([960, 540, 0])
    steady = smooth(track_of(jitter(truth, 0.2)), rigid=0.5, expression=0.5)
    error = apart(steady, truth)
    assert np.sqrt((error**2).sum(-1).mean()) < 0.5


def test_keyed_rows_stay_exactly_and_pull_their_neighbors() -> None:
    truth = still(30)
    points = truth.copy()
    points[15] += np.array([6.0, 0, 0])
    track = track_of(jitter(points, 0.2))
    track.keyed[15] = True
    steady = smooth(track, rigid=0.5, expression=0.5)
    assert torch.equal(steady.points[15], track.points[15])
    assert bool(steady.keyed[15])


def test_short_gaps_are_filled_unsure_and_long_ones_stay_lost() -> None:
    truth = still(60)
    truth[..., 0] += 2.0 * np.arange(60)[:, None]
    points, confidence = truth.copy(), np.ones(60)
    points[10:14], confidence[10:14] = np.nan, 0
    points[30:45], confidence[30:45] = np.nan, 0
    steady = smooth(track_of(points, confidence), rigid=0.5, expression=0.5)
    assert np.abs(apart(steady, truth)[10:14]).max() < 1.0
    assert 0 < float(steady.confidence[10:14].max()) < 0.3
    assert bool(steady.points[30:45].isnan().all()) and float(steady.confidence[30:45].max()) == 0


def test_a_gap_across_a_cut_is_not_filled() -> None:
    points, confidence = still(20), np.ones(20)
    points[12:, :, 0] += 900
    points[10:12], confidence[10:12] = np.nan, 0
    steady = smooth(track_of(points, confidence), rigid=0.5, expression=0.5)
    assert bool(steady.points[10:12].isnan().all())
    assert np.abs(apart(steady, still(20))[:10]).max() < 1e-2


def test_unsure_outliers_are_outvoted() -> None:
    truth = still(40)
    points, confidence = jitter(truth, 0.2), np.ones(40)
    points[20] += np.array([30.0, 20.0, 0])
    confidence[20] = 0.05
    steady = smooth(track_of(points, confidence), rigid=0.5, expression=0.5)
    assert np.abs(apart(steady, truth)[[17, 23]]).max() < 1.5


def test_ibug68_without_depth_is_smoothed_too() -> None:
    flat = mesh.to_ibug68(torch.from_numpy(still(40))).numpy()
    flat[..., 2] = 0
    generator = np.random.default_rng(0)
    noisy = flat + generator.normal(0, 0.4, flat.shape) * [1, 1, 0]
    steady = smooth(track_of(noisy, scheme="ibug68"), rigid=0.5, expression=0.5)
    assert apart(steady, flat)[5:-5].std(0).mean() < 0.2


def test_a_track_of_one_frame_and_a_lost_one_pass() -> None:
    one = track_of(landmarks("collins").double().numpy()[None])
    assert torch.allclose(smooth(one, rigid=0.5, expression=0.5).points, one.points, atol=1e-3)
    nobody = track_of(np.full((5, 468, 3), np.nan), np.zeros(5))
    assert smooth(nobody, rigid=0.5, expression=0.5) is nobody

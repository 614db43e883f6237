import numpy as np
import pytest
import torch
from portraits import FIVE, Surveyor, camera_shot, placing

from mien import mesh, tracking
from mien.tracking import keys
from mien.types import MienError, PlacedPoints

SIZE = (400, 300)


def placings(frames: int) -> list[np.ndarray]:
    return [placing("collins", 150 + k, 200 + 1.5 * k, 150 - k, 0.004 * k) for k in range(frames)]


def five_of(matrix: np.ndarray, offset: tuple[float, float] = (0.0, 0.0)) -> PlacedPoints:
    flat = np.array(FIVE["collins"]) @ matrix[:2, :2].T + matrix[:2, 2] + offset
    return PlacedPoints("five", (0, 1, 2, 3, 4), torch.from_numpy(flat).float())


def places(points: torch.Tensor, key: PlacedPoints) -> torch.Tensor:
    return keys.table(key, "mesh") @ points[:, :2]


def test_five_points_alone_are_followed_both_ways() -> None:
    matrices = placings(21)
    shot, _ = camera_shot("collins", matrices, SIZE)
    shot.first = 1001
    (track,) = tracking.track(shot, None, keys={"anna": {1011: five_of(matrices[10])}})
    assert (track.name, track.first, track.last) == ("anna", 1001, 1021)
    assert torch.nonzero(track.keyed).flatten().tolist() == [10]
    for row in (0, 5, 10, 15, 20):
        key = five_of(matrices[row])
        away = (places(track.points[row], key) - key.positions).norm(dim=1).max()
        assert away < (1e-2 if row == 10 else 1.5)
    assert max(shot.reads.values()) <= 3


def test_two_keys_without_a_detector_meet() -> None:
    matrices = placings(15)
    shot, _ = camera_shot("collins", matrices, SIZE)
    both = {0: five_of(matrices[0]), 14: five_of(matrices[14])}
    (track,) = tracking.track(shot, None, keys={"anna": both})
    for row, key in both.items():
        assert (places(track.points[row], key) - key.positions).norm(dim=1).max() < 1e-2
    middle = five_of(matrices[7])
    assert (places(track.points[7], middle) - middle.positions).norm(dim=1).max() < 1.5


def test_a_key_is_the_truth_and_fades() -> None:
    matrices = placings(30)
    shot, truth = camera_shot("collins", matrices, SIZE)
    finder = Surveyor(shot, truth[:, None])
    (free,) = tracking.track(shot, finder)
    key = five_of(matrices[4], (5.0, -3.0))
    (track,) = tracking.track(shot, finder, keys={"anna": {4: key}})
    assert track.name == "anna"
    assert (places(track.points[4], key) - key.positions).norm(dim=1).max() < 1e-2
    assert float(track.confidence[4]) == 1
    moved = (track.points - free.points)[..., :2].mean(1).norm(dim=1)
    assert 5 < moved[4] < 7
    assert 3 < moved[10] < moved[4]
    assert torch.all(moved[29:] < 0.05)


def test_keys_on_lost_frames_fill_them() -> None:
    matrices = placings(40)
    shot, truth = camera_shot("collins", matrices, SIZE)
    told = [t[None] if not 3 < k < 36 else np.zeros((0, 468, 3)) for k, t in enumerate(truth)]
    finder = Surveyor(shot, told)
    (track,) = tracking.track(shot, finder, keys={"anna": {20: five_of(matrices[20])}})
    assert not tracking.lost(track)
    for row in (10, 20, 30):
        key = five_of(matrices[row])
        assert (places(track.points[row], key) - key.positions).norm(dim=1).max() < 3


def test_a_posed_face_holds_the_points_and_looks_like_one() -> None:
    key = five_of(placing("collins", 200, 0, 0))
    points = keys.posed(key, "mesh", 1.0)
    assert (places(points, key) - key.positions).norm(dim=1).max() < 1e-2
    pose = mesh.pose_of(points)
    assert abs(float(pose.yaw)) < 30 and abs(float(pose.pitch)) < 30
    sparse = keys.posed(key, "ibug68", 1.0)
    assert sparse.shape == (68, 3)


def test_mesh_points_by_number_are_obeyed() -> None:
    face = keys.posed(five_of(placing("collins", 200, 300, 300)), "mesh", 1.0)
    goal = face[[10, 152, 234, 454, 1], :2] + torch.tensor([[0.0, -8.0], [0, 9], [-5, 0], [5, 0], [0, 0]])
    key = PlacedPoints("mesh", (10, 152, 234, 454, 1), goal)
    bent = keys.bend(face, keys.table(key, "mesh"), goal, 200.0)
    assert (bent[[10, 152, 234, 454, 1], :2] - goal).norm(dim=1).max() < 1e-2
    assert torch.equal(bent[:, 2] / bent[0, 2], face[:, 2] / face[0, 2]) or bent.isfinite().all()


def test_keys_that_do_not_fit_say_so() -> None:
    matrices = placings(3)
    shot, _ = camera_shot("collins", matrices, SIZE)
    with pytest.raises(MienError, match="frame 9"):
        tracking.track(shot, None, keys={"anna": {9: five_of(matrices[0])}})
    with pytest.raises(MienError, match="ibug68"):
        keys.table(PlacedPoints("mesh", (1,), torch.zeros(1, 2)), "ibug68")


def test_picking_naming_and_ignoring() -> None:
    matrices = placings(4)
    shot, truth = camera_shot("collins", matrices, SIZE)
    tracks = tracking.track(shot, Surveyor(shot, truth[:, None]))
    renamed = tracking.rename(tracks, "person1", "anna")
    assert [track.name for track in renamed] == ["anna"]
    assert tracking.ignore(renamed, ["anna"])[0].ignored
    assert tracking.pick(renamed, ["anna"]) == renamed
    for call in (tracking.pick, tracking.ignore):
        with pytest.raises(MienError, match="berta"):
            call(renamed, ["berta"])

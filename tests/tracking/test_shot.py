import cv2
import numpy as np
import pytest
import torch
from portraits import Shot, Surveyor, camera_shot, draw, grain, moved, placing

from mien import mesh, tracking
from mien.models.backends import Detections, Landmarked
from mien.tracking import refine
from mien.tracking.faces import seen
from mien.types import FaceTrack

SIZE, SMALL = (640, 480), (320, 240)


def error(track: FaceTrack, truth: np.ndarray) -> np.ndarray:
    """Distance (F, 468) from the truth in pixels."""
    rows = slice(track.first, track.last + 1)
    return np.linalg.norm(track.points.numpy()[..., :2] - truth[rows, :, :2], axis=-1)


def travelling(frames: int, width: float, size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    x, y = size[0] / 2, size[1] / 2
    return [
        placing(
            "collins",
            width * (1 + 0.06 * np.sin(k / 9)),
            x + 0.16 * width * np.sin(k / 8),
            y + 0.06 * width * np.cos(k / 6),
            0.05 * np.sin(k / 7),
        )
        for k in range(frames)
    ]


def test_known_camera_motion_is_followed_to_a_fraction_of_a_pixel_without_lag() -> None:
    shot, truth = camera_shot("collins", travelling(40, 240), SIZE)
    (track,) = tracking.track(shot, Surveyor(shot, truth[:, None], noise=0.004))
    steady = tracking.smooth(track, rigid=0.5, expression=0.5)
    raw = 0.004 * 240
    apart = steady.points.numpy()[..., :2] - truth[..., :2]
    # A constant offset of a point on the face is where the finder saw it; what moves is crawl or lag.
    crawl = apart - apart.mean(0)
    assert np.sqrt((crawl**2).sum(-1).mean()) < 0.15 < raw
    assert np.abs(apart.mean(1)).max() < 0.15
    velocity = np.gradient(truth[..., :2].mean(1), axis=0)
    lag = (apart.mean(1) * velocity).sum() / (velocity**2).sum()
    assert abs(lag) < 0.01


def test_points_do_not_wander_with_the_network_while_the_head_is_followed() -> None:
    shot, truth = camera_shot("collins", travelling(40, 240), SIZE)
    told = truth[:, None].copy()
    strays = [52, 65, 66, 107]
    bump = np.exp(-(((np.arange(40) - 26) / 4.0) ** 2))
    told[:, 0, strays, 1] += 9 * bump[:, None]
    (track,) = tracking.track(shot, Surveyor(shot, told, noise=0.003))
    apart = track.points.numpy()[:, strays, :2] - truth[:, strays, :2]
    crawl = apart - np.median(apart, 0)
    assert np.linalg.norm(crawl, axis=-1).max() < 2.0


def test_a_still_face_under_grain_stands_still() -> None:
    shot, truth = camera_shot("collins", [placing("collins", 250, 320, 240)] * 30, SIZE, level=4.0)
    (track,) = tracking.track(shot, Surveyor(shot, truth[:, None], noise=0.005))
    steady = tracking.smooth(track, rigid=0.5, expression=0.5)
    assert np.median(steady.points.numpy()[..., :2].std(0)) < 0.08
    assert np.median(track.points.numpy()[..., :2].std(0)) < 0.15


def test_frames_are_read_once_and_in_order() -> None:
    shot, truth = camera_shot("collins", travelling(12, 120, SMALL), SMALL)
    order: list[int] = []
    read = shot.picture
    shot.picture = lambda frame: (order.append(frame), read(frame))[1]  # type: ignore[method-assign]
    tracking.track(shot, Surveyor(shot, truth[:, None]))
    assert order == list(range(12))


def test_long_tracks_are_settled_in_pieces_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    shot, truth = camera_shot("collins", travelling(30, 140, SMALL), SMALL)
    (whole,) = tracking.track(shot, Surveyor(shot, truth[:, None], noise=0.004))
    monkeypatch.setattr(refine, "BLOCK", 10)
    monkeypatch.setattr(refine, "OVERLAP", 8)
    (pieces,) = tracking.track(shot, Surveyor(shot, truth[:, None], noise=0.004))
    assert pieces.points.shape == whole.points.shape
    assert torch.equal(pieces.confidence, whole.confidence)
    step = (pieces.points - whole.points)[..., :2].diff(dim=0).norm(dim=-1)
    assert float(step.mean(1).max()) < 0.1
    assert error(pieces, truth).mean() < 0.3


def test_pixel_aspect_squeezes_the_track() -> None:
    shot, truth = camera_shot("collins", travelling(6, 120, SMALL), SMALL)
    shot.aspect = 2.0
    (track,) = tracking.track(shot, Surveyor(shot, truth[:, None]))
    assert np.abs(track.points.numpy()[..., 0] - truth[..., 0] / 2).max() < 1
    assert np.abs(track.points.numpy()[..., 1] - truth[..., 1]).max() < 1.5


def test_blurred_and_failed_frames_are_bridged_at_low_confidence() -> None:
    shot, truth = camera_shot("collins", travelling(30, 160), SIZE)
    told = truth[:, None].copy()
    told[12:17] = np.nan
    (track,) = tracking.track(shot, Surveyor(shot, told, noise=0.003))
    assert bool(seen(track).all())
    assert float(track.confidence[12:17].max()) < 0.5 < float(track.confidence[:12].min())
    assert error(track, truth)[12:17].mean() < 1.0


def test_a_face_that_leaves_and_returns_is_one_person_lost_between() -> None:
    placings = [
        placing("collins", 110, x, 120) for x in (*np.linspace(200, -80, 15), *[-90] * 25, *np.linspace(-80, 200, 15))
    ]
    generator = np.random.default_rng(0)
    background = generator.uniform(60, 180, (15, 20, 3)).astype(np.float32)
    background = cv2.resize(background, (320, 240), interpolation=cv2.INTER_CUBIC)
    frames, truth = [], []
    for matrix in placings:
        face = moved("collins", matrix)
        frames.append(grain(paste(background, "collins", matrix), 2.0, generator))
        inside = face[:, 0].mean() > 15
        truth.append(face[None] if inside else np.full((1, 468, 3), np.nan))
    shot = Shot(frames)
    tracks = tracking.track(shot, Surveyor(shot, truth))
    assert len(tracks) == 1
    lost = tracking.lost(tracks[0])
    assert len(lost) == 1
    assert 8 < lost[0][0] < 16 and 36 < lost[0][1] < 46
    assert tracks[0].first == 0 and tracks[0].last == 54
    assert tracking.face_at(tracks[0], 25) is None
    face = tracking.face_at(tracks[0], 3)
    assert face is not None and face.confidence > 0.5


def paste(background: np.ndarray, name: str, matrix: np.ndarray) -> np.ndarray:
    """A head cut out of its portrait and laid on a background."""
    height, width = background.shape[:2]
    drawn = draw(name, matrix, (width, height))
    points = moved(name, matrix)[:, :2]
    middle, extent = (points.min(0) + points.max(0)) / 2, np.ptp(points, axis=0)
    mask = np.zeros((height, width), np.float32)
    axes = tuple(int(v) for v in extent * [0.62, 0.68] * 16)
    cv2.ellipse(mask, tuple(int(v * 16) for v in middle), axes, 0, 0, 360, 1.0, -1, cv2.LINE_AA, 4)
    mask = cv2.GaussianBlur(mask, (0, 0), 1.5)[..., None]
    return background * (1 - mask) + drawn * mask


@pytest.fixture(scope="module")
def crossing() -> tuple[Shot, list[np.ndarray], np.ndarray]:
    """Collins passes in front of Hopper; the finder is blind to Hopper while she is hidden."""
    generator = np.random.default_rng(1)
    background = cv2.resize(
        generator.uniform(60, 180, (15, 20, 3)).astype(np.float32), (480, 240), interpolation=cv2.INTER_CUBIC
    )
    frames, told, truth = [], [], []
    for front, back in zip(np.linspace(90, 390, 40), np.linspace(390, 90, 40)):
        one, other = placing("collins", 90, front, 125), placing("hopper", 84, back, 112)
        image = paste(paste(background, "hopper", other), "collins", one)
        frames.append(grain(image, 2.0, generator))
        both = np.stack((moved("collins", one), moved("hopper", other)))
        truth.append(both)
        hidden = abs(front - back) < 70
        told.append(both if not hidden else np.stack((both[0], np.full((468, 3), np.nan))))
    return Shot(frames), told, np.stack(truth)


def test_two_faces_that_cross_keep_their_names(crossing: tuple[Shot, list[np.ndarray], np.ndarray]) -> None:
    shot, told, truth = crossing
    tracks = tracking.track(shot, Surveyor(shot, told, noise=0.003))
    assert len(tracks) == 2
    for track in tracks:
        there = seen(track).numpy() & (track.confidence.numpy() > 0.5)
        rows = np.arange(track.first, track.last + 1)[there]
        away = np.linalg.norm(
            track.points.numpy()[there, :, :2].mean(1)[:, None] - truth[rows, :, :, :2].mean(2), axis=-1
        )
        mine = away.mean(0).argmin()
        assert away[:, mine].max() < 8, "a believed frame shows the other face"
        assert {0, 39} <= set(rows.tolist())
    assert min(float((track.confidence > 0.5).sum()) for track in tracks) > 22


def test_a_cut_is_found_and_the_person_known_again() -> None:
    wide = [placing("collins", 110, 120 + k, 110) for k in range(12)]
    close = [placing("collins", 150, 200 - k, 130) for k in range(12)]
    other = [placing("hopper", 130, 160, 120 + 0.5 * k) for k in range(12)]
    generator = np.random.default_rng(2)
    frames, truth = [], []
    for name, placings in (("collins", wide), ("hopper", other), ("collins", close)):
        for matrix in placings:
            frames.append(grain(draw(name, matrix, (320, 240)), 2.0, generator))
            truth.append(moved(name, matrix)[None])
    shot = Shot(frames)
    tracks = tracking.track(shot, Surveyor(shot, truth, noise=0.003))
    assert [(track.first, track.last) for track in sorted(tracks, key=lambda t: t.first)] == [(0, 35), (12, 23)]
    collins = min(tracks, key=lambda t: t.first)
    assert tracking.lost(collins) == ((12, 23),)
    assert error(collins, np.stack(truth)[:, 0])[[0, 11, 24, 35]].max() < 3


def test_missing_frames_are_lost_and_the_rest_is_tracked() -> None:
    shot, truth = camera_shot("collins", travelling(20, 120, SMALL), SMALL)
    shot.frames[8] = shot.frames[9] = None
    tracks = tracking.track(shot, Surveyor(shot, truth[:, None]))
    assert len(tracks) == 1
    assert tracking.lost(tracks[0]) == ((8, 9),)


def test_sparse_landmarks_without_depth_are_followed_too() -> None:
    shot, truth = camera_shot("collins", travelling(12, 140, SMALL), SMALL)

    class Sparse(Surveyor):
        def landmarks(self, picture: np.ndarray, crops: torch.Tensor) -> Landmarked:
            found = super().landmarks(picture, crops)
            flat = mesh.to_ibug68(found.points) * torch.tensor([1.0, 1.0, 0.0])
            return Landmarked(flat, found.confidence[:, :68], found.visibility[:, :68], found.presence)

    (track,) = tracking.track(shot, Sparse(shot, truth[:, None], noise=0.004, scheme="ibug68"))
    assert track.scheme == "ibug68" and track.points.shape == (12, 68, 3)
    goal = mesh.to_ibug68(torch.from_numpy(truth)).numpy()
    steady = tracking.smooth(track, rigid=0.5, expression=0.5)
    assert np.linalg.norm(steady.points.numpy()[..., :2] - goal[..., :2], axis=-1).mean() < 0.4
    assert tracking.face_at(steady, 5) is not None


def test_no_face_gives_no_track() -> None:
    generator = np.random.default_rng(0)
    shot = Shot([generator.integers(0, 255, (120, 160, 3), np.uint8) for _ in range(6)])
    assert tracking.track(shot, Surveyor(shot, [np.zeros((0, 468, 3))] * 6)) == ()


def test_a_cup_with_unsure_points_is_no_face() -> None:
    shot, truth = camera_shot("collins", travelling(4, 120, SMALL), SMALL)
    assert tracking.track(shot, Surveyor(shot, truth[:, None], sure=0.3)) == ()
    (faint,) = tracking.track(shot, Surveyor(shot, truth[:, None], sure=0.3), confidence=0.2)
    assert float(faint.confidence.max()) < 0.5


def test_a_face_is_followed_back_to_before_it_was_first_looked_for() -> None:
    shot, truth = camera_shot("collins", travelling(16, 140, SMALL), SMALL)
    told = [t[None] for t in truth]

    class LateLooker(Surveyor):
        def detect(self, picture: np.ndarray, smallest: float) -> Detections:
            found = super().detect(picture, smallest)
            if picture is not shot.frames[0]:
                return found
            return Detections(found.boxes[:0], found.five[:0], found.scores[:0])

    (track,) = tracking.track(shot, LateLooker(shot, told))
    assert track.first == 0
    assert error(track, truth)[:8].max() < 1.5


def test_tracking_twice_gives_the_same_numbers() -> None:
    shot, truth = camera_shot("collins", travelling(8, 120, SMALL), SMALL)
    once, again = (tracking.track(shot, Surveyor(shot, truth[:, None], noise=0.004))[0] for _ in range(2))
    assert torch.equal(once.points, again.points)
    assert torch.equal(once.confidence, again.confidence)


def test_onnx_networks_on_real_people(shared) -> None:  # type: ignore[no-untyped-def]
    import av

    from mien.models import backends

    finder = backends.open("onnx", shared / "weights")
    with av.open(str(shared / "media/intel/preview/face-demographics-walking-and-pause.gif")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame, _ in zip(container.decode(video=0), range(10))]
    tracks = tracking.track(Shot(frames), finder, smallest=16)
    assert len(tracks) == 3
    assert all(bool(seen(track).all()) and float(track.confidence.min()) > 0.5 for track in tracks)
    middles = sorted(float(track.points[0, :, 0].mean()) for track in tracks)
    assert middles == sorted(middles) and np.diff(middles).min() > 60

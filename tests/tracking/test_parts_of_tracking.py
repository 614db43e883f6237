from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from portraits import draw, grain, landmarks, moved, placing

from mien import mesh, tracking
from mien.chain import scaled
from mien.tracking import cuts, flow
from mien.tracking.appearance import describe, distance
from mien.tracking.people import Tracklet, join
from mien.tracking.shape import overlap, plausibility, same_place
from mien.types import FaceTrack

SIDE = (256, 256)


def test_flow_measures_a_known_affine_motion() -> None:
    generator = np.random.default_rng(0)
    first, second = placing("collins", 170, 128, 128), placing("collins", 174, 130.3, 126.6, 0.02)
    before, after = (flow.to_gray(grain(draw("collins", m, SIDE), 2.0, generator)) for m in (first, second))
    start, goal = (moved("collins", m)[:, :2].astype(np.float32) for m in (first, second))
    still = np.float32([[1, 0, 0], [0, 1, 0]])
    shift, trust = flow.measure(before, after, start, still)
    error = np.linalg.norm(shift - (goal - start), axis=1)
    assert np.median(error) < 0.1 and np.percentile(error, 95) < 0.35
    assert np.median(trust) > 0.7


def test_flow_does_not_trust_what_is_covered() -> None:
    generator = np.random.default_rng(0)
    matrix = placing("collins", 170, 128, 128)
    image = draw("collins", matrix, SIDE)
    covered = image.copy()
    covered[140:230, 60:200] = cv2.resize(generator.uniform(0, 255, (9, 14, 3)).astype(np.float32), (140, 90))
    points = moved("collins", matrix)[:, :2].astype(np.float32)
    still = np.float32([[1, 0, 0], [0, 1, 0]])
    gray = [flow.to_gray(grain(picture, 1.0, generator)) for picture in (image, covered)]
    _, trust = flow.measure(*gray, points, still)
    hidden = (points[:, 1] > 150) & (points[:, 0] > 70) & (points[:, 0] < 190)
    open_ = points[:, 1] < 115
    assert np.median(trust[hidden]) < 0.5 < 0.8 < np.median(trust[open_])


def test_cuts_are_told_from_pans_flashes_and_fades() -> None:
    generator = np.random.default_rng(0)
    scene, other = (
        np.clip(cv2.resize(generator.uniform(0, 255, (12, 20, 3)), (800, 480), interpolation=cv2.INTER_CUBIC), 0, 255)
        for _ in range(2)
    )
    shown = [scene[:360, k * 6 : k * 6 + 640] for k in range(8)]
    shown += [shown[-1] * 0.6, np.clip(shown[-1] * 1.8, 0, 255), shown[-1]]
    shown += [other[:360, :640], other[:360, 5:645]]
    seen = [cuts.thumbnail(image.astype(np.uint8)) for image in shown]
    recent: list[float] = []
    found = []
    for index, (before, after) in enumerate(pairwise(seen), 1):
        likeness = cuts.likeness(before, after)
        if cuts.is_cut(likeness, recent):
            found.append(index)
        recent.append(likeness)
    assert found == [11]


def test_looks_tell_people_apart_and_ignore_exposure() -> None:
    crops = {}
    for name in ("collins", "hopper"):
        crops[name] = draw(name, placing(name, 170, 128, 128), SIDE)
    generator = np.random.default_rng(0)
    collins = describe(grain(crops["collins"], 2.0, generator))
    darker = describe(grain(crops["collins"] * 0.7, 2.0, generator))
    hopper = describe(grain(crops["hopper"], 2.0, generator))
    assert distance(collins, darker) < 0.35 < distance(collins, hopper)


def tracklet(name: str, first: int, frames: int, x: float, scene: int = 0) -> Tracklet:
    crop = grain(draw(name, placing(name, 170, 128, 128), SIDE), 2.0, np.random.default_rng(first))
    points = np.repeat(moved(name, placing(name, 100, x, 100))[None], frames, 0).astype(np.float32)
    return Tracklet(
        first, points, np.ones((frames, 468), np.float32), np.ones(frames, np.float32), scene, (describe(crop),)
    )


def test_tracklets_are_joined_by_look_across_a_cut_and_never_when_together() -> None:
    pieces = [
        tracklet("collins", 0, 10, 100),
        tracklet("hopper", 0, 10, 300),
        tracklet("hopper", 10, 10, 100, 1),
        tracklet("collins", 10, 10, 300, 1),
    ]
    people = join(pieces)
    assert sorted([(t.first, float(t.points[0, :, 0].mean()) > 200) for t in person] for person in people) == [
        [(0, False), (10, True)],
        [(0, True), (10, False)],
    ]
    assert len(join([tracklet("collins", 0, 10, 100), tracklet("collins", 5, 10, 300)])) == 2


def test_an_ear_taken_for_a_face_is_left_out() -> None:
    head, passer = tracklet("collins", 0, 10, 100), tracklet("hopper", 0, 10, 300)
    ear = replace(head, points=head.points * 0.2 + np.float32([110, 70, 0]))
    assert [len(person) for person in join([ear, head, passer])] == [1, 1]
    assert all(person[0] is not ear for person in join([ear, head, passer]))


def test_noise_is_no_face_and_a_face_is() -> None:
    face = landmarks("collins")
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(468, 3, generator=generator) * 100
    for scheme, good, bad in (("mesh", face, noise), ("ibug68", mesh.to_ibug68(face), noise[:68])):
        assert float(plausibility(good, scheme)) > 0.8
        assert float(plausibility(bad, scheme)) < 0.3


def test_boxes_overlap_as_areas_say() -> None:
    one, two = np.float32([0, 0, 10, 10]), np.float32([5, 0, 15, 10])
    assert overlap(one, two) == pytest.approx(1 / 3)
    face = landmarks("collins").numpy()
    assert same_place(face, face + np.float32([3, 0, 0]))
    assert not same_place(face, face + np.float32([60, 0, 0]))


def turning(scheme: str) -> tuple[FaceTrack, float]:
    yaw = torch.linspace(-50, 50, 30)
    rotations = mesh.rotation_of(yaw, yaw * 0.2, yaw * 0.1)
    width = 200.0
    scale = width / float(mesh.CANONICAL[:, 0].max() - mesh.CANONICAL[:, 0].min())
    points = scale * mesh.CANONICAL @ rotations.mT + torch.tensor([500.0, 400.0, 0.0])
    if scheme == "ibug68":
        points = mesh.to_ibug68(points)
    frames = len(points)
    ones = torch.ones(frames, points.shape[1])
    return FaceTrack("a", 1, points, ones, torch.ones(frames), torch.zeros(frames, dtype=torch.bool), scheme), width


@pytest.mark.parametrize("scheme", ["mesh", "ibug68"])
def test_the_width_of_a_face_does_not_change_when_it_turns(scheme: str) -> None:
    track, width = turning(scheme)
    widths = tracking.face_widths(track)
    assert torch.all((widths / width - 1).abs() < 0.02)
    face = tracking.face_at(track, 7)
    assert face is not None and face.width == pytest.approx(float(widths[6]), rel=1e-5)
    assert torch.equal(face.points, track.points[6])


def test_the_width_follows_a_cut_at_once_and_is_unknown_where_the_face_is_lost() -> None:
    track, width = turning("mesh")
    track.points[15:] *= 2
    track.points[5] = torch.nan
    track.confidence[5] = 0
    widths = tracking.face_widths(track)
    assert widths[5].isnan()
    assert float(widths[14]) == pytest.approx(width, rel=0.03)
    assert float(widths[15]) == pytest.approx(2 * width, rel=0.03)
    assert tracking.lost(track) == ((6, 6),)
    assert tracking.face_at(track, 6) is None and tracking.face_at(track, 99) is None


def test_velocity_is_the_central_difference_and_stops_at_cuts_and_lost_frames() -> None:
    track, width = turning("mesh")
    frames = len(track.points)
    pace = torch.arange(frames, dtype=torch.float32)[:, None, None] ** 2 * torch.tensor([0.25, -0.1, 0.0])
    track.points[:] = track.points[:1] + pace
    track.points[10:] += 5 * width
    track.points[4] = torch.nan
    track.confidence[4] = 0

    def velocity(row: int) -> torch.Tensor:
        face = tracking.face_at(track, 1 + row)
        assert face is not None and face.velocity is not None
        return face.velocity

    def step(row: int) -> torch.Tensor:
        return (pace[row + 1] - pace[row]).expand(468, 3)

    assert torch.allclose(velocity(7), (step(6) + step(7)) / 2, atol=1e-3)
    assert torch.allclose(velocity(9), step(8), atol=1e-3), "the frame before a cut looks back"
    assert torch.allclose(velocity(10), step(10), atol=1e-3), "the frame after a cut looks ahead"
    assert torch.allclose(velocity(3), step(2), atol=1e-3) and torch.allclose(velocity(5), step(5), atol=1e-3)
    alone = tracking.face_at(replace(track, confidence=(torch.arange(frames) == 7).float()), 8)
    assert alone is not None and alone.velocity is None
    small = scaled(tracking.face_at(track, 8), 0.5)
    assert small is not None and small.velocity is not None and torch.equal(small.velocity, velocity(7) * 0.5)

"""The detector network, its geometry, and the weights that ship."""

import math
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
import skimage
import torch

from mien.models import backends, detector
from mien.models.detector import Detector, centers, covered, fold, look, overlap, place, shrink_factor, suppress

CPU = torch.device("cpu")
PORTRAITS = {
    "collins": (Path(skimage.__file__).parent / "data" / "astronaut.png", (175, 70, 275, 190)),
    "hopper": (Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg", (160, 110, 360, 340)),
}


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)


def worn_in(seed):
    """A network with random weights whose normalizations have seen something."""
    torch.manual_seed(seed)
    network = Detector()
    network(torch.rand(2, 3, 64, 64))
    return network.eval()


@pytest.fixture(scope="module")
def trained():
    return backends.open("builtin")


def found(finder, picture, smallest):
    answer = finder.detect(picture, smallest)
    return answer.boxes, answer.five, answer.scores


def test_every_cell_of_three_grids_answers():
    cells = worn_in(0)(torch.rand(2, 3, 64, 96))
    count = 8 * 12 + 4 * 6 + 2 * 3
    assert cells.logits.shape == (2, count)
    assert cells.boxes.shape == (2, count, 4)
    assert cells.five.shape == (2, count, 5, 2)
    assert bool((cells.boxes[..., 2:] > cells.boxes[..., :2]).all())


def test_folding_changes_nothing():
    network, pictures = worn_in(1), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = network(pictures)
        after = fold(network)(pictures)
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-4)


def test_a_cell_without_opinion_puts_its_face_around_itself():
    _, boxes, five = place(torch.zeros(1, 2, 3, 15), 16)
    middle = centers(2, 3, 16)
    assert middle[4].tolist() == [24.0, 24.0]
    torch.testing.assert_close(boxes[0], torch.cat((middle - 32, middle + 32), 1))
    torch.testing.assert_close(five[0], middle[:, None].expand(-1, 5, -1))


def test_overlap_of_known_boxes():
    boxes = torch.tensor([[0.0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]])
    expected = torch.tensor([[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 1]])
    torch.testing.assert_close(overlap(boxes, boxes), expected)


def test_share_of_the_smaller_box():
    boxes = torch.tensor([[0.0, 0, 10, 10], [2, 2, 4, 4], [9, 0, 13, 1]])
    shares = covered(boxes, boxes)
    torch.testing.assert_close(shares, torch.tensor([[1.0, 1, 0.25], [1, 1, 0], [0.25, 0, 1]]))
    assert covered(boxes, boxes[:0]).shape == (3, 0)


@pytest.mark.parametrize("seed", range(5))
def test_suppress_agrees_with_opencv(seed):
    generator = np.random.default_rng(seed)
    # One size for all, so that no box lies inside another and only the overlap decides.
    corner = generator.uniform(0, 60, (40, 2))
    scores = (generator.permutation(40) + 1) / 41
    rectangles = np.concatenate((corner, np.full((40, 2), 20.0)), 1)
    expected = cv2.dnn.NMSBoxes(rectangles.tolist(), scores.tolist(), 0.0, 0.4)
    boxes = torch.from_numpy(np.concatenate((corner, corner + 20), 1))
    assert suppress(boxes, torch.from_numpy(scores), 0.4).tolist() == [int(row) for row in expected]


def test_suppress_drops_a_face_found_inside_a_better_one():
    boxes = torch.tensor([[0.0, 0, 100, 100], [30, 30, 60, 60], [200, 0, 240, 40]])
    assert suppress(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.4).tolist() == [0, 2]
    assert suppress(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.4, nested=math.inf).tolist() == [0, 1, 2]
    assert suppress(boxes[:0], torch.zeros(0), 0.4).tolist() == []


def test_working_size_follows_the_smallest_face():
    assert shrink_factor(1080, 1920, 60, 12) == pytest.approx(640 / 1920)
    assert shrink_factor(1080, 1920, 24, 12) == pytest.approx(0.5)
    assert shrink_factor(1080, 1920, 6, 12) == 1.0
    assert shrink_factor(270, 480, 24, 12) == pytest.approx(640 / 480)
    assert shrink_factor(64, 64, 24, 12) == 2.0


@pytest.mark.parametrize("size", [(37, 53), (480, 640), (1, 200)])
def test_looks_at_pictures_of_any_size(size):
    picture = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    boxes, five, scores = look(fold(worn_in(2)), picture, 16, CPU)
    assert boxes.shape == (len(scores), 4) and five.shape == (len(scores), 5, 2)


def test_the_weights_are_small():
    assert detector.WEIGHTS.stat().st_size < 2_000_000


@pytest.mark.parametrize("name", PORTRAITS)
@pytest.mark.parametrize("scale", [0.35, 1.0, 2.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_finds_the_portraits_at_any_size(trained, name, scale, mirrored):
    path, box = PORTRAITS[name]
    picture, known = read(path), torch.tensor([box], dtype=torch.float32)
    if mirrored:
        picture = np.ascontiguousarray(picture[:, ::-1])
        known = known[:, [2, 1, 0, 3]] * torch.tensor([-1, 1, -1, 1.0]) + picture.shape[1] * torch.tensor([1, 0, 1, 0])
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    boxes, five, scores = found(trained, picture, 20)
    assert (scores > 0.5).sum() == 1
    assert overlap(boxes[:1], known * scale).item() > 0.5
    left, right, nose, left_mouth, right_mouth = five[0]
    assert left[0] < right[0] and left_mouth[0] < right_mouth[0]
    assert left[1] < nose[1] < left_mouth[1]


def test_finds_a_face_that_fills_the_frame(trained):
    path, (x0, y0, x1, y1) = PORTRAITS["hopper"]
    close = read(path)[y0 - 10 : y1 + 10, x0 - 10 : x1 + 10]
    picture = cv2.resize(close, (1300, 1480), interpolation=cv2.INTER_CUBIC)
    boxes, _, scores = found(trained, picture, 200)
    assert scores[0] > 0.5
    assert overlap(boxes[:1], torch.tensor([[62.0, 59, 1238, 1421]])).item() > 0.5


def test_finds_several_faces_at_their_places(trained):
    collins, hopper = (read(path) for path, _ in PORTRAITS.values())
    picture = np.zeros((600, 1100, 3), np.uint8)
    picture[40:552, :512], picture[:, 550:1062] = collins, hopper
    boxes, _, scores = found(trained, picture, 40)
    middles = ((boxes[:, :2] + boxes[:, 2:]) / 2)[scores > 0.5]
    middles = middles[middles[:, 0].argsort()]
    torch.testing.assert_close(middles, torch.tensor([[225.0, 170], [810, 225]]), atol=30, rtol=0)


def test_answers_the_same_twice_and_follows_the_picture(trained):
    picture = read(PORTRAITS["collins"][0])
    first = found(trained, picture, 40)
    again = found(trained, picture, 40)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    moved = cv2.copyMakeBorder(picture, 0, 0, 64, 0, cv2.BORDER_REPLICATE)[:, :512]
    boxes, _, _ = found(trained, np.ascontiguousarray(moved), 40)
    torch.testing.assert_close(boxes[0], first[0][0] + torch.tensor([64.0, 0, 64, 0]), atol=6, rtol=0)


def test_no_face_in_pictures_without_one(trained):
    folder = Path(skimage.__file__).parent / "data"
    pictures = [read(folder / name) for name in ("coffee.png", "chelsea.png")]
    pictures += [
        np.full((240, 320, 3), 128, np.uint8),
        np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8),
    ]
    for picture in pictures:
        _, _, scores = found(trained, picture, 20)
        assert not (scores > 0.5).any()


def test_finds_a_scanned_head_through_its_turn(trained, shared):
    from mien.train.detector import read_clip

    truth = np.load(shared / "media" / "synthetic_head" / "turn_gt.npz")
    frames = read_clip(shared / "media" / "synthetic_head" / "turn.mp4")
    lost = 0
    for row in range(0, len(frames), 10):
        boxes, _, scores = found(trained, frames[row], 100)
        points = truth["points_px"][row, :, :2]
        middle = (boxes[:1, :2] + boxes[:1, 2:]).numpy() / 2
        seen = len(scores) > 0 and float(scores[0]) > 0.5
        near = seen and np.linalg.norm(middle[0] - (points.min(0) + points.max(0)) / 2) < 80
        if abs(truth["yaw_pitch_roll"][row, 0]) < 75:
            assert near, row
        lost += not near
    # A bald head in full profile, filling the frame, is the hardest there is.
    assert lost <= 2

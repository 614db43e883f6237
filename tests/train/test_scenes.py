"""Labels stay on their faces through everything that scenes do to pictures."""

import math

import numpy as np
import pytest

from mien.train.scenes import (
    NOBODY,
    SIZE,
    Frames,
    Labels,
    Sprites,
    clutter,
    framed,
    in_frame,
    paste,
    pasted,
    photographed,
    scene,
    spectacled,
    stock,
    uncovered,
    view,
)


def marked(height=480, width=640, places=((200, 150), (260, 150), (230, 180), (208, 210), (252, 210))):
    """A dark picture with bright spots at the five points of a face, and its labels."""
    picture = np.zeros((height, width, 3), np.uint8)
    rows, columns = np.mgrid[:height, :width] + 0.5
    for x, y in places:
        spot = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 18)
        picture = np.maximum(picture, spot[..., None].astype(np.uint8))
    five = np.array(places, float)[None]
    return picture, Labels(np.array([[180.0, 120, 280, 240]]), five, np.ones(1, bool))


def brightness_at(picture, points):
    index = np.clip(points.astype(int), 0, SIZE - 1)
    return picture[index[:, 1], index[:, 0], 0]


def people(count=3, side=128):
    """Stand-ins for drawn people: a disk of one color whose mesh points fill a known box."""
    random = np.random.default_rng(5)
    rows, columns = np.mgrid[:side, :side] + 0.5
    disk = np.hypot(columns - side / 2, rows - side / 2) < side * 0.3
    picture = np.zeros((count, side, side, 4), np.uint8)
    picture[:, disk] = (200, 150, 120, 255)
    points = side / 2 + random.uniform(-0.2, 0.2, (count, 468, 2)) * side
    return Sprites(picture, points)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scale", [0.35, 0.9, 1.6])
def test_points_stay_on_what_they_mark(seed, scale):
    picture, labels = marked()
    cut, moved = view(np.random.default_rng(seed), picture, labels, scale, np.array([230.0, 180]))
    assert cut.shape == (SIZE, SIZE, 3)
    inside = ((moved.five[0] > 3) & (moved.five[0] < SIZE - 3)).all(1)
    assert inside.all()
    # A spot of three pixels shrunk to one is dimmer, but it is where the label says.
    assert brightness_at(cut, moved.five[0]).min() > (200 if scale > 0.5 else 90)


def test_mirroring_swaps_left_and_right():
    picture, labels = marked(SIZE, SIZE, ((60, 60), (120, 60), (90, 90), (68, 120), (112, 125)))
    mirrored = labels.mirrored(SIZE)
    assert brightness_at(picture[:, ::-1], mirrored.five[0]).min() > 200
    assert mirrored.five[0, 0, 0] < mirrored.five[0, 1, 0] and mirrored.five[0, 3, 0] < mirrored.five[0, 4, 0]
    assert (mirrored.boxes[:, 2:] > mirrored.boxes[:, :2]).all()
    again = mirrored.mirrored(SIZE)
    np.testing.assert_allclose(again.five, labels.five)
    np.testing.assert_allclose(again.boxes, labels.boxes)


def test_a_turned_box_is_that_of_the_turned_ellipse():
    labels = Labels(np.array([[-3.0, -1, 3, 1]]), np.zeros((1, 5, 2)), np.ones(1, bool))
    turns = np.linspace(0, 2 * np.pi, 3600)
    ellipse = np.stack((3 * np.cos(turns), np.sin(turns)), 1)
    angle = 0.7
    matrix = np.array([[math.cos(angle), -math.sin(angle), 5], [math.sin(angle), math.cos(angle), 6]])
    there = ellipse @ matrix[:, :2].T + matrix[:, 2]
    expected = np.concatenate((there.min(0), there.max(0)))
    np.testing.assert_allclose(labels.moved(matrix).boxes[0], expected, atol=1e-5)


def test_a_pasted_person_covers_where_it_lies():
    sprite = people().pictures[0]
    picture = np.full((SIZE, SIZE, 3), 10, np.uint8)
    matrix = np.array([[0.5, 0, 100.0], [0, 0.5, 20]])
    cover = paste(picture, sprite, matrix)
    assert tuple(picture[52, 132]) == (200, 150, 120) and cover[52, 132] == 255
    assert (picture[cover == 0] == 10).all()
    assert cover.astype(float).sum() / 255 == pytest.approx(np.pi * (0.3 * 64) ** 2, rel=0.02)
    outside = np.array([[0.5, 0, 500.0], [0, 0.5, 20]])
    assert not paste(picture, sprite, outside).any()


def test_a_hidden_face_is_not_learned_from():
    cover = np.zeros((SIZE, SIZE), np.uint8)
    labels = Labels(np.array([[20.0, 20, 60, 60], [100, 100, 140, 140]]), np.zeros((2, 5, 2)), np.ones(2, bool))
    cover[20:45, 20:60] = 255
    assert uncovered(labels, cover).learn.tolist() == [False, True]


def test_people_are_pasted_where_the_labels_say():
    random = np.random.default_rng(1)
    for _ in range(20):
        picture, labels = pasted(random, np.zeros((SIZE, SIZE, 3), np.uint8), NOBODY, people(), [40.0])
        x, y = labels.boxes[0].reshape(2, 2).mean(0).astype(int)
        if labels.learn[0] and 0 <= x < SIZE and 0 <= y < SIZE:
            assert picture[y, x].any()


def test_faces_outside_are_dropped_and_cut_ones_looked_away_from():
    boxes = np.array([[10.0, 10, 50, 50], [-30, 0, 10, 40], [300, 0, 340, 40], [50, 50, 55, 55]])
    labels = in_frame(Labels(boxes, np.zeros((4, 5, 2)), np.ones(4, bool)))
    np.testing.assert_array_equal(labels.boxes, boxes[[0, 1, 3]])
    assert labels.learn.tolist() == [True, False, False]


def test_glasses_do_not_change_the_outline():
    crowd = people()
    worn = spectacled(np.random.default_rng(2), crowd.pictures[0], crowd.points[0])
    np.testing.assert_array_equal(worn[..., 3], crowd.pictures[0][..., 3])
    assert (worn[..., :3] != crowd.pictures[0][..., :3]).any()


def test_scenes_are_repeatable_and_whole():
    picture, labels = marked()
    shelf = stock(
        np.random.default_rng(0),
        people(),
        people(1, 256),
        Frames([picture], [labels]),
        [clutter(np.random.default_rng(9), 300)],
        3,
    )
    for seed in range(12):
        one, its = scene(np.random.default_rng(seed), shelf)
        other, others = scene(np.random.default_rng(seed), shelf)
        assert one.shape == (SIZE, SIZE, 3) and one.dtype == np.uint8
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(its.boxes, others.boxes)
        assert len(its.boxes) == len(its.five) == len(its.learn)


def test_cameras_differ_but_keep_the_picture():
    random = np.random.default_rng(3)
    grain = random.standard_normal((2 * SIZE, 2 * SIZE, 3)).astype(np.float32)
    columns = np.mgrid[:SIZE, :SIZE][1]
    slope = np.repeat((columns[..., None] * 255 // SIZE).astype(np.uint8), 3, 2)
    for _ in range(20):
        taken = photographed(random, slope, grain)
        assert np.corrcoef(taken[..., 1].ravel().astype(float), columns.ravel())[0, 1] > 0.8


def test_real_frames_are_framed_on_their_faces():
    picture, labels = marked()
    random = np.random.default_rng(4)
    seen = sum(bool(in_frame(framed(random, Frames([picture], [labels]))[1]).learn.any()) for _ in range(60))
    assert seen > 30

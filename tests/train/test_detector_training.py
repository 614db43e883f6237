"""Which cells learn what, and that training goes on exactly where it stopped."""

import numpy as np
import pytest
import torch

from mien.models import detector as network
from mien.models.detector import STRIDES, Cells, Detector, centers
from mien.train import detector
from mien.train.scenes import NOBODY, SIZE, Labels
from mien.train.splits import HELD_OUT_CLIPS, SIGNERS, TRAINED_CLIPS


def one_face(box, learn=True):
    five = np.array(box).reshape(2, 2).mean(0) + np.zeros((1, 5, 2))
    labels = Labels(np.array([box], float), five, np.array([learn]))
    return detector.batch_of([(np.zeros((SIZE, SIZE, 3), np.uint8), labels)])


def cell_places():
    return torch.cat([centers(SIZE // stride, SIZE // stride, stride) for stride in STRIDES])


def grid_of_cells():
    return torch.cat([torch.full(((SIZE // stride) ** 2,), stride) for stride in STRIDES])


@pytest.mark.parametrize(("size", "strides"), [(12, {8}), (30, {8, 16}), (50, {16}), (70, {16, 32}), (150, {32})])
def test_the_grid_for_its_size_answers_for_a_face(size, strides):
    targets = detector.assign(one_face((90 - size / 2, 80 - size / 2, 90 + size / 2, 80 + size / 2)))
    taken = targets.face[0] == 0
    assert set(grid_of_cells()[taken].tolist()) == strides
    apart = (cell_places()[taken] - torch.tensor([90.0, 80])).abs().amax(1)
    assert float(apart.max()) <= max(0.2 * size, 0.5 * max(strides)) + 0.01
    assert bool(targets.counts[0][taken].all()) and not bool(targets.counts[0].all())


def test_every_face_has_a_cell():
    random = np.random.default_rng(0)
    for _ in range(200):
        size = np.exp(random.uniform(np.log(8), np.log(170), 2) * 0.5 + np.log(random.uniform(8, 170)) * 0.5)
        corner = random.uniform(0, SIZE - size)
        targets = detector.assign(one_face((*corner, *(corner + size))))
        assert bool((targets.face >= 0).any()), (corner, size)


def test_the_smaller_face_wins_and_the_unsure_one_counts_for_nothing():
    boxes = np.array([[40.0, 40, 100, 100], [62, 62, 78, 78]])
    labels = Labels(boxes, np.zeros((2, 5, 2)), np.ones(2, bool))
    batch = detector.batch_of([(np.zeros((SIZE, SIZE, 3), np.uint8), labels)])
    at = int(((cell_places() - 68).abs().amax(1) + (grid_of_cells() != 8) * 1000).argmin())
    assert int(detector.assign(batch).face[0, at]) == 1
    unsure = detector.assign(one_face((40, 40, 100, 100), learn=False))
    inside = ((cell_places() > 42) & (cell_places() < 98)).all(1)
    assert not bool((unsure.face >= 0).any())
    near, far = inside & (grid_of_cells() >= 16), inside & (grid_of_cells() == 8)
    assert not bool(unsure.counts[0][near].any()) and bool(unsure.counts[0][far].all())


def test_losses_vanish_where_the_network_is_right():
    batch = one_face((60, 50, 120, 120))
    targets = detector.assign(batch)
    taken = targets.face >= 0
    count = taken.shape[1]
    logits = torch.where(taken, 12.0, -12.0)
    right = Cells(logits, batch.boxes[:, :1].expand(1, count, 4), batch.five[:, :1].expand(1, count, 5, 2))
    assert all(float(part) < 1e-3 for part in detector.losses(right, batch, targets))
    moved = Cells(logits, right.boxes + 10, right.five + 10)
    score, box, points = detector.losses(moved, batch, targets)
    assert min(float(score), float(box), float(points)) > 0.05
    alarmed = Cells(torch.full_like(logits, 4.0), right.boxes, right.five)
    assert float(detector.losses(alarmed, batch, targets)[0]) > 1
    nobody = detector.batch_of([(np.zeros((SIZE, SIZE, 3), np.uint8), NOBODY)])
    parts = detector.losses(right, nobody, detector.assign(nobody))
    assert float(parts[1]) == float(parts[2]) == 0


def test_training_continues_where_it_stopped(tmp_path):
    def run(name, *stops):
        for stop in stops:
            detector.train(tmp_path / name, steps=4, until=stop, size=2, every=1, clutter=3)
        return (tmp_path / name).read_bytes()

    assert run("once.safetensors", 4) == run("twice.safetensors", 2, 4)
    assert not list(tmp_path.glob("*.part"))
    assert isinstance(network.load(tmp_path / "once.safetensors"), Detector)


def test_nobody_is_both_learned_from_and_measured_on():
    assert not set(TRAINED_CLIPS) & set(HELD_OUT_CLIPS)
    assert sorted(TRAINED_CLIPS + HELD_OUT_CLIPS) == sorted(clip for clips in SIGNERS.values() for clip in clips)


def test_teachers_label_real_people(shared):
    frames = detector.label_clips(shared / "media" / "intel" / "asl_gestures", shared / "weights", every=40)
    assert len(frames.pictures) >= len(TRAINED_CLIPS)
    for labels in frames.labels:
        assert labels.learn.sum() == 1
        width = labels.boxes[labels.learn][0, 2] - labels.boxes[labels.learn][0, 0]
        assert 40 < width < 80

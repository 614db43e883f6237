"""Whether a set shows one person or several, told on portraits of two, and said in its report."""

from dataclasses import replace

import numpy as np
import torch

from facesets.sets import COLORS, a_face
from mien.facesets.extract import CropShape, take
from mien.facesets.people import people
from mien.facesets.report import write_report
from mien.files.faceset import FaceSet, write_face
from tracking import portraits


def shown(folder, names) -> FaceSet:
    """A set of portraits, each somewhat turned, nearer or farther, warmer or cooler, darker or brighter."""
    chance = np.random.default_rng(7)
    taken = []
    for row, name in enumerate(names):
        matrix = portraits.placing(name, chance.uniform(80, 140), 150, 150, chance.uniform(-0.15, 0.15))
        drawn = (torch.from_numpy(portraits.draw(name, matrix, (300, 300))).movedim(-1, 0) / 255).clamp(0, 1) ** 2.2
        light = torch.from_numpy(chance.uniform(0.9, 1.1, (3, 1, 1)) * 2 ** chance.uniform(-1, 1)).float()
        points = moved(portraits.landmarks(name), matrix)
        one = take(drawn * light, a_face(points), CropShape(64, 1.5), COLORS, f"faces/{row}.exr", 0, row)
        write_face(folder / one.entry.file, one.crop, one.matte, None, {})
        taken.append(one)
    entries = tuple(one.entry for one in taken)
    stacks = (torch.stack([getattr(one, part) for one in taken]) for part in ("points", "weight", "look"))
    return FaceSet(folder, 64, 1.5, COLORS.working, ("portraits",), entries, *stacks)


def moved(points: torch.Tensor, matrix: np.ndarray) -> torch.Tensor:
    there = torch.from_numpy(matrix).float()
    scale = float(np.sqrt(np.linalg.det(matrix[:2, :2])))
    return torch.cat([points[:, :2] @ there[:2, :2].T + there[:2, 2], points[:, 2:] * scale], 1)


def test_two_people_are_told_apart_and_the_report_shows_each(tmp_path):
    names = ["collins", "hopper", "collins", "collins", "hopper"] * 5
    both = shown(tmp_path, names)
    groups = people(both)
    assert [{names[row] for row in group} for group in groups] == [{"collins"}, {"hopper"}]
    assert [len(group) for group in groups] == [15, 10]
    page, advice = write_report(tmp_path / "report.html", both, None, COLORS)
    assert any("2 people (60%, 40% of the faces)" in line and "--like" in line for line in advice)
    assert "Person 2" in page.read_text() and "Person 3" not in page.read_text()


def test_one_person_in_many_lights_is_one(tmp_path):
    alone = shown(tmp_path, ["hopper"] * 20)
    assert [len(group) for group in people(alone)] == [20]
    page, advice = write_report(tmp_path / "report.html", alone, None, COLORS)
    assert not any("people" in line for line in advice) and "Person" not in page.read_text()


def test_who_was_never_seen_in_like_poses_is_not_judged(tmp_path):
    names = ["collins", "hopper"] * 8
    both = shown(tmp_path, names)
    faces = tuple(replace(face, yaw=40.0 * (name == "hopper")) for face, name in zip(both.faces, names, strict=True))
    assert len(people(replace(both, faces=faces))) == 1


def test_sets_of_hardly_any_faces(tmp_path):
    assert people(shown(tmp_path, ["hopper"])) == [] or len(people(shown(tmp_path, ["hopper"]))) == 1
    assert len(people(shown(tmp_path, ["hopper", "collins", "hopper"]))) <= 1

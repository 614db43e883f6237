"""Face sets: what is cut, written, read back, chosen and complained of."""

import json
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from facesets.sets import COLORS, SIZE, a_face, made, plate, turned
from mien import mesh
from mien.commands.faceset import FacesetArguments, _cut, make_faceset
from mien.facesets.extract import CropShape, Gathered, opening, take
from mien.facesets.report import advise, shown, uncovered
from mien.facesets.selection import Selection, select
from mien.facesets.sheets import ACROSS, CAPTION, SIDE
from mien.files.faceset import read_face, read_faceset, write_face
from mien.files.shot import open_shot
from mien.models.aligned import FACE, aligned_matrix, in_crop
from mien.ops.warp import transform
from mien.recipe import RecipeError
from mien.types import MienError


def test_the_square_is_level_centered_and_as_large_as_asked():
    for roll in (-50.0, 0.0, 35.0):
        points = turned(20, 5, roll)
        there = in_crop(points, aligned_matrix(points, 200, 1.5))
        pose = mesh.pose_of(there)
        assert abs(float(pose.roll)) < 1e-2
        assert float(pose.scale) * FACE == pytest.approx(200 / 1.5, rel=1e-4)
    frontal = in_crop(turned(), aligned_matrix(turned(), 200, 1.5))
    assert torch.allclose((frontal.amin(0) + frontal.amax(0))[:2] / 2, torch.tensor([100.0, 100.0]), atol=0.5)


def test_the_square_ignores_the_jaw():
    points = turned()
    dropped = points.clone()
    dropped[mesh.CANONICAL[:, 1] > 0.9, 1] += 25
    assert torch.allclose(aligned_matrix(points, 64, 1.2), aligned_matrix(dropped, 64, 1.2))


def test_the_square_is_square_on_anamorphic_plates():
    points = turned(15, 0, 20)
    squeezed = points * torch.tensor([0.5, 1, 1])
    one, two = aligned_matrix(points, 64, 1.2), aligned_matrix(squeezed, 64, 1.2, aspect=2.0)
    assert torch.allclose(transform(points[:, :2].double(), one), transform(squeezed[:, :2].double(), two), atol=1e-3)


def test_many_squares_at_once_are_those_one_by_one():
    poses = torch.stack([turned(10), turned(-30, 10, 5)])
    together = aligned_matrix(poses, 64, 1.2)
    assert torch.allclose(together, torch.stack([aligned_matrix(pose, 64, 1.2) for pose in poses]))


def test_what_is_measured_is_what_was_made():
    one = take(plate(), a_face(turned(25, -10, 12)), CropShape(64, 1.5), COLORS, "x.exr", 3, 1001)
    assert (one.entry.yaw, one.entry.pitch, one.entry.roll) == pytest.approx((25, -10, 12), abs=0.1)
    assert (one.entry.source, one.entry.frame) == (3, 1001)
    closed = turned()
    parted = closed.clone()
    lower = torch.tensor(mesh.LIPS_INNER[1:10])
    parted[lower, 1] += 20
    assert opening(parted, mesh.LIPS_INNER) > opening(closed, mesh.LIPS_INNER) + 0.2


def test_sharpness_tells_soft_from_sharp():
    sharp = torch.rand(3, 260, 300, generator=torch.Generator().manual_seed(1)) * 0.3
    soft = torch.nn.functional.avg_pool2d(sharp, 7, 1, 3)
    found = [take(p, a_face(turned()), CropShape(64, 1.5), COLORS, "x", 0, 0).entry.sharpness for p in (sharp, soft)]
    assert found[0] > 2 * found[1]


def test_highlights_and_negatives_are_kept(tmp_path):
    bright = plate()
    bright[:, 120:140, 140:160] = 30.0
    bright[:, 100:104] = -0.25
    one = take(bright, a_face(turned()), CropShape(64, 1.5), COLORS, "a.exr", 0, 0)
    write_face(tmp_path / "a.exr", one.crop, one.matte, None, {})
    back = torch.from_numpy(read_face(tmp_path / "a.exr", 64)).movedim(-1, 0)
    assert float(back[:3].max()) > 29 and float(back[:3].min()) < -0.2
    assert torch.allclose(back[:3], one.crop, rtol=1e-3, atol=1e-4)
    assert torch.allclose(back[3:], one.matte, atol=1e-3)


def test_a_set_comes_back_as_it_was_written(tmp_path):
    found = made(tmp_path, [(0, 0), (20, 5), (-30, 0)])
    again = read_faceset(tmp_path)
    assert again.faces == found.faces and again.digest == found.digest
    assert torch.equal(again.points, found.points)
    text = (tmp_path / "faceset.json").read_text()
    assert sum('"yaw"' in line for line in text.splitlines()) == 3, "one line a face"


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"version": 1', '"version": 9'),
        lambda text: text.replace("faces/0.exr", "../../etc/passwd"),
        lambda text: text.replace("faces/0.exr", "/etc/passwd"),
        lambda text: text.replace('"size": 48', '"size": 4800000'),
        lambda text: text.replace('"yaw"', '"jaw"', 1),
        lambda text: text.replace('"file": "faceset.', '"file": "../faceset.'),
        lambda _: "[]",
        lambda text: text.replace(text[text.index('"yaw": ') : text.index('"pitch"')], '"yaw": NaN, ', 1),
    ],
)
def test_a_damaged_index_is_refused(tmp_path, damage):
    made(tmp_path, [(0, 0), (20, 5)])
    index = tmp_path / "faceset.json"
    index.write_text(damage(index.read_text()))
    with pytest.raises(MienError, match="face set"):
        read_faceset(tmp_path)


def test_filters_keep_what_they_say(tmp_path):
    found = made(tmp_path, [(yaw, pitch) for yaw in (-40, -20, 0, 20, 40) for pitch in (-15, 15)])
    rows, reasons = select(found, Selection(yaw=(-25, 25), pitch=(0, 90), order="yaw"))
    assert [round(found.faces[row].yaw) for row in rows] == [-20, 0, 20]
    assert sum(reasons.values()) == 7
    rows, _ = select(found, Selection(most=4))
    assert len(rows) == 4 and rows[0] == 0 and rows[-1] == 9
    rows, _ = select(found, Selection(sharpest=0.5, order="sharpness"))
    assert len(rows) == 5 and found.faces[rows[0]].sharpness == max(face.sharpness for face in found.faces)
    with pytest.raises(RecipeError, match="sort by"):
        select(found, Selection(order="beauty"))


def test_duplicates_go_and_the_sharpest_stays(tmp_path):
    found = made(tmp_path, [(0, 0), (0, 0), (35, 0)])
    faces = tuple(replace(face, sharpness=sharp, key=0.0, tone=(0.3, 0.3, 0.3))
                  for face, sharp in zip(found.faces, (0.1, 0.2, 0.05)))  # fmt: skip
    rows, reasons = select(replace(found, faces=faces), Selection(apart=0.3))
    assert rows == [1, 2] and reasons == {"like another": 1}


def test_what_a_set_does_not_cover_is_found(tmp_path):
    narrow = made(tmp_path / "narrow", [(yaw, 0) for yaw in range(-10, 11, 5)])
    wide = made(tmp_path / "wide", [(yaw, 0) for yaw in range(-60, 61, 20)])
    missing = uncovered(narrow, wide)
    assert {round(wide.faces[row].yaw) for row in missing} == {-60, -40, 40, 60}
    assert uncovered(wide, narrow) == []
    lines = advise(narrow, wide, COLORS)
    assert any("no like in this set" in line for line in lines) and any("Only 5 faces" in line for line in lines)


def test_large_sets_are_not_said_to_repeat_themselves(tmp_path):
    few = made(tmp_path, [(yaw, 0) for yaw in range(-40, 41, 20)])
    rows = [row % 5 for row in range(12_000)]
    many = few.chosen(rows)
    assert any("only about 5 differ" in line for line in advise(many, None, COLORS))
    yaws = torch.linspace(-60, 60, 12_000).tolist()
    pitches = (40 * torch.rand(12_000, generator=torch.Generator().manual_seed(0)) - 20).tolist()
    faces = tuple(replace(face, yaw=yaw, pitch=pitch) for face, yaw, pitch in zip(many.faces, yaws, pitches))
    assert not any("differ" in line for line in advise(replace(many, faces=faces), None, COLORS))


def test_a_damaged_frame_costs_no_other_face_of_the_set(tmp_path):
    from shots import write_exr

    face, taken, names = a_face(turned(10)), Gathered(), (f"faces/{number}.exr" for number in range(9))
    for source, tint in enumerate((0.2, 0.6)):
        for frame in (1, 2, 3):
            path = tmp_path / f"take{source}.{frame:04d}.exr"
            write_exr(path, np.full((260, 300, 3), tint, np.float32))
            if (source, frame) == (0, 2):
                path.write_bytes(path.read_bytes()[:-200])
        shot = open_shot(str(tmp_path / f"take{source}.%04d.exr"))
        asked, faces = FacesetArguments((), tmp_path), [(frame, face) for frame in (1, 2, 3)]
        failed = _cut(asked, shot, source, faces, names, taken, tmp_path, COLORS, lambda _: None)
        assert list(failed) == [2] * (source == 0)
    assert [(one.source, one.frame) for one in taken.entries] == [(0, 1), (0, 3), (1, 1), (1, 2), (1, 3)]
    points, weight, looks = taken.arrays()
    matrix = aligned_matrix(turned(10), 256, 1.6)
    assert torch.allclose(points, in_crop(turned(10), matrix).float().expand(5, -1, -1)) and weight.min() == 1
    assert len(looks) == 5
    shown = [read_face(tmp_path / one.file, 256)[128, 128, 0] for one in taken.entries]
    assert np.allclose(shown, [0.2, 0.2, 0.6, 0.6, 0.6], atol=0.01)


def test_a_constant_background_is_complained_of(tmp_path):
    same = made(tmp_path / "same", [(0, 0)] * 3)
    assert not any("background" in line for line in advise(same, None, COLORS))
    for row in range(1, 3):
        (tmp_path / "same" / "faces" / f"{row}.exr").write_bytes((tmp_path / "same/faces/0.exr").read_bytes())
    assert any("background" in line for line in advise(same, None, COLORS))


def test_sets_are_joined_and_filtered_by_the_command(tmp_path):
    made(tmp_path / "one", [(0, 0), (30, 0)])
    made(tmp_path / "two", [(-30, 0)], seed=9)
    told = []
    sources = (str(tmp_path / "one"), str(tmp_path / "two"))
    outcome = make_faceset(FacesetArguments(sources, tmp_path / "all", choice=Selection(yaw=(-90, 10))), told.append)
    both = read_faceset(tmp_path / "all")
    assert outcome.done == 2 and [round(face.yaw) for face in both.faces] == [0, -30]
    assert [face.source for face in both.faces] == [0, 1] and len(both.sources) == 2
    for row in range(2):
        assert np.isfinite(read_face(both.picture(row), SIZE)).all()
    page = (tmp_path / "all" / "report.html").read_text()
    assert page.count("data:image/jpeg") == 2 and "http" not in page.replace("http-equiv", "")


def test_contact_sheets_show_every_face_in_order(tmp_path):
    made(tmp_path, [(yaw, 0) for yaw in range(-48, 50, 4)])
    many = FacesetArguments((str(tmp_path),), tmp_path, choice=Selection(order="yaw"), sheets=True)
    outcome = make_faceset(many, lambda _: None)
    page = cv2.imread(str(tmp_path / "sheets" / "0001.jpg"))
    assert outcome.written[-1].endswith("0001.jpg")
    assert page.shape == (2 * (SIDE + CAPTION), ACROSS * SIDE, 3)
    found = read_faceset(tmp_path)
    last = shown(found, 24, SIDE, COLORS)[0][..., ::-1].astype(float)
    there = page[SIDE + CAPTION :, 4 * SIDE : 5 * SIDE][:SIDE].astype(float)
    assert np.abs(there - last).mean() < 6
    assert page[SIDE + CAPTION :, 5 * SIDE + 4 :].max() < 40
    make_faceset(replace(many, sheets=False), lambda _: None)
    assert not list((tmp_path / "sheets").iterdir())


def test_nothing_left_is_said(tmp_path):
    made(tmp_path / "one", [(0, 0)])
    with pytest.raises(MienError, match="none is left"):
        make_faceset(FacesetArguments((str(tmp_path / "one"),), tmp_path / "o", choice=Selection(yaw=(50, 60))), print)


def test_a_folder_of_stills_without_faces_is_refused_by_name(tmp_path):
    from shots import write_exr

    for name in ("meadow", "sky"):
        write_exr(tmp_path / "in" / f"{name}.exr", np.full((64, 64, 3), 0.2, np.float32))
    (tmp_path / "in" / "broken.png").write_bytes(b"no picture")
    told = []
    with pytest.raises(MienError, match="No face"):
        make_faceset(FacesetArguments((str(tmp_path / "in"),), tmp_path / "out"), told.append)
    words = " ".join(str(event) for event in told)
    assert "meadow" in words and "sky" in words and "broken.png" in words


def test_a_movie_becomes_a_set(shared, tmp_path):
    movie = shared / "media" / "derived" / "h264_aac.mp4"
    if not movie.is_file():
        pytest.skip("needs derived/h264_aac.mp4")
    outcome = make_faceset(FacesetArguments((str(movie),), tmp_path / "s", CropShape(64, 1.5), every=8), lambda _: None)
    found = read_faceset(tmp_path / "s")
    assert outcome.done == len(found.faces) > 0
    assert json.loads((tmp_path / "s" / "faceset.json").read_text())["size"] == 64
    assert all(math.isfinite(face.yaw) for face in found.faces)

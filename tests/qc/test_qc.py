"""What a render leaves is judged rightly: figures are those of the pictures, and only what is wrong is flagged."""

import json
import math
import os
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mien import __main__ as command_line
from mien.commands import render_recipe
from mien.commands.farm import finish_recipe
from mien.commands.qc import QcArguments, check_shot
from mien.files.proofs import read_proof, write_proof
from mien.ops.judge import middle, shrunk, squares, textures, under
from mien.proof import figures
from mien.qc.figures import KINDS, Limits, judge
from mien.qc.page import fitted, write_page
from mien.qc.shot import open_rendered, recipe_in
from mien.recipe import RecipeError
from mien.types import Layer, MienError, Plate
from qc.rendered import FIGURES, rendered
from shots import FIRST, make_shot


def silent(_event: object) -> None:
    pass


def judged(folder: Path, **limits: float):
    return judge(open_rendered(recipe_in(folder / "out")), Limits(**limits))


def kinds(found) -> dict[int, set[str]]:
    flagged: dict[int, set[str]] = {}
    for flag in found.flags:
        flagged.setdefault(flag.frame, set()).add(flag.kind)
    return flagged


class TestFigures:
    def test_color_under_a_matte_is_the_weighted_mean(self):
        random = torch.Generator().manual_seed(1)
        image, matte = torch.rand(3, 20, 30, generator=random), torch.rand(1, 20, 30, generator=random)
        expected = (image * matte).sum((1, 2)) / matte.sum()
        assert under(image, matte) == pytest.approx(expected.tolist(), rel=1e-5)
        image[:, 3, 4] = math.inf
        assert all(map(math.isfinite, under(image, matte)))
        assert under(image, torch.zeros(1, 20, 30)) == (0, 0, 0)

    @pytest.mark.parametrize("sigma", [0.005, 0.02])
    def test_grain_is_measured_in_roots_of_light(self, sigma):
        random = torch.Generator().manual_seed(2)
        y, x = torch.meshgrid(torch.linspace(0, 1, 160), torch.linspace(0, 1, 160), indexing="ij")
        root = 0.5 + 0.1 * x + 0.05 * (3 * y).sin()
        grainy = (root + sigma * torch.randn(160, 160, generator=random)).square().expand(3, -1, -1)
        _, grain = textures([grainy], torch.ones(1, 160, 160))[0]
        # Squares of 64 pixels scatter; the calm third holds a little less than all.
        assert grain == pytest.approx(sigma / float(root.square().mean().sqrt()), rel=0.25)

    def test_a_blurred_face_is_softer_and_grain_does_not_sharpen(self):
        y, x = torch.meshgrid(torch.arange(128), torch.arange(128), indexing="ij")
        face = (0.4 + 0.15 * (x / 40).sin() + 0.1 * ((x // 32 + y // 32) % 2)).expand(3, -1, -1)
        soft = torch.nn.functional.avg_pool2d(face[None], 5, 1)[0]
        face = face[:, 2:-2, 2:-2]
        matte = torch.ones(1, 124, 124)
        sharp, blurred = textures([face], matte)[0][0], textures([soft], matte)[0][0]
        assert blurred < 0.75 * sharp
        random = torch.Generator().manual_seed(3)
        noisy = soft + 0.02 * torch.randn(soft.shape, generator=random)
        assert textures([noisy], matte)[0][0] == pytest.approx(blurred, rel=0.15)

    def test_nothing_to_measure_is_zero(self):
        assert textures([torch.ones(3, 4, 4)], torch.ones(1, 4, 4))[0] == (0.0, 0.0)
        assert textures([torch.ones(3, 40, 40)], torch.zeros(1, 40, 40))[0] == (0.0, 0.0)

    def test_the_middle_lies_around_the_matte(self):
        matte = torch.zeros(1, 900, 1000)
        matte[0, 600:800, 100:300] = 1
        y, x = middle(matte, 512)
        assert (y.start, y.stop, x.start, x.stop) == (388, 900, 0, 512)
        assert squares((900, 1000), 256) == 4 and shrunk(torch.ones(3, 900, 1000), 4).shape == (3, 225, 250)

    def test_pixels_that_are_no_numbers_are_counted_where_the_plate_has_some(self):
        image = torch.full((3, 40, 40), 0.2)
        image[:, 0, 0] = math.nan
        face, matte = torch.full((3, 40, 40), 0.4), torch.ones(1, 40, 40)
        face[:, :2, :3] = math.nan
        layer = Layer(face, matte, (5, 6), 40.0)
        found = figures(Plate(image, (5, 6), 1001), layer, layer)
        assert found["unsound"] == 5 and found["area"] == 1600 and found["corner"] == [5, 6]
        assert found["plate"] == pytest.approx([0.2] * 3) and found["result"] == pytest.approx([0.4] * 3)


class TestProofs:
    def test_what_is_written_comes_back(self, tmp_path):
        picture = np.zeros((20, 90, 3), np.uint8)
        picture[:, 30:60] = (200, 100, 50)
        write_proof(tmp_path / "a.jpg", picture, {"area": 2.5, "plate": [1, 2, 3]}, {"frame": "7"})
        proof = read_proof(tmp_path / "a.jpg")
        assert proof.size == (30, 20) and proof.figures == {"area": 2.5, "plate": [1, 2, 3]}
        assert proof.facts == {"frame": "7"}
        shown = cv2.imdecode(np.frombuffer(proof.jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert np.abs(shown[10, 45].astype(int) - (200, 100, 50)).max() < 6 and shown[10, 10].max() < 12
        write_proof(tmp_path / "b.jpg", picture, {"plate": [1, 2, 3], "area": 2.5}, {"frame": "7"})
        assert (tmp_path / "b.jpg").read_bytes() == proof.jpeg

    @given(st.integers(0, 400), st.integers(0, 255))
    @settings(max_examples=60)
    def test_a_damaged_proof_is_refused_or_read(self, tmp_path_factory, at, value):
        path = tmp_path_factory.mktemp("p") / "a.jpg"
        write_proof(path, np.zeros((8, 24, 3), np.uint8), FIGURES, {"frame": "7"})
        content = bytearray(path.read_bytes())
        content[at % len(content)] = value
        path.write_bytes(content)
        try:
            read_proof(path)
        except MienError as error:
            assert "a.jpg" in str(error) and len(str(error)) < 400

    def test_a_render_leaves_one_of_every_frame_and_the_same_again(self, tmp_path):
        made = make_shot(tmp_path, count=3, write=("layer",))
        render_recipe(made.recipe, None, "cpu", False, silent)
        proofs = sorted((tmp_path / "out/proof").glob("*.jpg"))
        assert [path.name for path in proofs] == ["shot.1001.jpg", "shot.1002.jpg", "shot.1003.jpg"]
        before = [path.read_bytes() for path in proofs]
        render_recipe(made.recipe, None, "cpu", True, silent)
        assert [path.read_bytes() for path in proofs] == before
        found = read_proof(proofs[0]).figures
        assert found["area"] > 2000 and found["unsound"] == 0 and 0.1 < found["result"][1] < 1
        good = judge(open_rendered(made.recipe), Limits())
        assert not [flag for flag in good.flags if flag.grave > 1], "a shot that is well is called well"
        values = {curve.name: curve.values for curve in good.curves}
        ratio = [math.log2(sum(read_proof(path).figures["result"]) / sum(read_proof(path).figures["raw"]))
                 for path in proofs]  # fmt: skip
        assert values["color"] == pytest.approx(ratio, abs=0.06)


class TestFlags:
    def test_a_good_shot_has_none(self, tmp_path):
        rendered(tmp_path)
        assert kinds(judged(tmp_path)) == {}

    @pytest.mark.parametrize(
        ("changes", "kind"),
        [
            ({"result": {1005: [0.33, 0.33, 0.33]}, "raw": {1005: [0.22, 0.22, 0.22]}}, "flicker"),
            ({"raw": {1005: [0.15, 0.15, 0.15]}}, "color"),
            ({"area": {1005: 2500.0}}, "matte"),
            ({"result_detail": {1005: 0.1}}, "sharpness"),
            ({"result_grain": {1005: 0.03}}, "grain"),
            ({"unsound": {1005: 12}}, "unsound"),
        ],
    )
    def test_what_is_wrong_in_one_frame_is_flagged_there_and_nowhere_else(self, tmp_path, changes, kind):
        rendered(tmp_path, **changes)
        assert kinds(judged(tmp_path)) == {1005: {kind}}

    @pytest.mark.parametrize("frame", [1001, 1012])
    def test_the_first_and_the_last_frame_are_judged_too(self, tmp_path, frame):
        rendered(tmp_path, area={frame: 3600.0})
        assert kinds(judged(tmp_path)) == {frame: {"matte"}}

    def test_a_steady_change_is_no_jump(self, tmp_path):
        frames = range(FIRST, FIRST + 12)
        light = {frame: [0.3 * 1.05 ** (frame - FIRST)] * 3 for frame in frames}
        rendered(tmp_path, result=light, area={frame: 3000.0 * 1.05 ** (frame - FIRST) for frame in frames})
        assert kinds(judged(tmp_path)) == {}

    def test_files_that_are_gone_or_damaged_come_first(self, tmp_path):
        rendered(tmp_path, result_grain={1002: 0.05})
        (tmp_path / "out/layer/shot.1004.exr").unlink()
        (tmp_path / "out/layer/shot.1006.exr").write_bytes(b"no picture")
        (tmp_path / "out/proof/shot.1008.jpg").unlink()
        found = judged(tmp_path)
        assert kinds(found) == {1004: {"missing"}, 1006: {"damaged"}, 1008: {"unmeasured"}, 1002: {"grain"}}
        assert [flag.frame for flag in found.flags[:2]] == [1004, 1006]

    def test_a_proof_of_an_older_render_does_not_count(self, tmp_path):
        rendered(tmp_path)
        older, newer = (tmp_path / f"out/layer/shot.{frame}.exr" for frame in (1003, 1004))
        newer.write_bytes(older.read_bytes())
        assert kinds(judged(tmp_path)) == {1004: {"unmeasured"}}

    def test_frames_of_another_render_are_told_apart(self, tmp_path):
        from mien.files.layers import read_provenance, write_plain

        rendered(tmp_path)
        path = tmp_path / "out/layer/shot.1007.exr"
        origin = {**read_provenance(path), "identity": "c" * 32}
        write_plain(path, np.zeros((2, 2, 3), np.float32), provenance=origin)
        assert kinds(judged(tmp_path)) == {1007: {"mixed"}}

    def test_a_lost_face_and_an_unsure_one(self, tmp_path):
        from mien.files.tracks import read_tracks, write_tracks

        made = rendered(tmp_path)
        tracks = read_tracks(made.track)
        one = tracks.tracks[0]
        points, confidence = one.points.clone(), one.confidence.clone()
        points[4], confidence[4], confidence[7] = torch.nan, 0.0, 0.3
        write_tracks(made.track, (replace(one, points=points, confidence=confidence),), tracks.plate)
        assert kinds(judged(tmp_path)) == {1005: {"lost"}, 1008: {"confidence"}}

    def test_limits_move_the_border(self, tmp_path):
        rendered(tmp_path, area={1005: 2500.0})
        assert kinds(judged(tmp_path, matte=20.0)) == {}


class TestCommand:
    def test_page_and_json_hold_the_same(self, tmp_path):
        rendered(tmp_path, area={1005: 2500.0})
        outcome = check_shot(QcArguments(tmp_path / "out"), silent)
        assert not outcome.failed
        page, figures = (Path(path).read_text() for path in outcome.written)
        said = json.loads(figures)
        inside = json.loads(page.partition('id="report">')[2].partition("</script>")[0])
        assert all(inside[name] == value for name, value in said.items())
        assert said["flags"][0]["frame"] == 1005 and said["origin"]["likeness"] == "Nobody"
        assert len(said["frames"]) == 12 == len(said["curves"][0]["values"])
        assert re.findall('https?://[^"]*', page.partition('id="report"')[0]) == []

    def test_fail_on_fails_on_what_it_names(self, tmp_path):
        rendered(tmp_path, area={1005: 2500.0})
        assert set(check_shot(QcArguments(tmp_path / "out", fail_on=("matte",)), silent).failed) == {1005}
        assert set(check_shot(QcArguments(tmp_path / "out", fail_on=("any",)), silent).failed) >= {1005}
        assert not check_shot(QcArguments(tmp_path / "out", fail_on=("missing", "flicker")), silent).failed
        with pytest.raises(RecipeError, match="flickr"):
            check_shot(QcArguments(tmp_path / "out", fail_on=("flickr",)), silent)

    def test_the_exit_code_is_for_pipelines(self, tmp_path, monkeypatch, capsys):
        rendered(tmp_path, unsound={1005: 3})
        ended = []
        for extra in ([], ["--fail-on", "unsound"], ["--fail-on", "nonsense"]):
            monkeypatch.setattr("sys.argv", ["mien", "qc", str(tmp_path / "out"), *extra])
            try:
                command_line.main()
                ended.append(0)
            except SystemExit as left:
                ended.append(left.code or 0)
        assert ended == [0, 1, 2] and "1005" in capsys.readouterr().err

    def test_a_person_flags_a_frame(self, tmp_path):
        rendered(tmp_path)
        asked = QcArguments(tmp_path / "out", flags=(("1003", "soft at the jaw"),), by="A. Supervisor")
        check_shot(asked, silent)
        check_shot(replace(asked, flags=(("1007", "warmer"),), by="B"), silent)
        found = judged(tmp_path)
        assert [(flag.frame, flag.words, flag.by) for flag in found.flags] == [
            (1003, "soft at the jaw", "A. Supervisor"), (1007, "warmer", "B"),
        ]  # fmt: skip
        for wrong in (replace(asked, by=""), replace(asked, flags=(("9", "x"),)), replace(asked, flags=(("a", "x"),))):
            with pytest.raises(RecipeError):
                check_shot(wrong, silent)

    def test_the_last_task_of_a_farm_writes_it_too(self, tmp_path):
        made = rendered(tmp_path, count=1)
        outcome = finish_recipe(made.folder / "out/shot.recipe.json", None, None, silent)
        assert not outcome.failed and str(made.folder / "out/shot.qc.html") in outcome.written
        assert '"shot"' in (made.folder / "out/shot.qc.json").read_text()

    def test_a_folder_without_a_render_is_refused(self, tmp_path):
        with pytest.raises(MienError, match=r"recipe\.json"):
            check_shot(QcArguments(tmp_path), silent)

    def test_words_cannot_leave_their_script(self, tmp_path):
        rendered(tmp_path)
        evil = "</script><script>document.title='x'</script>"
        outcome = check_shot(QcArguments(tmp_path / "out", flags=(("1003", evil),), by="<b>"), silent)
        page = Path(outcome.written[0]).read_text()
        assert evil not in page and page.count("</script>") == 3

    def test_every_kind_of_flag_has_words(self, tmp_path):
        rendered(tmp_path)
        assert set(KINDS) >= {curve.name for curve in judged(tmp_path).curves}


def test_pictures_are_shrunk_to_fit(tmp_path):
    made = rendered(tmp_path, count=2, noisy=True)
    proof = read_proof(made.folder / "out/proof/shot.1001.jpg")
    small = fitted(proof, len(proof.jpeg) // 5)
    shown = cv2.imdecode(np.frombuffer(small, np.uint8), cv2.IMREAD_COLOR)
    assert len(small) <= len(proof.jpeg) // 5 and shown.shape[1] == 3 * (shown.shape[1] // 3) < 3 * proof.size[0]
    assert fitted(proof, len(proof.jpeg)) == proof.jpeg


def test_a_long_shot_stays_small_and_takes_moments(tmp_path):
    rendered(tmp_path, count=150, noisy=True)
    began = time.process_time()
    found = judged(tmp_path)
    write_page(tmp_path / "a.html", found)
    took = time.process_time() - began
    assert (tmp_path / "a.html").stat().st_size < 20_000_000
    print(f"{150 / took:.0f} frames/s")


def test_a_folder_that_was_moved_is_judged_where_it_is(tmp_path):
    made = rendered(tmp_path, count=4)
    out = made.folder / "out"
    moved = tmp_path / "to the supervisor"
    shutil.copytree(out, moved)
    gone = next((moved / "layer").glob(f"*.{FIRST + 1}.exr"))
    gone.unlink()
    shot = open_rendered(recipe_in(moved))
    assert shot.folder == moved
    assert [frame.frame for frame in shot.frames if frame.absent] == [FIRST + 1]
    assert not any(frame.absent for frame in open_rendered(recipe_in(out)).frames)
    shutil.rmtree(moved / "layer")
    shutil.rmtree(moved / "proof")
    assert open_rendered(recipe_in(moved)).folder == out, "a recipe alone says where its frames are"


def test_names_that_are_no_letters_are_told_and_not_a_traceback(tmp_path):
    out = rendered(tmp_path, count=2).folder / "out"
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        shutil.copytree(out, odd)
    except OSError:
        pytest.skip("this file system holds only names in UTF-8")
    damaged = [frame.damaged for frame in open_rendered(recipe_in(odd)).frames]
    assert all("no UTF-8" in words for words in damaged)

"""MienComp, evaluated from its text, is the engine's composite."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from nk.check import check
from nk.evaluate import Evaluator, loaded
from nk.facts import load
from nk.pixels import RGBA
from nk.script import Script

from mien import recipe as recipes
from mien.commands.convert import run_recipe
from mien.files.curves import read_curves
from mien.recipe import Step
from shots import make_shot, read_exr

ROOT = Path(__file__).parents[2]
GROUPS = ROOT / "nuke_plugin" / "groups"
FACTS = load()
CHAIN = (
    Step("smooth_track", "smooth_track", {"track": "track"}),
    Step("convert_face", "convert_face", {"plate": "plate", "face": "smooth_track", "identity": "identity"}),
    Step("face_matte", "face_matte", {"layer": "convert_face", "face": "smooth_track"}),
    Step("matte_edge", "matte_edge", {"layer": "face_matte", "face": "smooth_track"}),
    Step("measure_color", "measure_color", {"layer": "matte_edge", "plate": "plate", "face": "smooth_track"}),
    Step("match_color", "match_color", {"samples": "measure_color"}, {"method": "mkl"}),
    Step("grade_face", "grade_face", {"layer": "matte_edge", "grade": "match_color"}, {"amount": 0.7}),
    Step("plate_white", "plate_white", {"samples": "measure_color"}),
    Step(
        "composite",
        "composite",
        {"layer": "grade_face", "plate": "plate", "face": "smooth_track", "white": "plate_white"},
        {"opacity": 0.85, "highlights": 0.0},
    ),
)
"""What native nodes can replay: a matrix, an offset, a matte, opacity."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A rendered shot with a float plate, floats in its layers, and the solved curves."""
    folder = tmp_path_factory.mktemp("comp")
    shot = make_shot(folder, 3, "float")
    recipe = recipes.read(shot.recipe)
    output = replace(recipe.output, write=("layer", "full"), pixels="float")
    shot.recipe.write_text(recipes.write(recipes.check(replace(recipe, steps=CHAIN, output=output))))
    outcome = run_recipe(recipes.read(shot.recipe), None, "cpu", False, lambda event: None, ())
    assert not outcome.failed
    kind, curves = read_curves(folder / "out" / "shot.match_color.json")
    assert kind == "Grade"
    return shot, {frame: value for frame, (_, value) in curves.items()}


def curve(values):
    return "{curve " + " ".join(f"x{frame} {value!r}" for frame, value in values.items()) + "}"


def script(shot, moves, **knobs):
    """A saved script: the plate, MienConvert with its render, MienComp with the solved move; and its end."""
    comp = (GROUPS / "MienComp.gizmo").read_text()
    convert = (GROUPS / "MienConvert.gizmo").read_text()
    rows = "\n".join(
        "{" + " ".join(curve({f: m.matrix[row][column] for f, m in moves.items()}) for column in range(3)) + "}"
        for row in range(3)
    )
    offset = "{" + " ".join(curve({f: m.offset[place] for f, m in moves.items()}) for place in range(3)) + "}"
    changes = {"offset": offset, **knobs}
    for name, value in changes.items():
        before = next(line for line in comp.splitlines() if line.startswith(f" {name} "))
        comp = comp.replace(before + "\n", f" {name} {value}\n", 1)
    matrix = comp.index("matrix {\n")
    comp = comp[:matrix] + "matrix {\n" + rows + "\n}" + comp[comp.index("mix {{parent.match_mix}}", matrix) - 3 :]
    render = f'"{shot.folder}/out/layer/shot.%04d.exr"'
    lines = convert.splitlines()
    at = next(index for index, line in enumerate(lines) if line.startswith(" addUserKnob {2 render "))
    lines.insert(at + 1, f" render {render}")
    convert = "\n".join(lines) + "\n"
    ends = "\n  first {}\n  last {}\n"
    read = '"\\[value parent.render]"'
    convert = convert.replace(read + ends.format(1, 1), read + ends.format(shot.frames[0], shot.frames[-1]))
    reach = f" first {shot.frames[0]}\n last {shot.frames[-1]}\n"
    plate = f'Read {{\n inputs 0\n file "{shot.plate}"\n{reach} raw true\n name Plate\n}}\n'
    comp = comp.replace("Group {\n", "Group {\n inputs 2\n", 1)
    return f"{plate}set Np [stack 0]\n{convert}set Nc [stack 0]\npush $Nc\npush $Np\n{comp}"


def result(text, frame):
    parsed = Script(text)
    assert check(text, FACTS) == []
    return Evaluator(FACTS, (192, 160), {}, parsed.layers).picture(parsed.root.children[-1], frame)


def test_the_native_composite_is_the_engines(made):
    shot, moves = made
    text = script(shot, moves, match_mix="0.7")
    assert abs(moves[1002].matrix[0][1]) > 1e-3, "the move must be more than a gain"
    for frame in shot.frames:
        comp = result(text, frame)
        spec, full = read_exr(shot.folder / "out" / "full" / f"shot.{frame}.exr")
        plate = loaded(shot.plate % frame)
        box = (spec.x, spec.y, spec.x + spec.width, spec.y + spec.height)
        assert comp.box == plate.box == box
        found = np.stack([comp.channels[name] for name in RGBA[:3]], axis=2)
        before = np.stack([plate.channels[name] for name in RGBA[:3]], axis=2)
        changed = (full[..., :3] != before).any(-1) & ~np.isnan(before).any(-1)
        assert changed.sum() > 2000
        np.testing.assert_allclose(found[changed], full[..., :3][changed], atol=1e-5)
        # Outside the matte every bit of the plate is there: infinities and NaN too.
        assert found[~changed].tobytes() == before[~changed].tobytes()
        assert np.abs(full[..., :3][changed] - before[changed]).max() > 0.05


def test_the_finished_face_lies_as_the_engine_laid_it(made):
    shot, moves = made
    comp = result(script(shot, moves, source="finished", match_mix="0"), 1002)
    _, full = read_exr(shot.folder / "out" / "full" / "shot.1002.exr")
    whole = np.stack([comp.channels[name] for name in RGBA[:3]], axis=2)
    sure = np.isfinite(whole) & np.isfinite(full[..., :3])
    np.testing.assert_allclose(whole[sure], full[..., :3][sure], atol=1e-5)


@pytest.mark.parametrize(
    ("knobs", "most"),
    [({"opacity": "0"}, 0.0), ({"match_mix": "0"}, 1.0), ({"opacity": "0.5"}, 1.0)],
)
def test_opacity_and_amount_do_what_they_say(made, knobs, most):
    shot, moves = made
    comp = result(script(shot, moves, **knobs), 1001).whole(RGBA[:3])
    plate = loaded(shot.plate % 1001).whole(RGBA[:3])
    layer = loaded(str(shot.folder / "out/layer/shot.1001.exr"))
    raw, matte = layer.over((0, 0, 192, 160), "raw.red"), layer.over((0, 0, 192, 160), "rgba.alpha")
    move = moves[1001]
    colors = np.stack([raw, *(layer.over((0, 0, 192, 160), f"raw.{name}") for name in ("green", "blue"))], axis=2)
    mix = float(knobs.get("match_mix", 1))
    matched = colors + mix * (colors @ np.array(move.matrix, np.float32).T + np.array(move.offset, np.float32) - colors)
    wanted = plate + matte[..., None] * float(knobs.get("opacity", 1)) * (matched - plate)
    inside = np.isfinite(plate).all(-1)
    np.testing.assert_allclose(comp[inside], wanted[inside], atol=1e-5)
    assert np.abs(comp - plate)[inside].max() <= (0 if most == 0 else np.inf)


def test_growing_and_softening_move_the_edge_by_face_widths(made):
    shot, moves = made
    plain = result(script(shot, moves), 1002).whole(RGBA[:3])
    plate = loaded(shot.plate % 1002).whole(RGBA[:3])
    areas = []
    for grow in ("-0.05", "0", "0.05"):
        comp = result(script(shot, moves, grow=grow, face_width="80"), 1002).whole(RGBA[:3])
        areas.append(int((comp != plate).any(-1).sum()))
    assert areas[0] < areas[1] < areas[2]
    soft = result(script(shot, moves, soften="0.05", face_width="80"), 1002).whole(RGBA[:3])
    assert np.abs(soft - plain)[np.isfinite(plain) & np.isfinite(soft)].max() > 0.01


def test_a_holdout_keeps_the_plate(made):
    shot, moves = made
    text = script(shot, moves)
    hold = "Constant {\n inputs 0\n channels rgba\n color {0 0 0 1}\n name Hold\n}\n"
    wires = "push $Nc\npush $Np\nGroup {\n inputs "
    held = hold + "set Nh [stack 0]\n" + text.replace(wires + "2", "push $Nh\n" + wires + "3")
    assert "inputs 3" in held
    plate = loaded(shot.plate % 1002).whole(RGBA[:3])
    assert result(held, 1002).whole(RGBA[:3]).tobytes() == plate.tobytes()
    assert result(text, 1002).whole(RGBA[:3]).tobytes() != plate.tobytes()
    free = held.replace(" hold true", " hold false")
    assert result(free, 1002).whole(RGBA[:3]).tobytes() == result(text, 1002).whole(RGBA[:3]).tobytes()


def test_a_saved_script_needs_nothing_of_mien(made, tmp_path):
    """Where nothing has heard of mien the script gives the same picture."""
    shot, moves = made
    text = script(shot, moves, match_mix="0.7")
    (tmp_path / "shot.nk").write_text(text)
    code = (
        "import sys, numpy\nfrom nk.evaluate import Evaluator\nfrom nk.facts import load\n"
        "from nk.script import Script\nscript = Script(open(sys.argv[1]).read())\n"
        "made = Evaluator(load(), (192, 160), {}, script.layers).picture(script.root.children[-1], 1002)\n"
        "assert not any(name.split('.')[0] in ('mien', 'mien_nuke', 'nuke') for name in sys.modules)\n"
        "numpy.save(sys.argv[2], made.whole())\n"
    )
    here = str(Path(__file__).parent)
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "shot.nk"), str(tmp_path / "made.npy")],
        check=True, cwd=tmp_path, env={"PYTHONPATH": here, "PATH": "/usr/bin"},
    )  # fmt: skip
    assert np.load(tmp_path / "made.npy").tobytes() == result(text, 1002).whole().tobytes()


def test_a_frame_that_was_not_rendered_shows_the_plate(made):
    shot, moves = made
    text = script(shot, moves).replace(f"{shot.folder}/out/layer/", f"{shot.folder}/nowhere/")
    plate = loaded(shot.plate % 1002).whole(RGBA[:3])
    assert result(text, 1002).whole(RGBA[:3]).tobytes() == plate.tobytes()

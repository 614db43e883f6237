"""A shot from Read to comp in the fake host, by hand and in a terminal, with the real engine on real files."""

import json
from pathlib import Path

import numpy as np
import pytest
from nk.check import check
from nk.evaluate import Evaluator, loaded
from nk.facts import load
from nk.pixels import RGBA
from nk.script import Script
from trial import SCENE, run

from mien import recipe as recipes
from shots import make_shot

FACTS = load()
BUILD = """
read, convert = scene(SHOT)
edge = after(convert, 'MienMatteEdge', soften=0.05)
edge['grow'].fromScript('{curve L x1001 0 x1003 0.04}')
dot = after(edge, 'Dot')
measured = after(dot, 'MienMeasureColor')
solved = after(measured, 'MienMatchColor', method='reinhard')
grade = after(dot, 'MienGradeFace')
driver.connect(grade, 1, solved)
last = after(grade, 'MienComposite', opacity=0.9, highlights=0.0)
driver.select(read)
comp = nuke.createNode('MienComp')
driver.connect(comp, 1, last)
comp['source'].setValue('raw')
"""
GO = """
said = []
held = [press(convert, name) for name in ('analyse', 'render_range', 'check')]
said.append(convert['status'].value())
edge['soften'].setValue(0.07)
press(convert, 'check')
said.append(convert['status'].value())
edge['soften'].setValue(0.05)
press(convert, 'check')
said.append(convert['status'].value())
nuke.scriptSaveAs(here + '/comp.nk', 1)
held = max(filter(None, held), default=0)
print(json.dumps([said, driver.problems(), driver.messages(), held, nodes.document(convert)]))
"""


@pytest.fixture(scope="module")
def shot(tmp_path_factory):
    return make_shot(tmp_path_factory.mktemp("plates"), 3, "float")


@pytest.fixture(scope="module")
def done(shot, tmp_path_factory):
    """The shot worked on twice: by hand, and in a terminal; folder and what was said of each."""
    made = {}
    for mode in ("gui", "-t"):
        folder = tmp_path_factory.mktemp("work")
        body = SCENE + BUILD.replace("SHOT", repr(str(shot.folder))) + GO
        made[mode] = folder, run(folder, body, *([mode] if mode == "-t" else []))
    return made


@pytest.mark.parametrize("mode", ["gui", "-t"])
def test_buttons_analyse_render_and_check(done, mode):
    folder, (said, problems, messages, held, _) = done[mode]
    assert problems == [] and messages == []
    assert said[0] == "up to date" and "render again" in said[1] and said[2] == "up to date"
    assert held < 0.5
    work = folder / "mien" / "comp" / "MienConvert1_v001"
    assert sorted(path.name for path in (work / "layer").iterdir()) == [
        f"MienConvert1.{n}.exr" for n in (1001, 1002, 1003)
    ]


def test_a_terminal_makes_the_same_recipe(done):
    """The same script, another machine: only the folder differs here."""
    told = []
    for folder, answer in done.values():
        told.append(json.dumps(answer[-1]).replace(str(folder), "HERE"))
    assert told[0] == told[1]


def test_the_recipe_is_what_was_built(done, shot):
    document = done["gui"][1][-1]
    recipe = recipes.parse(document, Path("/"))
    assert [(step.name, step.node) for step in recipe.steps] == [
        ("smooth_track", "smooth_track"),
        ("MienConvert1", "convert_face"),
        ("MienMatteEdge1", "matte_edge"),
        ("MienMeasureColor1", "measure_color"),
        ("MienMatchColor1", "match_color"),
        ("MienGradeFace1", "grade_face"),
        *[(step.name, step.node) for step in recipe.steps[6:]],
    ]
    assert recipe.steps[-1].node == "composite"
    edge = recipe.step("MienMatteEdge1")
    assert edge.inputs["layer"] == "MienConvert1"
    written = next(step for step in document["steps"] if step["name"] == "MienMatteEdge1")["settings"]
    assert written == {"grow": [[1001, 0.0], [1003, 0.04]], "soften": 0.05}
    assert recipe.step("MienGradeFace1").inputs == {"layer": "MienMatteEdge1", "grade": "MienMatchColor1"}
    assert recipe.plate.first == 1001 and recipe.plate.last == 1003 and recipe.output.pixels == "float"
    assert recipe.plate.path.endswith("shot.%04d.exr") and recipe.track == str(shot.track)


@pytest.mark.parametrize("mode", ["gui", "-t"])
def test_the_saved_script_shows_the_engines_composite(done, mode, shot):
    folder = done[mode][0]
    text = (folder / "comp.nk").read_text()
    assert check(text, FACTS) == []
    script = Script(text)
    comp = next(node for node in script.root.children if node.name == "MienComp1")
    for frame in shot.frames:
        made = Evaluator(FACTS, (192, 160), {}, script.layers).picture(comp, frame).whole(RGBA[:3])
        plate = loaded(shot.plate % frame).whole(RGBA[:3])
        layer = loaded(str(folder / f"mien/comp/MienConvert1_v001/layer/MienConvert1.{frame}.exr"))
        premultiplied, matte = layer.whole(RGBA[:3]), layer.whole(RGBA)[..., 3:]
        wanted = premultiplied + plate * (1 - matte)
        sure = np.isfinite(wanted)
        np.testing.assert_allclose(made[sure], wanted[sure], atol=1e-5)
        outside = matte[..., 0] == 0
        assert made[outside].tobytes() == plate[outside].tobytes() and (matte > 0).sum() > 2000


def test_without_followers_the_usual_chain_is_rendered(shot, tmp_path):
    body = (
        SCENE
        + f"""
read, convert = scene({str(shot.folder)!r})
convert['matte_edge__soften'].setValue(0.11)
convert['composite__opacity'].fromScript('{{curve L x1001 0 x1003 1}}')
print(json.dumps(nodes.document(convert)))
"""
    )
    recipe = recipes.parse(run(tmp_path, body, "-t"), Path("/"))
    usual = [step.node for step in recipes.CONVERT]
    assert sorted(step.node for step in recipe.steps) == sorted(usual)
    assert recipe.step("matte_edge").settings["soften"] == 0.11
    assert recipes.at_frame(recipe.step("composite").settings, 1002)["opacity"] == 0.5
    plain = {step.name: dict(step.inputs) for step in recipes.CONVERT}
    named = {"MienConvert1": "convert_face"}
    for step in recipe.steps:
        mine = {port: named.get(source, source) for port, source in step.inputs.items()}
        assert mine == plain[named.get(step.name, step.name)]


MISTAKES = {
    "no plate": ("driver.connect(convert, 0, None)", "connect the plate"),
    "no identity": ("convert['identity'].setValue('')", "choose an identity"),
    "no file": ("read['file'].setValue('')", "choose the plate's file"),
    "views": ("read['file'].setValue('/a/%V/b.%04d.exr')", "one view"),
    "two ends": ("after(convert, 'MienMatteEdge'); after(convert, 'MienRefineMatte')", "several nodes"),
    "no range": (
        "convert['range'].setValue('custom'); convert['first'].setValue(5); convert['last'].setValue(6)",
        "no frames 5",
    ),
    "no layer": ("one = nuke.nodes.Dot(); g = after(convert, 'MienCombineMattes')", "connect its input"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_mistakes_are_told_with_their_node(shot, tmp_path, kind):
    change, said = MISTAKES[kind]
    body = (
        SCENE
        + f"""
read, convert = scene({str(shot.folder)!r})
{change}
driver.press(convert, 'render_range')
print(json.dumps([driver.messages(), driver.problems()]))
"""
    )
    messages, problems = run(tmp_path, body)
    assert problems == [] and len(messages) == 1
    assert (said in messages[0][1] and "Mien" in messages[0][1]) or "Read" in messages[0][1]


def test_cancel_ends_what_runs(shot, tmp_path):
    body = (
        SCENE
        + f"""
read, convert = scene({str(shot.folder)!r})
driver.press(convert, 'analyse')
driver.press(convert, 'cancel')
driver.spin(lambda: not talk.running(convert.name()), 60)
end = time.monotonic() + 0.5
driver.spin(lambda: time.monotonic() > end)
print(json.dumps([convert['status'].value(), driver.problems()]))
"""
    )
    said, problems = run(tmp_path, body)
    assert problems == [] and "ancelled" in said

"""A host's nodes as a recipe that the engine takes, and samples of an animated knob as keys."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien import recipe as recipes
from mien.declare import shipped
from mien.hosts.recipes import ChainError, Placed, changed, document, keys_of, steps_of, write
from mien.recipe import CONVERT
from mien.serve.engine import describe

DECLARED, USUAL = describe()["nodes"], describe()["chain"]
WHERE = {"plate": "/s/p.%04d.exr", "first": 1001, "last": 1010, "track": "/s/t.json", "identity": "/s/i.safetensors"}


def parsed(steps, **output):
    """The steps as the engine reads them."""
    return recipes.parse(document(**WHERE, steps=steps, folder="/s/out", name="face", **output), Path("/s"))


def test_the_usual_chain_comes_out_as_it_is():
    placed = [Placed(s.name, s.node, s.inputs) for s in CONVERT]
    recipe = parsed(steps_of(reversed(placed), "composite", DECLARED, USUAL), write=["layer", "full"])
    assert [(s.name, s.node, dict(s.inputs)) for s in recipe.steps] != []
    assert {s.name: (s.node, dict(s.inputs)) for s in recipe.steps} == {
        s.name: (s.node, dict(s.inputs)) for s in CONVERT if s.name in {step.name for step in recipe.steps}
    }
    assert recipe.steps[-1].name == "composite" and recipe.output.write == ("layer", "full")


def test_what_an_artist_leaves_open_is_fed_with_what_every_recipe_has():
    chain = [
        Placed("Smooth", "smooth_track"),
        Placed("Convert", "convert_face"),
        Placed("Hull", "face_matte", {"layer": "Convert"}),
        Placed("Aside", "relight", {"layer": "Convert"}),
        Placed("Comp", "composite", {"layer": "Hull"}, {"opacity": [[1001, 0.0], [1010, 1.0]]}),
        Placed("White", "plate_white", {"samples": "Measure"}),
        Placed("Measure", "measure_color", {"layer": "Hull"}),
    ]
    chain[4] = Placed("Comp", "composite", {"layer": "Hull", "white": "White"}, chain[4].settings)
    steps = {step["name"]: step for step in steps_of(chain, "Comp", DECLARED, USUAL)}
    assert "Aside" not in steps and list(steps)[-1] == "Comp"
    assert steps["Convert"]["inputs"] == {"plate": "plate", "face": "Smooth", "identity": "identity"}
    assert steps["Smooth"]["inputs"] == {"track": "track"}
    recipe = parsed(list(steps.values()))
    assert recipe.step("Comp").settings["opacity"] == [[1001, 0.0], [1010, 1.0]]


def test_what_is_solved_for_a_node_is_measured_on_the_layer_that_feeds_it():
    chain = [
        Placed("Convert", "convert_face"),
        Placed("Hull", "face_matte", {"layer": "Convert"}),
        Placed("Grade", "grade_face", {"layer": "Hull"}),
        Placed("Comp", "composite", {"layer": "Grade"}),
    ]
    steps = {step["name"]: step for step in steps_of(chain, "Comp", DECLARED, USUAL)}
    assert steps["Grade"]["inputs"]["grade"] == "Hull_match_color"
    assert steps["Hull_match_color"]["inputs"] == {"samples": "Hull_measure_color"}
    assert steps["Hull_measure_color"]["inputs"] == {"layer": "Hull", "plate": "plate", "face": "track"}
    parsed(list(steps.values()))
    # A node that the artist placed for it is taken instead, with the artist's settings.
    chain += [Placed("Measure", "measure_color", {"layer": "Hull"})]
    chain += [Placed("Match", "match_color", {"samples": "Measure"}, {"method": "mkl"})]
    steps = {step["name"]: step for step in steps_of(chain, "Comp", DECLARED, USUAL)}
    assert steps["Grade"]["inputs"]["grade"] == "Match"
    assert parsed(list(steps.values())).step("Match").settings["method"] == "mkl"


@pytest.mark.parametrize(
    ("chain", "says"),
    [
        ([Placed("C", "composite", {"layer": "C"})], "feeds itself: C -> C"),
        ([Placed("C", "composte")], "no node 'composte'"),
        ([Placed("C", "composite")], "connect its input 'layer'; it takes a Layer"),
        ([Placed("C", "composite", {"layer": "gone"})], "connect its input 'layer'"),
        ([Placed("C", "composite", {"lyer": "plate"})], "no input 'lyer'"),
        ([Placed("plate", "composite"), Placed("C", "composite")], "Two nodes are called 'plate'"),
        ([], "no node 'C' to render"),
    ],
)
def test_chains_that_make_no_recipe_are_told_in_words(chain, says):
    with pytest.raises(ChainError, match=says):
        steps_of(chain, "C", DECLARED, USUAL)


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]) | st.floats(-5, 5), min_size=1, max_size=30))
def test_keys_tell_every_sample(values):
    samples = dict(enumerate(values, start=1001))
    keys = keys_of(samples)
    for frame, value in samples.items():
        found = recipes.at_frame({"x": keys}, frame)["x"]
        assert found == pytest.approx(value, rel=1e-6, abs=1e-6)


def test_keys_are_few():
    assert keys_of({1: 0.25, 2: 0.25, 3: 0.25}) == 0.25
    assert keys_of({n: n * 0.1 for n in range(100)}) == [[0, 0.0], [99, pytest.approx(9.9)]]
    assert keys_of({1: "a", 2: "a", 3: "b", 4: "b"}) == [[1, "a"], [3, "b"]]
    assert keys_of({1: False, 2: True}) == [[1, False], [2, True]]


def test_a_recipe_is_written_whole_and_the_same_again(tmp_path):
    steps = changed([asdict(s) for s in CONVERT], {"matte_edge.grow": 0.02})
    made = document(**WHERE, steps=steps, folder="/s/out", name="face")
    write(str(tmp_path / "a" / "r.json"), made)
    write(str(tmp_path / "b.json"), json.loads((tmp_path / "a" / "r.json").read_text("utf-8")))
    assert (tmp_path / "a" / "r.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert recipes.read(tmp_path / "b.json").step("matte_edge").settings["grow"] == 0.02
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["r.json"]
    with pytest.raises(ChainError, match="no such step"):
        changed(steps, {"edge.grow": 1})
    assert len(shipped()) == len(DECLARED)

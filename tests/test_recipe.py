"""Recipes: what is read is checked, what is written is read back, what differs hashes differently."""

import copy
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicHermiteSpline, PchipInterpolator

from mien.declare import shipped
from mien.recipe import (
    CODECS,
    CONVERT,
    WRITES,
    Output,
    PlateChoice,
    Recipe,
    RecipeError,
    Step,
    at_frame,
    change_steps,
    check,
    digest,
    plain_name,
    read,
    write,
)

RECIPE = Recipe(
    plate=PlateChoice("plates/plate.%04d.exr", 1001, 1048),
    steps=CONVERT,
    output=Output("out"),
    identity="performer.safetensors",
    track="track.json",
)
PARAMS = {(node.id, param.name): param for node in shipped() for param in node.params}


def stored(folder: Path, document: object) -> Path:
    path = folder / "recipe.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), "utf-8")
    return path


def document(**changes: object) -> dict:
    return {**json.loads(write(RECIPE)), **changes}


def keyed(name: str, value: object, step: str = "matte_edge") -> Recipe:
    return replace(RECIPE, steps=change_steps(RECIPE.steps, {f"{step}.{name}": value}))


def setting(recipe: Recipe, name: str, step: str = "matte_edge") -> object:
    return recipe.step(step).settings[name]


def test_the_shipped_chain_is_sound():
    checked = check(RECIPE)
    assert [step.name for step in checked.steps] == [step.name for step in CONVERT]
    assert check(checked) == checked


def test_defaults_are_written_out():
    for step in check(RECIPE).steps:
        params = {name: param for (node, name), param in PARAMS.items() if node == step.node}
        assert step.settings == {name: param.default for name, param in params.items()}


def test_a_recipe_from_before_a_node_looked_at_the_face_means_what_it_meant(tmp_path):
    plain = document()
    edge = next(step for step in plain["steps"] if step["node"] == "matte_edge")
    del edge["inputs"]["face"]
    assert read(stored(tmp_path, plain)).steps == read(stored(tmp_path, document())).steps
    # Before anything smoothed it, the track itself is followed.
    first = Step("first", "convert_face", {"plate": "plate", "identity": "identity"})
    assert check(replace(RECIPE, steps=(first,))).steps[0].inputs["face"] == "track"


def test_check_changes_nothing_it_was_given():
    before = copy.deepcopy(RECIPE)
    check(RECIPE)
    assert before == RECIPE


def test_what_is_written_is_read_back(tmp_path):
    changed = keyed("soften", [[1048, 0.05], [1001, 0.02]])
    again = read(stored(tmp_path, write(changed)))
    assert again.steps == check(changed).steps
    assert again.plate == replace(RECIPE.plate, path=str(tmp_path / "plates/plate.%04d.exr"))
    assert again.output == replace(RECIPE.output, folder=str(tmp_path / "out"))
    assert (again.track, again.identity) == (str(tmp_path / "track.json"), str(tmp_path / "performer.safetensors"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert read(stored(elsewhere, write(again))) == again


def test_paths_are_relative_to_the_recipe_not_to_where_one_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shot").mkdir()
    stored(tmp_path / "shot", document(plate={"path": "/show/plate.####.exr", "first": 1, "last": 2}))
    recipe = read(Path("shot/recipe.json"))
    assert recipe.plate.path == "/show/plate.####.exr"
    assert recipe.track == str(tmp_path / "shot" / "track.json")


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, None), ("ocio://default", "ocio://default"), ("show.ocio", "{}/show.ocio"), ("/a.ocio", "/a.ocio")],
)
def test_the_config_may_be_built_in_or_a_file(tmp_path, given, expected):
    assert read(stored(tmp_path, document(ocio=given))).ocio == (expected and expected.format(tmp_path))


def test_optional_parts_may_be_left_out(tmp_path):
    plain = document()
    for name in ("face", "ocio"):
        del plain[name]
    plain["output"] = {"folder": "out"}
    plain["plate"] = {"path": "p.mov", "first": 1, "last": 9}
    plain["steps"] = [{key: step[key] for key in ("name", "node", "inputs")} for step in plain["steps"]]
    assert read(stored(tmp_path, plain)).steps == check(RECIPE).steps


def changed(path: str, value: object) -> dict:
    """The document with one value, named by a path such as ``steps.0.node``, replaced; ... removes it."""
    result = document()
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place = result
    for part in parents:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return result


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("mien_recipe", 2, "another version"),
        ("mien_recipe", ..., "no mien recipe"),
        ("plate", ..., "lacks 'plate'"),
        ("plate", "plate.exr", "should be an object"),
        ("plate.path", 5, "plate, path is 5: give text"),
        ("plate.path", "a\0b", "give text"),
        ("plate.path", ..., "plate lacks 'path'"),
        ("plate.first", "1001", "give a whole number"),
        ("plate.first", 1001.5, "give a whole number"),
        ("plate.first", True, "give a whole number"),
        ("plate.last", 10**12, "give a whole number"),
        ("plate.last", 1000, "ends at 1000, before it begins at 1001"),
        ("plate.colorspace", ["ACEScg"], "give text"),
        ("plate.colourspace", "ACEScg", "did you mean 'colorspace'"),
        ("track", None, "track is None: give text"),
        ("identity", {"kind": "warp"}, "give text"),
        ("face", 3, "give text"),
        ("ocio", 3, "give text"),
        ("stepps", [], "did you mean 'steps'"),
        ("steps", {}, "give a list"),
        ("steps", [], "last step .* must give a Layer"),
        ("steps", ["smooth_track"], "should be an object"),
        ("steps.0.name", ["x"], "give text"),
        ("steps.0.name", "../../evil", "use letters"),
        ("steps.0.name", "plate", "appears twice"),
        ("steps.1.name", "smooth_track", "appears twice"),
        ("steps.0.node", "smooth_trak", "did you mean 'smooth_track'"),
        ("steps.0.node", {}, "give text"),
        ("steps.0.inputs", ..., "lacks 'inputs'"),
        ("steps.0.inputs", [], "give an object"),
        ("steps.0.inputs", {}, "nothing flows into 'track'"),
        ("steps.0.inputs", {"track": ["track"]}, "give text"),
        ("steps.0.inputs", {"track": "tracks"}, "did you mean 'track'"),
        ("steps.0.inputs", {"track": "plate"}, "'plate' gives a Plate, 'track' takes a FaceTrack"),
        ("steps.0.inputs", {"track": "track", "trak": "track"}, "has no input 'trak'"),
        ("steps.0.inputs", {"track": "smooth_track"}, "not known yet"),
        ("steps.0.inputs", {"track": "matte_edge"}, "not known yet"),
        ("steps.4.settings", {"grwo": 1}, "did you mean 'grow'"),
        ("steps.4.settings", {"grow": "wide"}, "give a number"),
        ("steps.4.settings", {"grow": {}}, "give a number"),
        ("steps.4.settings", {"soften": -1}, "must lie between"),
        ("steps.4.settings", {"soften": float("nan")}, "give a number"),
        ("steps.4.settings", {"soften": []}, "at least one key"),
        ("steps.4.settings", {"soften": [1001, 0.1]}, "is no key"),
        ("steps.4.settings", {"soften": [[1, 0.1, "linear", 2]]}, "is no key"),
        ("steps.4.settings", {"soften": [[1001, 0.1, 2]]}, "is no interpolation"),
        ("steps.4.settings", {"soften": [["1001", 0.1]]}, "no frame number"),
        ("steps.4.settings", {"soften": [[float("inf"), 0.1]]}, "no frame number"),
        ("steps.4.settings", {"soften": [[10**400, 0.1]]}, "no frame number"),
        ("steps.4.settings", {"soften": [[1001, 0.1], [1001.0, 0.2]]}, "one value for each frame"),
        ("steps.4.settings", {"soften": [[1001, -0.1]]}, "soften at 1001 .* must lie between"),
        ("steps.0.settings", {"rigid": [[1001, 0.5]]}, "solved once per shot"),
        ("output", ..., "lacks 'output'"),
        ("output.write", "layer", "give a list"),
        ("output.write", [5], "give text"),
        ("output.write", ["layers"], "did you mean 'layer'"),
        ("output.write", [], "Say what to write"),
        ("output.window", "all", "choose face or full"),
        ("output.pixels", "uint8", "choose half or float"),
        ("output.codec", "vp9", "choose h264"),
        ("output.side_by_side", "no", "give true or false"),
        ("output.height", -5, "choose 16 to"),
        ("output.height", "720", "give a whole number"),
        ("output.name", "../out", "use letters"),
        ("output.name", ".hidden", "use letters"),
        ("output.name", "a%04d", "use letters"),
    ],
)
def test_mistakes_are_told(tmp_path, path, value, says):
    file = stored(tmp_path, changed(path, value))
    with pytest.raises(RecipeError, match=says) as caught:
        read(file)
    assert str(caught.value).startswith(str(file))
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", '"text"', "[" * 100_000, '{"mien_recipe": 1', '{"mien_recipe": 1}', "\ufeff{}", "1" * 5000],
)
def test_what_is_no_recipe_is_told(tmp_path, text):
    with pytest.raises(RecipeError, match=r"recipe\.json"):
        read(stored(tmp_path, text))


def test_files_that_cannot_be_read_are_told(tmp_path):
    with pytest.raises(RecipeError, match=r"No such file"):
        read(tmp_path / "none.json")
    with pytest.raises(RecipeError, match=r"Is a directory"):
        read(tmp_path)
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"bytes\.json"):
        read(tmp_path / "bytes.json")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs devices with names")
def test_what_never_ends_is_not_read():
    with pytest.raises(RecipeError, match="no mien recipe"):
        read(Path("/dev/zero"))


def test_an_enormous_file_is_not_read(tmp_path):
    path = tmp_path / "recipe.json"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(RecipeError, match="no mien recipe"):
        read(path)


def test_depth_does_not_break_the_checks(tmp_path):
    deep: object = 1
    for _ in range(400):
        deep = [deep]
    with pytest.raises(RecipeError):
        read(stored(tmp_path, changed("steps.4.settings", {"grow": deep})))
    deep = 1
    for _ in range(400):
        deep = {"a": deep}
    with pytest.raises(RecipeError):
        read(stored(tmp_path, changed("steps.2.settings", {"source": deep})))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
PLACES = [
    "plate", "plate.path", "plate.first", "plate.colorspace", "track", "identity", "face", "ocio", "steps", "steps.0",
    "steps.1.name", "steps.1.node", "steps.1.inputs", "steps.1.inputs.face", "steps.4.settings",
    "steps.3.settings.grow", "steps.2.settings.source", "output", "output.folder", "output.name", "output.write",
    "output.window", "output.height", "output.side_by_side", "output.codec", "mien_recipe", "unknown",
]  # fmt: skip


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(PLACES), value=JSON)
def test_any_damage_is_told_or_harmless(tmp_path, place, value):
    """Whatever stands in any place: a recipe that can be written, read and hashed again, or a RecipeError."""
    path = stored(tmp_path, changed(place, value))
    try:
        recipe = read(path)
    except RecipeError:
        return
    assert check(recipe) == recipe
    assert len(digest(recipe)) == 32
    assert read(stored(tmp_path, write(recipe))) == recipe


FRAMES = st.integers(-10_000, 10_000)
GROWS = st.floats(-25, 25, allow_nan=False)
KEYS = st.dictionaries(FRAMES, GROWS, min_size=1, max_size=6)


@given(KEYS, FRAMES, st.randoms(use_true_random=False))
def test_keys_are_interpolated(keys, frame, random):
    pairs = [list(pair) for pair in keys.items()]
    random.shuffle(pairs)
    checked = check(keyed("grow", pairs))
    assert setting(checked, "grow") == sorted(pairs)
    value = at_frame(checked.step("matte_edge").settings, frame)["grow"]
    assert min(keys.values()) - 1e-9 <= value <= max(keys.values()) + 1e-9
    if frame in keys:
        assert value == keys[frame]
    if frame <= min(keys):
        assert value == keys[min(keys)]
    if frame >= max(keys):
        assert value == keys[max(keys)]


@pytest.mark.parametrize("value", [1e30, -1e30, 1e308, 26, [[1, 0.1], [2, 1e9]]])
def test_no_value_asks_for_more_than_any_memory_holds(value):
    """Where a node declares no limit, a hundred times the slider's travel is one."""
    with pytest.raises(RecipeError, match="must lie between -25 and 25"):
        check(keyed("grow", value))


def test_halfway_is_the_mean():
    checked = check(keyed("grow", [[1001, 0.0], [1011, 0.2]])).step("matte_edge").settings
    assert at_frame(checked, 1006)["grow"] == pytest.approx(0.1)
    assert at_frame(checked, 1003)["grow"] == pytest.approx(0.04)


def smooth_curve(frames: list[float], values: list[float], at: float) -> float:
    """The documented curve, by scipy: Hermite pieces with PCHIP's inner tangents and level ends."""
    tangents = PchipInterpolator(frames, values).derivative()(frames)
    tangents[0] = tangents[-1] = 0
    return float(CubicHermiteSpline(frames, values, tangents)(at))


@given(
    st.lists(st.tuples(st.integers(0, 300), GROWS), min_size=2, max_size=8, unique_by=lambda key: key[0]),
    st.floats(0, 1),
)
def test_smooth_keys_follow_the_published_curve_and_never_overshoot(keys, along):
    keys = sorted((frame, round(value, 3)) for frame, value in keys)
    frames, values = [key[0] for key in keys], [key[1] for key in keys]
    frame = frames[0] + along * (frames[-1] - frames[0])
    settings = check(keyed("grow", [[*key, "smooth"] for key in keys])).step("matte_edge").settings
    value = at_frame(settings, frame)["grow"]
    assert value == pytest.approx(smooth_curve(frames, values, frame), abs=1e-9)
    row = max(0, min(sum(one <= frame for one in frames) - 1, len(frames) - 2))
    assert min(values[row : row + 2]) <= value <= max(values[row : row + 2])


def test_smooth_between_two_keys_is_the_cubic_of_the_page():
    settings = {"grow": [[0, 1.0, "smooth"], [8, 3.0]]}
    for frame in range(9):
        t = frame / 8
        assert at_frame(settings, frame)["grow"] == pytest.approx(1 + 2 * (3 * t * t - 2 * t**3))


def test_every_key_says_how_it_goes_on():
    keys = [[0, 0.0, "constant"], [10, 1.0, "linear"], [20, 2.0, "smooth"], [30, 4.0, "constant"]]
    settings = check(keyed("grow", keys)).step("matte_edge").settings
    found = [at_frame(settings, frame)["grow"] for frame in (-5, 0, 9, 10, 15, 20, 25, 30, 99)]
    smooth = smooth_curve([10, 20, 30], [1.0, 2.0, 4.0], 25)
    assert found[:6] == [0, 0, 0, 1, 1.5, 2] and found[6] == pytest.approx(smooth) and found[7:] == [4, 4]


def test_linear_is_what_is_meant_when_nothing_is_said():
    said = check(keyed("grow", [[1, 0.1, "linear"], [5, 0.2, "linear"]]))
    assert said == check(keyed("grow", [[1, 0.1], [5, 0.2]]))


def test_a_value_for_every_frame_is_honored():
    values = {frame: round(0.2 * math.sin(frame), 6) for frame in range(1, 5001)}
    settings = check(keyed("grow", [[frame, value, "smooth"] for frame, value in values.items()]))
    settings = settings.step("matte_edge").settings
    assert all(at_frame(settings, frame)["grow"] == value for frame, value in values.items())


def test_between_sub_frame_keys():
    checked = check(keyed("grow", [[1000.5, 0.0], [1001.5, 1.0]])).step("matte_edge").settings
    assert at_frame(checked, 1001)["grow"] == pytest.approx(0.5)


def test_what_is_no_number_holds_until_the_next_key():
    checked = check(keyed("source", [[1010, "hull"], [1001, "both"]], "face_matte")).step("face_matte").settings
    assert [at_frame(checked, frame)["source"] for frame in (990, 1001, 1009, 1010, 2000)] == [
        "both", "both", "both", "hull", "hull",
    ]  # fmt: skip


def test_whole_numbers_stay_whole():
    values = [at_frame({"steps": [[1, 1], [5, 4]]}, frame)["steps"] for frame in range(6)]
    assert values == [1, 1, 2, 2, 3, 4] and all(type(value) is int for value in values)


def test_settings_without_keys_are_the_same_in_every_frame():
    plain = check(RECIPE).step("matte_edge").settings
    assert at_frame(plain, 1) == at_frame(plain, 1_000) == plain


def test_settings_change_by_step_or_by_node():
    twice = (*CONVERT[:5], replace(CONVERT[4], name="second", inputs={"layer": "matte_edge", "face": "smooth_track"}))
    by_step = change_steps(twice, {"second.grow": "0.1"})
    assert [step.settings.get("grow") for step in by_step[4:]] == [None, "0.1"]
    by_node = change_steps(twice, {"matte_edge.grow": 0.1})
    assert [step.settings.get("grow") for step in by_node[4:]] == [0.1, 0.1]
    assert all(not step.settings for step in twice)
    assert setting(check(keyed("grow", "0.1")), "grow") == 0.1


@pytest.mark.parametrize(
    ("path", "says"),
    [("grow", "STEP.PARAM=VALUE"), ("matte_edg.grow", "did you mean 'matte_edge'"), ("matte_edge.", "STEP.PARAM")],
)
def test_changes_of_what_is_not_there_are_told(path, says):
    with pytest.raises(RecipeError, match=says):
        change_steps(CONVERT, {path: 1})


def test_a_changed_setting_that_no_node_has_is_told():
    with pytest.raises(RecipeError, match="did you mean 'grow'"):
        check(keyed("grwo", 1))


@given(st.text())
def test_any_text_becomes_a_name_of_files(text):
    name = plain_name(text)
    output = Output("out", name=name)
    assert check(replace(RECIPE, output=output)).output.name == name == plain_name(name)
    assert not set(name) & set("/\\%#@:*?<>|\0\n") and not name.startswith(".")


@pytest.mark.parametrize(
    ("text", "name"),
    [("sh010_plate", "sh010_plate"), ("My take (2)", "My take (2)"), ("take #3", "take _3"), ("Größe", "Größe")],
)
def test_names_stay_readable(text, name):
    assert plain_name(text) == name


def test_upstream():
    recipe = check(RECIPE)
    names = [step.name for step in recipe.upstream("face_matte")]
    assert names == ["smooth_track", "convert_face", "steady_face", "face_matte"]
    assert recipe.upstream("composite") == recipe.steps
    assert recipe.upstream("smooth_track") == recipe.steps[:1]


def test_a_step_that_is_not_there():
    with pytest.raises(RecipeError, match="did you mean 'face_matte'"):
        RECIPE.step("face_mate")


def test_a_chain_must_end_in_a_layer():
    with pytest.raises(RecipeError, match="must give a Layer"):
        check(replace(RECIPE, steps=CONVERT[:1]))
    assert check(replace(RECIPE, steps=CONVERT[:2])).steps[-1].node == "convert_face"


def test_a_step_may_not_use_itself_or_a_later_one():
    loop = replace(CONVERT[4], inputs={"layer": "matte_edge", "face": "smooth_track"})
    with pytest.raises(RecipeError, match="not known yet"):
        check(replace(RECIPE, steps=(*CONVERT[:3], loop)))


@pytest.mark.parametrize("word", WRITES)
@pytest.mark.parametrize("codec", CODECS)
def test_every_output_is_allowed(word, codec):
    output = Output("out", write=(word,), codec=codec)
    assert check(replace(RECIPE, output=output)).output == output


def test_digest_does_not_depend_on_order_but_on_everything_else():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": (1, 2), "a": 1})
    apart = [1, 1.5, "1", None, True, [1], [[1]], {"1": 1}, {}, [], "", [1, 2], [2, 1], "ü", "u\u0308"]
    assert len({digest(value) for value in apart}) == len(apart)
    assert digest(1, 2) != digest([1, 2]) != digest(12)
    assert digest(RECIPE) == digest(copy.deepcopy(RECIPE))
    assert digest(RECIPE) != digest(keyed("grow", 0.01))


def test_digest_is_what_it_always_was():
    """A file remembers it: changing how it is made would redo every frame ever rendered."""
    assert digest({"grow": 0.02, "keys": [[1001, 0.5]]}, "x") == "8de7500e9e04ac8540ebb88ce0cd3284"


def test_digest_refuses_what_is_no_plain_data():
    with pytest.raises(TypeError):
        digest(Path("x"))


def test_the_same_meaning_hashes_the_same():
    forms = [[[1001, 0], [1010, 1]], [[1010, 1.0], [1001, 0.0]], [[1001.0, "0"], [1010.0, "1"]]]
    assert len({digest(check(keyed("grow", form))) for form in forms}) == 1


def test_steps_are_plain():
    assert Step("a", "b", {}).settings == {}

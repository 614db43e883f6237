"""Every node, checked from its declaration alone; and that declarations are read and written right."""

import json
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien import declare as declarations
from mien.declare import DeclarationError, Node, Param, Port, Slider, declare, from_json, nearest, shipped, to_json
from mien.nodes import NODES
from mien.types import Face, FaceTrack, Grade, Image, Layer, Series

DECLARED = [declare(function) for function in NODES]
PARAMS = [(node, param) for node in DECLARED for param in node.params]


def name(value: Any) -> str:
    return value.id if isinstance(value, Node) else value.name if isinstance(value, Param) else ""


def test_the_shipped_declarations_are_current():
    """If this fails: ``python -m mien.nodes > engine/mien/nodes.json``, and read the difference."""
    text = resources.files("mien").joinpath("nodes.json").read_text("utf-8")
    assert text == to_json(DECLARED)
    assert shipped() == tuple(DECLARED)


def test_ids_are_unique():
    ids = [node.id for node in DECLARED]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("node", DECLARED, ids=name)
def test_a_node_speaks_to_artists(node):
    first = node.help.partition("\n")[0]
    assert first.endswith(".") and first[0].isupper() and len(first) < 120
    for section in ("Args:", "Returns:", "Raises:", ">>>"):
        assert section not in node.help
    assert node.group in {"track", "convert", "matte", "match", "detail", "finish"}
    for item in (*node.inputs, *node.params):
        assert item.help.endswith(".") and item.help[0].isalnum() and "\n" not in item.help, item


@pytest.mark.parametrize("node", DECLARED, ids=name)
def test_a_nodes_names_are_plain_and_unique(node):
    names = [item.name for item in (*node.inputs, *node.params)]
    assert len(set(names)) == len(names)
    assert all(word.isidentifier() and word == word.lower() for word in (node.id, *names))


@pytest.mark.parametrize(("node", "param"), PARAMS, ids=name)
def test_a_default_is_allowed(node, param):
    checked = param.check(param.default, f"{node.id}.{param.name}")
    assert checked == param.default
    assert param.kind != "menu" or len(param.choices) > 1
    if param.slider:
        assert param.slider.low <= param.default <= param.slider.high


@pytest.mark.parametrize(("node", "param"), [p for p in PARAMS if p[1].kind in ("int", "float")], ids=name)
def test_a_slider_is_ordered(node, param):
    slider = param.slider
    assert slider is not None, "a number needs a slider"
    assert slider.low < slider.high
    assert slider.unit in ("", "face", "px", "frames", "degrees")
    assert slider.min is None or slider.min <= slider.low
    assert slider.max is None or slider.max >= slider.high
    for end in (slider.low, slider.high):
        param.check(end, "slider")


@pytest.mark.parametrize(("node", "param"), [p for p in PARAMS if p[1].slider], ids=name)
def test_hard_limits_hold(node, param):
    slider = param.slider
    for limit, beyond in ((slider.min, -1), (slider.max, 1)):
        if limit is not None:
            assert param.check(limit, "here") == limit
            with pytest.raises(DeclarationError, match=r"here .* must lie between"):
                param.check(limit + beyond, "here")


# What follows is about reading declarations, with functions of its own.


def soften(
    layer: Layer,
    grade: Series[Grade],
    *,
    width: Annotated[float, Slider(0.0, 0.5, unit="face", min=0, max=2)] = 0.25,
    steps: Annotated[int, Slider(1, 8, min=1)] = 3,
    method: Literal["box", "gauss"] = "gauss",
    inside: bool = False,
    map_file: Path = Path("map.exr"),
    note: str = "",
) -> Layer:
    """Soften the edge.

    A second paragraph.

    Args:
        layer: Layer to soften.
        grade: Its grade.
        width: Width of the edge,
            in face widths.
        steps: How many steps.
        method: Which curve: box or gauss.
        inside: Keep to the inside.
        map_file: A map.
        note: Anything.

    Raises:
        ValueError: Never.
    """
    return layer


def test_a_declaration_is_read_from_the_function():
    node = declare(soften)
    assert (node.id, node.group, node.output) == ("soften", "test_declarations", "Layer")
    assert node.help == "Soften the edge.\n\nA second paragraph."
    assert node.inputs == (
        Port("layer", "Layer", "Layer to soften."),
        Port("grade", "Series[Grade]", "Its grade.", series=True),
    )
    assert node.series
    assert node.params == (
        Param("width", "float", 0.25, "Width of the edge, in face widths.", Slider(0.0, 0.5, "face", 0, 2)),
        Param("steps", "int", 3, "How many steps.", Slider(1, 8, min=1)),
        Param("method", "menu", "gauss", "Which curve: box or gauss.", choices=("box", "gauss")),
        Param("inside", "bool", False, "Keep to the inside."),
        Param("map_file", "file", "map.exr", "A map."),
        Param("note", "text", "", "Anything."),
    )


def test_types_are_named_for_artists():
    def one(image: Image, face: Face) -> tuple[FaceTrack, ...]:
        """One.

        Args:
            image: A picture.
            face: A face.
        """
        raise NotImplementedError

    node = declare(one)
    assert [port.type for port in node.inputs] == ["Image", "Face"]
    assert node.output == "FaceTracks"
    assert not node.series


def test_what_is_not_explained_is_refused():
    def silent(layer: Layer, *, width: float = 1.0) -> Layer:
        """Say nothing of width.

        Args:
            layer: The layer.
        """
        return layer

    with pytest.raises(DeclarationError, match=r"silent.*width"):
        declare(silent)


def test_kinds_that_no_host_can_show_are_refused():
    def odd(layer: Layer, *, pair: tuple[int, int] = (1, 2)) -> Layer:
        """Take a pair.

        Args:
            layer: The layer.
            pair: Two numbers.
        """
        return layer

    with pytest.raises(DeclarationError, match=r"odd.*pair"):
        declare(odd)


def test_json_round_trip():
    nodes = (declare(soften), *DECLARED)
    text = to_json(nodes)
    assert from_json(text) == nodes
    assert text.endswith("}\n") and json.loads(text)["version"] == 1
    assert to_json(from_json(text)) == text


WIDTH, STEPS, METHOD, INSIDE, FILE, NOTE = declare(soften).params


@pytest.mark.parametrize(
    ("param", "given", "expected"),
    [
        (WIDTH, 1, 1.0),
        (WIDTH, "0.5", 0.5),
        (WIDTH, " 5e-1 ", 0.5),
        (STEPS, 4.0, 4),
        (STEPS, "4", 4),
        (METHOD, "box", "box"),
        (INSIDE, True, True),
        (INSIDE, "on", True),
        (INSIDE, "False", False),
        (INSIDE, 0, False),
        (FILE, "a b.exr", "a b.exr"),
    ],
)
def test_values_become_their_kind(param, given, expected):
    checked = param.check(given, "here")
    assert checked == expected and type(checked) is type(expected)


@pytest.mark.parametrize(
    ("param", "given"),
    [
        (WIDTH, "wide"),
        (WIDTH, None),
        (WIDTH, True),
        (WIDTH, float("nan")),
        (WIDTH, "inf"),
        (WIDTH, 2.001),
        (WIDTH, -0.001),
        (WIDTH, [1]),
        (WIDTH, 10**400),
        (STEPS, 2.5),
        (STEPS, 0),
        (STEPS, 10**400),
        (METHOD, "Box"),
        (METHOD, None),
        (METHOD, ["box"]),
        (INSIDE, "perhaps"),
        (INSIDE, 2),
        (INSIDE, None),
        (FILE, 3),
        (NOTE, None),
    ],
)
def test_values_of_another_kind_are_refused(param, given):
    with pytest.raises(DeclarationError, match=r"^here is "):
        param.check(given, "here")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from([WIDTH, STEPS, METHOD, INSIDE, FILE, NOTE, *(param for _, param in PARAMS)]), JSON)
def test_any_value_is_checked_or_refused(param, value):
    try:
        checked = param.check(value, "here")
    except DeclarationError:
        return
    assert param.check(checked, "here") == checked
    assert param.check(json.loads(json.dumps(checked)), "here") == checked


def test_unknown_settings_name_the_nearest():
    with pytest.raises(DeclarationError, match="soften has no setting 'widht': did you mean 'width'"):
        declare(soften).param("widht")


@pytest.mark.parametrize(
    ("word", "known", "end"),
    [
        ("grwo", ["grow", "soften"], ": did you mean 'grow'?"),
        ("x", ["ab"], ": there are ab."),
        ("x", [], ": there are none."),
    ],
)
def test_nearest(word, known, end):
    assert nearest(word, known) == end


def test_declarations_are_values():
    assert {declare(soften), declare(soften)} == {declare(soften)}
    with pytest.raises(AttributeError):
        declare(soften).id = "other"  # type: ignore[misc]
    assert declarations.KINDS[float] == "float"

"""The checks of a real Nuke: each a function of an empty folder and a shot's folder, that raises what is wrong."""

from __future__ import annotations

import math
import time
from pathlib import Path

import nuke

SKIPPED = object()
"""What a check returns that has nothing to try."""


def expect(condition: bool, words: str) -> None:
    """Say what is wrong.

    Raises:
        AssertionError: The condition does not hold.
    """
    if not condition:
        raise AssertionError(words)


def groups() -> list:
    """Files of mien's groups on the plug-in path."""
    found = []
    for folder in nuke.pluginPath():
        found += [path.as_posix() for path in Path(folder).glob("Mien*.gizmo")]
    expect(len(found) > 10, "mien's groups are not on the plug-in path: run 'mien install nuke'")
    return sorted(found)


def pasted(path: str) -> str:
    """Paste a file's text, and return the name of the node it makes."""
    before = {node.name() for node in nuke.allNodes()}
    nuke.nodePaste(path)
    made = [node.name() for node in nuke.allNodes() if node.name() not in before]
    expect(len(made) == 1, f"{path} makes {len(made)} nodes")
    return made[0]


def every_group_loads(folder: str, shot: str) -> str:
    """Every group pastes, and none of its nodes has an error."""
    count = 0
    for path in groups():
        name = pasted(path)
        node = nuke.toNode(name)
        expect(node.Class() == "Group", f"{name} is a {node.Class()}")
        expect(node["mien_node"].value() != "", f"{name} has lost its knobs")
        nuke.delete(node)
        count += 1
    return f"{count} groups"


def knobs_keep_their_defaults(folder: str, shot: str) -> None:
    """Values of numbers and menus are those that the file says."""
    comp = nuke.toNode(pasted(next(path for path in groups() if path.endswith("MienComp.gizmo"))))
    expect(comp["opacity"].value() == 1.0, f"opacity is {comp['opacity'].value()}")
    expect(comp["source"].value() == "raw", f"source is {comp['source'].value()}")
    expect([comp["gain"].value(i) for i in range(3)] == [1.0] * 3, f"gain is {comp['gain'].value()}")
    matrix = comp.node("Matrix")["matrix"]
    held = [matrix.value(i) for i in range(9)]
    expect(held == [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0], f"the matrix is {held}")
    expect(comp.node("Offset")["black_clamp"].value() is False, "black_clamp is on")


def curves_can_be_set_as_text(folder: str, shot: str) -> None:
    """What Analyse does: a matrix and an offset of curves."""
    comp = nuke.toNode(pasted(next(path for path in groups() if path.endswith("MienComp.gizmo"))))
    key = "{curve L x1001 1.25 x1003 1.75}"
    comp.node("Matrix")["matrix"].fromScript("{" + key + " 0 0} {0 1 0} {0 0 1}")
    comp["offset"].fromScript(key + " 0 0.5")
    expect(abs(comp.node("Matrix")["matrix"].getValueAt(1002, 0) - 1.5) < 1e-6, "the matrix has no curve")
    expect(abs(comp["offset"].getValueAt(1002, 0) - 1.5) < 1e-6, "the offset has no curve")
    expect(abs(comp.node("Offset")["add"].getValueAt(1002, 0) - 1.5) < 1e-6, "Grade does not follow the offset")


def constant(color: tuple, name: str) -> str:
    """Text of a picture of one color."""
    values = " ".join(f"{value:g}" for value in color)
    return f"Constant {{\n inputs 0\n channels rgba\n color {{{values}}}\n name {name}\n}}\n"


def the_composite_is_the_formula(folder: str, shot: str) -> str:
    """MienComp on flat colors, superwhites and negatives: plate + matte * opacity * (matrix * raw + offset - plate)."""
    nuke.scriptReadText(constant((0.25, -0.1, 8.0, 1), "PlateColor") + constant((0.5, 4.0, -0.25, 0.6), "FaceColor"))
    # The layer raw is what FaceColor shows, as the engine's layers have it.
    nuke.scriptReadText("add_layer {raw raw.red raw.green raw.blue}\n")
    copy = nuke.nodes.Copy(inputs=[nuke.toNode("FaceColor"), nuke.toNode("FaceColor")])
    for place, color in enumerate(("red", "green", "blue")):
        copy[f"from{place}"].setValue(f"rgba.{color}")
        copy[f"to{place}"].setValue(f"raw.{color}")
    comp = nuke.toNode(pasted(next(path for path in groups() if path.endswith("MienComp.gizmo"))))
    comp.setInput(0, nuke.toNode("PlateColor"))
    comp.setInput(1, copy)
    comp["opacity"].setValue(0.5)
    comp["offset"].setValue([0.125, 0.25, -0.5])
    comp.node("Matrix")["matrix"].setValue(1.5, 0)
    worst = 0.0
    raw, plate, gains, offsets = (0.5, 4.0, -0.25), (0.25, -0.1, 8.0), (1.5, 1, 1), (0.125, 0.25, -0.5)
    for place, channel in enumerate(("red", "green", "blue")):
        wanted = plate[place] + 0.6 * 0.5 * (gains[place] * raw[place] + offsets[place] - plate[place])
        found = nuke.sample(comp, f"rgba.{channel}", 100, 100)
        worst = max(worst, abs(found - wanted))
    expect(worst < 1e-4, f"off by {worst:g}")
    return f"off by {worst:.1g}"


def a_disabled_node_passes_its_first_input(folder: str, shot: str) -> None:
    """The holdout without a connection, and grow and soften at 0, leave the matte."""
    one = nuke.nodes.Constant()
    one["color"].setValue([1, 1, 1, 0.25])
    two = nuke.nodes.Constant()
    two["color"].setValue([1, 1, 1, 0.5])
    merge = nuke.nodes.ChannelMerge(inputs=[one, two])
    merge["operation"].setValue("multiply")
    merge["disable"].setValue(True)
    expect(abs(nuke.sample(merge, "rgba.alpha", 10, 10) - 0.25) < 1e-6, "it passes another input")


def a_script_keeps_its_nodes(folder: str, shot: str) -> None:
    """Saved and opened again, knobs, curves and arrows are there."""
    nuke.scriptReadText(constant((0.2, 0.2, 0.2, 1), "PlateColor"))
    comp = nuke.toNode(pasted(next(path for path in groups() if path.endswith("MienComp.gizmo"))))
    comp.setInput(0, nuke.toNode("PlateColor"))
    comp["offset"].fromScript("{curve L x1 0 x3 1} 0 0.5")
    name, path = comp.name(), (Path(folder) / "kept.nk").as_posix()
    nuke.scriptSaveAs(path, 1)
    nuke.scriptClear()
    nuke.scriptReadFile(path)
    comp = nuke.toNode(name)
    expect(comp is not None, "the node is gone")
    expect(abs(comp["offset"].getValueAt(2, 0) - 0.5) < 1e-6, "the curve is gone")
    expect(comp.input(0) is not None and comp.input(0).name() == "PlateColor", "the arrow is gone")


def buttons_find_the_plugin(folder: str, shot: str) -> None:
    """What the buttons import is there."""
    from mien_nuke import actions, nodes, talk

    expect(len(nodes.declared()) > 15, "the declarations are not there")
    expect(callable(actions.render_range) and callable(talk.engine), "the actions are not there")


def the_engine_answers(folder: str, shot: str) -> str:
    """The engine starts beside Nuke and says what it is."""
    from mien_nuke import talk

    began = time.time()
    status = talk.engine().call("status", 120, wait=True)
    return f"mien {status['engine']}, {status['device']}, {time.time() - began:.1f} s"


def a_shot_renders(folder: str, shot: str) -> object:
    """Read, MienConvert, MienComp: analysed and rendered, and the face differs from the plate."""
    if not shot:
        return SKIPPED
    plates = sorted(path.as_posix() for path in Path(shot).glob("plate/*.exr"))
    identities = sorted(path.as_posix() for path in Path(shot).rglob("*.safetensors") if "track" not in path.name)
    tracks = sorted(path.as_posix() for path in Path(shot).rglob("*.track.json"))
    expect(bool(plates and identities and tracks), f"{shot} holds no plate, identity and track")
    numbers = [int(path[-8:-4]) for path in plates]
    nuke.scriptSaveAs((Path(folder) / "shot.nk").as_posix(), 1)
    read = nuke.nodes.Read(file=plates[0][:-8] + "%04d.exr", first=numbers[0], last=numbers[-1])
    read["raw"].setValue(True)
    convert = nuke.toNode(pasted(next(path for path in groups() if path.endswith("MienConvert.gizmo"))))
    comp = nuke.toNode(pasted(next(path for path in groups() if path.endswith("MienComp.gizmo"))))
    convert.setInput(0, read)
    comp.setInput(0, read)
    comp.setInput(1, convert)
    convert["identity"].setValue(identities[0])
    convert["track"].setValue(tracks[0])
    convert["range"].setValue("custom")
    convert["first"].setValue(numbers[0])
    convert["last"].setValue(numbers[0])
    for name in ("analyse", "render_range"):
        convert[name].execute()
    convert["show"].setValue("render")
    nuke.frame(numbers[0])
    width, height = read.width(), read.height()
    found, before = (nuke.sample(node, "rgba.red", width / 2, height / 2, width, height) for node in (comp, read))
    expect(math.isfinite(found) and abs(found - before) > 1e-6, f"the comp is the plate: {found} and {before}")
    return convert["status"].value()


ALL = [
    (check.__name__.replace("_", " "), check)
    for check in (
        every_group_loads, knobs_keep_their_defaults, curves_can_be_set_as_text, the_composite_is_the_formula,
        a_disabled_node_passes_its_first_input, a_script_keeps_its_nodes, buttons_find_the_plugin, the_engine_answers,
        a_shot_renders,
    )
]  # fmt: skip
"""Every check with its name, in running order."""

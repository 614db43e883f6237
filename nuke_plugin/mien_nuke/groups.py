"""Groups from the declarations of the engine's nodes: knobs by kind of slider, and a native way through."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mien_nuke import VERSION, text
from mien_nuke.comp import comp

GIVEN = ("Plate", "Footage", "Identity", "Roto", "FaceTrack", "Face")
"""What flows into a node without an arrow: every recipe has it."""
COLORS = {
    "convert": "0x7a4f8fff",
    "matte": "0x4f6f8fff",
    "match": "0x4f8f6aff",
    "detail": "0x8f7a4fff",
    "finish": "0x8f4f4fff",
    "track": "0x5a5a8fff",
    "reenact": "0x7a4f6fff",
}
UNITS = {"face": "face widths", "px": "pixels of the plate", "frames": "frames", "degrees": "degrees"}
LIVE = 'which {{"parent.live_on && parent.live_frame == frame ? 2 : parent.show"}}'
"""The quick picture is shown on the frame that it is of."""
CACHE = (
    "file_type exr", 'datatype "16 bit half"', 'compression "Zip (1 scanline)"', 'metadata "all metadata"',
    "channels all", "raw true", "create_directories true", "disable true",
)  # fmt: skip
"""Writes of inputs that are no Reads: off but while the plug-in runs them, so that no farm renders them by itself."""
HAND = {
    "left_eye": (910, 590), "right_eye": (1010, 590), "nose": (960, 540), "left_mouth": (925, 490),
    "right_mouth": (995, 490),
}  # fmt: skip
"""Where the points lie before they are dragged."""
WHOLE = ("convert_face", "track_faces", "smooth_track")
"""Nodes that MienConvert and MienTrack hold."""
BUTTON = """try:
    from mien_nuke import actions
except ImportError:
    nuke.message("mien is not installed here. The picture stays as it is: it needs only Reads and native nodes.")
else:
    actions.%s(nuke.thisNode())"""


def title(identifier: str) -> str:
    """``matte_edge`` as ``MatteEdge``."""
    return "".join(part.capitalize() for part in identifier.split("_"))


def wires(declared: Mapping[str, Any]) -> list:
    """Ports of a node that an arrow feeds, layers first."""
    found = [port for port in declared["inputs"] if bare(port["type"]) not in GIVEN]
    return sorted(found, key=lambda port: bare(port["type"]) != "Layer")


def bare(kind: str) -> str:
    """``Series[Grade]`` as ``Grade``."""
    return kind[kind.index("[") + 1 : -1] if kind.startswith(("Series[", "Window[")) else kind


def setting(param: Mapping[str, Any], prefix: str = "") -> list:
    """The lines of a setting: its declaration, and its default."""
    slider, kind = param["slider"], param["kind"]
    tip = param["help"]
    if slider and slider["unit"]:
        tip += f"\nIn {UNITS.get(slider['unit'], slider['unit'])}."
    limits = (slider["low"], slider["high"]) if slider and kind in ("float", "int") else None
    flags = ("+STARTLINE",) if kind == "bool" else ()
    name = prefix + param["name"]
    label = param["name"].replace("_", " ")
    lines = [text.user(text.CODES[kind], name, label, tip, "", param["choices"], limits, flags)]
    default = param["default"]
    if kind == "bool":
        lines.append(text.knob(name, "true" if default else "false"))
    elif kind in ("float", "int"):
        lines.append(text.knob(name, text.number(default)))
    elif kind == "menu" or default not in ("", "."):
        lines.append(text.knob(name, str(default)))
    return lines


def effect(declared: Mapping[str, Any]) -> str:
    """A node whose work the engine does; natively its first input passes."""
    ports = wires(declared)
    knobs = [
        *text.heading(declared["id"].replace("_", " "), declared["id"], VERSION),
    ]
    for param in declared["params"]:
        knobs += setting(param)
    knobs.append(text.user(26, "mien_note", "", "", "The engine does this: it shows after MienConvert renders."))
    inner: list = []
    # A group's first arrow is the Input with number 0; it must be on top of the stack last.
    for place in range(len(ports) - 1, -1, -1):
        lines = ["inputs 0", "name " + ports[place]["name"]] + ([f"number {place}"] if place else [])
        inner += text.node("Input", *lines)
    inner += text.node("Output", "name Output1")
    return text.group(
        "Mien" + title(declared["id"]) + "1",
        knobs,
        inner,
        help_of(declared),
        COLORS.get(declared["group"], "0x606060ff"),
    )


def help_of(declared: Mapping[str, Any]) -> str:
    """What a node does and what flows in."""
    ports = "\n".join(f"{port['name']}: {port['help']}" for port in wires(declared))
    return declared["help"] + ("\n" + ports if ports else "")


def button(name: str, label: str, tip: str, action: str, start: bool = False) -> str:
    """A button that calls a function of ``actions``; without the plug-in it says so."""
    return text.user(22, name, label, tip, BUTTON % action, flags=("+STARTLINE",) if start else ())


def chain_knobs(steps: Sequence[Mapping[str, Any]], declared: Mapping[str, Any]) -> list:
    """Settings of the usual chain, in closed groups, for when no mien node follows."""
    lines = []
    for step in steps:
        params = declared[step["node"]]["params"]
        if not params or step["node"] in WHOLE:
            continue
        lines.append(f" addUserKnob {{20 {step['name']} l {text.word(step['name'].replace('_', ' '))} n 1}}")
        lines.append(f" {step['name']} 0")
        for param in params:
            lines += setting(param, step["name"] + "__")
        lines.append(f" addUserKnob {{20 end_{step['name']} n -1}}")
    return lines


def convert(declared: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> str:
    """MienConvert: the plate goes in, the rendered layer comes out; the only node that talks to the engine."""
    user, knob = text.user, text.knob
    knobs = [
        *text.heading("Convert", "convert_face", VERSION),
        user(
            2,
            "identity",
            "identity",
            "Whose face is put on: an identity file (.safetensors, .dfm). Empty: Analyse makes one of the reference.",
        ),
        user(1, "likeness", "likeness", "Whose face the reference input shows, for an identity made of it."),
        user(1, "release", "release", "Under which release or contract it may be used."),
        user(2, "track", "track", "Track file. Empty: the MienTrack above, else the shot's own, which Analyse makes."),
        user(1, "face", "face", "Name of the person in the track. Empty: who is seen longest and largest."),
    ]
    for param in declared["convert_face"]["params"]:
        knobs += setting(param)
    knobs += [
        user(
            4,
            "range",
            "range",
            "Frames that are rendered; what is solved is solved over all of them.",
            "",
            ("input", "global", "custom"),
        ),
        knob("range", "input"),
        user(3, "first", "first", "First frame of a custom range."),
        knob("first", "1001"),
        user(3, "last", "last", "Last frame of a custom range."),
        knob("last", "1100"),
        user(3, "handles", "handles", "Frames more at both ends, where the plate has them.", "", (), (0, 24)),
        knob("handles", "0"),
        user(
            1,
            "colorspace",
            "plate space",
            "Color space of the plate's file. Empty: what the Read says, if it is no role.",
        ),
        user(4, "quality", "pixels", "Half is what comps use; float keeps every digit.", "", ("half", "float")),
        knob("quality", "half"),
        user(2, "folder", "folder", "Where everything of the shot goes. Empty: a folder mien beside the script."),
        user(3, "version", "version", "Counted up, it keeps older renders beside it.", "", (), (1, 50)),
        knob("version", "1"),
        user(
            1,
            "template",
            "output",
            "Where a version goes, below the folder: <node> is this node, <version> its number, <script> the script.",
        ),
        " template " + text.word("<node>_v<version>"),
        button(
            "analyse",
            "Analyse",
            "Track the faces if no track is there, and solve what holds for the shot.",
            "analyse",
            True,
        ),
        button("render_frame", "Render frame", "Render the frame that is viewed.", "render_frame"),
        button("render_range", "Render range", "Render all frames that are not up to date.", "render_range"),
        button("cancel", "Cancel", "End what runs. What was rendered stays.", "cancel"),
        button("check", "Check", "Which frames are up to date.", "check"),
        button("farm", "Write farm job", "Write the recipe and a job bundle for a render farm.", "farm"),
        user(
            6,
            "auto_update",
            "auto update",
            "While this panel is open, follow knobs and playhead with a quick picture.",
            flags=("+STARTLINE", "+DO_NOT_WRITE"),
        ),
        user(4, "show", "show", "The plate, or the render.", "", ("plate", "render")),
        knob("show", "render"),
        user(26, "status_label", "", "", " "),
        user(1, "status", "status", "What is rendered."),
        user(2, "render", "render", "The rendered layer that is read.", flags=("+STARTLINE",)),
        # Files of inputs that are no Reads.
        user(2, "cache", "", flags=("+INVISIBLE",)),
        user(2, "cache_roto", "", flags=("+INVISIBLE",)),
        # The quick picture is for this session alone: a script never keeps it.
        user(2, "live", "", flags=("+INVISIBLE", "+DO_NOT_WRITE")),
        user(6, "live_on", "", flags=("+INVISIBLE", "+DO_NOT_WRITE")),
        user(3, "live_frame", "", flags=("+INVISIBLE", "+DO_NOT_WRITE")),
        user(7, "live_scale", "", flags=("+INVISIBLE", "+DO_NOT_WRITE")),
        user(20, "chain_tab", "Chain"),
        user(26, "chain_note", "", "", "These hold while no mien node follows; else the nodes that follow do."),
        *chain_knobs(steps, declared),
    ]
    read = ("on_error black", "before black", "after black", "colorspace scene_linear", "auto_alpha false")
    inner = [
        *text.node("Input", "inputs 0", "name plate"),
        "set Nplate [stack 0]",
        *text.node("Write", 'file "\\[value parent.cache]"', *CACHE, "name Cache"),
        *text.node("Input", "inputs 0", "name reference", "number 2"),
        *text.node("Input", "inputs 0", "name roto", "number 1"),
        *text.node("Write", 'file "\\[value parent.cache_roto]"', *CACHE, "name Cache_roto"),
        *text.node(
            "Read",
            "inputs 0",
            'file "\\[value parent.live]"',
            "first 1",
            "last 1",
            "before hold",
            "after hold",
            "on_error black",
            "colorspace scene_linear",
            "name Live",
        ),
        *text.node("Reformat", "type scale", 'scale {{"max(parent.live_scale, 1)"}}', "filter linear", "name Scaled"),
        *text.node("Read", "inputs 0", 'file "\\[value parent.render]"', "first 1", "last 1", *read, "name Render"),
        "push $Nplate",
        *text.node("Switch", "inputs 3", LIVE, "name Show"),
        *text.node("Output", "name Output1"),
    ]
    return text.group("MienConvert1", knobs, inner, help_of(declared["convert_face"]), COLORS["convert"])


def point(name: str, place: tuple) -> list:
    """A point that is dragged in the viewer."""
    tip = "Left and right are those of the picture."
    return [
        text.user(12, name, name.replace("_", " "), tip),
        text.knob(name, text.several([text.number(number) for number in place])),
    ]


def track(declared: Mapping[str, Any]) -> str:
    """MienTrack: finds and follows faces; the plate passes."""
    user = text.user
    knobs = [
        *text.heading("Track", "track_faces", VERSION),
        user(2, "track", "track", "Where the track is written. Empty: the shot's own file."),
        user(4, "face", "face", "Who is meant; auto is who is seen longest and largest.", "", ("auto",)),
        user(43, "faces", "faces", "Who was found, and in which frames."),
    ]
    for param in declared["track_faces"]["params"]:
        knobs += setting(param)
    for param in declared["smooth_track"]["params"]:
        knobs += setting(param, "smooth__")
    knobs += [
        button("analyse", "Track", "Find and follow every face.", "track_only", True),
        button("cancel", "Cancel", "End what runs.", "cancel"),
        user(20, "hand_tab", "By hand"),
        user(26, "hand_note", "", "", "Drag the points onto the face, set a key, and track again: keys are the truth."),
        *(line for name, place in HAND.items() for line in point(name, place)),
        button("key", "Set key", "Place the face by hand on the viewed frame.", "key", True),
        user(20, "follow_tab", "Follow"),
        button(
            "pins",
            "Make CornerPin2D and Transform",
            "Nodes that follow the face, with a key on every frame.",
            "pins",
            True,
        ),
        button(
            "still",
            "Make stabilize and restore",
            "STMap nodes: paint between them on a face that holds still.",
            "still",
        ),
        user(1, "status", "status", "What was found."),
    ]
    inner = [*text.node("Input", "inputs 0", "name plate"), *text.node("Output", "name Output1")]
    return text.group("MienTrack1", knobs, inner, help_of(declared["track_faces"]), COLORS["track"])


def texts(nodes: Mapping[str, Any], chain: Mapping[str, Any]) -> dict:
    """Every group by the name of its file."""
    declared = {entry["id"]: entry for entry in nodes["nodes"]}
    found = {"Mien" + title(name): effect(entry) for name, entry in declared.items() if name not in WHOLE}
    found.update(MienConvert=convert(declared, chain["steps"]), MienTrack=track(declared), MienComp=comp())
    return found


def written(nodes: Path, chain: Path, folder: Path) -> list:
    """Write the groups that changed, and return their names."""
    made = []
    for name, one in texts(json.loads(nodes.read_text("utf-8")), json.loads(chain.read_text("utf-8"))).items():
        file = folder / (name + ".gizmo")
        if not file.is_file() or file.read_text("utf-8") != one:
            file.write_text(one, "utf-8")
            made.append(name)
    return made
